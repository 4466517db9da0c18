//! `create`, `start`, `stop`, `kill`, `restart`, `pause`, `rename`, `wait` and `rm`.

use crate::sandbox::{Sandbox, image};

#[test]
fn a_container_is_made_started_stopped_and_removed() {
    let sandbox = Sandbox::new();
    let id = sandbox.ok(&["create", "--name", "box", "busybox", "sleep", "1000"]);
    assert_eq!(id.len(), 64);
    assert_eq!(sandbox.inspect("box", "{{.State.Status}}"), "created");
    assert_eq!(sandbox.ok(&["start", "box"]), "box");
    assert_eq!(sandbox.inspect("box", "{{.State.Status}}"), "running");
    assert_eq!(sandbox.ok(&["stop", "-t", "0", "box"]), "box");
    assert_eq!(
        sandbox.inspect("box", "{{.State.Status}} {{.State.ExitCode}}"),
        "exited 137"
    );
    assert_eq!(sandbox.ok(&["rm", "box"]), "box");
    let error = sandbox.fails(1, &["rm", "box"]);
    assert!(error.contains("No such container: box"), "{error}");
}

#[test]
fn a_program_ends_by_itself() {
    let sandbox = Sandbox::new();
    let root = image::rootfs();
    let mount = format!("{}:/other:ro", root.display());
    let file = sandbox.write("env", "A=from a file\n");
    let script = "ls /other/bin/busybox; echo $A; echo 1 > /dev/stderr; exit 9";
    let args = [
        "run",
        "-d",
        "--name",
        "box",
        "--env-file",
        &file,
        "-v",
        &mount,
        "busybox",
        "sh",
        "-c",
        script,
    ];
    sandbox.ok(&args);
    sandbox.wait_for_status("box", "exited");
    sandbox.wait_for("box", "{{.State.ExitCode}}", "9");
    sandbox.wait_for_log("box", "/other/bin/busybox");
    sandbox
        .aril(&["logs", "box"])
        .says("/other/bin/busybox\nfrom a file");
}
