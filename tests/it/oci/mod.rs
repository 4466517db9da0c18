//! The OCI runtime, through its command line.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

pub(crate) use crate::sandbox::Ran;
pub(crate) use crate::sandbox::leftovers::cgroups_of;
pub(crate) use crate::sandbox::wait_until as until;

mod checkpoint;
mod commands;
pub(crate) mod cves;
mod engines;
mod exec;
mod fallback;
mod filter;
mod hooks;
mod isolation;
mod library;
mod lifecycle;
mod limits;
mod mounts;
mod namespaces;
mod nested;
mod net_devices;
mod services;
mod systemd;
mod terminal;

/// Programs that the root filesystem of the tests has.
const APPLETS: &str = "cat chmod chown cut date dd echo env expr false grep head hostname id kill ls mkdir mknod mount \
                       nice pwd ps readlink rm seq sh sleep sort stat stty tail test touch tr true tty umount uname \
                       unshare wc";

/// Returns Debian's static busybox.
pub(crate) fn busybox() -> &'static Path {
    let path = Path::new("/usr/bin/busybox");
    assert!(
        path.exists(),
        "these tests need {}: apt-get install busybox-static",
        path.display()
    );
    path
}

/// A bundle, and containers of its own that are gone when it is.
pub(crate) struct Sandbox {
    pub(crate) dir: PathBuf,
    pub(crate) config: Value,
    /// Set for every command.
    fallback: Option<String>,
    containers: BTreeSet<String>,
}

static COUNT: AtomicUsize = AtomicUsize::new(0);

impl Sandbox {
    /// A bundle that runs `script` in a shell.
    pub(crate) fn new(script: &str) -> Sandbox {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests need root"
        );
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("aril-it-{}-{number}", std::process::id()));
        let rootfs = dir.join("rootfs");
        for directory in ["bin", "etc", "proc", "sys", "dev", "tmp"] {
            std::fs::create_dir_all(rootfs.join(directory)).unwrap();
        }
        std::fs::copy(busybox(), rootfs.join("bin/busybox")).unwrap();
        for applet in APPLETS.split_whitespace() {
            symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
        }
        std::fs::write(
            rootfs.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n",
        )
        .unwrap();
        let mut sandbox = Sandbox {
            dir,
            config: config(),
            fallback: None,
            containers: BTreeSet::new(),
        };
        sandbox.script(script);
        sandbox
    }

    pub(crate) fn script(&mut self, script: &str) -> &mut Sandbox {
        self.config["process"]["args"] = json!(["sh", "-c", script]);
        self
    }

    pub(crate) fn args(&mut self, args: &[&str]) -> &mut Sandbox {
        self.config["process"]["args"] = json!(args);
        self
    }

    /// Sets the value at `path`, such as `/linux/resources/pids`.
    pub(crate) fn set(&mut self, path: &str, value: Value) -> &mut Sandbox {
        let mut place = &mut self.config;
        for key in path.split('/').skip(1) {
            place = &mut place[key];
        }
        *place = value;
        self
    }

    /// Adds to the list at `path`.
    pub(crate) fn push(&mut self, path: &str, value: Value) -> &mut Sandbox {
        let list = self.config.pointer_mut(path).unwrap();
        list.as_array_mut().unwrap().push(value);
        self
    }

    pub(crate) fn without_namespace(&mut self, kind: &str) -> &mut Sandbox {
        let namespaces = self.config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != kind);
        self
    }

    pub(crate) fn namespace(&mut self, kind: &str, path: Option<&str>) -> &mut Sandbox {
        self.without_namespace(kind);
        let namespace = match path {
            Some(path) => json!({"type": kind, "path": path}),
            None => json!({"type": kind}),
        };
        self.push("/linux/namespaces", namespace)
    }

    pub(crate) fn fallback(&mut self, names: &str) -> &mut Sandbox {
        self.fallback = Some(names.to_owned());
        self
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// The name of container `name`, unique on this machine.
    pub(crate) fn id(&mut self, name: &str) -> String {
        let base = self.dir.file_name().unwrap().to_str().unwrap();
        let id = format!("{base}-{name}");
        self.containers.insert(id.clone());
        id
    }

    /// The runtime, called as `aril-oci`, with the records of this sandbox.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        std::fs::write(self.dir.join("config.json"), self.config.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_aril"));
        command
            .arg0("aril-oci")
            .arg("--root")
            .arg(self.dir.join("run"))
            .args(args)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .env_remove("ARIL_KERNEL_FALLBACK");
        if let Some(names) = &self.fallback {
            command.env("ARIL_KERNEL_FALLBACK", names);
        }
        command
    }

    pub(crate) fn call(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs the bundle to its end.
    pub(crate) fn run(&mut self) -> Ran {
        let id = self.id("run");
        Ran::from(self.call(&["run", &id]))
    }

    /// Runs the bundle with `flags` from a shell that runs `prelude` first, and is itself started by `wrapper`.
    pub(crate) fn run_by(&mut self, wrapper: &[&str], prelude: &str, flags: &str) -> Ran {
        let id = self.id("run");
        drop(self.command(&[]));
        let script = format!(
            "{prelude} exec {} runtime --root {} run {flags} {id}",
            env!("CARGO_BIN_EXE_aril"),
            self.dir.join("run").display()
        );
        let mut all = wrapper.to_vec();
        all.extend(["sh", "-c", &script]);
        let mut command = Command::new(all[0]);
        command
            .args(&all[1..])
            .current_dir(&self.dir)
            // cargo's; the shell would look for its libraries there first.
            .env_remove("LD_LIBRARY_PATH")
            .stdin(Stdio::null());
        Ran::from(command.output().unwrap())
    }

    /// Creates and starts container `name`; returns its id.
    pub(crate) fn start(&mut self, name: &str) -> String {
        let id = self.id(name);
        self.call_and_leave(&["create", &id]);
        self.call_and_leave(&["start", &id]);
        id
    }

    pub(crate) fn exec(&self, id: &str, args: &[&str]) -> Ran {
        let mut all = vec!["exec"];
        let (flags, program): (Vec<&str>, Vec<&str>) = match args.iter().position(|a| *a == "--") {
            Some(at) => (args[..at].to_vec(), args[at + 1..].to_vec()),
            None => (Vec::new(), args.to_vec()),
        };
        all.extend(flags);
        all.push(id);
        all.extend(program);
        Ran::from(self.call(&all))
    }

    /// Runs a command whose container processes outlive it: its output goes to a file, not to a pipe that they would keep
    /// open.
    pub(crate) fn call_and_leave(&self, args: &[&str]) {
        let path = self.dir.join("log");
        let log = std::fs::File::create(&path).unwrap();
        let mut command = self.command(args);
        let status = command
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .status()
            .unwrap();
        let log = std::fs::read_to_string(path).unwrap();
        assert!(status.success(), "{args:?}: {log}");
    }

    pub(crate) fn state(&self, id: &str) -> Value {
        let output = self.call(&["state", id]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn status(&self, id: &str) -> String {
        self.state(id)["status"].as_str().unwrap().to_owned()
    }

    pub(crate) fn wait_for_status(&self, id: &str, status: &str) {
        until(&format!("{id} is {status}"), || self.status(id) == status);
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let mut left = String::new();
        for id in &self.containers {
            let deleted = self.call(&["delete", "--force", id]);
            if !deleted.status.success() {
                writeln!(left, "delete {id}: {deleted:?}").unwrap();
            }
            for directory in cgroups_of(id) {
                writeln!(left, "cgroup {}", directory.display()).unwrap();
            }
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        for line in mounts
            .lines()
            .filter(|line| line.contains(self.dir.to_str().unwrap()))
        {
            writeln!(left, "mount {line}").unwrap();
        }
        std::fs::remove_dir_all(&self.dir).unwrap();
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left behind:\n{left}");
        }
    }
}

/// A helper process that is killed at the end.
pub(crate) struct Helper(pub(crate) Child);

impl Helper {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A plain container: all namespaces but a user's, docker's mounts, masks and capabilities.
fn config() -> Value {
    let capabilities = json!([
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_KILL",
        "CAP_MKNOD",
        "CAP_NET_BIND_SERVICE",
        "CAP_SETGID",
        "CAP_SETUID"
    ]);
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": [],
            "env": ["PATH=/bin:/usr/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities
            },
            "rlimits": []
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "box",
        "mounts": [
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"])
        ],
        "hooks": {},
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "mount"}, {"type": "cgroup"}
            ],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}
