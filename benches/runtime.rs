//! What callers of an OCI runtime wait for: run, create with start and delete, exec; by aril, and by crun, runc and youki
//! where they are installed.
//!
//! ```text
//! cargo bench --bench runtime [-- ROUNDS [WORD]]     needs root; WORD picks the measurements whose names have it
//! ARIL=/usr/local/bin/aril cargo bench …             measures another build
//! ```
//!
//! In each round the contenders take turns, in another order each time: once back to back, and once with a pause before
//! each, since a host that has been idle moves processes into cgroups by another, slower way. System calls are counted with
//! strace in a run of their own. All have the same bundle, in a mount namespace of the program's own: crun refuses hosts
//! with both versions of cgroups, so a v2 hierarchy beside others is hidden from all.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod figures;

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use figures::print_times;
use serde_json::{Value, json};

/// Set where the mount namespace is ours: the folder of the measurement.
const INSIDE: &str = "ARIL_BENCH_INSIDE";
const ROUNDS: usize = 30;
/// How long the host is left alone before a start that counts as spaced.
const PAUSE: Duration = Duration::from_millis(300);

fn main() -> Result<()> {
    match std::env::var_os(INSIDE) {
        Some(dir) => measure_all(Path::new(&dir)),
        None => enter(),
    }
}

/// Runs this program again in a mount namespace of its own.
fn enter() -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "needs root");
    let dir = std::env::temp_dir().join(format!("aril-bench-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    // `cargo bench` adds a flag of its own.
    let args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe()?)
        .args(args)
        .env(INSIDE, &dir)
        .status()
        .context("run unshare")?;
    fs::remove_dir_all(&dir)?;
    ensure!(status.success(), "the measurement ended with {status}");
    Ok(())
}

/// A runtime with runc's command line.
struct Contender {
    name: &'static str,
    program: PathBuf,
    root: PathBuf,
}

impl Contender {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg0(self.name)
            .arg("--root")
            .arg(&self.root)
            .args(args);
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Result<()> {
        check(&mut self.command(args))
    }

    /// Runs a command whose processes stay: they would keep a pipe open.
    fn leave(&self, args: &[&str]) -> Result<()> {
        let status = self
            .command(args)
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
}

fn check(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}", said.trim());
    }
    Ok(())
}

fn measure_all(dir: &Path) -> Result<()> {
    let mut args = std::env::args().skip(1);
    let rounds = args.next().and_then(|arg| arg.parse().ok());
    let rounds = rounds.unwrap_or(ROUNDS);
    let word = args.next().unwrap_or_default();
    let unified = Path::new("/sys/fs/cgroup/unified");
    if unified.join("cgroup.controllers").exists() {
        check(Command::new("umount").arg(unified))?;
    }
    let contenders = contenders(dir)?;
    println!(
        "{} processors, kernel {}",
        std::thread::available_parallelism()?,
        fs::read_to_string("/proc/sys/kernel/osrelease")?.trim()
    );
    for contender in &contenders {
        let said = contender.command(&["--version"]).output()?.stdout;
        let said = String::from_utf8_lossy(&said).into_owned();
        println!("  {}", said.lines().next().unwrap_or_default());
    }
    let plain = bundle(dir, "plain", None)?;
    let filtered = bundle(dir, "filtered", Some(filter()?))?;
    let bench = Bench {
        contenders,
        rounds,
        word,
    };
    for (what, bundle) in [("", &plain), (", with docker's seccomp profile", &filtered)] {
        let bundle = bundle.to_str().context("the folder's name is no text")?;
        bench.both(&format!("run of true{what}"), &|contender| {
            contender.run(&["run", "--bundle", bundle, "run"])
        });
    }
    let bundle = plain.to_str().context("the folder's name is no text")?;
    bench.both("create, start, delete --force", &|contender| {
        contender.leave(&["create", "--bundle", bundle, "made"])?;
        contender.leave(&["start", "made"])?;
        contender.run(&["delete", "--force", "made"])
    });
    let waiting = waiting(dir)?;
    for contender in &bench.contenders {
        contender.leave(&["run", "--detach", "--bundle", &waiting, "waits"])?;
    }
    bench.both("exec of true", &|contender| {
        contender.run(&["exec", "waits", "true"])
    });
    for contender in &bench.contenders {
        contender.run(&["delete", "--force", "waits"])?;
    }
    bench.count(dir, &plain)
}

/// Returns aril, and those of the others that are installed.
fn contenders(dir: &Path) -> Result<Vec<Contender>> {
    let aril = std::env::var_os("ARIL").unwrap_or_else(|| env!("CARGO_BIN_EXE_aril").into());
    let mut found = vec![("aril-oci", PathBuf::from(aril))];
    let path = std::env::var_os("PATH").context("PATH is not set")?;
    for name in ["crun", "runc", "youki"] {
        let mut places = std::env::split_paths(&path).map(|place| place.join(name));
        found.extend(
            places
                .find(|place| place.exists())
                .map(|place| (name, place)),
        );
    }
    Ok(found
        .into_iter()
        .map(|(name, program)| Contender {
            name,
            program,
            root: dir.join(format!("root-{name}")),
        })
        .collect())
}

fn filter() -> Result<Value> {
    let profile = aril::container::seccomp::default_profile(&[], std::env::consts::ARCH);
    Ok(serde_json::to_value(profile)?)
}

/// Makes a bundle of what `runc spec` writes, without a terminal.
fn bundle(dir: &Path, name: &str, seccomp: Option<Value>) -> Result<PathBuf> {
    let bundle = dir.join(name);
    let root = bundle.join("rootfs");
    fs::create_dir(&bundle)?;
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("rootfs-fixtures/busybox.sh");
    check(Command::new(recipe).arg(&root))?;
    for place in ["proc", "sys", "dev"] {
        fs::create_dir_all(root.join(place))?;
    }
    let aril = env!("CARGO_BIN_EXE_aril");
    check(
        Command::new(aril)
            .arg0("aril-oci")
            .arg("spec")
            .current_dir(&bundle),
    )?;
    let config = bundle.join("config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&config)?)?;
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(["true"]);
    // Others know the version before the newest.
    spec["ociVersion"] = json!("1.0.2");
    if let Some(seccomp) = seccomp {
        spec["linux"]["seccomp"] = seccomp;
    }
    fs::write(config, spec.to_string())?;
    Ok(bundle)
}

/// Makes a bundle whose program stays.
fn waiting(dir: &Path) -> Result<String> {
    let bundle = bundle(dir, "waiting", None)?;
    let config = bundle.join("config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&config)?)?;
    spec["process"]["args"] = json!(["sleep", "10000"]);
    fs::write(config, spec.to_string())?;
    Ok(bundle.display().to_string())
}

struct Bench {
    contenders: Vec<Contender>,
    rounds: usize,
    word: String,
}

type Step<'a> = &'a dyn Fn(&Contender) -> Result<()>;

impl Bench {
    /// Measures `step` back to back and spaced.
    fn both(&self, name: &str, step: Step<'_>) {
        if !name.contains(&self.word) {
            return;
        }
        self.measure(&format!("{name}, back to back"), step, Duration::ZERO);
        self.measure(
            &format!("{name}, {} ms apart", PAUSE.as_millis()),
            step,
            PAUSE,
        );
    }

    fn measure(&self, name: &str, step: Step<'_>, pause: Duration) {
        let mut times: Vec<Result<Vec<f64>>> =
            self.contenders.iter().map(|_| Ok(Vec::new())).collect();
        // The first round warms up.
        for round in 0..=self.rounds {
            for turn in 0..self.contenders.len() {
                let number = (turn + round) % self.contenders.len();
                let (contender, times) = (&self.contenders[number], &mut times[number]);
                let Ok(sofar) = times else { continue };
                std::thread::sleep(pause);
                let start = Instant::now();
                let done = step(contender);
                let took = start.elapsed().as_secs_f64() * 1000.0;
                match done {
                    Ok(()) if round > 0 => sofar.push(took),
                    Ok(()) => {}
                    Err(error) => *times = Err(error),
                }
            }
        }
        println!("{name}, {} rounds: min, median, max in ms", self.rounds);
        let mut own = None;
        for (contender, times) in self.contenders.iter().zip(times) {
            match times {
                Ok(times) => print_times(contender.name, times, &mut own),
                Err(error) => println!("  {:8} {error:#}", contender.name),
            }
        }
    }

    /// Counts the system calls of a run.
    fn count(&self, dir: &Path, bundle: &Path) -> Result<()> {
        if !"system calls".contains(&self.word) {
            return Ok(());
        }
        println!("system calls of a run of true");
        let trace = dir.join("trace");
        for contender in &self.contenders {
            let run = contender.command(&["run", "--bundle"]);
            let mut strace = Command::new("strace");
            strace.args(["-f", "-o"]).arg(&trace);
            // strace looks the program up by its path, so it is called by the name that makes it a runtime.
            let link = dir.join(contender.name);
            if !link.exists() {
                std::os::unix::fs::symlink(&contender.program, &link)?;
            }
            strace
                .arg(link)
                .args(run.get_args())
                .arg(bundle)
                .arg("traced");
            strace
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(File::create(dir.join("said"))?);
            let status = strace.status().context("run strace")?;
            let calls = fs::read_to_string(&trace)?.lines().count();
            println!("  {:8} {calls:9}  ({status})", contender.name);
        }
        Ok(())
    }
}
