//! Docker, containerd and podman beside aril: Debian's, with stores of their own, on the machine of a sandbox.
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
    /// Starts dockerd with more `options`, without a network unless those name a bridge; waits until it answers.
    pub(crate) fn start(sandbox: &'a Sandbox, options: &[&str]) -> Docker<'a> {
        let dir = sandbox.path("docker");
        std::fs::create_dir_all(&dir).unwrap();
        // Not the host's.
        std::fs::write(dir.join("daemon.json"), "{}").unwrap();
        let cgroup = cgroup_name(sandbox);
        let script = format!(
            "cd {dir}\n\
             exec dockerd --config-file {dir}/daemon.json --data-root {dir}/data --exec-root {dir}/exec --pidfile {dir}/pid \
             -H unix://{dir}/socket --iptables=false --ip6tables=false {bridge} --storage-driver overlay2 \
             --cgroup-parent /{cgroup} {options} >log 2>&1",
            dir = dir.display(),
            bridge = if options.iter().any(|it| it.contains("--bridge")) {
                ""
            } else {
                "--bridge=none"
            },
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

/// A containerd without Kubernetes' part.
pub(crate) struct Containerd<'a> {
    sandbox: &'a Sandbox,
    daemon: Option<Running>,
    dir: PathBuf,
    cgroup: String,
}

impl<'a> Containerd<'a> {
    /// Starts containerd; waits until it answers.
    pub(crate) fn start(sandbox: &'a Sandbox) -> Containerd<'a> {
        let dir = sandbox.path("containerd");
        std::fs::create_dir_all(&dir).unwrap();
        let place = dir.display();
        std::fs::write(
            dir.join("config.toml"),
            format!(
                "version = 2\nroot = \"{place}/data\"\nstate = \"/run/containerd\"\n\
                 disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{place}/socket\"\n"
            ),
        )
        .unwrap();
        let script = format!("cd {place}; exec containerd --config {place}/config.toml >log 2>&1");
        let mut containerd = Containerd {
            sandbox,
            daemon: Some(apart(sandbox, &script)),
            cgroup: cgroup_name(sandbox),
            dir,
        };
        wait_until("containerd answers", || containerd.answers());
        containerd
    }

    fn answers(&mut self) -> bool {
        let ended = self.daemon.as_mut().is_none_or(Running::has_ended);
        let log = || std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        assert!(
            !ended,
            "these tests need containerd (apt-get install containerd), which ended: {}",
            log()
        );
        self.dir.join("socket").exists() && self.ctr(&["version"]).code == 0
    }

    /// Runs `ctr ARGS`, among the daemon's processes and mounts: it makes the container's pipes in /run.
    #[track_caller]
    pub(crate) fn ctr(&self, args: &[&str]) -> Ran {
        let daemon = self.daemon.as_ref().unwrap();
        let mut command = enter(self.sandbox, &child_of(daemon.pid()));
        command
            .arg("ctr")
            .arg("--address")
            .arg(self.dir.join("socket"))
            .args(args);
        self.sandbox.run(command)
    }

    /// Runs `ctr ARGS`, which must succeed; returns its output without the last line end.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        self.ctr(args).ok()
    }

    /// Returns the path of a container's cgroup that is removed with this.
    pub(crate) fn cgroup(&self, name: &str) -> String {
        format!("/{}/{name}", self.cgroup)
    }
}

impl Drop for Containerd<'_> {
    fn drop(&mut self) {
        drop(self.daemon.take());
        remove_cgroups(&self.cgroup);
    }
}

/// Podman's store.
pub(crate) struct Podman<'a> {
    sandbox: &'a Sandbox,
    /// Holds the namespaces; its child is in them.
    holder: Option<Running>,
    pid: String,
    dir: PathBuf,
    cgroup: String,
    runtime: PathBuf,
}

impl<'a> Podman<'a> {
    /// Makes a store.
    pub(crate) fn new(sandbox: &'a Sandbox) -> Podman<'a> {
        Podman::with_runtime(sandbox, Path::new("runc"))
    }

    /// Makes a store whose containers are run by `runtime`.
    pub(crate) fn with_runtime(sandbox: &'a Sandbox, runtime: &Path) -> Podman<'a> {
        let dir = sandbox.path("podman");
        std::fs::create_dir_all(&dir).unwrap();
        let mut holder = apart(sandbox, "echo ready; exec sleep infinity");
        holder.expect("ready");
        Podman {
            sandbox,
            pid: child_of(holder.pid()),
            holder: Some(holder),
            dir,
            cgroup: cgroup_name(sandbox),
            runtime: runtime.to_owned(),
        }
    }

    /// Returns `podman ARGS`, to be run by the sandbox.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = enter(self.sandbox, &self.pid);
        command.arg("podman");
        for (option, name) in [
            ("--root", "data"),
            ("--runroot", "run"),
            ("--tmpdir", "tmp"),
        ] {
            command.arg(option).arg(self.dir.join(name));
        }
        command
            .args(
                "--storage-driver overlay --cgroup-manager cgroupfs --events-backend none"
                    .split(' '),
            )
            .arg("--runtime")
            .arg(&self.runtime)
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

    /// Runs `podman run ARGS` without a network, on a machine that may not raise limits.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        let mut all: Vec<&str> =
            "run --network none --ulimit nofile=1024:1024 --ulimit nproc=1024:1024"
                .split(' ')
                .collect();
        let cgroup = format!("--cgroup-parent=/{}", self.cgroup);
        all.push(&cgroup);
        all.extend(args);
        self.podman(&all)
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

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        drop(self.holder.take());
        remove_cgroups(&self.cgroup);
    }
}

/// Returns the child of the process that [`apart`] has started: the first one in its namespaces.
fn child_of(pid: u32) -> String {
    let children = format!("/proc/{pid}/task/{pid}/children");
    std::fs::read_to_string(children).unwrap().trim().to_owned()
}

/// Returns a command to be completed, which runs where process `pid` is.
fn enter(sandbox: &Sandbox, pid: &str) -> Command {
    let mut command = sandbox.command("nsenter");
    command
        .args(["--target", pid, "--mount", "--pid"])
        .arg(format!("--wdns={}", sandbox.path("").display()));
    command
}

/// Returns the name of a cgroup that no other test uses.
fn cgroup_name(sandbox: &Sandbox) -> String {
    let dir = sandbox.root();
    let name = dir.parent().and_then(Path::file_name).unwrap();
    format!("{}-peers", name.to_str().unwrap())
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
    // Where a hierarchy is not mounted, podman leaves a plain folder with a file.
    for entry in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let folder = entry.path().join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).unwrap();
        }
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
