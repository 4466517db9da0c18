//! Trees of files, as they are on disk: every entry with all that an image keeps of it, for comparing two of them.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr};
use sha2::{Digest as _, Sha256};

/// What engines put into every container, and mount over what an image has there.
const MADE_BY_ENGINES: [&str; 9] = [
    ".dockerenv",
    "dev",
    "etc/hostname",
    "etc/hosts",
    "etc/mtab",
    "etc/resolv.conf",
    "proc",
    "run/.containerenv",
    "sys",
];

/// Entries by their paths below the root, as [`text`] writes them; each as a text that equal entries have in common.
pub(crate) type Tree = BTreeMap<String, String>;

/// Reads the tree at `root`. Sockets are left out, since archives have no form for them.
pub(crate) fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut links = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let mut names: Vec<_> = std::fs::read_dir(root.join(&folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        for name in names {
            let path = folder.join(name);
            if MADE_BY_ENGINES.iter().any(|made| Path::new(made) == path) {
                continue;
            }
            let full = root.join(&path);
            let metadata = std::fs::symlink_metadata(&full).unwrap();
            if metadata.file_type().is_socket() {
                continue;
            }
            if metadata.is_dir() {
                folders.push(path.clone());
            } else if metadata.nlink() > 1 {
                let names: &mut Vec<String> =
                    links.entry((metadata.dev(), metadata.ino())).or_default();
                names.push(text(&path));
            }
            tree.insert(text(&path), describe(&full, &metadata));
        }
    }
    // Inode numbers differ; which names are one file does not.
    for mut names in links.into_values().filter(|names| names.len() > 1) {
        names.sort();
        for name in &names {
            write!(tree.get_mut(name).unwrap(), " is {names:?}").unwrap();
        }
    }
    tree
}

/// Writes a path so that each byte of it can be read.
fn text(path: &Path) -> String {
    path.as_os_str().as_bytes().escape_ascii().to_string()
}

fn describe(path: &Path, metadata: &std::fs::Metadata) -> String {
    let kind = metadata.file_type();
    let mut text = if kind.is_dir() {
        "directory".to_owned()
    } else if kind.is_symlink() {
        format!("link to {}", text(&std::fs::read_link(path).unwrap()))
    } else if kind.is_fifo() {
        "fifo".to_owned()
    } else if kind.is_file() {
        let digest = Sha256::digest(std::fs::read(path).unwrap());
        format!("file of {} bytes {:x?}", metadata.size(), &digest[..8])
    } else {
        let device = metadata.rdev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let kind = if kind.is_block_device() {
            "block"
        } else {
            "character"
        };
        format!("{kind} device {major}:{minor}")
    };
    write!(
        text,
        " mode {:o} owner {}:{}",
        metadata.mode() & 0o7777,
        metadata.uid(),
        metadata.gid()
    )
    .unwrap();
    // Times of links are lost by some who unpack.
    if !kind.is_symlink() {
        write!(text, " time {}", metadata.mtime()).unwrap();
    }
    for (name, value) in attributes(path) {
        write!(text, " {name}={value:02x?}").unwrap();
    }
    text
}

/// Returns the extended attributes of a file but those of overlayfs and of a security module.
fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 1 << 16];
    let length = llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut found = BTreeMap::new();
    for name in names[..length].split_inclusive(|&byte| byte == 0) {
        let name = CStr::from_bytes_with_nul(name).unwrap();
        let text = name.to_str().unwrap().to_owned();
        if text.starts_with("trusted.overlay.") || text == "security.selinux" {
            continue;
        }
        let mut value = vec![0; 1 << 16];
        let length = lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(length);
        found.insert(text, value);
    }
    found
}

/// Checks that two trees are the same; what differs is said, an entry per line.
#[track_caller]
pub(crate) fn assert_same(what: &str, found: &Tree, expected: &Tree) {
    let mut report = String::new();
    for (path, entry) in expected {
        match found.get(path) {
            Some(other) if other == entry => {}
            Some(other) => writeln!(report, "{path}: {other}\n    not {entry}").unwrap(),
            None => writeln!(report, "{path} is missing: {entry}").unwrap(),
        }
    }
    for (path, entry) in found {
        if !expected.contains_key(path) {
            writeln!(report, "{path} is too much: {entry}").unwrap();
        }
    }
    assert!(report.is_empty(), "{what} differs:\n{report}");
    println!("  {what}: the same {} entries", found.len());
}

/// A name that is no text.
pub(crate) fn odd_name() -> &'static OsStr {
    OsStr::from_bytes(b"no-text-\xff\xfe")
}
