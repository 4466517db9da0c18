//! `ps`: columns, filters, formats.

use crate::sandbox::Sandbox;

fn with_some() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "runs",
        "-l",
        "color=red",
        "-l",
        "both",
        "-v",
        "data:/data",
        "busybox",
        "sleep",
        "1000",
    ]);
    sandbox.ok(&[
        "create",
        "--name",
        "made",
        "-l",
        "color=blue",
        "-l",
        "both",
        "busybox",
        "echo",
        "a longer command than fits",
    ]);
    sandbox.ok(&[
        "run", "-d", "--name", "ended", "busybox", "sh", "-c", "exit 3",
    ]);
    sandbox.wait_for_status("ended", "exited");
    sandbox
}

#[test]
fn the_table() {
    let sandbox = with_some();
    let table = sandbox.ok(&["ps"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 2, "{table}");
    let id = sandbox.inspect("runs", "{{.Id}}");
    let header: Vec<&str> = lines[0]
        .split("  ")
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect();
    assert_eq!(
        header,
        [
            "CONTAINER ID",
            "IMAGE",
            "COMMAND",
            "CREATED",
            "STATUS",
            "PORTS",
            "NAMES"
        ]
    );
    let row: Vec<&str> = lines[1]
        .split("  ")
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect();
    assert_eq!(&row[..3], [&id[..12], "busybox", "\"sleep 1000\""]);
    assert!(row[4].starts_with("Up "), "{table}");
    assert_eq!(row.last(), Some(&"runs"));
    let all = sandbox.ok(&["ps", "-a"]);
    assert_eq!(all.lines().count(), 4);
    assert!(
        all.contains("Exited (3) ") && all.contains("Created"),
        "{all}"
    );
    assert!(all.contains("\"echo 'a longer comm…\""), "{all}");
    assert!(
        sandbox
            .ok(&["ps", "-a", "--no-trunc"])
            .contains("\"echo 'a longer command than fits'\"")
    );
}

#[test]
fn which_and_in_which_order() {
    let sandbox = with_some();
    let names = |options: &[&str]| {
        let mut args = vec!["ps", "--format", "{{.Names}}"];
        args.extend(options);
        sandbox.ok(&args).replace('\n', " ")
    };
    assert_eq!(names(&[]), "runs");
    assert_eq!(names(&["-a"]), "ended made runs");
    assert_eq!(names(&["-l"]), "ended");
    assert_eq!(names(&["-n", "2"]), "ended made");
    let filter = |text: &str| names(&["-a", "--filter", text]);
    assert_eq!(filter("status=exited"), "ended");
    assert_eq!(filter("status=created"), "made");
    assert_eq!(filter("exited=3"), "ended");
    assert_eq!(filter("exited=4"), "");
    assert_eq!(filter("name=ad"), "made");
    assert_eq!(filter("name=^/runs$"), "runs");
    assert_eq!(filter("label=both"), "made runs");
    assert_eq!(filter("label=color=red"), "runs");
    assert_eq!(
        names(&["-a", "-f", "label=both", "-f", "label=color=blue"]),
        "made"
    );
    assert_eq!(
        names(&["-a", "-f", "status=exited", "-f", "status=created"]),
        "ended made"
    );
    assert_eq!(filter("ancestor=busybox"), "ended made runs");
    assert_eq!(filter("volume=data"), "runs");
    assert_eq!(filter("before=made"), "runs");
    assert_eq!(filter("since=made"), "ended");
    assert_eq!(
        filter(&format!("id={}", &sandbox.inspect("made", "{{.Id}}")[..6])),
        "made"
    );
    let error = sandbox.fails(1, &["ps", "--filter", "nosuch=1"]);
    assert!(error.contains("invalid filter 'nosuch'"), "{error}");
}

#[test]
fn formats() {
    let sandbox = with_some();
    assert_eq!(sandbox.ok(&["ps", "-q"]).len(), 12);
    assert_eq!(sandbox.ok(&["ps", "-q", "--no-trunc"]).len(), 64);
    let json = sandbox.ok(&["ps", "--format", "json"]);
    let row: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&row["Names"], &row["State"], &row["Image"]),
        (&"runs".into(), &"running".into(), &"busybox".into())
    );
    let table = sandbox.ok(&["ps", "-a", "--format", "table {{.Names}}\t{{.State}}"]);
    assert_eq!(
        table,
        "NAMES     STATE\nended     exited\nmade      created\nruns      running"
    );
    assert_eq!(
        sandbox.ok(&["ps", "--format", "{{.Label \"color\"}} {{.Mounts}}"]),
        "red data"
    );
    let sized = sandbox.ok(&["ps", "-s", "--format", "{{.Size}}"]);
    assert!(sized.starts_with("0B (virtual "), "{sized}");
    sandbox.ok(&["exec", "runs", "sh", "-c", "head -c 5000 /dev/zero > /file"]);
    assert!(
        sandbox
            .ok(&["ps", "-s", "--format", "{{.Size}}"])
            .starts_with("5kB (virtual ")
    );
}

#[test]
fn a_container_shows_the_id_of_an_image_that_has_lost_its_name() {
    let sandbox = with_some();
    let id = sandbox.ok(&["image", "inspect", "-f", "{{.Id}}", "busybox"]);
    sandbox.ok(&["commit", "runs", "busybox"]);
    let shown = sandbox.ok(&["ps", "--format", "{{.Image}}"]);
    assert_eq!(shown, id.trim_start_matches("sha256:")[..12]);
}
