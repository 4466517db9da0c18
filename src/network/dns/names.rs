//! Which container a name means: docker's rules for the names of a user-defined network.
//!
//! A name is looked for in all networks of the asking container, in their order; `name.network` in that network only, where
//! either part may contain dots. Links of the asking container come first. The case of letters does not matter.

use std::net::IpAddr;
use std::path::PathBuf;

use super::entry::{self, Entry};
use super::stamp::Cached;

/// What a container can see by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Its networks with names of their own, the one with its default route first; none for the default bridge.
    pub networks: Vec<Network>,
    /// Whether the host's servers are asked what no container is called; not if all its networks are internal.
    pub forwards: bool,
    /// Names that are not a container's, such as `host.docker.internal`.
    pub extra: Vec<(String, Vec<IpAddr>)>,
}

/// A network that the asking container is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Where its entries are; see [`Entry`].
    pub directory: PathBuf,
    /// Names that only the asking container knows.
    pub links: Vec<Link>,
}

/// A private name for another container: `--link target:alias`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The private name.
    pub alias: String,
    /// A name that everybody knows in the network, or an id.
    pub target: String,
}

/// A network, and what its directory holds.
#[derive(Debug)]
pub(super) struct Table {
    network: Network,
    entries: Cached<Vec<(String, Entry)>>,
}

impl Table {
    pub(super) fn new(network: Network) -> Table {
        Table {
            network,
            entries: Cached::default(),
        }
    }

    /// Reads the directory again if it has changed.
    pub(super) fn refresh(&mut self) {
        self.entries.get(&self.network.directory, entry::read_all);
    }

    fn entries(&self) -> &[(String, Entry)] {
        self.entries.last()
    }

    /// Returns the addresses of the containers called `name`; nothing if none is.
    fn find(&self, name: &str, is_alive: &dyn Fn(&str) -> bool) -> Option<Vec<IpAddr>> {
        let called: Vec<&Entry> = self
            .entries()
            .iter()
            .filter(|(id, entry)| {
                let is_called = entry.names.iter().any(|own| own.eq_ignore_ascii_case(name));
                // A link may say the whole id.
                (is_called || id.eq_ignore_ascii_case(name)) && is_alive(id)
            })
            .map(|(_, entry)| entry)
            .collect();
        let addresses = called.iter().flat_map(|entry| entry.addresses.clone());
        (!called.is_empty()).then(|| addresses.collect())
    }

    fn find_link(&self, name: &str, is_alive: &dyn Fn(&str) -> bool) -> Option<Vec<IpAddr>> {
        let mut links = self.network.links.iter();
        links
            .find(|link| link.alias.eq_ignore_ascii_case(name))
            .and_then(|link| self.find(&link.target, is_alive))
    }
}

/// Returns the addresses of `name`, of all families; nothing if nobody is called so.
///
/// `is_alive` tells whether the container with an id is still there.
pub(super) fn addresses(
    tables: &[Table],
    name: &str,
    is_alive: &dyn Fn(&str) -> bool,
) -> Option<Vec<IpAddr>> {
    splits(name).find_map(|(host, network)| {
        let asked = || {
            tables.iter().filter(move |table| {
                network.is_none_or(|network| table.network.name.eq_ignore_ascii_case(network))
            })
        };
        asked()
            .find_map(|table| table.find_link(host, is_alive))
            .or_else(|| asked().find_map(|table| table.find(host, is_alive)))
    })
}

/// Returns the name of `address`, with that of its network; nothing if it is nobody's.
pub(super) fn name_of(
    tables: &[Table],
    address: IpAddr,
    is_alive: &dyn Fn(&str) -> bool,
) -> Option<String> {
    tables.iter().find_map(|table| {
        let (_, entry) = table
            .entries()
            .iter()
            .find(|(id, entry)| entry.addresses.contains(&address) && is_alive(id))?;
        let name = entry.names.first()?;
        Some(format!("{name}.{}", table.network.name))
    })
}

/// Returns the ways to read a name: as it is, then as a container's and a network's, the shortest network first.
fn splits(name: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let dots = name.rmatch_indices('.').map(|(at, _)| at);
    std::iter::once((name, None)).chain(
        dots.map(|at| (&name[..at], Some(&name[at + 1..])))
            .filter(|(host, _)| !host.is_empty()),
    )
}
