//! Helpers of this folder's tests: scratch directories, archives member by member, and trees as text.

use std::fmt::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::apply::{Facts, Policy, apply, remove_all};
use super::tarball::{Device, Entry, Kind, Time, pack, tree, write};
use crate::store::unique;

/// A directory that is removed with what is in it.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!("aril-{name}-{}", unique()));
        std::fs::create_dir_all(&dir).unwrap();
        Scratch(dir)
    }

    /// Makes an empty directory in it, mode 0755 whatever the umask.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let dir = self.0.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        rustix::fs::chmod(&dir, rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
        dir
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let removed = remove_all(&self.0);
        if !std::thread::panicking() {
            removed.unwrap();
        }
    }
}

/// An archive in memory.
#[derive(Clone, Default)]
pub(crate) struct Archive(pub(crate) Vec<u8>);

impl Archive {
    pub(crate) fn put(&mut self, entry: &Entry, content: &[u8]) -> &mut Archive {
        write::append(&mut self.0, entry, content).unwrap();
        self
    }

    pub(crate) fn file(&mut self, path: &str, content: &str) -> &mut Archive {
        self.put(&Entry::new(path, Kind::File, 0o644), content.as_bytes())
    }

    pub(crate) fn dir(&mut self, path: &str, mode: u32) -> &mut Archive {
        self.put(&Entry::new(path, Kind::Directory, mode), b"")
    }

    pub(crate) fn symlink(&mut self, path: &str, target: &str) -> &mut Archive {
        self.put(&Entry::new(path, Kind::Symlink(target.into()), 0o777), b"")
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) -> &mut Archive {
        self.put(&Entry::new(path, Kind::HardLink(target.into()), 0o644), b"")
    }

    pub(crate) fn device(&mut self, path: &str, major: u32, minor: u32) -> &mut Archive {
        let kind = Kind::CharDevice(Device { major, minor });
        self.put(&Entry::new(path, kind, 0o666), b"")
    }

    /// A member as raw as it gets: this header, made valid by its checksum, and these blocks.
    pub(crate) fn raw(&mut self, mut header: tar::Header, blocks: &[u8]) -> &mut Archive {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(blocks);
        let padded = self.0.len().next_multiple_of(512);
        self.0.resize(padded, 0);
        self
    }

    pub(crate) fn end(&self) -> Vec<u8> {
        [&self.0[..], &write::END].concat()
    }
}

/// Returns a header of this type, path and size in the GNU format.
pub(crate) fn raw_header(kind: u8, path: &[u8], size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::new(kind));
    header.as_old_mut().name[..path.len()].copy_from_slice(path);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

pub(crate) fn at(seconds: i64) -> Time {
    Time {
        seconds,
        nanoseconds: 0,
    }
}

/// Unpacks a layer into a new directory.
pub(crate) fn unpack(scratch: &Scratch, name: &str, archive: &[u8]) -> anyhow::Result<Facts> {
    apply(archive, &scratch.dir(name), Policy::Layer)
}

/// Returns the archive of a directory.
pub(crate) fn pack(dir: &Path, root: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let handle = std::fs::File::open(dir).unwrap();
    let options = tree::Options {
        root,
        ..tree::Options::default()
    };
    pack::pack(handle.as_fd(), options, &mut out).unwrap();
    out
}

/// Describes every file below `dir`, one line each, with everything that an archive keeps but whole seconds only.
pub(crate) fn describe(dir: &Path) -> String {
    let mut out = String::new();
    let mut links = std::collections::HashMap::new();
    describe_in(dir, dir, &mut links, &mut out);
    out
}

fn describe_in(
    root: &Path,
    dir: &Path,
    links: &mut std::collections::HashMap<(u64, u64), PathBuf>,
    out: &mut String,
) {
    let mut list: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    list.sort();
    for path in list {
        let meta = path.symlink_metadata().unwrap();
        let inner = path.strip_prefix(root).unwrap();
        // No archive says when something was taken away.
        let is_whiteout = meta.mode() & libc::S_IFMT == libc::S_IFCHR && meta.rdev() == 0;
        let time = if is_whiteout { 0 } else { meta.mtime() };
        write!(
            out,
            "{} {:o} {}:{} {time}",
            inner.as_os_str().as_bytes().escape_ascii(),
            meta.mode(),
            meta.uid(),
            meta.gid(),
        )
        .unwrap();
        if meta.is_symlink() {
            let target = path.read_link().unwrap();
            write!(out, " -> {}", target.as_os_str().as_bytes().escape_ascii()).unwrap();
        } else if meta.is_file() {
            let digest = crate::oci::digest::sha256(&std::fs::read(&path).unwrap());
            write!(
                out,
                " {} {}",
                meta.len(),
                crate::oci::digest::short(&digest)
            )
            .unwrap();
        } else if !meta.is_dir() {
            write!(out, " {:x}", meta.rdev()).unwrap();
        }
        if meta.nlink() > 1 && !meta.is_dir() {
            let first = links
                .entry((meta.dev(), meta.ino()))
                .or_insert_with(|| inner.to_path_buf());
            write!(out, " = {}", first.display()).unwrap();
        }
        for (name, value) in xattrs(&path) {
            write!(out, " {name}={}", value.escape_ascii()).unwrap();
        }
        out.push('\n');
        if meta.is_dir() {
            describe_in(root, &path, links, out);
        }
    }
}

/// Returns the attributes of a file that is not followed.
pub(crate) fn xattrs(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut list = vec![0u8; 65536];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let mut found: Vec<_> = list[..length]
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0u8; 65536];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            (
                String::from_utf8(name.to_vec()).unwrap(),
                value[..length].to_vec(),
            )
        })
        .collect();
    found.sort();
    found
}

/// Returns an empty store in a scratch directory.
pub(crate) fn store(name: &str) -> (Scratch, super::Images) {
    let scratch = Scratch::new(name);
    let dirs = crate::dirs::Dirs::new(scratch.0.join("data"), scratch.0.join("run"));
    dirs.create().unwrap();
    (scratch, super::Images::open(&dirs))
}

/// Stores an image of these uncompressed layers, from the lowest, without a name.
pub(crate) fn image_of(images: &super::Images, layers: &[Vec<u8>]) -> super::Image {
    use super::{blobs, layers as store};
    use crate::oci::image::{ImageConfig, RootFs};
    let mut config = ImageConfig {
        architecture: "amd64".to_owned(),
        os: "linux".to_owned(),
        rootfs: RootFs {
            kind: "layers".to_owned(),
            diff_ids: Vec::new(),
        },
        ..ImageConfig::default()
    };
    for layer in layers {
        let part = blobs::begin_unknown(images).unwrap();
        let expected = store::unpack::Expected::default();
        let meta = store::unpack::receive(images, part, &layer[..], expected).unwrap();
        config.rootfs.diff_ids.push(meta.diff_id);
    }
    let id = blobs::put(images, &serde_json::to_vec(&config).unwrap()).unwrap();
    images.by_id(&id).unwrap()
}

/// Stores an image whose layers have one file each of this name, with these names.
pub(crate) fn named(images: &super::Images, layers: &[&str], names: &[&str]) -> super::Image {
    use super::create::{Registration, descriptors, encode_manifest, register, store_manifest};
    let layers: Vec<_> = layers
        .iter()
        .map(|name| Archive::default().file(name, name).end())
        .collect();
    let image = image_of(images, &layers);
    let descriptors = descriptors(images, &image).unwrap();
    let manifest = encode_manifest(&image.id, image.raw_config.len() as u64, &descriptors).unwrap();
    let media_type = oci_spec::image::MediaType::ImageManifest;
    let mut registration = Registration::new(image.id.clone());
    registration.manifest = store_manifest(images, &manifest, media_type).unwrap();
    registration.references = names
        .iter()
        .map(|name| {
            let reference = crate::oci::reference::Reference::parse(name).unwrap();
            reference.or_latest()
        })
        .collect();
    register(images, registration).unwrap();
    images.by_id(&image.id).unwrap()
}
