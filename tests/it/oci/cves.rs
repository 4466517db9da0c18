//! Holes that other runtimes have had, one test each: the host must be untouched, and nothing of it visible inside. More
//! stand where their subject is; all have the number in their name.

use std::ffi::CString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

use super::{Sandbox, cgroups_of};

/// How often a race is run.
const ROUNDS: usize = 60;

/// Exchanges two names for as long as it lives.
pub(crate) struct Spinner {
    stop: &'static AtomicBool,
    thread: Option<JoinHandle<()>>,
}

impl Spinner {
    pub(crate) fn new(one: &Path, other: &Path) -> Spinner {
        let stop: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
        let name = |path: &Path| CString::new(path.to_str().unwrap()).unwrap();
        let (one, other) = (name(one), name(other));
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, &*one, CWD, &*other, RenameFlags::EXCHANGE).unwrap();
            }
        });
        Spinner {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// The name of a file that no container has.
pub(super) const CANARY: &str = "untouched-by-containers";

/// A directory of the host that nothing may touch.
pub(super) struct Canary(pub(super) PathBuf);

impl Canary {
    pub(super) fn new(sandbox: &Sandbox) -> Canary {
        let path = sandbox.dir.join("canary");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join(CANARY), "secret of the host").unwrap();
        Canary(path)
    }

    pub(super) fn check(&self) {
        let names: Vec<_> = std::fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, [CANARY]);
        let text = std::fs::read_to_string(self.0.join(CANARY)).unwrap();
        assert_eq!(text, "secret of the host");
    }
}

fn bind(source: &Path, destination: &str) -> Value {
    json!({"destination": destination, "source": source, "options": ["rbind", "rprivate"]})
}

/// A bundle with a volume at /vol, in which `dir` and `link`, a link to `target`, take each other's place.
fn racing(script: &str, target: &Path) -> (Sandbox, Spinner) {
    let mut sandbox = Sandbox::new(script);
    let volume = sandbox.dir.join("volume");
    std::fs::create_dir_all(volume.join("dir/inner")).unwrap();
    symlink(target, volume.join("link")).unwrap();
    sandbox.push("/mounts", bind(&volume, "/vol"));
    let spinner = Spinner::new(&volume.join("dir"), &volume.join("link"));
    (sandbox, spinner)
}

#[test]
fn cve_2019_16884_nothing_but_procfs_covers_proc() {
    let mut sandbox = Sandbox::new("cat /proc/self/attr/exec");
    let canary = Canary::new(&sandbox);
    let mounts = sandbox.config["mounts"].clone();
    for destination in ["/proc", "/proc/self/attr", "/proc/sys", "/vol/../proc/self"] {
        sandbox.set("/mounts", mounts.clone());
        sandbox.push("/mounts", bind(&canary.0, destination));
        sandbox.run().fails(1, "cannot be mounted because it is");
        let tmpfs = json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"});
        sandbox
            .set("/mounts", mounts.clone())
            .push("/mounts", tmpfs);
        sandbox.run().fails(1, "cannot be mounted because it is");
    }
    // Nor by a link of the image.
    symlink("/proc/self", sandbox.rootfs().join("me")).unwrap();
    sandbox.set("/mounts", mounts);
    sandbox.push("/mounts", bind(&canary.0, "/me/attr"));
    sandbox
        .run()
        .fails(1, "cannot be mounted because it is inside /proc");
    canary.check();
}

#[test]
fn cve_2021_30465_and_2019_19921_a_target_that_is_swapped_while_it_is_mounted() {
    let (mut sandbox, spinner) = racing("", Path::new("/../../../../../../.."));
    let canary = Canary::new(&sandbox);
    let secret = canary.0.join(CANARY);
    sandbox.script(&format!(
        "ls -R /vol 2>&1 | grep -c {CANARY}; test -e {} && echo out; true",
        secret.display()
    ));
    let tmpfs = json!({"destination": "/vol/dir/inner", "type": "tmpfs", "source": "tmpfs"});
    sandbox.push("/mounts", tmpfs);
    for _ in 0..ROUNDS {
        let ran = sandbox.run();
        // The target may be a link that leads into the container's own root, or to nothing at all.
        assert!(ran.code != 0 || ran.out.trim() == "0", "{ran:?}");
        canary.check();
    }
    drop(spinner);
}

#[test]
fn cve_2024_45310_no_target_is_made_outside() {
    let mut sandbox = Sandbox::new("true");
    let canary = Canary::new(&sandbox);
    let volume = sandbox.dir.join("volume");
    std::fs::create_dir_all(volume.join("dir")).unwrap();
    symlink(&canary.0, volume.join("link")).unwrap();
    let data = sandbox.dir.join("data");
    std::fs::write(&data, "").unwrap();
    sandbox.push("/mounts", bind(&volume, "/vol"));
    sandbox.push("/mounts", bind(&data, "/vol/dir/made/file"));
    sandbox.push("/mounts", bind(&volume, "/vol/dir/also"));
    let spinner = Spinner::new(&volume.join("dir"), &volume.join("link"));
    for _ in 0..ROUNDS {
        drop(sandbox.run());
        canary.check();
    }
    drop(spinner);
}

#[test]
fn cve_2025_31133_and_2025_62161_masks_are_the_host_s_null() {
    let mut sandbox = Sandbox::new("cat /proc/timer_list | wc -c; echo x > /proc/timer_list; true");
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    // Without a mount on /dev, the image's null is where a runtime would find it.
    let mounts = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    let null = sandbox.rootfs().join("dev/null");
    sandbox.set("/mounts", mounts);
    for target in ["/proc/sys/kernel/core_pattern", "/etc/passwd"] {
        symlink(target, &null).unwrap();
        let ran = sandbox.run();
        assert!(ran.code != 0 || ran.out.trim() == "0", "{ran:?}");
        std::fs::remove_file(&null).unwrap();
    }
    let now = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    assert_eq!(now, pattern);
}

#[test]
fn cve_2026_88264_and_2026_88265_console_and_null_of_the_image_are_links() {
    let mut sandbox = Sandbox::new("true");
    let canary = Canary::new(&sandbox);
    let secret = canary.0.join(CANARY);
    let mounts = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    sandbox.set("/mounts", mounts);
    // A link that leads out by its name leads to nothing inside, or is not taken.
    for name in ["null", "console", "zero", "ptmx", "tty"] {
        let link = sandbox.rootfs().join("dev").join(name);
        if link.symlink_metadata().is_ok() {
            std::fs::remove_file(&link).unwrap();
        }
        symlink(&secret, &link).unwrap();
        drop(sandbox.run());
        let owner = std::fs::metadata(&secret).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), 0, "{name}");
        canary.check();
    }
}

#[test]
fn cve_2025_52565_the_console_is_the_terminal_itself() {
    // The terminal's name in /dev/pts is the image's to choose: it is never looked up.
    let mut sandbox = Sandbox::new("test -t 0 && stat -c %t /dev/console");
    let canary = Canary::new(&sandbox);
    let pts = sandbox.rootfs().join("dev/pts");
    std::fs::create_dir_all(&pts).unwrap();
    for number in 0..4 {
        symlink(canary.0.join(CANARY), pts.join(number.to_string())).unwrap();
    }
    sandbox.set("/process/terminal", json!(true));
    let id = sandbox.id("run");
    let mut command = std::process::Command::new("script");
    let line = format!(
        "{} runtime --root {} run {id}",
        env!("CARGO_BIN_EXE_aril"),
        sandbox.dir.join("run").display()
    );
    drop(sandbox.command(&[]));
    command
        .args(["-qec", &line, "/dev/null"])
        .current_dir(&sandbox.dir);
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    // 136 is the number of terminals.
    assert_eq!(said.trim(), "88", "{output:?}");
    canary.check();
}

#[test]
fn cve_2025_52881_what_is_written_to_proc_gets_there() {
    // Parameters of the container are written while a volume takes the place of /proc/sys over and over.
    let (mut sandbox, spinner) = racing(
        "cat /proc/sys/net/ipv4/ip_forward",
        Path::new("/proc/sys/net"),
    );
    let before = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    let tmpfs = json!({"destination": "/vol/dir/ipv4", "type": "tmpfs", "source": "tmpfs"});
    sandbox.push("/mounts", tmpfs);
    sandbox.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    for _ in 0..ROUNDS {
        let ran = sandbox.run();
        assert!(ran.code != 0 || ran.out == "1\n", "{ran:?}");
    }
    drop(spinner);
    let after = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    assert_eq!(after, before);
    for name in [
        "kernel.sysrq",
        "kernel.core_pattern",
        "net.ipv4/../../kernel.sysrq",
        "vm.overcommit_memory",
    ] {
        sandbox.set("/linux/sysctl", json!({name: "0"}));
        sandbox.run().fails(1, "sysctl");
    }
}

#[test]
fn cve_2022_0811_values_of_parameters_are_values() {
    let mut sandbox = Sandbox::new("cat /proc/sys/kernel/shm_rmid_forced");
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    for value in [
        "1+kernel.core_pattern=|/tmp/x",
        "1\nkernel.core_pattern=|/tmp/x",
    ] {
        sandbox.set("/linux/sysctl", json!({"kernel.shm_rmid_forced": value}));
        // The kernel reads a line of a number, and refuses what is none.
        let ran = sandbox.run();
        assert!(ran.code == 1 || ran.out == "1\n", "{value:?} {ran:?}");
    }
    let now = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    assert_eq!(now, pattern);
}

#[test]
fn cve_2021_43784_long_configurations_are_not_cut() {
    let mut sandbox = Sandbox::new("id -u");
    let map = |number: u32| json!({"containerID": number, "hostID": 100_000 + number, "size": 1});
    let maps: Vec<Value> = (0..100_000).map(map).collect();
    sandbox
        .namespace("user", None)
        .set("/linux/uidMappings", json!(maps))
        .set("/linux/gidMappings", json!(maps));
    let ran = sandbox.run();
    assert_eq!(ran.code, 1, "{}", ran.out);
    let long = format!("/{}", "x/".repeat(35_000));
    let mut sandbox = Sandbox::new("true");
    sandbox
        .namespace("network", Some(&long))
        .run()
        .fails(1, "open namespace");
}

#[test]
fn cve_2022_29162_nothing_is_inheritable() {
    let none = "CapInh:\t0000000000000000";
    let mut sandbox = Sandbox::new("grep CapInh /proc/self/status");
    let all = json!(["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_NET_RAW"]);
    let sets = json!({"bounding": all, "effective": all, "permitted": all, "inheritable": []});
    sandbox.set("/process/capabilities", sets).run().says(none);
    let id = sandbox.script("exec sleep 1000").start("c");
    for flags in [
        &[] as &[&str],
        &["--cap", "CAP_SYS_PTRACE"],
        &["--user", "1000"],
    ] {
        let mut args = flags.to_vec();
        args.extend(["--", "grep", "CapInh", "/proc/self/status"]);
        sandbox.exec(&id, &args).says(none);
    }
}

#[test]
fn cve_2023_25809_the_host_s_cgroups_cannot_be_written() {
    // In a user namespace and without a cgroup namespace, /sys/fs/cgroup is the host's.
    let script = "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/evil 2>&- && echo made in $d; done; echo end";
    for mount in [
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}),
        json!({"destination": "/sys", "source": "/sys", "options": ["rbind", "rro"]}),
    ] {
        let mut sandbox = Sandbox::new(script);
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
        sandbox
            .without_namespace("cgroup")
            .namespace("user", None)
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map);
        let mounts = sandbox.config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/sys"));
        if mount["type"] == "cgroup" {
            mounts.push(json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]}));
        }
        mounts.push(mount);
        let status = std::process::Command::new("chown")
            .args(["-R", "100000:100000"])
            .arg(sandbox.rootfs())
            .status();
        assert!(status.unwrap().success());
        sandbox.set("/linux/maskedPaths", json!([]));
        sandbox.run().says("end");
    }
}

#[test]
fn cve_2024_3154_annotations_do_not_reach_the_host_s_service_manager() {
    let mut sandbox = Sandbox::new("exec sleep 1000");
    sandbox.set(
        "/annotations",
        json!({"org.systemd.property.ExecStartPre": "('/bin/touch', ['/tmp/evil'])", "run.oci.handler": "x"}),
    );
    let id = sandbox.start("c");
    assert_eq!(sandbox.status(&id), "running");
    assert!(!Path::new("/tmp/evil").exists());
}

#[test]
fn cve_2023_6476_and_2025_47291_the_limits_hold_in_a_user_namespace() {
    let mut sandbox = Sandbox::new("exec sleep 1000");
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    sandbox
        .namespace("user", None)
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .set("/linux/resources/pids", json!({"limit": 7}))
        .set(
            "/annotations",
            json!({"io.kubernetes.cri-o.LinkLogs": "x", "run.oci.systemd.subgroup": "/"}),
        );
    let status = std::process::Command::new("chown")
        .args(["-R", "100000:100000"])
        .arg(sandbox.rootfs())
        .status();
    assert!(status.unwrap().success());
    let id = sandbox.start("c");
    let pid = sandbox.state(&id)["pid"].to_string();
    let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let line = own
        .lines()
        .find(|line| line.contains(":pids:") || line.starts_with("0::") && !own.contains(":pids:"));
    assert!(line.unwrap().ends_with(&format!("/{id}")), "{own}");
    let limits: Vec<String> = cgroups_of(&id)
        .iter()
        .filter_map(|directory| std::fs::read_to_string(directory.join("pids.max")).ok())
        .collect();
    assert_eq!(limits, ["7\n"]);
    // A process that joins is held by the same.
    let forks = "for i in 1 2 3 4 5 6 7 8 9; do sleep 100 >/tmp/out 2>&1 & done";
    let ran = sandbox.exec(&id, &["sh", "-c", forks]);
    assert!(ran.err.contains("can't fork"), "{ran:?}");
}
