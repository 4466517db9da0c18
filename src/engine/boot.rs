//! After a boot: the containers whose policy says so start again.

use anyhow::Result;

use super::{Engine, lifecycle, repair};
use crate::container::{Container, Status};
use crate::docker::container::RestartPolicy;
use crate::monitor::restart;
use crate::store;

/// What became of the containers that were to start.
#[derive(Debug, Default)]
pub struct Booted {
    /// Their names, in the order of their start.
    pub started: Vec<String>,
    /// Names and reasons of those that did not start.
    pub failed: Vec<(String, anyhow::Error)>,
}

/// Starts what ran in an earlier boot and is to run again, the oldest first.
///
/// What has run in this boot already is left as it is, so this may be done again.
pub fn boot(engine: &Engine) -> Result<Booted> {
    let boot_id = store::boot_id();
    let mut waiting = repair::containers(engine, engine.containers.list()?)?;
    waiting.retain(|container| {
        !container.status.phase.needs_monitor()
            && container.status.boot_id != boot_id
            && wanted(
                &container.record.host_config.restart_policy,
                &container.status,
            )
    });
    // The newest come first in lists.
    waiting.reverse();
    let mut booted = Booted::default();
    loop {
        let before = waiting.len();
        let mut failed: Vec<(Container, anyhow::Error)> = Vec::new();
        for container in waiting {
            match lifecycle::start(engine, &container, None) {
                Ok(_) => booted.started.push(container.record.name),
                Err(error) => failed.push((container, error)),
            }
        }
        // One that shares something with another waits for that one's start.
        if failed.is_empty() || failed.len() == before {
            let failed = failed.into_iter();
            booted.failed = failed.map(|(c, error)| (c.record.name, error)).collect();
            return Ok(booted);
        }
        waiting = failed.into_iter().map(|(container, _)| container).collect();
    }
}

/// Returns whether a container that does not run is to run after a boot: one that has never run is not.
fn wanted(policy: &RestartPolicy, status: &Status) -> bool {
    let ended = restart::Ended {
        exit_code: status.exit_code,
        restarts: status.restart_count,
        stopped_by_user: status.stopped_by_user,
    };
    status.started_at.is_some() && restart::wanted(policy, ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_decide_what_starts_after_a_boot() {
        let check = |name: &str, exit_code, stopped_by_user, want| {
            let policy = RestartPolicy {
                name: name.to_owned(),
                maximum_retry_count: 0,
            };
            let status = Status {
                exit_code,
                stopped_by_user,
                started_at: Some(jiff::Timestamp::UNIX_EPOCH),
                ..Status::default()
            };
            assert_eq!(
                wanted(&policy, &status),
                want,
                "{name} {exit_code} {stopped_by_user}"
            );
            let never = Status {
                started_at: None,
                ..status
            };
            assert!(!wanted(&policy, &never));
        };
        check("no", 255, false, false);
        check("always", 0, true, true);
        check("unless-stopped", 255, false, true);
        check("unless-stopped", 137, true, false);
        check("on-failure", 255, false, true);
        check("on-failure", 0, false, false);
    }
}
