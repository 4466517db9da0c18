//! `aril system df` and `aril system prune`.

use crate::sandbox::Sandbox;

#[test]
fn what_takes_how_much_is_counted() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "run",
        "--name",
        "one",
        "-v",
        "data:/data",
        "busybox",
        "sh",
        "-c",
        "head -c 3000 /dev/zero > /file; head -c 5000 /dev/zero > /data/file",
    ]);
    let format = "{{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Size}}|{{.Reclaimable}}";
    let text = sandbox.ok(&["system", "df", "--format", format]);
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("Images|1|1|") && lines[0].ends_with("|0B (0%)"),
        "{text}"
    );
    assert_eq!(lines[1], "Containers|1|0|3kB|3kB (100%)");
    assert_eq!(lines[2], "Local Volumes|1|1|5kB|0B (0%)");
    assert_eq!(lines[3], "Build Cache|0|0|0B|0B");
    let table = sandbox.ok(&["system", "df"]);
    assert!(
        table.starts_with("TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n"),
        "{table}"
    );
    let verbose = sandbox.ok(&["system", "df", "-v"]);
    for part in [
        "Images space usage:",
        "Containers space usage:",
        "Local Volumes space usage:",
        "Build cache usage: 0B",
    ] {
        assert!(verbose.contains(part), "{verbose}");
    }
    assert!(verbose.contains("data          1         5kB"), "{verbose}");
}

#[test]
fn prune_removes_what_nothing_uses() {
    let sandbox = Sandbox::new();
    let gone = sandbox.ok(&["create", "busybox", "true"]);
    sandbox.ok(&["run", "-d", "--name", "kept", "busybox", "sleep", "1000"]);
    let anonymous = sandbox.ok(&["volume", "create"]);
    sandbox.ok(&["volume", "create", "named"]);
    sandbox.ok(&["tag", "busybox", "unused:1"]);
    let text = sandbox.ok(&["system", "prune", "-f"]);
    assert!(
        text.starts_with(&format!(
            "Deleted Containers:\n{gone}\n\nTotal reclaimed space: "
        )),
        "{text}"
    );
    assert!(sandbox.ok(&["volume", "ls", "-q"]).contains(&anonymous));
    let text = sandbox.ok(&["system", "prune", "-f", "-a", "--volumes"]);
    assert!(
        text.contains(&format!("Deleted Volumes:\n{anonymous}\n\n")),
        "{text}"
    );
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "named");
    assert_eq!(sandbox.ok(&["ps", "-a", "--format", "{{.Names}}"]), "kept");
    // A used image stays, with the names it has.
    assert_eq!(sandbox.ok(&["images", "-q"]).lines().count(), 2);
    sandbox
        .aril(&["system", "prune", "-f", "--volumes", "--filter", "until=1h"])
        .fails(
            1,
            "The \"until\" filter is not supported with \"--volumes\"",
        );
}

#[test]
fn prune_asks_first() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "--name", "cc", "busybox", "true"]);
    let ran = sandbox.feed(&["system", "prune"], b"n\n");
    assert_eq!(ran.code, 0);
    assert!(
        ran.out
            .starts_with("WARNING! This will remove:\n  - all stopped containers\n"),
        "{ran:?}"
    );
    assert_eq!(sandbox.ok(&["ps", "-a", "--format", "{{.Names}}"]), "cc");
    sandbox.feed(&["system", "prune"], b"y\n").ok();
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
}
