//! A runtime configuration in words, entry by entry; pure.

use anyhow::Result;

use super::Entry;
use crate::container::Record;
use crate::container::security::{self, SeccompChoice};
use crate::docker::container::PortBinding;
use crate::network::firewall;
use crate::network::{ports, record};
use crate::oci::runtime::linux::{Linux, NamespaceKind};
use crate::oci::runtime::resources::{DeviceRule, Resources};
use crate::oci::runtime::{Mount, Process, Spec};

pub(super) const PROGRAM: &str = "program";
pub(super) const VARIABLES: &str = "variables";
pub(super) const NAMESPACES: &str = "namespaces";
pub(super) const MOUNTS: &str = "mounts";
pub(super) const CAPABILITIES: &str = "capabilities";
pub(super) const RESTRICTIONS: &str = "restrictions";
pub(super) const LIMITS: &str = "limits of the cgroup";
pub(super) const PROCESS_LIMITS: &str = "limits of processes";
pub(super) const DEVICES: &str = "devices";
pub(super) const MASKED: &str = "masked paths";
pub(super) const READ_ONLY: &str = "read-only paths";
const SYSCTLS: &str = "sysctls";
pub(super) const NETWORK: &str = "network";

/// The sections in the order in which they are shown.
pub(super) const ORDER: [&str; 13] = [
    PROGRAM,
    VARIABLES,
    NAMESPACES,
    MOUNTS,
    CAPABILITIES,
    RESTRICTIONS,
    LIMITS,
    PROCESS_LIMITS,
    DEVICES,
    MASKED,
    READ_ONLY,
    SYSCTLS,
    NETWORK,
];

pub(super) const GRANTED: &str = "granted";
pub(super) const OWN: &str = "own";
pub(super) const HOSTS: &str = "the host's";
pub(super) const NONE: &str = "none";
/// What cgroup v1 calls a whole share.
pub(super) const SHARES: u64 = 1024;

pub(super) fn entry(section: &'static str, name: &str, value: impl Into<String>) -> Entry {
    Entry {
        section,
        name: name.to_owned(),
        value: value.into(),
        planned: None,
    }
}

/// Returns the entries of a configuration that was derived from a record.
pub(super) fn entries(record: &Record, spec: &Spec) -> Result<Vec<Entry>> {
    let process = spec.process.clone().unwrap_or_default();
    let linux = spec.linux.clone().unwrap_or_default();
    let mut entries = program(record, spec, &process);
    entries.extend(process.env.iter().map(|variable| {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        entry(VARIABLES, name, value)
    }));
    entries.extend(namespaces(&linux));
    let root = if spec.root.as_ref().is_some_and(|root| root.readonly) {
        "overlay, ro"
    } else {
        "overlay"
    };
    entries.push(entry(MOUNTS, "/", root));
    entries.extend(spec.mounts.iter().map(|mount| {
        let place = mount.destination.to_string_lossy();
        entry(MOUNTS, &place, Shown::of(mount).text())
    }));
    let capabilities = process.capabilities.clone().unwrap_or_default();
    entries.extend(capabilities.bounding.iter().map(|name| capability(name)));
    entries.extend(restrictions(record, &process, &linux)?);
    entries.extend(limits(&linux.resources.clone().unwrap_or_default()));
    entries.extend(process.rlimits.iter().map(|rlimit| {
        let name = rlimit.kind.trim_start_matches("RLIMIT_").to_lowercase();
        entry(PROCESS_LIMITS, &name, two_limits(rlimit.soft, rlimit.hard))
    }));
    entries.extend(devices(&linux));
    let path = |path: &std::path::PathBuf| path.to_string_lossy().into_owned();
    let masked = linux.masked_paths.iter().map(path);
    entries.extend(masked.map(|path| entry(MASKED, &path, "masked")));
    let read_only = linux.readonly_paths.iter().map(path);
    entries.extend(read_only.map(|path| entry(READ_ONLY, &path, "read-only")));
    let sysctls = linux.sysctl.iter();
    entries.extend(sysctls.map(|(name, value)| entry(SYSCTLS, name, value)));
    entries.extend(network(record)?);
    Ok(entries)
}

pub(super) fn capability(name: &str) -> Entry {
    entry(CAPABILITIES, name.trim_start_matches("CAP_"), GRANTED)
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

fn program(record: &Record, spec: &Spec, process: &Process) -> Vec<Entry> {
    let user = &process.user;
    let init = record.host_config.init == Some(true);
    let hostname = match spec.hostname.as_str() {
        "" => HOSTS,
        hostname => hostname,
    };
    vec![
        entry(PROGRAM, "command", process.args.join(" ")),
        entry(
            PROGRAM,
            "user",
            user_text(user.uid, user.gid, &user.additional_gids),
        ),
        entry(PROGRAM, "directory", process.cwd.to_string_lossy()),
        entry(PROGRAM, "terminal", yes(process.terminal)),
        entry(PROGRAM, "init", yes(init)),
        entry(PROGRAM, "host name", hostname),
        entry(
            PROGRAM,
            "out-of-memory score",
            process.oom_score_adj.unwrap_or(0).to_string(),
        ),
    ]
}

pub(super) fn user_text(uid: u32, gid: u32, groups: &[u32]) -> String {
    let mut groups: Vec<u32> = groups
        .iter()
        .copied()
        .filter(|group| *group != gid)
        .collect();
    groups.sort_unstable();
    let more: Vec<String> = groups.iter().map(ToString::to_string).collect();
    if more.is_empty() {
        return format!("{uid}:{gid}");
    }
    format!("{uid}:{gid}, groups {}", more.join(" "))
}

fn namespaces(linux: &Linux) -> Vec<Entry> {
    let kinds = [
        ("mount", NamespaceKind::Mount),
        ("network", NamespaceKind::Network),
        ("host name", NamespaceKind::Uts),
        ("processes", NamespaceKind::Pid),
        ("ipc", NamespaceKind::Ipc),
        ("cgroup", NamespaceKind::Cgroup),
        ("user", NamespaceKind::User),
    ];
    let one = |(name, kind): &(&str, NamespaceKind)| {
        let found = linux.namespaces.iter().find(|other| other.kind == *kind);
        let value = match found.map(|namespace| &namespace.path) {
            None => HOSTS.to_owned(),
            Some(None) => OWN.to_owned(),
            Some(Some(path)) => format!("that of {}", path.display()),
        };
        entry(NAMESPACES, name, value)
    };
    kinds.iter().map(one).collect()
}

/// What of a mount is compared: neither the order of options nor what the kernel adds to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) kind: String,
    pub(super) source: String,
    pub(super) flags: Vec<&'static str>,
    pub(super) size_kib: Option<u64>,
    pub(super) mode: String,
}

const FLAGS: [&str; 4] = ["ro", "nosuid", "nodev", "noexec"];

impl Shown {
    pub(super) fn of(mount: &Mount) -> Shown {
        let mut shown = Shown::with(&mount.kind, &mount.options);
        let is_bind = |option: &String| matches!(option.as_str(), "bind" | "rbind");
        if mount.options.iter().any(is_bind) {
            "bind".clone_into(&mut shown.kind);
            shown.source.clone_from(&mount.source);
            // The rest comes with the file system that it is from.
            shown.flags.retain(|flag| *flag == "ro");
        }
        if mount
            .options
            .iter()
            .any(|option| option.starts_with("idmap") || option == "ridmap")
        {
            "ids mapped".clone_into(&mut shown.mode);
        }
        shown
    }

    /// Reads options as mount(8) and /proc have them.
    pub(super) fn with(kind: &str, options: &[String]) -> Shown {
        let has = |flag: &str| {
            let mut options = options.iter();
            options.any(|option| option == flag || flag == "ro" && option == "rro")
        };
        let mut shown = Shown {
            kind: kind.to_owned(),
            flags: FLAGS.into_iter().filter(|flag| has(flag)).collect(),
            ..Shown::default()
        };
        if kind == "tmpfs" {
            let value = |key: &str| {
                let mut options = options.iter().rev();
                options.find_map(|option| option.strip_prefix(key)?.strip_prefix('='))
            };
            shown.size_kib = value("size").and_then(kib);
            let mode = value("mode").unwrap_or("1777").trim_start_matches('0');
            if mode != "1777" {
                shown.mode = format!("mode {mode}");
            }
        }
        shown
    }

    pub(super) fn text(&self) -> String {
        let mut words = vec![match self.source.as_str() {
            "" => self.kind.clone(),
            source => format!("{} of {source}", self.kind),
        }];
        words.extend(self.size_kib.map(|size| format!("{size} KiB")));
        words.extend(Some(self.mode.clone()).filter(|mode| !mode.is_empty()));
        words.extend(self.flags.iter().map(|flag| (*flag).to_owned()));
        words.join(", ")
    }
}

/// `65536k`, `64m` or bytes → KiB; a share of the memory is nothing that can be compared.
fn kib(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => Some(number / 1024),
        "k" => Some(number),
        "m" => Some(number << 10),
        "g" => Some(number << 20),
        _ => None,
    }
}

fn restrictions(record: &Record, process: &Process, linux: &Linux) -> Result<Vec<Entry>> {
    let chosen = security::parse_options(&record.host_config)?.seccomp;
    let seccomp = match (&linux.seccomp, chosen) {
        (None, _) => NONE.to_owned(),
        (Some(_), SeccompChoice::Default | SeccompChoice::Unconfined) => {
            "the default profile for these capabilities".to_owned()
        }
        (Some(profile), SeccompChoice::Profile(_)) => {
            let profile = profile.read()?;
            let rules = profile.syscalls.len();
            format!(
                "a profile of {rules} rules, {} otherwise",
                profile.default_action
            )
        }
    };
    let apparmor = match process.apparmor_profile.as_str() {
        "" => NONE,
        profile => profile,
    };
    Ok(vec![
        entry(RESTRICTIONS, "system calls (seccomp)", seccomp),
        entry(
            RESTRICTIONS,
            "no new privileges",
            yes(process.no_new_privileges),
        ),
        entry(RESTRICTIONS, "AppArmor profile", apparmor),
    ])
}

fn limits(resources: &Resources) -> Vec<Entry> {
    let memory = resources.memory.clone().unwrap_or_default();
    let cpu = resources.cpu.clone().unwrap_or_default();
    let pids = resources.pids.as_ref().and_then(|pids| pids.limit);
    let listed = |list: &str| if list.is_empty() { "all" } else { list }.to_owned();
    let weight = resources.block_io.as_ref().and_then(|io| io.weight);
    let mut entries = vec![
        entry(LIMITS, "memory", bytes(memory.limit)),
        entry(LIMITS, "memory and swap", bytes(memory.swap)),
        entry(LIMITS, "memory reservation", bytes(memory.reservation)),
        entry(LIMITS, "processor time", quota(cpu.quota, cpu.period)),
        entry(
            LIMITS,
            "processor shares",
            cpu.shares.unwrap_or(SHARES).to_string(),
        ),
        entry(LIMITS, "processors", listed(&cpu.cpus)),
        entry(LIMITS, "memory nodes", listed(&cpu.mems)),
        entry(LIMITS, "processes", count(pids)),
    ];
    if let Some(weight) = weight {
        entries.push(entry(LIMITS, "weight of block devices", weight.to_string()));
    }
    entries
}

pub(super) fn bytes(limit: Option<i64>) -> String {
    match limit {
        Some(limit) if limit > 0 => format!("{limit} bytes"),
        _ => NONE.to_owned(),
    }
}

pub(super) fn count(limit: Option<i64>) -> String {
    match limit {
        Some(limit) if limit > 0 => limit.to_string(),
        _ => NONE.to_owned(),
    }
}

pub(super) fn quota(quota: Option<i64>, period: Option<u64>) -> String {
    match quota {
        Some(quota) if quota > 0 => {
            let period = period.unwrap_or(100_000);
            format!("{quota} of each {period} microseconds")
        }
        _ => NONE.to_owned(),
    }
}

pub(super) fn two_limits(soft: u64, hard: u64) -> String {
    let one = |limit: u64| match limit {
        u64::MAX => "unlimited".to_owned(),
        limit => limit.to_string(),
    };
    format!("{}, up to {}", one(soft), one(hard))
}

fn devices(linux: &Linux) -> Vec<Entry> {
    let resources = linux.resources.clone().unwrap_or_default();
    let rule = |rule: &DeviceRule| {
        let number =
            |number: Option<i64>| number.map_or("*".to_owned(), |number| number.to_string());
        let kind = if rule.kind.is_empty() {
            "a"
        } else {
            &rule.kind
        };
        let name = format!("{kind} {}:{}", number(rule.major), number(rule.minor));
        let access = if rule.access.is_empty() {
            "rwm"
        } else {
            &rule.access
        };
        let verb = if rule.allow { "allowed" } else { "denied" };
        entry(DEVICES, &name, format!("{verb} {access}"))
    };
    let nodes = linux.devices.iter().map(|device| {
        let place = device.path.to_string_lossy();
        entry(DEVICES, &place, "a node")
    });
    nodes.chain(resources.devices.iter().map(rule)).collect()
}

fn network(record: &Record) -> Result<Vec<Entry>> {
    let host = &record.host_config;
    let mut entries = vec![entry(NETWORK, "mode", host.network_mode.clone())];
    let endpoints = record.networking_config.endpoints_config.iter();
    for (name, settings) in endpoints.filter(|(name, _)| *name != record::NONE) {
        let asked = settings
            .ipam_config
            .as_ref()
            .map(|ipam| ipam.ipv4_address.as_str());
        let value = match asked.filter(|address| !address.is_empty()) {
            Some(address) => format!("{address}, as asked"),
            None => "an address when it starts".to_owned(),
        };
        entries.push(entry(NETWORK, &format!("place in {name}"), value));
    }
    let exposed = record.config.exposed_ports.as_ref();
    let wanted = ports::plan(exposed, &host.port_bindings, host.publish_all_ports)?;
    for port in &wanted {
        let name = format!("port {}/{}", port.port, port.protocol.name());
        let places: Vec<String> = port.bindings.iter().map(place).collect();
        entries.push(entry(NETWORK, &name, places.join(", ")));
    }
    if !wanted.is_empty() && host.network_mode != "host" {
        let table = firewall::publication_name(&record.id);
        let rules = format!("table inet {table}: destination NAT of its ports");
        entries.push(entry(NETWORK, "firewall", rules));
    }
    Ok(entries)
}

fn place(binding: &PortBinding) -> String {
    let address = match binding.host_ip.as_str() {
        "" => "every address",
        address => address,
    };
    let port = match binding.host_port.as_str() {
        "" => "a free port",
        port => port,
    };
    format!("{address}, {port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: &str, source: &str, options: &[&str], expected: &str) {
        let mount = Mount {
            kind: kind.to_owned(),
            source: source.to_owned(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            ..Mount::default()
        };
        assert_eq!(Shown::of(&mount).text(), expected);
    }

    #[test]
    fn mounts_are_told_by_what_matters() {
        check(
            "proc",
            "proc",
            &["nosuid", "noexec", "nodev"],
            "proc, nosuid, nodev, noexec",
        );
        check(
            "tmpfs",
            "shm",
            &["mode=1777", "size=67108864"],
            "tmpfs, 65536 KiB",
        );
        check(
            "tmpfs",
            "tmpfs",
            &["mode=0755", "size=64m", "ro"],
            "tmpfs, 65536 KiB, mode 755, ro",
        );
        check(
            "bind",
            "/srv",
            &["rbind", "rprivate", "rro", "nodev"],
            "bind of /srv, ro",
        );
    }

    #[test]
    fn limits_have_units() {
        assert_eq!(bytes(Some(-1)), "none");
        assert_eq!(bytes(Some(5)), "5 bytes");
        assert_eq!(
            quota(Some(50_000), Some(100_000)),
            "50000 of each 100000 microseconds"
        );
        assert_eq!(two_limits(1024, u64::MAX), "1024, up to unlimited");
        assert_eq!(user_text(1, 2, &[5, 2, 3]), "1:2, groups 3 5");
    }
}
