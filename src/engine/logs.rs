//! What a container has said, and what it goes on to say.

use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;

use super::{Engine, lifecycle};
use crate::container::logs::entry::Entry;
use crate::container::logs::options::Driver;
use crate::container::logs::read::{Reader, Selection};
use crate::container::{Container, Phase};
use crate::error;
use crate::monitor::client::Connection;
use crate::monitor::control::{self, Reply, Request};

/// Calls `each` for every entry that is wanted; with `follow` until the container has ended for good, or `each` says
/// that it is enough by returning false.
pub fn logs(
    engine: &Engine,
    container: &Container,
    selection: &Selection,
    follow: bool,
    each: &mut dyn FnMut(Entry<'_>) -> Result<bool>,
) -> Result<()> {
    let driver = Driver::from_config(&container.record.host_config.log_config)?;
    if driver.files.is_none() {
        return Err(error::conflict(
            "configured logging driver does not support reading",
        ));
    }
    let path = engine.dirs.container_log(&container.record.id);
    // Before the first look, so that nothing happens unseen between the two.
    let mut changes = if follow {
        Some(Changes::watch(engine, container)?)
    } else {
        None
    };
    let mut reader = Reader::open(&path, selection)?;
    loop {
        while let Some(entry) = reader.next()? {
            if !each(entry)? {
                return Ok(());
            }
        }
        match &mut changes {
            // What was written up to the end is read once more.
            Some(waiting) => {
                if !waiting.wait(engine, container)? {
                    changes = None;
                }
            }
            None => return Ok(()),
        }
    }
}

/// Tells when there may be something new.
struct Changes {
    notify: std::os::fd::OwnedFd,
    monitor: Option<Connection>,
}

impl Changes {
    fn watch(engine: &Engine, container: &Container) -> Result<Changes> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let notify = inotify::init(flags).context("watch the log")?;
        let events = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO;
        let dir = engine.dirs.container(&container.record.id);
        inotify::add_watch(&notify, &dir, events)
            .with_context(|| format!("watch {}", dir.display()))?;
        Ok(Changes {
            notify,
            monitor: end_of_run(engine, container)?,
        })
    }

    /// Waits; false if nothing new will come.
    fn wait(&mut self, engine: &Engine, container: &Container) -> Result<bool> {
        let Some(monitor) = &self.monitor else {
            return Ok(false);
        };
        let mut fds = [
            PollFd::from_borrowed_fd(self.notify.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(monitor.as_fd(), PollFlags::IN),
        ];
        rustix::io::retry_on_intr(|| poll(&mut fds, None)).context("wait for the log")?;
        if !fds[0].revents().is_empty() {
            let mut buffer = [0; 4096];
            while rustix::io::read(&self.notify, &mut buffer[..]).is_ok_and(|count| count > 0) {}
        }
        if !fds[1].revents().is_empty() {
            let restarts = match control::receive::<Reply>(monitor.as_fd())? {
                Some(_) => {
                    engine.containers.status(&container.record.id)?.phase == Phase::Restarting
                }
                None => false,
            };
            if !restarts {
                return Ok(false);
            }
            self.monitor = end_of_run(engine, container)?;
        }
        Ok(true)
    }
}

/// Returns a connection on which the end of the present run is told; nothing if the container does not run.
fn end_of_run(engine: &Engine, container: &Container) -> Result<Option<Connection>> {
    match lifecycle::monitor(engine, container) {
        Ok(connection) => {
            connection.send(&Request::Wait, &[])?;
            Ok(Some(connection))
        }
        Err(error) if error::is(&error, error::Kind::Conflict) => Ok(None),
        Err(error) => Err(error),
    }
}
