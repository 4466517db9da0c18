//! `--log-driver` and `--log-opt`: which driver, and what it is told. Pure; the texts are docker's.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use regex::Regex;

use super::syslog::Target;
use super::{identity, syslog};
use crate::docker::container::LogConfig;
use crate::{docker, error};

/// The drivers that keep a log, sorted; `none` is the one that does not.
pub const DRIVERS: [&str; 4] = ["journald", "json-file", "local", "syslog"];
/// Unlimited logs fill disks; docker's default is no limit.
const JSON_FILE: Files = Files {
    max_bytes: 10_000_000,
    max_files: 3,
    compress: false,
};
/// docker's own, for `local` and for the copy that other drivers keep for `logs`.
const LOCAL: Files = Files {
    max_bytes: 20_000_000,
    max_files: 5,
    compress: false,
};
/// What a remote may leave waiting with `mode=non-blocking`, if nothing is said.
const BUFFER_BYTES: u64 = 1_000_000;

/// What a container's log is to be.
#[derive(Clone, Debug)]
pub struct Driver {
    /// Files that `logs` reads; nothing if there are none.
    pub files: Option<Files>,
    /// Who else gets the output.
    pub sink: Sink,
    /// What is said of the container with each entry.
    pub wanted: Wanted,
    /// Bytes that may wait for a remote before output is lost; nothing holds the container up instead.
    pub buffer_bytes: Option<u64>,
}

/// Who gets the output besides the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Nobody.
    None,
    /// systemd's journal.
    Journald,
    /// A syslog daemon.
    Syslog(Box<Target>),
}

/// Files of at most so many bytes each, and how many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Files {
    /// Bytes of one file; `u64::MAX` is unlimited.
    pub max_bytes: u64,
    /// Number of files, at least 1.
    pub max_files: u32,
    /// Whether all but the one that is written to are compressed.
    pub compress: bool,
}

/// Which facts of the container go with its entries.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Names of labels.
    pub labels: Vec<String>,
    /// Labels whose names fit.
    pub labels_pattern: Option<Regex>,
    /// Names of variables of its environment.
    pub env: Vec<String>,
    /// Variables whose names fit.
    pub env_pattern: Option<Regex>,
    /// A template with fields such as `{{.Name}}`; empty is the driver's default.
    pub tag: String,
}

/// A value that is wrong, which docker finds when the container starts.
#[derive(Debug)]
struct Unusable(String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

impl Driver {
    /// Refuses what docker refuses when a container is made: what is unknown, but not every value. Errors are of kind
    /// `Invalid`.
    pub fn check(config: &LogConfig) -> Result<()> {
        match Driver::from_config(config) {
            Err(error) if error.is::<Unusable>() => Ok(()),
            read => read.map(drop),
        }
    }

    /// Reads what was asked for.
    pub fn from_config(config: &LogConfig) -> Result<Driver> {
        let mut options = Options(config.config.clone());
        let mut driver = Driver {
            files: None,
            sink: Sink::None,
            wanted: Wanted::default(),
            buffer_bytes: None,
        };
        let name = match config.kind.as_str() {
            "" => "json-file",
            other => other,
        };
        match name {
            "none" => return Ok(driver),
            "json-file" => {
                let sized = options.0.contains_key("max-size");
                let mut files = options.files("", JSON_FILE)?;
                files.compress = options.flag("compress")? == Some(true);
                if files.compress && (files.max_files < 2 || !sized) {
                    return unusable(
                        "compress cannot be true when max-file is less than 2 or max-size is not set",
                    );
                }
                driver.files = Some(files);
            }
            "local" => {
                let mut files = options.files("", LOCAL)?;
                files.compress = (options.flag("compress")).or_else(|error| {
                    unusable(format!("error reading compress log option: {error}"))
                })? == Some(true);
                if files.compress && files.max_files < 2 {
                    return unusable("compression cannot be enabled when max file count is 1");
                }
                driver.files = Some(files);
            }
            "journald" => {
                driver.files = options.cache()?;
                driver.sink = Sink::Journald;
            }
            "syslog" => {
                driver.files = options.cache()?;
                driver.sink =
                    Sink::Syslog(Box::new(syslog::target(&mut |name| options.take(name))?));
            }
            other => {
                return Err(error::invalid(format!(
                    "error looking up logging plugin {other}: plugin \"{other}\" not found"
                )));
            }
        }
        if name != "local" {
            driver.wanted = options.wanted()?;
        }
        driver.buffer_bytes = options.mode()?;
        match options.0.keys().next() {
            // docker words it so of this one.
            Some(key) if name == "local" => Err(error::invalid(format!(
                "unknown log opt '{key}' for log driver local"
            ))),
            Some(key) => Err(error::invalid(format!(
                "unknown log opt '{key}' for {name} log driver"
            ))),
            None => Ok(driver),
        }
    }
}

/// Options that nobody has read yet.
struct Options(BTreeMap<String, String>);

impl Options {
    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }

    fn flag(&mut self, name: &str) -> Result<Option<bool>> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        match docker::truth(&text) {
            None => unusable(format!(
                "strconv.ParseBool: parsing {text:?}: invalid syntax"
            )),
            read => Ok(read),
        }
    }

    fn files(&mut self, prefix: &str, default: Files) -> Result<Files> {
        let mut files = default;
        let name = format!("{prefix}max-size");
        if let Some(text) = self.take(&name) {
            let Some(bytes) = parse_size(&text) else {
                let why = format!("invalid size: '{text}'");
                return if default == JSON_FILE {
                    unusable(why)
                } else {
                    unusable(format!("invalid value for {name}: {text}: {why}"))
                };
            };
            files.max_bytes = bytes;
        }
        let name = format!("{prefix}max-file");
        if let Some(text) = self.take(&name) {
            let Ok(count) = text.parse() else {
                return unusable(format!("strconv.Atoi: parsing {text:?}: invalid syntax"));
            };
            if count == 0 {
                return unusable(format!("{name} cannot be less than 1"));
            }
            files.max_files = count;
        }
        Ok(files)
    }

    /// The copy that is kept of what goes elsewhere, so that `logs` has something to read.
    fn cache(&mut self) -> Result<Option<Files>> {
        let disabled = self.flag("cache-disabled")? == Some(true);
        let mut files = self.files("cache-", LOCAL)?;
        files.compress = self.flag("cache-compress")? == Some(true) && files.max_files > 1;
        Ok((!disabled).then_some(files))
    }

    fn wanted(&mut self) -> Result<Wanted> {
        let list = |text: Option<String>| -> Vec<String> {
            let text = text.unwrap_or_default();
            let names = text
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty());
            names.map(str::to_owned).collect()
        };
        let pattern = |name: &str, text: Option<String>| -> Result<Option<Regex>> {
            let Some(text) = text else { return Ok(None) };
            Regex::new(&text).map(Some).or_else(|_| {
                unusable(format!(
                    "invalid value {text:?} for log opt '{name}': expected a regular expression"
                ))
            })
        };
        let tag = self.take("tag").unwrap_or_default();
        identity::check_tag(&tag).or_else(|error| unusable(error.to_string()))?;
        Ok(Wanted {
            labels: list(self.take("labels")),
            labels_pattern: pattern("labels-regex", self.take("labels-regex"))?,
            env: list(self.take("env")),
            env_pattern: pattern("env-regex", self.take("env-regex"))?,
            tag,
        })
    }

    fn mode(&mut self) -> Result<Option<u64>> {
        let mode = self.take("mode").unwrap_or_default();
        let size = self.take("max-buffer-size");
        match (mode.as_str(), size) {
            ("non-blocking", None) => Ok(Some(BUFFER_BYTES)),
            ("non-blocking", Some(text)) => {
                let size = parse_size(&text).filter(|size| *size != u64::MAX);
                let why = || {
                    error::invalid(format!(
                        "error parsing option max-buffer-size: invalid size: '{text}'"
                    ))
                };
                size.map(Some).ok_or_else(why)
            }
            ("" | "blocking", None) => Ok(None),
            ("" | "blocking", Some(_)) => Err(error::invalid(
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            )),
            (other, _) => Err(error::invalid(format!(
                "logger: logging mode not supported: {other}"
            ))),
        }
    }
}

fn unusable<T>(why: impl Into<String>) -> Result<T> {
    Err(Unusable(why.into()).into())
}

/// Sizes of logs are decimal, unlike those of memory; -1 is unlimited.
fn parse_size(text: &str) -> Option<u64> {
    if text == "-1" {
        return Some(u64::MAX);
    }
    let lower = text.to_ascii_lowercase();
    let number = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &lower[number.len()..] {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        _ => return None,
    };
    number
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(factor)
        .filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(kind: &str, options: &[(&str, &str)]) -> Result<Driver> {
        let pairs = options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Driver::from_config(&LogConfig {
            kind: kind.into(),
            config: pairs.collect(),
        })
    }

    #[test]
    fn options_are_read() {
        assert_eq!(driver("", &[]).unwrap().files, Some(JSON_FILE));
        let asked = driver(
            "json-file",
            &[
                ("max-size", "2k"),
                ("max-file", "1"),
                ("mode", "non-blocking"),
                ("labels", "a, b"),
            ],
        )
        .unwrap();
        assert_eq!(
            asked.files,
            Some(Files {
                max_bytes: 2000,
                max_files: 1,
                compress: false,
            })
        );
        assert_eq!(asked.wanted.labels, ["a", "b"]);
        assert_eq!(driver("local", &[]).unwrap().files, Some(LOCAL));
        assert!(
            driver("none", &[("max-size", "1m")])
                .unwrap()
                .files
                .is_none()
        );
        let journald = driver(
            "journald",
            &[
                ("tag", "{{.Name}}"),
                ("mode", "non-blocking"),
                ("max-buffer-size", "4m"),
            ],
        )
        .unwrap();
        assert_eq!(
            (journald.files, journald.buffer_bytes),
            (Some(LOCAL), Some(4_000_000))
        );
        let syslog = driver(
            "syslog",
            &[
                ("syslog-address", "udp://127.0.0.1:514"),
                ("cache-disabled", "true"),
            ],
        )
        .unwrap();
        assert!(syslog.files.is_none() && matches!(syslog.sink, Sink::Syslog(_)));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (kind, options, want) in [
            (
                "wat",
                &[][..],
                "error looking up logging plugin wat: plugin \"wat\" not found",
            ),
            ("json-file", &[("max-size", "x")], "invalid size: 'x'"),
            (
                "local",
                &[("max-size", "x")],
                "invalid value for max-size: x: invalid size: 'x'",
            ),
            (
                "",
                &[("wat", "1")],
                "unknown log opt 'wat' for json-file log driver",
            ),
            ("", &[("max-file", "0")], "max-file cannot be less than 1"),
            (
                "",
                &[("compress", "true")],
                "compress cannot be true when max-file is less than 2 or max-size is not set",
            ),
            (
                "journald",
                &[("max-size", "1m")],
                "unknown log opt 'max-size' for journald log driver",
            ),
            (
                "local",
                &[("labels", "a")],
                "unknown log opt 'labels' for log driver local",
            ),
            (
                "",
                &[("mode", "fast")],
                "logger: logging mode not supported: fast",
            ),
            (
                "",
                &[("max-buffer-size", "1m")],
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
            (
                "",
                &[("labels-regex", "(")],
                "invalid value \"(\" for log opt 'labels-regex': expected a regular expression",
            ),
            (
                "",
                &[("tag", "{{.Wat}}")],
                "invalid tag \"{{.Wat}}\": there is no field .Wat",
            ),
        ] {
            let error = driver(kind, options).unwrap_err();
            assert_eq!(error.to_string(), want);
        }
    }
}
