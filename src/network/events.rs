//! A set of descriptors to wait for, which is itself one descriptor to wait for (epoll).
//!
//! The proxy and the resolver live in a monitor's loop over poll: each shows the loop one descriptor, and asks here what
//! lies behind it. Nothing in here waits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// How many events one question brings at most.
const BATCH: usize = 256;

/// The set.
#[derive(Debug)]
pub struct Events {
    epoll: OwnedFd,
}

impl Events {
    /// Returns an empty set.
    pub fn new() -> io::Result<Events> {
        Ok(Events {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
        })
    }

    /// Returns the descriptor that is readable while something in the set is ready.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Adds a descriptor, under a key of the caller's. It leaves the set when it is closed.
    pub fn add(&self, source: impl AsFd, key: u64, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            source,
            EventData::new_u64(key),
            flags,
        )?)
    }

    /// Changes what is waited for of a descriptor in the set.
    pub fn change(&self, source: impl AsFd, key: u64, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(
            &self.epoll,
            source,
            EventData::new_u64(key),
            flags,
        )?)
    }

    /// Returns what is ready now.
    pub fn ready(&self) -> io::Result<Vec<(u64, EventFlags)>> {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut events: Vec<Event> = Vec::with_capacity(BATCH);
        rustix::io::retry_on_intr(|| {
            epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&now),
            )
        })?;
        Ok(events
            .iter()
            .map(|event| (event.data.u64(), event.flags))
            .collect())
    }
}
