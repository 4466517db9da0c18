//! `create`, `start`, `stop`, `kill`, `restart`, `pause`, `rename`, `wait` and `rm`.

use std::time::{Duration, Instant};

use crate::sandbox::{Sandbox, image, wait_until};

const STATE: &str = "{{.State.Status}} {{.State.ExitCode}}";
/// Says when it is ready, and what it was asked.
const TRAPS: &str = "trap 'echo got term; exit 7' TERM; trap 'echo got hup' HUP; trap 'echo got quit; exit 8' QUIT; \
                     echo ready; while :; do sleep 0.05; done";

fn running(sandbox: &Sandbox, options: &[&str], script: &str) {
    let mut args = vec!["run", "-d", "--name", "box"];
    args.extend(options);
    args.extend(["busybox", "sh", "-c", script]);
    sandbox.ok(&args);
    if script == TRAPS {
        sandbox.wait_for_log("box", "ready");
    }
}

#[test]
fn a_container_is_made_started_stopped_and_removed() {
    let sandbox = Sandbox::new();
    let id = sandbox.ok(&["create", "--name", "box", "busybox", "sleep", "1000"]);
    assert_eq!(id.len(), 64);
    assert_eq!(sandbox.inspect("box", STATE), "created 0");
    assert_eq!(sandbox.ok(&["start", "box"]), "box");
    assert_eq!(sandbox.inspect("box", STATE), "running 0");
    assert_eq!(sandbox.ok(&["start", "box"]), "box", "it runs already");
    assert_eq!(sandbox.ok(&["stop", "-t", "0", "box"]), "box");
    assert_eq!(sandbox.inspect("box", STATE), "exited 137");
    assert_eq!(
        sandbox.ok(&["stop", "box"]),
        "box",
        "it has stopped already"
    );
    assert_eq!(sandbox.ok(&["start", "box"]), "box");
    assert_eq!(sandbox.inspect("box", STATE), "running 0");
    let error = sandbox.fails(1, &["rm", "box"]);
    assert!(
        error.contains(
            "cannot remove container \"box\": container is running: stop the container before removing or force remove"
        ),
        "{error}"
    );
    assert_eq!(sandbox.ok(&["rm", "-f", "box"]), "box");
    let error = sandbox.fails(1, &["rm", "box"]);
    assert!(error.contains("No such container: box"), "{error}");
    let ran = sandbox.aril(&["rm", "-f", "box"]);
    assert_eq!(ran.code, 0, "that there is none is no error with -f");
}

#[test]
fn a_program_ends_by_itself() {
    let sandbox = Sandbox::new();
    let mount = format!("{}:/other:ro", image::rootfs().display());
    let script = "ls /other/bin/busybox; echo oh >&2; exit 9";
    running(&sandbox, &["-v", &mount], script);
    sandbox.wait_for_status("box", "exited");
    sandbox.wait_for("box", "{{.State.ExitCode}}", "9");
    let ran = sandbox.aril(&["logs", "box"]);
    assert_eq!(
        (ran.out.as_str(), ran.err.as_str()),
        ("/other/bin/busybox\n", "oh\n")
    );
}

#[test]
fn stopping_asks_first() {
    let sandbox = Sandbox::new();
    running(&sandbox, &[], TRAPS);
    sandbox.ok(&["stop", "box"]);
    assert_eq!(sandbox.inspect("box", STATE), "exited 7");
    assert_eq!(sandbox.ok(&["logs", "box"]), "ready\ngot term");
    // Another signal, by option or from the container's configuration.
    sandbox.ok(&["start", "box"]);
    wait_until("it is ready again", || {
        sandbox.ok(&["logs", "box"]).ends_with("ready")
    });
    sandbox.ok(&["stop", "--signal", "QUIT", "box"]);
    assert_eq!(sandbox.inspect("box", STATE), "exited 8");
    sandbox.ok(&["rm", "box"]);
    running(&sandbox, &["--stop-signal", "SIGQUIT"], TRAPS);
    sandbox.ok(&["stop", "box"]);
    assert_eq!(sandbox.inspect("box", STATE), "exited 8");
}

#[test]
fn who_does_not_listen_is_killed_after_a_while() {
    let sandbox = Sandbox::new();
    running(
        &sandbox,
        &["--stop-timeout", "1"],
        "trap '' TERM; echo ready; sleep 1000",
    );
    sandbox.wait_for_log("box", "ready");
    let before = Instant::now();
    sandbox.ok(&["stop", "box"]);
    assert!(before.elapsed() >= Duration::from_secs(1));
    assert_eq!(sandbox.inspect("box", STATE), "exited 137");
    sandbox.ok(&["start", "box"]);
    sandbox.ok(&["stop", "-t", "0", "box"]);
    assert_eq!(sandbox.inspect("box", STATE), "exited 137");
}

#[test]
fn signals_by_name_and_number() {
    let sandbox = Sandbox::new();
    running(&sandbox, &[], TRAPS);
    for signal in ["HUP", "SIGHUP", "1"] {
        assert_eq!(sandbox.ok(&["kill", "-s", signal, "box"]), "box");
    }
    sandbox.wait_for_log("box", "got hup\n");
    assert_eq!(sandbox.inspect("box", STATE), "running 0");
    let error = sandbox.fails(1, &["kill", "-s", "NOSUCH", "box"]);
    assert!(error.contains("NOSUCH"), "{error}");
    // After SIGKILL the end is waited for.
    sandbox.ok(&["kill", "box"]);
    assert_eq!(sandbox.inspect("box", STATE), "exited 137");
    let error = sandbox.fails(1, &["kill", "box"]);
    assert!(
        error.contains("cannot kill container: box: container") && error.contains("is not running"),
        "{error}"
    );
}

#[test]
fn restarting_keeps_what_goes_at_its_end() {
    let sandbox = Sandbox::new();
    let script = "echo x >> /runs; wc -l < /runs; exec sleep 1000";
    running(&sandbox, &["--rm"], script);
    sandbox.wait_for_log("box", "1\n");
    sandbox.ok(&["restart", "-t", "0", "box"]);
    wait_until("it has what it wrote before", || {
        sandbox.ok(&["logs", "box"]).ends_with('2')
    });
    sandbox.ok(&["stop", "-t", "0", "box"]);
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
}

#[test]
fn a_new_container_takes_the_place_of_another() {
    let sandbox = Sandbox::new();
    running(
        &sandbox,
        &["-v", "kept:/data"],
        "echo 1 > /data/file; exec sleep 1000",
    );
    let first = sandbox.inspect("box", "{{.Id}}");
    // What cannot be made replaces nothing.
    let replace = ["create", "--name", "box", "--replace"];
    sandbox.fails(
        1,
        &[&replace[..], &["--volumes-from", "nosuch", "busybox"]].concat(),
    );
    assert_eq!(sandbox.inspect("box", "{{.Id}}"), first);
    let second = sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "--replace",
        "-v",
        "kept:/data",
        "busybox",
        "sleep",
        "1000",
    ]);
    assert_eq!(sandbox.ok(&["ps", "-aq", "--no-trunc"]), second);
    assert_eq!(sandbox.ok(&["exec", "box", "cat", "/data/file"]), "1");
    let error = sandbox.fails(125, &["run", "--replace", "busybox", "true"]);
    assert!(error.contains("--name"), "{error}");
}

#[test]
fn restarting_by_hand() {
    let sandbox = Sandbox::new();
    running(&sandbox, &[], TRAPS);
    let first = sandbox.inspect("box", "{{.State.Pid}}");
    assert_eq!(sandbox.ok(&["restart", "box"]), "box");
    assert_eq!(
        sandbox.inspect("box", "{{.State.Status}} {{.RestartCount}}"),
        "running 0"
    );
    assert_ne!(sandbox.inspect("box", "{{.State.Pid}}"), first);
    assert!(sandbox.ok(&["logs", "box"]).contains("got term"));
    sandbox.ok(&["stop", "-t", "0", "box"]);
    sandbox.ok(&["restart", "-t", "0", "box"]);
    assert_eq!(sandbox.inspect("box", "{{.State.Status}}"), "running");
}

#[test]
fn restart_policies() {
    let sandbox = Sandbox::new();
    running(&sandbox, &["--restart", "on-failure:2"], "echo x; exit 3");
    wait_until("it has given up", || {
        sandbox.inspect(
            "box",
            "{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}",
        ) == "exited 2 3"
    });
    assert_eq!(sandbox.ok(&["logs", "box"]), "x\nx\nx");
    sandbox.ok(&["rm", "box"]);
    running(&sandbox, &["--restart", "on-failure"], "exit 0");
    sandbox.wait_for_status("box", "exited");
    assert_eq!(sandbox.inspect("box", "{{.RestartCount}}"), "0");
    sandbox.ok(&["rm", "box"]);
    running(&sandbox, &["--restart", "always"], "exit 0");
    wait_until("it runs again and again", || {
        sandbox
            .inspect("box", "{{.RestartCount}}")
            .parse::<u32>()
            .unwrap()
            >= 2
    });
    // A stop by its user is for good.
    sandbox.ok(&["stop", "box"]);
    let count = sandbox.inspect("box", "{{.RestartCount}}");
    assert_eq!(sandbox.inspect("box", "{{.State.Status}}"), "exited");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(
        sandbox.inspect("box", "{{.State.Status}} {{.RestartCount}}"),
        format!("exited {count}")
    );
    let error = sandbox.fails(125, &["run", "--rm", "--restart", "always", "busybox"]);
    assert!(
        error.contains("conflicting options: cannot specify both --restart and --rm"),
        "{error}"
    );
}

#[test]
fn pausing_stops_all_of_it() {
    let sandbox = Sandbox::new();
    running(&sandbox, &[], "while :; do echo x; sleep 0.01; done");
    sandbox.wait_for_log("box", "x");
    assert_eq!(sandbox.ok(&["pause", "box"]), "box");
    assert_eq!(
        sandbox.inspect(
            "box",
            "{{.State.Status}} {{.State.Paused}} {{.State.Running}}"
        ),
        "paused true true"
    );
    let before = sandbox.ok(&["logs", "box"]).len();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(sandbox.ok(&["logs", "box"]).len(), before);
    let error = sandbox.fails(1, &["pause", "box"]);
    assert!(error.contains("is already paused"), "{error}");
    let error = sandbox.fails(1, &["start", "box"]);
    assert!(
        error.contains("cannot start a paused container, try unpause instead"),
        "{error}"
    );
    assert_eq!(sandbox.ok(&["unpause", "box"]), "box");
    wait_until("it goes on", || sandbox.ok(&["logs", "box"]).len() > before);
    let error = sandbox.fails(1, &["unpause", "box"]);
    assert!(error.contains("is not paused"), "{error}");
    // A paused one can be stopped and removed.
    sandbox.ok(&["pause", "box"]);
    sandbox.ok(&["stop", "-t", "1", "box"]);
    assert_eq!(sandbox.inspect("box", "{{.State.Status}}"), "exited");
    sandbox.ok(&["start", "box"]);
    sandbox.ok(&["pause", "box"]);
    sandbox.ok(&["rm", "-f", "box"]);
}

#[test]
fn renaming() {
    let sandbox = Sandbox::new();
    running(&sandbox, &[], "sleep 1000");
    sandbox.ok(&["create", "--name", "other", "busybox"]);
    assert_eq!(sandbox.ok(&["rename", "box", "case"]), "");
    assert_eq!(sandbox.inspect("case", "{{.Name}}"), "/case");
    let error = sandbox.fails(1, &["inspect", "--type", "container", "box"]);
    assert!(error.contains("No such container: box"), "{error}");
    let error = sandbox.fails(1, &["rename", "case", "other"]);
    assert!(error.contains("is already in use by container"), "{error}");
    let error = sandbox.fails(1, &["rename", "case", "a b"]);
    assert!(error.contains("Invalid container name"), "{error}");
    // The old name is free again.
    sandbox.ok(&["create", "--name", "box", "busybox"]);
}

#[test]
fn waiting_tells_the_exit_code() {
    let sandbox = Sandbox::new();
    running(&sandbox, &[], "sleep 0.3; exit 4");
    assert_eq!(sandbox.ok(&["wait", "box"]), "4");
    assert_eq!(sandbox.ok(&["wait", "box"]), "4", "it has ended already");
    sandbox.ok(&[
        "run", "-d", "--name", "other", "busybox", "sh", "-c", "exit 5",
    ]);
    assert_eq!(sandbox.ok(&["wait", "box", "other"]), "4\n5");
    let error = sandbox.fails(1, &["wait", "nosuch"]);
    assert!(error.contains("No such container: nosuch"), "{error}");
}

#[test]
fn several_at_once_are_all_tried() {
    let sandbox = Sandbox::new();
    running(&sandbox, &[], "sleep 1000");
    sandbox.ok(&["run", "-d", "--name", "two", "busybox", "sleep", "1000"]);
    let ran = sandbox.aril(&["stop", "-t", "0", "nosuch", "box", "two"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, "box\ntwo\n"));
    assert!(ran.err.contains("No such container: nosuch"), "{ran:?}");
    let ran = sandbox.aril(&["rm", "two", "nosuch", "box"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, "two\nbox\n"));
}

#[test]
fn starting_attached() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "create",
        "--name",
        "box",
        "-i",
        "busybox",
        "sh",
        "-c",
        "cat; echo err >&2; exit 3",
    ]);
    let ran = sandbox.feed(&["start", "-ai", "box"], b"given\n");
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (3, "given\n", "err\n")
    );
    let ran = sandbox.feed(&["start", "-ai", "box"], b"again\n");
    assert_eq!((ran.code, ran.out.as_str()), (3, "again\n"));
}

#[test]
fn names_and_ids_find_it() {
    let sandbox = Sandbox::new();
    let id = sandbox.ok(&["create", "--name", "box", "busybox"]);
    for text in ["box", "/box", &id, &id[..12], &id[..4]] {
        assert_eq!(sandbox.inspect(text, "{{.Id}}"), id, "{text}");
    }
    // A name that looks like the beginning of an id wins.
    let other = sandbox.ok(&["create", "--name", &id[..5], "busybox"]);
    assert_eq!(sandbox.inspect(&id[..5], "{{.Id}}"), other);
    let error = sandbox.fails(1, &["stop", "g"]);
    assert!(error.contains("No such container: g"), "{error}");
}

#[test]
fn pruning_takes_what_has_stopped() {
    let sandbox = Sandbox::new();
    running(&sandbox, &[], "sleep 1000");
    let made = sandbox.ok(&["create", "busybox"]);
    let ended = sandbox.ok(&[
        "run", "-d", "--name", "ended", "-l", "keep", "busybox", "true",
    ]);
    sandbox.wait_for_status("ended", "exited");
    let ran = sandbox.feed(&["container", "prune"], b"n\n");
    assert!(
        ran.out
            .contains("WARNING! This will remove all stopped containers."),
        "{ran:?}"
    );
    let said = sandbox.ok(&["container", "prune", "-f", "--filter", "label!=keep"]);
    assert!(
        said.starts_with(&format!("Deleted Containers:\n{made}\n")),
        "{said}"
    );
    assert!(said.contains("Total reclaimed space: "), "{said}");
    let said = sandbox.feed(&["container", "prune"], b"y\n").ok();
    assert!(said.contains(&ended), "{said}");
    assert_eq!(sandbox.ok(&["ps", "-a", "--format", "{{.Names}}"]), "box");
}

#[test]
fn each_command_has_its_longer_name() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "container",
        "create",
        "--name",
        "box",
        "busybox",
        "sleep",
        "1000",
    ]);
    for verb in [
        "start",
        "pause",
        "unpause",
        "restart -t 0",
        "stop -t 0",
        "start",
        "kill",
    ] {
        let mut args = vec!["container"];
        args.extend(verb.split(' '));
        args.push("box");
        assert_eq!(sandbox.ok(&args), "box", "{verb}");
    }
    sandbox.ok(&["container", "wait", "box"]);
    sandbox.ok(&["container", "rename", "box", "case"]);
    for list in ["ls", "list", "ps"] {
        assert!(sandbox.ok(&["container", list, "-a"]).contains("case"));
    }
    sandbox.ok(&["container", "logs", "case"]);
    sandbox.ok(&["container", "inspect", "case"]);
    sandbox.ok(&["container", "diff", "case"]);
    sandbox.ok(&["container", "commit", "case", "image"]);
    sandbox.ok(&["container", "run", "--rm", "image", "true"]);
    sandbox.ok(&["container", "rm", "case"]);
    for list in ["ls", "list"] {
        assert!(sandbox.ok(&["image", list]).contains("busybox"));
    }
    sandbox.ok(&["image", "tag", "image", "other"]);
    sandbox.ok(&["image", "history", "other"]);
    sandbox.ok(&["image", "save", "-o", "file", "other"]);
    sandbox.ok(&["image", "rm", "other", "image"]);
    sandbox.ok(&["image", "load", "-i", "file"]);
    assert!(sandbox.ok(&["version"]).contains("Version:"));
    assert!(sandbox.ok(&["info"]).contains("Containers:"));
    assert!(sandbox.ok(&["system", "info"]).contains("Containers:"));
}

#[test]
fn a_monitor_writes_a_log_of_its_own() {
    let sandbox = Sandbox::new();
    let run = ["run", "-d", "--name", "box", "--network", "none"];
    let mut command = sandbox.aril_command(&[&run[..], &["busybox", "sleep", "1000"]].concat());
    command.env("ARIL_LOG", "debug");
    sandbox.run(command).ok();
    let id = sandbox.inspect("box", "{{.Id}}");
    let folder = sandbox.root().join("containers").join(id);
    let log = std::fs::read_to_string(folder.join("monitor.log")).unwrap();
    assert!(log.contains(" debug: "), "{log}");
}
