//! What a process in a container may do: capabilities, `--security-opt`, masked and read-only paths.
//!
//! Pure. The lists are docker's defaults.

use anyhow::Result;

use crate::docker::container::HostConfig;
use crate::docker::truth;
use crate::error;

/// Capabilities of a container that asks for nothing.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Paths that read as empty.
///
/// Besides these, `/sys/devices/system/cpu/cpuN/thermal_throttle` of every CPU that has it.
pub const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Paths that cannot be written.
pub const READONLY_PATHS: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Writes a capability as documents show it: `net_admin` becomes `CAP_NET_ADMIN`; `ALL` stays.
///
/// The error is of kind `Invalid`; `option` is `CapAdd` or `CapDrop`.
pub fn normalize_capability(option: &str, name: &str) -> Result<String> {
    let upper = name.to_ascii_uppercase();
    if upper == "ALL" {
        return Ok(upper);
    }
    let full = if upper.starts_with("CAP_") {
        upper
    } else {
        format!("CAP_{upper}")
    };
    if full.parse::<caps::Capability>().is_err() {
        return Err(error::invalid(format!(
            "invalid {option}: unknown capability: \"{full}\""
        )));
    }
    Ok(full)
}

/// Returns the capabilities of a container, out of those that `available` can give.
///
/// `add` and `drop` are normalised. A privileged container has all of them, whatever it drops. What is both dropped and added
/// is there, as with docker, unless all are added.
pub fn capabilities(host: &HostConfig, available: &[String]) -> Vec<String> {
    if host.privileged {
        return available.to_vec();
    }
    let add = host.cap_add.as_deref().unwrap_or_default();
    let drop = host.cap_drop.as_deref().unwrap_or_default();
    let has = |list: &[String], name: &str| list.iter().any(|entry| entry == name);
    let base: Vec<String> = if has(add, "ALL") {
        available.to_vec()
    } else if has(drop, "ALL") {
        Vec::new()
    } else {
        DEFAULT_CAPABILITIES
            .iter()
            .map(|name| (*name).to_owned())
            .collect()
    };
    let mut result: Vec<String> = base.into_iter().filter(|name| !has(drop, name)).collect();
    let more: &[String] = if has(add, "ALL") { &[] } else { add };
    for name in more {
        if !has(&result, name) {
            result.push(name.clone());
        }
    }
    result
}

/// What `--security-opt` asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether execve may not grant privileges.
    pub no_new_privileges: bool,
    /// The filter of system calls.
    pub seccomp: SeccompChoice,
    /// An AppArmor profile; none means the default where the host has AppArmor.
    pub apparmor: Option<String>,
    /// SELinux label options.
    pub labels: Vec<String>,
    /// Whether the mount of the cgroups can be written to; by default that of a privileged container can.
    pub writable_cgroups: bool,
}

/// A filter of system calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SeccompChoice {
    /// The default profile.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile in docker's format.
    Profile(String),
}

/// Reads `--security-opt`; a privileged container has no filter unless it asks for one. Errors are of kind `Invalid`.
pub fn parse_options(host: &HostConfig) -> Result<Options> {
    let mut options = Options {
        writable_cgroups: host.privileged,
        ..Options::default()
    };
    if host.privileged {
        options.seccomp = SeccompChoice::Unconfined;
    }
    for option in host.security_opt.iter().flatten() {
        let wrong = |place| error::invalid(format!("invalid --security-opt {place}: \"{option}\""));
        let refuse = || wrong(2);
        // `:` separates as well, for texts of long ago.
        let (key, value) = match option.split_once('=').or_else(|| option.split_once(':')) {
            Some((key, value)) => (key, value),
            None if option == "no-new-privileges" => (option.as_str(), "true"),
            None => return Err(wrong(1)),
        };
        match key {
            "no-new-privileges" => {
                options.no_new_privileges = truth(value).ok_or_else(refuse)?;
            }
            "writable-cgroups" => options.writable_cgroups = truth(value).ok_or_else(refuse)?,
            "seccomp" if value == "unconfined" => options.seccomp = SeccompChoice::Unconfined,
            "seccomp" if value == "builtin" => options.seccomp = SeccompChoice::Default,
            "seccomp" => options.seccomp = SeccompChoice::Profile(value.to_owned()),
            "apparmor" => options.apparmor = Some(value.to_owned()),
            "label" => options.labels.push(value.to_owned()),
            _ => return Err(refuse()),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn available() -> Vec<String> {
        ["CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"]
            .map(str::to_owned)
            .to_vec()
    }

    fn check(add: &[&str], drop: &[&str], expected: &[&str]) {
        let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let host = HostConfig {
            cap_add: list(add),
            cap_drop: list(drop),
            ..HostConfig::default()
        };
        assert_eq!(capabilities(&host, &available()), expected);
    }

    #[test]
    fn capabilities_are_added_and_dropped() {
        check(&[], &[], &DEFAULT_CAPABILITIES);
        check(&["CAP_CHOWN"], &["ALL"], &["CAP_CHOWN"]);
        check(&["CAP_CHOWN"], &["ALL", "CAP_CHOWN"], &["CAP_CHOWN"]);
        let mut last = DEFAULT_CAPABILITIES.to_vec();
        last.retain(|name| *name != "CAP_CHOWN");
        last.push("CAP_CHOWN");
        check(&["CAP_CHOWN"], &["CAP_CHOWN"], &last);
        check(
            &["ALL", "CAP_KILL"],
            &["CAP_KILL"],
            &["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"],
        );
        check(
            &["ALL"],
            &["CAP_KILL"],
            &["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"],
        );
        check(&[], &["ALL"], &[]);
        let mut default: Vec<&str> = DEFAULT_CAPABILITIES
            .into_iter()
            .filter(|name| *name != "CAP_MKNOD")
            .collect();
        default.push("CAP_NET_ADMIN");
        check(&["CAP_NET_ADMIN"], &["CAP_MKNOD"], &default);
    }

    #[test]
    fn names_of_capabilities_are_normalised() {
        assert_eq!(
            normalize_capability("CapAdd", "net_admin").unwrap(),
            "CAP_NET_ADMIN"
        );
        assert_eq!(normalize_capability("CapAdd", "all").unwrap(), "ALL");
        assert_eq!(
            normalize_capability("CapDrop", "wings")
                .unwrap_err()
                .to_string(),
            "invalid CapDrop: unknown capability: \"CAP_WINGS\""
        );
    }

    #[test]
    fn security_options_are_read() {
        let parse = |options: &[&str], privileged| {
            let security_opt = Some(options.iter().map(|option| (*option).to_owned()).collect());
            parse_options(&HostConfig {
                privileged,
                security_opt,
                ..HostConfig::default()
            })
        };
        assert!(
            parse(&["no-new-privileges"], false)
                .unwrap()
                .no_new_privileges
        );
        assert!(
            !parse(&["no-new-privileges=false"], false)
                .unwrap()
                .no_new_privileges
        );
        let writable =
            |options: &[&str], privileged| parse(options, privileged).unwrap().writable_cgroups;
        assert!(!writable(&[], false) && writable(&[], true));
        assert!(writable(&["writable-cgroups=TRUE"], false));
        assert!(!writable(&["writable-cgroups:0"], true));
        let refused = parse(&["writable-cgroups=maybe"], false).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "invalid --security-opt 2: \"writable-cgroups=maybe\""
        );
        assert!(
            parse(&["no-new-privileges:true"], false)
                .unwrap()
                .no_new_privileges
        );
        assert_eq!(
            parse(&["seccomp=unconfined"], false).unwrap().seccomp,
            SeccompChoice::Unconfined
        );
        assert_eq!(
            parse(&["seccomp={}"], false).unwrap().seccomp,
            SeccompChoice::Profile("{}".into())
        );
        assert_eq!(parse(&[], true).unwrap().seccomp, SeccompChoice::Unconfined);
        assert_eq!(
            parse(&["wat"], false).unwrap_err().to_string(),
            "invalid --security-opt 1: \"wat\""
        );
    }
}
