//! From a container's record and what was found out about host and image to its runtime configuration.
//!
//! Pure: everything that needs looking up is in [`Facts`]. The result is what `config.json` of a bundle holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use self::mounts::words;
use super::Record;
use super::merge::{command_line, replace_env};
use super::security::{self, Options};
use super::user::User;
use crate::oci::runtime::linux::{Device, Linux, Namespace, NamespaceKind, Profile, Seccomp};
use crate::oci::runtime::{Capabilities, ConsoleSize, Hooks, Process, Rlimit, Root, Spec};

pub mod mounts;
pub mod resources;

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Nothing of the caller's limits is inherited, so these are set; what docker's packages give their daemon.
const DEFAULT_NOFILE: (u64, u64) = (1024, 524_288);

/// A namespace of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// One of its own.
    Private,
    /// The host's.
    Host,
    /// That of another process, by the file of the namespace.
    Of(PathBuf),
}

/// A device node of the host that the container gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostDevice {
    /// As the container sees it.
    pub node: Device,
    /// Letters of `rwm`.
    pub access: String,
}

/// What was found out about host and image.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Who the program runs as.
    pub user: User,
    /// The host name inside; empty if the host's is shared.
    pub hostname: String,
    /// Network, ipc, pid and uts namespaces.
    pub network: Sharing,
    /// Of System V ipc and /dev/shm.
    pub ipc: Sharing,
    /// Of process ids.
    pub pid: Sharing,
    /// Of host and domain name.
    pub uts: Sharing,
    /// Whether the container has a cgroup namespace of its own.
    pub private_cgroup: bool,
    /// Path of the cgroup below the root of every hierarchy.
    pub cgroup: String,
    /// Whether the host has only cgroup2.
    pub cgroup2_only: bool,
    /// Whether we are in a user namespace, where not all groups exist.
    pub in_user_namespace: bool,
    /// Whether of the mounts in a bind only the topmost can be made read-only (before kernel 5.12).
    pub shallow_read_only: bool,
    /// /dev/shm to share, a path on the host; none makes a new one unless the host's ipc is shared.
    pub shm: Option<PathBuf>,
    /// Files on the host that become /etc/resolv.conf, /etc/hostname and /etc/hosts.
    pub files: Vec<(PathBuf, &'static str)>,
    /// Devices of `--device`, or all of the host for a privileged container.
    pub devices: Vec<HostDevice>,
    /// Major and minor numbers of the block devices that limits name, by path.
    pub block_devices: resources::Numbers,
    /// Capabilities that this process can give.
    pub capabilities: Vec<String>,
    /// The filter of system calls, already chosen and read.
    pub seccomp: Option<Seccomp>,
    /// Read-only paths of this host's CPUs that are masked besides the fixed ones.
    pub masked_cpu_paths: Vec<String>,
    /// AppArmor profile; empty for none.
    pub apparmor: String,
    /// Variables of links to other containers.
    pub link_env: Vec<String>,
    /// Where volumes of a mount's sub-path are, by target, when that differs from the mount's source.
    pub sources: BTreeMap<String, PathBuf>,
    /// User and group of the sources of mounts whose ids are mapped by them, by target.
    pub owners: BTreeMap<String, (u32, u32)>,
}

/// Derives the runtime configuration; `root` is where the root filesystem is for those who read the document.
///
/// Errors are of kind `Invalid`.
pub fn derive(record: &Record, root: &Path, facts: &Facts) -> Result<Spec> {
    let host = &record.host_config;
    let options = security::parse_options(host)?;
    Ok(Spec {
        oci_version: "1.2.0".to_owned(),
        process: Some(process(record, facts, &options)),
        root: Some(Root {
            path: root.to_owned(),
            readonly: host.readonly_rootfs,
        }),
        hostname: if facts.uts == Sharing::Private {
            facts.hostname.clone()
        } else {
            String::new()
        },
        domainname: record.config.domainname.clone(),
        mounts: mounts::mounts(record, facts, &options)?,
        hooks: Hooks::default(),
        annotations: host.annotations.clone(),
        linux: Some(linux(record, facts)?),
    })
}

fn process(record: &Record, facts: &Facts, options: &Options) -> Process {
    let (config, host) = (&record.config, &record.host_config);
    let [height, width] = host.console_size;
    Process {
        terminal: config.tty,
        console_size: (config.tty && height > 0 && width > 0)
            .then_some(ConsoleSize { height, width }),
        user: crate::oci::runtime::User {
            uid: facts.user.uid,
            gid: facts.user.gid,
            umask: None,
            additional_gids: facts.user.groups.clone(),
        },
        args: command_line(config).cloned().collect(),
        env: environment(record, facts),
        cwd: PathBuf::from(if config.working_dir.is_empty() {
            "/"
        } else {
            &config.working_dir
        }),
        capabilities: Some(capability_sets(
            security::capabilities(host, &facts.capabilities),
            facts.user.uid,
        )),
        rlimits: rlimits(record),
        no_new_privileges: options.no_new_privileges,
        apparmor_profile: facts.apparmor.clone(),
        oom_score_adj: Some(host.oom_score_adj),
        ..Process::default()
    }
}

/// Returns the sets of a process that has `names`: another user than root starts without any in force (CVE-2018-10856),
/// and nothing is ever inheritable (CVE-2022-24769).
pub fn capability_sets(names: Vec<String>, uid: u32) -> Capabilities {
    let in_force = if uid == 0 { names.clone() } else { Vec::new() };
    Capabilities {
        effective: in_force.clone(),
        permitted: in_force,
        bounding: names,
        inheritable: Vec::new(),
        ambient: Vec::new(),
    }
}

fn environment(record: &Record, facts: &Facts) -> Vec<String> {
    let mut env = vec![DEFAULT_PATH.to_owned()];
    env.push(format!("HOSTNAME={}", facts.hostname));
    if record.config.tty {
        env.push("TERM=xterm".to_owned());
    }
    env.extend(facts.link_env.iter().cloned());
    replace_env(&mut env, record.config.env.as_deref().unwrap_or_default());
    // HOME is the runtime's, which sees the user's entry where the program will see it.
    env
}

fn rlimits(record: &Record) -> Vec<Rlimit> {
    let limit = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    let mut rlimits: Vec<Rlimit> = record
        .host_config
        .resources
        .ulimits
        .iter()
        .map(|ulimit| Rlimit {
            kind: format!("RLIMIT_{}", ulimit.name.to_ascii_uppercase()),
            hard: limit(ulimit.hard),
            soft: limit(ulimit.soft),
        })
        .collect();
    if !rlimits.iter().any(|rlimit| rlimit.kind == "RLIMIT_NOFILE") {
        let (soft, hard) = DEFAULT_NOFILE;
        rlimits.push(Rlimit {
            kind: "RLIMIT_NOFILE".to_owned(),
            hard,
            soft,
        });
    }
    rlimits
}

fn linux(record: &Record, facts: &Facts) -> Result<Linux> {
    let host = &record.host_config;
    let paths = |asked: &Option<Vec<String>>, defaults: Vec<String>| -> Vec<PathBuf> {
        let paths = match asked {
            Some(paths) => paths.clone(),
            None if host.privileged => Vec::new(),
            None => defaults,
        };
        paths.into_iter().map(PathBuf::from).collect()
    };
    let masked = words(&security::MASKED_PATHS)
        .into_iter()
        .chain(facts.masked_cpu_paths.clone())
        .collect();
    let propagation = record
        .mounts
        .iter()
        .find_map(|point| match point.propagation.as_str() {
            "shared" | "rshared" => Some("shared"),
            "slave" | "rslave" => Some("rslave"),
            _ => None,
        });
    Ok(Linux {
        namespaces: namespaces(facts),
        sysctl: sysctls(record, facts),
        resources: Some(resources::resources(record, facts)?),
        cgroups_path: facts.cgroup.clone(),
        devices: facts
            .devices
            .iter()
            .map(|device| device.node.clone())
            .collect(),
        seccomp: facts.seccomp.as_ref().map(Profile::new).transpose()?,
        rootfs_propagation: propagation.unwrap_or_default().to_owned(),
        masked_paths: paths(&host.masked_paths, masked),
        readonly_paths: paths(&host.readonly_paths, words(&security::READONLY_PATHS)),
        ..Linux::default()
    })
}

fn namespaces(facts: &Facts) -> Vec<Namespace> {
    let mut namespaces = vec![Namespace {
        kind: NamespaceKind::Mount,
        path: None,
    }];
    for (kind, sharing) in [
        (NamespaceKind::Network, &facts.network),
        (NamespaceKind::Uts, &facts.uts),
        (NamespaceKind::Pid, &facts.pid),
        (NamespaceKind::Ipc, &facts.ipc),
    ] {
        match sharing {
            Sharing::Private => namespaces.push(Namespace { kind, path: None }),
            Sharing::Host => {}
            Sharing::Of(path) => namespaces.push(Namespace {
                kind,
                path: Some(path.clone()),
            }),
        }
    }
    if facts.private_cgroup {
        namespaces.push(Namespace {
            kind: NamespaceKind::Cgroup,
            path: None,
        });
    }
    namespaces
}

fn sysctls(record: &Record, facts: &Facts) -> BTreeMap<String, String> {
    let mut sysctls = BTreeMap::new();
    if facts.network == Sharing::Private && !record.host_config.privileged {
        // Programs of other users than root may serve low ports and send pings, since the namespace is their own.
        sysctls.insert(
            "net.ipv4.ip_unprivileged_port_start".to_owned(),
            "0".to_owned(),
        );
        // In a user namespace only of groups that it has.
        if !facts.in_user_namespace {
            sysctls.insert(
                "net.ipv4.ping_group_range".to_owned(),
                "0 2147483647".to_owned(),
            );
        }
    }
    sysctls.extend(record.host_config.sysctls.clone());
    sysctls
}

#[cfg(test)]
mod tests {
    use super::mounts::tmpfs;
    use super::resources::parse_device_rule;
    use super::*;
    use crate::docker::container::Ulimit;
    use crate::docker::container::{Config, HostConfig, NetworkingConfig};
    use crate::docker::inspect::MountPoint;
    use crate::settings::CgroupDriver;

    fn facts() -> Facts {
        Facts {
            user: User {
                uid: 0,
                gid: 0,
                groups: vec![0],
                home: "/root".into(),
            },
            hostname: "box".into(),
            network: Sharing::Private,
            ipc: Sharing::Private,
            pid: Sharing::Private,
            uts: Sharing::Private,
            private_cgroup: true,
            cgroup: "/aril/x".into(),
            cgroup2_only: false,
            in_user_namespace: false,
            shallow_read_only: false,
            shm: None,
            files: vec![("/state/hosts".into(), "/etc/hosts")],
            devices: Vec::new(),
            block_devices: BTreeMap::new(),
            capabilities: vec!["CAP_CHOWN".into(), "CAP_SYS_ADMIN".into()],
            seccomp: None,
            masked_cpu_paths: Vec::new(),
            apparmor: String::new(),
            link_env: Vec::new(),
            sources: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }

    fn record(config: Config, host_config: HostConfig) -> Record {
        Record {
            id: "x".into(),
            name: "x".into(),
            created: jiff::Timestamp::UNIX_EPOCH,
            image: crate::oci::digest::sha256(b""),
            layers: Vec::new(),
            platform: "linux".into(),
            config,
            host_config,
            networking_config: NetworkingConfig::default(),
            mounts: Vec::new(),
            cgroup_driver: CgroupDriver::default(),
        }
    }

    fn derived(config: Config, host: HostConfig) -> Spec {
        derive(&record(config, host), Path::new("/root"), &facts()).unwrap()
    }

    fn list(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_environment_is_dockers() {
        let env = |config: Config| derived(config, HostConfig::default()).process.unwrap().env;
        assert_eq!(env(Config::default()), [DEFAULT_PATH, "HOSTNAME=box"]);
        let config = Config {
            env: Some(list(&["PATH=/x", "A=1", "HOME=/h", "HOSTNAME"])),
            tty: true,
            ..Config::default()
        };
        assert_eq!(env(config), ["PATH=/x", "TERM=xterm", "A=1", "HOME=/h"]);
    }

    #[test]
    fn another_user_has_no_capabilities_in_force() {
        let mut facts = facts();
        facts.user.uid = 1000;
        let spec = derive(
            &record(Config::default(), HostConfig::default()),
            Path::new("/"),
            &facts,
        )
        .unwrap();
        let sets = spec.process.unwrap().capabilities.unwrap();
        assert!(
            sets.effective.is_empty() && sets.permitted.is_empty() && sets.inheritable.is_empty()
        );
        assert_eq!(sets.bounding.len(), 14);
    }

    #[test]
    fn a_privileged_container_has_no_masks_and_all_devices() {
        let spec = derived(
            Config::default(),
            HostConfig {
                privileged: true,
                ..HostConfig::default()
            },
        );
        let linux = spec.linux.unwrap();
        assert!(linux.masked_paths.is_empty() && linux.readonly_paths.is_empty());
        assert_eq!(linux.resources.unwrap().devices.len(), 1);
        assert!(
            spec.mounts
                .iter()
                .any(|m| m.destination == Path::new("/sys") && m.options.contains(&"rw".into()))
        );
    }

    #[test]
    fn limits_become_what_the_spec_calls_them() {
        let mut host = HostConfig::default();
        host.resources.memory = 64 << 20;
        host.resources.memory_swap = 128 << 20;
        host.resources.nano_cpus = 1_500_000_000;
        host.resources.pids_limit = Some(20);
        host.resources.ulimits = vec![Ulimit {
            name: "nofile".into(),
            hard: 1024,
            soft: -1,
        }];
        let spec = derived(Config::default(), host);
        let resources = spec.linux.unwrap().resources.unwrap();
        assert_eq!(resources.memory.unwrap().swap, Some(128 << 20));
        let cpu = resources.cpu.unwrap();
        assert_eq!((cpu.quota, cpu.period), (Some(150_000), Some(100_000)));
        assert_eq!(resources.pids.unwrap().limit, Some(20));
        let rlimits = spec.process.unwrap().rlimits;
        assert_eq!((rlimits.len(), rlimits[0].soft), (1, u64::MAX));
    }

    #[test]
    fn mounts_of_the_user_come_after_and_deeper_ones_last() {
        let mut record = record(
            Config::default(),
            HostConfig {
                tmpfs: BTreeMap::from([("/a/b".into(), "size=1m,exec,mode=700".into())]),
                ..HostConfig::default()
            },
        );
        for (destination, rw) in [("/a/b/c", true), ("/dev/shm", false)] {
            record.mounts.push(MountPoint {
                kind: "bind".into(),
                source: "/src".into(),
                destination: destination.into(),
                rw,
                propagation: "rprivate".into(),
                ..MountPoint::default()
            });
        }
        let mounts = derive(&record, Path::new("/"), &facts()).unwrap().mounts;
        let at = |path: &str| {
            mounts
                .iter()
                .position(|mount| mount.destination == Path::new(path))
                .unwrap()
        };
        assert!(at("/a/b") < at("/a/b/c"));
        assert_eq!(
            mounts[at("/a/b")].options,
            ["nosuid", "nodev", "size=1m", "exec", "mode=700"]
        );
        assert_eq!(mounts[at("/dev/shm")].options, ["rbind", "rprivate", "rro"]);
        let old = Facts {
            shallow_read_only: true,
            ..facts()
        };
        let of_old = derive(&record, Path::new("/"), &old).unwrap().mounts;
        let options = &of_old[at("/dev/shm")].options;
        assert_eq!(*options, ["rbind", "rprivate", "ro"]);
        assert_eq!(
            mounts
                .iter()
                .filter(|mount| mount.destination == Path::new("/dev/shm"))
                .count(),
            1
        );
    }

    #[test]
    fn unknown_tmpfs_options_and_device_rules_are_refused() {
        assert_eq!(
            tmpfs("/t", "size=1m,wat").unwrap_err().to_string(),
            "invalid tmpfs option \"wat\""
        );
        let parsed = parse_device_rule("c 1:* rw").unwrap();
        assert_eq!(
            (parsed.major, parsed.minor, parsed.access.as_str()),
            (Some(1), None, "rw")
        );
        for bad in [
            "",
            "x 1:3 r",
            "c 1 r",
            "c 1:3",
            "c 1:3 q",
            "c -1:3 r",
            "c 1:3 r r",
        ] {
            assert!(parse_device_rule(bad).is_err(), "{bad}");
        }
    }
}
