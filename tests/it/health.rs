//! Health checks.

use crate::sandbox::Sandbox;

const HEALTH: &str = "{{.State.Health.Status}}";

#[test]
fn a_container_becomes_unhealthy_and_healthy() {
    let sandbox = Sandbox::new();
    let run = [
        "run",
        "-d",
        "--name",
        "box",
        "--health-cmd",
        "echo looked; test -f /ok",
        "--health-interval",
        "200ms",
        "--health-retries",
        "2",
        "busybox",
        "sleep",
        "1000",
    ];
    sandbox.ok(&run);
    assert_eq!(sandbox.ok(&["ps", "-q", "--filter", "health=healthy"]), "");
    sandbox.wait_for("box", HEALTH, "unhealthy");
    let last = "{{range .State.Health.Log}}{{.ExitCode}} {{.Output}}{{end}}";
    assert!(sandbox.inspect("box", last).starts_with("1 looked\n"));
    assert!(
        sandbox
            .ok(&["ps", "--format", "{{.Status}}"])
            .ends_with("(unhealthy)")
    );
    sandbox.ok(&["exec", "box", "touch", "/ok"]);
    sandbox.wait_for("box", HEALTH, "healthy");
    assert_eq!(
        sandbox.inspect("box", "{{.State.Health.FailingStreak}}"),
        "0"
    );
    assert!(
        sandbox
            .ok(&["ps", "--format", "{{.Status}}"])
            .ends_with("(healthy)")
    );
    assert_eq!(
        sandbox.ok(&["ps", "--filter", "health=healthy", "--format", "{{.Names}}"]),
        "box"
    );
    let told = sandbox.ok(&[
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "--filter",
        "event=health_status",
        "--format",
        "{{.Action}}",
    ]);
    assert_eq!(told, "health_status: unhealthy\nhealth_status: healthy");
    sandbox.ok(&["stop", "-t", "0", "box"]);
    assert_eq!(sandbox.inspect("box", HEALTH), "unhealthy");
}

#[test]
fn a_check_that_takes_too_long_has_failed() {
    let sandbox = Sandbox::new();
    let run = [
        "run",
        "-d",
        "--name",
        "box",
        "--health-cmd",
        "echo so far; sleep 1000",
        "--health-interval",
        "100ms",
        "--health-timeout",
        "300ms",
        "--health-retries",
        "1",
        "busybox",
        "sleep",
        "1000",
    ];
    sandbox.ok(&run);
    sandbox.wait_for("box", HEALTH, "unhealthy");
    let result = sandbox.inspect(
        "box",
        "{{with index .State.Health.Log 0}}{{.ExitCode}} {{.Output}}{{end}}",
    );
    assert_eq!(result, "-1 Health check exceeded timeout (300ms): so far");
}

#[test]
fn failures_do_not_count_while_it_starts() {
    let sandbox = Sandbox::new();
    let run = [
        "run",
        "-d",
        "--name",
        "box",
        "--health-cmd",
        "test -f /ok",
        "--health-interval",
        "1h",
        "--health-start-period",
        "1h",
        "--health-start-interval",
        "100ms",
        "--health-retries",
        "1",
        "busybox",
        "sleep",
        "1000",
    ];
    sandbox.ok(&run);
    sandbox.wait_for("box", "{{gt (len .State.Health.Log) 2}}", "true");
    assert_eq!(sandbox.inspect("box", HEALTH), "starting");
    assert!(
        sandbox
            .ok(&["ps", "--format", "{{.Status}}"])
            .ends_with("(health: starting)")
    );
    sandbox.ok(&["exec", "box", "touch", "/ok"]);
    sandbox.wait_for("box", HEALTH, "healthy");
}

#[test]
fn without_a_check_there_is_no_health() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "--no-healthcheck",
        "busybox",
        "sleep",
        "1000",
    ]);
    assert_eq!(sandbox.inspect("box", "{{.State.Health}}"), "<nil>");
    assert_eq!(
        sandbox.ok(&["ps", "--filter", "health=none", "--format", "{{.Names}}"]),
        "box"
    );
    let error = sandbox.fails(
        125,
        &[
            "run",
            "--no-healthcheck",
            "--health-retries",
            "2",
            "busybox",
        ],
    );
    assert!(
        error.contains("--no-healthcheck conflicts with --health-* options"),
        "{error}"
    );
}
