//! Where the structured log goes: warnings to stderr, a monitor's to its own file.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// The variable that names the level of a monitor's log: `debug`.
const LEVEL_VARIABLE: &str = "ARIL_LOG";

/// Prints warnings and errors to stderr; with `debug` everything.
pub fn to_stderr(debug: bool) {
    install(usual(debug), |level, text| {
        print(&format!("{level}: {text}\n"));
    });
}

/// Appends to a file, which is made when there is something to say.
pub fn to_file(path: &Path) {
    let level = std::env::var(LEVEL_VARIABLE)
        .ok()
        .and_then(|level| level.parse().ok());
    let path = path.to_owned();
    install(level.unwrap_or(LevelFilter::WARN), move |level, text| {
        let opened = OpenOptions::new().append(true).create(true).open(&path);
        let line = format!("{} {level}: {text}\n", jiff::Timestamp::now());
        // Where even the log cannot be written there is nobody left to tell.
        drop(opened.and_then(|mut file| file.write_all(line.as_bytes())));
    });
}

/// What is worth a line: warnings and errors, or with `debug` everything.
pub(super) fn usual(debug: bool) -> LevelFilter {
    if debug {
        LevelFilter::DEBUG
    } else {
        LevelFilter::WARN
    }
}

/// Gives the name of the level and the text of each event of `level` and above to `write`.
pub(super) fn install(level: LevelFilter, write: impl Fn(&str, &str) + Send + Sync + 'static) {
    // There can be one; a second one is a mistake that costs nothing but its lines.
    drop(tracing::subscriber::set_global_default(Log {
        level,
        write,
    }));
}

/// Writes to stderr, whose loss nobody can be told of.
pub(super) fn print(line: &str) {
    drop(std::io::stderr().lock().write_all(line.as_bytes()));
}

fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// One line per event; spans are not used, and a registry of them, as tracing-subscriber has it, would be 32 KiB of each
/// process.
struct Log<W> {
    level: LevelFilter,
    write: W,
}

impl<W: Fn(&str, &str) + Send + Sync + 'static> Subscriber for Log<W> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.level >= *metadata.level()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        (self.write)(name(*event.metadata().level()), &text.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The message of an event, and its other fields behind it.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = if field.name() == "message" {
            format!("{value:?}")
        } else {
            format!(" {}={value:?}", field.name())
        };
        self.0.push_str(&text);
    }
}
