//! /etc/hosts, /etc/hostname and /etc/resolv.conf of a container, as text.
//!
//! Pure, but for reading the host's own resolv.conf, whose content is an argument.

use std::fmt::Write as _;
use std::net::IpAddr;

const INFALLIBLE: &str = "writing to a string does not fail";

/// An entry of /etc/hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostsEntry {
    /// The address.
    pub address: String,
    /// The names, in order.
    pub names: Vec<String>,
}

/// Returns /etc/hosts: this machine, then `entries` in their order.
pub fn hosts(entries: &[HostsEntry]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    append_hosts(&mut text, entries);
    text
}

/// Adds entries to a hosts file.
pub fn append_hosts(text: &mut String, entries: &[HostsEntry]) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for entry in entries {
        writeln!(text, "{}\t{}", entry.address, entry.names.join(" ")).expect(INFALLIBLE);
    }
}

/// What replaces the host's resolver configuration; an empty list leaves the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Addresses of name servers.
    pub servers: Vec<String>,
    /// Search domains; `.` alone means none.
    pub search: Vec<String>,
    /// `ndots:2`.
    pub options: Vec<String>,
}

/// Reads resolv.conf(5); of `search` and `domain` the last one counts.
pub fn parse_resolver(text: &str) -> Resolver {
    let mut resolver = Resolver::default();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => resolver.servers.extend(words.next().map(str::to_owned)),
            Some("search" | "domain") => resolver.search = words.map(str::to_owned).collect(),
            Some("options") => resolver.options.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    resolver
}

/// Returns resolv.conf of a container: the host's, with what `asked` replaces.
///
/// With `private` (a network of its own) servers on the host's loopback cannot be reached and are left out.
pub fn resolv_conf(host: &Resolver, asked: &Resolver, private: bool) -> String {
    let or = |asked: &[String], host: &[String]| {
        if asked.is_empty() {
            host.to_vec()
        } else {
            asked.to_vec()
        }
    };
    let mut servers = or(&asked.servers, &host.servers);
    if asked.servers.is_empty() && private {
        servers.retain(|server| !is_loopback(server));
    }
    let mut text =
        String::from("# Written by aril at each start; mount a file over it to have another.\n\n");
    for server in servers {
        writeln!(text, "nameserver {server}").expect(INFALLIBLE);
    }
    let search = or(&asked.search, &host.search);
    if !search.is_empty() && search != ["."] {
        writeln!(text, "search {}", search.join(" ")).expect(INFALLIBLE);
    }
    let options = or(&asked.options, &host.options);
    if !options.is_empty() {
        writeln!(text, "options {}", options.join(" ")).expect(INFALLIBLE);
    }
    text
}

fn is_loopback(server: &str) -> bool {
    // A link-local address may name its interface.
    let address = server.split('%').next().unwrap_or_default();
    address
        .parse::<IpAddr>()
        .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn hosts_begin_with_this_machine() {
        let entry = HostsEntry {
            address: "10.0.0.1".into(),
            names: list(&["db", "sql"]),
        };
        let text = hosts(&[entry]);
        assert!(text.starts_with("127.0.0.1\tlocalhost\n::1\t"));
        assert!(text.ends_with("ff02::2\tip6-allrouters\n10.0.0.1\tdb sql\n"));
    }

    #[test]
    fn the_hosts_resolver_is_kept_where_nothing_replaces_it() {
        let host = parse_resolver(
            "# comment\nnameserver 127.0.0.53\nnameserver 10.0.0.2 # note\nsearch old\nsearch a b\noptions edns0\n",
        );
        let body = |asked: &Resolver, private| {
            let text = resolv_conf(&host, asked, private);
            text.lines().skip(2).map(str::to_owned).collect::<Vec<_>>()
        };
        let nothing = Resolver::default();
        assert_eq!(
            body(&nothing, true),
            ["nameserver 10.0.0.2", "search a b", "options edns0"]
        );
        assert_eq!(body(&nothing, false)[0], "nameserver 127.0.0.53");
        let asked = Resolver {
            servers: list(&["127.0.0.1"]),
            search: list(&["."]),
            options: list(&["ndots:2"]),
        };
        assert_eq!(
            body(&asked, true),
            ["nameserver 127.0.0.1", "options ndots:2"]
        );
    }
}
