//! Which cgroup hierarchies this host has: v1, v2, or both ("hybrid").
//!
//! Found in the mount table, never assumed: controllers may be mounted together (`cpu,cpuacct`), apart, or not at all, and
//! a v1 host may have a v2 hierarchy beside (`/sys/fs/cgroup/unified`) that owns some controllers or none.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result};

use crate::sys::{mountinfo, pseudo};

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its v1 controllers (`cpu`, `cpuacct`), or `name=systemd` for one without; empty for v2.
    pub controllers: Arc<[String]>,
    /// Where it is mounted.
    pub mount: PathBuf,
}

/// The hierarchies of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The v1 hierarchies, in the order of the mount table.
    pub v1: Vec<Hierarchy>,
    /// The v2 hierarchy.
    pub unified: Option<Hierarchy>,
}

/// Whether groups can have weights for block devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// One for all devices.
    pub all: bool,
    /// One for each device.
    pub each: bool,
}

/// The controllers of v1; what else stands among the options of a mount is no controller.
const V1_CONTROLLERS: [&str; 14] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "debug",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
];

/// Reads /proc/PID/cgroup (`4:memory:/user`, `0::/user` for v2): controllers with commas between, and the path of each line.
pub fn memberships(table: &str) -> impl Iterator<Item = (&str, &str)> {
    table.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?, fields.next()?))
    })
}

impl Host {
    /// Returns the v1 hierarchy that `controller` is mounted on.
    pub fn v1_of(&self, controller: &str) -> Option<&Hierarchy> {
        let has = |hierarchy: &&Hierarchy| hierarchy.controllers.iter().any(|c| c == controller);
        self.v1.iter().find(has)
    }

    /// Returns the controllers that the v2 hierarchy offers at its root.
    pub fn unified_controllers(&self) -> Vec<String> {
        let Some(unified) = &self.unified else {
            return Vec::new();
        };
        // A hierarchy without the file offers nothing; that is then the error of whoever needs a controller.
        pseudo::read_text(unified.mount.join("cgroup.controllers"))
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    }

    /// Returns whether containers live in the v2 hierarchy alone.
    pub fn is_v2(&self) -> bool {
        self.v1.is_empty() && self.unified.is_some()
    }

    /// Returns whether some hierarchy has `controller`.
    pub fn has(&self, controller: &str) -> bool {
        self.v1_of(controller).is_some()
            || self.unified_controllers().iter().any(|c| c == controller)
    }

    /// Returns whether groups can have weights for block devices; where no group tells, they are taken to have them.
    pub fn block_weights(&self) -> Weights {
        if let Some(hierarchy) = self.v1_of("blkio") {
            // The root has no weight itself, but what comes with those of bfq.
            let mut signs = ["blkio.weight", "blkio.bfq.io_serviced"].iter();
            let has = signs.any(|name| hierarchy.mount.join(name).exists());
            return Weights {
                all: has,
                each: has,
            };
        }
        let Some(unified) = &self.unified else {
            return Weights::default();
        };
        let entries = std::fs::read_dir(&unified.mount).into_iter().flatten();
        let groups: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|group| group.join("io.max").exists())
            .collect();
        let any = |name: &str| groups.iter().any(|group| group.join(name).exists());
        let each = groups.is_empty() || any("io.bfq.weight");
        Weights {
            all: each || any("io.weight"),
            each,
        }
    }

    /// Returns whether memory and swap together can be limited on this host.
    pub fn can_limit_swap(&self) -> bool {
        match self.v1_of("memory") {
            Some(hierarchy) => hierarchy.mount.join("memory.memsw.limit_in_bytes").exists(),
            // Swap is accounted for on every v2 hierarchy with a memory controller; only swapaccount=0 took that away,
            // which kernel 6.1 no longer knows.
            None => self.unified.is_some(),
        }
    }
}

/// Looks at the hierarchies of this host.
///
/// Costs one `statfs` on a v2 host, and elsewhere the reading of the mount table, once: a host does not change its mind while
/// a container lives, which is where it was put.
pub fn detect() -> Result<&'static Host> {
    static HOST: OnceLock<Host> = OnceLock::new();
    if let Some(host) = HOST.get() {
        return Ok(host);
    }
    let host = if let Some(host) = plain_v2() {
        host
    } else {
        let table = pseudo::read_text("/proc/self/mountinfo").context("read the mount table")?;
        parse(&table)
    };
    Ok(HOST.get_or_init(|| host))
}

/// The layout of nearly every host of today, without a look at a mount table that may have thousands of lines.
fn plain_v2() -> Option<Host> {
    let mount = Path::new("/sys/fs/cgroup");
    let kind = rustix::fs::statfs(mount).ok()?.f_type;
    (kind == libc::CGROUP2_SUPER_MAGIC).then(|| Host {
        v1: Vec::new(),
        unified: Some(Hierarchy {
            controllers: Arc::default(),
            mount: mount.to_owned(),
        }),
    })
}

/// Finds the hierarchies in a mount table.
fn parse(table: &str) -> Host {
    let mut host = Host::default();
    for mount in mountinfo::parse_kind(table, "cgroup") {
        if mount.kind == "cgroup2" {
            host.unified.get_or_insert(Hierarchy {
                controllers: Arc::default(),
                mount: mount.point.into_owned(),
            });
            continue;
        }
        if mount.kind != "cgroup" {
            continue;
        }
        let options = mount.super_options.split(',');
        let controllers: Arc<[String]> = options
            .filter(|option| V1_CONTROLLERS.contains(option) || option.starts_with("name="))
            .map(str::to_owned)
            .collect();
        // A hierarchy that is mounted twice is used where it was mounted first.
        if !host.v1.iter().any(|known| known.controllers == controllers) {
            host.v1.push(Hierarchy {
                controllers,
                mount: mount.point.into_owned(),
            });
        }
    }
    host
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mountinfo: &str, v1: &[(&str, &str)], unified: Option<&str>) {
        let host = parse(mountinfo);
        let found: Vec<(String, String)> = host
            .v1
            .iter()
            .map(|h| (h.controllers.join(","), h.mount.display().to_string()))
            .collect();
        let expected: Vec<(String, String)> = v1
            .iter()
            .map(|(c, m)| ((*c).to_owned(), (*m).to_owned()))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(
            host.unified.map(|h| h.mount.display().to_string()),
            unified.map(str::to_owned)
        );
    }

    #[test]
    fn layouts_are_told_apart() {
        check(
            "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate",
            &[],
            Some("/sys/fs/cgroup"),
        );
        check(
            "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
             32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:3 - cgroup cgroup rw,cpu,cpuacct\n\
             33 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             34 31 0:32 / /elsewhere rw - cgroup cgroup rw,memory\n\
             35 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd\n\
             36 31 0:38 / /sys/fs/cgroup/uni\\040fied rw - cgroup2 cgroup2 rw",
            &[
                ("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct"),
                ("memory", "/sys/fs/cgroup/memory"),
                ("name=systemd", "/sys/fs/cgroup/systemd"),
            ],
            Some("/sys/fs/cgroup/uni fied"),
        );
        check("22 27 0:21 / /proc rw - proc proc rw", &[], None);
    }

    #[test]
    fn weights_are_where_their_files_are() {
        let dir = std::env::temp_dir().join(format!("aril-weights-{}", crate::store::unique()));
        let check = |v1: bool, files: &[&str], all: bool, each: bool| {
            for file in files {
                let path = dir.join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "").unwrap();
            }
            let mount = Hierarchy {
                controllers: ["blkio".to_owned()].into(),
                mount: dir.clone(),
            };
            let host = Host {
                v1: if v1 { vec![mount.clone()] } else { Vec::new() },
                unified: (!v1).then_some(mount),
            };
            assert_eq!(host.block_weights(), Weights { all, each }, "{files:?}");
            std::fs::remove_dir_all(&dir).unwrap();
        };
        check(true, &["blkio.throttle.io_serviced"], false, false);
        check(true, &["blkio.bfq.io_serviced"], true, true);
        check(true, &["blkio.weight"], true, true);
        check(false, &["a/cgroup.procs"], true, true);
        check(false, &["a/io.max"], false, false);
        check(false, &["a/io.max", "b/io.max", "b/io.weight"], true, false);
        check(false, &["a/io.max", "a/io.bfq.weight"], true, true);
    }

    #[test]
    fn this_host_has_some_hierarchy() {
        let host = detect().unwrap();
        assert!(host.unified.is_some() || !host.v1.is_empty());
    }
}
