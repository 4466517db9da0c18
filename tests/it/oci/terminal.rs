//! Terminals: size, name, session, the socket that they are handed over by.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use super::{Ran, Sandbox};
use aril::sys::fdpass;
use serde_json::json;

/// Creates a container with a terminal and starts it; returns its id and the master side.
fn start(sandbox: &mut Sandbox) -> (String, std::fs::File) {
    let id = sandbox.id("c");
    let socket = sandbox.dir.join("console");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut create = sandbox.command(&["create", "--console-socket", "console", &id]);
    let output = create
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let master = receive(&listener);
    std::fs::remove_file(socket).unwrap();
    Ran::from(sandbox.call(&["start", &id])).ok();
    (id, master.into())
}

fn receive(listener: &UnixListener) -> OwnedFd {
    let (stream, _) = listener.accept().unwrap();
    let (_, mut fds) = fdpass::receive(stream.as_fd(), 4096).unwrap().unwrap();
    assert_eq!(fds.len(), 1);
    fds.remove(0)
}

/// Reads until `text` has come.
fn read_until(master: &mut std::fs::File, text: &str) -> String {
    let mut seen = String::new();
    while !seen.contains(text) {
        let mut buffer = [0; 100];
        let length = master.read(&mut buffer).unwrap();
        seen.push_str(
            &std::str::from_utf8(&buffer[..length])
                .unwrap()
                .replace('\r', ""),
        );
    }
    seen
}

/// Reads until the other side is closed.
fn read_all(mut master: std::fs::File) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        match master.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => all.extend(&buffer[..length]),
            Err(error) if error.raw_os_error() == Some(libc::EIO) => break,
            Err(error) => panic!("{error}"),
        }
    }
    String::from_utf8(all).unwrap().replace('\r', "")
}

#[test]
fn the_size_is_there_from_the_start() {
    let mut sandbox = Sandbox::new(
        "tty; stty size; tty < /dev/console; stat -c '%u %a' /dev/pts/0; ls /proc/self/fd | tr '\\n' ' '; read line; echo got $line",
    );
    sandbox
        .set("/process/terminal", json!(true))
        .set("/process/consoleSize", json!({"height": 33, "width": 77}))
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let (_, mut master) = start(&mut sandbox);
    let mut said = read_until(&mut master, "0 1 2 3 ");
    master.write_all(b"word\n").unwrap();
    said.push_str(&read_all(master));
    assert!(
        said.contains("/dev/pts/0\n33 77\n/dev/console\n1000 620\n0 1 2 3 "),
        "{said}"
    );
    assert!(said.contains("got word"), "{said}");
}

#[test]
fn the_terminal_controls_the_session() {
    let mut sandbox = Sandbox::new(
        "trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.05; done",
    );
    sandbox.set("/process/terminal", json!(true));
    let (id, mut master) = start(&mut sandbox);
    read_until(&mut master, "ready");
    master.write_all(&[3]).unwrap();
    assert!(read_all(master).contains("interrupted"));
    sandbox.wait_for_status(&id, "stopped");
}

#[test]
fn a_terminal_in_the_foreground_is_relayed() {
    let mut sandbox = Sandbox::new("test -t 0 && tty; read line; echo got $line; exit 6");
    sandbox.set("/process/terminal", json!(true));
    let id = sandbox.id("run");
    let mut command = sandbox.command(&["run", &id]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 6, "{ran:?}");
    assert!(
        ran.out.contains("/dev/pts/0") && ran.out.contains("got hello"),
        "{ran:?}"
    );
}

#[test]
fn terminals_and_sockets_must_fit() {
    let mut sandbox = Sandbox::new("true");
    let id = sandbox.id("c");
    let refused =
        |sandbox: &Sandbox, args: &[&str], text| Ran::from(sandbox.call(args)).fails(1, text);
    refused(
        &sandbox,
        &["create", "--console-socket", "x", &id],
        "cannot use console socket if runc will not detach or allocate tty",
    );
    sandbox.set("/process/terminal", json!(true));
    refused(
        &sandbox,
        &["create", &id],
        "cannot allocate tty if runc will detach without setting console socket",
    );
    let mounts = sandbox.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/dev/pts");
    refused(
        &sandbox,
        &["run", &id],
        "a terminal needs a mount of type devpts on /dev/pts",
    );
}

#[test]
fn a_process_that_joins_can_have_a_terminal() {
    let mut sandbox = Sandbox::new("exec sleep 1000");
    let id = sandbox.start("c");
    let listener = UnixListener::bind(sandbox.dir.join("console")).unwrap();
    let process = json!({"terminal": true, "args": ["sh", "-c", "tty; stty size"], "cwd": "/", "env": ["PATH=/bin"],
        "consoleSize": {"height": 12, "width": 34}});
    std::fs::write(sandbox.dir.join("process.json"), process.to_string()).unwrap();
    let args = [
        "exec",
        "--process",
        "process.json",
        "--detach",
        "--console-socket",
        "console",
        &id,
    ];
    Ran::from(sandbox.call(&args)).ok();
    let said = read_all(receive(&listener).into());
    assert_eq!(said, "/dev/pts/0\n12 34\n");
    // What a container puts at /dev/pts/ptmx is not taken for a terminal.
    let mut sandbox = Sandbox::new("exec sleep 1000");
    let mounts = sandbox.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/dev/pts");
    let id = sandbox.start("c");
    sandbox
        .exec(
            &id,
            &["sh", "-c", "mkdir /dev/pts && mknod /dev/pts/ptmx c 1 3"],
        )
        .ok();
    sandbox
        .exec(&id, &["--tty", "--", "true"])
        .fails(255, "open a terminal: no such device");
    sandbox.exec(&id, &["rm", "/dev/pts/ptmx"]).ok();
    sandbox.exec(&id, &["touch", "/dev/pts/ptmx"]).ok();
    sandbox
        .exec(&id, &["--tty", "--", "true"])
        .fails(255, "open a terminal");
}
