//! A machine of its own for each test: data and run folder, mount and network namespace, a busybox image.
//!
//! ```text
//! let sandbox = Sandbox::new();
//! assert_eq!(sandbox.ok(&["run", "--rm", "busybox", "echo", "hi"]), "hi");
//! let error = sandbox.fails(125, &["run", "nosuch:image"]);
//! ```
//!
//! Every command and what it said is printed, which the test harness shows when the test fails. Dropping a sandbox removes
//! its containers, and fails the test if a process, a mount, a cgroup, a network device or an nft table of it is left.

pub(crate) mod child;
pub(crate) mod image;
pub(crate) mod leftovers;
pub(crate) mod machine;
pub(crate) mod terminal;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub(crate) use child::{Ran, Running};
use leftovers::Leftovers;
use machine::Machine;
pub(crate) use terminal::Terminal;

/// How long anything may take that should be immediate; generous, since the machine may be busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test.
pub(crate) const ARIL: &str = env!("CARGO_BIN_EXE_aril");

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A machine that no other test sees; see the file's head.
pub(crate) struct Sandbox {
    dir: PathBuf,
    machine: Machine,
    before: Leftovers,
}

impl Sandbox {
    /// Returns a machine whose only image is `busybox`.
    pub(crate) fn new() -> Sandbox {
        let sandbox = Sandbox::bare();
        image::copy_store(&sandbox.root());
        sandbox
    }

    /// Returns a machine on which the container `box` sleeps.
    #[track_caller]
    pub(crate) fn with_box(options: &[&str]) -> Sandbox {
        let sandbox = Sandbox::new();
        let mut args = vec!["run", "-d", "--name", "box"];
        args.extend(options);
        args.extend(["busybox", "sleep", "1000"]);
        sandbox.ok(&args);
        sandbox
    }

    /// Returns a machine without any image.
    pub(crate) fn bare() -> Sandbox {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests need root"
        );
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("aril-test-{}-{number}", std::process::id()));
        for below in ["root", "run", "home", "work", "etc"] {
            std::fs::create_dir_all(dir.join(below)).unwrap();
        }
        // That of the host must not decide over a test.
        std::fs::write(dir.join("etc/daemon.json"), "{}").unwrap();
        let machine = Machine::new();
        let before = Leftovers::find(&machine, &dir, &[]);
        println!("sandbox {}", dir.display());
        Sandbox {
            dir,
            machine,
            before,
        }
    }

    /// Returns the data folder.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// Returns the run folder.
    pub(crate) fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// Returns the path of `name` in the folder of daemon.json and certs.d.
    pub(crate) fn etc(&self, name: &str) -> PathBuf {
        self.dir.join("etc").join(name)
    }

    /// Returns the path of `name` in the user's home.
    pub(crate) fn home(&self, name: &str) -> PathBuf {
        self.dir.join("home").join(name)
    }

    /// Replaces daemon.json.
    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.etc("daemon.json"), text).unwrap();
    }

    /// Returns the path of `name` in the folder that commands are run in, which is the test's to fill.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join("work").join(name)
    }

    /// Writes a file into the folder that commands are run in; returns its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path.into_os_string().into_string().unwrap()
    }

    /// Does something in the namespaces of this machine.
    pub(crate) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.machine.inside(act)
    }

    /// Returns a command with a small, known environment, to be run on this machine by [`Sandbox::run`] and its kind.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.dir.join("home"))
            .env("TERM", "xterm")
            .env("ARIL_ROOT", self.root())
            .env("ARIL_RUN", self.run_dir())
            .env("ARIL_CONFIG_FILE", self.etc("daemon.json"))
            .current_dir(self.dir.join("work"));
        command
    }

    /// Returns the program under test with arguments, as a command for [`Sandbox::run`] and its kind.
    pub(crate) fn aril_command(&self, args: &[&str]) -> Command {
        let mut command = self.command(ARIL);
        command.args(args);
        command
    }

    /// Runs a command on this machine to its end, without input.
    #[track_caller]
    pub(crate) fn run(&self, command: Command) -> Ran {
        self.start(command).end()
    }

    /// Starts a command on this machine; its input stays open until [`Running::close_input`] or its end is waited for.
    #[track_caller]
    pub(crate) fn start(&self, mut command: Command) -> Running {
        Running::start(&self.machine, &mut command)
    }

    /// Runs `aril ARGS` to its end, without input.
    #[track_caller]
    pub(crate) fn aril(&self, args: &[&str]) -> Ran {
        self.run(self.aril_command(args))
    }

    /// Runs `aril ARGS` with `input`.
    #[track_caller]
    pub(crate) fn feed(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut running = self.start(self.aril_command(args));
        running.feed_and_end(input)
    }

    /// Starts `aril ARGS`, with pipes.
    #[track_caller]
    pub(crate) fn spawn(&self, args: &[&str]) -> Running {
        self.start(self.aril_command(args))
    }

    /// Starts `aril ARGS` in a terminal.
    #[track_caller]
    pub(crate) fn terminal(&self, args: &[&str]) -> Terminal {
        Terminal::start(&self.machine, &self.aril_command(args), (24, 80))
    }

    /// Starts `aril ARGS` in a terminal of so many rows and columns.
    #[track_caller]
    pub(crate) fn terminal_of(&self, size: (u16, u16), args: &[&str]) -> Terminal {
        Terminal::start(&self.machine, &self.aril_command(args), size)
    }

    /// Starts a command in a terminal of so many rows and columns.
    #[track_caller]
    pub(crate) fn terminal_command(&self, size: (u16, u16), command: &Command) -> Terminal {
        Terminal::start(&self.machine, command, size)
    }

    /// Runs `aril ARGS`, which must succeed; returns its output without the last line end.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        self.aril(args).ok()
    }

    /// Runs `aril ARGS`, which must end with `code`; returns what it said on standard error, without the last line end.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, args: &[&str]) -> String {
        let ran = self.aril(args);
        assert_eq!(ran.code, code, "aril {args:?}: {ran:?}");
        ran.err.trim_end().to_owned()
    }

    /// Runs a shell script of this machine, which must succeed; returns its output without the last line end.
    #[track_caller]
    pub(crate) fn shell(&self, script: &str) -> String {
        let mut command = self.command("sh");
        command.args(["-euc", script]);
        self.run(command).ok()
    }

    /// Returns what template `format` makes of container, image, volume or network `name`.
    #[track_caller]
    pub(crate) fn inspect(&self, name: &str, format: &str) -> String {
        self.ok(&["inspect", "--format", format, name])
    }

    /// Returns the monitor of a running container: the parent of its first process.
    #[track_caller]
    pub(crate) fn monitor(&self, name: &str) -> rustix::process::Pid {
        let pid = self.inspect(name, "{{.State.Pid}}");
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let parent = stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap();
        rustix::process::Pid::from_raw(parent.parse().unwrap()).unwrap()
    }

    /// Waits until template `format` makes `expected` of container `name`.
    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str, format: &str, expected: &str) {
        wait_until(&format!("{format} of {name} is {expected}"), || {
            let ran = self.aril(&["inspect", "--format", format, name]);
            ran.code == 0 && ran.out.trim_end() == expected
        });
    }

    /// Waits until container `name` has that status.
    #[track_caller]
    pub(crate) fn wait_for_status(&self, name: &str, status: &str) {
        self.wait_for(name, "{{.State.Status}}", status);
    }

    /// Waits until the log of container `name` contains `text`.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, name: &str, text: &str) {
        wait_until(&format!("{name} logs {text:?}"), || {
            let ran = self.aril(&["logs", name]);
            ran.out.contains(text) || ran.err.contains(text)
        });
    }

    /// Ids of all containers that there are or have been, as far as anything tells.
    fn container_ids(&self) -> Vec<String> {
        let mut ids = Vec::new();
        let journal = std::fs::read_to_string(self.root().join("events.jsonl")).unwrap_or_default();
        for line in journal.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            if event["Type"] == "container"
                && let Some(id) = event["Actor"]["ID"].as_str()
                // A prune is of no container; the cgroup above all of them is everybody's.
                && !id.is_empty()
            {
                ids.push(id.to_owned());
            }
        }
        for entry in std::fs::read_dir(self.root().join("containers"))
            .into_iter()
            .flatten()
        {
            ids.extend(entry.unwrap().file_name().into_string());
        }
        ids.sort();
        ids.dedup();
        ids
    }

    /// Removes all containers; returns what went wrong.
    fn remove_containers(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for _ in 0..3 {
            let listed = self.aril(&["ps", "-aq", "--no-trunc"]);
            if listed.code != 0 {
                wrong.push(format!("ps: {listed:?}"));
                return wrong;
            }
            if listed.out.trim().is_empty() {
                return wrong;
            }
            let mut args = vec!["rm", "-f", "-v"];
            args.extend(listed.out.split_whitespace());
            let removed = self.aril(&args);
            if removed.code != 0 {
                wrong.push(format!("rm: {removed:?}"));
            }
        }
        wrong
    }

    fn tidy_up(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.root().join("containers").exists() {
            wrong.extend(self.remove_containers());
        }
        let ids = self.container_ids();
        let find = || Leftovers::find(&self.machine, &self.dir, &ids).since(&self.before);
        let deadline = Instant::now() + PATIENCE / 3;
        let mut left = find();
        while !left.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
            left = find();
        }
        wrong.extend(left.clean_up(&self.machine));
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            wrong.push(format!("remove {}: {error}", self.dir.display()));
        }
        wrong
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let tidied = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.tidy_up()));
        let wrong = tidied.unwrap_or_else(|_| vec!["it cannot be tidied up, see above".to_owned()]);
        if wrong.is_empty() {
            return;
        }
        let report = format!("left behind:\n  {}", wrong.join("\n  "));
        println!("{report}");
        assert!(std::thread::panicking(), "{report}");
    }
}

/// Waits until `condition` holds; panics after a while.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(2);
    while !condition() {
        assert!(Instant::now() < deadline, "it never came to be that {what}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Returns the lines of a file of this machine that may not be there.
pub(crate) fn lines(path: impl AsRef<Path>) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
