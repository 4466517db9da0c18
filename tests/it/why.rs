//! `why`.

use crate::sandbox::Sandbox;

#[test]
fn who_and_what_ended_a_container() {
    let sandbox = Sandbox::new();
    let script = "echo it begins; echo it fails >&2; exit 3";
    let ran = sandbox.aril(&["run", "--name", "box", "busybox", "sh", "-c", script]);
    assert_eq!(ran.code, 3);
    let text = sandbox.ok(&["why", "box"]);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("box exited with 3, "), "{text}");
    assert!(text.contains("said that it failed"), "{text}");
    assert!(text.contains("      it begins"), "{text}");
    assert!(text.contains("      it fails"), "{text}");

    let sleep = ["run", "-d", "--name", "stopped", "busybox", "sleep", "1000"];
    sandbox.ok(&sleep);
    let text = sandbox.ok(&["container", "why", "stopped"]);
    assert!(text.starts_with("stopped runs, "), "{text}");
    sandbox.ok(&["stop", "-t", "1", "stopped"]);
    let text = sandbox.ok(&["why", "stopped"]);
    assert!(text.contains("stop -t 1 stopped` (process "), "{text}");
    assert!(
        text.contains("asked it to end with SIGTERM; it did not, and was killed after 1 seconds"),
        "{text}"
    );
    assert!(text.contains("--init"), "{text}");
    // The next run has nothing to do with that.
    sandbox.ok(&["start", "stopped"]);
    sandbox.ok(&["kill", "stopped"]);
    let text = sandbox.ok(&["why", "stopped"]);
    assert!(text.contains("sent it SIGKILL"), "{text}");
    assert!(!text.contains("--init"), "{text}");
}

#[test]
fn what_could_not_start_says_why() {
    let sandbox = Sandbox::new();
    let script = "printf '#!/no/such\\n' > /script; chmod 755 /script";
    sandbox.ok(&["run", "--name", "made", "busybox", "sh", "-c", script]);
    sandbox.ok(&["commit", "made", "scripted"]);
    let ran = sandbox.aril(&["run", "--name", "box", "scripted", "/script"]);
    assert_eq!(ran.code, 127);
    let text = sandbox.ok(&["why", "box"]);
    assert!(text.contains("could not be started"), "{text}");
    assert!(text.contains("interpreter /no/such"), "{text}");
    sandbox.ok(&["create", "--name", "new", "busybox"]);
    let text = sandbox.ok(&["why", "new"]);
    assert!(text.contains("has not been started"), "{text}");
    assert!(text.contains("hint: aril start new"), "{text}");
    let error = sandbox.fails(1, &["why", "nosuch"]);
    assert!(error.contains("No such container: nosuch"), "{error}");
}

#[test]
fn too_little_memory_is_named() {
    let sandbox = Sandbox::new();
    let fill = "x=a; while :; do x=$x$x; done";
    let ran = sandbox.aril(&[
        "run",
        "--name",
        "box",
        "-m",
        "16m",
        "--memory-swap",
        "16m",
        "busybox",
        "sh",
        "-c",
        fill,
    ]);
    assert_ne!(ran.code, 0);
    let text = sandbox.ok(&["why", "box"]);
    assert!(
        text.contains("more memory than its limit of 16777216 bytes (-m)"),
        "{text}"
    );
}

#[test]
fn a_stop_signal_that_is_ignored_is_told_once() {
    let sandbox = Sandbox::new();
    // A first process without a handler.
    sandbox.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let said =
        "box did not end at SIGTERM and was killed after 3 seconds: the kernel keeps SIGTERM";
    // Who gives it no time does not want to know.
    let ran = sandbox.aril(&["restart", "-t", "0", "box"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let ran = sandbox.aril(&["restart", "-t", "3", "box"]);
    assert!(
        ran.err.contains(said) && ran.err.contains("--init"),
        "{ran:?}"
    );
    let ran = sandbox.aril(&["stop", "-t", "3", "box"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let why = sandbox.ok(&["why", "box"]);
    assert!(
        why.contains("it did not, and was killed after 3 seconds"),
        "{why}"
    );
    sandbox.ok(&[
        "run", "-d", "--name", "good", "--init", "busybox", "sleep", "1000",
    ]);
    let ran = sandbox.aril(&["stop", "good"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}
