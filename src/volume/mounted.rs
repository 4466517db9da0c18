//! File systems of volumes with options: mounted at the volume's directory, where everybody finds them, as long as somebody
//! uses the volume.
//!
//! Every user holds a lock on the file `users` beside the directory, shared; whoever is the last takes the mount away. What a
//! user that was killed has left is found by the next one, and goes with the volume at the latest.

use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, umount2};
use rustix::fs::{Mode, OFlags};
use rustix::mount::MountAttrFlags;

use super::Volumes;
use super::options::{FileSystem, Source, source, words};
use crate::store::FileLock;
use crate::sys::mount::{FsOption, attach, detached};

const USERS: &str = "users";

/// A use of a volume's file system; it ends with [`Volumes::release`], or with this process.
#[derive(Debug)]
pub struct Use {
    volume: String,
    lock: FileLock,
}

impl Volumes {
    /// Mounts what a volume stands for, unless it is there; returns nothing for a volume that needs no mount.
    pub fn mount(&self, name: &str) -> Result<Option<Use>> {
        let volume = self.get(name)?;
        let Source::FileSystem(wanted) = source(volume.options.as_ref()) else {
            return Ok(None);
        };
        let data = self.data(name);
        let _changing = self.lock(name)?;
        let lock = FileLock::shared(&self.users(name))?;
        if !is_mounted(&data)? {
            let (shown, device) = (data.display(), wanted.device);
            mount(wanted, &data)
                .with_context(|| format!("failed to mount local volume: mount {device}:{shown}"))
                .with_context(|| format!("error while mounting volume '{shown}'"))?;
        }
        Ok(Some(Use {
            volume: name.to_owned(),
            lock,
        }))
    }

    /// Ends a use; with the last one goes the mount.
    pub fn release(&self, ended: Use) -> Result<()> {
        let Use { volume, lock } = ended;
        let _changing = self.lock(&volume)?;
        drop(lock);
        match FileLock::try_exclusive(&self.users(&volume))? {
            Some(_alone) => unmount(&self.data(&volume)),
            None => Ok(()),
        }
    }

    fn users(&self, name: &str) -> PathBuf {
        self.data(name).with_file_name(USERS)
    }
}

/// Takes away what is mounted on a volume's directory, if anything is.
pub(super) fn unmount(data: &Path) -> Result<()> {
    if !is_mounted(data)? {
        return Ok(());
    }
    umount2(data, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
        .with_context(|| format!("unmount {}", data.display()))
}

fn is_mounted(data: &Path) -> Result<bool> {
    let device = |path: &Path| {
        let meta = path.symlink_metadata();
        let meta = meta.with_context(|| format!("look at {}", path.display()))?;
        anyhow::Ok(meta.dev())
    };
    Ok(device(data)? != device(data.parent().unwrap_or(data))?)
}

fn mount(wanted: FileSystem<'_>, data: &Path) -> Result<()> {
    let (options, attributes) = split(wanted);
    let mount = detached(wanted.kind, &options, attributes)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = rustix::fs::open(data, flags, Mode::empty())?;
    Ok(attach(mount.as_fd(), place.as_fd())?)
}

/// Splits what mount(8) takes in one list into what the file system is told and what the mount has.
fn split(wanted: FileSystem<'_>) -> (Vec<FsOption<'_>>, MountAttrFlags) {
    let mut options = vec![FsOption::Value("source", wanted.device)];
    let mut attributes = MountAttrFlags::empty();
    for word in words(wanted.options) {
        let (attribute, is_set) = match word {
            "ro" | "rw" => (MountAttrFlags::MOUNT_ATTR_RDONLY, word == "ro"),
            "nosuid" | "suid" => (MountAttrFlags::MOUNT_ATTR_NOSUID, word == "nosuid"),
            "nodev" | "dev" => (MountAttrFlags::MOUNT_ATTR_NODEV, word == "nodev"),
            "noexec" | "exec" => (MountAttrFlags::MOUNT_ATTR_NOEXEC, word == "noexec"),
            "noatime" | "atime" => (MountAttrFlags::MOUNT_ATTR_NOATIME, word == "noatime"),
            "nodiratime" | "diratime" => {
                (MountAttrFlags::MOUNT_ATTR_NODIRATIME, word == "nodiratime")
            }
            // What they ask for is so anyway.
            "defaults" | "relatime" => continue,
            word => {
                options.push(match word.split_once('=') {
                    Some((key, value)) => FsOption::Value(key, value),
                    None => FsOption::Flag(word),
                });
                continue;
            }
        };
        attributes.set(attribute, is_set);
    }
    (options, attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_of_the_file_system_or_of_the_mount() {
        let (options, attributes) = split(FileSystem {
            kind: "nfs",
            device: ":/x",
            options: "addr=10.0.0.1,nolock,ro,noexec,exec,,defaults",
        });
        assert_eq!(
            format!("{options:?}"),
            r#"[Value("source", ":/x"), Value("addr", "10.0.0.1"), Flag("nolock")]"#
        );
        assert_eq!(attributes, MountAttrFlags::MOUNT_ATTR_RDONLY);
    }
}
