//! Whether what is restored may do no more than its configuration allows. The images may be anybody's, and CRIU makes of them
//! what they say, with all rights of root: a process that may mount what it likes has the host.
//!
//! It is looked at when all of it is there and stopped: the capabilities of every thread, and the namespaces and the cgroups of
//! every process; mounts are mounted.rs's. What programs do, as which users and past which filters of system calls, the
//! images say alone, as images of containers do.

use std::fmt::Write as _;
use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::mounted;
use super::restore::Restore;
use super::session::Session;
use crate::cgroup::layout::memberships;
use crate::error;
use crate::oci::runtime::linux::NamespaceKind;
use crate::runtime::capabilities::{self, Sets};
use crate::runtime::namespaces::file_name;
use crate::sys::pseudo;
use crate::sys::signal::signal_if_alive;

/// Namespaces that all processes of a container share unless they may make others.
const SHARED: [NamespaceKind; 6] = [
    NamespaceKind::User,
    NamespaceKind::Mount,
    NamespaceKind::Pid,
    NamespaceKind::Network,
    NamespaceKind::Ipc,
    NamespaceKind::Uts,
];

/// What a configuration allows every process.
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    /// Those of any set.
    capabilities: u64,
    /// Whether programs must give no new ones.
    no_new_privileges: bool,
}

/// Checks the processes that have been restored, of which `first` is the first. Fails with `Invalid`, and ends them and CRIU,
/// if one may do more than the configuration allows.
pub(super) fn check(container: &Restore<'_>, first: Pid, criu: &Session) -> Result<()> {
    let processes = tree(first)?;
    let checked = check_all(container, &processes, criu.pid());
    if checked.is_err() {
        for process in &processes {
            end(*process).with_context(|| format!("kill process {process}"))?;
        }
        // At this point it would go on whatever it is told, and wait for the first process, which waits for the others, whom
        // nobody but it can reap: it traces them.
        criu.kill().context("kill criu")?;
    }
    checked
}

/// Process `criu` is in the cgroups below which all others belong.
fn check_all(container: &Restore<'_>, processes: &[Pid], criu: Pid) -> Result<()> {
    let limits = limits(container);
    let around = match container.cgroup {
        Some(_) => Some(read(&format!("{}/cgroup", directory(criu)))?),
        None => None,
    };
    let Some(first) = processes.first().copied() else {
        bail!("nothing has been restored");
    };
    // Who may mount may make namespaces, and mounts in them, as the configuration wants it.
    let may_mount = limits.capabilities & caps::Capability::CAP_SYS_ADMIN.bitmask() != 0;
    for process in processes {
        for thread in threads(*process)? {
            let status = read(&format!("{thread}/status"))?;
            // What has ended does nothing any more, whatever it was; another thread of its process may.
            if field(&status, "State").is_some_and(|state| state.starts_with(['Z', 'X'])) {
                continue;
            }
            if let Some(excess) = excess(&status, limits) {
                bail!(refused(&status, &excess));
            }
            let cgroups = read(&format!("{thread}/cgroup"))?;
            let around = around.as_deref();
            if let Some(outside) = around.and_then(|around| outside(&cgroups, around)) {
                let what = format!("is in cgroup {outside}, outside of the container's");
                bail!(refused(&status, &what));
            }
            for kind in SHARED.into_iter().filter(|_| !may_mount) {
                if namespace(&thread, kind)? != namespace(&directory(first), kind)? {
                    let kind = file_name(kind);
                    let what = format!("is in another {kind} namespace than the first");
                    bail!(refused(&status, &what));
                }
            }
        }
    }
    if may_mount {
        return mounted::warn_of_missing(container, first);
    }
    mounted::check(container, first)
}

fn limits(container: &Restore<'_>) -> Limits {
    let Some(process) = &container.spec.process else {
        return Limits::default();
    };
    let asked = process.capabilities.as_ref();
    let sets = asked.map_or_else(Sets::default, |asked| capabilities::plan(asked, u64::MAX).0);
    Limits {
        capabilities: sets.bounding
            | sets.effective
            | sets.inheritable
            | sets.permitted
            | sets.ambient,
        no_new_privileges: process.no_new_privileges,
    }
}

fn refused(status: &str, what: &str) -> anyhow::Error {
    let name = field(status, "Name").unwrap_or_default();
    let pid = field(status, "NSpid").and_then(|pids| pids.split_whitespace().last());
    error::invalid(format!(
        "process {} ({name}) of what was saved {what}",
        pid.unwrap_or_default()
    ))
}

/// Returns what a thread may do beyond what is allowed.
fn excess(status: &str, limits: Limits) -> Option<String> {
    let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
    let held = sets.iter().map(|set| {
        let bits = field(status, set)?;
        u64::from_str_radix(bits, 16).ok()
    });
    // What cannot be read has all.
    let held = held.fold(0, |all, set| all | set.unwrap_or(u64::MAX));
    let beyond = held & !limits.capabilities;
    if beyond != 0 {
        let mut text = "has capabilities that the configuration does not give:".to_owned();
        for capability in caps::all() {
            if capability.bitmask() & beyond != 0 {
                write!(text, " {capability}").ok()?;
            }
        }
        return Some(text);
    }
    let may_get_more = limits.no_new_privileges && field(status, "NoNewPrivs") != Some("1");
    may_get_more.then(|| "can get new privileges, which the configuration forbids".to_owned())
}

/// The value of a field of /proc/PID/status.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == name).then(|| value.trim())
    })
}

/// Returns the first cgroup that is not below that of the same hierarchy in `around`.
fn outside<'a>(cgroups: &'a str, around: &str) -> Option<&'a str> {
    memberships(cgroups).find_map(|(controllers, path)| {
        let own = memberships(around).find(|(other, _)| *other == controllers);
        let is_within = own.is_some_and(|(_, own)| Path::new(path).starts_with(own));
        (!is_within).then_some(path)
    })
}

fn directory(process: Pid) -> String {
    format!("/proc/{}", process.as_raw_nonzero())
}

fn read(path: &str) -> Result<String> {
    pseudo::read_text(path).with_context(|| format!("read {path}"))
}

/// Returns the directories of a process's threads.
fn threads(process: Pid) -> Result<Vec<String>> {
    let path = format!("{}/task", directory(process));
    let what = || format!("read {path}");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(&path).with_context(what)? {
        let name = entry.with_context(what)?.file_name();
        all.push(format!("{path}/{}", name.display()));
    }
    Ok(all)
}

fn namespace(directory: &str, kind: NamespaceKind) -> Result<u64> {
    let path = format!("{directory}/ns/{}", file_name(kind));
    let found = rustix::fs::stat(&*path).with_context(|| format!("look at {path}"))?;
    Ok(found.st_ino)
}

/// Returns a process and all that come from it.
fn tree(first: Pid) -> Result<Vec<Pid>> {
    let mut all = vec![first];
    let mut done = 0;
    while let Some(process) = all.get(done).copied() {
        for thread in threads(process)? {
            let children = read(&format!("{thread}/children"))?;
            let pids = children
                .split_whitespace()
                .filter_map(|pid| pid.parse().ok());
            all.extend(pids.filter_map(Pid::from_raw));
        }
        done += 1;
    }
    Ok(all)
}

fn end(process: Pid) -> Result<()> {
    // With the first of a PID namespace all others end.
    let pidfd = match pidfd_open(process, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(()),
        opened => opened?,
    };
    Ok(signal_if_alive(pidfd.as_fd(), libc::SIGKILL)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_beyond_the_configuration_are_found() {
        let status = |sets: [u64; 5], more: &str| {
            let [inh, prm, eff, bnd, amb] = sets;
            format!(
                "Name:\tsh\nCapInh:\t{inh:016x}\nCapPrm:\t{prm:016x}\nCapEff:\t{eff:016x}\nCapBnd:\t{bnd:016x}\nCapAmb:\t{amb:016x}\n{more}"
            )
        };
        let limits = |no_new_privileges| Limits {
            capabilities: 0x21,
            no_new_privileges,
        };
        for (sets, more, no_new_privileges, expected) in [
            ([0, 1, 1, 0x21, 0], "NoNewPrivs:\t0\n", false, None),
            ([0, 1, 1, 0x21, 0], "NoNewPrivs:\t1\n", true, None),
            (
                [0, 1, 1, 0x21, 0],
                "NoNewPrivs:\t0\n",
                true,
                Some("can get new privileges, which the configuration forbids"),
            ),
            (
                [0, 0, 0, 1 << 21, 0],
                "",
                false,
                Some("has capabilities that the configuration does not give: CAP_SYS_ADMIN"),
            ),
            (
                [2, 0, 0, 0, 4],
                "",
                false,
                Some(
                    "has capabilities that the configuration does not give: CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH",
                ),
            ),
        ] {
            let mut found = excess(&status(sets, more), limits(no_new_privileges));
            if let Some((start, names)) = found.as_deref().and_then(|text| text.split_once(": ")) {
                let mut names: Vec<&str> = names.split(' ').collect();
                names.sort_unstable();
                found = Some(format!("{start}: {}", names.join(" ")));
            }
            assert_eq!(found.as_deref(), expected, "{sets:?} {more}");
        }
        assert!(excess("Name:\tsh\n", limits(false)).is_some());
    }

    #[test]
    fn cgroups_outside_are_found() {
        let around = "5:cpu,cpuacct:/a/one\n1:name=systemd:/\n0::/a/one\n";
        for (cgroups, expected) in [
            ("5:cpu,cpuacct:/a/one/in\n0::/a/one\n", None),
            ("0::/a/other\n", Some("/a/other")),
            ("0::/a/one-more\n", Some("/a/one-more")),
            ("5:cpu,cpuacct:/\n", Some("/")),
            ("6:memory:/a/one\n", Some("/a/one")),
        ] {
            assert_eq!(outside(cgroups, around), expected, "{cgroups}");
        }
    }

    #[test]
    fn children_are_found() {
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let own = rustix::process::getpid();
        let all = tree(own).unwrap();
        assert_eq!(all[0], own);
        assert!(all.contains(&Pid::from_child(&child)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
