//! The loops of the soak: many starts, execs, lines and restarts, after which nothing may have grown, got lost or be stuck.
//!
//! The benchmark `soak` runs the long ones, the test `soak` the same ones for some seconds.

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// How many commands run at the same time.
const AT_ONCE: usize = 4;
/// What a monitor's own memory may differ by, in KiB: the allocator keeps some of what a moment needed.
const NOISE_KIB: u64 = 256;
/// The same where lines are moved: entries of a log, and a queue of up to a MiB for a slow client, in memory that doubles.
const BUFFERS_KIB: u64 = 3 << 10;
/// Lines that are written before somebody looks whether all have arrived.
const BURST: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(120);

/// How often each thing is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) starts: usize,
    pub(crate) execs: usize,
    pub(crate) lines: usize,
    pub(crate) restarts: usize,
}

/// How a command of docker's is started: with which pipes is up to the caller.
pub(crate) type Spawn<'a> = &'a (dyn Fn(&[&str], Stdio, Stdio) -> Result<Child> + Sync);

/// What is soaked.
#[derive(Clone, Copy)]
pub(crate) struct Soak<'a> {
    pub(crate) spawn: Spawn<'a>,
    pub(crate) image: &'a str,
    pub(crate) counts: Counts,
}

/// What a monitor has at a moment.
#[derive(Clone, Copy, Debug)]
struct Weight {
    anonymous_kib: u64,
    pss_kib: u64,
    descriptors: usize,
}

impl Soak<'_> {
    /// Does everything while a container with a health check looks on; prints a line for each loop.
    pub(crate) fn run(&self) -> Result<()> {
        self.docker(&[
            "run",
            "-d",
            "--name",
            "onlooker",
            "--network",
            "none",
            "--health-cmd",
            "true",
            "--health-interval",
            "50ms",
            self.image,
            "sleep",
            "100000",
        ])?;
        self.wait_for("onlooker", "{{.State.Health.Status}}", "healthy")?;
        let onlooker = self.weigh("onlooker")?;
        report("starts", self.counts.starts, || self.starts())?;
        report("execs", self.counts.execs, || self.execs())?;
        report("lines, attached", self.counts.lines, || {
            self.attached_lines()
        })?;
        report("lines, followed", self.counts.lines / 10, || {
            self.followed_lines()
        })?;
        report("restarts", self.counts.restarts, || self.restarts())?;
        self.compare("onlooker", onlooker, NOISE_KIB)?;
        self.is_alone("onlooker")?;
        self.docker(&["rm", "-f", "onlooker"])?;
        ensure!(
            self.docker(&["ps", "-aq"])?.is_empty(),
            "a container is left"
        );
        Ok(())
    }

    /// Runs a command to its end; returns its output without the last line end.
    fn docker(&self, args: &[&str]) -> Result<String> {
        let child = (self.spawn)(args, Stdio::null(), Stdio::piped())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{args:?}: {}", output.status);
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    fn inspect(&self, name: &str, format: &str) -> Result<String> {
        self.docker(&["inspect", "-f", format, name])
    }

    fn wait_for(&self, name: &str, format: &str, expected: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.inspect(name, format)? != expected {
            ensure!(
                Instant::now() < deadline,
                "{format} of {name} never is {expected}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Starts containers and waits for their ends, every tenth in the background.
    fn starts(&self) -> Result<()> {
        in_parallel(self.counts.starts, |number| {
            let text = number.to_string();
            let code = u8::try_from(number % 100)?.to_string();
            if number % 10 != 0 {
                let args = [
                    "run",
                    "--rm",
                    "--network",
                    "none",
                    self.image,
                    "echo",
                    &text,
                ];
                ensure!(
                    self.docker(&args)? == text,
                    "run {number} said something else"
                );
                return Ok(());
            }
            let script = format!("echo {text}; exit {code}");
            let id = self.docker(&[
                "run",
                "-d",
                "--network",
                "none",
                self.image,
                "sh",
                "-c",
                &script,
            ])?;
            ensure!(
                self.docker(&["wait", &id])? == code,
                "run {number} ended with something else"
            );
            ensure!(
                self.docker(&["logs", &id])? == text,
                "run {number} said something else"
            );
            self.docker(&["rm", &id])?;
            Ok(())
        })
    }

    /// Runs programs in one container, some of them with input.
    fn execs(&self) -> Result<()> {
        self.docker(&[
            "run",
            "-d",
            "--name",
            "box",
            "--network",
            "none",
            self.image,
            "sleep",
            "100000",
        ])?;
        let some = |count: usize| {
            in_parallel(count, |number| {
                let text = number.to_string();
                ensure!(
                    self.docker(&["exec", "box", "echo", &text])? == text,
                    "exec {number} said something else"
                );
                Ok(())
            })
        };
        some(self.counts.execs / 20)?;
        let before = self.weigh("box")?;
        some(self.counts.execs - self.counts.execs / 20)?;
        self.compare("box", before, NOISE_KIB)?;
        self.is_alone("box")?;
        self.docker(&["rm", "-f", "box"])?;
        Ok(())
    }

    /// Reads all that a container writes as its client; then its log has the last of it without a gap.
    fn attached_lines(&self) -> Result<()> {
        let last = self.counts.lines.to_string();
        // It is weighed once it has been at work.
        let (tenth, next) = (self.counts.lines / 10, self.counts.lines / 10 + 1);
        let script = format!("seq 1 {tenth}; read -r line; seq {next} {last}; read -r line");
        let args = [
            "run",
            "-i",
            "--name",
            "box",
            "--network",
            "none",
            self.image,
            "sh",
            "-c",
            &script,
        ];
        let mut child = (self.spawn)(&args, Stdio::piped(), Stdio::piped())?;
        let (mut input, mut output) = pipes(&mut child)?;
        expect_lines(&mut output, 1..=tenth)?;
        let before = self.weigh("box")?;
        input.write_all(b"\n")?;
        expect_lines(&mut output, next..=self.counts.lines)?;
        self.compare("box", before, BUFFERS_KIB)?;
        input.write_all(b"\n")?;
        ensure!(child.wait()?.success(), "run has failed");
        let logged = self.docker(&["logs", "box"])?;
        let first: usize = logged.lines().next().context("the log is empty")?.parse()?;
        let mut logged = logged.as_bytes();
        expect_lines(&mut logged, first..=self.counts.lines)?;
        self.docker(&["rm", "box"])?;
        Ok(())
    }

    /// Follows a log that is turned over again and again.
    fn followed_lines(&self) -> Result<()> {
        let script = "while read -r first last; do seq $first $last; done";
        let args = [
            "run",
            "-i",
            "--name",
            "box",
            "--network",
            "none",
            "--log-opt",
            "max-size=500k",
            "--log-opt",
            "max-file=5",
            "-a",
            "stdin",
            self.image,
            "sh",
            "-c",
            script,
        ];
        let mut writer = (self.spawn)(&args, Stdio::piped(), Stdio::null())?;
        let mut orders = writer.stdin.take().context("run has no input")?;
        self.wait_until_running("box")?;
        let mut follower = (self.spawn)(&["logs", "-f", "box"], Stdio::null(), Stdio::piped())?;
        let mut followed = BufReader::new(follower.stdout.take().context("logs has no output")?);
        let mut before = None;
        let mut first = 1;
        while first <= self.counts.lines / 10 {
            let last = (first + BURST - 1).min(self.counts.lines / 10);
            writeln!(orders, "{first} {last}")?;
            expect_lines(&mut followed, first..=last)?;
            if before.is_none() {
                before = Some((self.weigh("box")?, descriptors(follower.id())?));
            }
            first = last + 1;
        }
        let (weight, open) = before.context("nothing was written")?;
        self.compare("box", weight, BUFFERS_KIB)?;
        ensure!(
            descriptors(follower.id())? <= open + 1,
            "logs -f has more descriptors than before"
        );
        drop(orders);
        ensure!(
            writer.wait()?.success() && follower.wait()?.success(),
            "run or logs has failed"
        );
        self.docker(&["rm", "box"])?;
        Ok(())
    }

    /// Restarts a container by command, and has another restarted by its policy.
    fn restarts(&self) -> Result<()> {
        self.docker(&[
            "run",
            "-d",
            "--name",
            "box",
            "--network",
            "none",
            "--stop-signal",
            "KILL",
            self.image,
            "sh",
            "-c",
            "echo start; exec sleep 100000",
        ])?;
        let policy = [
            "run",
            "-d",
            "--name",
            "again",
            "--network",
            "none",
            "--restart",
            "on-failure:6",
        ];
        self.docker(&[&policy[..], &[self.image, "sh", "-c", "echo start; exit 3"]].concat())?;
        self.docker(&["restart", "box"])?;
        let before = self.weigh("box")?;
        for _ in 1..self.counts.restarts {
            self.docker(&["restart", "box"])?;
        }
        self.compare("box", before, NOISE_KIB)?;
        self.is_alone("box")?;
        self.wait_for(
            "again",
            "{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}",
            "exited 6 3",
        )?;
        // The first one may be killed before it has said anything.
        let id = format!("container={}", self.inspect("box", "{{.Id}}")?);
        let started = self.docker(&[
            "events",
            "--since",
            "24h",
            "--until",
            "0s",
            "-f",
            "event=start",
            "-f",
            &id,
        ])?;
        let started = started.lines().count();
        ensure!(
            started == self.counts.restarts + 1,
            "{started} starts are told of {}",
            self.counts.restarts + 1
        );
        let said = self.docker(&["logs", "again"])?.lines().count();
        ensure!(
            said == 7,
            "what has failed 7 times has said so {said} times"
        );
        self.docker(&["rm", "-f", "box", "again"])?;
        Ok(())
    }

    fn wait_until_running(&self, name: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let listed = self.docker(&["ps", "-q", "-f", &format!("name=^{name}$")])?;
            if !listed.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{name} never runs");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether the only program in a container is its first one; those of a health check come and go.
    fn is_alone(&self, name: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let table = self.docker(&["top", name, "-o", "pid,stat,comm"])?;
            if table.lines().count() == 2 {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "a process is stuck in {name}:\n{table}"
            );
            std::thread::sleep(Duration::from_millis(7));
        }
    }

    fn weigh(&self, name: &str) -> Result<Weight> {
        let id = self.inspect(name, "{{.Id}}")?;
        let deadline = Instant::now() + PATIENCE;
        // Between two runs there may be none for a moment.
        let proc = loop {
            if let Some(found) = monitor(&id)? {
                break found;
            }
            ensure!(Instant::now() < deadline, "{name} has no monitor");
        };
        let rollup = fs::read_to_string(proc.join("smaps_rollup"))?;
        let field = |name: &str| -> Result<u64> {
            let line = rollup.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_whitespace().nth(1));
            Ok(value.with_context(|| format!("no {name}"))?.parse()?)
        };
        Ok(Weight {
            anonymous_kib: field("Anonymous:")?,
            pss_kib: field("Pss:")?,
            descriptors: fs::read_dir(proc.join("fd"))?.count(),
        })
    }

    /// Checks that a container's monitor has nothing more than before, as soon as it has put away what it is busy with.
    fn compare(&self, name: &str, before: Weight, noise_kib: u64) -> Result<()> {
        let deadline = Instant::now() + PATIENCE / 4;
        loop {
            let now = self.weigh(name)?;
            let grown = now.anonymous_kib > before.anonymous_kib + noise_kib;
            if !grown && now.descriptors <= before.descriptors {
                println!(
                    "  monitor of {name}: own memory {} to {} KiB, PSS {} to {} KiB, descriptors {} to {}",
                    before.anonymous_kib,
                    now.anonymous_kib,
                    before.pss_kib,
                    now.pss_kib,
                    before.descriptors,
                    now.descriptors
                );
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("the monitor of {name} has grown: {before:?} before, now {now:?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn report(what: &str, count: usize, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    work().with_context(|| format!("{count} {what}"))?;
    println!("{count} {what}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn pipes(child: &mut Child) -> Result<(ChildStdin, BufReader<ChildStdout>)> {
    let input = child.stdin.take().context("there is no input")?;
    let output = child.stdout.take().context("there is no output")?;
    Ok((input, BufReader::with_capacity(1 << 18, output)))
}

/// Reads lines that must be these numbers.
fn expect_lines(from: &mut impl BufRead, numbers: std::ops::RangeInclusive<usize>) -> Result<()> {
    let mut line = String::new();
    for number in numbers {
        line.clear();
        from.read_line(&mut line)?;
        ensure!(
            line.trim_end() == number.to_string(),
            "line {number} is missing: {line:?} is there"
        );
    }
    Ok(())
}

fn descriptors(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Returns the folder in /proc of a container's monitor.
fn monitor(id: &str) -> Result<Option<PathBuf>> {
    let end = format!("\0{id}\0");
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        // Processes end while one looks.
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        if line.starts_with(b"aril\0monitor\0") && line.ends_with(end.as_bytes()) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Does `work` for each number below `count`, some at a time; returns the first error.
fn in_parallel(count: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let worker = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(());
            }
            work(number)?;
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| bail!("a thread has panicked"))
        })
    })
}

/// Makes a command one of a soak.
pub(crate) fn start(mut command: Command, stdin: Stdio, stdout: Stdio) -> Result<Child> {
    command.stdin(stdin).stdout(stdout);
    command
        .spawn()
        .with_context(|| format!("start {command:?}"))
}
