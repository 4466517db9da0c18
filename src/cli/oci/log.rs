//! The log of the runtime, as callers of runc read it: a record per line, as text or as JSON.
//!
//! ```text
//! time="2025-01-31T12:00:00Z" level=error msg="container does not exist"
//! {"level":"error","msg":"container does not exist","time":"2025-01-31T12:00:00Z"}
//! ```

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::args::{Cli, LogFormat};

/// Begins to log what is worth a warning, or with `--debug` everything; to the file, if there is one, else to stderr.
pub(super) fn begin(cli: &Cli) {
    let level = if cli.debug { Level::DEBUG } else { Level::WARN };
    let records = tracing_subscriber::fmt()
        .with_max_level(level)
        .event_format(Records(cli.log_format));
    // What goes wrong with the file is said with the first error.
    match cli.log.as_deref().map(open) {
        Some(Ok(file)) => records.with_writer(Mutex::new(file)).init(),
        _ => records.with_writer(io::stderr).init(),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Adds a record to the log at `path`; callers read the last one to learn what went wrong.
pub(super) fn append(path: &Path, format: LogFormat, level: &str, message: &str) -> io::Result<()> {
    writeln!(open(path)?, "{}", record(format, level, message))
}

fn record(format: LogFormat, level: &str, message: &str) -> String {
    let time = jiff::Timestamp::now();
    match format {
        LogFormat::Json => {
            serde_json::json!({"level": level, "msg": message, "time": time.to_string()})
                .to_string()
        }
        LogFormat::Text => format!("time=\"{time}\" level={level} msg={message:?}"),
    }
}

/// Writes events as records.
struct Records(LogFormat);

impl<S, N> FormatEvent<S, N> for Records
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG | Level::TRACE => "debug",
        };
        let mut text = Text(String::new());
        event.record(&mut text);
        writeln!(writer, "{}", record(self.0, level, &text.0))
    }
}

/// The message of an event, and its other fields behind it.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write as _;
        let written = if field.name() == "message" {
            write!(self.0, "{value:?}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
        written.expect("a string takes all");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_those_of_runc() {
        let text = record(LogFormat::Text, "error", "no \"x\"");
        assert!(text.starts_with("time=\""), "{text}");
        assert!(text.ends_with("level=error msg=\"no \\\"x\\\"\""), "{text}");
        let json = record(LogFormat::Json, "debug", "a");
        assert!(
            json.starts_with(r#"{"level":"debug","msg":"a","time":""#),
            "{json}"
        );
    }
}
