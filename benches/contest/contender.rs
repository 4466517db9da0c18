//! Who is measured: engines that take docker's command lines, runtimes that take runc's, and how each is set up here.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::figures::Role;
use crate::machine::{CGROUP, path};
use crate::patience::check;

/// Whether a command and its arguments are such that something is to be added.
type Test = fn(&str, &[&str]) -> bool;

/// A program, and what stands in its command lines besides what is measured.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    program: PathBuf,
    /// Before the command.
    options: Vec<String>,
    /// After the command, if the test is true of it and its arguments.
    command_options: Vec<(Test, Vec<String>)>,
    environment: Vec<(&'static str, PathBuf)>,
    /// Its daemons; they are killed with the namespace.
    daemon: Option<Child>,
}

impl Contender {
    fn new(name: &'static str, role: Role, program: impl Into<PathBuf>) -> Contender {
        Contender {
            name,
            role,
            program: program.into(),
            options: Vec::new(),
            command_options: Vec::new(),
            environment: Vec::new(),
            daemon: None,
        }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.options);
        let (verb, rest) = args.split_first().unwrap_or((&"", &[]));
        command.arg(verb);
        for (test, options) in &self.command_options {
            if test(verb, rest) {
                command.args(options);
            }
        }
        command.args(rest).envs(self.environment.iter().cloned());
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Result<()> {
        check(&mut self.command(args))
    }

    /// Runs a command whose processes stay: they would keep a pipe open.
    pub(crate) fn leave(&self, args: &[&str]) -> Result<()> {
        let mut command = self.command(args);
        let status = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        ensure!(
            status.success(),
            "{} {args:?} ended with {status}",
            self.name
        );
        Ok(())
    }

    /// What a command prints.
    pub(crate) fn ask(&self, args: &[&str]) -> Result<String> {
        let output = self.command(args).output()?;
        ensure!(
            output.status.success(),
            "{} {args:?} ended with {}",
            self.name,
            output.status
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// What it says of its version, in one line.
    pub(crate) fn version(&self) -> String {
        let said = self.ask(&["--version"]).unwrap_or_default();
        said.lines().next().unwrap_or(self.name).to_owned()
    }
}

/// The build that is measured.
pub(crate) fn own() -> PathBuf {
    std::env::var_os("ARIL")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_aril").into())
        .into()
}

/// Those that work here, and why others do not.
pub(crate) type Found = (Vec<Contender>, Vec<String>);

/// Engines: aril, docker, podman.
pub(crate) fn engines(work: &Path) -> Found {
    let mut aril = Contender::new("aril", Role::Own, own());
    aril.command_options = vec![in_our_cgroup()];
    aril.environment = vec![
        ("ARIL_ROOT", work.join("aril")),
        ("ARIL_RUN", "/run/aril".into()),
    ];
    working(vec![Ok(aril), docker(work), podman(work)])
}

/// Runtimes: aril-oci, crun, runc, youki.
pub(crate) fn runtimes(work: &Path, youki: Option<&Path>) -> Found {
    let runtime = |name, role, program: &Path| {
        let mut contender = Contender::new(name, role, program);
        // In memory, where their callers have it.
        contender.options = vec!["--root".to_owned(), format!("/run/root-{name}")];
        contender
    };
    let link = work.join("aril-oci");
    let aril = std::os::unix::fs::symlink(own(), &link)
        .context("aril-oci")
        .map(|()| runtime("aril-oci", Role::Own, &link));
    let peer = |name, program: &Path| {
        let contender = runtime(name, Role::Peer, program);
        contender
            .ask(&["--version"])
            .context(name)
            .map(|_| contender)
    };
    let youki = youki
        .context("youki: could not be built")
        .and_then(|program| peer("youki", program));
    working(vec![
        aril,
        peer("crun", Path::new("crun")),
        peer("runc", Path::new("runc")),
        youki,
    ])
}

/// Containers are in the cgroup that is removed when the measurement ends, however it does.
fn in_our_cgroup() -> (Test, Vec<String>) {
    let test: Test = |verb, _| verb == "run" || verb == "create";
    (test, vec![format!("--cgroup-parent=/{CGROUP}")])
}

fn working(all: Vec<Result<Contender>>) -> Found {
    let (mut found, mut left_out) = (Vec::new(), Vec::new());
    for one in all {
        match one {
            Ok(contender) => found.push(contender),
            Err(error) => left_out.push(format!("{error:#}")),
        }
    }
    (found, left_out)
}

fn docker(work: &Path) -> Result<Contender> {
    let log = File::create(work.join("dockerd.log"))?;
    let config = work.join("daemon.json");
    fs::write(&config, "{}")?;
    let mut daemon = Command::new("dockerd");
    daemon.args([
        "--storage-driver",
        "overlay2",
        "--cgroup-parent",
        &format!("/{CGROUP}"),
    ]);
    for (option, place) in [
        ("--data-root", work.join("docker")),
        ("--config-file", config),
        ("--exec-root", "/run/docker".into()),
        ("--pidfile", "/run/docker.pid".into()),
    ] {
        daemon.arg(option).arg(place);
    }
    daemon
        .args(["-H", "unix:///run/docker.sock"])
        .stdin(Stdio::null());
    let mut daemon = daemon
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("docker: run dockerd")?;
    let mut docker = Contender::new("docker", Role::Peer, "docker");
    docker.options = vec!["-H".to_owned(), "unix:///run/docker.sock".to_owned()];
    let deadline = Instant::now() + Duration::from_secs(30);
    while docker.run(&["version"]).is_err() {
        if daemon.try_wait()?.is_some() || Instant::now() > deadline {
            let log = fs::read_to_string(work.join("dockerd.log"))?;
            bail!(
                "docker: dockerd does not answer: {}",
                log.lines().last().unwrap_or_default()
            );
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    docker.daemon = Some(daemon);
    Ok(docker)
}

fn podman(work: &Path) -> Result<Contender> {
    let config = work.join("containers.conf");
    // Networks are written below /etc unless it says otherwise, and logs into a journal.
    let networks = work.join("podman-networks");
    fs::write(
        &config,
        format!(
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\nlog_driver = \"k8s-file\"\n\
             [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nruntime = \"crun\"\n\
             [network]\nnetwork_config_dir = \"{}\"\n",
            path(&networks)?
        ),
    )?;
    let mut podman = Contender::new("podman", Role::Peer, "podman");
    let root = work.join("podman");
    podman.options = ["--root", path(&root)?, "--storage-driver", "overlay"]
        .map(str::to_owned)
        .to_vec();
    podman.environment = vec![("CONTAINERS_CONF", config)];
    podman.command_options = vec![
        in_our_cgroup(),
        // As with the others, nobody waits for a program that ignores SIGTERM.
        (
            |verb, args| verb == "rm" && args.contains(&"-f"),
            vec!["--time=0".to_owned()],
        ),
        // The registry on the loopback device has no TLS.
        (
            |verb, _| verb == "pull" || verb == "push",
            vec!["--tls-verify=false".to_owned()],
        ),
    ];
    podman.run(&["info"]).context("podman")?;
    Ok(podman)
}
