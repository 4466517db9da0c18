//! Checkpoints where there is no CRIU, and what is refused before it is asked. What it does where it is there is tested in a
//! virtual machine (`v2/criu.sh`), whose kernel it knows.

use super::{Ran, Sandbox};

#[test]
fn without_criu_it_is_said_what_is_missing() {
    let mut sandbox = Sandbox::new("exec sleep 1000");
    let id = sandbox.start("c");
    let other = sandbox.id("other");
    for args in [
        &["checkpoint", "--image-path", "images", &id] as &[&str],
        &["restore", "--detach", "--image-path", "images", &other],
    ] {
        let output = sandbox.command(args).env("PATH", "/nosuch").output();
        let ran = Ran::from(output.unwrap());
        ran.fails(1, "criu is not installed: ");
    }
    assert_eq!(sandbox.status(&id), "running");
    assert!(!sandbox.dir.join("images").exists());
    assert!(!sandbox.dir.join("run").join(other).exists());
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let mut sandbox = Sandbox::new("exec sleep 1000");
    let id = sandbox.start("c");
    for (flags, text) in [
        ("--lazy-pages", "--lazy-pages is not supported"),
        ("--empty-ns ipc", "namespace \"ipc\" is not supported"),
        (
            "--manage-cgroups-mode no",
            "invalid manage-cgroups-mode value \"no\"",
        ),
        ("--page-server 10.0.0.1", "is not ADDRESS:PORT"),
    ] {
        let mut args = vec!["checkpoint"];
        args.extend(flags.split(' '));
        args.push(&id);
        Ran::from(sandbox.call(&args)).fails(1, text);
    }
    Ran::from(sandbox.call(&["checkpoint", "nosuch"]))
        .fails(1, "container \"nosuch\" does not exist");
}
