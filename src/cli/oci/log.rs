//! The log of the runtime, as callers of runc read it: a record per line, as text or as JSON.
//!
//! ```text
//! time="2025-01-31T12:00:00Z" level=error msg="container does not exist"
//! {"level":"error","msg":"container does not exist","time":"2025-01-31T12:00:00Z"}
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use super::args::{Cli, LogFormat};
use crate::cli::log;

/// Begins to log what is worth a warning, or with `--debug` everything; to the file, if there is one, else to stderr.
pub(super) fn begin(cli: &Cli) {
    let format = cli.log_format;
    // What goes wrong with the file is said with the first error.
    let file = cli.log.as_deref().and_then(|path| open(path).ok());
    log::install(log::usual(cli.debug), move |level, text| {
        let line = format!("{}\n", record(format, level, text));
        match file.as_ref() {
            // Of what cannot be written there nobody can be told.
            Some(mut file) => drop(file.write_all(line.as_bytes())),
            None => log::print(&line),
        }
    });
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
