//! Rules for all containers, which anybody may remove: `nft flush ruleset`, a firewall that starts again.
//!
//! Those of published ports have this process as their owner, and nobody else can remove them. Those of networks are there
//! for all and owned by none; so every monitor is told of removals, and whoever comes first makes them again.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::Networking;
use crate::dirs::Dirs;
use crate::network::bridge;
use crate::network::record::Driver;
use crate::store::FileLock;
use crate::sys::netlink;

/// More than one notice of the kernel; what does not fit is only told to have come.
const NOTICE_BYTES: usize = 16 << 10;

/// Is told when rules are removed.
#[derive(Debug)]
pub(super) struct Watch {
    notices: OwnedFd,
    lock: PathBuf,
}

impl Watch {
    /// Starts to watch the rules of the network namespace of the calling thread.
    pub(super) fn new(dirs: &Dirs) -> Result<Watch> {
        Ok(Watch {
            notices: netlink::open_removals().context("watch the rules of networks")?,
            lock: dirs.lock("networks"),
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.notices.as_fd()
    }

    /// Takes all notices; returns whether there was one.
    fn take(&self) -> bool {
        let mut buffer = [0; NOTICE_BYTES];
        let mut one = false;
        loop {
            match netlink::receive(self.notices.as_fd(), &mut buffer, false) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return one,
                // Too many came, or one too long: what they said does not matter.
                _ => one = true,
            }
        }
    }
}

impl Networking {
    /// Makes the rules of the container's networks again if somebody has removed them.
    pub(super) fn heal(&self) {
        let (Some(host), Some(watch)) = (&self.host, &self.watch) else {
            return;
        };
        if !watch.take() {
            return;
        }
        for endpoint in &self.endpoints {
            if endpoint.network.driver() != Driver::Bridge {
                continue;
            }
            let healed = bridge::is_whole(host, &endpoint.network).and_then(|is_whole| {
                if is_whole {
                    return Ok(());
                }
                // One after the other, or rules among those of other programs would be made twice.
                let _lock = FileLock::exclusive(&watch.lock)?;
                bridge::ensure(host, &endpoint.network).map(drop)
            });
            if let Err(error) = healed {
                tracing::warn!("restore the rules of networks: {error:#}");
            }
        }
    }
}
