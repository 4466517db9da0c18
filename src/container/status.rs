//! Where in its life a container is, and how its program ended: the document `state.json`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::docker::container::PortBinding;
use crate::docker::inspect::Health;
use crate::docker::network::EndpointSettings;

/// Where in its life a container is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It has never run.
    #[default]
    Created,
    /// Its program runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Its policy waits to restart it.
    Restarting,
    /// It is being removed.
    Removing,
    /// Its program has ended.
    Exited,
}

impl Phase {
    /// Returns the word that documents show.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Created => "created",
            Phase::Running => "running",
            Phase::Paused => "paused",
            Phase::Restarting => "restarting",
            Phase::Removing => "removing",
            Phase::Exited => "exited",
        }
    }

    /// Returns whether a monitor must be alive in this phase.
    pub fn needs_monitor(self) -> bool {
        matches!(self, Phase::Running | Phase::Paused | Phase::Restarting)
    }

    /// Returns whether there are processes of the container.
    pub fn has_processes(self) -> bool {
        matches!(self, Phase::Running | Phase::Paused)
    }
}

/// The status document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Where in its life it is.
    pub phase: Phase,
    /// Its first process as the host numbers it; 0 if there is none.
    pub pid: i32,
    /// Of the last run; also why a start failed, as of a shell.
    pub exit_code: i32,
    /// Why the last start failed.
    pub error: String,
    /// What may help against that.
    pub hint: String,
    /// When the last run began.
    pub started_at: Option<Timestamp>,
    /// When the last run ended.
    pub finished_at: Option<Timestamp>,
    /// Whether the kernel killed one of its processes for memory in the last run.
    pub oom_killed: bool,
    /// How often its policy has restarted it.
    pub restart_count: u32,
    /// How often its program has let a stop signal pass, see [`EndedBy::is_telling`].
    pub ignored_stops: u32,
    /// Whether somebody stopped it, so that no policy starts it again.
    pub stopped_by_user: bool,
    /// Who asked the last run to end, and how.
    pub ended_by: Option<EndedBy>,
    /// The cgroup of the last run, for whoever cleans up after a crash.
    pub cgroup: String,
    /// The boot in which the last run began.
    pub boot_id: String,
    /// Of the last run.
    pub health: Option<Health>,
    /// Addresses and ports of the present run.
    pub network: NetworkStatus,
}

/// A request to end a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndedBy {
    /// The signal that was sent.
    pub signal: i32,
    /// The process that asked, as the host numbers it; 0 for the machine, when it goes down.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// Its command line; empty if it was gone already.
    pub command: String,
    /// Whether it took SIGKILL, `timeout_s` seconds later.
    pub ignored: bool,
    /// How long the program had.
    pub timeout_s: i64,
}

impl EndedBy {
    /// Seconds that a program needs at most to end when it heeds its signal, and less than which somebody who wants it gone
    /// at once gives it.
    const FAIR_TIMEOUT_S: i64 = 3;

    /// Returns whether the program had its time and let the signal pass, so that its user may want to know.
    pub fn is_telling(&self) -> bool {
        self.ignored && self.timeout_s >= EndedBy::FAIR_TIMEOUT_S
    }
}

/// What a container that runs has of networks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkStatus {
    /// Its places, by name of the network.
    pub endpoints: BTreeMap<String, EndpointSettings>,
    /// `80/tcp` → where on the host; nothing for ports that are only exposed.
    pub ports: BTreeMap<String, Option<Vec<PortBinding>>>,
}

/// How a program ended, as a shell and docker number it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus(i32);

impl ExitStatus {
    /// aril itself failed.
    pub const ENGINE_FAILED: ExitStatus = ExitStatus(125);
    /// The command cannot be run.
    pub const CANNOT_RUN: ExitStatus = ExitStatus(126);
    /// The command does not exist.
    pub const NOT_FOUND: ExitStatus = ExitStatus(127);
    /// The monitor died, and the container with it.
    pub const MONITOR_DIED: ExitStatus = ExitStatus(137);
    /// It was refused before anybody looked for the command.
    pub const REFUSED: ExitStatus = ExitStatus(128);
    /// The machine went down while it ran.
    pub const MACHINE_DIED: ExitStatus = ExitStatus(255);

    /// Returns the status of a program that exited with `code`.
    pub fn exited(code: i32) -> ExitStatus {
        ExitStatus(code)
    }

    /// Returns the status of a program that `signal` killed.
    pub fn killed(signal: i32) -> ExitStatus {
        ExitStatus(128 + signal)
    }

    /// Returns the status of a program that could not be started for this reason; none means that the engine failed.
    pub fn not_started(errno: Option<i32>) -> ExitStatus {
        match errno {
            Some(libc::ENOENT) => ExitStatus::NOT_FOUND,
            Some(libc::EACCES | libc::EPERM | libc::EISDIR | libc::ENOEXEC) => {
                ExitStatus::CANNOT_RUN
            }
            _ => ExitStatus::ENGINE_FAILED,
        }
    }

    /// Returns the same of an exec session: there docker says of a file where a directory should be that it was not found.
    pub fn exec_not_started(errno: Option<i32>) -> ExitStatus {
        match errno {
            Some(libc::ENOTDIR) => ExitStatus::NOT_FOUND,
            errno => ExitStatus::not_started(errno),
        }
    }

    /// Returns the number.
    pub fn code(self) -> i32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(ExitStatus::killed(9).code(), 137);
        assert_eq!(ExitStatus::not_started(Some(libc::ENOENT)).code(), 127);
        assert_eq!(ExitStatus::not_started(Some(libc::EACCES)).code(), 126);
        assert_eq!(ExitStatus::not_started(None).code(), 125);
    }
}
