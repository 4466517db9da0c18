//! Whether and when a container that has ended starts again.
//!
//! Pure. docker's rules: the delay doubles from 100 ms to a minute and starts anew after a run of ten seconds. A stop by
//! the user ends it: the monitor sees to that. What remains of the stop is that `unless-stopped` remembers it.

use std::time::Duration;

use crate::docker::container::RestartPolicy;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A run of this length counts as a success.
const STABLE: Duration = Duration::from_secs(10);

/// The delays of one container's restarts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    last: Duration,
}

impl Backoff {
    /// Returns how long to wait after a run of `ran`.
    pub fn next(&mut self, ran: Duration) -> Duration {
        self.last = if self.last.is_zero() || ran >= STABLE {
            FIRST_DELAY
        } else {
            (self.last * 2).min(LONGEST_DELAY)
        };
        self.last
    }
}

/// How the last run ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// As of a shell.
    pub exit_code: i32,
    /// How often the policy has restarted it already.
    pub restarts: u32,
    /// Whether somebody has sent it a signal or stopped it since it was started.
    pub stopped_by_user: bool,
}

/// Returns whether the container starts again.
pub fn wanted(policy: &RestartPolicy, ended: Ended) -> bool {
    match policy.name.as_str() {
        "always" => true,
        "unless-stopped" => !ended.stopped_by_user,
        "on-failure" => {
            let most = policy.maximum_retry_count;
            ended.exit_code != 0 && (most == 0 || i64::from(ended.restarts) < most)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_decide_as_dockers() {
        // policy, most, exit code, restarts, stopped by the user, starts again
        for (name, maximum_retry_count, exit_code, restarts, stopped_by_user, expected) in [
            ("no", 0, 1, 0, false, false),
            ("", 0, 1, 0, false, false),
            ("always", 0, 0, 100, false, true),
            ("always", 0, 0, 0, true, true),
            ("unless-stopped", 0, 0, 0, false, true),
            ("unless-stopped", 0, 0, 0, true, false),
            ("on-failure", 0, 0, 0, false, false),
            ("on-failure", 0, 1, 100, false, true),
            ("on-failure", 2, 1, 1, false, true),
            ("on-failure", 2, 1, 2, false, false),
            ("on-failure", 2, 1, 0, true, true),
        ] {
            let policy = RestartPolicy {
                name: name.into(),
                maximum_retry_count,
            };
            let ended = Ended {
                exit_code,
                restarts,
                stopped_by_user,
            };
            assert_eq!(wanted(&policy, ended), expected, "{policy:?} {ended:?}");
        }
    }

    #[test]
    fn delays_double_and_start_anew_after_a_long_run() {
        let mut backoff = Backoff::default();
        let short = Duration::from_secs(1);
        let delays: Vec<u128> = (0..12).map(|_| backoff.next(short).as_millis()).collect();
        assert_eq!(delays[..4], [100, 200, 400, 800]);
        assert_eq!(delays[11], 60_000);
        assert_eq!(backoff.next(STABLE), FIRST_DELAY);
    }
}
