//! `events`.

use rustix::process::Signal;

use crate::sandbox::Sandbox;

fn actions(sandbox: &Sandbox, name: &str) -> String {
    let filter = format!("container={name}");
    let format = "{{.Action}}{{with .Actor.Attributes.signal}} {{.}}{{end}}{{with .Actor.Attributes.exitCode}} {{.}}{{end}}";
    let args = [
        "events", "--since", "1h", "--until", "0s", "--filter", &filter, "--format", format,
    ];
    sandbox.ok(&args).replace('\n', ", ")
}

#[test]
fn a_life_is_told_in_order() {
    let sandbox = Sandbox::new();
    sandbox.fails(
        3,
        &[
            "run",
            "--network",
            "none",
            "--name",
            "one",
            "busybox",
            "sh",
            "-c",
            "exit 3",
        ],
    );
    sandbox.ok(&["rename", "one", "uno"]);
    sandbox.ok(&["rm", "uno"]);
    assert_eq!(actions(&sandbox, "one"), "create, attach, start, die 3");
    assert_eq!(actions(&sandbox, "uno"), "rename, destroy");
    let run = [
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "two",
        "busybox",
        "sleep",
        "1000",
    ];
    sandbox.ok(&run);
    sandbox.ok(&["exec", "two", "true"]);
    sandbox.ok(&["pause", "two"]);
    sandbox.ok(&["unpause", "two"]);
    sandbox.ok(&["restart", "-t", "0", "two"]);
    sandbox.ok(&["kill", "-s", "URG", "two"]);
    sandbox.ok(&["stop", "-t", "0", "two"]);
    sandbox.ok(&["rm", "two"]);
    let told = actions(&sandbox, "two");
    assert_eq!(
        told,
        "create, start, exec_create: true , exec_start: true , exec_die 0, pause, unpause, kill 15, kill 9, die 137, stop, \
         start, restart, kill 23, kill 15, kill 9, die 137, stop, destroy"
    );
}

#[test]
fn events_are_told_as_they_happen() {
    let sandbox = Sandbox::new();
    let create = |name: &str| {
        sandbox.ok(&["create", "--label", "tier=front", "--name", name, "busybox"]);
    };
    create("before");
    let args = [
        "events",
        "--since",
        "1h",
        "--filter",
        "type=container",
        "--filter",
        "event=create",
        "--format",
        "{{json .}}",
    ];
    let mut running = sandbox.spawn(&args);
    // What has happened comes first, so that what comes next is seen as it happens.
    running.expect("\"name\":\"before\"");
    create("after");
    running.expect("{\"status\":\"create\",\"id\":\"");
    running.expect(
        "\"from\":\"busybox\",\"Type\":\"container\",\"Action\":\"create\",\"Actor\":{\"ID\":\"",
    );
    running.expect("\"name\":\"after\",\"tier\":\"front\"");
    running.expect("\"scope\":\"local\",\"time\":");
    running.signal(Signal::INT);
    running.wait();
}

#[test]
fn filters_and_times_choose() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["volume", "create", "vol"]);
    sandbox.ok(&[
        "create",
        "--name",
        "box",
        "--label",
        "tier=front",
        "busybox",
    ]);
    sandbox.ok(&["tag", "busybox", "other:1"]);
    let count = |filters: &[&str]| {
        let mut args = vec!["events", "--since", "1h", "--until", "0s"];
        for filter in filters {
            args.extend(["--filter", filter]);
        }
        sandbox.ok(&args).lines().count()
    };
    assert_eq!(count(&["type=volume"]), 1);
    assert_eq!(count(&["volume=vol"]), 1);
    assert_eq!(count(&["label=tier=front"]), 1);
    assert_eq!(count(&["label=tier=back"]), 0);
    assert_eq!(count(&["event=create"]), 2);
    assert_eq!(count(&["event=create", "type=container"]), 1);
    assert_eq!(count(&["image=busybox", "type=container"]), 1);
    assert_eq!(count(&["event=tag"]), 2);
    assert_eq!(
        sandbox.ok(&["events", "--since", "0s", "--until", "0s"]),
        ""
    );
    let line = sandbox.ok(&[
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "--filter",
        "container=box",
    ]);
    assert!(
        line.contains(" container create ")
            && line.ends_with("(image=busybox, name=box, tier=front)"),
        "{line}"
    );
    sandbox
        .aril(&["events", "--since", "wat"])
        .fails(1, "failed to parse value as time or duration");
}
