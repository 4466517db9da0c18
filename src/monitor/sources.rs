//! Where the mounts of a container come from: binds that must be there, parts of volumes, and images.

use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::fs::{Mode, OFlags};

use crate::container::Record;
use crate::container::mounts::clean;
use crate::docker::container::Mount;
use crate::docker::inspect::MountPoint;
use crate::error;
use crate::image::{Images, snapshot};
use crate::sys::rooted::Root;
use crate::sys::{mountinfo, pseudo};

/// Makes the sources of binds that are missing, if `-v` asked for them, and refuses those that cannot share mounts as asked.
pub(super) fn prepare(record: &Record) -> Result<()> {
    for mount in record.mounts.iter().filter(|mount| mount.kind == "bind") {
        let source = Path::new(&mount.source);
        if source.symlink_metadata().is_err() {
            std::fs::create_dir_all(source).with_context(|| {
                format!("error while creating mount source path '{}'", mount.source)
            })?;
        }
        let propagation = mount.propagation.trim_start_matches('r');
        if matches!(propagation, "shared" | "slave") {
            let source = source
                .canonicalize()
                .with_context(|| format!("find {}", mount.source))?;
            let table =
                pseudo::read_text("/proc/self/mountinfo").context("read the mount table")?;
            check_propagation(&table, &source, propagation)?;
        }
    }
    Ok(())
}

/// Refuses a source whose mount is private: nothing that is mounted on one side would be seen on the other.
///
/// `table` is that of proc_pid_mountinfo(5), `source` without links. The error is of kind `Invalid`.
fn check_propagation(table: &str, source: &Path, propagation: &str) -> Result<()> {
    // Of several at one place the last one is seen.
    let above = mountinfo::parse(table).filter(|mount| source.starts_with(&mount.point));
    let Some(mount) = above.max_by_key(|mount| mount.point.as_os_str().len()) else {
        return Ok(());
    };
    let has = |kind: &str| mount.tags.split(' ').any(|tag| tag.starts_with(kind));
    let (fits, kind) = match propagation {
        "shared" => (has("shared:"), "shared"),
        _ => (has("shared:") || has("master:"), "shared or slave"),
    };
    if fits {
        return Ok(());
    }
    let (source, point) = (source.display(), mount.point.display());
    Err(error::with_hint(
        error::invalid(format!(
            "path {source} is mounted on {point} but it is not a {kind} mount"
        )),
        format!("mount --make-shared {point} makes it one"),
    ))
}

/// Opens what a path on the host cannot name: parts of volumes (`volume-subpath`), and images; by where they are mounted.
pub fn open(images: &Images, record: &Record) -> Result<Vec<(String, OwnedFd)>> {
    let mut opened = Vec::new();
    for point in &record.mounts {
        let mut long = record.host_config.mounts.iter();
        let long = long.find(|mount| clean(&mount.target) == point.destination);
        if let Some(source) = open_one(images, point, long)? {
            opened.push((point.destination.clone(), source));
        }
    }
    Ok(opened)
}

fn open_one(images: &Images, point: &MountPoint, long: Option<&Mount>) -> Result<Option<OwnedFd>> {
    match point.kind.as_str() {
        "volume" => {
            let options = long.and_then(|mount| mount.volume_options.as_ref());
            let subpath = options.map_or("", |options| options.subpath.as_str());
            if subpath.is_empty() {
                return Ok(None);
            }
            part_of_volume(&point.source, subpath)
                .with_context(|| format!("mount {subpath} of volume {}", point.name))
                .map(Some)
        }
        "image" => {
            let options = long.and_then(|mount| mount.image_options.as_ref());
            let subpath = options.map_or("", |options| options.subpath.as_str());
            let image = images.resolve(&point.source)?.image;
            snapshot::mount_part(images, &image, Path::new(subpath))
                .with_context(|| format!("mount image {}", point.name))
                .map(Some)
        }
        _ => Ok(None),
    }
}

/// Returns a handle of what `subpath` leads to in the volume whose content is at `source`, links followed inside it.
fn part_of_volume(source: &str, subpath: &str) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let volume = rustix::fs::open(source, flags, Mode::empty())?;
    Ok(Root::from_dir(volume).handle(Path::new(subpath))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_shared_can_be_shared() {
        const TABLE: &str = "\
            30 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
            31 30 0:26 / /srv rw,relatime shared:9 - tmpfs tmpfs rw\n\
            32 30 0:27 / /srv/part rw,relatime master:9 - tmpfs tmpfs rw\n\
            33 30 0:28 / /twice rw shared:4 - tmpfs tmpfs rw\n\
            34 30 0:29 / /twice rw - tmpfs tmpfs rw";
        let check = |source: &str, propagation: &str, refused: &str| {
            let checked = check_propagation(TABLE, Path::new(source), propagation);
            let said = checked.map_or_else(|error| error.to_string(), |()| String::new());
            assert_eq!(said, refused, "{source} {propagation}");
        };
        check("/srv", "shared", "");
        check("/srv/x", "slave", "");
        check("/srv/part/x", "slave", "");
        let part = "path /srv/part/x is mounted on /srv/part but it is not a shared mount";
        check("/srv/part/x", "shared", part);
        let root = "path /srvx is mounted on / but it is not a shared or slave mount";
        check("/srvx", "slave", root);
        let twice = "path /twice is mounted on /twice but it is not a shared mount";
        check("/twice", "shared", twice);
    }
}
