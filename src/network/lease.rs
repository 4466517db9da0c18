//! Addresses that containers have: one link per address, `leases/172.17.0.2 -> ID of the container`.
//!
//! A lease counts as long as the monitor of its container lives, which its lock says. So a monitor that is killed gives its
//! addresses back by dying, and whoever looks for an address next takes the dead leases away.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::ipam::Pool;
use crate::dirs::Dirs;
use crate::error;
use crate::store::FileLock;

fn dir(dirs: &Dirs, network: &str) -> PathBuf {
    dirs.network_run(network).join("leases")
}

/// Leases an address of a pool to `container`, whose monitor's lock the caller holds: `wanted`, or the lowest that is free.
///
/// Errors: `Conflict` if it is taken, `Invalid` if it is outside of the pool, `Forbidden` if none is left.
pub fn take(
    dirs: &Dirs,
    network: &str,
    pool: &Pool,
    wanted: Option<IpAddr>,
    container: &str,
) -> Result<IpAddr> {
    let leases = dir(dirs, network);
    std::fs::create_dir_all(&leases).with_context(|| format!("create {}", leases.display()))?;
    let _lock = FileLock::exclusive(&dirs.network_run(network).join("lock"))?;
    let taken = living(dirs, &leases)?;
    let address = match wanted {
        Some(wanted) => {
            pool.check(wanted, &taken)?;
            wanted
        }
        None => pool.lowest_free(&taken).ok_or_else(|| {
            error::with_hint(
                error::new(
                    error::Kind::Forbidden,
                    "no available IPv4 addresses on this network's address pools",
                ),
                "remove containers that run in it, or make a network with a larger --subnet",
            )
        })?,
    };
    let lease = leases.join(address.to_string());
    std::os::unix::fs::symlink(container, &lease)
        .with_context(|| format!("lease {}", lease.display()))?;
    Ok(address)
}

/// Returns the addresses that are leased to somebody who lives, and removes the other leases; the caller holds the lock.
fn living(dirs: &Dirs, leases: &Path) -> Result<BTreeSet<IpAddr>> {
    let mut taken = BTreeSet::new();
    let entries =
        std::fs::read_dir(leases).with_context(|| format!("list {}", leases.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("list {}", leases.display()))?;
        let Some(address) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let owner = match std::fs::read_link(entry.path()) {
            // It was given back meanwhile, which takes no lock.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            owner => owner.with_context(|| format!("read {}", entry.path().display()))?,
        };
        let lives = FileLock::is_held(&dirs.monitor_lock(&owner.to_string_lossy()))?;
        if lives {
            taken.insert(address);
        } else {
            tracing::debug!("the lease of {address} has outlived its owner");
            remove(&entry.path())?;
        }
    }
    Ok(taken)
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done.with_context(|| format!("remove {}", path.display())),
    }
}

/// Gives addresses back; with `owner`, those that are still leased to this container.
pub fn release(
    dirs: &Dirs,
    network: &str,
    addresses: impl Iterator<Item = IpAddr>,
    owner: Option<&str>,
) -> Result<()> {
    for address in addresses {
        let lease = dir(dirs, network).join(address.to_string());
        let is_owners =
            |owner| std::fs::read_link(&lease).is_ok_and(|link| link == Path::new(owner));
        if owner.is_none_or(is_owners) {
            remove(&lease)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_dead_are_free() {
        let root = std::env::temp_dir().join(format!("aril-lease-{}", crate::store::unique()));
        let dirs = Dirs::new(root.join("data"), root.join("run"));
        dirs.create().unwrap();
        let subnet = "10.0.0.0/29".parse().unwrap();
        let pool = Pool {
            subnet,
            range: None,
            reserved: vec![subnet.default_gateway()],
        };
        let live = |id: &str| {
            std::fs::create_dir_all(dirs.container_run(id)).unwrap();
            FileLock::try_exclusive(&dirs.monitor_lock(id))
                .unwrap()
                .unwrap()
        };
        let take = |wanted: Option<&str>, id| {
            let wanted = wanted.map(|text| text.parse().unwrap());
            take(&dirs, "n", &pool, wanted, id).map(|address| address.to_string())
        };
        let (first, second) = (live("a"), live("b"));
        assert_eq!(take(None, "a").unwrap(), "10.0.0.2");
        assert_eq!(take(None, "b").unwrap(), "10.0.0.3");
        assert_eq!(take(Some("10.0.0.5"), "a").unwrap(), "10.0.0.5");
        let error = take(Some("10.0.0.5"), "b").unwrap_err();
        assert_eq!(error.to_string(), "Address already in use");
        drop(first);
        assert_eq!(take(None, "b").unwrap(), "10.0.0.2");
        assert_eq!(take(Some("10.0.0.5"), "b").unwrap(), "10.0.0.5");
        release(&dirs, "n", ["10.0.0.2".parse().unwrap()].into_iter(), None).unwrap();
        assert_eq!(take(None, "b").unwrap(), "10.0.0.2");
        for _ in 0..2 {
            take(None, "b").unwrap();
        }
        let error = take(None, "b").unwrap_err();
        assert!(
            error.to_string().starts_with("no available IPv4 addresses"),
            "{error}"
        );
        drop(second);
        std::fs::remove_dir_all(root).unwrap();
    }
}
