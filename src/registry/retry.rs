//! When something is tried again, and when no longer. Pure.

use std::time::Duration;

use ureq::http::{HeaderMap, header};

use super::failure::Failure;

/// The longest wait that a registry can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// How often a registry that asks for fewer requests, and not for how long, is asked again.
const UNTIMED_REFUSALS: u32 = 2;
const FIRST_DELAY: Duration = Duration::from_millis(500);
const DELAY_MAX: Duration = Duration::from_secs(8);
/// After so many bytes a connection was worth its while, and counting begins anew.
pub(crate) const PROGRESS_BYTES: u64 = 1 << 20;

/// Returns how long to wait before another attempt after `attempt` (from 1) of at most `attempts` failed; nothing to give up.
pub(crate) fn delay(failure: &Failure, attempt: u32, attempts: u32) -> Option<Duration> {
    if !failure.is_temporary() || attempt >= attempts {
        return None;
    }
    if let Failure::Refused(refusal) = failure {
        if let Some(wait) = refusal.retry_after {
            return Some(wait.min(RETRY_AFTER_MAX));
        }
        if refusal.status == 429 && attempt > UNTIMED_REFUSALS {
            return None;
        }
    }
    let doubled = FIRST_DELAY.saturating_mul(1 << (attempt - 1).min(8));
    Some(doubled.min(DELAY_MAX) + jitter())
}

/// Up to a quarter of a second, so that those who failed together do not come back together.
fn jitter() -> Duration {
    let nanos = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0, |now| now.subsec_nanos());
    Duration::from_millis(u64::from(nanos / 1000 % 250))
}

/// Reads `Retry-After` (RFC 9110, 10.2.3): seconds, or a date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let wait = date.duration_since(jiff::Timestamp::now());
    Some(Duration::try_from(wait).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::failure::{Refusal, Transport, Why};

    fn refused(status: u16, retry_after: Option<u64>) -> Failure {
        Failure::Refused(Refusal {
            status,
            retry_after: retry_after.map(Duration::from_secs),
            ..Refusal::default()
        })
    }

    #[test]
    fn waits_grow_and_end() {
        let cut = Failure::Transport(Transport {
            request: String::new(),
            why: Why::Cut,
            text: String::new(),
        });
        let mut before = Duration::ZERO;
        for attempt in 1..5 {
            let wait = delay(&cut, attempt, 5).unwrap();
            assert!(wait > before && wait < Duration::from_secs(9), "{wait:?}");
            before = wait;
        }
        assert_eq!(delay(&cut, 5, 5), None);
        assert_eq!(delay(&refused(404, None), 1, 5), None);
        assert_eq!(delay(&refused(429, None), 3, 5), None);
        assert_eq!(
            delay(&refused(429, Some(7)), 3, 5),
            Some(Duration::from_secs(7))
        );
        assert_eq!(
            delay(&refused(503, Some(9999)), 1, 5),
            Some(Duration::from_secs(60))
        );
    }

    #[test]
    fn waits_are_seconds_or_dates() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(read("12"), Some(Duration::from_secs(12)));
        assert_eq!(read("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert!(read("Wed, 21 Oct 2099 07:28:00 GMT").unwrap() > Duration::from_secs(1000));
        assert_eq!(read("soon"), None);
    }
}
