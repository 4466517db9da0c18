//! What benchmarks beside docker and podman share: the contenders on a machine of their own, and rounds in which they take turns.
//!
//! In each round the contenders take turns, in another order each time. All run the command lines of docker.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::figures::print_times;
use crate::machine::{self, CGROUP, check, path};

/// Runs `measure` with the arguments of the program, where everything is its own.
pub(crate) fn run(rounds: usize, measure: fn(&Bench) -> Result<()>) -> Result<()> {
    machine::run(|work| begin(work, rounds, measure))
}

fn begin(work: &Path, rounds: usize, measure: fn(&Bench) -> Result<()>) -> Result<()> {
    let mut args = std::env::args().skip(1);
    let given = args.next().and_then(|arg| arg.parse().ok());
    let word = args.next().unwrap_or_default();
    let contenders = contenders(work)?;
    println!(
        "{} processors, kernel {}, {}",
        std::thread::available_parallelism()?,
        fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        contenders
            .iter()
            .map(|it| it.version.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    );
    measure(&Bench {
        contenders,
        rounds: given.unwrap_or(rounds),
        word,
        work: work.to_owned(),
    })
}

/// One engine: what stands before a command of docker's.
pub(crate) struct Contender {
    version: String,
    pub(crate) name: &'static str,
    program: PathBuf,
    options: Vec<String>,
    environment: Vec<(&'static str, PathBuf)>,
    /// Options of `run` and `create`.
    run_options: Vec<String>,
    /// Options of `rm`, so that nobody waits for a program that ignores SIGTERM.
    remove_options: &'static [&'static str],
    /// Options of `pull` and `push`, for a registry without TLS on the loopback device.
    registry_options: &'static [&'static str],
    /// Killed with the namespace.
    _daemon: Option<Child>,
}

impl Contender {
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.options);
        let (verb, rest) = args.split_first().unwrap_or((&"", &[]));
        command.arg(verb);
        if *verb == "run" || *verb == "create" {
            command.args(&self.run_options);
        }
        if *verb == "rm" {
            command.args(self.remove_options);
        }
        if *verb == "pull" || *verb == "push" {
            command.args(self.registry_options);
        }
        command.args(rest).envs(self.environment.iter().cloned());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Result<()> {
        check(&mut self.command(args))
    }
}

/// Returns aril, and those of the others that work here.
fn contenders(work: &Path) -> Result<Vec<Contender>> {
    let program = std::env::var_os("ARIL").unwrap_or_else(|| env!("CARGO_BIN_EXE_aril").into());
    let aril = Contender {
        version: String::new(),
        name: "aril",
        program: program.into(),
        options: Vec::new(),
        environment: vec![
            ("ARIL_ROOT", work.join("aril")),
            ("ARIL_RUN", "/run/aril".into()),
        ],
        run_options: Vec::new(),
        remove_options: &[],
        registry_options: &[],
        _daemon: None,
    };
    let mut found = vec![aril];
    for other in [docker(work), podman(work)] {
        match other {
            Ok(contender) => found.push(contender),
            Err(error) => println!("left out: {error:#}"),
        }
    }
    for contender in &mut found {
        let said = contender.command(&["--version"]).output()?.stdout;
        let said = String::from_utf8_lossy(&said).into_owned();
        said.trim().clone_into(&mut contender.version);
    }
    Ok(found)
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
    let docker = |daemon| Contender {
        version: String::new(),
        name: "docker",
        program: "docker".into(),
        options: vec!["-H".to_owned(), "unix:///run/docker.sock".to_owned()],
        environment: Vec::new(),
        run_options: Vec::new(),
        remove_options: &[],
        registry_options: &[],
        _daemon: daemon,
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while docker(None).run(&["version"]).is_err() {
        if daemon.try_wait()?.is_some() || Instant::now() > deadline {
            let log = fs::read_to_string(work.join("dockerd.log"))?;
            bail!(
                "docker: dockerd does not answer: {}",
                log.lines().last().unwrap_or_default()
            );
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(docker(Some(daemon)))
}

fn podman(work: &Path) -> Result<Contender> {
    let config = work.join("containers.conf");
    // Networks are written below /etc unless it says otherwise.
    let networks = work.join("podman-networks");
    fs::write(
        &config,
        format!(
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
             [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nruntime = \"crun\"\n\
             [network]\nnetwork_config_dir = \"{}\"\n",
            path(&networks)?
        ),
    )?;
    let podman = Contender {
        version: String::new(),
        name: "podman",
        program: "podman".into(),
        options: [
            "--root",
            path(&work.join("podman"))?,
            "--storage-driver",
            "overlay",
        ]
        .map(str::to_owned)
        .to_vec(),
        environment: vec![("CONTAINERS_CONF", config)],
        run_options: vec![format!("--cgroup-parent=/{CGROUP}")],
        remove_options: &["--time=0"],
        registry_options: &["--tls-verify=false"],
        _daemon: None,
    };
    podman.run(&["info"]).context("podman")?;
    Ok(podman)
}

/// A run of the benchmark.
pub(crate) struct Bench {
    pub(crate) contenders: Vec<Contender>,
    pub(crate) rounds: usize,
    word: String,
    /// On the new file system.
    pub(crate) work: PathBuf,
}

/// What is done with a contender in a round.
pub(crate) type Step<'a> = &'a dyn Fn(&Contender, usize) -> Result<()>;

impl Bench {
    pub(crate) fn wants(&self, name: &str) -> bool {
        name.contains(&self.word)
    }

    /// Measures `step` and not `after`, each round in another order.
    pub(crate) fn measure(&self, name: &str, rounds: usize, step: Step<'_>, after: Step<'_>) {
        if !self.wants(name) {
            return;
        }
        let mut times: Vec<Result<Vec<f64>>> =
            self.contenders.iter().map(|_| Ok(Vec::new())).collect();
        // The first round warms up.
        for round in 0..=rounds {
            for turn in 0..self.contenders.len() {
                let number = (turn + round) % self.contenders.len();
                let (contender, times) = (&self.contenders[number], &mut times[number]);
                let Ok(sofar) = times else { continue };
                let start = Instant::now();
                let done = step(contender, round);
                let took = start.elapsed().as_secs_f64() * 1000.0;
                match done.and_then(|()| after(contender, round)) {
                    Ok(()) if round > 0 => sofar.push(took),
                    Ok(()) => {}
                    Err(error) => *times = Err(error),
                }
            }
        }
        println!("{name}, {rounds} rounds: min, median, max in ms");
        let mut own = None;
        for (contender, times) in self.contenders.iter().zip(times) {
            match times {
                Ok(times) => print_times(contender.name, times, &mut own),
                Err(error) => println!("  {:8} {error:#}", contender.name),
            }
        }
    }
}
