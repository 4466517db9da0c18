//! Signals as users write them.

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::error;

/// Reads `KILL`, `SIGKILL`, `9` or `SIGRTMIN+3`; the error is of kind `Invalid`.
pub fn parse(text: &str) -> Result<i32> {
    let refuse = || error::invalid(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) {
            Ok(number)
        } else {
            Err(refuse())
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Ok(signal) = format!("SIG{name}").parse::<Signal>() {
        return Ok(signal as i32);
    }
    let offset = |text: &str, sign| {
        text.strip_prefix(sign)
            .map_or(text.is_empty().then_some(0), |n: &str| n.parse().ok())
    };
    let real_time = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => offset(rest, '+').map(|offset: i32| 34 + offset),
        (_, Some(rest)) => offset(rest, '-').map(|offset: i32| 64 - offset),
        _ => None,
    };
    real_time
        .filter(|number| (34..=64).contains(number))
        .ok_or_else(refuse)
}

/// Returns a signal's name: `SIGKILL`, `SIGRTMIN+3`; for what is none, its number.
pub fn name(number: i32) -> String {
    match (Signal::try_from(number), number) {
        (Ok(signal), _) => signal.as_str().to_owned(),
        (_, 34) => "SIGRTMIN".to_owned(),
        (_, 35..=64) => format!("SIGRTMIN+{}", number - 34),
        _ => format!("signal {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_names() {
        for (number, text) in [
            (9, "SIGKILL"),
            (34, "SIGRTMIN"),
            (37, "SIGRTMIN+3"),
            (70, "signal 70"),
        ] {
            assert_eq!(name(number), text);
        }
    }

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [
            ("KILL", 9),
            ("SIGKILL", 9),
            ("kill", 9),
            ("9", 9),
            ("USR1", 10),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
        ] {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
        for bad in [
            "", "0", "65", "-9", "NOSUCH", "RTMIN-1", "RTMAX+1", "RTMIN+99", "SIG",
        ] {
            assert_eq!(
                parse(bad).unwrap_err().to_string(),
                format!("invalid signal: {bad}")
            );
        }
    }
}
