//! Network devices of the host that a container gets (runtime-spec config-linux.md, Network Devices).
//!
//! They move into the container's network namespace before anything runs there that could see them come, keep the addresses
//! that last, and are turned on. With the namespace they end, or come back to the host if they are hardware; also when the
//! container cannot be created after all.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::child::Prepared;
use super::namespaces::Namespaces;
use crate::error;
use crate::network::netlink::route::{self, Link};
use crate::network::netlink::{Socket, device};
use crate::oci::runtime::linux::{Linux, NamespaceKind};
use crate::sys::netlink::Protocol;
use crate::sys::netns;

/// The kernel's names are shorter than this (IFNAMSIZ).
const NAME_BYTES: usize = 16;

/// A device to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NetDevice {
    /// Its name on the host.
    name: String,
    /// Its name in the container; `%d` in it is a number that is free there.
    inside: String,
}

/// Reads and checks the devices of a configuration.
pub(super) fn plan(linux: &Linux, namespaces: &Namespaces) -> Result<Vec<NetDevice>> {
    let mut devices: Vec<NetDevice> = Vec::with_capacity(linux.net_devices.len());
    for (name, device) in &linux.net_devices {
        let inside = if device.name.is_empty() {
            name
        } else {
            &device.name
        };
        for name in [name, inside] {
            if !is_name(name) {
                bail!(error::invalid(format!(
                    "invalid network device name {name:?}"
                )));
            }
        }
        if devices.iter().any(|known| known.inside == *inside) && !is_template(inside) {
            bail!(error::invalid(format!(
                "two network devices would be called {inside:?} in the container"
            )));
        }
        devices.push(NetDevice {
            name: name.clone(),
            inside: inside.clone(),
        });
    }
    if !devices.is_empty() && !has_network_of_its_own(namespaces) {
        bail!(error::with_hint(
            error::invalid("network devices cannot be moved into the host's network namespace"),
            "add a namespace of type network to linux.namespaces, or leave out linux.netDevices",
        ));
    }
    Ok(devices)
}

/// As the kernel has it (`dev_valid_name`), but for `%`, which begins a template of a name.
fn is_name(name: &str) -> bool {
    let is_odd = |c: char| c == '/' || c == ':' || c.is_ascii_whitespace() || c == '\0';
    !matches!(name, "" | "." | "..") && name.len() < NAME_BYTES && !name.contains(is_odd)
}

fn is_template(name: &str) -> bool {
    name.contains("%d")
}

fn has_network_of_its_own(namespaces: &Namespaces) -> bool {
    let identity = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.dev(), found.ino()))
    };
    let is_own = |(kind, path): &(NamespaceKind, PathBuf)| {
        *kind == NamespaceKind::Network
            && identity(path) == identity(Path::new("/proc/self/ns/net"))
    };
    namespaces.has(NamespaceKind::Network) && !namespaces.joined.iter().any(is_own)
}

/// Moves `devices` into the network namespace of `container`. All are looked for before the first one moves.
pub(super) fn move_in(devices: &[NetDevice], container: Prepared<'_>) -> Result<()> {
    if devices.is_empty() {
        return Ok(());
    }
    let pid = container.pid.as_raw_nonzero();
    let namespace = File::open(format!("/proc/{pid}/ns/net"))
        .context("open the container's network namespace")?;
    let outside = Socket::open(Protocol::Route)?;
    let inside = netns::inside(namespace.as_fd(), || Socket::open(Protocol::Route))
        .context("enter the container's network namespace")??;
    let mut found = Vec::with_capacity(devices.len());
    for device in devices {
        let NetDevice { name, inside: new } = device;
        let Some(link) = route::link(&outside, name)? else {
            bail!(error::not_found(format!(
                "there is no network device {name:?} on the host"
            )));
        };
        if !is_template(new) && route::link(&inside, new)?.is_some() {
            bail!(error::conflict(format!(
                "network device {name:?} cannot be called {new:?} in the container: there is one of that name"
            )));
        }
        found.push((device, link));
    }
    for (NetDevice { name, inside: new }, link) in found {
        let moved = || -> Result<()> {
            let addresses = device::lasting_addresses(&outside, link.index)?;
            let before = route::links(&inside)?;
            device::move_link(&outside, link.index, namespace.as_fd(), new)?;
            let index = index_of_new(&before, &route::links(&inside)?)?;
            route::configure(&inside, index, &addresses)
        };
        moved().with_context(|| format!("move network device {name:?} into the container"))?;
    }
    Ok(())
}

/// A device that comes keeps its index only if that is free, so it is the one that was not there before.
fn index_of_new(before: &[Link], after: &[Link]) -> Result<u32> {
    let is_new = |link: &&Link| before.iter().all(|known| known.index != link.index);
    let new = after.iter().find(is_new);
    new.map(|link| link.index)
        .context("the kernel has moved it, but it is not there")
}

#[cfg(test)]
mod tests {
    use super::super::namespaces;
    use super::*;

    fn planned(devices: &str, network: &str) -> Result<Vec<NetDevice>> {
        let linux: Linux = serde_json::from_str(&format!(
            r#"{{"namespaces":[{{"type":"mount"}}{network}],"netDevices":{devices}}}"#
        ))
        .unwrap();
        plan(&linux, &namespaces::plan(&linux).unwrap())
    }

    const NEW: &str = r#",{"type":"network"}"#;

    #[test]
    fn devices_keep_their_names_or_get_new_ones() {
        let devices = planned(
            r#"{"eth1":{},"eth2":{"name":"net%d"},"eth3":{"name":"net%d"}}"#,
            NEW,
        );
        let names: Vec<_> = devices
            .unwrap()
            .into_iter()
            .map(|d| (d.name, d.inside))
            .collect();
        let expected = [("eth1", "eth1"), ("eth2", "net%d"), ("eth3", "net%d")];
        assert_eq!(names, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert_eq!(planned("{}", "").unwrap(), []);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let host = r#",{"type":"network","path":"/proc/self/ns/net"}"#;
        for (devices, network, text) in [
            (r#"{"a b":{}}"#, NEW, "invalid network device name \"a b\""),
            (r#"{"..":{}}"#, NEW, "invalid network device name"),
            (
                r#"{"e":{"name":"a/b"}}"#,
                NEW,
                "invalid network device name",
            ),
            (
                r#"{"e":{"name":"1234567890123456"}}"#,
                NEW,
                "invalid network device name",
            ),
            (r#"{"e":{"name":"x"},"x":{}}"#, NEW, "would be called \"x\""),
            (r#"{"e":{}}"#, "", "the host's network namespace"),
            (r#"{"e":{}}"#, host, "the host's network namespace"),
        ] {
            let error = planned(devices, network).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
