//! What is found of changes, on layers made for it, and what a commit makes of it.

use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};

use super::commit::commit;
use super::*;
use crate::image::gc::Lease;
use crate::image::layers::{self, Meta};
use crate::image::snapshot::{lowers, prepare};
use crate::image::tarball::{Entry, Kind};
use crate::image::testing::{Archive, Scratch, at, describe, image_of, pack, store, unpack};
use crate::image::{Image, Images};
use crate::oci::digest;

/// A container of an image with one layer.
struct Container {
    scratch: Scratch,
    images: Images,
    image: Image,
    upper: PathBuf,
    work: PathBuf,
}

impl Container {
    fn new(layer: impl FnOnce(&mut Archive)) -> Container {
        let (scratch, images) = store("diff");
        let mut archive = Archive::default();
        layer(&mut archive);
        let image = image_of(&images, &[archive.end()]);
        let dir = scratch.dir("container");
        let (upper, work) = (dir.join("upper"), dir.join("work"));
        prepare(&lowers(&images, &image).unwrap(), &upper, &work).unwrap();
        Container {
            scratch,
            images,
            image,
            upper,
            work,
        }
    }

    /// Calls `act` with the mounted root of the container.
    fn run(&self, act: impl FnOnce(&Path)) -> &Container {
        let place = overlay::Upper {
            upper: &self.upper,
            work: &self.work,
            volatile: false,
        };
        let lowers = lowers(&self.images, &self.image).unwrap();
        let root = overlay::mount(&lowers, Some(place)).unwrap();
        act(&PathBuf::from(format!(
            "/proc/self/fd/{}",
            root.as_raw_fd()
        )));
        self
    }

    fn with<T>(&self, excluded: &[&str], act: impl FnOnce(Changed<'_>) -> T) -> T {
        let excluded: Vec<PathBuf> = excluded.iter().map(PathBuf::from).collect();
        act(Changed {
            lowers: &lowers(&self.images, &self.image).unwrap(),
            upper: &self.upper,
            excluded: &excluded,
        })
    }

    fn diff(&self, excluded: &[&str]) -> Vec<String> {
        let list = self.with(excluded, |changed| changes(changed).unwrap());
        let lines = list.iter().map(|change| {
            let letter = match change.kind {
                ChangeKind::Modified => 'C',
                ChangeKind::Added => 'A',
                ChangeKind::Deleted => 'D',
            };
            format!("{letter} {}", change.path.display())
        });
        lines.collect()
    }

    fn commit(&self, excluded: &[&str]) -> Option<Meta> {
        let mut lease = Lease::take(&self.images, &[]).unwrap();
        self.with(excluded, |changed| {
            commit(&self.images, &mut lease, changed).unwrap()
        })
    }

    /// Commits, checks that the layer's archive has the layer's digest and gives the same tree, and returns its names.
    fn committed(&self, excluded: &[&str]) -> Vec<String> {
        let meta = self.commit(excluded).unwrap();
        layers::check(&self.images, &meta).unwrap();
        let root = layers::root(&self.images, &meta.diff_id).unwrap();
        let archive = pack(&root, meta.facts.root);
        assert_eq!(digest::sha256(&archive), meta.diff_id);
        assert_eq!(archive.len() as u64, meta.tar_size);
        let scratch = Scratch::new("again");
        let facts = unpack(&scratch, "tree", &archive).unwrap();
        assert_eq!(describe(&scratch.0.join("tree")), describe(&root));
        assert_eq!(facts, meta.facts);
        let mut names = Vec::new();
        let mut reader = crate::image::tarball::read::Reader::new(&archive[..]);
        while let Some(entry) = reader.next_entry().unwrap() {
            names.push(show(&entry.path));
        }
        names
    }
}

fn busybox(a: &mut Archive) {
    a.dir("etc", 0o755)
        .file("etc/passwd", "root")
        .file("etc/group", "root")
        .dir("tmp", 0o1777);
    a.dir("usr", 0o755)
        .dir("usr/bin", 0o755)
        .file("usr/bin/tool", "tool")
        .dir("root", 0o700);
}

#[test]
fn the_three_kinds_are_found() {
    let container = Container::new(busybox);
    assert!(container.diff(&[]).is_empty());
    assert!(container.commit(&[]).is_none());
    container.run(|root| {
        std::fs::write(root.join("n"), "n").unwrap();
        std::fs::remove_file(root.join("etc/group")).unwrap();
        std::fs::write(root.join("etc/passwd"), "root and more").unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/c"), "y").unwrap();
        std::fs::remove_dir(root.join("root")).unwrap();
    });
    assert_eq!(
        container.diff(&[]),
        [
            "A /a",
            "A /a/b",
            "A /a/b/c",
            "C /etc",
            "D /etc/group",
            "C /etc/passwd",
            "A /n",
            "D /root"
        ]
    );
    assert_eq!(
        container.committed(&[]),
        [
            ".wh.root",
            "a/",
            "a/b/",
            "a/b/c",
            "etc/",
            "etc/.wh.group",
            "etc/passwd",
            "n"
        ]
    );
    // The upper is as it was, and gives the same once more.
    assert_eq!(container.diff(&[]).len(), 8);
    let first = container.commit(&[]).unwrap();
    assert_eq!(container.commit(&[]).unwrap().diff_id, first.diff_id);
}

#[test]
fn a_replaced_directory_deletes_what_it_had() {
    let container = Container::new(busybox);
    container.run(|root| {
        std::fs::remove_dir_all(root.join("etc")).unwrap();
        std::fs::create_dir(root.join("etc")).unwrap();
        std::fs::write(root.join("etc/only"), "only").unwrap();
        std::fs::write(root.join("etc/group"), "new").unwrap();
        std::fs::remove_dir_all(root.join("usr")).unwrap();
        std::fs::write(root.join("usr"), "now a file").unwrap();
        std::fs::remove_file(root.join("dev/console")).unwrap();
        std::fs::create_dir(root.join("dev/console")).unwrap();
    });
    let diff = container.diff(&[]);
    for line in [
        "C /etc",
        "A /etc/only",
        "C /etc/group",
        "D /etc/passwd",
        "C /usr",
        "C /dev/console",
    ] {
        assert!(diff.iter().any(|found| found == line), "{line} in {diff:?}");
    }
    let names = container.committed(&[]);
    for name in [
        "etc/",
        "etc/.wh..wh..opq",
        "etc/group",
        "etc/only",
        "usr",
        "dev/console/",
    ] {
        assert!(
            names.iter().any(|found| found == name),
            "{name} in {names:?}"
        );
    }
    assert!(!names.iter().any(|name| name == "dev/console/.wh..wh..opq"));
}

#[test]
fn what_is_excluded_leaves_no_trace() {
    let container = Container::new(busybox);
    container.run(|root| {
        std::fs::create_dir_all(root.join("data/inner")).unwrap();
        std::fs::write(root.join("data/inner/file"), "volume").unwrap();
        let old = std::fs::metadata(root.join("etc"))
            .unwrap()
            .modified()
            .unwrap();
        std::fs::write(root.join("etc/hosts"), "127.0.0.1").unwrap();
        std::fs::File::open(root.join("etc"))
            .unwrap()
            .set_modified(old)
            .unwrap();
    });
    assert!(!container.diff(&[]).is_empty());
    let excluded = ["/data", "/etc/hosts", "/"];
    assert!(container.diff(&excluded).is_empty());
    assert!(container.commit(&excluded).is_none());
    container.run(|root| std::fs::write(root.join("etc/x"), "").unwrap());
    assert_eq!(container.diff(&excluded), ["C /etc", "A /etc/x"]);
    assert_eq!(container.committed(&excluded), ["etc/", "etc/x"]);
}

#[test]
fn everything_that_a_tree_can_have_is_kept() {
    use rustix::fs::{CWD, FileType, Mode, XattrFlags, mkfifoat, mknodat, setxattr};
    let container = Container::new(busybox);
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    container.run(|root| {
        let dir = root.join("d");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("file"), "x").unwrap();
        std::fs::hard_link(dir.join("file"), dir.join("hard")).unwrap();
        std::os::unix::fs::chown(dir.join("file"), Some(1000), Some(70_000)).unwrap();
        rustix::fs::chmod(dir.join("file"), Mode::from_raw_mode(0o4755)).unwrap();
        setxattr(dir.join("file"), "user.k", b"\n\0", XattrFlags::empty()).unwrap();
        setxattr(
            dir.join("file"),
            "security.capability",
            capability,
            XattrFlags::empty(),
        )
        .unwrap();
        symlink("f".repeat(300), dir.join("link")).unwrap();
        mkfifoat(CWD, dir.join("pipe"), Mode::from_raw_mode(0o620)).unwrap();
        let null = rustix::fs::makedev(1, 3);
        mknodat(
            CWD,
            dir.join("null"),
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            null,
        )
        .unwrap();
        std::fs::write(dir.join(".wh.odd"), "no deletion").unwrap();
        std::fs::write(dir.join("new\nline \\ \u{e4}"), "weird").unwrap();
        std::fs::write(dir.join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), "bytes").unwrap();
        std::fs::write(dir.join("n".repeat(255)), "long").unwrap();
        let large = std::fs::File::create(dir.join("large")).unwrap();
        large.write_all_at(&vec![1; 5 << 20], 3 << 20).unwrap();
        large.set_len(30 << 20).unwrap();
        std::fs::write(dir.join("edge"), vec![2; 64 << 10]).unwrap();
        std::fs::write(dir.join("over"), vec![3; (64 << 10) + 1]).unwrap();
        std::os::unix::net::UnixListener::bind(dir.join("socket"))
            .map(drop)
            .unwrap_or_default();
    });
    let names = container.committed(&[]);
    assert!(
        !names
            .iter()
            .any(|name| name.contains(".wh.") || name.contains("socket"))
    );
    let meta = container.commit(&[]).unwrap();
    let layer = layers::root(&container.images, &meta.diff_id).unwrap();
    let file = layer.join("d/file").metadata().unwrap();
    assert_eq!(
        (file.mode() & 0o7777, file.uid(), file.gid(), file.nlink()),
        (0o4755, 1000, 70_000, 2)
    );
    assert!(layer.join("d/large").metadata().unwrap().blocks() * 512 < 8 << 20);
    // The tree of the container without what no archive can hold.
    let upper = container.upper.clone();
    for name in ["d/.wh.odd", "d/socket"] {
        std::fs::remove_file(upper.join(name)).unwrap_or_default();
    }
    let strip = |text: String| {
        let lines = text.lines().map(|line| {
            let fields = line
                .split(' ')
                .filter(|field| !field.starts_with("trusted.overlay."));
            fields.collect::<Vec<_>>().join(" ")
        });
        // Removing the two has changed the directory's time.
        lines
            .filter(|line| !line.starts_with("d "))
            .collect::<Vec<_>>()
    };
    assert_eq!(strip(describe(&layer)), strip(describe(&upper)));
}

#[test]
fn the_root_directory_can_change() {
    let container = Container::new(busybox);
    container.run(|root| {
        let mode = rustix::fs::Mode::from_raw_mode(0o711);
        rustix::fs::chmod(root, mode).unwrap();
    });
    assert_eq!(container.committed(&[]), ["./"]);
    let meta = container.commit(&[]).unwrap();
    assert!(meta.facts.root);
}

#[test]
fn a_file_that_grows_and_shrinks_gives_a_sound_layer() {
    let container = Container::new(busybox);
    container.run(|root| {
        for n in 0..40 {
            std::fs::write(root.join(format!("f{n}")), vec![n; 300_000]).unwrap();
        }
    });
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut size = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                size = (size + 77_777) % 400_000;
                for n in 0..40 {
                    let file = std::fs::File::options()
                        .write(true)
                        .open(container.upper.join(format!("f{n}")))
                        .unwrap();
                    file.set_len(size).unwrap();
                    file.write_all_at(b"changed", size / 2).unwrap();
                }
            }
        });
        // Nothing is unwrapped before the writer knows that it is over.
        let found: Vec<_> = (0..10)
            .map(|_| {
                let mut lease = Lease::take(&container.images, &[])?;
                let meta = container.with(&[], |changed| {
                    commit(&container.images, &mut lease, changed)
                })?;
                layers::check(&container.images, &meta.context("nothing")?)
            })
            .collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        writer.join().unwrap();
        for result in found {
            result.unwrap();
        }
    });
}

#[test]
fn a_committed_layer_stacks() {
    let container = Container::new(busybox);
    container.run(|root| {
        std::fs::remove_dir_all(root.join("usr")).unwrap();
        std::fs::create_dir(root.join("usr")).unwrap();
        std::fs::remove_file(root.join("etc/passwd")).unwrap();
    });
    let meta = container.commit(&[]).unwrap();
    let mut config = container.image.config.clone();
    config.rootfs.diff_ids.push(meta.diff_id);
    let bytes = serde_json::to_vec(&config).unwrap();
    let id = crate::image::blobs::put(&container.images, &bytes).unwrap();
    let image = container.images.by_id(&id).unwrap();
    let root = crate::image::snapshot::mount_image(&container.images, &image).unwrap();
    let root = Path::new("/proc/self/fd")
        .join(root.as_raw_fd().to_string())
        .join("");
    assert!(root.join("etc/group").exists() && !root.join("etc/passwd").exists());
    assert!(
        std::fs::read_dir(root.join("usr"))
            .unwrap()
            .next()
            .is_none()
    );
    drop(container.scratch);
}

#[test]
fn an_unlinked_time_of_the_epoch_is_kept() {
    let container = Container::new(|a| {
        let mut dir = Entry::new("d", Kind::Directory, 0o755);
        dir.mtime = at(5);
        a.put(&dir, b"").file("d/f", "");
    });
    container.run(|root| {
        std::fs::write(root.join("d/new"), "").unwrap();
        let file = std::fs::File::open(root.join("d/new")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    });
    container.committed(&[]);
}
