//! The top of an image: what depends on the whole stack of its layers, in one small directory per chain ID.
//!
//! It is an upper directory of a mount of the layers, in which was done what every container of the image would need:
//! directories that layers only imply get their owner and mode, links into lower layers are made, and the files exist that
//! a container's own are mounted over. Doing that once keeps the uppers of containers free of it, so that a start copies
//! nothing up, and diff and commit show only what the container did.
//!
//! ```text
//! tops/HEX/root/       placed above the layers
//! tops/HEX/bare/       in its place where an image is mounted into a container: without such files; made when it is needed
//! tops/HEX/meta.json   the stack as it was found, and the boot in which all of it was found sound
//! ```

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use oci_spec::image::{Descriptor, Digest};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::stack::{Layer, make_links, repair_implied};
use super::{overlay, visible};
use crate::image::layers::{self, Meta};
use crate::image::work::WorkDir;
use crate::image::{Image, Images, apply, references};
use crate::oci::digest;
use crate::oci::image::chain_ids;
use crate::store::{self, Durability, FileLock};
use crate::sys::rooted::{Location, Root};

/// Of `meta.json` and of what is put into a top; another version is made anew.
const FORMAT: u32 = 1;
/// What is called the top of an image without layers.
const NO_LAYERS: &str = "none";

/// What docker has in a container's root before it starts: a target for each of its own mounts, and a mark.
const PLACEHOLDERS: [(&str, Placeholder); 11] = [
    ("dev", Placeholder::Directory),
    ("dev/pts", Placeholder::Directory),
    ("dev/shm", Placeholder::Directory),
    ("proc", Placeholder::Directory),
    ("sys", Placeholder::Directory),
    (".dockerenv", Placeholder::File),
    ("dev/console", Placeholder::File),
    ("etc/hosts", Placeholder::File),
    ("etc/hostname", Placeholder::File),
    ("etc/resolv.conf", Placeholder::File),
    ("etc/mtab", Placeholder::Link("/proc/mounts")),
];

#[derive(Clone, Copy)]
enum Placeholder {
    Directory,
    /// Empty, whatever the image has there.
    File,
    Link(&'static str),
}

#[derive(Serialize, Deserialize)]
struct TopMeta {
    format: u32,
    boot_id: String,
    /// Names of the layers in `layers/`, the topmost first.
    layers: Vec<String>,
}

/// Returns the name of the top of the image with this chain ID.
pub(crate) fn name(chain: Option<&Digest>) -> &str {
    let parts = chain.and_then(|chain| digest::path_parts(chain).ok());
    parts.map_or(NO_LAYERS, |(_, hex)| hex)
}

/// See [`super::lowers`].
pub(super) fn lowers(images: &Images, image: &Image) -> Result<Vec<PathBuf>> {
    let chain = chain_ids(image.layers()).pop();
    let dir = images.dirs().tops().join(name(chain.as_ref()));
    if let Some(meta) = fresh(&dir)? {
        return Ok(paths(images, &dir, &meta));
    }
    // Replacing a top under a container would pull its files away, so it is looked at again when nobody else does this.
    let _lock = FileLock::exclusive(&images.dirs().lock("tops.lock"))?;
    if let Some(meta) = fresh(&dir)? {
        return Ok(paths(images, &dir, &meta));
    }
    let layers = ensure(images, image)?;
    let stack = visible(&layers);
    let meta = TopMeta {
        format: FORMAT,
        boot_id: layers::heal::boot_id()?.to_owned(),
        layers: stack
            .iter()
            .map(|layer| Ok(digest::path_parts(&layer.diff_id)?.1.to_owned()))
            .collect::<Result<_>>()?,
    };
    let work = make(images, &layers, &stack, &PLACEHOLDERS)
        .with_context(|| format!("make the top of the image {}", image.id))?;
    let made = work.path().join("top");
    store::write_json(&made.join("meta.json"), &meta, Durability::Cached)?;
    if dir.exists() {
        // Of an earlier boot, or of another version; no container of this boot uses it.
        store::discard(&dir, &images.dirs().trash())?;
    }
    renameat_with(CWD, &made, CWD, &dir, RenameFlags::NOREPLACE)
        .with_context(|| format!("install {}", dir.display()))?;
    Ok(paths(images, &dir, &meta))
}

/// Returns the directories to stack for an image that is mounted into a container: as [`lowers`], without placeholders.
pub(super) fn bare_lowers(images: &Images, image: &Image) -> Result<Vec<PathBuf>> {
    let mut lowers = lowers(images, image)?;
    let top = lowers.first_mut().context("an image without a top")?;
    top.set_file_name("bare");
    if top.exists() {
        return Ok(lowers);
    }
    let _lock = FileLock::exclusive(&images.dirs().lock("tops.lock"))?;
    if !top.exists() {
        let layers = ensure(images, image)?;
        let work = make(images, &layers, &visible(&layers), &[])
            .with_context(|| format!("make the bare top of the image {}", image.id))?;
        let made = work.path().join("top/root");
        renameat_with(CWD, &made, CWD, &*top, RenameFlags::NOREPLACE)
            .with_context(|| format!("install {}", top.display()))?;
    }
    Ok(lowers)
}

/// Reads the facts of a top that was made or seen in this boot.
fn fresh(dir: &Path) -> Result<Option<TopMeta>> {
    let Ok(meta) = store::read_json::<TopMeta>(&dir.join("meta.json")) else {
        return Ok(None);
    };
    let fresh = meta.format == FORMAT && meta.boot_id == layers::heal::boot_id()?;
    Ok(fresh.then_some(meta))
}

fn paths(images: &Images, dir: &Path, meta: &TopMeta) -> Vec<PathBuf> {
    let layers = meta.layers.iter();
    let roots = layers.map(|name| images.dirs().layer(name).join("root"));
    std::iter::once(dir.join("root")).chain(roots).collect()
}

/// Returns the layers of an image, from the lowest, all of them sound.
fn ensure(images: &Images, image: &Image) -> Result<Vec<Meta>> {
    let blobs: Vec<Descriptor> = match &image.manifest {
        Some(manifest) => references::manifest(images, manifest.digest())?
            .layers()
            .clone(),
        None => Vec::new(),
    };
    let layers = image.layers().iter().enumerate();
    layers
        .map(|(at, diff_id)| layers::heal::ensure(images, diff_id, blobs.get(at)))
        .collect()
}

/// Makes `top/root` with `placeholders` in a new working directory.
fn make(
    images: &Images,
    layers: &[Meta],
    stack: &[&Meta],
    placeholders: &[(&str, Placeholder)],
) -> Result<WorkDir> {
    let work = WorkDir::new(images.dirs())?;
    work.make("top")?;
    let upper = work.make("top/root")?;
    let opened = stack
        .iter()
        .map(|meta| Layer::open(meta, layers::root(images, &meta.diff_id)?))
        .collect::<Result<Vec<_>>>()?;
    let mut lowers: Vec<PathBuf> = opened.iter().map(|layer| layer.path.clone()).collect();
    if lowers.is_empty() {
        // overlayfs wants something to put the upper directory on.
        lowers.push(work.make("empty")?);
    }
    describe_root(images, layers, &upper)?;
    let times = times(&upper)?;
    let place = overlay::Upper {
        upper: &upper,
        work: &work.make("work")?,
        // It can be made again, and nobody should wait here for the layers that were just unpacked.
        volatile: true,
    };
    let root = Root::from_dir(overlay::mount(&lowers, Some(place))?);
    repair_implied(&opened, &root)?;
    make_links(&opened, &root)?;
    for (path, placeholder) in placeholders {
        put(&root, path, *placeholder).with_context(|| format!("make {path:?}"))?;
    }
    drop(root);
    rustix::fs::utimensat(CWD, &upper, &times, AtFlags::empty()).context("set the times")?;
    Ok(work)
}

/// Gives the top the metadata of `/`: of the highest layer that describes it; overlayfs shows the topmost directory's.
fn describe_root(images: &Images, layers: &[Meta], upper: &Path) -> Result<()> {
    let Some(layer) = layers.iter().rev().find(|layer| layer.facts.root) else {
        return Ok(());
    };
    let open = |path: &Path| -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
            .with_context(|| format!("open {}", path.display()))
    };
    let root = open(&layers::root(images, &layer.diff_id)?)?;
    apply::copy_directory_metadata(root.as_fd(), open(upper)?.as_fd())
}

fn times(path: &Path) -> Result<rustix::fs::Timestamps> {
    let stat = rustix::fs::stat(path).with_context(|| format!("stat {}", path.display()))?;
    Ok(apply::times_of(&stat))
}

/// Puts one placeholder, and leaves the times of its directory as they were.
fn put(root: &Root, path: &str, placeholder: Placeholder) -> Result<()> {
    let Some(Location { dir, name }) = parent(root, Path::new(path))? else {
        // The image has something there that no directory can be in; the container will say so if it matters.
        return Ok(());
    };
    let name = name.as_os_str();
    let before = rustix::fs::fstat(&dir).context("stat the directory")?;
    let kind = match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Some(FileType::from_raw_mode(stat.st_mode)),
        Err(Errno::NOENT) => None,
        Err(errno) => return Err(errno).context("stat"),
    };
    match kind {
        // A directory is what is wanted, or is left for what is mounted there.
        Some(FileType::Directory) => return Ok(()),
        Some(_) => rustix::fs::unlinkat(&dir, name, AtFlags::empty()).context("remove")?,
        None => {}
    }
    let mode = Mode::from_raw_mode(0o755);
    match placeholder {
        Placeholder::Directory => {
            rustix::fs::mkdirat(&dir, name, mode).context("make a directory")?;
            rustix::fs::chmodat(&dir, name, mode, AtFlags::empty()).context("set the mode")?;
        }
        Placeholder::File => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&dir, name, flags, mode).context("create")?;
            rustix::fs::fchmod(&file, mode).context("set the mode")?;
        }
        Placeholder::Link(target) => {
            rustix::fs::symlinkat(target, &dir, name).context("make a link")?;
        }
    }
    let times = apply::times_of(&before);
    let here = AtFlags::EMPTY_PATH;
    match rustix::fs::utimensat(&dir, "", &times, here) {
        // Kernels before 5.19 know no empty path here; the name of the directory itself does as well.
        Err(Errno::INVAL | Errno::NOENT) => {
            rustix::fs::utimensat(&dir, ".", &times, AtFlags::empty())
        }
        other => other,
    }
    .context("set the times")
}

/// Returns the directory for `path`, made if it is missing; nothing if something is in the way.
fn parent(root: &Root, path: &Path) -> Result<Option<Location>> {
    let mode = Mode::from_raw_mode(0o755);
    let above = path.parent().unwrap_or_else(|| Path::new(""));
    match root.create_dir_all(above, mode) {
        Ok(_) => {}
        Err(error) => {
            return match error.raw_os_error() {
                // A file, a link that leads nowhere, or one to itself.
                Some(libc::ENOTDIR | libc::ENOENT | libc::ELOOP | libc::EEXIST) => Ok(None),
                _ => Err(error).context("make the directory above"),
            };
        }
    }
    Ok(Some(root.locate(path)?))
}
