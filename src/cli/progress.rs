//! Lines of a pull or push: one after another where nobody watches, and on a terminal a line per layer that moves.
//!
//! As docker's client draws it: what has an id and says how far it is stays on its line; what says how far it is without an id
//! is the only line; anything else begins a new block below all lines.

use std::collections::HashMap;
use std::io::IsTerminal as _;

use crate::cli::human::size::bytes_decimal;
use crate::cli::output;
use crate::docker::progress::{Detail, Progress};

/// How wide a bar is, and how wide the terminal must be for it to have one.
const BAR_WIDTH: u64 = 50;
const BAR_TERMINAL_WIDTH: usize = 110;

/// Where progress is shown.
#[derive(Debug)]
pub struct Display {
    to: To,
    terminal_width: Option<usize>,
    lines: HashMap<String, usize>,
}

/// A stream of this process, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// For `pull` and `push`.
    Stdout,
    /// For `run`, whose standard output is the container's.
    Stderr,
    /// For `--quiet`.
    Nobody,
}

impl Display {
    /// Returns a display that draws on a terminal, and else writes lines.
    pub fn new(to: To) -> Display {
        let width = |size: rustix::io::Result<rustix::termios::Winsize>| {
            size.map_or(BAR_TERMINAL_WIDTH, |size| usize::from(size.ws_col))
        };
        let terminal_width = match to {
            To::Stdout => std::io::stdout()
                .is_terminal()
                .then(|| width(rustix::termios::tcgetwinsize(std::io::stdout()))),
            To::Stderr => std::io::stderr()
                .is_terminal()
                .then(|| width(rustix::termios::tcgetwinsize(std::io::stderr()))),
            To::Nobody => None,
        };
        Display {
            to,
            terminal_width,
            lines: HashMap::new(),
        }
    }

    /// Shows a line.
    pub fn show(&mut self, line: &Progress) {
        if self.to == To::Nobody {
            return;
        }
        let text = match self.terminal_width {
            Some(width) => self.draw(line, width),
            None => plain(line),
        };
        // A pull goes on though nobody watches.
        match self.to {
            To::Stdout => {
                if let Err(error) = output::out(&text) {
                    tracing::debug!("show progress: {error:#}");
                }
            }
            To::Stderr | To::Nobody => output::err(&text),
        }
    }

    fn draw(&mut self, line: &Progress, width: usize) -> String {
        if let Some(detail) = line.progress_detail.filter(|_| line.id.is_empty()) {
            // The only one, which what follows takes the place of.
            return format!("\x1b[2K\r{} {}\r", line.status, bar(detail, width));
        }
        let Some(detail) = line.progress_detail else {
            // What follows gets lines of its own.
            self.lines.clear();
            return plain(line);
        };
        let mut text = String::new();
        let count = self.lines.len();
        let at = *self.lines.entry(line.id.clone()).or_insert_with(|| {
            text.push('\n');
            count
        });
        let up = self.lines.len() - at;
        let bar = bar(detail, width);
        let (id, status) = (&line.id, &line.status);
        text + &format!("\x1b[{up}A\x1b[2K\r{id}: {status} {bar}\r\x1b[{up}B")
    }
}

/// How far something is matters only to those who watch.
fn plain(line: &Progress) -> String {
    if line
        .progress_detail
        .is_some_and(|detail| detail != Detail::default())
    {
        return String::new();
    }
    if line.id.is_empty() {
        format!("{}\n", line.status)
    } else {
        format!("{}: {}\n", line.id, line.status)
    }
}

/// Returns `[=====>     ]  1.2MB/5.6MB`.
fn bar(detail: Detail, width: usize) -> String {
    let size = |bytes: u64| bytes_decimal(i64::try_from(bytes).unwrap_or(i64::MAX));
    let current = size(detail.current);
    if detail == Detail::default() {
        return String::new();
    }
    if detail.total == 0 {
        return format!("{current:>8}");
    }
    let numbers = format!("{current:>8}/{}", size(detail.total));
    if width <= BAR_TERMINAL_WIDTH {
        return numbers;
    }
    let done = detail.current.min(detail.total) * BAR_WIDTH / detail.total;
    let fill = |text: &str, count: u64| text.repeat(usize::try_from(count).unwrap_or_default());
    format!(
        "[{}>{}] {numbers}",
        fill("=", done),
        fill(" ", BAR_WIDTH - done)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_a_terminal_nothing_moves() {
        for (line, text) in [
            (Progress::note("", "Status: done"), "Status: done\n"),
            (Progress::note("1", "Pulling from x"), "1: Pulling from x\n"),
            (Progress::layer("ab", "Waiting"), "ab: Waiting\n"),
            (Progress::layer("ab", "Downloading").at(1, 2), ""),
        ] {
            assert_eq!(plain(&line), text);
        }
    }

    #[test]
    fn on_a_terminal_each_layer_has_a_line() {
        let mut display = Display {
            to: To::Stdout,
            terminal_width: Some(120),
            lines: HashMap::new(),
        };
        let mut draw = |line: Progress| display.draw(&line, 120);
        assert_eq!(
            draw(Progress::layer("a", "Waiting")),
            "\n\x1b[1A\x1b[2K\ra: Waiting \r\x1b[1B"
        );
        assert_eq!(
            draw(Progress::layer("b", "Waiting")),
            "\n\x1b[1A\x1b[2K\rb: Waiting \r\x1b[1B"
        );
        let half = draw(Progress::layer("a", "Downloading").at(500, 1000));
        let bar = format!("[{}>{}]     500B/1kB", "=".repeat(25), " ".repeat(25));
        assert_eq!(
            half,
            format!("\x1b[2A\x1b[2K\ra: Downloading {bar}\r\x1b[2B")
        );
        assert_eq!(draw(Progress::note("", "Status: x")), "Status: x\n");
        let only = draw(Progress::note("", "Importing").at(500, 1000));
        assert_eq!(only, format!("\x1b[2K\rImporting {bar}\r"));
        assert!(draw(Progress::layer("a", "Waiting")).starts_with('\n'));
        assert_eq!(
            super::bar(
                Detail {
                    current: 5,
                    total: 10
                },
                80
            ),
            "      5B/10B"
        );
    }
}
