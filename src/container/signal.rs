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

#[cfg(test)]
mod tests {
    use super::*;

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
