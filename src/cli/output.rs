//! The only place that writes to the standard streams of the command line.
//!
//! Nobody reads on: that is no error of ours, and what was begun goes on; but the exit code says it in the end, as that of
//! docker's client does, which SIGPIPE ends.

use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};

use crate::container::ExitStatus;
use crate::error;

/// The width of help where no terminal says another.
const WIDTH: usize = 80;

/// Whether whoever has read standard output has gone.
static READER_LEFT: AtomicBool = AtomicBool::new(false);

/// Standard output for what is written bit by bit. That its reader has left is noted, and told as the error it is.
#[derive(Debug)]
pub struct Stdout(io::Stdout);

/// Returns standard output for what is written bit by bit.
pub fn stdout() -> Stdout {
    Stdout(io::stdout())
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).inspect_err(note)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().inspect_err(note)
    }
}

fn note(error: &io::Error) {
    if error.kind() == io::ErrorKind::BrokenPipe {
        reader_left();
    }
}

/// Notes that nobody reads on.
pub fn reader_left() {
    READER_LEFT.store(true, Ordering::Relaxed);
}

/// Returns the exit code of this process if nobody has read on to the end.
pub fn left_code() -> Option<u8> {
    let left = READER_LEFT.load(Ordering::Relaxed);
    left.then(|| u8::try_from(ExitStatus::killed(libc::SIGPIPE).code()).unwrap_or(u8::MAX))
}

/// Returns whether `error` comes of a reader that has left.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error::find::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Writes `text` to stdout as it is, at once: a question has no line end.
pub fn out(text: &str) -> Result<()> {
    screen(text).map(drop)
}

/// Writes bytes to stdout that need not be text.
pub fn bytes(bytes: &[u8]) -> Result<()> {
    unread(stdout().write_all(bytes)).map(drop)
}

/// Writes `text` and a line end to stdout at once; false if nobody reads on.
pub fn line(text: &str) -> Result<bool> {
    screen(&format!("{text}\n"))
}

/// Writes `text` to stdout at once, as it is; false if nobody reads on.
pub fn screen(text: &str) -> Result<bool> {
    let mut out = stdout();
    unread(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Writes `text` to stderr as it is; there is nobody to tell if that fails.
pub fn err(text: &str) {
    if let Err(error) = io::stderr().lock().write_all(text.as_bytes()) {
        tracing::debug!(%error, "write to stderr");
    }
}

/// Prints warnings as docker does.
pub fn warn(warnings: &[String]) {
    for warning in warnings {
        err(&format!("WARNING: {warning}\n"));
    }
}

/// Writes `text` to stdout as [`out`] does, but a reader that has left is none of this process's concern: docker's `run` takes
/// all signals on itself.
pub fn to_whom_it_concerns(text: &str) -> Result<()> {
    let mut stdout = io::stdout();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    unread(written).map(drop)
}

/// Makes a reader that has left a success, but false.
fn unread(written: io::Result<()>) -> Result<bool> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).context("write to stdout"),
    }
}

/// Returns the columns of the terminal that stdout is, 80 if it is none.
pub fn width() -> usize {
    if !io::stdout().is_terminal() {
        return WIDTH;
    }
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => WIDTH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_left_is_no_error() {
        let broken = Err(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(!unread(broken).unwrap());
        assert!(unread(Ok(())).unwrap());
        let full = Err(io::Error::from(io::ErrorKind::StorageFull));
        assert!(unread(full).is_err());
    }
}
