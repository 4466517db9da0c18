//! The only place that writes to the standard streams of the command line.
//!
//! Nobody reads on: that is no error of ours, so a broken pipe ends quietly.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context as _, Result};

/// The width of help where no terminal says another.
const WIDTH: usize = 80;

/// Writes `text` to stdout as it is, at once: a question has no line end.
pub fn out(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    let all = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written(all).context("write to stdout")
}

/// Writes bytes to stdout that need not be text.
pub fn bytes(bytes: &[u8]) -> Result<()> {
    written(io::stdout().lock().write_all(bytes)).context("write to stdout")
}

/// Writes `text` and a line end to stdout at once; false if nobody reads on.
pub fn line(text: &str) -> Result<bool> {
    screen(&format!("{text}\n"))
}

/// Writes `text` to stdout at once, as it is; false if nobody reads on.
pub fn screen(text: &str) -> Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        result => result.map(|()| true).context("write to stdout"),
    }
}

/// Writes `text` to stderr as it is; there is nobody to tell if that fails.
pub fn err(text: &str) {
    if let Err(error) = io::stderr().lock().write_all(text.as_bytes()) {
        tracing::debug!(%error, "write to stderr");
    }
}

/// Makes the end of a reader a success.
fn written(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
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
        assert!(written(broken).is_ok());
        let full = Err(io::Error::from(io::ErrorKind::StorageFull));
        assert!(written(full).is_err());
    }
}
