//! Log drivers, and `aril logs` with them.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::sandbox::{Sandbox, wait_until};

/// Receives datagrams until one contains `text`; returns it.
fn receive(mut next: impl FnMut(&mut [u8]) -> std::io::Result<usize>, text: &str) -> String {
    let mut buffer = vec![0; 64 << 10];
    let mut all = String::new();
    loop {
        let count = next(&mut buffer)
            .unwrap_or_else(|error| panic!("{text:?} never came: {all:?}: {error}"));
        let message = String::from_utf8_lossy(&buffer[..count]).into_owned();
        if message.contains(text) {
            return message;
        }
        all.push_str(&message);
    }
}

#[test]
fn attributes_and_tags_are_shown_with_details() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "run",
        "--name",
        "web",
        "--label",
        "team=a",
        "-e",
        "COLOR=red",
        "--log-opt",
        "labels=team",
        "--log-opt",
        "env=COLOR",
        "--log-opt",
        "tag={{.Name}}",
        "busybox",
        "echo",
        "hi",
    ]);
    assert_eq!(
        sandbox.ok(&["logs", "--details", "web"]),
        "COLOR=red,tag=web,team=a hi"
    );
    assert_eq!(sandbox.ok(&["logs", "web"]), "hi");
}

#[test]
fn a_local_log_is_turned_over() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "run",
        "--name",
        "cc",
        "--log-driver",
        "local",
        "--log-opt",
        "max-size=10k",
        "--log-opt",
        "max-file=2",
        "busybox",
        "seq",
        "10000",
        "10999",
    ]);
    let text = sandbox.ok(&["logs", "cc"]);
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines.len() < 300 && lines.last() == Some(&"10999"),
        "{} lines",
        lines.len()
    );
    assert!(lines.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn syslog_gets_every_line_and_logs_reads_the_copy() {
    let sandbox = Sandbox::new();
    let socket = sandbox.path("syslog.sock");
    let receiver = UnixDatagram::bind(&socket).unwrap();
    receiver
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let address = format!("syslog-address=unix://{}", socket.display());
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "cc",
        "--log-driver",
        "syslog",
        "--log-opt",
        &address,
        "--log-opt",
        "tag={{.Name}}",
        "--log-opt",
        "syslog-facility=local1",
        "busybox",
        "sh",
        "-c",
        "echo one; echo two >&2; seq 1 500",
    ]);
    let one = receive(|buffer| receiver.recv(buffer), ": one");
    assert!(one.starts_with("<142>") && one.contains(" cc["), "{one}");
    // Nothing is lost, however slowly it is read; which of the two streams is first is left open.
    let mut last = Vec::new();
    while last.len() < 2 {
        let message = receive(|buffer| receiver.recv(buffer), ": ");
        last.extend(Some(message).filter(|it| it.ends_with(": two") || it.ends_with(": 500")));
    }
    let two = last.iter().find(|message| message.ends_with(": two"));
    assert!(two.is_some_and(|two| two.starts_with("<139>")), "{last:?}");
    sandbox.ok(&["wait", "cc"]);
    let log = sandbox.aril(&["logs", "cc"]);
    assert!(
        log.out.starts_with("one\n1\n2\n") && log.err == "two\n",
        "{log:?}"
    );
}

#[test]
fn syslog_over_udp_has_the_form_that_was_asked_for() {
    let sandbox = Sandbox::new();
    let receiver = sandbox.inside(|| UdpSocket::bind("127.0.0.1:0").unwrap());
    receiver
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let address = format!("syslog-address=udp://{}", receiver.local_addr().unwrap());
    sandbox.ok(&[
        "run",
        "--name",
        "cc",
        "--log-driver",
        "syslog",
        "--log-opt",
        &address,
        "--log-opt",
        "syslog-format=rfc5424",
        "--log-opt",
        "cache-disabled=true",
        "busybox",
        "echo",
        "hello",
    ]);
    let message = receive(|buffer| receiver.recv(buffer), "hello");
    assert!(
        message.starts_with("<30>1 20") && message.ends_with(" - hello"),
        "{message}"
    );
    sandbox
        .aril(&["logs", "cc"])
        .fails(1, "configured logging driver does not support reading");
}

#[test]
fn a_driver_that_is_not_there_is_said() {
    let sandbox = Sandbox::new();
    let address = format!(
        "syslog-address=unix://{}",
        sandbox.path("nothing").display()
    );
    let ran = sandbox.aril(&[
        "run",
        "--log-driver",
        "syslog",
        "--log-opt",
        &address,
        "busybox",
        "true",
    ]);
    // docker tells exit codes by the text, and this one names a file that is not there.
    ran.fails(127, "failed to initialize logging driver");
    sandbox
        .aril(&["run", "--log-driver", "wat", "busybox", "true"])
        .fails(125, "error looking up logging plugin wat");
    sandbox
        .aril(&[
            "run",
            "--log-driver",
            "syslog",
            "--log-opt",
            "max-size=1m",
            "busybox",
            "true",
        ])
        .fails(125, "unknown log opt 'max-size' for syslog log driver");
}

#[test]
fn several_followers_see_restarts_and_turned_files() {
    let sandbox = Sandbox::new();
    let script = "test -e /done && { echo end; exit 0; }; touch /done; seq 10000 12000; exit 1";
    let create = [
        "create",
        "--name",
        "cc",
        "--restart",
        "on-failure",
        "--log-opt",
        "max-size=20k",
        "--log-opt",
        "max-file=20",
        "busybox",
        "sh",
        "-c",
        script,
    ];
    sandbox.ok(&create);
    sandbox.ok(&["start", "cc"]);
    let mut followers = [
        sandbox.spawn(&["logs", "-f", "cc"]),
        sandbox.spawn(&["logs", "-f", "--tail", "all", "cc"]),
    ];
    for follower in &mut followers {
        let ran = follower.wait();
        let lines: Vec<&str> = ran.out.lines().collect();
        assert_eq!(lines.len(), 2002, "{:?}", lines.last());
        assert_eq!(
            (lines[0], lines[2000], lines[2001]),
            ("10000", "12000", "end")
        );
    }
}

#[test]
fn a_long_line_comes_back_whole() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "run",
        "--name",
        "cc",
        "busybox",
        "sh",
        "-c",
        "head -c 50000 /dev/zero | tr '\\0' x; echo; printf end",
    ]);
    let text = sandbox.aril(&["logs", "cc"]).out;
    assert_eq!(text, format!("{}\nend", "x".repeat(50_000)));
    let file = sandbox.inspect("cc", "{{.LogPath}}");
    wait_until("the log has its last entry", || {
        std::fs::read_to_string(&file).unwrap().contains("\"end\"")
    });
    // Each piece has at most 16 KiB.
    let pieces = std::fs::read_to_string(&file).unwrap().lines().count();
    assert_eq!(pieces, 5);
}
