//! `config.json`: the runtime configuration (runtime-spec 1.3, config.md and config-linux.md).
//!
//! Unknown fields are ignored, as the spec asks (config.md, Extensibility). Names that a newer kernel may add
//! (capabilities, system calls, mount options, file system types) stay strings; whoever applies them decides.
//! An absent list or map and an empty one mean the same everywhere here, so both read as empty and neither is written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub mod linux;
pub mod resources;

use linux::{IdMapping, Linux};

use crate::oci::null_default;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The whole document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// Version of the runtime-spec that the document follows.
    pub oci_version: String,
    /// What to run; a container without it can be created but not started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// The root filesystem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// UTS host name; empty leaves it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// UTS domain name; empty leaves it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domainname: String,
    /// Mounts, made in this order.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub mounts: Vec<Mount>,
    /// Programs to run at points of the life cycle.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub hooks: Hooks,
    /// Arbitrary metadata; also part of the state.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_default"
    )]
    pub annotations: BTreeMap<String, String>,
    /// What only Linux has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux: Option<Linux>,
}

/// The process to run (config.md, Process).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Process {
    /// Whether it gets a terminal.
    pub terminal: bool,
    /// Size of that terminal at its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<ConsoleSize>,
    /// User, groups and umask.
    #[serde(deserialize_with = "null_default")]
    pub user: User,
    /// Program and arguments; at least one.
    #[serde(deserialize_with = "null_default")]
    pub args: Vec<String>,
    /// Environment, `NAME=VALUE` each.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub env: Vec<String>,
    /// Working directory; absolute.
    pub cwd: PathBuf,
    /// Capability sets; absent means none in any set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Resource limits.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub rlimits: Vec<Rlimit>,
    /// Whether execve may grant privileges.
    pub no_new_privileges: bool,
    /// AppArmor profile; empty for none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub apparmor_profile: String,
    /// Adjustment of the out-of-memory score, -1000 to 1000; absent leaves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// SELinux label; empty for none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selinux_label: String,
    /// Class and level of the io priority.
    #[serde(rename = "ioPriority", skip_serializing_if = "Option::is_none")]
    pub io_priority: Option<IoPriority>,
    /// Scheduling policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    /// CPUs of a process that is added to a running container.
    #[serde(rename = "execCPUAffinity", skip_serializing_if = "Option::is_none")]
    pub exec_cpu_affinity: Option<CpuAffinity>,
}

/// Rows and columns of a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleSize {
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
}

/// User and groups of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    /// User id inside the container.
    pub uid: u32,
    /// Group id inside the container.
    pub gid: u32,
    /// File mode creation mask; absent means 0022.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Supplementary groups.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub additional_gids: Vec<u32>,
}

/// The five capability sets, by name (`CAP_CHOWN`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// Limits what an execve can gain.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub bounding: Vec<String>,
    /// In force.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub effective: Vec<String>,
    /// Kept over an execve of a file that inherits them.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub inheritable: Vec<String>,
    /// May be put in force.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub permitted: Vec<String>,
    /// Kept over an execve of any file without capabilities of its own.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub ambient: Vec<String>,
}

/// One resource limit; `kind` is its name in C (`RLIMIT_NOFILE`), `u64::MAX` is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Which limit.
    #[serde(rename = "type")]
    pub kind: String,
    /// The ceiling of the soft limit.
    pub hard: u64,
    /// The value that the kernel enforces.
    pub soft: u64,
}

/// Io priority (ioprio_set(2)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IoPriority {
    /// `IOPRIO_CLASS_RT`, `IOPRIO_CLASS_BE` or `IOPRIO_CLASS_IDLE`.
    pub class: String,
    /// 0 (highest) to 7.
    pub priority: i64,
}

/// Scheduling policy (sched_setattr(2)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scheduler {
    /// `SCHED_OTHER`, `SCHED_FIFO`, `SCHED_RR`, `SCHED_BATCH`, `SCHED_ISO`, `SCHED_IDLE` or `SCHED_DEADLINE`.
    pub policy: String,
    /// Nice value.
    pub nice: i32,
    /// Static priority of the real-time policies.
    pub priority: i32,
    /// `SCHED_FLAG_*` names.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub flags: Vec<String>,
    /// Nanoseconds.
    pub runtime: u64,
    /// Nanoseconds.
    pub deadline: u64,
    /// Nanoseconds.
    pub period: u64,
}

/// CPU lists (`0-3,7`) of a process that joins; empty leaves the affinity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuAffinity {
    /// Before it joins the cgroup.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub initial: String,
    /// After it has joined.
    #[serde(rename = "final", skip_serializing_if = "String::is_empty")]
    pub last: String,
}

/// Where the root filesystem is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Root {
    /// Absolute, or relative to the bundle.
    pub path: PathBuf,
    /// Whether it is mounted read-only.
    pub readonly: bool,
}

/// One mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mount {
    /// Where, inside the container.
    pub destination: PathBuf,
    /// File system type; empty with a bind option.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Device, or the path of a bind; relative ones are relative to the bundle.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Options as of mount(8).
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub options: Vec<String>,
    /// User ids of an id-mapped mount.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub uid_mappings: Vec<IdMapping>,
    /// Group ids of an id-mapped mount.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub gid_mappings: Vec<IdMapping>,
}

/// Programs at points of the life cycle (config.md, POSIX-platform Hooks).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hooks {
    /// As `create_runtime`, deprecated.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub prestart: Vec<Hook>,
    /// In the runtime's namespaces, before pivot_root.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub create_runtime: Vec<Hook>,
    /// In the container's namespaces, before pivot_root.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub create_container: Vec<Hook>,
    /// In the container, before the program.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub start_container: Vec<Hook>,
    /// In the runtime's namespaces, after the program was started.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub poststart: Vec<Hook>,
    /// In the runtime's namespaces, after the container was deleted.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub poststop: Vec<Hook>,
}

/// One program to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// Absolute path.
    pub path: PathBuf,
    /// Arguments, with the program's name first; empty means the path alone.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub args: Vec<String>,
    /// The whole environment; nothing is inherited.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub env: Vec<String>,
    /// Seconds until it is killed; absent means no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::linux::{Namespace, NamespaceKind};
    use super::*;

    #[test]
    fn go_nulls_and_unknown_fields_are_read() {
        let text = r#"{"ociVersion":"1.2.0","mounts":null,"hooks":null,"solaris":{},
            "process":{"user":{"uid":1,"gid":2,"additionalGids":null},"args":["sh"],"cwd":"/","rlimits":null},
            "linux":{"resources":{"devices":[{"allow":false,"access":"rwm"}],"unified":null},
                     "namespaces":[{"type":"pid"},{"type":"network","path":"/proc/1/ns/net"}]}}"#;
        let spec: Spec = serde_json::from_str(text).unwrap();
        let linux = spec.linux.unwrap();
        assert_eq!(linux.namespaces[1].kind, NamespaceKind::Network);
        assert_eq!(linux.resources.unwrap().devices[0].access, "rwm");
        assert_eq!(spec.process.unwrap().user.uid, 1);
    }

    #[test]
    fn what_is_written_is_valid_for_the_crate_of_the_spec() {
        let spec = Spec {
            oci_version: "1.2.0".into(),
            process: Some(Process {
                args: vec!["sh".into()],
                cwd: "/".into(),
                ..Process::default()
            }),
            root: Some(Root {
                path: "rootfs".into(),
                readonly: false,
            }),
            linux: Some(Linux {
                namespaces: vec![Namespace {
                    kind: NamespaceKind::Pid,
                    path: None,
                }],
                ..Linux::default()
            }),
            ..Spec::default()
        };
        let text = serde_json::to_string(&spec).unwrap();
        let parsed: oci_spec::runtime::Spec = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed.version(), "1.2.0");
    }
}
