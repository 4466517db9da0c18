//! Times and durations: how long ago, Go's notation for both, and the STATUS column.

use anyhow::Result;
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::cli::strconv::quote;
use crate::docker::inspect::State;
use crate::error;

/// What Go's zero time is in documents.
const ZERO: &str = "0001-01-01T00:00:00Z";

/// Returns how long `nanoseconds` are: `Less than a second`, `About a minute`, `3 hours`.
pub fn duration(nanoseconds: i128) -> String {
    const HOUR: i128 = 3600;
    let seconds = nanoseconds / 1_000_000_000;
    let minutes = seconds / 60;
    // Hours are rounded half up, so that 90 minutes are 2 hours.
    let hours = (nanoseconds / 1_000_000 + HOUR * 1000 / 2) / (HOUR * 1000);
    if seconds < 1 {
        return "Less than a second".to_owned();
    }
    match (seconds, minutes, hours) {
        (1, ..) => "1 second".to_owned(),
        (..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., ..48) => format!("{hours} hours"),
        (.., ..336) => format!("{} days", hours / 24),
        (.., ..1440) => format!("{} weeks", hours / 24 / 7),
        (.., ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / HOUR / 24 / 365),
    }
}

/// Returns how long before `now` something was: `3 hours ago`.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let elapsed = now.as_nanosecond() - then.as_nanosecond();
    format!("{} ago", duration(elapsed))
}

/// Returns a time in the local zone: `2006-01-02 15:04:05 -0700 MST`.
pub fn local_time(time: Timestamp) -> String {
    show(&time.to_zoned(TimeZone::system()), "")
}

fn show(time: &Zoned, fraction: &str) -> String {
    let zone = time.strftime("%z %Z");
    format!("{}{fraction} {zone}", time.strftime("%Y-%m-%d %H:%M:%S"))
}

/// Reads the time of a document, RFC 3339; Go's zero time is no time.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    if text == ZERO {
        return None;
    }
    text.parse().ok()
}

/// Returns a time of a document as Go prints it; what is no time is returned as it is.
pub fn go_time(text: &str) -> String {
    let offset = Pieces::parse(text)
        .ok()
        .and_then(|pieces| pieces.to_numeric_offset());
    let (Some(offset), Ok(time)) = (offset, text.parse::<Timestamp>()) else {
        return text.to_owned();
    };
    // Go keeps the offset of the text, and knows the name of its zone only if it is UTC or the local one.
    let local = TimeZone::system();
    let known = if text.ends_with('Z') {
        Some(TimeZone::UTC)
    } else {
        Some(local).filter(|zone| zone.to_offset(time) == offset)
    };
    let named = known.is_some();
    let zoned = time.to_zoned(known.unwrap_or_else(|| TimeZone::fixed(offset)));
    let fraction = format!(".{:09}", zoned.subsec_nanosecond());
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    if named {
        return show(&zoned, fraction);
    }
    let offset = zoned.strftime("%z");
    let wall = zoned.strftime("%Y-%m-%d %H:%M:%S");
    format!("{wall}{fraction} {offset} {offset}")
}

/// Reads a duration in Go's notation, in nanoseconds: `1h30m`, `300ms`, `-1.5h`, `0`.
///
/// Errors are of kind `Invalid` with Go's texts.
pub fn parse_duration(text: &str) -> Result<i64> {
    let quoted = quote::quote(text);
    let invalid = || error::invalid(format!("time: invalid duration {quoted}"));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let whole = digits(rest);
        let mut end = whole;
        let mut fraction = "";
        if rest[whole..].starts_with('.') {
            let count = digits(&rest[whole + 1..]);
            fraction = &rest[whole + 1..whole + 1 + count];
            end = whole + 1 + count;
        }
        if whole == 0 && fraction.is_empty() {
            return Err(invalid());
        }
        let unit_end = rest[end..]
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .map_or(rest.len(), |at| end + at);
        let unit = &rest[end..unit_end];
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => {
                return Err(error::invalid(format!(
                    "time: missing unit in duration {quoted}"
                )));
            }
            unit => {
                let unit = quote::quote(unit);
                return Err(error::invalid(format!(
                    "time: unknown unit {unit} in duration {quoted}"
                )));
            }
        };
        // Twenty digits are more than a duration has room for.
        let number = |digits: &str| match digits.len() {
            0 => Some(0),
            1..20 => digits.parse::<i128>().ok(),
            _ => None,
        };
        let fraction = &fraction[..fraction.len().min(15)];
        let part = number(fraction).ok_or_else(invalid)? * scale
            / 10_i128.pow(u32::try_from(fraction.len()).unwrap_or(0));
        total += number(&rest[..whole]).ok_or_else(invalid)? * scale + part;
        if total > i128::from(i64::MAX) {
            return Err(invalid());
        }
        rest = &rest[unit_end..];
    }
    let total = if negative { -total } else { total };
    i64::try_from(total).map_err(|_| invalid())
}

/// Returns the STATUS column: `Up 5 minutes (healthy)`, `Exited (0) 2 days ago`, `Created`.
pub fn status(state: &State, now: Timestamp) -> String {
    let since = |time: &str| {
        let elapsed = parse_time(time).map_or(0, |then| now.as_nanosecond() - then.as_nanosecond());
        duration(elapsed)
    };
    let up = || format!("Up {}", since(&state.started_at));
    let ended = || format!("({}) {} ago", state.exit_code, since(&state.finished_at));
    match state.status.as_str() {
        "restarting" => format!("Restarting {}", ended()),
        "paused" => format!("{} (Paused)", up()),
        "running" => match state.health.as_ref().map(|health| health.status.as_str()) {
            None | Some("" | "none") => up(),
            Some("starting") => format!("{} (health: starting)", up()),
            Some(health) => format!("{} ({health})", up()),
        },
        "removing" => "Removal In Progress".to_owned(),
        "dead" => "Dead".to_owned(),
        "exited" => format!("Exited {}", ended()),
        _ => "Created".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::inspect::Health;

    const SECOND: i128 = 1_000_000_000;
    const HOUR: i128 = 3600 * SECOND;
    const DAY: i128 = 24 * HOUR;

    #[test]
    fn durations_for_people() {
        for (nanoseconds, want) in [
            (-5 * SECOND, "Less than a second"),
            (SECOND - 1, "Less than a second"),
            (SECOND, "1 second"),
            (59 * SECOND, "59 seconds"),
            (60 * SECOND, "About a minute"),
            (119 * SECOND, "About a minute"),
            (120 * SECOND, "2 minutes"),
            (HOUR - 1, "59 minutes"),
            (HOUR, "About an hour"),
            (90 * 60 * SECOND - 1, "About an hour"),
            (90 * 60 * SECOND, "2 hours"),
            (47 * HOUR, "47 hours"),
            (48 * HOUR, "2 days"),
            (13 * DAY, "13 days"),
            (14 * DAY, "2 weeks"),
            (59 * DAY, "8 weeks"),
            (60 * DAY, "2 months"),
            (729 * DAY, "24 months"),
            (730 * DAY, "2 years"),
            (3650 * DAY, "10 years"),
        ] {
            assert_eq!(duration(nanoseconds), want, "{nanoseconds}");
        }
    }

    #[test]
    fn durations_in_gos_notation() {
        for (text, nanoseconds) in [
            ("0s", 0),
            ("1ns", 1),
            ("1.5µs", 1_500),
            ("300ms", 300_000_000),
            ("1s", 1_000_000_000),
            ("1.5s", 1_500_000_000),
            ("1m0s", 60_000_000_000),
            ("1h30m0s", 5_400_000_000_000),
            ("-1.5s", -1_500_000_000),
            ("2562047h47m16.854775807s", i64::MAX),
        ] {
            assert_eq!(crate::docker::duration::go_duration(nanoseconds), text);
            assert_eq!(parse_duration(text).unwrap(), nanoseconds, "{text}");
        }
        for (text, nanoseconds) in [
            ("0", 0),
            ("1h", 3_600_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("1h1ms", 3_600_001_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("1us1μs1µs", 3_000),
        ] {
            assert_eq!(parse_duration(text).unwrap(), nanoseconds, "{text}");
        }
    }

    #[test]
    fn bad_durations_are_refused_with_gos_texts() {
        for (text, want) in [
            ("", "time: invalid duration \"\""),
            ("-", "time: invalid duration \"-\""),
            ("5", "time: missing unit in duration \"5\""),
            ("5d", "time: unknown unit \"d\" in duration \"5d\""),
            (".s", "time: invalid duration \".s\""),
            ("abc", "time: invalid duration \"abc\""),
            ("1s ", "time: unknown unit \"s \" in duration \"1s \""),
            ("1 s", "time: unknown unit \" s\" in duration \"1 s\""),
            ("9999999h", "time: invalid duration \"9999999h\""),
            (
                "99999999999999999999s",
                "time: invalid duration \"99999999999999999999s\"",
            ),
            ("1sé2s", "time: unknown unit \"sé\" in duration \"1sé2s\""),
        ] {
            assert_eq!(
                parse_duration(text).unwrap_err().to_string(),
                want,
                "{text}"
            );
        }
    }

    #[test]
    fn times_print_as_gos() {
        for (text, want) in [
            ("0001-01-01T00:00:00Z", "0001-01-01 00:00:00 +0000 UTC"),
            ("2025-01-02T15:04:05Z", "2025-01-02 15:04:05 +0000 UTC"),
            (
                "2025-01-02T15:04:05.120Z",
                "2025-01-02 15:04:05.12 +0000 UTC",
            ),
            (
                "2025-01-02T15:04:05.000000001+05:45",
                "2025-01-02 15:04:05.000000001 +0545 +0545",
            ),
            ("yesterday", "yesterday"),
            ("", ""),
        ] {
            assert_eq!(go_time(text), want);
        }
        let time: Timestamp = "2025-01-02T15:04:05Z".parse().unwrap();
        let zone = TimeZone::get("Asia/Shanghai").unwrap_or(TimeZone::UTC);
        let shown = show(&time.to_zoned(zone), "");
        let either = [
            "2025-01-02 23:04:05 +0800 CST",
            "2025-01-02 15:04:05 +0000 UTC",
        ];
        assert!(either.contains(&shown.as_str()), "{shown}");
    }

    #[test]
    fn statuses() {
        let now: Timestamp = "2025-01-02T00:05:00Z".parse().unwrap();
        let check = |status_word: &str, health: Option<&str>, want: &str| {
            let state = State {
                status: status_word.to_owned(),
                exit_code: 3,
                started_at: "2025-01-02T00:00:00Z".to_owned(),
                finished_at: "2025-01-02T00:04:57.5Z".to_owned(),
                health: health.map(|status| Health {
                    status: status.to_owned(),
                    ..Health::default()
                }),
                ..State::default()
            };
            assert_eq!(status(&state, now), want);
        };
        check("created", None, "Created");
        check("running", None, "Up 5 minutes");
        check("running", Some("none"), "Up 5 minutes");
        check(
            "running",
            Some("starting"),
            "Up 5 minutes (health: starting)",
        );
        check("running", Some("unhealthy"), "Up 5 minutes (unhealthy)");
        check("paused", Some("healthy"), "Up 5 minutes (Paused)");
        check("exited", None, "Exited (3) 2 seconds ago");
        check("restarting", None, "Restarting (3) 2 seconds ago");
        check("removing", None, "Removal In Progress");
        check("dead", None, "Dead");
        assert_eq!(ago(now, now), "Less than a second ago");
    }
}
