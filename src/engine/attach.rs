//! A container's streams and its end, for either front.

use std::os::fd::OwnedFd;

use anyhow::Result;

use super::{Engine, lifecycle};
use crate::container::{Container, Phase};
use crate::error;
use crate::monitor::client::Connection;
use crate::monitor::control::Streams;

/// What a session is with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The container's own program.
    Container,
    /// Another process in it.
    Exec,
}

/// A client's connection to a program in a container.
#[derive(Debug)]
pub struct Session {
    /// Where requests go and the end is told.
    pub connection: Connection,
    /// The stream; see [`crate::monitor::control`].
    pub stream: OwnedFd,
    /// Whether the program has a terminal.
    pub tty: bool,
    /// What it is with.
    pub target: Target,
}

/// Attaches to a running container.
pub fn attach(engine: &Engine, container: &Container, streams: Streams) -> Result<Session> {
    match container.status.phase {
        Phase::Running => {}
        Phase::Paused => {
            return Err(error::conflict(
                "You cannot attach to a paused container, unpause it first",
            ));
        }
        Phase::Restarting => {
            return Err(error::conflict(
                "You cannot attach to a restarting container, wait until it is running",
            ));
        }
        _ => {
            return Err(error::conflict(
                "You cannot attach to a stopped container, start it first",
            ));
        }
    }
    let connection = lifecycle::monitor(engine, container)?;
    let stream = connection.attach(streams)?;
    Ok(Session {
        connection,
        stream,
        tty: container.record.config.tty,
        target: Target::Container,
    })
}
