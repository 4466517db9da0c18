//! The processes of a cgroup as a whole: list, freeze, thaw, kill; and its removal.
//!
//! Everything that waits has a deadline, and nothing moves a process out of its cgroup.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{NanosleepRelativeResult, nanosleep};

use super::plan::write_file;
use super::{Cgroup, PARENT};
use crate::error;
use crate::sys::kernel::{self, Interface};
use crate::sys::pseudo;

/// How long to wait for a state that the kernel reaches by itself, if nothing keeps it from it.
const PATIENCE: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Returns the processes in the cgroup and in those below it, as our pid namespace numbers them.
    pub fn pids(&self) -> Result<Vec<i32>> {
        let Some(directory) = self.main_directory() else {
            return Ok(Vec::new());
        };
        let mut pids = Vec::new();
        for directory in tree(directory) {
            let file = directory.join("cgroup.procs");
            let text = match pseudo::read_text(&file) {
                Ok(text) => text,
                // The kernel says ENODEV when the directory goes away under an open file.
                Err(error) if is_gone(&error) => continue,
                Err(error) => {
                    return Err(error).with_context(|| format!("read {}", file.display()));
                }
            };
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        // A process that moves from one directory to another meanwhile shows in both.
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Stops every process, and those that come to be, until [`Cgroup::thaw`]; returns when all have stopped.
    pub fn freeze(&self) -> Result<()> {
        if let Some(directory) = self.v1_directory("freezer") {
            let frozen = freeze_v1(&directory.join("freezer.state"));
            if frozen.is_err() {
                // Half frozen is worse than running.
                self.thaw()?;
            }
            return frozen;
        }
        let Some(directory) = self.unified() else {
            return Err(super::missing("freezer"));
        };
        set(&directory.join("cgroup.freeze"), "1")?;
        wait_until("freeze", directory, || {
            let events = pseudo::read_text(directory.join("cgroup.events"))?;
            Ok(events.lines().any(|line| line == "frozen 1"))
        })
    }

    /// Lets the processes go on; nothing happens to a cgroup that is not frozen.
    pub fn thaw(&self) -> Result<()> {
        if let Some(directory) = self.v1_directory("freezer") {
            return set(&directory.join("freezer.state"), "THAWED");
        }
        match self.unified() {
            Some(directory) => set(&directory.join("cgroup.freeze"), "0"),
            None => Ok(()),
        }
    }

    /// Returns whether the cgroup is frozen, or about to be.
    pub fn is_frozen(&self) -> Result<bool> {
        let (file, thawed) = match (self.v1_directory("freezer"), self.unified()) {
            (Some(directory), _) => (directory.join("freezer.state"), "THAWED"),
            (None, Some(directory)) => (directory.join("cgroup.freeze"), "0"),
            (None, None) => return Ok(false),
        };
        match pseudo::read_text(&file) {
            Ok(state) => Ok(state.trim() != thawed),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("read {}", file.display())),
        }
    }

    /// Kills every process in the cgroup and below it, frozen or not, and waits until none is left but zombies of others.
    ///
    /// Our own children among them become zombies that the caller has yet to wait for; v1 lists zombies, so the wait is
    /// for processes that can still run.
    pub fn kill_all(&self) -> Result<()> {
        if self.pids()?.is_empty() {
            return Ok(());
        }
        if self.kill_unified() {
            return self.wait_empty();
        }
        // What forks faster than it can be listed is caught by the freezer; the killed die once thawed.
        let frozen = self.freeze();
        if let Err(error) = &frozen {
            tracing::warn!("freeze before the kill: {error:#}");
        }
        let killed = self.signal_all(Signal::KILL);
        self.thaw()?;
        killed?;
        let deadline = Instant::now() + PATIENCE;
        while self.alive()? {
            if Instant::now() > deadline {
                bail!("processes in {} survive SIGKILL", self.path().display());
            }
            self.signal_all(Signal::KILL)?;
            pause();
        }
        Ok(())
    }

    /// Sends `signal` to every process in the cgroup and below it.
    pub fn signal_all(&self, signal: Signal) -> Result<()> {
        for pid in self.pids()? {
            // Zero are processes of other pid namespaces.
            let Some(pid) = Pid::from_raw(pid) else {
                continue;
            };
            match kill_process(pid, signal) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => {
                    return Err(io::Error::from(errno))
                        .with_context(|| format!("signal process {}", pid.as_raw_nonzero()));
                }
            }
        }
        Ok(())
    }

    /// Removes the directory whose processes are those of the container, if there are none: then there is nobody to look for.
    pub(super) fn vanishes(&self) -> bool {
        self.main_directory()
            .is_some_and(|directory| rustix::fs::rmdir(directory).is_ok())
    }

    /// Removes the cgroup and those below it from every hierarchy, and our common parent when it is empty.
    ///
    /// Processes in it are an error after a while, never moved away. What does not exist is fine. All directories are
    /// tried; the first error is returned.
    pub fn remove(&self) -> Result<()> {
        let mut result = Ok(());
        for directory in self.directories() {
            let removed = remove_tree(directory);
            if result.is_ok() {
                result = removed;
            }
            if self.path().parent() == Some(Path::new(PARENT))
                && let Some(parent) = directory.parent()
            {
                remove_if_empty(parent);
            }
        }
        result
    }

    fn directories(&self) -> impl Iterator<Item = &Path> {
        self.v1_directories()
            .map(|(_, path)| path)
            .chain(self.unified())
    }

    /// The directory whose processes are those of the container: a frozen process cannot leave the freezer's.
    fn main_directory(&self) -> Option<&Path> {
        self.v1_directory("freezer")
            .or_else(|| self.directories().next())
    }

    /// Kills by `cgroup.kill` (5.14) where all processes are in the v2 hierarchy; returns whether that was possible.
    fn kill_unified(&self) -> bool {
        let Some(directory) = self.unified().filter(|_| self.v1.is_empty()) else {
            return false;
        };
        !kernel::forced_off(Interface::CgroupKill)
            && write_file(&directory.join("cgroup.kill"), "1").is_ok()
    }

    fn wait_empty(&self) -> Result<()> {
        wait_until("empty", self.path(), || {
            self.alive().map(|alive| !alive).map_err(io::Error::other)
        })
    }

    /// Whether some process is more than a zombie.
    fn alive(&self) -> Result<bool> {
        Ok(self.pids()?.into_iter().any(|pid| {
            pid == 0
                || pseudo::read_text(format!("/proc/{pid}/stat")).is_ok_and(|stat| !is_dead(&stat))
        }))
    }
}

/// Whether a line of /proc/PID/stat is that of a process that has ended: `PID (NAME) STATE …`.
fn is_dead(stat: &str) -> bool {
    let state = stat.rsplit(')').next().unwrap_or_default();
    matches!(state.trim_start().chars().next(), Some('Z' | 'X'))
}

/// `FREEZING` may last as long as new processes come in; writing again gives the kernel another try.
fn freeze_v1(file: &Path) -> Result<()> {
    set(file, "FROZEN")?;
    wait_until("freeze", file, || {
        let state = pseudo::read_text(file)?;
        if state.trim() != "FROZEN" {
            write_file(file, "FROZEN")?;
            return Ok(false);
        }
        Ok(true)
    })
}

fn set(file: &Path, value: &str) -> Result<()> {
    write_file(file, value).with_context(|| format!("write {value} to {}", file.display()))
}

/// Returns `directory` and all below it, parents first.
fn tree(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    let mut next = 0;
    while next < found.len() {
        // A directory of a cgroup has one link per child and two of its own.
        let children = std::fs::read_dir(&found[next]).into_iter().flatten();
        let directories: Vec<PathBuf> = children
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect();
        found.extend(directories);
        next += 1;
    }
    found
}

fn remove_tree(directory: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match rustix::fs::rmdir(directory) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY | Errno::NOTEMPTY) => {}
            Err(errno) => {
                return Err(io::Error::from(errno))
                    .with_context(|| format!("remove cgroup {}", directory.display()));
            }
        }
        // Either there are cgroups below, or processes that are about to be gone.
        for below in tree(directory).iter().skip(1).rev() {
            remove_if_empty(below);
        }
        if Instant::now() > deadline {
            bail!(error::conflict(format!(
                "remove cgroup {}: processes still live in it",
                directory.display()
            )));
        }
        pause();
    }
}

/// Others may live there, or have removed it already: both are fine.
fn remove_if_empty(directory: &Path) {
    if let Err(errno) = rustix::fs::rmdir(directory) {
        tracing::trace!("keep cgroup {}: {errno}", directory.display());
    }
}

fn wait_until(state: &str, what: &Path, reached: impl Fn() -> io::Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match reached() {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("{state} {}", what.display()));
            }
        }
        if Instant::now() > deadline {
            bail!(error::unavailable(format!(
                "unable to {state} {} within {} s",
                what.display(),
                PATIENCE.as_secs()
            )));
        }
        pause();
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

/// Lets the processes of the cgroup run for a moment.
fn pause() {
    let moment = rustix::thread::Timespec {
        tv_sec: 0,
        tv_nsec: 500_000,
    };
    match nanosleep(&moment) {
        NanosleepRelativeResult::Ok
        | NanosleepRelativeResult::Interrupted(_)
        | NanosleepRelativeResult::Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zombies_are_dead() {
        assert!(is_dead("12 (a) b) Z 1 12"));
        assert!(!is_dead("12 (Z) S 1 12"));
        assert!(!is_dead(""));
    }
}
