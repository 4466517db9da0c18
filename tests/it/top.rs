//! `top`.

use crate::sandbox::Sandbox;

#[test]
fn processes_are_shown_as_ps_shows_them() {
    let sandbox = Sandbox::new();
    let script = "sleep 1001 & exec sleep 1002";
    sandbox.ok(&[
        "run", "-d", "--name", "box", "-u", "1234", "busybox", "sh", "-c", script,
    ]);
    crate::sandbox::wait_until("both processes are there", || {
        sandbox.ok(&["top", "box"]).lines().count() == 3
    });
    let full = sandbox.ok(&["top", "box"]);
    let lines: Vec<Vec<&str>> = full
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    );
    assert_eq!(
        (lines[1][0], &lines[1][7..]),
        ("1234", &["sleep", "1002"][..])
    );
    assert_eq!(lines[1][1], sandbox.inspect("box", "{{.State.Pid}}"));
    assert_eq!(lines[2][2], lines[1][1]);
    // Columns are as wide as docker makes them.
    assert_eq!(full.find("PID"), Some(20));
    let names = sandbox.ok(&["container", "top", "box", "-o", "pid,comm"]);
    assert!(
        names.lines().skip(1).all(|line| line.ends_with("sleep")),
        "{names}"
    );
    let users = sandbox.ok(&["top", "box", "aux"]);
    assert!(
        users.starts_with("USER") && users.contains("%CPU"),
        "{users}"
    );
}

#[test]
fn top_needs_a_running_container_and_pids() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "--name", "new", "busybox"]);
    let error = sandbox.fails(1, &["top", "new"]);
    assert!(error.ends_with("is not running"), "{error}");
    sandbox
        .aril(&["top", "nosuch"])
        .fails(1, "No such container: nosuch");
    sandbox.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    sandbox
        .aril(&["top", "box", "-o", "comm"])
        .fails(1, "Couldn't find PID field in ps output");
}
