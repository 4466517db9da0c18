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

/// What a prune says it has removed, without its titles and the sizes of a dry run.
fn ids(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("Total") && !line.ends_with(':'));
    let ids = lines.map(|line| line.split("  ").next().unwrap().trim().to_owned());
    ids.collect()
}

fn total(text: &str) -> &str {
    text.lines().last().unwrap().rsplit(' ').next().unwrap()
}

#[test]
fn a_dry_run_tells_what_would_go_and_removes_nothing() {
    let sandbox = Sandbox::new();
    let script = "head -c 3000 /dev/zero > /file; head -c 5000 /dev/zero > /data/file";
    let run = [
        "run", "--name", "old", "-v", "/data", "busybox", "sh", "-c", script,
    ];
    sandbox.ok(&run);
    sandbox.ok(&["run", "-d", "--name", "kept", "busybox", "sleep", "1000"]);
    sandbox.ok(&["commit", "old"]);
    sandbox.ok(&["commit", "old", "other:1"]);
    sandbox.ok(&["network", "create", "--internal", "unused"]);
    sandbox.ok(&["volume", "create", "named"]);
    let state = || {
        [
            &["ps", "-aq", "--no-trunc"][..],
            &["volume", "ls", "-q"],
            &["network", "ls", "-q"],
            &["images", "-aq", "--no-trunc"],
            &["system", "df"],
        ]
        .map(|args| sandbox.ok(args))
    };
    let before = state();
    for prune in [
        &["container", "prune"][..],
        &["volume", "prune"],
        &["volume", "prune", "-a"],
        &["network", "prune"],
        &["image", "prune"],
        &["image", "prune", "-a"],
        &["system", "prune", "-a", "--volumes"],
    ] {
        // It asks nothing, whether with -f or without.
        let dry = sandbox.ok(&[prune, &["--dry-run"]].concat());
        assert_eq!(sandbox.ok(&[prune, &["--dry-run", "-f"]].concat()), dry);
        assert!(
            dry.contains("that would be deleted:") || dry.ends_with(" 0B"),
            "{dry}"
        );
        assert_eq!(state(), before, "{prune:?}");
    }
    let dry = sandbox.ok(&["container", "prune", "--dry-run"]);
    assert!(
        dry.ends_with("       3kB  old\n\nTotal space that would be reclaimed: 3kB"),
        "{dry}"
    );
    let none = ["container", "prune", "--dry-run", "--filter", "label=x"];
    assert_eq!(sandbox.ok(&none), "Total space that would be reclaimed: 0B");
    sandbox
        .aril(&["image", "prune", "--dry-run", "--filter", "nothing=x"])
        .fails(1, "invalid filter 'nothing'");
    // What it says is what is done.
    for prune in [
        &["image", "prune"][..],
        &["system", "prune", "-a", "--volumes"],
    ] {
        let dry = sandbox.ok(&[prune, &["--dry-run"]].concat());
        let done = sandbox.ok(&[prune, &["-f"]].concat());
        assert_eq!(ids(&dry), ids(&done), "{dry}\n{done}");
        assert_eq!(total(&dry), total(&done), "{dry}\n{done}");
    }
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "named");
}
