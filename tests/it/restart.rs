//! Restart policies, while the machine is up and after it has been down.

use rustix::process::{Pid, Signal, kill_process};

use crate::sandbox::{Sandbox, wait_until};

/// Returns the monitor of a container: the process whose command line ends with `monitor ID`.
fn monitor(sandbox: &Sandbox, name: &str) -> Pid {
    let id = sandbox.inspect(name, "{{.Id}}");
    let end = format!("\0{id}\0");
    let mut found = None;
    wait_until("the monitor is found", || {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        found = entries
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .find(|pid| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line);
                line.starts_with("aril\0monitor\0") && line.ends_with(&end)
            });
        found.is_some()
    });
    Pid::from_raw(found.unwrap()).unwrap()
}

/// Ends a monitor as a power cut would.
fn kill_monitor(sandbox: &Sandbox, name: &str) {
    let pid = monitor(sandbox, name);
    kill_process(pid, Signal::KILL).unwrap();
    wait_until("the monitor has ended", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        stat.is_err() || stat.unwrap().contains(") Z ")
    });
}

/// Makes the status of a container one of an earlier boot.
fn age(sandbox: &Sandbox, id: &str) {
    let path = sandbox
        .root()
        .join("containers")
        .join(id)
        .join("state.json");
    let mut status: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    status["boot_id"] = "an earlier one".into();
    std::fs::write(&path, status.to_string()).unwrap();
}

#[test]
fn on_failure_gives_up_and_always_does_not() {
    let sandbox = Sandbox::new();
    let fails = [
        "run",
        "-d",
        "--name",
        "fails",
        "--restart",
        "on-failure:2",
        "busybox",
        "sh",
        "-c",
        "echo try; exit 7",
    ];
    sandbox.ok(&fails);
    sandbox.wait_for(
        "fails",
        "{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}",
        "exited 2 7",
    );
    assert_eq!(sandbox.ok(&["logs", "fails"]), "try\ntry\ntry");
    let again = [
        "run",
        "-d",
        "--name",
        "again",
        "--restart",
        "always",
        "busybox",
        "sh",
        "-c",
        "sleep 0.1",
    ];
    sandbox.ok(&again);
    sandbox.wait_for("again", "{{gt .RestartCount 2}}", "true");
    sandbox.ok(&["stop", "-t", "0", "again"]);
    sandbox.wait_for_status("again", "exited");
    // It stays so.
    let count = sandbox.inspect("again", "{{.RestartCount}}");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(
        sandbox.inspect("again", "{{.State.Status}} {{.RestartCount}}"),
        format!("exited {count}")
    );
    let error = sandbox.fails(125, &["run", "--rm", "--restart", "always", "busybox"]);
    assert!(
        error.contains("cannot specify both --restart and --rm"),
        "{error}"
    );
}

#[test]
fn a_kill_ends_the_restarts_unless_another_signal_is_for_that() {
    let sandbox = Sandbox::new();
    let run = |name: &str, more: &[&str]| {
        let mut args = vec!["run", "-d", "--name", name, "--restart", "always"];
        args.extend(more);
        args.extend([
            "busybox",
            "sh",
            "-c",
            "trap 'exit 1' USR1; echo up; while :; do sleep 0.1; done",
        ]);
        sandbox.ok(&args);
        sandbox.wait_for_log(name, "up");
    };
    run("plain", &[]);
    sandbox.ok(&["kill", "plain"]);
    sandbox.wait_for_status("plain", "exited");
    run("other", &["--stop-signal", "TERM"]);
    sandbox.ok(&["kill", "-s", "USR1", "other"]);
    sandbox.wait_for("other", "{{.RestartCount}} {{.State.Status}}", "1 running");
    sandbox.ok(&["kill", "other"]);
    sandbox.wait_for_status("other", "exited");
}

#[test]
fn a_container_whose_monitor_was_killed_starts_again_if_its_policy_says_so() {
    let sandbox = Sandbox::new();
    for (name, policy) in [("kept", "unless-stopped"), ("lost", "no")] {
        sandbox.ok(&[
            "run",
            "-d",
            "--name",
            name,
            "--restart",
            policy,
            "busybox",
            "sleep",
            "1000",
        ]);
        kill_monitor(&sandbox, name);
    }
    assert_eq!(
        sandbox.inspect("kept", "{{.State.Status}} {{.RestartCount}}"),
        "running 1"
    );
    assert_eq!(
        sandbox.inspect("lost", "{{.State.Status}} {{.State.ExitCode}}"),
        "exited 137"
    );
}

#[test]
fn after_a_boot_policies_decide() {
    let sandbox = Sandbox::new();
    let containers = [
        ("always", "always", "running"),
        ("stopped", "always", "running"),
        ("unless", "unless-stopped", "running"),
        ("by-hand", "unless-stopped", "exited"),
        ("failure", "on-failure", "running"),
        ("no", "no", "exited"),
    ];
    for (name, policy, _) in containers {
        sandbox.ok(&[
            "run",
            "-d",
            "--name",
            name,
            "--restart",
            policy,
            "busybox",
            "sleep",
            "1000",
        ]);
        let id = sandbox.inspect(name, "{{.Id}}");
        if matches!(name, "stopped" | "by-hand") {
            sandbox.ok(&["stop", "-t", "0", name]);
        } else {
            kill_monitor(&sandbox, name);
        }
        age(&sandbox, &id);
    }
    sandbox.ok(&["create", "--name", "new", "--restart", "always", "busybox"]);
    let started = sandbox.ok(&["system", "boot"]);
    assert_eq!(started, "always\nstopped\nunless\nfailure");
    for (name, _, status) in containers {
        assert_eq!(sandbox.inspect(name, "{{.State.Status}}"), status, "{name}");
    }
    assert_eq!(sandbox.inspect("new", "{{.State.Status}}"), "created");
    assert_eq!(sandbox.ok(&["system", "boot"]), "");
}

#[test]
fn a_monitor_that_is_asked_to_end_stops_its_container_and_is_no_user() {
    let sandbox = Sandbox::new();
    let script = "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done";
    let run = [
        "run",
        "-d",
        "--name",
        "box",
        "--restart",
        "unless-stopped",
        "busybox",
        "sh",
        "-c",
        script,
    ];
    sandbox.ok(&run);
    sandbox.wait_for_log("box", "up");
    let id = sandbox.inspect("box", "{{.Id}}");
    kill_process(monitor(&sandbox, "box"), Signal::TERM).unwrap();
    sandbox.wait_for("box", "{{.State.Status}} {{.State.ExitCode}}", "exited 5");
    age(&sandbox, &id);
    assert_eq!(sandbox.ok(&["system", "boot"]), "box");
}
