//! `stats`.

use rustix::process::Signal;

use crate::sandbox::Sandbox;

#[test]
fn usage_is_shown_once_or_again_and_again() {
    let sandbox = Sandbox::new();
    let script = "while :; do :; done";
    sandbox.ok(&[
        "run", "-d", "--name", "busy", "-m", "64m", "busybox", "sh", "-c", script,
    ]);
    sandbox.ok(&["create", "--name", "idle", "busybox"]);
    let table = sandbox.ok(&["stats", "--no-stream"]);
    let mut lines = table.lines();
    let header = lines.next().unwrap();
    assert!(
        header.starts_with("CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT"),
        "{header}"
    );
    assert!(header.ends_with("PIDS"), "{header}");
    assert_eq!(lines.count(), 1, "{table}");
    let all = sandbox.ok(&[
        "stats",
        "--no-stream",
        "-a",
        "--format",
        "{{.Name}} {{.PIDs}}",
    ]);
    assert_eq!(all, "idle 0\nbusy 1");
    let format = "{{.CPUPerc}}|{{.MemUsage}}|{{.MemPerc}}|{{.NetIO}}|{{.BlockIO}}|{{.Container}}";
    let fields = sandbox.ok(&["stats", "--no-stream", "--format", format, "busy"]);
    let fields: Vec<&str> = fields.split('|').collect();
    let percent: f64 = fields[0].trim_end_matches('%').parse().unwrap();
    assert!(percent > 1.0, "{fields:?}");
    assert!(fields[1].ends_with(" / 64MiB"), "{fields:?}");
    assert_eq!(fields[5], "busy");
    let long = sandbox.ok(&["stats", "--no-stream", "--no-trunc", "--format", "{{.ID}}"]);
    assert_eq!(long.len(), 64);
    let mut running = sandbox.spawn(&["stats", "busy"]);
    // The table comes back to its place.
    running.expect("\u{1b}[H");
    running.expect("busy");
    running.expect("\u{1b}[J\u{1b}[H");
    running.signal(Signal::INT);
    running.wait();
    sandbox
        .aril(&["stats", "--no-stream", "nosuch"])
        .fails(1, "No such container: nosuch");
}
