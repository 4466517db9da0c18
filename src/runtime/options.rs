//! The options of a mount, as mount(8) and runtime-spec know them (config-linux.md, Linux mount options). Pure.

use anyhow::{Result, bail};

use crate::error;

/// How a bind mount takes its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bind {
    /// The one mount.
    One,
    /// With all mounts below it.
    Tree,
}

/// Bits to set and to clear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) set: u64,
    pub(super) clear: u64,
}

impl Change {
    /// A later option has the last word.
    fn add(&mut self, set: u64, clear: u64) {
        self.set = (self.set & !clear) | set;
        // The kinds of access times are one number, not bits: the kernel wants all of it cleared before one is set.
        self.clear = (self.clear & !(set & !libc::MOUNT_ATTR__ATIME)) | clear;
    }

    pub(super) fn is_empty(self) -> bool {
        self == Change::default()
    }
}

/// What the options of one mount ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MountOptions {
    /// `bind` and `rbind`.
    pub(super) bind: Option<Bind>,
    /// MOUNT_ATTR_* of the mount itself.
    pub(super) attributes: Change,
    /// MOUNT_ATTR_* of the mount and of all below it (`rro` and the like).
    pub(super) recursive: Change,
    /// MS_SHARED and so on, and whether for all mounts below, too; the last option of its kind.
    pub(super) propagation: Option<(u64, bool)>,
    /// Flags of the file system, as opposed to the mount: `sync`, `dirsync`, `lazytime`, `mand`…
    pub(super) superblock: Vec<&'static str>,
    /// Options of the file system's own: `size=64m`.
    pub(super) data: Vec<String>,
    /// Copy what the mount covers into it.
    pub(super) copy_up: bool,
    /// `idmap` (false) and `ridmap` (true).
    pub(super) id_map: Option<bool>,
}

enum Effect {
    Bind(Bind),
    Attributes(u64, u64),
    Recursive(u64, u64),
    Propagation(u64, bool),
    Superblock(&'static str),
    CopyUp,
    IdMap(bool),
    Nothing,
}

/// Reads `options`. What no table knows is the file system's; it will say if it does not know it.
pub(super) fn parse(options: &[String]) -> Result<MountOptions> {
    let mut parsed = MountOptions::default();
    for option in options {
        match effect(option) {
            Some(Effect::Bind(bind)) => parsed.bind = Some(bind),
            Some(Effect::Attributes(set, clear)) => parsed.attributes.add(set, clear),
            Some(Effect::Recursive(set, clear)) => parsed.recursive.add(set, clear),
            Some(Effect::Propagation(flag, recursive)) => {
                parsed.propagation = Some((flag, recursive));
            }
            Some(Effect::Superblock(flag)) => parsed.superblock.push(flag),
            Some(Effect::CopyUp) => parsed.copy_up = true,
            Some(Effect::IdMap(recursive)) => parsed.id_map = Some(recursive),
            Some(Effect::Nothing) => {}
            None if option.contains('\0') => {
                bail!(error::invalid(format!("invalid mount option {option:?}")))
            }
            None => parsed.data.push(option.clone()),
        }
    }
    Ok(parsed)
}

fn effect(option: &str) -> Option<Effect> {
    use Effect::{Attributes, CopyUp, IdMap, Nothing, Propagation, Recursive, Superblock};
    Some(match option {
        "bind" => Effect::Bind(Bind::One),
        "rbind" => Effect::Bind(Bind::Tree),
        "private" => Propagation(libc::MS_PRIVATE, false),
        "rprivate" => Propagation(libc::MS_PRIVATE, true),
        "slave" => Propagation(libc::MS_SLAVE, false),
        "rslave" => Propagation(libc::MS_SLAVE, true),
        "shared" => Propagation(libc::MS_SHARED, false),
        "rshared" => Propagation(libc::MS_SHARED, true),
        "unbindable" => Propagation(libc::MS_UNBINDABLE, false),
        "runbindable" => Propagation(libc::MS_UNBINDABLE, true),
        "sync" => Superblock("sync"),
        "async" => Superblock("async"),
        "dirsync" => Superblock("dirsync"),
        "lazytime" => Superblock("lazytime"),
        "nolazytime" => Superblock("nolazytime"),
        "mand" => Superblock("mand"),
        "nomand" => Superblock("nomand"),
        "tmpcopyup" => CopyUp,
        "idmap" => IdMap(false),
        "ridmap" => IdMap(true),
        // What every mount has if nothing else is said, and two that the kernel has never read or no longer reads.
        "defaults" | "silent" | "loud" | "iversion" | "noiversion" | "acl" | "noacl"
        | "remount" => Nothing,
        _ => {
            let (set, clear) = match attribute(option) {
                Some(change) => return Some(Attributes(change.0, change.1)),
                None => attribute(option.strip_prefix('r')?)?,
            };
            Recursive(set, clear)
        }
    })
}

/// Options of the mount itself: bits to set and to clear.
fn attribute(option: &str) -> Option<(u64, u64)> {
    // The default kind of access times; what is to be undone was a kind of its own.
    const RELATIME: (u64, u64) = (libc::MOUNT_ATTR_RELATIME, libc::MOUNT_ATTR__ATIME);
    Some(match option {
        "ro" => (libc::MOUNT_ATTR_RDONLY, 0),
        "rw" => (0, libc::MOUNT_ATTR_RDONLY),
        "nosuid" => (libc::MOUNT_ATTR_NOSUID, 0),
        "suid" => (0, libc::MOUNT_ATTR_NOSUID),
        "nodev" => (libc::MOUNT_ATTR_NODEV, 0),
        "dev" => (0, libc::MOUNT_ATTR_NODEV),
        "noexec" => (libc::MOUNT_ATTR_NOEXEC, 0),
        "exec" => (0, libc::MOUNT_ATTR_NOEXEC),
        "nosymfollow" => (libc::MOUNT_ATTR_NOSYMFOLLOW, 0),
        "symfollow" => (0, libc::MOUNT_ATTR_NOSYMFOLLOW),
        "nodiratime" => (libc::MOUNT_ATTR_NODIRATIME, 0),
        "diratime" => (0, libc::MOUNT_ATTR_NODIRATIME),
        "noatime" => (libc::MOUNT_ATTR_NOATIME, libc::MOUNT_ATTR__ATIME),
        "strictatime" => (libc::MOUNT_ATTR_STRICTATIME, libc::MOUNT_ATTR__ATIME),
        "relatime" | "atime" | "norelatime" | "nostrictatime" => RELATIME,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use libc::{
        MOUNT_ATTR__ATIME as ATIME, MOUNT_ATTR_NOATIME as NOATIME, MOUNT_ATTR_NODEV as NODEV,
        MOUNT_ATTR_NOEXEC as NOEXEC, MOUNT_ATTR_NOSUID as NOSUID, MOUNT_ATTR_RDONLY as RDONLY,
        MOUNT_ATTR_STRICTATIME as STRICTATIME,
    };

    fn parsed(options: &str) -> MountOptions {
        let options: Vec<String> = options.split(',').map(str::to_owned).collect();
        parse(&options).unwrap()
    }

    fn check(options: &str, set: u64, clear: u64) {
        assert_eq!(
            parsed(options).attributes,
            Change { set, clear },
            "{options}"
        );
    }

    #[test]
    fn attributes_are_set_and_cleared() {
        check("nosuid,noexec,nodev", NOSUID | NOEXEC | NODEV, 0);
        check("ro", RDONLY, 0);
        check("ro,rw", 0, RDONLY);
        check("rw,ro", RDONLY, 0);
        check("suid", 0, NOSUID);
        check("noatime", NOATIME, ATIME);
        check("noatime,strictatime", STRICTATIME, ATIME);
        check("noatime,relatime", 0, ATIME);
        check("strictatime,ro", STRICTATIME | RDONLY, ATIME);
        check("defaults", 0, 0);
    }

    #[test]
    fn each_kind_of_option_has_its_place() {
        let p = parsed("rbind,rro,rslave,sync,size=64m,tmpcopyup,ridmap,rnoexec,mode=755");
        assert_eq!(p.bind, Some(Bind::Tree));
        assert_eq!(p.recursive.set, RDONLY | NOEXEC);
        assert!(p.attributes.is_empty());
        assert_eq!(p.propagation, Some((libc::MS_SLAVE, true)));
        assert_eq!(p.superblock, ["sync"]);
        assert_eq!(p.data, ["size=64m", "mode=755"]);
        assert!(p.copy_up);
        assert_eq!(p.id_map, Some(true));
        // `relatime` does not start with the r of "recursive", `rrelatime` does.
        assert!(parsed("relatime").recursive.is_empty());
        assert_eq!(parsed("rrelatime").recursive.clear, ATIME);
        assert_eq!(parsed("rw").data, Vec::<String>::new());
        assert_eq!(parsed("rnosuch").data, ["rnosuch"]);
    }

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn options_are_read(
            options in prop::collection::vec("r?(ro|rw|no(suid|dev|exec|atime)|suid|strictatime|bind|shared)|[a-z]{0,9}=?[0-9a-z,]{0,9}|\\PC{0,9}", 0..9)
        ) {
            crate::runtime::properties::mount_options(&options);
        }
    }
}
