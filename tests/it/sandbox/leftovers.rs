//! What a test has left on the machine: processes, mounts, cgroups, network devices, nft tables.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, umount2};
use rustix::process::{Pid, Signal, kill_process};

use super::machine::{Machine, mount_points};

/// Things by what they are called.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    processes: BTreeSet<(i32, String)>,
    mounts: Vec<String>,
    cgroups: BTreeSet<PathBuf>,
    devices: BTreeSet<String>,
    tables: BTreeSet<String>,
}

impl Leftovers {
    /// Finds what there is on a machine with its files in `dir` and the cgroups of containers `ids`.
    pub(crate) fn find(machine: &Machine, dir: &Path, ids: &[String]) -> Leftovers {
        let cgroups: BTreeSet<PathBuf> = ids.iter().flat_map(|id| cgroups_of(id)).collect();
        let (mounts, devices, tables) =
            machine.inside(|| (mount_points(), network_devices(), nft_tables()));
        Leftovers {
            processes: processes(machine, dir, &cgroups),
            mounts,
            cgroups,
            devices,
            tables,
        }
    }

    /// Returns what of this was not there `before`.
    pub(crate) fn since(mut self, before: &Leftovers) -> Leftovers {
        self.processes.retain(|it| !before.processes.contains(it));
        let mut old = before.mounts.clone();
        self.mounts.retain(|it| {
            let known = old.iter().position(|other| other == it);
            known.map(|at| old.swap_remove(at)).is_none()
        });
        self.cgroups.retain(|it| !before.cgroups.contains(it));
        self.devices.retain(|it| !before.devices.contains(it));
        self.tables.retain(|it| !before.tables.contains(it));
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.processes.is_empty()
            && self.mounts.is_empty()
            && self.cgroups.is_empty()
            && self.devices.is_empty()
            && self.tables.is_empty()
    }

    /// Ends and unmounts it all; returns a line for each. Devices and tables go with the machine.
    pub(crate) fn clean_up(&self, machine: &Machine) -> Vec<String> {
        let mut report = Vec::new();
        for (pid, name) in &self.processes {
            report.push(format!("process {pid} {name}"));
            let ended = Pid::from_raw(*pid).map(|pid| kill_process(pid, Signal::KILL));
            report.extend(ended.and_then(Result::err).map(|errno| errno.to_string()));
        }
        for mount in self.mounts.iter().rev() {
            report.push(format!("mount {mount}"));
            let unmounted = machine.inside(|| umount2(mount.as_str(), MntFlags::MNT_DETACH));
            report.extend(unmounted.err().map(|errno| errno.to_string()));
        }
        for cgroup in &self.cgroups {
            report.push(format!("cgroup {}", cgroup.display()));
            let removed = std::fs::remove_dir(cgroup);
            report.extend(removed.err().map(|error| error.to_string()));
        }
        report.extend(self.devices.iter().map(|name| format!("device {name}")));
        report.extend(self.tables.iter().map(|name| format!("table {name}")));
        report
    }
}

/// Processes that are in the namespaces of the machine, name its folder, or are in one of the cgroups.
fn processes(
    machine: &Machine,
    dir: &Path,
    cgroups: &BTreeSet<PathBuf>,
) -> BTreeSet<(i32, String)> {
    let mut pids: BTreeSet<i32> = cgroups
        .iter()
        .flat_map(|cgroup| super::lines(cgroup.join("cgroup.procs")))
        .filter_map(|line| line.parse().ok())
        .collect();
    let dir = dir.as_os_str().as_encoded_bytes();
    let own = i32::try_from(std::process::id()).unwrap();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let path = entry.path();
        let in_namespace = ["ns/mnt", "ns/net"]
            .iter()
            .any(|name| File::open(path.join(name)).is_ok_and(|file| machine.is(&file)));
        let names_dir = ["cmdline", "environ"].iter().any(|name| {
            std::fs::read(path.join(name))
                .is_ok_and(|bytes| super::child::find(&bytes, dir).is_some())
        });
        if pid != own && (in_namespace || names_dir) {
            pids.insert(pid);
        }
    }
    pids.into_iter()
        .filter(|pid| !is_dead(*pid))
        .map(|pid| (pid, command_line(pid)))
        .collect()
}

/// A zombie runs no more; its parent, perhaps not ours, has not looked yet.
fn is_dead(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    matches!(state, None | Some('Z' | 'X'))
}

fn command_line(pid: i32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// Directories of container `id` in any hierarchy: the engine has a parent for its own, the runtime has none.
pub(crate) fn cgroups_of(id: &str) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    mounts
        .lines()
        .filter(|line| {
            line.split(' ')
                .nth(2)
                .is_some_and(|kind| kind.starts_with("cgroup"))
        })
        .filter_map(|line| line.split(' ').nth(1))
        .flat_map(|mount| ["", "aril"].map(|parent| Path::new(mount).join(parent).join(id)))
        .filter(|directory| directory.exists())
        .collect()
}

/// Network devices of this thread's namespace.
fn network_devices() -> BTreeSet<String> {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim().to_owned())
        // A network keeps its bridge, as it keeps its subnet, until it is removed.
        .filter(|name| !name.starts_with("aril") && !name.starts_with("br-"))
        .collect()
}

fn nft_tables() -> BTreeSet<String> {
    let output = Command::new("nft")
        .args(["list", "tables"])
        .output()
        .expect("these tests need nft: apt-get install nftables");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        // That of all networks; each container's own counts.
        .filter(|table| *table != "table inet aril")
        .map(str::to_owned)
        .collect()
}
