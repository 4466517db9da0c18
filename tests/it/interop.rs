//! Images go from aril to docker, podman and umoci and back, and stay what they are.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};

use crate::peers::{Docker, Podman};
use crate::sandbox::{Sandbox, image};
use crate::tree::{self, Tree, assert_same};

/// 2001-09-09 and later, so that every entry has a time of its own.
const TIME: i64 = 1_000_000_000;

/// A file with all that is set explicitly.
fn file(path: &Path, content: &[u8], mode: u32) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn folder(path: &Path) -> PathBuf {
    std::fs::create_dir(path).unwrap();
    path.to_owned()
}

fn node(path: &Path, kind: FileType, device: u64) {
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o640), device).unwrap();
}

fn own(path: &Path, uid: u32, gid: u32) {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::fs::chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn attribute(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// Gives an entry the time `TIME + seconds`.
fn date(path: &Path, seconds: i64) {
    let time = Timespec {
        tv_sec: TIME + seconds,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// What the base image has besides busybox.
fn make_base(root: &Path) {
    let data = folder(&root.join("data"));
    for name in [
        "deleted",
        "kept",
        "changed",
        "becomes a folder",
        "becomes a link",
    ] {
        file(&data.join(name), name.as_bytes(), 0o644);
    }
    for name in ["gone", "replaced", "becomes a file", "changed inside"] {
        let folder = folder(&data.join(name));
        file(&folder.join("one"), b"1", 0o600);
        file(&folder.join("two"), b"2", 0o600);
    }
    file(&data.join("hard 1"), b"hard", 0o644);
    for name in ["hard 2", "hard 3"] {
        std::fs::hard_link(data.join("hard 1"), data.join(name)).unwrap();
    }
}

/// What a container makes of it.
fn change(root: &Path) {
    let data = root.join("data");
    for name in ["deleted", "becomes a folder", "becomes a link", "hard 3"] {
        std::fs::remove_file(data.join(name)).unwrap();
    }
    for name in ["gone", "replaced", "becomes a file"] {
        std::fs::remove_dir_all(data.join(name)).unwrap();
    }
    file(&data.join("changed"), b"other", 0o4755);
    file(
        &folder(&data.join("becomes a folder")).join("new"),
        b"new",
        0o644,
    );
    file(&folder(&data.join("replaced")).join("new"), b"new", 0o644);
    file(&data.join("becomes a file"), b"file", 0o644);
    symlink("kept", data.join("becomes a link")).unwrap();
    std::fs::remove_file(data.join("changed inside/one")).unwrap();
    file(&data.join("changed inside/three"), b"3", 0o644);
    special_files(&data);
    names(&folder(&data.join("names")));
    sizes(&data);
    // Last, since what is made in a folder changes its time.
    let mut seconds = 0;
    let mut entries = vec![data.clone()];
    let mut next = 0;
    while next < entries.len() {
        let entry = entries[next].clone();
        next += 1;
        if std::fs::symlink_metadata(&entry).unwrap().is_dir() {
            entries.extend(
                std::fs::read_dir(&entry)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    for entry in entries.iter().rev() {
        seconds += 1;
        date(entry, seconds);
    }
}

fn special_files(data: &Path) {
    for (name, mode) in [
        ("setuid", 0o4755),
        ("setgid", 0o2755),
        ("secret", 0o000),
        ("all", 0o7777),
    ] {
        file(&data.join(name), b"x", mode);
    }
    let sticky = folder(&data.join("sticky"));
    std::fs::set_permissions(sticky, std::fs::Permissions::from_mode(0o1777)).unwrap();
    node(&data.join("fifo"), FileType::Fifo, 0);
    node(
        &data.join("character"),
        FileType::CharacterDevice,
        rustix::fs::makedev(1, 3),
    );
    node(
        &data.join("block"),
        FileType::BlockDevice,
        rustix::fs::makedev(7, 300),
    );
    drop(std::os::unix::net::UnixListener::bind(data.join("socket")).unwrap());
    let bound = data.join("owned");
    file(&bound, b"x", 0o644);
    own(&bound, 1000, 2000);
    let far = data.join("owned by a large number");
    file(&far, b"x", 0o644);
    // More than the eight octal digits of a plain header.
    own(&far, 3_000_000, 2_147_483_000);
    let long = format!("{}end", "a/../".repeat(60));
    for (name, target) in [
        ("absolute", "/etc/passwd"),
        ("dangling", "../../no/where"),
        ("long link", &long),
    ] {
        symlink(target, data.join(name)).unwrap();
        own(&data.join(name), 5, 6);
    }
    file(&data.join("new hard 1"), b"new", 0o644);
    for name in ["new hard 2", "a hard one that comes first"] {
        std::fs::hard_link(data.join("new hard 1"), data.join(name)).unwrap();
    }
    let attributes = data.join("attributes");
    file(&attributes, b"x", 0o755);
    // None is empty: in a pax header that would mean that there is none.
    attribute(&attributes, "user.note", b"a\nb=c \xff");
    // cap_net_raw, effective and permitted, as `setcap` writes it.
    let mut capability = vec![1, 0, 0, 2, 0, 0x20, 0, 0];
    capability.resize(20, 0);
    attribute(&attributes, "security.capability", &capability);
    attribute(&data.join("sticky"), "user.note", b"of a folder");
}

fn names(dir: &Path) {
    for name in [
        " blank ",
        "new\nline",
        "tab\t",
        "back\\slash",
        "-rf",
        "quote'\"",
        "*",
        "ünï",
        "wh.x",
        "%41",
        "a:b",
    ] {
        file(&dir.join(name), name.as_bytes(), 0o644);
    }
    file(&dir.join(tree::odd_name()), b"odd", 0o644);
    file(&dir.join("n".repeat(255)), b"long", 0o644);
    let mut deep = dir.to_owned();
    for _ in 0..4 {
        deep = folder(&deep.join("d".repeat(99)));
    }
    file(&deep.join("deep"), b"deep", 0o644);
    folder(&dir.join("empty"));
}

fn sizes(data: &Path) {
    file(&data.join("nothing"), b"", 0o644);
    for size in [511, 512, 513] {
        file(
            &data.join(format!("{size} bytes")),
            &vec![b'x'; size],
            0o644,
        );
    }
    let noise: Vec<u8> = (0..3_000_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2])
        .collect();
    file(&data.join("large"), &noise, 0o644);
    let sparse = File::create(data.join("sparse")).unwrap();
    sparse.write_all_at(b"begin", 0).unwrap();
    sparse.write_all_at(b"middle", 5 << 20).unwrap();
    sparse.set_len(20 << 20).unwrap();
}

/// Imports the base, changes it in a container, and commits that as `made:1`; returns the tree.
pub(crate) fn commit(sandbox: &Sandbox) -> Tree {
    let base = sandbox.path("base");
    let copied = Command::new("cp")
        .arg("-a")
        .arg(image::rootfs())
        .arg(&base)
        .status();
    assert!(copied.unwrap().success());
    make_base(&base);
    sandbox.shell("tar -C base -cf base.tar .; rm -r base");
    sandbox.ok(&["import", "-c", "CMD [\"sh\"]", "base.tar", "base"]);
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "changed",
        "--network",
        "none",
        "base",
        "sleep",
        "1000",
    ]);
    let root = root_of(sandbox, "changed");
    change(&root);
    let expected = tree::read(&root);
    sandbox.ok(&["commit", "changed", "made:1"]);
    sandbox.ok(&["rm", "-f", "changed"]);
    expected
}

/// Returns where a running container's root filesystem is seen.
fn root_of(sandbox: &Sandbox, name: &str) -> PathBuf {
    let pid = sandbox.inspect(name, "{{.State.Pid}}");
    PathBuf::from(format!("/proc/{pid}/root"))
}

/// Returns the tree that containers of an image start with.
pub(crate) fn tree_of(sandbox: &Sandbox, image: &str) -> Tree {
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "looked-at",
        "--network",
        "none",
        image,
        "sleep",
        "1000",
    ]);
    let tree = tree::read(&root_of(sandbox, "looked-at"));
    sandbox.ok(&["rm", "-f", "looked-at"]);
    tree
}

#[test]
fn a_committed_image_has_the_same_tree_everywhere() {
    let sandbox = Sandbox::bare();
    let expected = commit(&sandbox);
    assert_same("aril", &tree_of(&sandbox, "made:1"), &expected);
    sandbox.ok(&["save", "-o", "made.tar", "made:1"]);

    let docker = Docker::start(&sandbox, &[]);
    docker.ok(&["load", "-i", "made.tar"]);
    docker.with_root("made:1", |root| {
        assert_same("docker", &tree::read(root), &expected);
    });
    drop(docker);

    let podman = Podman::new(&sandbox);
    podman.ok(&["load", "-i", "made.tar"]);
    podman.with_root("made:1", |root| {
        assert_same("podman", &tree::read(root), &expected);
    });
    drop(podman);

    sandbox
        .shell("mkdir layout; tar -C layout -xf made.tar; umoci unpack --image layout:1 unpacked");
    assert_same(
        "umoci",
        &tree::read(&sandbox.path("unpacked/rootfs")),
        &expected,
    );
}

#[test]
fn archives_of_others_are_loaded() {
    let sandbox = Sandbox::bare();
    let expected = commit(&sandbox);
    let id = sandbox.inspect("made:1", "{{.Id}}");
    sandbox.ok(&["save", "-o", "made.tar", "made:1"]);
    sandbox.ok(&["rmi", "made:1", "base"]);
    let load = |archive: &str| {
        let said = sandbox.ok(&["load", "-i", archive]);
        assert_eq!(said, "Loaded image: made:1", "{archive}");
        let loaded = sandbox.inspect("made:1", "{{.Id}}");
        let tree = tree_of(&sandbox, "made:1");
        sandbox.ok(&["rmi", "made:1"]);
        assert_same(archive, &tree, &expected);
        loaded
    };
    assert_eq!(load("made.tar"), id);

    // One directory per layer, as all dockers before 25 have it.
    let docker = Docker::start(&sandbox, &[]);
    docker.ok(&["load", "-i", "made.tar"]);
    docker.ok(&["save", "-o", "docker.tar", "made:1"]);
    drop(docker);
    assert_eq!(load("docker.tar"), id);

    let podman = Podman::new(&sandbox);
    podman.ok(&["load", "-i", "made.tar"]);
    podman.ok(&["save", "-o", "podman.tar", "made:1"]);
    podman.ok(&[
        "save",
        "--format",
        "oci-archive",
        "-o",
        "podman-oci.tar",
        "made:1",
    ]);
    drop(podman);
    load("podman.tar");
    load("podman-oci.tar");

    for (copy, options) in [
        ("docker-archive:skopeo.tar:made:1", ""),
        ("oci-archive:skopeo-gzip.tar:made:1", ""),
        (
            "oci-archive:skopeo-zstd.tar:made:1",
            "--dest-compress-format zstd",
        ),
    ] {
        sandbox.shell(&format!(
            "skopeo copy -q {options} docker-archive:made.tar {copy}"
        ));
        load(copy.split(':').nth(1).unwrap());
    }

    for (program, suffix) in [
        ("gzip", "gz"),
        ("bzip2", "bz2"),
        ("xz", "xz"),
        ("zstd", "zst"),
    ] {
        sandbox.shell(&format!("{program} -q -1 -k docker.tar"));
        assert_eq!(load(&format!("docker.tar.{suffix}")), id);
    }
}

#[test]
fn the_store_is_a_layout_that_skopeo_reads() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["save", "-o", "saved.tar", "busybox"]);
    sandbox.ok(&["rmi", "busybox"]);
    sandbox.ok(&["load", "-i", "saved.tar"]);
    let image = format!(
        "oci:{}/images:docker.io/library/busybox:latest",
        sandbox.root().display()
    );
    let read = sandbox.shell(&format!(
        "skopeo inspect {image}; skopeo inspect --config {image}"
    ));
    assert!(read.contains("\"Layers\""), "{read}");
    let digest = sandbox.shell(&format!(
        "skopeo inspect --raw {image} | sha256sum | cut -d' ' -f1"
    ));
    assert!(read.contains(&digest), "{digest} is not in {read}");
    // All layers are there, and are what the manifest says.
    sandbox.shell(&format!(
        "skopeo copy -q {image} oci:copied:1; umoci unpack --image copied:1 unpacked"
    ));
    assert_same(
        "umoci",
        &tree::read(&sandbox.path("unpacked/rootfs")),
        &tree::read(&image::rootfs()),
    );
}
