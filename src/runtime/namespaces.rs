//! Namespaces of a container: which to make and which to join, id maps, clock offsets, kernel parameters.
//!
//! The parent joins on behalf of the child: it enters a namespace, clones, and goes back. So the child is born there, with
//! the parent's rights and without a second fork, and a joined pid or time namespace (which only ever holds for children)
//! is nothing special. Mount and user namespaces cannot be left again; a container's mount namespace is always its own,
//! and a joined user namespace is entered by a process in between ([`super::create`]).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};

use crate::error;
use crate::oci::runtime::linux::{IdMapping, Linux, NamespaceKind, TimeOffset};

/// The namespaces of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Namespaces {
    /// CLONE_NEW* bits of those to make.
    pub(super) new: i32,
    /// Those to join, user namespaces apart, by their files.
    pub(super) joined: Vec<(NamespaceKind, PathBuf)>,
    /// The file of the user namespace to join.
    pub(super) joined_user: Option<PathBuf>,
}

impl Namespaces {
    /// Whether the container has one of this kind that the caller is not in: new or joined.
    pub(super) fn has(&self, kind: NamespaceKind) -> bool {
        self.new & flag(kind) != 0
            || self.joined.iter().any(|(joined, _)| *joined == kind)
            || (kind == NamespaceKind::User && self.joined_user.is_some())
    }

    /// Whether a new one of this kind is made.
    pub(super) fn makes(&self, kind: NamespaceKind) -> bool {
        self.new & flag(kind) != 0
    }

    /// All that a process must enter to be in the container, as CLONE_NEW* bits.
    pub(super) fn all(&self) -> i32 {
        let joined = self
            .joined
            .iter()
            .fold(0, |all, (kind, _)| all | flag(*kind));
        let user = if self.joined_user.is_some() {
            libc::CLONE_NEWUSER
        } else {
            0
        };
        self.new | joined | user
    }
}

/// Returns the CLONE_NEW* bit of a kind.
pub(super) fn flag(kind: NamespaceKind) -> i32 {
    match kind {
        NamespaceKind::Pid => libc::CLONE_NEWPID,
        NamespaceKind::Network => libc::CLONE_NEWNET,
        NamespaceKind::Mount => libc::CLONE_NEWNS,
        NamespaceKind::Ipc => libc::CLONE_NEWIPC,
        NamespaceKind::Uts => libc::CLONE_NEWUTS,
        NamespaceKind::User => libc::CLONE_NEWUSER,
        NamespaceKind::Cgroup => libc::CLONE_NEWCGROUP,
        NamespaceKind::Time => CLONE_NEWTIME,
    }
}

/// Kernel 5.6; it shares its bit with a part of the exit signal of the old clone(2), so libc leaves it out.
const CLONE_NEWTIME: i32 = 0x80;

/// Returns the name that a kind has in /proc/PID/ns.
pub(super) fn file_name(kind: NamespaceKind) -> &'static str {
    match kind {
        NamespaceKind::Pid => "pid",
        NamespaceKind::Network => "net",
        NamespaceKind::Mount => "mnt",
        NamespaceKind::Ipc => "ipc",
        NamespaceKind::Uts => "uts",
        NamespaceKind::User => "user",
        NamespaceKind::Cgroup => "cgroup",
        NamespaceKind::Time => "time",
    }
}

/// Every kind, in the order in which they can be entered one by one: the rights over the others come from the user
/// namespace that is left, and a mount namespace hides the files of the others.
pub(super) const KINDS: [NamespaceKind; 8] = [
    NamespaceKind::Cgroup,
    NamespaceKind::Ipc,
    NamespaceKind::Uts,
    NamespaceKind::Network,
    NamespaceKind::Pid,
    NamespaceKind::Time,
    NamespaceKind::Mount,
    NamespaceKind::User,
];

/// Reads and checks the namespaces of a configuration, with what depends on them.
pub(super) fn plan(linux: &Linux) -> Result<Namespaces> {
    let mut plan = Namespaces::default();
    let mut seen = Vec::new();
    for namespace in &linux.namespaces {
        let kind = namespace.kind;
        if seen.contains(&kind) {
            bail!(invalid(format!(
                "malformed spec file: duplicated ns {:?}",
                file_name(kind)
            )));
        }
        seen.push(kind);
        let path = namespace
            .path
            .as_ref()
            .filter(|path| !path.as_os_str().is_empty());
        match (kind, path) {
            (_, None) => plan.new |= flag(kind),
            (NamespaceKind::Mount, Some(_)) => bail!(invalid(
                "joining a mount namespace is not possible: a container's root needs one of its own"
            )),
            (NamespaceKind::User, Some(path)) => plan.joined_user = Some(path.clone()),
            (_, Some(path)) => plan.joined.push((kind, path.clone())),
        }
    }
    if !plan.makes(NamespaceKind::Mount) {
        bail!(invalid(
            "a container needs a mount namespace (linux.namespaces has none of type \"mount\")"
        ));
    }
    let mapped = !linux.uid_mappings.is_empty() || !linux.gid_mappings.is_empty();
    if mapped && !plan.has(NamespaceKind::User) {
        bail!(invalid(
            "User namespace mappings specified, but USER namespace isn't enabled in the config"
        ));
    }
    if plan.makes(NamespaceKind::User)
        && (linux.uid_mappings.is_empty() || linux.gid_mappings.is_empty())
    {
        bail!(invalid(
            "user namespaces enabled, but no user or group mappings found"
        ));
    }
    if !linux.time_offsets.is_empty() && !plan.makes(NamespaceKind::Time) {
        bail!(invalid(
            "timeOffsets specified, but TIME namespace isn't enabled in the config"
        ));
    }
    Ok(plan)
}

fn invalid(text: impl Into<String>) -> anyhow::Error {
    error::invalid(text)
}

/// Returns the text of a uid_map or gid_map (user_namespaces(7)).
pub(super) fn id_map(mappings: &[IdMapping]) -> String {
    let mut text = String::new();
    for mapping in mappings {
        writeln!(
            text,
            "{} {} {}",
            mapping.container_id, mapping.host_id, mapping.size
        )
        .expect("a string takes all");
    }
    text
}

/// Returns the id on the host that `id` inside is, or nothing if it has none.
pub(super) fn host_id(mappings: &[IdMapping], id: u32) -> Option<u32> {
    mappings
        .iter()
        .find(|mapping| id >= mapping.container_id && id - mapping.container_id < mapping.size)
        .and_then(|mapping| mapping.host_id.checked_add(id - mapping.container_id))
}

/// Returns the text of a timens_offsets (time_namespaces(7)).
fn clock_offsets(offsets: &BTreeMap<String, TimeOffset>) -> Result<String> {
    let mut text = String::new();
    for (clock, offset) in offsets {
        if clock != "monotonic" && clock != "boottime" {
            bail!(invalid(format!(
                "clock {clock:?} has no offset: only \"monotonic\" and \"boottime\" do"
            )));
        }
        writeln!(text, "{clock} {} {}", offset.secs, offset.nanosecs).expect("a string takes all");
    }
    Ok(text)
}

/// The way back into namespaces that the parent has left for the time of a clone.
#[derive(Debug, Default)]
pub(super) struct WayBack(Vec<(NamespaceKind, File)>);

impl WayBack {
    /// Goes back. The process must end if it cannot: it would go on in a container's namespace.
    pub(super) fn go(self) -> Result<()> {
        for (kind, own) in self.0.iter().rev() {
            enter(own, *kind)
                .with_context(|| format!("go back to our {} namespace", file_name(*kind)))?;
        }
        Ok(())
    }
}

/// Enters, or for time makes, the namespaces that a child is to be born in.
///
/// The pid and time namespaces of this process do not change, only those of its children.
pub(super) fn visit(plan: &Namespaces, linux: &Linux) -> Result<WayBack> {
    let mut targets = Vec::with_capacity(plan.joined.len());
    for (kind, path) in &plan.joined {
        let file =
            File::open(path).with_context(|| format!("open namespace {}", path.display()))?;
        targets.push((*kind, path, file));
    }
    let mut back = WayBack::default();
    let visited = enter_all(plan, linux, &targets, &mut back);
    if let Err(error) = visited {
        back.go()?;
        return Err(error);
    }
    Ok(back)
}

fn enter_all(
    plan: &Namespaces,
    linux: &Linux,
    targets: &[(NamespaceKind, &PathBuf, File)],
    back: &mut WayBack,
) -> Result<()> {
    for (kind, path, file) in targets {
        back.0.push((*kind, own(*kind)?));
        enter(file, *kind).with_context(|| {
            format!(
                "join the {} namespace of {}",
                file_name(*kind),
                path.display()
            )
        })?;
    }
    if plan.makes(NamespaceKind::Time) {
        let offsets = clock_offsets(&linux.time_offsets)?;
        back.0
            .push((NamespaceKind::Time, own(NamespaceKind::Time)?));
        unshare(CloneFlags::from_bits_retain(CLONE_NEWTIME)).context("make a time namespace")?;
        if !offsets.is_empty() {
            std::fs::write("/proc/self/timens_offsets", &offsets)
                .with_context(|| format!("set clock offsets {:?}", offsets.trim()))?;
        }
    }
    Ok(())
}

fn own(kind: NamespaceKind) -> Result<File> {
    let path = Path::new("/proc/self/ns").join(file_name(kind));
    File::open(&path).with_context(|| format!("open {}", path.display()))
}

fn enter(namespace: &File, kind: NamespaceKind) -> io::Result<()> {
    Ok(setns(
        namespace.as_fd(),
        CloneFlags::from_bits_retain(flag(kind)),
    )?)
}

/// One kernel parameter to write below /proc/sys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sysctl {
    /// `net/ipv4/ip_forward`
    pub(super) path: String,
    pub(super) value: String,
}

/// Reads and checks the kernel parameters: only those of the container's own namespaces can be set (CVE-2022-0811 is what
/// happens otherwise).
pub(super) fn sysctls(linux: &Linux, plan: &Namespaces, hostname: &str) -> Result<Vec<Sysctl>> {
    const OF_IPC: [&str; 8] = [
        "kernel/msgmax",
        "kernel/msgmnb",
        "kernel/msgmni",
        "kernel/sem",
        "kernel/shmall",
        "kernel/shmmax",
        "kernel/shmmni",
        "kernel/shm_rmid_forced",
    ];
    let mut sysctls = Vec::with_capacity(linux.sysctl.len());
    for (name, value) in &linux.sysctl {
        let path = sysctl_path(name);
        let unsafe_part = |part: &str| part.is_empty() || part == "." || part == "..";
        if path.split('/').any(unsafe_part) || path.contains('\0') || value.contains('\0') {
            bail!(invalid(format!("invalid sysctl {name:?}")));
        }
        let needs = if OF_IPC.contains(&path.as_str()) || path.starts_with("fs/mqueue/") {
            Some(NamespaceKind::Ipc)
        } else if path.starts_with("net/") {
            Some(NamespaceKind::Network)
        } else if path == "kernel/domainname" || path == "kernel/hostname" {
            Some(NamespaceKind::Uts)
        } else {
            None
        };
        let Some(needs) = needs else {
            bail!(invalid(format!(
                "sysctl {name:?} is not in a separate kernel namespace"
            )));
        };
        if !plan.has(needs) {
            bail!(invalid(match needs {
                NamespaceKind::Network =>
                    format!("sysctl {name:?} not allowed in host network namespace"),
                kind => format!(
                    "sysctl {name:?} is not allowed in the hosts {} namespace",
                    file_name(kind)
                ),
            }));
        }
        if path == "kernel/hostname" && !hostname.is_empty() {
            bail!(invalid(format!(
                "sysctl {name:?} is conflicting with the hostname of the spec"
            )));
        }
        sysctls.push(Sysctl {
            path,
            value: value.clone(),
        });
    }
    Ok(sysctls)
}

/// The first separator tells which one it is; the other then belongs to names, as in `net/ipv4/conf/eth0.1/forwarding`.
fn sysctl_path(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'.' => name
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linux(json: &str) -> Linux {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn new_and_joined_are_told_apart() {
        let plan = plan(&linux(
            r#"{"namespaces":[{"type":"pid"},{"type":"mount"},{"type":"network","path":"/run/n"},
                {"type":"user","path":"/u"},{"type":"ipc","path":""}]}"#,
        ))
        .unwrap();
        assert_eq!(
            plan.new,
            libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC
        );
        assert_eq!(plan.joined, [(NamespaceKind::Network, "/run/n".into())]);
        assert!(plan.has(NamespaceKind::User) && !plan.makes(NamespaceKind::User));
        assert!(!plan.has(NamespaceKind::Uts));
        assert_eq!(
            plan.all(),
            plan.new | libc::CLONE_NEWNET | libc::CLONE_NEWUSER
        );
    }

    #[test]
    fn wrong_combinations_are_named() {
        for (json, text) in [
            (
                r#"{"namespaces":[{"type":"pid"}]}"#,
                "needs a mount namespace",
            ),
            (
                r#"{"namespaces":[{"type":"mount","path":"/x"}]}"#,
                "joining a mount namespace is not possible",
            ),
            (
                r#"{"namespaces":[{"type":"mount"},{"type":"mount"}]}"#,
                "duplicated ns \"mnt\"",
            ),
            (
                r#"{"namespaces":[{"type":"mount"}],"uidMappings":[{"size":1}]}"#,
                "USER namespace isn't enabled",
            ),
            (
                r#"{"namespaces":[{"type":"mount"},{"type":"user"}],"uidMappings":[{"size":1}]}"#,
                "no user or group mappings found",
            ),
            (
                r#"{"namespaces":[{"type":"mount"}],"timeOffsets":{"monotonic":{}}}"#,
                "TIME namespace isn't enabled",
            ),
        ] {
            let error = plan(&linux(json)).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn maps_are_written_and_looked_up() {
        let maps: Vec<IdMapping> = serde_json::from_str(
            r#"[{"containerID":0,"hostID":1000,"size":1},{"containerID":1,"hostID":100000,"size":65535}]"#,
        )
        .unwrap();
        assert_eq!(id_map(&maps), "0 1000 1\n1 100000 65535\n");
        for (id, host) in [
            (0, Some(1000)),
            (1, Some(100_000)),
            (65_535, Some(165_534)),
            (65_536, None),
        ] {
            assert_eq!(host_id(&maps, id), host);
        }
        let beyond = IdMapping {
            container_id: 0,
            host_id: u32::MAX,
            size: 2,
        };
        assert_eq!(host_id(&[beyond], 1), None);
    }

    #[test]
    fn only_namespaced_sysctls_pass() {
        let with = |sysctl: &str, namespaces: &str, hostname: &str| {
            let linux = linux(&format!(
                r#"{{"namespaces":[{{"type":"mount"}}{namespaces}],"sysctl":{{"{sysctl}":"1"}}}}"#
            ));
            sysctls(&linux, &plan(&linux).unwrap(), hostname)
                .map(|list| list[0].path.clone())
                .map_err(|error| error.to_string())
        };
        let net = r#",{"type":"network"}"#;
        let uts = r#",{"type":"uts"}"#;
        for (sysctl, namespaces, path) in [
            ("net.ipv4.ip_forward", net, "net/ipv4/ip_forward"),
            ("net.ipv4.conf.eth0/1.x", net, "net/ipv4/conf/eth0.1/x"),
            ("net/ipv4/conf/eth0.1/x", net, "net/ipv4/conf/eth0.1/x"),
            ("kernel.hostname", uts, "kernel/hostname"),
        ] {
            assert_eq!(with(sysctl, namespaces, "").unwrap(), path);
        }
        for (sysctl, namespaces, hostname, text) in [
            (
                "kernel.core_pattern",
                net,
                "",
                "not in a separate kernel namespace",
            ),
            (
                "net.ipv4.ip_forward",
                "",
                "",
                "not allowed in host network namespace",
            ),
            (
                "kernel.sem",
                "",
                "",
                "not allowed in the hosts ipc namespace",
            ),
            ("net/../kernel/x", net, "", "invalid sysctl"),
            ("net.ipv4..x", net, "", "invalid sysctl"),
            ("kernel.hostname", uts, "h", "conflicting with the hostname"),
        ] {
            let error = with(sysctl, namespaces, hostname).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn clocks_are_checked() {
        let offsets = |json: &str| clock_offsets(&serde_json::from_str(json).unwrap());
        assert_eq!(
            offsets(r#"{"monotonic":{"secs":-5,"nanosecs":7},"boottime":{"secs":1}}"#).unwrap(),
            "boottime 1 0\nmonotonic -5 7\n"
        );
        assert!(offsets(r#"{"realtime":{}}"#).is_err());
    }
}
