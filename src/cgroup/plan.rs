//! Limits as data: which values go into which files of which controllers, in which order, and how that is carried out.
//!
//! [`super::v1`] and [`super::v2`] turn resources into [`Write`]s without looking at the host; here they are written.

use std::borrow::Cow;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::fs::{Mode, OFlags};

use crate::error;
use crate::sys::pseudo;

/// What to do when the kernel refuses a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The limit cannot be set: an error.
    Fails,
    /// `EINVAL` may come from a value that a later write replaces: tried again after all others.
    Waits,
    /// A kernel without the file has nothing to limit.
    AbsentIsFine,
}

/// One value for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    /// Controller whose directory the file is in; v2 files are told apart by it, too.
    pub(super) controller: Cow<'static, str>,
    pub(super) file: Cow<'static, str>,
    /// What is written, in one write.
    pub(super) value: String,
    /// File and value for a kernel without `file`.
    pub(super) instead: Option<(&'static str, String)>,
    pub(super) refusal: Refusal,
}

impl Write {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "numbers and texts alike are given by value"
    )]
    pub(super) fn new(controller: &'static str, file: &'static str, value: impl ToString) -> Write {
        Write {
            controller: Cow::Borrowed(controller),
            file: Cow::Borrowed(file),
            value: value.to_string(),
            instead: None,
            refusal: Refusal::Fails,
        }
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "numbers and texts alike are given by value"
    )]
    pub(super) fn instead(self, file: &'static str, value: impl ToString) -> Write {
        Write {
            instead: Some((file, value.to_string())),
            ..self
        }
    }

    pub(super) fn or(self, refusal: Refusal) -> Write {
        Write { refusal, ..self }
    }
}

/// Writes `writes` in their order; `directory` gives the cgroup directory of a controller.
pub(super) fn carry_out<'a>(
    writes: &'a [Write],
    directory: impl Fn(&str) -> Option<&'a Path>,
) -> Result<()> {
    let mut waiting = Vec::new();
    let mut last = Last::default();
    for write in writes {
        let directory = directory(&write.controller).ok_or_else(|| missing(&write.controller))?;
        match last.put(directory, write) {
            Err(error) if write.refusal == Refusal::Waits && is(&error, libc::EINVAL) => {
                waiting.push((directory, write));
            }
            Err(error) if write.refusal == Refusal::AbsentIsFine && is(&error, libc::ENOENT) => {}
            done => explain(done, directory, write)?,
        }
    }
    for (directory, write) in waiting {
        explain(last.put(directory, write), directory, write)?;
    }
    Ok(())
}

/// The error for a limit whose controller this host does not have.
pub(super) fn missing(controller: &str) -> anyhow::Error {
    error::with_hint(
        error::unavailable(format!(
            "the {controller} cgroup controller is not available on this host"
        )),
        format!("mount or delegate the {controller} controller, or leave out its limits"),
    )
}

fn is(error: &io::Error, errno: i32) -> bool {
    error.raw_os_error() == Some(errno)
}

/// The file that was written to last: rules for devices go one by one into the same.
#[derive(Default)]
struct Last<'a>(Option<(&'a Path, &'a str, OwnedFd)>);

impl<'a> Last<'a> {
    fn put(&mut self, directory: &'a Path, write: &'a Write) -> io::Result<()> {
        let result = self.write(directory, &write.file, &write.value);
        match (&result, &write.instead) {
            (Err(error), Some((file, value))) if is(error, libc::ENOENT) => {
                self.write(directory, file, value)
            }
            _ => result,
        }
    }

    fn write(&mut self, directory: &'a Path, name: &'a str, value: &str) -> io::Result<()> {
        let file = match self.0.take() {
            Some((known, last, file)) if last == name && known == directory => file,
            _ => open(&directory.join(name))?,
        };
        let (_, _, file) = self.0.insert((directory, name, file));
        write_once(file, value)
    }
}

/// Writes `value` to an existing file of a cgroup, in one write.
pub(super) fn write_file(path: &Path, value: &str) -> io::Result<()> {
    write_once(&open(path)?, value)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// The kernel takes the whole value, or refuses it.
fn write_once(file: &OwnedFd, value: &str) -> io::Result<()> {
    rustix::io::retry_on_intr(|| rustix::io::write(file, value.as_bytes()))?;
    Ok(())
}

/// Says what was refused; a memory limit below what is in use gets the numbers that tell so.
fn explain(result: io::Result<()>, directory: &Path, write: &Write) -> Result<()> {
    let Err(error) = result else {
        return Ok(());
    };
    if is(&error, libc::EBUSY) && write.file == "memory.limit_in_bytes" {
        let number = |file| pseudo::read_text(directory.join(file)).unwrap_or_default();
        return Err(error::conflict(format!(
            "unable to set memory limit to {} (current usage: {}, peak usage: {})",
            write.value,
            number("memory.usage_in_bytes").trim(),
            number("memory.max_usage_in_bytes").trim(),
        )));
    }
    let names = || {
        format!(
            "write {:?} to {}",
            write.value,
            directory.join(&*write.file).display()
        )
    };
    Err(error).with_context(names)
}
