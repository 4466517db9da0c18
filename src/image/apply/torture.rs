//! Archives that lie, climb, repeat and contradict themselves: one test per hazard of unpacking.
//!
//! They need root, for owners, devices and trusted attributes; without it they fail.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::path::Path;

use super::{Facts, Policy, apply};
use crate::image::path::InnerPath;
use crate::image::tarball::{Device, Entry, Kind, Time, write};
use crate::image::testing::{Archive, Scratch, at, describe, raw_header, unpack, xattrs};

fn archive(make: impl FnOnce(&mut Archive)) -> Vec<u8> {
    let mut archive = Archive::default();
    make(&mut archive);
    archive.end()
}

/// Unpacks into `scratch/root`.
fn made(scratch: &Scratch, make: impl FnOnce(&mut Archive)) -> Facts {
    unpack(scratch, "root", &archive(make)).unwrap()
}

fn refused(why: &str, make: impl FnOnce(&mut Archive)) {
    let scratch = Scratch::new("refused");
    let error = unpack(&scratch, "root", &archive(make)).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains(why), "{text:?} does not say {why:?}");
}

/// Lists names and kinds: `d/` a directory, `D/` an opaque one, `f`, `l->x`, `-w` a whiteout.
fn listing(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(here) = todo.pop() {
        for entry in std::fs::read_dir(&here).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(dir).unwrap().display().to_string();
            let opaque = xattrs(&path)
                .iter()
                .any(|(n, _)| n == super::metadata::OPAQUE);
            all.push(if meta.is_dir() {
                todo.push(path);
                format!("{name}{}", if opaque { "/!" } else { "/" })
            } else if meta.is_symlink() {
                format!("{name}->{}", path.read_link().unwrap().display())
            } else if meta.file_type().is_char_device() && meta.rdev() == 0 {
                format!("-{name}")
            } else {
                name
            });
        }
    }
    all.sort();
    all
}

fn lists(expected: &[&str], make: impl FnOnce(&mut Archive)) -> Facts {
    let scratch = Scratch::new("lists");
    let facts = made(&scratch, make);
    assert_eq!(listing(&scratch.0.join("root")), expected);
    facts
}

fn paths(list: &[&str]) -> Vec<InnerPath> {
    list.iter().map(|p| InnerPath((*p).into())).collect()
}

#[test]
fn paths_stay_inside() {
    lists(&["a", "b", "d/", "d/c"], |a| {
        a.file("/a", "").file("./b", "").file("/d//./c", "");
    });
    for path in ["../x", "a/../../x", "/..", "a/.."] {
        refused("has \"..\"", |a| {
            a.file(path, "");
        });
    }
    refused("too long", |a| {
        a.file(&"n".repeat(256), "");
    });
    let outside = Scratch::new("outside");
    std::fs::write(outside.0.join("canary"), "alive").unwrap();
    let target = outside.0.to_str().unwrap();
    let scratch = Scratch::new("links");
    made(&scratch, |a| {
        a.symlink("escape", target)
            .file("escape/canary", "dead")
            .symlink("climb", "../../../../../../../..")
            .file("climb/climbed", "")
            .symlink("canary", &format!("{target}/canary"))
            .file("canary", "replaced");
    });
    let root = scratch.0.join("root");
    let canary = std::fs::read_to_string(outside.0.join("canary")).unwrap();
    assert_eq!(canary, "alive");
    assert_eq!(
        std::fs::read_to_string(root.join("canary")).unwrap(),
        "replaced"
    );
    assert!(root.join("climbed").exists());
    assert!(
        root.join(target.trim_start_matches('/'))
            .join("canary")
            .exists()
    );
}

#[test]
fn links_inside_are_followed() {
    let facts = lists(
        &[
            "lib->usr/lib",
            "run/",
            "run/y",
            "usr/",
            "usr/lib/",
            "usr/lib/x",
            "var/",
            "var/run->/run",
        ],
        |a| {
            a.dir("usr", 0o755)
                .dir("usr/lib", 0o755)
                .symlink("lib", "usr/lib")
                .file("lib/x", "")
                .symlink("var/run", "/run")
                .file("var/run/y", "");
        },
    );
    assert_eq!(facts.implied, paths(&["run", "var"]));
    refused("too many symbolic links", |a| {
        a.symlink("loop", "loop").file("loop/x", "");
    });
    refused("is not a directory", |a| {
        a.file("f", "").file("f/x", "");
    });
    // A directory that is exchanged for a link while its descriptor is kept open.
    lists(&["d->e", "e/", "e/b"], |a| {
        a.file("d/a", "")
            .dir("e", 0o755)
            .symlink("d", "e")
            .file("d/b", "");
    });
}

#[test]
fn the_last_member_of_a_name_wins() {
    let facts = lists(&["a", "b->x", "c/", "c/n", "d"], |a| {
        a.dir("a", 0o755)
            .file("a/inner/deep", "12345")
            .file("a", "1")
            .file("b", "")
            .symlink("b", "x")
            .symlink("c", "elsewhere")
            .dir("c", 0o700)
            .file("c/n", "22")
            .dir("d", 0o755)
            .file("d", "333");
    });
    // Files of 1, 2 and 3 bytes and a target of 1.
    assert_eq!(facts.size, 7);
    assert!(facts.implied.is_empty());
    let scratch = Scratch::new("again");
    made(&scratch, |a| {
        let mut dir = Entry::new("d", Kind::Directory, 0o755);
        dir.xattrs = vec![(b"user.old".to_vec(), b"1".to_vec())];
        a.put(&dir, b"").file("d/stays", "");
        dir = Entry::new("d", Kind::Directory, 0o1700);
        dir.uid = 5;
        dir.mtime = at(77);
        a.put(&dir, b"");
    });
    let meta = scratch.0.join("root/d").metadata().unwrap();
    assert_eq!(
        (meta.mode() & 0o7777, meta.uid(), meta.mtime()),
        (0o1700, 5, 77)
    );
    assert!(xattrs(&scratch.0.join("root/d")).is_empty());
    assert!(scratch.0.join("root/d/stays").exists());
}

#[test]
fn hard_links_find_their_target_or_are_recorded() {
    let scratch = Scratch::new("hard");
    let facts = made(&scratch, |a| {
        let mut secret = Entry::new("target", Kind::File, 0o4711);
        secret.uid = 3;
        a.link("early", "target")
            .link("earlier", "early")
            .put(&secret, b"content")
            .link("target", "target")
            .link("twice", "target")
            .link("twice", "target")
            .symlink("sym", "/etc/passwd")
            .link("symlink", "sym")
            .link("below", "usr/bin/tool")
            .link("deep/below", "/usr/bin/tool")
            .link("replaced", "usr/bin/other")
            .file("replaced", "now a file");
    });
    let root = scratch.0.join("root");
    let inode = |name: &str| root.join(name).symlink_metadata().unwrap().ino();
    for name in ["early", "earlier", "twice"] {
        assert_eq!(inode(name), inode("target"), "{name}");
    }
    assert_eq!(inode("symlink"), inode("sym"));
    // Nothing of the link's own header is applied.
    let meta = root.join("target").metadata().unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o4711, 3));
    let tool = InnerPath(b"usr/bin/tool".to_vec());
    let expected = [
        (InnerPath(b"below".to_vec()), tool.clone()),
        (InnerPath(b"deep/below".to_vec()), tool),
    ];
    assert_eq!(facts.links, expected);
    assert!(!root.join("below").exists());
    refused("to the directory", |a| {
        a.dir("d", 0o755).link("l", "d");
    });
    refused("which the layer deletes", |a| {
        a.file(".wh.gone", "").link("l", "gone");
    });
    refused("has \"..\"", |a| {
        a.link("l", "../../etc/passwd");
    });
}

#[test]
fn links_through_links_stay_inside() {
    let outside = Scratch::new("outside");
    std::fs::write(outside.0.join("canary"), "alive").unwrap();
    let scratch = Scratch::new("through");
    let facts = made(&scratch, |a| {
        a.symlink("out", outside.0.to_str().unwrap())
            .link("stolen", "out/canary");
    });
    assert_eq!(facts.links.len(), 1);
    assert!(!scratch.0.join("root/stolen").exists());
    assert_eq!(outside.0.join("canary").metadata().unwrap().nlink(), 1);
}

#[test]
fn the_root_is_a_directory_or_refused() {
    for path in [".", "./", "/", "/."] {
        refused("root of a layer is not a directory", |a| {
            a.raw(raw_header(b'2', path.as_bytes(), 0), b"");
        });
        let scratch = Scratch::new("root");
        let facts = made(&scratch, |a| {
            let mut root = Entry::new(path, Kind::Directory, 0o1710);
            root.gid = 4;
            root.mtime = at(99);
            a.put(&root, b"").file("x", "");
        });
        assert!(facts.root);
        let meta = scratch.0.join("root").metadata().unwrap();
        assert_eq!(
            (meta.mode() & 0o7777, meta.gid(), meta.mtime()),
            (0o1710, 4, 99)
        );
    }
    assert!(
        !lists(&["x"], |a| {
            a.file("x", "");
        })
        .root
    );
}

#[test]
fn deletions_become_whiteouts() {
    let facts = lists(&["-d/inner", "-gone", "d/"], |a| {
        a.file(".wh.gone", "")
            .file("d/.wh.inner", "ignored content");
    });
    assert_eq!((facts.entries, facts.size), (2, 0));
    assert_eq!(facts.implied, paths(&["d"]));
    // What the layer has itself stays, in either order.
    for order in [[".wh.f", "f"], ["f", ".wh.f"]] {
        lists(&["f"], |a| {
            a.file(order[0], "").file(order[1], "");
        });
    }
    lists(&["d/!", "d/x"], |a| {
        a.file("d/x", "").file(".wh.d", "");
    });
    lists(&["d/!", "d/x"], |a| {
        a.file(".wh.d", "").file("d/x", "");
    });
    lists(&["d/!"], |a| {
        a.file(".wh.d", "").dir("d", 0o755);
    });
    // A deletion below a deletion says nothing more, in either order.
    lists(&["-d"], |a| {
        a.file(".wh.d", "").file("d/.wh.x", "");
    });
    lists(&["-d"], |a| {
        a.file("d/.wh.x", "")
            .file("d/e/.wh.y", "")
            .file(".wh.d", "");
    });
    lists(&["-d"], |a| {
        a.file("d/.wh..wh..opq", "").file(".wh.d", "");
    });
    lists(&["-x"], |a| {
        a.device("x", 0, 0);
    });
    lists(&["-x"], |a| {
        a.file("x", "1").device("x", 0, 0);
    });
}

#[test]
fn opaque_directories_hold_no_whiteouts() {
    for opaque_first in [true, false] {
        let facts = lists(&["d/!", "d/e/", "d/e/y", "d/x"], |a| {
            if opaque_first {
                a.file("d/.wh..wh..opq", "");
            }
            a.file("d/x", "")
                .file("d/.wh.z", "")
                .file("d/e/y", "")
                .file("d/e/.wh.z", "")
                .file("d/only/.wh.z", "");
            if !opaque_first {
                a.file("d/.wh..wh..opq", "");
            }
        });
        assert!(!facts.opaque);
    }
    let facts = lists(&["x"], |a| {
        a.file(".wh.old", "").file(".wh..wh..opq", "").file("x", "");
    });
    assert!(facts.opaque);
}

#[test]
fn relics_and_nonsense_of_markers() {
    lists(&["f"], |a| {
        a.file(".wh..wh.plnk", "")
            .file(".wh..wh.aufs", "")
            .file(".wh..wh.orph/12", "")
            .file("f", "");
    });
    for path in [".wh.", ".wh..", ".wh...", "d/.wh."] {
        refused("deletes no name", |a| {
            a.file(path, "");
        });
    }
    refused("below a deletion", |a| {
        a.file(".wh.d/x", "");
    });
    // A root file system has nothing below it.
    let scratch = Scratch::new("rootfs");
    let bytes = archive(|a| {
        a.file(".wh.x", "")
            .file("d/.wh..wh..opq", "")
            .device("y", 0, 0)
            .file("z", "");
    });
    let root = scratch.dir("root");
    let facts = apply(&bytes[..], &root, Policy::RootFilesystem).unwrap();
    assert_eq!(listing(&root), ["z"]);
    assert_eq!(facts.entries, 2);
}

/// Runs `work` with a umask that no other test sees.
fn with_strict_umask<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    crate::sys::thread::with_own_umask(|| {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        work()
    })
    .unwrap()
}

#[test]
fn modes_and_owners_are_exact() {
    let scratch = Scratch::new("modes");
    let bytes = archive(|a| {
        for (path, mode, uid) in [
            ("plain", 0o666, 0),
            ("suid", 0o6755, 0),
            ("owned", 0o4755, 70_000),
            ("none", 0, 4_294_967_294),
        ] {
            let mut entry = Entry::new(path, Kind::File, mode);
            (entry.uid, entry.gid) = (uid, uid);
            a.put(&entry, b"x");
        }
        // Debian's var/local: what is made in it must not take its group or its bit.
        let mut dir = Entry::new("staff", Kind::Directory, 0o2775);
        dir.gid = 50;
        a.put(&dir, b"")
            .dir("staff/sub", 0o755)
            .file("staff/file", "");
        a.dir("sticky", 0o1777)
            .dir("closed", 0o000)
            .file("closed/inside", "");
        a.put(&Entry::new("pipe", Kind::Fifo, 0o1622), b"");
    });
    with_strict_umask(|| unpack(&scratch, "root", &bytes)).unwrap();
    let root = scratch.0.join("root");
    for (path, mode, uid, gid) in [
        ("plain", 0o666, 0, 0),
        ("suid", 0o6755, 0, 0),
        ("owned", 0o4755, 70_000, 70_000),
        ("none", 0, 4_294_967_294, 4_294_967_294),
        ("staff", 0o2775, 0, 50),
        ("staff/sub", 0o755, 0, 0),
        ("staff/file", 0o644, 0, 0),
        ("sticky", 0o1777, 0, 0),
        ("closed", 0, 0, 0),
        ("pipe", 0o1622, 0, 0),
    ] {
        let meta = root.join(path).metadata().unwrap();
        let found = (meta.mode() & 0o7777, meta.uid(), meta.gid());
        assert_eq!(found, (mode, uid, gid), "{path}");
    }
    for value in [u64::from(u32::MAX), u64::from(u32::MAX) + 1] {
        refused("out of range", |a| {
            let mut header = raw_header(b'0', b"f", 0);
            header.set_uid(value);
            a.raw(header, b"");
        });
    }
}

#[test]
fn attributes_arrive_where_they_may() {
    let scratch = Scratch::new("xattrs");
    // cap_net_raw+ep; its second word has a newline byte.
    let capability = b"\x01\0\0\x02\0\x20\0\0\n\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    made(&scratch, |a| {
        let mut entry = Entry::new("f", Kind::File, 0o755);
        entry.uid = 9;
        entry.xattrs = vec![
            (b"user.binary".to_vec(), b"a=b\n\0\xff".to_vec()),
            (b"security.capability".to_vec(), capability.clone()),
            (b"security.selinux".to_vec(), b"label\0".to_vec()),
            (b"trusted.overlay.opaque".to_vec(), b"y".to_vec()),
            (b"trusted.other".to_vec(), b"y".to_vec()),
        ];
        a.put(&entry, b"x");
        entry = Entry::new("d", Kind::Directory, 0o755);
        entry.xattrs = vec![
            (b"trusted.overlay.redirect".to_vec(), b"/etc".to_vec()),
            (b"trusted.overlay.opaque".to_vec(), b"y".to_vec()),
            (b"user.d".to_vec(), b"1".to_vec()),
        ];
        a.put(&entry, b"");
        entry = Entry::new("l", Kind::Symlink(b"f".to_vec()), 0o777);
        entry.xattrs = vec![(b"user.refused".to_vec(), b"1".to_vec())];
        a.put(&entry, b"");
    });
    let root = scratch.0.join("root");
    let names =
        |name: &str| -> Vec<_> { xattrs(&root.join(name)).into_iter().map(|x| x.0).collect() };
    let found = xattrs(&root.join("f"));
    assert_eq!(found[0], ("security.capability".to_owned(), capability));
    assert_eq!(found[1].0, "trusted.overlay.overlay.opaque");
    assert_eq!(
        found[2],
        ("user.binary".to_owned(), b"a=b\n\0\xff".to_vec())
    );
    assert_eq!(found.len(), 3);
    assert_eq!(
        names("d"),
        [
            "trusted.overlay.overlay.opaque",
            "trusted.overlay.overlay.redirect",
            "user.d"
        ]
    );
    assert!(names("l").is_empty());
}

#[test]
fn a_default_acl_shapes_nothing_that_is_unpacked() {
    // Version 2: user::rwx, group::rwx, group 50 rwx, mask rwx, other::---
    let mut acl = vec![2, 0, 0, 0];
    for (tag, rights, id) in [
        (1u16, 7u16, u32::MAX),
        (4, 7, u32::MAX),
        (8, 7, 50),
        (16, 7, u32::MAX),
        (32, 0, u32::MAX),
    ] {
        acl.extend(tag.to_le_bytes());
        acl.extend(rights.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    let scratch = Scratch::new("acl");
    made(&scratch, |a| {
        let mut dir = Entry::new("d", Kind::Directory, 0o755);
        dir.xattrs = vec![(b"system.posix_acl_default".to_vec(), acl.clone())];
        a.put(&dir, b"").file("d/f", "").dir("d/s", 0o700);
    });
    let root = scratch.0.join("root");
    assert_eq!(
        xattrs(&root.join("d")),
        [("system.posix_acl_default".to_owned(), acl)]
    );
    assert!(xattrs(&root.join("d/f")).is_empty());
    assert_eq!(root.join("d/f").metadata().unwrap().mode() & 0o7777, 0o644);
    assert_eq!(root.join("d/s").metadata().unwrap().mode() & 0o7777, 0o700);
}

#[test]
fn devices_pipes_and_old_types() {
    let scratch = Scratch::new("nodes");
    made(&scratch, |a| {
        a.device("null", 1, 3);
        let device = Device {
            major: 259,
            minor: 65_537,
        };
        a.put(&Entry::new("disk", Kind::BlockDevice(device), 0o660), b"");
        a.put(&Entry::new("pipe", Kind::Fifo, 0o600), b"");
        a.raw(raw_header(b'7', b"contiguous", 3), b"abc");
        a.raw(raw_header(b'0', b"slash/", 3), b"abc");
        let mut old = tar::Header::new_old();
        old.as_old_mut().name[..4].copy_from_slice(b"old/");
        old.set_mode(0o711);
        old.set_size(0);
        old.set_mtime(0);
        old.set_uid(0);
        old.set_gid(0);
        a.raw(old, b"");
        a.raw(raw_header(b'V', b"volume", 0), b"");
        a.raw(raw_header(b'g', b"global", 12), b"12 path=bad\n");
    });
    let root = scratch.0.join("root");
    let meta = root.join("null").metadata().unwrap();
    assert!(meta.file_type().is_char_device() && meta.rdev() == 0x103);
    assert_eq!(meta.mode() & 0o777, 0o666);
    let meta = root.join("disk").metadata().unwrap();
    assert!(meta.file_type().is_block_device());
    assert_eq!(meta.rdev(), rustix::fs::makedev(259, 65_537));
    assert!(root.join("pipe").metadata().unwrap().file_type().is_fifo());
    assert_eq!(std::fs::read(root.join("contiguous")).unwrap(), b"abc");
    assert_eq!(std::fs::read(root.join("slash")).unwrap(), b"abc");
    assert!(root.join("old").is_dir());
    assert!(!root.join("volume").exists() && !root.join("bad").exists());
    refused("unhandled tar header type", |a| {
        a.raw(raw_header(b'Z', b"z", 0), b"");
    });
    refused("without device numbers", |a| {
        let mut old = tar::Header::new_old();
        old.set_entry_type(tar::EntryType::new(b'3'));
        old.as_old_mut().name[0] = b'x';
        old.set_uid(0);
        old.set_gid(0);
        old.set_mtime(0);
        old.set_mode(0);
        a.raw(old, b"");
    });
}

#[test]
fn times_are_of_the_member() {
    let scratch = Scratch::new("times");
    made(&scratch, |a| {
        let mut dir = Entry::new("d", Kind::Directory, 0o755);
        dir.mtime = at(1000);
        a.put(&dir, b"");
        let mut entry = Entry::new("d/f", Kind::File, 0o644);
        entry.mtime = at(2000);
        a.put(&entry, b"x");
        entry = Entry::new("d/l", Kind::Symlink(b"f".to_vec()), 0o777);
        entry.mtime = at(3000);
        a.put(&entry, b"");
        let records = b"28 mtime=1234567890.1234567\n";
        a.raw(raw_header(b'x', b"x", records.len() as u64), records);
        a.raw(raw_header(b'0', b"ns", 0), b"");
        let records = b"16 mtime=-100.5\n";
        a.raw(raw_header(b'x', b"x", records.len() as u64), records);
        a.raw(raw_header(b'0', b"past", 0), b"");
        a.file("made/by/its/content", "");
    });
    let time = |name: &str| {
        let meta = scratch
            .0
            .join("root")
            .join(name)
            .symlink_metadata()
            .unwrap();
        Time {
            seconds: meta.mtime(),
            nanoseconds: u32::try_from(meta.mtime_nsec()).unwrap(),
        }
    };
    assert_eq!(time("d"), at(1000));
    assert_eq!(time("d/f"), at(2000));
    assert_eq!(time("d/l"), at(3000));
    let nanoseconds = 123_456_700;
    assert_eq!(
        time("ns"),
        Time {
            seconds: 1_234_567_890,
            nanoseconds
        }
    );
    assert_eq!(time("past"), at(0));
    assert_eq!(time("made/by"), at(0));
}

#[test]
fn sizes_and_names_cannot_be_hidden() {
    // The header says 0, the record says 600: whoever believes the header reads the content as headers.
    let mut inner = Vec::new();
    write::append(&mut inner, &Entry::new("smuggled", Kind::File, 0o644), b"").unwrap();
    inner.resize(600, 0);
    lists(&["carrier", "next"], |a| {
        let records = b"30 SCHILY.xattr.user.x=a\nb=c\n\n12 size=600\n";
        a.raw(raw_header(b'x', b"x", records.len() as u64), records);
        a.raw(raw_header(b'0', b"carrier", 0), &inner);
        a.file("next", "");
    });
    // Members without content have none, whatever their size field says.
    lists(&["d/", "f", "l"], |a| {
        a.file("f", "");
        let mut link = raw_header(b'1', b"l", 512);
        link.as_old_mut().linkname[0] = b'f';
        a.raw(link, b"").raw(raw_header(b'5', b"d", 1024), b"");
    });
    // Of two names the extended header's counts, of two records the last.
    lists(&["right"], |a| {
        a.raw(raw_header(b'L', b"././@LongLink", 6), b"wrong\0");
        let records = b"14 path=first\n14 path=right\n";
        a.raw(raw_header(b'x', b"x", records.len() as u64), records);
        a.raw(raw_header(b'0', b"header", 0), b"");
    });
    let long = "long/".repeat(60) + "end";
    let scratch = Scratch::new("long");
    made(&scratch, |a| {
        let name = [long.as_bytes(), b"\0"].concat();
        a.raw(raw_header(b'L', b"././@LongLink", name.len() as u64), &name);
        a.raw(raw_header(b'K', b"././@LongLink", name.len() as u64), &name);
        a.raw(raw_header(b'2', b"cut", 0), b"");
    });
    let link = scratch.0.join("root").join(&long).read_link().unwrap();
    assert_eq!(link, Path::new(&long));
    refused("two extended headers", |a| {
        let records = b"9 path=x\n";
        for _ in 0..2 {
            a.raw(raw_header(b'x', b"x", 9), records);
        }
        a.raw(raw_header(b'0', b"f", 0), b"");
    });
    refused("too large", |a| {
        a.raw(raw_header(b'x', b"x", 2 << 20), &vec![b'x'; 2 << 20]);
    });
    refused("too large", |a| {
        a.raw(raw_header(b'L', b"x", 5000), &[b'n'; 5000]);
    });
    refused("too large", |a| {
        let mut header = raw_header(b'0', b"f", 0);
        header.set_size(1 << 62);
        a.raw(header, b"");
    });
    refused("negative", |a| {
        let mut header = raw_header(b'0', b"f", 0);
        header.as_old_mut().size = [0xff; 12];
        a.raw(header, b"");
    });
    refused("NUL", |a| {
        a.raw(raw_header(b'x', b"x", 12), b"12 path=a\0b\n");
        a.raw(raw_header(b'0', b"f", 0), b"");
    });
}

#[test]
fn names_of_any_bytes() {
    use std::os::unix::ffi::OsStrExt as _;
    let scratch = Scratch::new("bytes");
    let name = b"\xff\x01 \"'\\\n*";
    made(&scratch, |a| {
        a.put(&Entry::new(&name[..], Kind::File, 0o600), b"");
        a.put(
            &Entry::new([&[0xfe; 120][..], b"/x"].concat(), Kind::File, 0o600),
            b"",
        );
    });
    let root = scratch.0.join("root");
    assert!(root.join(std::ffi::OsStr::from_bytes(name)).exists());
    assert!(
        root.join(std::ffi::OsStr::from_bytes(&[0xfe; 120]))
            .join("x")
            .exists()
    );
}

#[test]
fn headers_are_checked_and_ends_are_found() {
    let scratch = Scratch::new("ends");
    let mut plain = Archive::default();
    plain.file("f", "content");
    // No end at all, one zero block, rubbish behind the end.
    for (n, end) in [&b""[..], &[0; 512], &[&[0; 512][..], &[b'x'; 700]].concat()]
        .iter()
        .enumerate()
    {
        let bytes = [&plain.0[..], end].concat();
        unpack(&scratch, &format!("ok{n}"), &bytes).unwrap();
    }
    for cut in [1, 511, 513, 520, 1023] {
        let name = format!("cut{cut}");
        let error = unpack(&scratch, &name, &plain.0[..cut]).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("ends inside") || cut > 512, "{text}");
    }
    let mut broken = plain.0.clone();
    broken[0] = b'g';
    let error = unpack(&scratch, "sum", &broken).unwrap_err();
    assert!(format!("{error:#}").contains("checksum"));
    // Sums of signed bytes, as old tars made them.
    let mut header = raw_header(b'0', b"\xe4", 0);
    header.set_cksum();
    let sum = header.cksum().unwrap() - 256;
    header
        .as_old_mut()
        .cksum
        .copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    unpack(&scratch, "signed", header.as_bytes()).unwrap();
    let error = unpack(&scratch, "rubbish", &[b'r'; 600]).unwrap_err();
    assert!(format!("{error:#}").contains("invalid tar header"));
    assert!(unpack(&scratch, "empty", b"").unwrap().is_empty());
}

#[test]
fn what_stands_behind_the_end_is_read() {
    let scratch = Scratch::new("drain");
    let bytes = [
        &archive(|a| {
            a.file("f", "x");
        })[..],
        &vec![7; 100_000],
    ]
    .concat();
    let mut input = std::io::Cursor::new(bytes);
    apply(&mut input, &scratch.dir("root"), Policy::Layer).unwrap();
    assert_eq!(input.position(), input.get_ref().len() as u64);
}

#[test]
fn a_file_that_cannot_fit_is_refused_at_once() {
    refused("are free", |a| {
        let mut header = raw_header(b'0', b"huge", 0);
        header.set_size(1 << 55);
        a.raw(header, b"x");
    });
}

/// What GNU tar writes in each of its formats, it and we unpack to the same tree.
#[test]
fn gnu_tar_agrees() {
    let scratch = Scratch::new("gnutar");
    let source = scratch.dir("source");
    make_source(&source);
    for (n, options) in [
        &["--format=gnu", "--sparse"][..],
        &["--format=pax", "--sparse", "--xattrs", "--xattrs-include=*"],
        &["--format=pax", "--sparse", "--sparse-version=0.0"],
        &["--format=pax", "--sparse", "--sparse-version=0.1"],
        &["--format=pax", "--sparse", "--sparse-version=1.0"],
        &["--format=ustar"],
        &["--format=v7"],
        &["--format=oldgnu", "--sparse"],
    ]
    .iter()
    .enumerate()
    {
        // The old formats cannot hold all of it.
        let excluded: &[&str] = match options[0] {
            "--format=ustar" => &["--exclude=*long*", "--exclude=*owned*"],
            "--format=v7" => &[
                "--exclude=*long*",
                "--exclude=*owned*",
                "--exclude=null",
                "--exclude=pipe",
                "--exclude=deep",
            ],
            _ => &[],
        };
        let file = scratch.0.join(format!("{n}.tar"));
        let packed = std::process::Command::new("tar")
            .args(*options)
            .args(excluded)
            .arg("-cf")
            .arg(&file)
            .arg("-C")
            .arg(&source)
            .arg(".")
            .status()
            .unwrap();
        assert!(packed.success(), "{options:?}");
        let theirs = scratch.dir(&format!("theirs{n}"));
        let unpacked = std::process::Command::new("tar")
            .args(["--xattrs", "--xattrs-include=*", "-xpf"])
            .arg(&file)
            .arg("-C")
            .arg(&theirs)
            .status()
            .unwrap();
        assert!(unpacked.success());
        let ours = scratch.dir(&format!("ours{n}"));
        apply(std::fs::File::open(&file).unwrap(), &ours, Policy::Layer).unwrap();
        assert_eq!(describe(&ours), describe(&theirs), "{options:?}");
        if options.contains(&"--sparse") {
            let blocks = ours.join("sparse").metadata().unwrap().blocks();
            assert!(blocks < 1000, "{options:?}: holes were filled: {blocks}");
        }
    }
}

fn make_source(source: &Path) {
    std::fs::create_dir_all(source.join("dir/sub")).unwrap();
    std::fs::write(source.join("dir/file"), "content").unwrap();
    std::fs::write(source.join("empty"), "").unwrap();
    std::fs::write(source.join("big"), vec![b'b'; 700_000]).unwrap();
    std::fs::hard_link(source.join("big"), source.join("dir/hard")).unwrap();
    symlink("dir/file", source.join("link")).unwrap();
    symlink("t".repeat(150), source.join("longlink")).unwrap();
    std::fs::write(source.join("dir").join("long".repeat(50)), "x").unwrap();
    let deep = source.join(format!("{}long", "deep/".repeat(40)));
    std::fs::create_dir_all(deep.parent().unwrap()).unwrap();
    std::fs::write(deep, "deep").unwrap();
    std::fs::write(source.join("owned"), "o").unwrap();
    std::os::unix::fs::chown(source.join("owned"), Some(3_000_000), Some(7)).unwrap();
    let sparse = std::fs::File::create(source.join("sparse")).unwrap();
    for n in 0..30u64 {
        use std::os::unix::fs::FileExt as _;
        sparse.write_all_at(b"data", n * 100_000).unwrap();
    }
    sparse.set_len(4_000_000).unwrap();
    rustix::fs::setxattr(
        source.join("empty"),
        "user.note",
        b"v",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, source.join("pipe"), mode).unwrap();
    let kind = rustix::fs::FileType::CharacterDevice;
    let null = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(rustix::fs::CWD, source.join("null"), kind, mode, null).unwrap();
}
