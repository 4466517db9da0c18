//! The mounts of a container in its runtime configuration: the system's, its user's, and the files of the engine.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Facts, Sharing};
use crate::container::mounts::clean;
use crate::container::security::Options;
use crate::container::{Record, idmap};
use crate::docker::container::Mount as LongMount;
use crate::docker::inspect::MountPoint;
use crate::error;
use crate::oci::runtime::Mount;

const DEFAULT_SHM_BYTES: i64 = 64 << 20;

/// Returns the mounts of a container: the system's, and after them its user's.
pub(super) fn mounts(record: &Record, facts: &Facts, options: &Options) -> Result<Vec<Mount>> {
    let host = &record.host_config;
    let mut mounts = system_mounts(record, facts, options.writable_cgroups);
    let mut own: Vec<Mount> = Vec::new();
    for point in &record.mounts {
        let long = host
            .mounts
            .iter()
            .find(|mount| clean(&mount.target) == point.destination);
        own.push(user_mount(point, long, facts)?);
    }
    for (target, options) in &host.tmpfs {
        own.push(tmpfs(&clean(target), options)?);
    }
    for (source, target) in &facts.files {
        if !own
            .iter()
            .any(|mount| mount.destination == Path::new(target))
        {
            let mut options = words(&["rbind", "rprivate"]);
            if host.readonly_rootfs {
                options.push("ro".to_owned());
            }
            own.push(mount(target, "bind", &source.to_string_lossy(), options));
        }
    }
    // What lies deeper comes later, so that nothing is hidden by a mount above it.
    own.sort_by_key(|mount| mount.destination.components().count());
    // A mount of the user's takes the place of the system's at the same target.
    mounts.retain(|system| {
        !own.iter()
            .any(|mount| mount.destination == system.destination)
    });
    mounts.extend(own);
    Ok(mounts)
}

fn system_mounts(record: &Record, facts: &Facts, writable_cgroups: bool) -> Vec<Mount> {
    let host = &record.host_config;
    let kernel = ["nosuid", "noexec", "nodev"];
    let access = |writable| if writable { "rw" } else { "ro" };
    let with = |extra: &[&str]| words(&[&kernel[..], extra].concat());
    let mut mounts = vec![
        mount("/proc", "proc", "proc", with(&[])),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            words(&["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            words(&[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ]),
        ),
        mount("/sys", "sysfs", "sysfs", with(&[access(host.privileged)])),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            with(&["relatime", access(writable_cgroups)]),
        ),
    ];
    match (&facts.ipc, &facts.shm) {
        (Sharing::Host, _) => {
            // Whoever mounts it sees the queues of the own ipc namespace, here the host's, which may have none mounted.
            mounts.push(mount("/dev/mqueue", "mqueue", "mqueue", with(&[])));
            let bind = words(&["rbind", "rprivate"]);
            mounts.push(mount("/dev/shm", "bind", "/dev/shm", bind));
        }
        (_, shm) => {
            mounts.push(mount("/dev/mqueue", "mqueue", "mqueue", with(&[])));
            let size = if host.shm_size > 0 {
                host.shm_size
            } else {
                DEFAULT_SHM_BYTES
            };
            mounts.push(match shm {
                Some(path) => mount(
                    "/dev/shm",
                    "bind",
                    &path.to_string_lossy(),
                    words(&["rbind", "rprivate"]),
                ),
                None if host.ipc_mode == "none" => return mounts,
                None => mount(
                    "/dev/shm",
                    "tmpfs",
                    "shm",
                    with(&["mode=1777", &format!("size={size}")]),
                ),
            });
        }
    }
    mounts
}

fn user_mount(point: &MountPoint, long: Option<&LongMount>, facts: &Facts) -> Result<Mount> {
    let source = facts.sources.get(&point.destination).map_or_else(
        || point.source.clone(),
        |path| path.to_string_lossy().into_owned(),
    );
    if point.kind == "tmpfs" {
        let options = long
            .and_then(|mount| mount.tmpfs_options.clone())
            .unwrap_or_default();
        let mut words = words(&["noexec", "nosuid", "nodev"]);
        if options.size_bytes > 0 {
            words.push(format!("size={}", options.size_bytes));
        }
        words.push(format!(
            "mode={:o}",
            if options.mode == 0 {
                0o1777
            } else {
                options.mode
            }
        ));
        if !point.rw {
            words.push("ro".to_owned());
        }
        return Ok(mount(&point.destination, "tmpfs", "tmpfs", words));
    }
    let bind = long
        .and_then(|mount| mount.bind_options.clone())
        .unwrap_or_default();
    let propagation = if point.propagation.is_empty() {
        "rprivate"
    } else {
        &point.propagation
    };
    let mut options = words(&[
        if bind.non_recursive { "bind" } else { "rbind" },
        propagation,
    ]);
    if point.kind == "image" {
        // What is only copied from is mounted without; here are programs.
        options.extend(words(&["exec", "suid"]));
    }
    if !point.rw {
        // A read-only bind is read-only all the way down, unless that was declined, or cannot be and was not insisted on.
        let shallow = bind.non_recursive
            || bind.read_only_non_recursive
            || facts.shallow_read_only && !bind.read_only_force_recursive;
        options.push(if shallow { "ro" } else { "rro" }.to_owned());
    }
    let Some(ranges) = id_map_of(point, long) else {
        return Ok(mount(&point.destination, "bind", &source, options));
    };
    let map = if ranges.is_empty() {
        let owner = facts.owners.get(&point.destination).copied();
        idmap::between(owner.unwrap_or_default(), (facts.user.uid, facts.user.gid))
    } else {
        idmap::parse(ranges)?
    };
    options.push("idmap".to_owned());
    Ok(Mount {
        uid_mappings: map.uids,
        gid_mappings: map.gids,
        ..mount(&point.destination, "bind", &source, options)
    })
}

/// Returns the ranges of the id map that a mount asks for, empty for the one that its source's owner decides.
pub fn id_map<'a>(record: &'a Record, point: &'a MountPoint) -> Option<&'a str> {
    let mut long = record.host_config.mounts.iter();
    let long = long.find(|mount| clean(&mount.target) == point.destination);
    id_map_of(point, long)
}

fn id_map_of<'a>(point: &'a MountPoint, long: Option<&'a LongMount>) -> Option<&'a str> {
    let long = long.and_then(|mount| mount.bind_options.as_ref()?.id_map.as_deref());
    long.or_else(|| idmap::asked(point.mode.split(',')))
}

/// Later words win, so the user's follow the defaults.
pub(super) fn tmpfs(target: &str, text: &str) -> Result<Mount> {
    let mut options = words(&["noexec", "nosuid", "nodev"]);
    for word in text.split(',').filter(|word| !word.is_empty()) {
        let known = matches!(
            word,
            "rw" | "ro"
                | "exec"
                | "noexec"
                | "suid"
                | "nosuid"
                | "dev"
                | "nodev"
                | "sync"
                | "async"
                | "dirsync"
                | "remount"
                | "mand"
                | "nomand"
                | "atime"
                | "noatime"
                | "diratime"
                | "nodiratime"
                | "relatime"
                | "norelatime"
                | "strictatime"
                | "nostrictatime"
                | "private"
                | "rprivate"
                | "shared"
                | "rshared"
                | "slave"
                | "rslave"
                | "unbindable"
                | "runbindable"
        );
        let keyed = [
            "size",
            "mode",
            "uid",
            "gid",
            "nr_inodes",
            "nr_blocks",
            "mpol",
        ];
        let valued = word
            .split_once('=')
            .is_some_and(|(key, value)| keyed.contains(&key) && !value.is_empty());
        if !known && !valued {
            let name = word.split_once('=').map_or(word, |(name, _)| name);
            return Err(error::invalid(format!("invalid tmpfs option \"{name}\"")));
        }
        let opposite = word
            .strip_prefix("no")
            .map_or_else(|| format!("no{word}"), str::to_owned);
        options.retain(|option| *option != opposite);
        options.push(word.to_owned());
    }
    Ok(mount(target, "tmpfs", "tmpfs", options))
}

fn mount(destination: &str, kind: &str, source: &str, options: Vec<String>) -> Mount {
    Mount {
        destination: PathBuf::from(destination),
        kind: kind.to_owned(),
        source: source.to_owned(),
        options,
        ..Mount::default()
    }
}

pub(super) fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}
