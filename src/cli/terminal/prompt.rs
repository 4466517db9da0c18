//! Questions to the person at the terminal: a line, or a secret that is not shown.

use std::io::{self, IsTerminal as _, Read as _};
use std::os::fd::AsFd;

use anyhow::{Context as _, Result};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

use crate::cli::output;
use crate::error;

/// The longest answer.
const ANSWER_MAX_BYTES: usize = 64 << 10;

/// Returns whether there is somebody to ask.
pub fn is_possible() -> bool {
    io::stdin().is_terminal()
}

/// Asks for a line.
pub fn line(question: &str) -> Result<String> {
    output::out(question)?;
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .context("read the answer")?;
    Ok(answer.trim().to_owned())
}

/// Asks for a line that is not shown while it is typed.
///
/// Ctrl-C does not end the process while the terminal is changed, but comes as a character: so the terminal is always left
/// as it was.
pub fn secret(question: &str) -> Result<String> {
    let stdin = io::stdin();
    let quiet = Quiet::new(stdin.as_fd())?;
    // Only now: who reads the question may begin to type.
    output::out(question)?;
    let answer = typed(stdin.lock().bytes());
    drop(quiet);
    output::out("\n")?;
    answer?.ok_or_else(|| error::invalid("nothing was entered"))
}

/// A terminal that shows nothing and passes every key on, until this is dropped.
struct Quiet<F: AsFd> {
    terminal: F,
    before: Termios,
}

impl<F: AsFd> Quiet<F> {
    fn new(terminal: F) -> Result<Quiet<F>> {
        let before = tcgetattr(&terminal).context("look at the terminal")?;
        let mut quiet = before.clone();
        quiet.local_modes -=
            LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&terminal, OptionalActions::Flush, &quiet).context("make the terminal quiet")?;
        Ok(Quiet { terminal, before })
    }
}

impl<F: AsFd> Drop for Quiet<F> {
    fn drop(&mut self) {
        if let Err(errno) = tcsetattr(&self.terminal, OptionalActions::Now, &self.before) {
            tracing::warn!("give the terminal back: {errno}");
        }
    }
}

/// Puts keys together to a line; nothing if it was broken off.
fn typed(keys: impl Iterator<Item = io::Result<u8>>) -> Result<Option<String>> {
    let mut bytes: Vec<u8> = Vec::new();
    for key in keys {
        match key.context("read the answer")? {
            b'\n' | b'\r' => return Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            // Ctrl-C, and Ctrl-D with nothing before it.
            3 => return Ok(None),
            4 if bytes.is_empty() => return Ok(None),
            // Backspace takes a whole character.
            8 | 127 => while bytes.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            // Ctrl-U
            21 => bytes.clear(),
            byte if bytes.len() < ANSWER_MAX_BYTES => bytes.push(byte),
            _ => {}
        }
    }
    Ok((!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_make_a_line() {
        let check = |keys: &str, want: Option<&str>| {
            let got = typed(keys.bytes().map(Ok)).unwrap();
            assert_eq!(got.as_deref(), want, "{keys:?}");
        };
        check("secret\n", Some("secret"));
        check("secret\rmore", Some("secret"));
        check("sexx\u{7f}\u{8}cret\n", Some("secret"));
        check("oé\u{7f}k\n", Some("ok"));
        check("wrong\u{15}right\n", Some("right"));
        check("\u{7f}\n", Some(""));
        check("se\u{3}cret\n", None);
        check("\u{4}", None);
        check("no end", Some("no end"));
        check("", None);
    }
}
