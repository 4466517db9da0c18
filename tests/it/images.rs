//! `images`, `tag`, `rmi`, `history` and `image prune`.

use crate::sandbox::Sandbox;

/// Makes image `name`, with file `file` more than `base` has; returns its id.
fn layer(sandbox: &Sandbox, base: &str, file: &str, name: &str) -> String {
    sandbox.ok(&[
        "run",
        "--name",
        "maker",
        base,
        "sh",
        "-c",
        &format!("echo {file} > /{file}"),
    ]);
    let id = sandbox.ok(&["commit", "maker", name]);
    sandbox.ok(&["rm", "maker"]);
    id
}

fn names(sandbox: &Sandbox) -> Vec<String> {
    let listed = sandbox.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    let mut names: Vec<String> = listed.lines().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn the_table() {
    let sandbox = Sandbox::new();
    let table = sandbox.ok(&["images"]);
    let id = sandbox.ok(&["images", "-q", "--no-trunc"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].starts_with("REPOSITORY   TAG       IMAGE ID       CREATED"),
        "{table}"
    );
    assert!(
        lines[1].starts_with(&format!(
            "busybox      latest    {}   ",
            &id["sha256:".len()..][..12]
        )),
        "{table}"
    );
    assert!(lines[1].ends_with("MB"), "{table}");
    assert!(sandbox.ok(&["images", "--digests"]).contains("DIGEST"));
    assert_eq!(sandbox.ok(&["images", "nosuch", "-q"]), "");
    assert_eq!(
        sandbox.ok(&["images", "busybox", "--format", "{{.Repository}} {{.Tag}}"]),
        "busybox latest"
    );
    assert_eq!(
        sandbox
            .ok(&["images", "-q", "-f", "reference=busy*"])
            .lines()
            .count(),
        1
    );
    assert_eq!(sandbox.ok(&["images", "-q", "-f", "reference=other*"]), "");
    let error = sandbox.fails(1, &["images", "-f", "nosuch=1"]);
    assert!(error.contains("invalid filter 'nosuch'"), "{error}");
}

#[test]
fn tags_come_and_go() {
    let sandbox = Sandbox::new();
    assert_eq!(
        sandbox.ok(&["tag", "busybox", "example.com/team/app:1.0"]),
        ""
    );
    sandbox.ok(&["tag", "busybox:latest", "other"]);
    assert_eq!(
        names(&sandbox),
        ["busybox:latest", "example.com/team/app:1.0", "other:latest"]
    );
    assert_eq!(sandbox.ok(&["rmi", "other"]), "Untagged: other:latest");
    let error = sandbox.fails(1, &["tag", "nosuch", "x"]);
    assert!(error.contains("No such image: nosuch"), "{error}");
    let error = sandbox.fails(1, &["tag", "busybox", "Upper"]);
    assert!(
        error.contains(
            "invalid reference format: repository name (library/Upper) must be lowercase"
        ),
        "{error}"
    );
    let error = sandbox.fails(1, &["rmi", "nosuch"]);
    assert!(error.contains("No such image: nosuch"), "{error}");
    // A name moves to another image.
    let id = layer(&sandbox, "busybox", "file", "new");
    sandbox.ok(&["tag", "new", "example.com/team/app:1.0"]);
    assert_eq!(
        sandbox.ok(&[
            "image",
            "inspect",
            "-f",
            "{{.Id}}",
            "example.com/team/app:1.0"
        ]),
        id
    );
}

#[test]
fn the_last_name_takes_the_image_and_layers_nobody_needs() {
    let sandbox = Sandbox::new();
    let one = layer(&sandbox, "busybox", "one", "one");
    let two = layer(&sandbox, "one", "two", "two");
    let layers = || sandbox.shell("ls $ARIL_ROOT/layers | wc -l");
    assert_eq!(layers(), "3");
    let said = sandbox.ok(&["rmi", "one"]);
    assert_eq!(
        said, "Untagged: one:latest",
        "its layers are in use, and so is it as a parent"
    );
    assert_eq!(layers(), "3");
    let said = sandbox.ok(&["rmi", "two"]);
    assert!(
        said.starts_with(&format!("Untagged: two:latest\nDeleted: {two}\n")),
        "{said}"
    );
    drop(one);
    sandbox.ok(&["run", "--rm", "busybox", "true"]);
    sandbox.ok(&["image", "prune", "-f"]);
    assert_eq!(layers(), "1");
}

#[test]
fn what_is_in_use_stays() {
    let sandbox = Sandbox::new();
    let id = sandbox.ok(&["image", "inspect", "-f", "{{.Id}}", "busybox"]);
    sandbox.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let error = sandbox.fails(1, &["rmi", "busybox"]);
    assert!(
        error.contains(
            "conflict: unable to remove repository reference \"busybox\" (must force) - container"
        ),
        "{error}"
    );
    let error = sandbox.fails(1, &["rmi", &id]);
    assert!(
        error.contains("(cannot be forced) - image is being used by running container"),
        "{error}"
    );
    sandbox.ok(&["stop", "-t", "0", "box"]);
    let error = sandbox.fails(1, &["rmi", &id]);
    assert!(
        error.contains("(must be forced) - image is being used by stopped container"),
        "{error}"
    );
    // Forced, it loses its name, and the container goes on.
    sandbox.ok(&["rmi", "-f", "busybox"]);
    sandbox.ok(&["start", "box"]);
    sandbox.ok(&["exec", "box", "true"]);
    sandbox.ok(&["rm", "-f", "box"]);
}

#[test]
fn by_id_all_names_must_go() {
    let sandbox = Sandbox::new();
    let id = sandbox.ok(&["images", "-q", "busybox"]);
    sandbox.ok(&["tag", "busybox", "other"]);
    let error = sandbox.fails(1, &["rmi", &id]);
    assert!(error.contains(&format!("conflict: unable to delete {id} (must be forced) - image is referenced in multiple repositories")), "{error}");
    let said = sandbox.ok(&["rmi", "-f", &id]);
    assert!(
        said.contains("Untagged: busybox:latest") && said.contains("Untagged: other:latest"),
        "{said}"
    );
    assert_eq!(sandbox.ok(&["images", "-aq"]), "");
    assert_eq!(
        sandbox.shell("ls $ARIL_ROOT/layers $ARIL_ROOT/images/blobs/sha256 | grep -v :"),
        ""
    );
}

#[test]
fn history_tells_how_it_was_made() {
    let sandbox = Sandbox::new();
    let base = sandbox.ok(&["images", "-q", "--no-trunc"]);
    sandbox.ok(&[
        "run",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "echo 12345 > /file",
    ]);
    sandbox.ok(&["commit", "-m", "带 vim 的镜像", "box", "new"]);
    let table = sandbox.ok(&["history", "new"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("IMAGE          CREATED"), "{table}");
    assert!(
        lines[1].contains("sh -c echo 12345 > /file") && lines[1].ends_with("带 vim 的镜像"),
        "{table}"
    );
    assert!(lines[2].ends_with("Imported from -"), "{table}");
    let sizes = sandbox.ok(&["history", "--format", "{{.Size}}", "-H=false", "new"]);
    assert_eq!(sizes.lines().next(), Some("6"));
    assert_eq!(
        sandbox
            .ok(&["history", "-q", "--no-trunc", "new"])
            .lines()
            .last(),
        Some(base.as_str())
    );
}

#[test]
fn pruning_takes_what_has_no_name() {
    let sandbox = Sandbox::new();
    let old = layer(&sandbox, "busybox", "one", "app");
    layer(&sandbox, "busybox", "two", "app");
    assert_eq!(
        sandbox.ok(&["images", "-q", "--no-trunc", "-f", "dangling=true"]),
        old
    );
    let ran = sandbox.feed(&["image", "prune"], b"n\n");
    assert!(
        ran.out
            .contains("WARNING! This will remove all dangling images."),
        "{ran:?}"
    );
    let said = sandbox.ok(&["image", "prune", "-f"]);
    assert!(
        said.starts_with("Deleted Images:\n") && said.contains(&format!("deleted: {old}")),
        "{said}"
    );
    assert!(said.contains("Total reclaimed space: "), "{said}");
    assert_eq!(names(&sandbox), ["app:latest", "busybox:latest"]);
    sandbox.ok(&["create", "busybox"]);
    sandbox.ok(&["image", "prune", "-a", "-f"]);
    assert_eq!(names(&sandbox), ["busybox:latest"]);
    assert_eq!(
        sandbox.ok(&["image", "prune", "-f"]),
        "Total reclaimed space: 0B"
    );
}

#[test]
fn all_at_once_as_the_tutorials_do_it() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["tag", "busybox", "busybox:two"]);
    layer(&sandbox, "busybox", "one", "app");
    let ids = sandbox.ok(&["images", "-q"]);
    let mut args = vec!["rmi", "-f"];
    args.extend(ids.lines());
    sandbox.ok(&args);
    assert_eq!(sandbox.ok(&["images", "-aq"]), "");
}

#[test]
fn an_image_of_another_platform_is_not_taken_for_the_one_that_is_asked_for() {
    let sandbox = Sandbox::new();
    sandbox.shell("mkdir empty; tar -cf empty.tar empty");
    sandbox.ok(&[
        "import",
        "--platform",
        "linux/s390x",
        "empty.tar",
        "mainframe",
    ]);
    let check = |args: &[&str]| {
        let fits = [args, &["--platform", "linux/s390x", "mainframe"]].concat();
        let ran = sandbox.aril(&fits);
        assert_eq!(ran.code, 0, "{ran:?}");
        let other = [args, &["--platform", "linux/arm64", "mainframe"]].concat();
        sandbox.aril(&other).fails(
            1,
            "image with reference mainframe was found but its platform (linux/s390x) does not match the specified \
             platform (linux/arm64)",
        );
    };
    check(&["image", "inspect"]);
    check(&["history"]);
    check(&["save", "-o", "saved.tar"]);
    let refused = ["rmi", "--platform", "linux/arm64", "mainframe"];
    sandbox.aril(&refused).fails(1, "does not match");
    assert_eq!(sandbox.ok(&["images", "-q", "mainframe"]).len(), 12);
    sandbox.ok(&["rmi", "--platform", "linux/s390x", "mainframe"]);
    assert_eq!(sandbox.ok(&["images", "-q", "mainframe"]), "");
}
