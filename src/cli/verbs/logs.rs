//! `logs`.

use std::io::{BufWriter, Write};

use anyhow::{Context as _, Result};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::engine;
use crate::cli::command::{self, Context};
use crate::cli::commands::processes::LogsArgs;
use crate::cli::face::Failed;
use crate::cli::human::time::{parse_duration, parse_time};
use crate::cli::output;
use crate::container::logs::entry::Entry;
use crate::container::logs::read::Selection;
use crate::container::logs::{Attributes, Stream};
use crate::engine::events::Moment;
use crate::engine::logs;
use crate::error;

/// `logs`
pub fn run(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: LogsArgs = command::arguments(matches)?;
    let engine = engine(context)?;
    let container = engine
        .container(&arguments.container)
        .map_err(Failed::engine)?;
    let selection = Selection {
        since: moment("since", &arguments.since)?,
        until: moment("until", &arguments.until)?,
        // A number below zero, and what is no number, means all, as docker has it.
        tail: arguments.tail.parse().ok(),
    };
    let mut out = BufWriter::with_capacity(64 << 10, output::stdout());
    let mut err = BufWriter::with_capacity(64 << 10, std::io::stderr().lock());
    let tty = container.record.config.tty;
    let follow = arguments.follow;
    let mut each = |entry: Entry<'_>| -> Result<bool> {
        let to: &mut dyn Write = if entry.stream == Stream::Stderr && !tty {
            &mut err
        } else {
            &mut out
        };
        let time = arguments.timestamps.then(|| stamp(entry.time));
        let attributes = arguments.details.then(|| details(entry.attributes));
        let mut before = [time, attributes].into_iter().flatten();
        let printed = before
            .try_for_each(|text| write!(to, "{text} "))
            .and_then(|()| to.write_all(entry.line.as_bytes()));
        let flushed = if follow {
            printed.and_then(|()| to.flush())
        } else {
            printed
        };
        match flushed {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
            flushed => flushed.map(|()| true).context("write the log"),
        }
    };
    logs::logs(&engine, &container, &selection, follow, &mut each).map_err(Failed::engine)?;
    for end in [out.flush(), err.flush()] {
        match end {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                return Err(Failed::from(
                    anyhow::Error::new(error).context("write the log"),
                ));
            }
            _ => {}
        }
    }
    Ok(0)
}

/// Nine digits after the second, so that lines stand below one another.
fn stamp(time: Timestamp) -> String {
    format!("{time:.9}")
}

/// Attributes as docker prints them before a line.
fn details(attributes: &Attributes) -> String {
    let list: Vec<String> = (attributes.iter())
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    list.join(",")
}

/// Reads a moment: a time stamp, seconds since 1970, a date with or without a time of this place, or how long ago; the
/// error names the option.
pub fn moment(option: &str, text: &str) -> Result<Option<Timestamp>> {
    let named = |error| error::invalid(format!("invalid value for \"{option}\": {error}"));
    plain_moment(text).map_err(named)
}

/// Reads a moment as [`moment`] does.
pub fn plain_moment(text: &str) -> Result<Option<Timestamp>> {
    Ok(told_moment(text)?.map(|moment| moment.time))
}

/// Reads a moment as [`moment`] does. Its text is docker's: how long ago counts in whole seconds, a date has nine digits after
/// them, and seconds are as they were given.
pub fn told_moment(text: &str) -> Result<Option<Moment>> {
    if text.is_empty() {
        return Ok(None);
    }
    let whole = || unix(text).map(|time| (time, text.to_owned()));
    let dated = |time: Timestamp| {
        let text = format!("{}.{:09}", time.as_second(), time.subsec_nanosecond());
        (time, text)
    };
    let fixed = parse_time(text).map(dated).or_else(whole);
    if let Some((time, text)) = fixed.or_else(|| date(text).map(dated)) {
        return Ok(Some(Moment { time, text }));
    }
    let refuse = || {
        error::invalid(format!(
            "failed to parse value as time or duration: {text:?}"
        ))
    };
    if let Some(part) = out_of_range(text) {
        let why = format!("parsing time {text:?}: {part} out of range");
        return Err(error::invalid(why));
    }
    let ago = parse_duration(text).map_err(|_| refuse())?;
    let time = Timestamp::now().checked_sub(SignedDuration::from_nanos(ago));
    let time = time.map_err(|_| refuse())?;
    let text = time.as_second().to_string();
    Ok(Some(Moment { time, text }))
}

/// Returns what is too much in a text of the form `2006-01-02T15:04:05`, of which everything but the date may be missing.
fn out_of_range(text: &str) -> Option<&'static str> {
    const PARTS: [(&str, &str, std::ops::RangeInclusive<u32>); 5] = [
        ("-", "month", 1..=12),
        ("-", "day", 1..=31),
        ("T", "hour", 0..=23),
        (":", "minute", 0..=59),
        (":", "second", 0..=59),
    ];
    let mut rest = text.get(4..)?;
    if !text.is_char_boundary(4) || !text.bytes().take(4).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    for (before, name, range) in PARTS {
        let number = rest.strip_prefix(before)?.get(..2)?;
        if !range.contains(&number.parse().ok()?) {
            return Some(name);
        }
        rest = &rest[3..];
    }
    None
}

/// `SECONDS[.NANOSECONDS]`
fn unix(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let nanoseconds = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Timestamp::new(seconds.parse().ok()?, nanoseconds).ok()
}

/// `2006-01-02`, `2006-01-02T15:04`, `2006-01-02T15:04:05`, here or with `Z` in Greenwich.
fn date(text: &str) -> Option<Timestamp> {
    let (text, zone) = match text.strip_suffix('Z') {
        Some(text) => (text, TimeZone::UTC),
        None => (text, TimeZone::system()),
    };
    let time: DateTime = text.parse().ok()?;
    Some(time.to_zoned(zone).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_three_forms() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(moment("since", "").unwrap(), None);
        assert_eq!(
            moment("since", "1700000000").unwrap(),
            Some(at(1_700_000_000))
        );
        assert_eq!(
            moment("since", "2023-11-14T22:13:20Z").unwrap(),
            Some(at(1_700_000_000))
        );
        let half = moment("since", "1700000000.5").unwrap().unwrap();
        assert_eq!(half.subsec_nanosecond(), 500_000_000);
        let ago = moment("since", "10m").unwrap().unwrap();
        let passed = Timestamp::now().duration_since(ago).as_secs();
        assert!((599..=601).contains(&passed), "{passed}");
        assert!(moment("since", "wat").is_err());
        let date = |text: &str| moment("since", text).unwrap().unwrap();
        assert_eq!(date("2023-11-14Z"), at(1_699_920_000));
        assert_eq!(date("2023-11-14T22:13Z"), at(1_699_999_980));
        let night = date("2023-11-14T00:00:00");
        assert_eq!(date("2023-11-14"), night);
    }

    #[test]
    fn moments_are_told_as_docker_tells_them() {
        let told = |text: &str| told_moment(text).unwrap().unwrap();
        for (text, want) in [
            ("12", "12"),
            ("12.5", "12.5"),
            ("2020-01-01Z", "1577836800.000000000"),
            ("2020-01-01T00:00:00.5Z", "1577836800.500000000"),
        ] {
            assert_eq!(told(text).text, want);
        }
        let ago = told("1h30m5.5s");
        assert_eq!(ago.text, ago.time.as_second().to_string());
    }

    #[test]
    fn parts_of_a_date_have_their_ranges() {
        for (text, part) in [
            ("2000-13-01", Some("month")),
            ("2000-01-32", Some("day")),
            ("2000-01-01T24", Some("hour")),
            ("2000-01-01T01:60", Some("minute")),
            ("2000-01-01T01:01:61Z", Some("second")),
            ("2000-01-01T01:01:01", None),
            ("2000-1-1", None),
            ("10m", None),
            ("2000\u{e9}", None),
        ] {
            assert_eq!(out_of_range(text), part, "{text}");
        }
    }

    #[test]
    fn stamps_have_nine_digits() {
        assert_eq!(
            stamp(Timestamp::from_second(0).unwrap()),
            "1970-01-01T00:00:00.000000000Z"
        );
    }
}
