//! create, start, state, kill, delete, run: exit codes, states, errors.

use std::os::unix::fs::PermissionsExt as _;

use super::{Ran, Sandbox, cgroups_of, until};
use serde_json::json;

#[test]
fn run_ends_with_the_code_of_the_program() {
    for (script, code) in [
        ("true", 0),
        ("exit 7", 7),
        ("kill -9 $$; sleep 9", 137),
        ("kill -TERM $$; sleep 9", 143),
    ] {
        // The first process of a pid namespace ignores signals to itself, so the shell is not the first.
        let mut sandbox = Sandbox::new(&format!("sh -c '{script}'; exit $?"));
        assert_eq!(sandbox.run().code, code, "{script}");
    }
}

#[test]
fn programs_that_cannot_run_are_named() {
    let mut sandbox = Sandbox::new("");
    let rootfs = sandbox.rootfs();
    let script = |name: &str, content: &str| {
        let path = rootfs.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    script("nointerpreter", "#!/no/such\n");
    script("windows", "#!/bin/sh\r\necho\r\n");
    script("text", "echo hello\n");
    script("empty", "");
    for (program, text) in [
        (
            "nosuch",
            "exec: \"nosuch\": executable file not found in $PATH",
        ),
        (
            "/nosuch",
            "exec: \"/nosuch\": stat /nosuch: no such file or directory",
        ),
        ("/etc", "exec: \"/etc\": is a directory"),
        ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
        (
            "/nointerpreter",
            "exec /nointerpreter: no such file or directory (its interpreter /no/such: no such file or directory)",
        ),
        ("/windows", "the script has the line ends of Windows"),
        ("/text", "exec /text: exec format error (neither a program"),
        (
            "/empty",
            "exec /empty: exec format error (the file is empty)",
        ),
    ] {
        sandbox.args(&[program]).run().fails(1, text);
        // What failed is gone: the same id is free.
        let id = sandbox.id("run");
        assert!(cgroups_of(&id).is_empty());
    }
}

#[test]
fn a_container_has_its_states() {
    let mut sandbox = Sandbox::new("exec sleep 1000");
    let id = sandbox.id("c");
    let output = |sandbox: &Sandbox, args: &[&str]| Ran::from(sandbox.call(args));
    output(&sandbox, &["state", &id]).fails(1, &format!("container {id:?} does not exist"));
    sandbox.call_and_leave(&["create", "--pid-file", "pid", &id]);
    assert_eq!(sandbox.status(&id), "created");
    let pid = std::fs::read_to_string(sandbox.dir.join("pid")).unwrap();
    assert_eq!(sandbox.state(&id)["pid"].to_string(), pid);
    let state = sandbox.state(&id);
    assert_eq!(state["ociVersion"], "1.2.0");
    assert_eq!(state["id"], id.as_str());
    assert_eq!(state["bundle"], sandbox.dir.to_str().unwrap());
    assert!(state["created"].as_str().unwrap().ends_with('Z'));

    output(&sandbox, &["create", &id]).fails(1, "container with given ID already exists");
    output(&sandbox, &["start", &id]).ok();
    assert_eq!(sandbox.status(&id), "running");
    // Its shell has yet to become what it runs.
    until("the program is sleep", || {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap() == "sleep\n"
    });
    output(&sandbox, &["start", &id]).fails(1, "cannot start an already running container");
    output(&sandbox, &["delete", &id]).fails(1, "that is not stopped: running");

    output(&sandbox, &["pause", &id]).ok();
    assert_eq!(sandbox.status(&id), "paused");
    output(&sandbox, &["exec", &id, "true"]).fails(255, "cannot exec in a paused container");
    output(&sandbox, &["resume", &id]).ok();
    assert_eq!(sandbox.status(&id), "running");

    let listed = output(&sandbox, &["list", "--format", "json"]).ok();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["id"], id.as_str());
    output(&sandbox, &["list", "-q"]).says(&id);

    output(&sandbox, &["kill", &id, "KILL"]).ok();
    sandbox.wait_for_status(&id, "stopped");
    assert_eq!(sandbox.state(&id)["pid"], 0);
    output(&sandbox, &["kill", &id, "TERM"]).fails(1, "container not running");
    output(&sandbox, &["start", &id]).fails(1, "cannot start a container that has stopped");
    output(&sandbox, &["exec", &id, "true"]).fails(255, "cannot exec in a stopped container");
    output(&sandbox, &["delete", &id]).ok();
    output(&sandbox, &["delete", &id]).fails(1, "does not exist");
    output(&sandbox, &["delete", "--force", &id]).ok();
}

#[test]
fn a_created_container_can_be_deleted() {
    let mut sandbox = Sandbox::new("true");
    let id = sandbox.id("c");
    sandbox.call_and_leave(&["create", &id]);
    Ran::from(sandbox.call(&["delete", &id])).ok();
    assert!(cgroups_of(&id).is_empty());
}

#[test]
fn an_error_of_the_start_is_told_to_who_starts() {
    let mut sandbox = Sandbox::new("");
    sandbox.args(&["/bin/program"]);
    let program = sandbox.rootfs().join("bin/program");
    std::fs::copy(sandbox.rootfs().join("bin/busybox"), &program).unwrap();
    let id = sandbox.id("c");
    sandbox.call_and_leave(&["create", &id]);
    std::fs::remove_file(program).unwrap();
    Ran::from(sandbox.call(&["start", &id]))
        .fails(1, "exec /bin/program: no such file or directory");
    sandbox.wait_for_status(&id, "stopped");
}

#[test]
fn signals_reach_the_program() {
    let mut sandbox =
        Sandbox::new("trap 'echo got TERM; exit 42' TERM; echo ready; while :; do sleep 0.1; done");
    let id = sandbox.id("run");
    let mut command = sandbox.command(&["run", &id]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "got TERM");
    assert_eq!(child.wait().unwrap().code(), Some(42));
}

#[test]
fn kill_takes_names_and_numbers() {
    let script =
        "trap 'echo hup >> /tmp/got' HUP; trap 'echo usr1 >> /tmp/got' USR1; echo > /tmp/got
        while :; do sleep 0.05; done";
    let mut sandbox = Sandbox::new(script);
    let id = sandbox.start("c");
    let got = sandbox.rootfs().join("tmp/got");
    // The file is there before its line is.
    until("the traps are set", || {
        std::fs::read_to_string(&got).is_ok_and(|text| text == "\n")
    });
    for (signal, seen) in [("HUP", "hup"), ("sigusr1", "usr1"), ("1", "hup")] {
        let before = std::fs::read_to_string(&got).unwrap();
        Ran::from(sandbox.call(&["kill", &id, signal])).ok();
        let expected = format!("{before}{seen}\n");
        until(signal, || {
            std::fs::read_to_string(&got).unwrap() == expected
        });
    }
    Ran::from(sandbox.call(&["kill", &id, "NOPE"])).fails(1, "unknown signal \"NOPE\"");
}

#[test]
fn all_processes_die_with_a_container_that_shares_pids() {
    let mut sandbox = Sandbox::new("sleep 1001 & sleep 1002 & exec sleep 1003");
    sandbox.without_namespace("pid");
    let id = sandbox.start("c");
    let procs = cgroups_of(&id)[0].join("cgroup.procs");
    let count = || std::fs::read_to_string(&procs).map_or(0, |text| text.lines().count());
    until("three processes run", || count() == 3);
    Ran::from(sandbox.call(&["kill", &id, "KILL"])).ok();
    sandbox.wait_for_status(&id, "stopped");
    Ran::from(sandbox.call(&["delete", &id])).ok();
    assert!(cgroups_of(&id).is_empty());
}

#[test]
fn a_wrong_configuration_is_named() {
    let mut sandbox = Sandbox::new("true");
    let fresh = sandbox.config.clone();
    for (path, value, text) in [
        ("/process/args", json!([]), "args must not be empty"),
        ("/process/cwd", json!("rel"), "cwd must be an absolute path"),
        ("/ociVersion", json!("2.0.0"), "unsupported ociVersion"),
        (
            "/linux/namespaces",
            json!([{"type": "pid"}]),
            "a container needs a mount namespace",
        ),
        ("/root/path", json!("nowhere"), "no such file or directory"),
        (
            "/linux/sysctl",
            json!({"kernel.core_pattern": "|/x"}),
            "is not in a separate kernel namespace",
        ),
        (
            "/process/apparmorProfile",
            json!("x"),
            "apparmor is not supported by this host",
        ),
        (
            "/process/selinuxLabel",
            json!("x"),
            "selinux is disabled or not supported",
        ),
        (
            "/linux/rootfsPropagation",
            json!("odd"),
            "rootfsPropagation=odd is not supported",
        ),
        (
            "/linux/intelRdt",
            json!({}),
            "linux.intelRdt is not supported",
        ),
    ] {
        sandbox.config = fresh.clone();
        sandbox.set(path, value).run().fails(1, text);
    }
    let id = sandbox.id("run");
    Ran::from(sandbox.call(&["run", "--bundle", "/nowhere", &id])).fails(1, "open bundle /nowhere");
    Ran::from(sandbox.call(&["run", "a/b"])).fails(1, "invalid container ID format: \"a/b\"");
}

#[test]
fn the_log_has_the_error() {
    let mut sandbox = Sandbox::new("");
    sandbox.args(&["nosuch"]);
    let id = sandbox.id("run");
    let args = ["--log", "log.json", "--log-format", "json", "run", &id];
    assert!(!sandbox.call(&args).status.success());
    let log = std::fs::read_to_string(sandbox.dir.join("log.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(record["level"], "error");
    assert!(
        record["msg"]
            .as_str()
            .unwrap()
            .contains("executable file not found in $PATH")
    );
}
