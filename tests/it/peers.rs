//! Docker and podman beside aril: Debian's, with stores of their own, on the machine of a sandbox.
//!
//! ```text
//! let docker = Docker::start(&sandbox, &[]);
//! sandbox.run(docker.command(&["load", "-i", "x.tar"])).ok();
//! ```
//!
//! Each runs in a pid and a mount namespace of its own, whose first process is killed at the end: no process and no mount
//! outlives it. The network is the sandbox's.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sandbox::{Ran, Running, Sandbox, wait_until};

/// Starts a process whose first steps are `script`, in namespaces that end with it.
fn apart(sandbox: &Sandbox, script: &str) -> Running {
    let mut command = sandbox.command("unshare");
    command
        .args("--mount --pid --fork --kill-child --mount-proc --propagation private".split(' '))
        .args(["sh", "-euc"])
        .arg(format!("mount -t tmpfs tmpfs /run\n{script}"));
    sandbox.start(command)
}

/// A dockerd with the name of its cgroups' parent.
pub(crate) struct Docker<'a> {
    sandbox: &'a Sandbox,
    daemon: Option<Running>,
    dir: PathBuf,
    cgroup: String,
}

impl<'a> Docker<'a> {
    /// Starts dockerd with more `options`, without a network; waits until it answers.
    pub(crate) fn start(sandbox: &'a Sandbox, options: &[&str]) -> Docker<'a> {
        let dir = sandbox.path("docker");
        std::fs::create_dir_all(&dir).unwrap();
        // Not the host's.
        std::fs::write(dir.join("daemon.json"), "{}").unwrap();
        let cgroup = format!(
            "aril-test-docker-{}-{}",
            std::process::id(),
            name_of(sandbox)
        );
        let script = format!(
            "cd {dir}\n\
             exec dockerd --config-file {dir}/daemon.json --data-root {dir}/data --exec-root {dir}/exec --pidfile {dir}/pid \
             -H unix://{dir}/socket --iptables=false --ip6tables=false --bridge=none --storage-driver overlay2 \
             --cgroup-parent /{cgroup} {options} >log 2>&1",
            dir = dir.display(),
            options = options.join(" ")
        );
        let mut docker = Docker {
            sandbox,
            daemon: Some(apart(sandbox, &script)),
            dir,
            cgroup,
        };
        wait_until("dockerd answers", || docker.answers());
        docker
    }

    fn answers(&mut self) -> bool {
        let ended = self.daemon.as_mut().is_none_or(Running::has_ended);
        let log = || std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        assert!(
            !ended,
            "these tests need dockerd (apt-get install docker.io), which ended: {}",
            log()
        );
        self.dir.join("socket").exists() && self.docker(&["version"]).code == 0
    }

    /// Returns `docker ARGS`, to be run by the sandbox.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command("docker");
        command
            .arg("-H")
            .arg(format!("unix://{}/socket", self.dir.display()))
            .args(args);
        command
    }

    /// Runs `docker ARGS`.
    #[track_caller]
    pub(crate) fn docker(&self, args: &[&str]) -> Ran {
        self.sandbox.run(self.command(args))
    }

    /// Runs `docker ARGS`, which must succeed; returns its output without the last line end.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        self.docker(args).ok()
    }

    /// Mounts the layers of an image, and does something with its root filesystem.
    pub(crate) fn with_root<T: Send>(&self, image: &str, act: impl FnOnce(&Path) -> T + Send) -> T {
        let id = self.ok(&["create", image, "true"]);
        let lower = self.ok(&["inspect", "-f", "{{.GraphDriver.Data.LowerDir}}", &id]);
        // The topmost is docker's own, with places for its mounts.
        let (_, layers) = lower.split_once(':').unwrap();
        // There are at least two in what the kernel stacks.
        let options = format!("ro,lowerdir={0}/empty:{layers}", self.dir.display());
        std::fs::create_dir_all(self.dir.join("empty")).unwrap();
        let root = self.dir.join("root");
        std::fs::create_dir_all(&root).unwrap();
        let value = self.sandbox.inside(|| {
            // The mount ends with the thread.
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
            let mut mount = Command::new("mount");
            mount.args(["-t", "overlay", "-o", &options, "overlay"]);
            assert!(mount.arg(&root).status().unwrap().success());
            act(&root)
        });
        self.ok(&["rm", &id]);
        value
    }
}

impl Drop for Docker<'_> {
    fn drop(&mut self) {
        drop(self.daemon.take());
        remove_cgroups(&self.cgroup);
    }
}

/// Podman's store.
pub(crate) struct Podman<'a> {
    sandbox: &'a Sandbox,
    /// Holds the namespaces; the process that was started, and its child in them.
    _holder: Running,
    pid: String,
    dir: PathBuf,
}

impl<'a> Podman<'a> {
    /// Makes a store.
    pub(crate) fn new(sandbox: &'a Sandbox) -> Podman<'a> {
        let dir = sandbox.path("podman");
        std::fs::create_dir_all(&dir).unwrap();
        let mut holder = apart(sandbox, "echo ready; exec sleep infinity");
        holder.expect("ready");
        let children = format!("/proc/{0}/task/{0}/children", holder.pid());
        let pid = std::fs::read_to_string(children).unwrap().trim().to_owned();
        Podman {
            sandbox,
            _holder: holder,
            pid,
            dir,
        }
    }

    /// Returns `podman ARGS`, to be run by the sandbox.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command("nsenter");
        command
            .args(["--target", &self.pid, "--mount", "--pid"])
            .arg(format!("--wdns={}", self.sandbox.path("").display()))
            .arg("podman");
        for (option, name) in [
            ("--root", "data"),
            ("--runroot", "run"),
            ("--tmpdir", "tmp"),
        ] {
            command.arg(option).arg(self.dir.join(name));
        }
        command
            .args("--storage-driver overlay --cgroup-manager cgroupfs --events-backend none --runtime runc".split(' '))
            .args(args)
            .process_group(0);
        command
    }

    /// Runs `podman ARGS`.
    #[track_caller]
    pub(crate) fn podman(&self, args: &[&str]) -> Ran {
        self.sandbox.run(self.command(args))
    }

    /// Runs `podman ARGS`, which must succeed; returns its output without the last line end.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        self.podman(args).ok()
    }

    /// Mounts an image, and does something with its root filesystem.
    pub(crate) fn with_root<T>(&self, image: &str, act: impl FnOnce(&Path) -> T) -> T {
        let root = self.ok(&["image", "mount", image]);
        let seen = format!("/proc/{}/root{root}", self.pid);
        let value = act(Path::new(&seen));
        self.ok(&["image", "unmount", image]);
        value
    }
}

/// Returns a name that no other sandbox of this process has.
fn name_of(sandbox: &Sandbox) -> String {
    let dir = sandbox.root();
    let name = dir.parent().and_then(Path::file_name).unwrap();
    let number = name.to_str().unwrap().rsplit('-').next().unwrap();
    number.to_owned()
}

/// Removes the cgroups called `name` at the root of any hierarchy, and those below them, once their processes are gone.
fn remove_cgroups(name: &str) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(mount), Some("cgroup" | "cgroup2")) = (fields.next(), fields.next()) else {
            continue;
        };
        let top = Path::new(mount).join(name);
        wait_until(&format!("{} can be removed", top.display()), || {
            remove_below(&top);
            !top.exists()
        });
    }
}

fn remove_below(cgroup: &Path) {
    for entry in std::fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path());
        }
    }
    // Busy until the last process is gone: then it is tried again.
    if cgroup.exists()
        && let Err(error) = std::fs::remove_dir(cgroup)
    {
        println!("  {}: {error}", cgroup.display());
    }
}
