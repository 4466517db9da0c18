//! Checkpoints where there is no CRIU, and what is refused before it is asked. What it does where it is there is tested in a
//! virtual machine (`v2/criu.sh`), whose kernel it knows.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::cves::{CANARY, Canary};
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

/// A directory of images that others have made, a file of the host, and a program in the place of CRIU that tells whether it
/// was called.
struct Hostile {
    sandbox: Sandbox,
    canary: Canary,
    called: PathBuf,
}

impl Hostile {
    fn new() -> Hostile {
        let sandbox = Sandbox::new("exec sleep 1000");
        let canary = Canary::new(&sandbox);
        let called = sandbox.dir.join("called");
        let programs = sandbox.dir.join("programs");
        fs::create_dir(&programs).unwrap();
        let criu = programs.join("criu");
        let script = format!("#!/bin/sh\necho >{}\n", called.display());
        fs::write(&criu, script).unwrap();
        fs::set_permissions(&criu, fs::Permissions::from_mode(0o755)).unwrap();
        Hostile {
            sandbox,
            canary,
            called,
        }
    }

    /// The images, made anew.
    fn images(&self) -> PathBuf {
        let images = self.sandbox.dir.join("all/images");
        if images.exists() {
            fs::remove_dir_all(&images).unwrap();
        }
        fs::create_dir_all(&images).unwrap();
        fs::write(images.join("descriptors.json"), "[]").unwrap();
        images
    }

    fn file_of_the_host(&self) -> PathBuf {
        self.canary.0.join(CANARY)
    }

    fn call(&self, args: &[&str], id: &str) -> Ran {
        let mut command = self.sandbox.command(args);
        command.args(["--image-path", "all/images", id]);
        command.env(
            "PATH",
            format!("{}:/bin", self.sandbox.dir.join("programs").display()),
        );
        Ran::from(command.output().unwrap())
    }

    /// Refused before CRIU has seen anything; nothing is left, and the host is as it was.
    fn restore_is_refused(&mut self, flags: &[&str], text: &str) {
        let id = self.sandbox.id("restored");
        let mut args = vec!["restore", "--detach"];
        args.extend(flags);
        self.call(&args, &id).fails(1, text);
        assert!(!self.called.exists(), "criu was called: {text}");
        assert!(!self.sandbox.dir.join("run").join(id).exists());
        self.canary.check();
    }
}

/// What leads out of a directory, or is no file: puts it at a path, for a file of the host, and what is said of it.
type Trap = (fn(&Path, &Path), &'static str);

const TRAPS: [Trap; 4] = [
    (
        |path, host| symlink(host, path).unwrap(),
        "is a symbolic link",
    ),
    (
        |path, _| {
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0)
                .unwrap();
        },
        "is a FIFO",
    ),
    (
        |path, _| {
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            let null = rustix::fs::makedev(1, 3);
            let device = rustix::fs::FileType::CharacterDevice;
            rustix::fs::mknodat(rustix::fs::CWD, path, device, mode, null).unwrap();
        },
        "is a device",
    ),
    (
        |path, _| drop(UnixListener::bind(path).unwrap()),
        "is a socket",
    ),
];

#[test]
fn cve_2026_50195_and_2026_53489_images_are_files() {
    let mut hostile = Hostile::new();
    let host = hostile.file_of_the_host();
    for (trap, kind) in TRAPS {
        for name in [
            "restore.log",
            "stats-restore",
            "descriptors.json",
            "pages-1.img",
            "tmpfs-dev-50.tar.gz.img",
            "inventory.img",
        ] {
            let images = hostile.images();
            let path = images.join(name);
            drop(fs::remove_file(&path));
            trap(&path, &host);
            hostile.restore_is_refused(&[], &format!("images/{name} {kind}"));
        }
    }
    // The same where the images are changes of others, which are no more trusted; and others than their neighbours are none.
    let first = hostile.sandbox.dir.join("all/first");
    fs::create_dir(&first).unwrap();
    symlink(&host, first.join("pages-1.img")).unwrap();
    for (parent, text) in [
        ("../first", "images/parent/pages-1.img is a symbolic link"),
        ("../../canary", "open all/images/parent: "),
        ("/", "open all/images/parent: "),
        (".", "open all/images/parent/"),
    ] {
        symlink(parent, hostile.images().join("parent")).unwrap();
        hostile.restore_is_refused(&[], text);
    }
}

#[test]
fn cve_2026_50195_a_dump_is_written_through_no_link() {
    let mut hostile = Hostile::new();
    let id = hostile.sandbox.start("c");
    let host = hostile.file_of_the_host();
    for (trap, kind) in TRAPS {
        for name in ["dump.log", "stats-dump", "descriptors.json", "pages-1.img"] {
            let images = hostile.images();
            drop(fs::remove_file(images.join(name)));
            trap(&images.join(name), &host);
            hostile
                .call(&["checkpoint"], &id)
                .fails(1, &format!("images/{name} {kind}"));
            assert!(!hostile.called.exists());
        }
    }
    assert_eq!(hostile.sandbox.status(&id), "running");
    hostile.canary.check();
}

/// What is in a directory of logs is only taken away where CRIU would write.
#[test]
fn cve_2026_50195_logs_take_the_place_of_links() {
    let mut hostile = Hostile::new();
    let host = hostile.file_of_the_host();
    let work = hostile.sandbox.dir.join("work");
    fs::create_dir(&work).unwrap();
    for name in ["restore.log", "stats-restore", "other"] {
        symlink(&host, work.join(name)).unwrap();
    }
    hostile.images();
    let id = hostile.sandbox.id("restored");
    let args = ["restore", "--detach", "--work-path", "work"];
    let ran = hostile.call(&args, &id);
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(hostile.called.exists(), "{ran:?}");
    let names: Vec<_> = fs::read_dir(&work)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["other"]);
    hostile.canary.check();
    // A directory is none that CRIU could write.
    fs::remove_file(&hostile.called).unwrap();
    fs::create_dir(work.join("restore.log")).unwrap();
    hostile.restore_is_refused(&args[2..], "remove work/restore.log: ");
}

#[test]
fn cve_2026_53492_and_2024_8676_descriptors_are_a_short_list() {
    let mut hostile = Hostile::new();
    let nested = "[".repeat(60_000);
    for (content, text) in [
        (" ".repeat(65 << 10), "is longer than 65536 bytes"),
        (
            nested,
            "read all/images/descriptors.json: invalid type: sequence",
        ),
        (String::new(), "read all/images/descriptors.json: EOF"),
        (
            "{}".to_owned(),
            "read all/images/descriptors.json: invalid type: map",
        ),
        (
            "[1]".to_owned(),
            "read all/images/descriptors.json: invalid type: integer",
        ),
        (
            "[\"\\ud800\"]".to_owned(),
            "read all/images/descriptors.json: ",
        ),
    ] {
        fs::write(hostile.images().join("descriptors.json"), content).unwrap();
        hostile.restore_is_refused(&[], text);
    }
    let images = hostile.images();
    fs::remove_file(images.join("descriptors.json")).unwrap();
    hostile.restore_is_refused(&[], "read all/images/descriptors.json: no such file");
}
