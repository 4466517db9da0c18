//! Documents that the runtime writes: an example of a configuration, and what it can do.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::error;

/// The version of the runtime-spec that is followed.
pub(super) const SPEC_VERSION: &str = "1.3.0";

/// Flags of a seccomp filter; those that a kernel lacks are said when one is installed.
const FILTER_FLAGS: [&str; 4] = [
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

/// `spec`: writes config.json of a shell in a root filesystem `rootfs`; refuses to replace one.
pub(super) fn write_spec(bundle: &Path, rootless: bool) -> Result<()> {
    let path = bundle.join("config.json");
    let is_v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let mut spec = example(is_v2);
    if rootless {
        let own = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
        let uids = own(rustix::process::geteuid().as_raw());
        let gids = own(rustix::process::getegid().as_raw());
        for_own_user(&mut spec, uids, gids);
    }
    let mut text = serde_json::to_string_pretty(&spec)?;
    text.push('\n');
    match fs::File::create_new(&path) {
        Ok(mut file) => file.write_all(text.as_bytes()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(error::conflict(format!(
                "file {} exists: remove it first",
                path.display()
            )));
        }
        Err(error) => Err(error),
    }
    .with_context(|| format!("write {}", path.display()))
}

fn example(is_v2: bool) -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": source, "options": options});
    let mut namespaces: Vec<&str> = vec!["pid", "network", "ipc", "uts", "mount"];
    if is_v2 {
        namespaces.push("cgroup");
    }
    let namespaces: Vec<Value> = namespaces
        .iter()
        .map(|kind| json!({"type": kind}))
        .collect();
    json!({
        "ociVersion": SPEC_VERSION,
        "process": {
            "terminal": true,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "aril",
        "mounts": [
            mount("/proc", "proc", "proc", &[]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", "devpts",
                  &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"])
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": namespaces,
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
                "/sys/devices/virtual/powercap", "/sys/firmware"
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}

/// Makes of `spec` one for a user who is not root: in a user namespace, on the host's network, without limits.
fn for_own_user(spec: &mut Value, uids: Value, gids: Value) {
    if let Some(namespaces) = spec["linux"]["namespaces"].as_array_mut() {
        namespaces.retain(|namespace| namespace["type"] != "network");
        namespaces.push(json!({"type": "user"}));
    }
    if let Some(linux) = spec["linux"].as_object_mut() {
        linux.remove("resources");
        linux.insert("uidMappings".to_owned(), uids);
        linux.insert("gidMappings".to_owned(), gids);
    }
    for mount in spec["mounts"].as_array_mut().into_iter().flatten() {
        if mount["destination"] == "/sys" {
            // A new one would need a network of its own.
            *mount = json!({
                "destination": "/sys", "type": "none", "source": "/sys",
                "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]
            });
        } else if let Some(options) = mount["options"].as_array_mut() {
            let names_id = |option: &Value| {
                let text = option.as_str().unwrap_or_default();
                text.starts_with("uid=") || text.starts_with("gid=")
            };
            options.retain(|option| !names_id(option));
        }
    }
}

/// Returns the names of all capabilities that are known here.
fn capabilities() -> Vec<String> {
    let mut names: Vec<String> = caps::all().iter().map(ToString::to_string).collect();
    names.sort();
    names
}

/// `features` (runtime-spec features.md).
pub(super) fn features() -> Value {
    let (modes, flags) = crate::runtime::memory_policy_names();
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": SPEC_VERSION,
        "hooks": [
            "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"
        ],
        "mountOptions": [
            "async", "atime", "bind", "defaults", "dev", "diratime", "dirsync", "exec", "idmap", "iversion", "lazytime",
            "loud", "mand", "noatime", "nodev", "nodiratime", "noexec", "noiversion", "nolazytime", "nomand",
            "norelatime", "nostrictatime", "nosuid", "nosymfollow", "private", "ratime", "rbind", "rdev", "rdiratime",
            "relatime", "remount", "rexec", "ridmap", "rnoatime", "rnodev", "rnodiratime", "rnoexec", "rnorelatime",
            "rnostrictatime", "rnosuid", "rnosymfollow", "ro", "rprivate", "rrelatime", "rro", "rrw", "rshared",
            "rslave", "rstrictatime", "rsuid", "rsymfollow", "runbindable", "rw", "shared", "silent", "slave",
            "strictatime", "suid", "symfollow", "sync", "tmpcopyup", "unbindable"
        ],
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": capabilities(),
            "cgroup": {"v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true},
            "seccomp": {
                "enabled": true,
                "actions": [
                    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                    "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"
                ],
                "operators": [
                    "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ",
                    "SCMP_CMP_NE"
                ],
                "archs": crate::runtime::seccomp::architecture_names(),
                "knownFlags": FILTER_FLAGS,
                "supportedFlags": FILTER_FLAGS
            },
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": false},
            "netDevices": {"enabled": true},
            "memoryPolicy": {"modes": modes, "flags": flags},
            "mountExtensions": {"idmap": {"enabled": true}}
        },
        "annotations": {
            "org.opencontainers.runc.version": concat!("aril ", env!("CARGO_PKG_VERSION")),
            "org.opencontainers.runc.checkpoint.enabled": "true"
        },
        // It names a file of settings for CRIU, which may run programs.
        "potentiallyUnsafeConfigAnnotations": ["org.criu.config"]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_configuration() {
        let mut value = example(true);
        let read = |value: &Value| -> crate::oci::runtime::Spec {
            serde_json::from_value(value.clone()).unwrap()
        };
        assert_eq!(read(&value).mounts.len(), 7);
        let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        for_own_user(&mut value, map.clone(), map);
        let spec = read(&value);
        assert!(
            !spec
                .mounts
                .iter()
                .any(|mount| mount.options.contains(&"gid=5".to_owned()))
        );
        assert_eq!(spec.linux.unwrap().uid_mappings.len(), 1);
    }
}
