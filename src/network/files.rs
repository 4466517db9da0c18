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

/// Returns a hosts file in which the line with the names of `entry` has its address.
pub fn replace_hosts(text: &str, entry: &HostsEntry) -> String {
    let mut changed = String::with_capacity(text.len());
    for line in text.lines() {
        let (_, names) = line.split_once('\t').unwrap_or_default();
        if names.split(' ').eq(&entry.names) {
            append_hosts(&mut changed, std::slice::from_ref(entry));
        } else {
            changed.push_str(line);
            changed.push('\n');
        }
    }
    changed
}

/// Returns a hosts file without the lines of `entries`.
pub fn remove_hosts(text: &str, entries: &[HostsEntry]) -> String {
    let mut lines = String::new();
    append_hosts(&mut lines, entries);
    let kept = text
        .lines()
        .filter(|line| lines.lines().all(|gone| gone != *line));
    kept.flat_map(|line| [line, "\n"]).collect()
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

/// Whose name servers a container asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Servers {
    /// The host's, as they are: it shares the host's network.
    Host,
    /// The host's, but for those on its loopback, which cannot be reached.
    Reachable,
    /// That of its own at 127.0.0.11.
    Own,
}

/// Who is asked where nobody else can be, as docker does it.
const PUBLIC: [&str; 2] = ["8.8.8.8", "8.8.4.4"];
/// The file that everything starts from.
pub const HOST_FILE: &str = "/etc/resolv.conf";

/// Returns whether all name servers of the host are on its loopback, so that no container reaches one.
pub fn are_all_loopback(host: &Resolver) -> bool {
    !host.servers.is_empty() && host.servers.iter().all(|server| is_loopback(server))
}

/// Returns resolv.conf of a container: the host's, with what `asked` replaces, in docker's words.
pub fn resolv_conf(host: &Resolver, asked: &Resolver, whose: Servers) -> String {
    let mut overrides = Vec::new();
    let mut or = |what, asked: &[String], host: &[String]| {
        if asked.is_empty() {
            host.to_vec()
        } else {
            overrides.push(what);
            asked.to_vec()
        }
    };
    let mut servers = or("nameservers", &asked.servers, &host.servers);
    let search = or("search", &asked.search, &host.search);
    let mut options = or("options", &asked.options, &host.options);
    let ndots = |options: &[String]| options.iter().any(|option| option.starts_with("ndots:"));
    let mut ndots_from = match (ndots(&asked.options), ndots(&options)) {
        (true, _) => Some("override"),
        (false, true) => Some("host"),
        (false, false) => None,
    };
    let mut external = Vec::new();
    match whose {
        Servers::Reachable if asked.servers.is_empty() => {
            servers.retain(|server| !is_loopback(server));
            if servers.is_empty() {
                servers = PUBLIC.map(str::to_owned).to_vec();
            }
        }
        Servers::Host | Servers::Reachable => {}
        Servers::Own => {
            let of_host = asked.servers.is_empty();
            external = servers;
            if of_host {
                external = external
                    .iter()
                    .map(|server| format!("host({server})"))
                    .collect();
            }
            servers = vec!["127.0.0.11".to_owned()];
            if ndots_from != Some("override") {
                // A name without a dot may be a container's: it is asked as it is first.
                options.retain(|option| !option.starts_with("ndots:"));
                options.push("ndots:0".to_owned());
                ndots_from = Some("internal");
            }
        }
    }
    let mut text = String::from(
        "# Generated by Docker Engine.\n# This file can be edited; Docker Engine will not make further changes once it\n\
         # has been modified.\n\n",
    );
    let mut line = |line: String| writeln!(text, "{line}").expect(INFALLIBLE);
    for server in servers {
        line(format!("nameserver {server}"));
    }
    if !search.is_empty() && search != ["."] {
        line(format!("search {}", search.join(" ")));
    }
    if !options.is_empty() {
        line(format!("options {}", options.join(" ")));
    }
    let how = if whose == Servers::Own {
        "internal resolver"
    } else {
        "legacy"
    };
    line(format!("\n# Based on host file: '{HOST_FILE}' ({how})"));
    if !external.is_empty() {
        line(format!("# ExtServers: [{}]", external.join(" ")));
    }
    line(format!("# Overrides: [{}]", overrides.join(" ")));
    if let Some(from) = ndots_from {
        line(format!("# Option ndots from: {from}"));
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
    fn a_line_is_replaced_by_its_names() {
        let entry = HostsEntry {
            address: "10.0.0.9".into(),
            names: list(&["db", "sql"]),
        };
        let text = "127.0.0.1\tlocalhost\n10.0.0.1\tdb sql\n10.0.0.1\tdb\n";
        let want = "127.0.0.1\tlocalhost\n10.0.0.9\tdb sql\n10.0.0.1\tdb\n";
        assert_eq!(replace_hosts(text, &entry), want);
    }

    #[test]
    fn the_hosts_resolver_is_kept_where_nothing_replaces_it() {
        let host = parse_resolver(
            "# comment\nnameserver 127.0.0.53\nnameserver 10.0.0.2 # note\nsearch old\nsearch a b\noptions edns0\n",
        );
        let body = |asked: &Resolver, whose| {
            let text = resolv_conf(&host, asked, whose);
            let lines = text.lines().skip(4).take_while(|line| !line.is_empty());
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let nothing = Resolver::default();
        assert_eq!(
            body(&nothing, Servers::Reachable),
            ["nameserver 10.0.0.2", "search a b", "options edns0"]
        );
        assert_eq!(body(&nothing, Servers::Host)[0], "nameserver 127.0.0.53");
        assert_eq!(
            body(&nothing, Servers::Own),
            [
                "nameserver 127.0.0.11",
                "search a b",
                "options edns0 ndots:0"
            ]
        );
        let asked = Resolver {
            servers: list(&["127.0.0.1"]),
            search: list(&["."]),
            options: list(&["ndots:2"]),
        };
        assert_eq!(
            body(&asked, Servers::Reachable),
            ["nameserver 127.0.0.1", "options ndots:2"]
        );
        assert_eq!(
            body(&asked, Servers::Own),
            ["nameserver 127.0.0.11", "options ndots:2"]
        );
        let lonely = Resolver {
            servers: list(&["127.0.0.53"]),
            ..Resolver::default()
        };
        assert!(are_all_loopback(&lonely) && !are_all_loopback(&host));
        let text = resolv_conf(&lonely, &nothing, Servers::Reachable);
        assert!(
            text.contains("nameserver 8.8.8.8\nnameserver 8.8.4.4\n"),
            "{text}"
        );
    }

    #[test]
    fn where_the_resolver_comes_from_is_said_in_dockers_words() {
        let asked = Resolver {
            servers: list(&["9.9.9.9"]),
            search: list(&["example.org"]),
            options: list(&["ndots:2"]),
        };
        assert_eq!(
            resolv_conf(&Resolver::default(), &asked, Servers::Reachable),
            "# Generated by Docker Engine.\n\
             # This file can be edited; Docker Engine will not make further changes once it\n\
             # has been modified.\n\
             \n\
             nameserver 9.9.9.9\n\
             search example.org\n\
             options ndots:2\n\
             \n\
             # Based on host file: '/etc/resolv.conf' (legacy)\n\
             # Overrides: [nameservers search options]\n\
             # Option ndots from: override\n"
        );
    }
}
