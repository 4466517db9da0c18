//! What a crash has left behind, and how it is set right.
//!
//! A container whose status needs a monitor and whose monitor's lock is free has lost its monitor: `kill -9`, a bug, the end
//! of the machine. Whoever looks first takes the lock, ends what may still run, and writes down how it ended. Every step may
//! be repeated, so a repair that is itself killed is repaired by the next one.

use std::path::Path;

use anyhow::Result;
use jiff::Timestamp;

use super::Engine;
use crate::container::{Container, ExitStatus, Phase};
use crate::store::FileLock;

/// Returns `container` as it is after a repair, if it needed one.
pub fn container(engine: &Engine, container: Container) -> Result<Container> {
    let id = &container.record.id;
    if !container.status.phase.needs_monitor() || engine.containers.is_monitored(id)? {
        return Ok(container);
    }
    repair(engine, &container)?;
    engine.containers.get(id)
}
