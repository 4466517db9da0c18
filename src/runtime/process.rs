//! A process of a container as a plan: everything of `process` in a configuration read, checked and turned into what the
//! kernel takes, before any process is made (runtime-spec config.md, Process).

use std::ffi::CString;
use std::path::Path;

use anyhow::{Result, bail};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit};

use super::capabilities::{self, Sets};
use super::seccomp::{Filter, compiled};
use crate::error;
use crate::oci::runtime::linux::{MemoryPolicy, Personality, Profile};
use crate::oci::runtime::{CpuAffinity, Process};
use crate::sys::schedule::SchedulingAttributes;

/// What a process is to become.
#[derive(Debug)]
pub(super) struct ProcessPlan {
    pub(super) args: Vec<CString>,
    /// The first argument, for look-up and messages.
    pub(super) name: String,
    /// Of each variable the last value.
    pub(super) env: Vec<CString>,
    pub(super) search: Option<String>,
    /// Whether HOME is to be looked up in the container's passwd.
    pub(super) lacks_home: bool,
    pub(super) cwd: CString,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    pub(super) umask: Mode,
    pub(super) capabilities: Sets,
    pub(super) rlimits: Vec<(Resource, Rlimit)>,
    pub(super) no_new_privileges: bool,
    pub(super) filter: Option<Filter>,
    pub(super) oom_score_adj: Option<i32>,
    /// What to write to which file of /proc/self/attr.
    pub(super) label: Option<(&'static str, String)>,
    pub(super) scheduling: Option<SchedulingAttributes>,
    /// Class and level.
    pub(super) io_priority: Option<(i32, i32)>,
    pub(super) personality: Option<i32>,
    /// Mode and nodes.
    pub(super) memory_policy: Option<(i32, Vec<u64>)>,
    /// CPUs before and after it has joined the cgroup.
    pub(super) affinity: (Option<Vec<usize>>, Option<Vec<usize>>),
    /// Things that were asked for and are left out.
    pub(super) warnings: Vec<String>,
}

/// What a process gets from its container rather than from its own document.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Surroundings<'a> {
    pub(super) seccomp: Option<&'a Profile>,
    /// Where compiled profiles are kept, if they are.
    pub(super) filters: Option<&'a Path>,
    pub(super) personality: Option<&'a Personality>,
    pub(super) memory_policy: Option<&'a MemoryPolicy>,
    /// Whether it is in a user namespace of its own, where it can have every capability.
    pub(super) in_userns: bool,
}

impl ProcessPlan {
    /// Returns whether its filter hands calls to a listener.
    pub(super) fn notifies(&self) -> bool {
        self.filter.as_ref().is_some_and(Filter::notifies)
    }
}

/// Reads and checks `process`.
pub(super) fn plan(process: &Process, around: Surroundings<'_>) -> Result<ProcessPlan> {
    let Some(name) = process.args.first() else {
        bail!(error::invalid("args must not be empty"));
    };
    if !process.cwd.is_absolute() {
        bail!(error::invalid("cwd must be an absolute path"));
    }
    let env = environment(&process.env)?;
    let value = |key: &str| {
        let prefix = |entry: &&str| entry.starts_with(key) && entry[key.len()..].starts_with('=');
        env.iter()
            .copied()
            .find(prefix)
            .map(|entry| &entry[key.len() + 1..])
    };
    let available = if around.in_userns {
        u64::MAX
    } else {
        capabilities::available()
    };
    let (capabilities, left_out) = process.capabilities.as_ref().map_or_else(
        || (Sets::default(), Vec::new()),
        |asked| capabilities::plan(asked, available),
    );
    let mut warnings = Vec::new();
    if !left_out.is_empty() {
        warnings.push(format!(
            "ignoring unknown or unavailable capabilities: {left_out:?}"
        ));
    }
    Ok(ProcessPlan {
        args: process
            .args
            .iter()
            .map(|arg| c_string(arg))
            .collect::<Result<_>>()?,
        name: name.clone(),
        search: value("PATH").map(str::to_owned),
        lacks_home: value("HOME").is_none_or(str::is_empty),
        env: env
            .iter()
            .map(|entry| c_string(entry))
            .collect::<Result<_>>()?,
        cwd: path_c_string(&process.cwd)?,
        uid: process.user.uid,
        gid: process.user.gid,
        groups: process.user.additional_gids.clone(),
        umask: Mode::from_raw_mode(process.user.umask.unwrap_or(0o022)),
        capabilities,
        rlimits: rlimits(process)?,
        no_new_privileges: process.no_new_privileges,
        filter: around
            .seccomp
            .map(|profile| compiled(profile, around.filters))
            .transpose()?,
        oom_score_adj: process.oom_score_adj,
        label: label(process)?,
        scheduling: process
            .scheduler
            .as_ref()
            .map(super::tuning::scheduling)
            .transpose()?,
        io_priority: process
            .io_priority
            .as_ref()
            .map(super::tuning::io_priority)
            .transpose()?,
        personality: around
            .personality
            .map(super::tuning::personality)
            .transpose()?,
        memory_policy: around
            .memory_policy
            .map(super::tuning::memory_policy)
            .transpose()?,
        affinity: affinity(process.exec_cpu_affinity.as_ref())?,
        warnings,
    })
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| {
        error::invalid(format!(
            "arguments and environment cannot hold a NUL: {text:?}"
        ))
    })
}

pub(super) fn path_c_string(path: &Path) -> Result<CString> {
    c_string(&path.to_string_lossy())
}

/// Returns the entries of an environment, of each variable only the last one: programs differ in which they take.
fn environment(entries: &[String]) -> Result<Vec<&str>> {
    let mut seen = std::collections::HashSet::with_capacity(entries.len());
    let mut kept = Vec::with_capacity(entries.len());
    for entry in entries.iter().rev() {
        let Some((key, _)) = entry.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            bail!(error::invalid(format!(
                "invalid environment variable: {entry:?}"
            )));
        };
        if seen.insert(key) {
            kept.push(entry.as_str());
        }
    }
    kept.reverse();
    Ok(kept)
}

fn rlimits(process: &Process) -> Result<Vec<(Resource, Rlimit)>> {
    let mut limits = Vec::with_capacity(process.rlimits.len());
    for limit in &process.rlimits {
        let resource = match limit.kind.as_str() {
            "RLIMIT_CPU" => Resource::Cpu,
            "RLIMIT_FSIZE" => Resource::Fsize,
            "RLIMIT_DATA" => Resource::Data,
            "RLIMIT_STACK" => Resource::Stack,
            "RLIMIT_CORE" => Resource::Core,
            "RLIMIT_RSS" => Resource::Rss,
            "RLIMIT_NPROC" => Resource::Nproc,
            "RLIMIT_NOFILE" => Resource::Nofile,
            "RLIMIT_MEMLOCK" => Resource::Memlock,
            "RLIMIT_AS" => Resource::As,
            "RLIMIT_LOCKS" => Resource::Locks,
            "RLIMIT_SIGPENDING" => Resource::Sigpending,
            "RLIMIT_MSGQUEUE" => Resource::Msgqueue,
            "RLIMIT_NICE" => Resource::Nice,
            "RLIMIT_RTPRIO" => Resource::Rtprio,
            "RLIMIT_RTTIME" => Resource::Rttime,
            unknown => bail!(error::invalid(format!("invalid rlimit type: {unknown}"))),
        };
        if limits.iter().any(|(known, _)| *known == resource) {
            bail!(error::invalid(format!("duplicated rlimit {}", limit.kind)));
        }
        if limit.soft > limit.hard {
            bail!(error::invalid(format!(
                "the soft limit of {} is above its hard limit",
                limit.kind
            )));
        }
        let bound = |value: u64| (value != u64::MAX).then_some(value);
        limits.push((
            resource,
            Rlimit {
                current: bound(limit.soft),
                maximum: bound(limit.hard),
            },
        ));
    }
    Ok(limits)
}

/// Labels are refused rather than forgotten on a host without the module that would enforce them.
fn label(process: &Process) -> Result<Option<(&'static str, String)>> {
    if !process.apparmor_profile.is_empty() && process.apparmor_profile != "unconfined" {
        let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
        if !enabled.is_ok_and(|enabled| enabled.starts_with('Y')) {
            bail!(error::unavailable(format!(
                "apparmor profile {:?} is asked for, but apparmor is not supported by this host",
                process.apparmor_profile
            )));
        }
        // Kernels before 5.8 have one file for all modules.
        let file = if Path::new("/proc/self/attr/apparmor/exec").exists() {
            "attr/apparmor/exec"
        } else {
            "attr/exec"
        };
        return Ok(Some((file, format!("exec {}", process.apparmor_profile))));
    }
    if !process.selinux_label.is_empty() {
        if !Path::new("/sys/fs/selinux/enforce").exists() {
            bail!(error::unavailable(
                "selinux label is specified in config, but selinux is disabled or not supported"
            ));
        }
        return Ok(Some(("attr/exec", process.selinux_label.clone())));
    }
    Ok(None)
}

type Cpus = Option<Vec<usize>>;

fn affinity(affinity: Option<&CpuAffinity>) -> Result<(Cpus, Cpus)> {
    let list = |text: &str| -> Result<Cpus> {
        if text.is_empty() {
            return Ok(None);
        }
        super::tuning::number_list(text).map(Some).ok_or_else(|| {
            error::invalid(format!("invalid list of CPUs {text:?} in execCPUAffinity"))
        })
    };
    affinity.map_or(Ok((None, None)), |affinity| {
        Ok((list(&affinity.initial)?, list(&affinity.last)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(json: &str) -> Process {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_last_value_of_a_variable_counts() {
        let entries: Vec<String> = ["A=1", "HOME=", "PATH=/x", "A=2", "B=a=b"]
            .iter()
            .map(|e| (*e).to_owned())
            .collect();
        assert_eq!(
            environment(&entries).unwrap(),
            ["HOME=", "PATH=/x", "A=2", "B=a=b"]
        );
        let plan = plan(
            &Process {
                env: entries,
                ..process(r#"{"args":["x"],"cwd":"/"}"#)
            },
            Surroundings::default(),
        )
        .unwrap();
        assert_eq!(plan.search.as_deref(), Some("/x"));
        assert!(plan.lacks_home);
    }

    #[test]
    fn wrong_processes_are_named() {
        for (json, text) in [
            (r#"{"args":[],"cwd":"/"}"#, "args must not be empty"),
            (
                r#"{"args":["a"],"cwd":"x"}"#,
                "cwd must be an absolute path",
            ),
            (
                r#"{"args":["a"],"cwd":"/","env":["NOVALUE"]}"#,
                "invalid environment variable: \"NOVALUE\"",
            ),
            (r#"{"args":["a\u0000"],"cwd":"/"}"#, "cannot hold a NUL"),
            (
                r#"{"args":["a"],"cwd":"/","rlimits":[{"type":"RLIMIT_X","hard":1,"soft":1}]}"#,
                "invalid rlimit type: RLIMIT_X",
            ),
            (
                r#"{"args":["a"],"cwd":"/","rlimits":[{"type":"RLIMIT_CPU","hard":1,"soft":2}]}"#,
                "is above its hard limit",
            ),
        ] {
            let error = plan(&process(json), Surroundings::default()).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
