//! Where the structured log goes: warnings to stderr, a monitor's to its own file.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::output;

/// The variable that names the level of a monitor's log: `debug`.
const LEVEL_VARIABLE: &str = "ARIL_LOG";

/// Prints warnings and errors to stderr; with `debug` everything.
pub fn to_stderr(debug: bool) {
    let level = if debug {
        LevelFilter::DEBUG
    } else {
        LevelFilter::WARN
    };
    install(Log { level, file: None });
}

/// Appends to a file, which is made when there is something to say.
pub fn to_file(path: &Path) {
    let level = std::env::var(LEVEL_VARIABLE)
        .ok()
        .and_then(|level| level.parse().ok());
    install(Log {
        level: level.unwrap_or(LevelFilter::WARN),
        file: Some(path.to_owned()),
    });
}

fn install(log: Log) {
    // There can be one; a second one is a mistake that costs nothing but its lines.
    drop(tracing::subscriber::set_global_default(log));
}

/// One line per event; spans are not used.
struct Log {
    level: LevelFilter,
    file: Option<PathBuf>,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.level >= *metadata.level()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let text = format!("{level}: {}{}\n", line.message, line.fields);
        match &self.file {
            None => output::err(&text),
            Some(path) => {
                let opened = OpenOptions::new().append(true).create(true).open(path);
                let time = jiff::Timestamp::now();
                // Where even the log cannot be written there is nobody left to tell.
                drop(
                    opened.and_then(|mut file| file.write_all(format!("{time} {text}").as_bytes())),
                );
            }
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.fields.push(' ');
            self.fields.push_str(field.name());
            let value = format!("={value:?}");
            self.fields.push_str(&value);
        }
    }
}
