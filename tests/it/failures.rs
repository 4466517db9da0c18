//! What goes wrong: one clear error, no panic, nothing half made.

use nix::mount::{MsFlags, mount};

use crate::sandbox::{ARIL, Ran, Sandbox, wait_until};

/// Checks that a command has failed with one error that says `text`, and nothing else.
#[track_caller]
fn one_error(ran: &Ran, code: i32, text: &str) {
    assert_eq!(ran.code, code, "{ran:?}");
    let errors = ran
        .err
        .lines()
        .filter(|line| line.starts_with("aril: "))
        .count();
    assert_eq!(errors, 1, "{ran:?}");
    assert!(ran.err.contains(text), "{ran:?} lacks {text:?}");
    assert!(
        !ran.err.contains("panicked") && !ran.err.contains("RUST_BACKTRACE"),
        "{ran:?}"
    );
}

/// Checks that no container, draft, lease or incomplete blob is there.
#[track_caller]
fn nothing_half(sandbox: &Sandbox) {
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
    let left = "cd $ARIL_ROOT && ls tmp leases containers names images/ingest | grep -v -e : -e '^$' || true";
    assert_eq!(sandbox.shell(left), "");
}

#[test]
fn unknown_words() {
    let sandbox = Sandbox::new();
    let ran = sandbox.aril(&["frobnicate"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("unknown command: aril frobnicate"),
        "{ran:?}"
    );
    let ran = sandbox.aril(&["ps", "--nosuch"]);
    assert_eq!(ran.code, 125);
    assert!(ran.err.contains("unknown flag: --nosuch"), "{ran:?}");
    let ran = sandbox.aril(&["container", "frobnicate"]);
    assert_ne!(ran.code, 0);
    let ran = sandbox.aril(&["rm"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("requires at least 1 argument"), "{ran:?}");
    let ran = sandbox.aril(&["rename", "one"]);
    assert!(
        ran.code == 1 && ran.err.contains("requires 2 arguments"),
        "{ran:?}"
    );
    let ran = sandbox.aril(&["ps", "-n", "x"]);
    assert!(
        ran.code == 125
            && ran
                .err
                .contains("invalid argument \"x\" for \"-n, --last\" flag"),
        "{ran:?}"
    );
}

#[test]
fn without_root() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        ARIL,
        "run",
        "--rm",
        "busybox",
        "true",
    ]);
    let ran = sandbox.run(command);
    assert_ne!(ran.code, 0);
    assert_eq!(
        ran.err
            .lines()
            .filter(|line| line.starts_with("aril: "))
            .count(),
        1,
        "{ran:?}"
    );
    assert!(
        ran.err.contains("ermission denied") || ran.err.contains("root"),
        "{ran:?}"
    );
}

#[test]
fn a_full_disk() {
    let sandbox = Sandbox::new();
    // A machine of its own means a disk of its own, too.
    let disk = sandbox.path("disk");
    std::fs::create_dir(&disk).unwrap();
    sandbox.inside(|| {
        mount(
            Some("tmpfs"),
            &disk,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("size=8m"),
        )
        .unwrap();
    });
    let on_disk = |args: &[&str]| {
        let mut command = sandbox.aril_command(args);
        command.env("ARIL_ROOT", disk.join("root"));
        sandbox.run(command)
    };
    sandbox.ok(&[
        "run",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "head -c 20000000 /dev/urandom > /large",
    ]);
    sandbox.ok(&["commit", "box", "large"]);
    sandbox.ok(&["save", "-o", "small.tar", "busybox"]);
    sandbox.ok(&["save", "-o", "large.tar", "large"]);
    sandbox.ok(&["export", "-o", "root.tar", "box"]);
    for args in [
        &["load", "-i", "large.tar"][..],
        &["import", "root.tar", "large"],
    ] {
        let ran = on_disk(args);
        one_error(&ran, 1, "o space left on device");
        assert_eq!(on_disk(&["images", "-q"]).ok(), "");
    }
    // The room is there again, and what fits works.
    on_disk(&["load", "-i", "small.tar"]).ok();
    on_disk(&["run", "--rm", "busybox", "echo", "fits"]).says("fits");
    // What it is told comes once it is known to run: before, a disk that is full would keep it from starting.
    let script = "read go; dd if=/dev/zero of=/large bs=100000 count=200; echo $?";
    let mut fills = sandbox.aril_command(&["run", "-i", "--name", "box", "busybox", "sh", "-c"]);
    let go = std::fs::File::open(sandbox.write("go", "go\n")).unwrap();
    fills
        .arg(script)
        .env("ARIL_ROOT", disk.join("root"))
        .stdin(go);
    let ran = sandbox.run(fills);
    assert!(ran.err.contains("No space left on device"), "{ran:?}");
    let ran = on_disk(&["commit", "box", "new"]);
    assert!(
        ran.code == 0 || ran.err.contains("o space left on device"),
        "{ran:?}"
    );
    assert_eq!(on_disk(&["rm", "-f", "box"]).code, 0);
    on_disk(&["run", "--rm", "busybox", "echo", "still"]).says("still");
    // The last monitor may still be about to end.
    wait_until("nobody needs the disk", || {
        sandbox.inside(|| nix::mount::umount(&disk).is_ok())
    });
}

#[test]
fn archives_that_are_none() {
    let sandbox = Sandbox::new();
    let check = |content: &[u8], text: &str| {
        sandbox.write("file", content);
        let ran = sandbox.aril(&["load", "-i", "file"]);
        one_error(&ran, 1, text);
        let ran = sandbox.feed(&["load"], content);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(!ran.err.contains("panicked"), "{ran:?}");
    };
    check(b"", "");
    check(b"not an archive", "");
    check(&[0; 10240], "");
    check(b"\x1f\x8b\x08\x00broken", "");
    check(&[0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3], "");
    sandbox.ok(&["save", "-o", "good.tar", "busybox"]);
    let good = std::fs::read(sandbox.path("good.tar")).unwrap();
    check(&good[..good.len() / 2], "");
    sandbox.shell("gzip -c good.tar > good.tar.gz");
    let packed = std::fs::read(sandbox.path("good.tar.gz")).unwrap();
    check(&packed[..packed.len() / 2], "");
    let ran = sandbox.feed(&["import", "-", "half"], &good[..good.len() / 2 + 100]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let error = sandbox.fails(1, &["load", "-i", "nosuch"]);
    assert!(error.contains("nosuch"), "{error}");
    assert_eq!(
        sandbox.ok(&["images", "--format", "{{.Repository}}"]),
        "busybox"
    );
    nothing_half(&sandbox);
}

#[test]
fn a_layer_that_is_not_what_its_digest_says() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["save", "-o", "good.tar", "busybox"]);
    sandbox.shell("mkdir x; tar -C x -xf good.tar");
    // One byte of a file in the layer is another.
    let largest = sandbox.shell("ls -S x/blobs/sha256/* | head -n 1");
    let path = sandbox.path(&largest);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    sandbox.shell("tar -C x -cf bad.tar .");
    let there = Sandbox::bare();
    let ran = there.aril(&["load", "-i", &sandbox.path("bad.tar").display().to_string()]);
    one_error(&ran, 1, "digest");
    assert_eq!(there.ok(&["images", "-q"]), "");
    nothing_half(&there);
    assert_eq!(there.shell("ls $ARIL_ROOT/layers"), "");
}

#[test]
fn a_store_that_somebody_has_damaged() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "--name", "box", "busybox"]);
    let id = sandbox.inspect("box", "{{.Id}}");
    let record = sandbox
        .root()
        .join("containers")
        .join(&id)
        .join("record.json");
    let good = std::fs::read(&record).unwrap();
    for bad in [&b""[..], b"{", b"[]", b"\xff\xfe"] {
        std::fs::write(&record, bad).unwrap();
        for args in [&["ps", "-a"][..], &["start", "box"], &["inspect", "box"]] {
            let ran = sandbox.aril(args);
            assert!(!ran.err.contains("panicked"), "{ran:?}");
        }
    }
    std::fs::write(&record, good).unwrap();
    sandbox.ok(&["start", "box"]);
    // A configuration that is gone is named.
    sandbox.shell("rm $ARIL_ROOT/images/blobs/sha256/*");
    let ran = sandbox.aril(&["run", "--rm", "--pull", "never", "busybox", "true"]);
    assert_ne!(ran.code, 0);
    assert!(
        ran.err.contains("aril: ") && !ran.err.contains("panicked"),
        "{ran:?}"
    );
}

#[test]
fn limits_that_the_kernel_has_no_controller_for() {
    let sandbox = Sandbox::new();
    // A machine whose cgroups cannot be seen at all.
    sandbox.inside(|| {
        mount(
            Some("tmpfs"),
            "/sys/fs/cgroup",
            Some("tmpfs"),
            MsFlags::empty(),
            None::<&str>,
        )
        .unwrap();
    });
    let ran = sandbox.aril(&["run", "--rm", "-m", "64m", "busybox", "true"]);
    let lower = ran.err.to_lowercase();
    assert!(
        ran.code == 0 || ran.code == 125 && lower.contains("cgroup"),
        "{ran:?}"
    );
    assert!(!lower.contains("panicked"), "{ran:?}");
    sandbox.inside(|| nix::mount::umount("/sys/fs/cgroup").unwrap());
    nothing_half(&sandbox);
}

#[test]
fn folders_that_cannot_be() {
    let sandbox = Sandbox::bare();
    let file = sandbox.write("file", "");
    let ran = sandbox.aril(&["--root", &file, "ps"]);
    one_error(&ran, 1, &file);
    let ran = sandbox.aril(&["--root", "relative", "ps"]);
    one_error(&ran, 1, "not an absolute path");
}

#[test]
fn an_output_that_nobody_reads() {
    let sandbox = Sandbox::new();
    let said = sandbox.shell(&format!(
        "{{ {ARIL} save busybox; echo $? >&2; }} 2>code | head -c 10 > /dev/null; cat code"
    ));
    assert!(!said.contains("panicked"), "{said}");
    let said = sandbox.shell(&format!(
        "for n in 1 2 3; do {ARIL} images; done | head -n 1"
    ));
    assert!(said.starts_with("REPOSITORY"), "{said}");
    let said = sandbox.shell(&format!("{ARIL} images > /dev/full 2>&1 || echo $?"));
    assert_eq!(said, "1");
}

#[test]
fn arguments_of_any_bytes() {
    use std::os::unix::ffi::OsStrExt as _;
    let sandbox = Sandbox::new();
    for argument in [
        &b"\xff\xfe"[..],
        b"",
        b"\n",
        b"--",
        b"-",
        b"a\0b".split(|byte| *byte == 0).next().unwrap(),
    ] {
        for command in [
            "run", "rm", "inspect", "images", "tag", "commit", "volume", "load", "import", "exec",
        ] {
            let mut call = sandbox.aril_command(&[command]);
            call.arg(std::ffi::OsStr::from_bytes(argument));
            let ran = sandbox.run(call);
            assert!(
                !ran.err.contains("panicked") && ran.code != 101 && ran.code >= 0,
                "{command} {argument:?}: {ran:?}"
            );
        }
    }
}
