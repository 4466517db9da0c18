//! Service managers: sockets that they pass on, and what they are told of readiness.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::Sandbox;

#[test]
fn sockets_of_the_service_manager_are_passed_on() {
    let mut sandbox =
        Sandbox::new("echo $LISTEN_FDS $LISTEN_PID $$; cat <&3; ls /proc/self/fd | wc -l");
    let hostname = std::fs::read_to_string("/etc/hostname").unwrap();
    let expected = format!("1 1 1\n{}\n5", hostname.trim());
    // The shell's process id is the runtime's after its exec.
    sandbox
        .run_by(
            &["env"],
            "exec 3</etc/hostname; export LISTEN_FDS=1 LISTEN_PID=$$;",
            "",
        )
        .says(&expected);
    // What was meant for another process is nothing to this one.
    sandbox
        .script("echo ${LISTEN_FDS-none}; ls /proc/self/fd | wc -l")
        .run_by(
            &["env"],
            "exec 3</etc/hostname; export LISTEN_FDS=1 LISTEN_PID=1;",
            "",
        )
        .says("none\n4");
}

#[test]
fn readiness_is_told_to_the_service_manager() {
    // busybox sends nothing to such a socket: what the program would say is said from outside.
    let script = "echo $NOTIFY_SOCKET > /said; exec sleep 1000";
    let mut sandbox = Sandbox::new(script);
    let host = sandbox.dir.join("host.sock");
    let manager = UnixDatagram::bind(&host).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let id = sandbox.id("c");
    let log = sandbox.dir.join("log");
    let run = |args: &[&str]| {
        let file = std::fs::File::create(&log).unwrap();
        let mut command = sandbox.command(args);
        command
            .env("NOTIFY_SOCKET", &host)
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        command.spawn().unwrap()
    };
    assert!(run(&["create", &id]).wait().unwrap().success());
    let mut start = run(&["start", &id]);
    let socket = sandbox.dir.join("run").join(&id).join("notify/notify.sock");
    super::until("the container has its socket", || socket.exists());
    let said = sandbox.rootfs().join("said");
    super::until("the program runs", || said.exists());
    assert!(start.try_wait().unwrap().is_none(), "it is not ready yet");
    let program = UnixDatagram::unbound().unwrap();
    super::until("somebody listens", || {
        program.send_to(b"STATUS=soon\n", &socket).is_ok()
    });
    program.send_to(b"STATUS=now\nREADY=1\n", &socket).unwrap();
    assert!(start.wait().unwrap().success());
    let mut message = [0; 256];
    let length = manager.recv(&mut message).unwrap();
    let pid = sandbox.state(&id)["pid"].to_string();
    assert_eq!(
        String::from_utf8_lossy(&message[..length]),
        format!("READY=1\nMAINPID={pid}\n")
    );
    super::until("the program has said it", || {
        std::fs::read_to_string(&said).unwrap() == "/run/notify/notify.sock\n"
    });
}

#[test]
fn a_container_that_ends_before_it_is_ready_is_not_waited_for() {
    let mut sandbox = Sandbox::new("exit 3");
    let host = sandbox.dir.join("host.sock");
    let manager = UnixDatagram::bind(&host).unwrap();
    let id = sandbox.id("c");
    let output = sandbox
        .command(&["run", &id])
        .env("NOTIFY_SOCKET", &host)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    manager.set_nonblocking(true).unwrap();
    assert!(manager.recv(&mut [0; 16]).is_err(), "nothing was ready");
}
