//! The state of a container (runtime-spec runtime.md, State) and which operation each status allows.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where in its life a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Its namespaces are being made.
    Creating,
    /// It waits for `start`.
    Created,
    /// Its program runs.
    Running,
    /// Its processes are frozen; an extension of runc that callers expect.
    Paused,
    /// Its program has ended.
    Stopped,
}

impl Status {
    /// Returns whether `start` is allowed.
    pub fn can_start(self) -> bool {
        self == Status::Created
    }

    /// Returns whether `kill` is allowed.
    pub fn can_kill(self) -> bool {
        matches!(self, Status::Created | Status::Running | Status::Paused)
    }

    /// Returns whether `delete` without force is allowed.
    pub fn can_delete(self) -> bool {
        self == Status::Stopped
    }

    /// Returns whether `pause` is allowed.
    pub fn can_pause(self) -> bool {
        matches!(self, Status::Created | Status::Running)
    }

    /// Returns the name of the status in documents.
    pub fn name(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// What `state` prints and what hooks read on their standard input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Version of the runtime-spec.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// Where in its life it is.
    pub status: Status,
    /// Its first process, as the host numbers it; 0 if there is none.
    pub pid: i32,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// As in the configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_allows_what_the_spec_says() {
        // status, start, kill, delete, pause
        for (status, allowed) in [
            (Status::Creating, [false, false, false, false]),
            (Status::Created, [true, true, false, true]),
            (Status::Running, [false, true, false, true]),
            (Status::Paused, [false, true, false, false]),
            (Status::Stopped, [false, false, true, false]),
        ] {
            assert_eq!(
                [
                    status.can_start(),
                    status.can_kill(),
                    status.can_delete(),
                    status.can_pause()
                ],
                allowed,
                "{}",
                status.name()
            );
        }
    }
}
