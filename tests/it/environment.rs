//! What variables of the environment and the user's config.json change, beside `--config` and its kind.

use crate::sandbox::{Ran, Sandbox};

#[track_caller]
fn with(sandbox: &Sandbox, (name, value): (&str, &str), args: &[&str]) -> Ran {
    let mut command = sandbox.aril_command(args);
    command.env(name, value);
    sandbox.run(command)
}

#[test]
fn a_platform_may_be_the_default_one() {
    let sandbox = Sandbox::new();
    let other = ("DOCKER_DEFAULT_PLATFORM", "linux/s390x");
    let never = ["--pull", "never", "busybox", "true"];
    let mismatch = "image with reference busybox was found but its platform (linux/amd64) does not match the specified \
                    platform (linux/s390x)";
    if std::env::consts::ARCH == "x86_64" {
        with(&sandbox, other, &[&["run"], &never[..]].concat()).fails(125, mismatch);
        with(&sandbox, other, &[&["create"], &never[..]].concat()).fails(1, mismatch);
    }
    // What is said more loudly wins, and what names no platform is none of its business.
    let own = ["run", "--rm", "--platform", "linux"];
    with(&sandbox, other, &[&own, &never[..]].concat()).ok();
    with(&sandbox, other, &["image", "inspect", "busybox"]).ok();
    let none = ("DOCKER_DEFAULT_PLATFORM", "frob");
    let why = "\"frob\": unknown operating system or architecture";
    with(&sandbox, none, &[&["run"], &never[..]].concat()).fails(125, why);
    let ran = with(&sandbox, none, &["pull", "busybox"]);
    assert_eq!(ran.out, "Using default tag: latest\n");
    ran.fails(1, why);
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
}

#[test]
fn signatures_that_are_asked_for_are_not_passed_over() {
    let sandbox = Sandbox::new();
    let trust = ("DOCKER_CONTENT_TRUST", "1");
    let why = "content trust is not supported: signatures cannot be checked";
    with(&sandbox, trust, &["run", "--rm", "busybox", "true"]).fails(1, why);
    with(&sandbox, trust, &["create", "busybox", "true"]).fails(1, why);
    with(&sandbox, trust, &["pull", "busybox"]).fails(1, why);
    with(&sandbox, trust, &["push", "busybox"]).fails(1, why);
    let without = ["run", "--rm", "--disable-content-trust", "busybox", "true"];
    with(&sandbox, trust, &without).ok();
    let trust = ["run", "--disable-content-trust=false", "busybox", "true"];
    sandbox.aril(&trust).fails(1, why);
    let off = ("DOCKER_CONTENT_TRUST", "0");
    with(&sandbox, off, &["run", "--rm", "busybox", "true"]).ok();
}

#[test]
fn help_may_be_without_what_stands_in_groups() {
    let sandbox = Sandbox::bare();
    let all = sandbox.ok(&["--help"]);
    let hide = ("DOCKER_HIDE_LEGACY_COMMANDS", "1");
    let few = with(&sandbox, hide, &["--help"]).ok();
    for (line, stays) in [
        ("\n  run  ", true),
        ("\n  container  ", true),
        ("\n  explain  ", true),
        ("\n  stop  ", false),
        ("\n  rmi  ", false),
    ] {
        assert!(all.contains(line), "{all}");
        assert_eq!(few.contains(line), stays, "{line:?}: {few}");
    }
    with(&sandbox, hide, &["stop", "--help"]).ok();
}

#[test]
fn a_version_of_the_api_may_be_asked_for() {
    let sandbox = Sandbox::bare();
    let old = ("DOCKER_API_VERSION", "1.40");
    let format = "{{.Client.APIVersion}} {{.Client.DefaultAPIVersion}}";
    let said = with(&sandbox, old, &["version", "-f", format]).ok();
    assert_eq!(said, "1.40 1.51");
    let said = with(&sandbox, old, &["version"]).ok();
    assert!(
        said.contains("API version:       1.40 (downgraded from 1.51)"),
        "{said}"
    );
}

#[test]
fn lists_tell_that_their_format_cannot_be_read() {
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.home(".docker")).unwrap();
    std::fs::write(sandbox.home(".docker/config.json"), "{").unwrap();
    for (args, key) in [
        (&["ps"][..], "psFormat"),
        (&["images"], "imagesFormat"),
        (&["network", "ls"], "networksFormat"),
        (&["volume", "ls"], "volumesFormat"),
    ] {
        let ran = sandbox.aril(args);
        let warning = format!("WARNING: {key} is not looked up: read ");
        assert!(ran.err.starts_with(&warning), "{ran:?}");
        assert!(ran.err.contains("config.json: line 1, column 1"), "{ran:?}");
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    assert_eq!(sandbox.aril(&["ps", "-q"]).err, "");
}
