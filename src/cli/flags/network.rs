//! `--network` and the options of endpoints: `--ip`, `--network-alias`, `--link`, `--mac-address` and their kind.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Result;

use super::csv;
use crate::cli::strconv::number;
use crate::docker::network::{EndpointIpam, EndpointSettings};
use crate::error;

/// The network of containers whose user names none.
pub const DEFAULT: &str = "default";

/// Options of networking.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkFlags {
    /// Put a name and its address (NAME:IP) into /etc/hosts; "host-gateway" stands for the host
    #[arg(long, value_name = "list", value_parser = extra_host)]
    pub add_host: Vec<String>,
    /// Ask this name server instead of the host's
    #[arg(long, value_name = "list", value_parser = name_server)]
    pub dns: Vec<String>,
    /// Set an option of the resolver
    #[arg(long = "dns-option", alias = "dns-opt", value_name = "list")]
    pub dns_options: Vec<String>,
    /// Look up short names in this domain; "." means in none
    #[arg(long, value_name = "list", value_parser = search_domain)]
    pub dns_search: Vec<String>,
    /// Declare a port, or a range of ports, that the program listens on
    #[arg(long, value_name = "list")]
    pub expose: Vec<String>,
    /// IPv4 address in the first network
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub ip: String,
    /// IPv6 address in the first network
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub ip6: String,
    /// Reach another container by a name (NAME[:ALIAS])
    #[arg(long, value_name = "list", value_parser = link)]
    pub link: Vec<String>,
    /// Add an address that is valid on the link only
    #[arg(long, value_name = "list")]
    pub link_local_ip: Vec<String>,
    /// MAC address in the first network
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub mac_address: String,
    /// Join a network: a name, "host", "none", "container:NAME", or name=…,alias=…,ip=…
    #[arg(long, alias = "net", value_name = "network", value_parser = parse)]
    pub network: Vec<Attachment>,
    /// Add a name in the first network
    #[arg(long, alias = "net-alias", value_name = "list")]
    pub network_alias: Vec<String>,
    /// Make a port of the container reachable on the host ([[IP:]HOST:]CONTAINER[/PROTOCOL])
    #[arg(short, long, value_name = "list")]
    pub publish: Vec<String>,
    /// Make all declared ports reachable on free ports of the host
    #[arg(short = 'P', long)]
    pub publish_all: bool,
}

/// A network to join, and what is asked of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// Name or id of a network, or a mode such as `host`.
    pub target: String,
    /// Names in this network.
    pub aliases: Vec<String>,
    /// Options for the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// Empty means any.
    pub ipv4: String,
    /// Empty means any.
    pub ipv6: String,
    /// Addresses that are valid on the link only.
    pub link_local_ips: Vec<String>,
    /// Empty means any.
    pub mac_address: String,
    /// The highest gives the default route.
    pub gw_priority: i64,
}

/// Reads an argument of `--network`: a name, or `name=n,alias=a,ip=…`.
///
/// Errors are of kind `Invalid`.
pub fn parse(text: &str) -> Result<Attachment> {
    let mut attachment = Attachment::default();
    if !is_long_form(text) {
        text.clone_into(&mut attachment.target);
        return Ok(attachment);
    }
    for field in csv::record(text)? {
        let lower = field.to_lowercase();
        let Some((key, value)) = lower.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(error::invalid(format!("invalid field {field}")));
        };
        let value = value.trim().to_owned();
        match key.trim() {
            "name" => attachment.target = value,
            "alias" => attachment.aliases.push(value),
            "ip" => attachment.ipv4 = value,
            "ip6" => attachment.ipv6 = value,
            "mac-address" => attachment.mac_address = value,
            "link-local-ip" => attachment.link_local_ips.push(value),
            "driver-opt" => {
                let pair = value.split_once('=').filter(|(key, _)| !key.is_empty());
                let Some((key, value)) = pair else {
                    let why = "invalid key value pair format in driver options";
                    return Err(error::invalid(why));
                };
                let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
                attachment.driver_opts.insert(key, value);
            }
            "gw-priority" => attachment.gw_priority = priority(&value)?,
            key => return Err(error::invalid(format!("invalid field key {key}"))),
        }
    }
    if attachment.target.is_empty() {
        return Err(error::invalid("network name/id is not specified"));
    }
    Ok(attachment)
}

/// Whether there is a word, a sign and a word somewhere, which is what docker looks for.
fn is_long_form(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices('=')
        .any(|(at, _)| text[..at].ends_with(word) && text[at + 1..].starts_with(word))
}

fn priority(text: &str) -> Result<i64> {
    number::parse_decimal(text).map_err(|error| {
        // The reason alone, without the name of Go's function.
        let why = error.to_string();
        let why = why.rsplit(": ").next().unwrap_or_default().to_owned();
        error::invalid(format!("invalid gw-priority ({text}): {why}"))
    })
}

/// Checks an argument of `--add-host` and returns it as `name:address`.
pub fn extra_host(text: &str) -> Result<String> {
    let pair = text.split_once('=').or_else(|| text.split_once(':'));
    let good = pair.filter(|(name, _)| !name.is_empty() && !name.contains(':'));
    let Some((name, address)) = good else {
        let quoted = crate::cli::strconv::quote::quote(text);
        return Err(error::invalid(format!("bad format for add-host: {quoted}")));
    };
    if address == "host-gateway" {
        return Ok(format!("{name}:{address}"));
    }
    let inner = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .filter(|inner| !inner.is_empty())
        .unwrap_or(address);
    if inner.trim().parse::<IpAddr>().is_err() {
        let quoted = crate::cli::strconv::quote::quote(inner);
        let why = format!("invalid IP address in add-host: {quoted}");
        return Err(error::invalid(why));
    }
    Ok(format!("{name}:{inner}"))
}

/// Checks an argument of `--dns` and returns its shortest form.
pub fn name_server(text: &str) -> Result<String> {
    match text.trim().parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err(error::invalid(format!(
            "IP address is not correctly formatted: {text}"
        ))),
    }
}

/// Checks an argument of `--dns-search`; a dot at its end is cut off.
pub fn search_domain(text: &str) -> Result<String> {
    let domain = text.trim_matches(' ');
    if domain == "." {
        return Ok(domain.to_owned());
    }
    let letters = domain.bytes().any(|b| b.is_ascii_alphabetic());
    let domain = domain.trim_end();
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let ends = !label.starts_with('-') && !label.ends_with('-');
        !label.is_empty() && ends && label.bytes().all(inner)
    };
    if !letters || domain.len() >= 255 || !domain.split('.').all(label) {
        return Err(error::invalid(format!(
            "{} is not a valid domain",
            text.trim_matches(' ')
        )));
    }
    Ok(domain.to_owned())
}

/// Checks an argument of `--link`: `name`, `name:alias`.
pub fn link(text: &str) -> Result<String> {
    if text.is_empty() {
        return Err(error::invalid("empty string specified for links"));
    }
    if text.split(':').count() > 2 {
        return Err(error::invalid(format!("bad format for links: {text}")));
    }
    Ok(text.to_owned())
}

/// Returns whether `mode` names a network and is no mode of its own.
pub fn is_user_defined(mode: &str) -> bool {
    !matches!(mode, DEFAULT | "bridge" | "host" | "none") && !mode.starts_with("container:")
}

/// Checks a MAC address: 6, 8 or 20 bytes as `02:42:…`, `02-42-…` or `0242.…`.
pub fn is_mac_address(text: &str) -> bool {
    let hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|b| b.is_ascii_hexdigit())
    };
    let form = |separator: char, digits: usize, counts: [usize; 3]| {
        let parts: Vec<&str> = text.split(separator).collect();
        counts.contains(&parts.len()) && parts.iter().all(|part| hex(part, digits))
    };
    form(':', 2, [6, 8, 20]) || form('-', 2, [6, 8, 20]) || form('.', 4, [3, 4, 10])
}

/// Returns the mode of the network namespace: the first network.
pub fn mode(flags: &NetworkFlags) -> String {
    let first = flags.network.first();
    first.map_or(DEFAULT.to_owned(), |first| first.target.clone())
}

/// Returns the endpoints that are asked for, by network.
///
/// `--ip`, `--network-alias` and so on are of the first network. Errors are of kind `Invalid`.
pub fn endpoints(flags: &NetworkFlags) -> Result<BTreeMap<String, EndpointSettings>> {
    let mut endpoints = BTreeMap::new();
    if flags.network.is_empty() {
        let attachment = with_flags(
            &Attachment {
                target: DEFAULT.to_owned(),
                ..Attachment::default()
            },
            flags,
        )?;
        endpoints.insert(DEFAULT.to_owned(), endpoint(&attachment, flags)?);
        return Ok(endpoints);
    }
    let user_defined = |network: &&Attachment| is_user_defined(&network.target);
    let (mut user, mut other) = (false, false);
    for (index, network) in flags.network.iter().enumerate() {
        if user_defined(&network) {
            user = true;
        } else {
            other = true;
        }
        let settings = if index == 0 {
            endpoint(&with_flags(network, flags)?, flags)?
        } else {
            endpoint(network, &NetworkFlags::default())?
        };
        let name = network.target.clone();
        if endpoints.contains_key(&name) {
            let quoted = crate::cli::strconv::quote::quote(&name);
            let why = format!("network {quoted} is specified multiple times");
            return Err(error::invalid(why));
        }
        // Nothing is asked of the only network: the engine makes its endpoint.
        if flags.network.len() == 1 && settings == EndpointSettings::default() {
            continue;
        }
        endpoints.insert(name, settings);
    }
    if user && other {
        let why = "cannot attach both user-defined and non-user-defined network-modes";
        return Err(error::invalid(format!("conflicting options: {why}")));
    }
    Ok(endpoints)
}

/// The first network, with what options outside of `--network` say of it.
fn with_flags(network: &Attachment, flags: &NetworkFlags) -> Result<Attachment> {
    let given = |text: &str| !text.is_empty();
    for (twice, option, what) in [
        (
            !network.aliases.is_empty() && !flags.network_alias.is_empty(),
            "--network-alias",
            "per-network alias",
        ),
        (
            given(&network.ipv4) && given(&flags.ip),
            "--ip",
            "per-network IPv4 address",
        ),
        (
            given(&network.ipv6) && given(&flags.ip6),
            "--ip6",
            "per-network IPv6 address",
        ),
        (
            given(&network.mac_address) && given(&flags.mac_address),
            "--mac-address",
            "per-network MAC address",
        ),
        (
            !network.link_local_ips.is_empty() && !flags.link_local_ip.is_empty(),
            "--link-local-ip",
            "per-network link-local IP addresses",
        ),
    ] {
        if twice {
            let both = format!("cannot specify both {option} and {what}");
            return Err(error::invalid(format!("conflicting options: {both}")));
        }
    }
    let mut all = network.clone();
    all.aliases.extend(flags.network_alias.iter().cloned());
    all.link_local_ips
        .extend(flags.link_local_ip.iter().cloned());
    for (to, from) in [
        (&mut all.ipv4, &flags.ip),
        (&mut all.ipv6, &flags.ip6),
        (&mut all.mac_address, &flags.mac_address),
    ] {
        if !from.is_empty() {
            to.clone_from(from);
        }
    }
    Ok(all)
}

fn endpoint(network: &Attachment, flags: &NetworkFlags) -> Result<EndpointSettings> {
    if network.target.trim().is_empty() {
        return Err(error::invalid("no name set for network"));
    }
    let user_defined = is_user_defined(&network.target);
    if !user_defined && !network.aliases.is_empty() {
        let why = "network-scoped aliases are only supported for user-defined networks";
        return Err(error::invalid(why));
    }
    let mac_address = &network.mac_address;
    if !mac_address.is_empty() && !is_mac_address(mac_address.trim()) {
        let why = format!("{mac_address} is not a valid mac address");
        return Err(error::invalid(why));
    }
    let some = |list: &Vec<String>| Some(list.clone()).filter(|list| !list.is_empty());
    let ipam = EndpointIpam {
        ipv4_address: network.ipv4.clone(),
        ipv6_address: network.ipv6.clone(),
        link_local_ips: network.link_local_ips.clone(),
    };
    Ok(EndpointSettings {
        ipam_config: Some(ipam).filter(|ipam| *ipam != EndpointIpam::default()),
        // In networks of users a link is a name; in the default one it is more, see HostConfig.Links.
        links: some(&flags.link).filter(|_| user_defined),
        aliases: some(&network.aliases),
        mac_address: mac_address.clone(),
        driver_opts: Some(network.driver_opts.clone()).filter(|options| !options.is_empty()),
        gw_priority: network.gw_priority,
        ..EndpointSettings::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(networks: &[&str]) -> NetworkFlags {
        NetworkFlags {
            network: networks.iter().map(|text| parse(text).unwrap()).collect(),
            ..NetworkFlags::default()
        }
    }

    fn check(flags: &NetworkFlags, want: &str) {
        let got: BTreeMap<String, Vec<String>> = endpoints(flags)
            .unwrap()
            .into_iter()
            .map(|(name, endpoint)| {
                let serde_json::Value::Object(all) = serde_json::to_value(endpoint).unwrap() else {
                    panic!("an endpoint is an object")
                };
                let said =
                    |value: &serde_json::Value| !(value.is_null() || value == "" || value == 0);
                let fields = all.iter().filter(|(_, value)| said(value));
                (
                    name,
                    fields
                        .map(|(key, value)| format!("{key}={value}"))
                        .collect(),
                )
            })
            .collect();
        let got = serde_json::to_string(&got).unwrap().replace("\\\"", "'");
        assert_eq!(got, want);
    }

    fn refused(flags: &NetworkFlags, want: &str) {
        assert_eq!(endpoints(flags).unwrap_err().to_string(), want);
    }

    #[test]
    fn networks() {
        check(&flags(&[]), r#"{"default":[]}"#);
        check(&flags(&["n1"]), "{}");
        check(&flags(&["host"]), "{}");
        check(&flags(&["n1", "n2"]), r#"{"n1":[],"n2":[]}"#);
        check(
            &flags(&[
                "name=n1,alias=A,alias=b,ip=10.0.0.2,mac-address=02:42:ac:11:00:02,gw-priority=5,driver-opt=k=v",
            ]),
            r#"{"n1":["IPAMConfig={'IPv4Address':'10.0.0.2'}","Aliases=['a','b']","MacAddress='02:42:ac:11:00:02'","DriverOpts={'k':'v'}","GwPriority=5"]}"#,
        );
        let with = NetworkFlags {
            network_alias: vec!["web".to_owned()],
            link: vec!["db:d".to_owned()],
            ip6: "fd00::2".to_owned(),
            ..flags(&["n1"])
        };
        check(
            &with,
            r#"{"n1":["IPAMConfig={'IPv6Address':'fd00::2'}","Links=['db:d']","Aliases=['web']"]}"#,
        );
        let default = NetworkFlags {
            link: vec!["db".to_owned()],
            ip: "172.17.0.9".to_owned(),
            ..flags(&[])
        };
        check(
            &default,
            r#"{"default":["IPAMConfig={'IPv4Address':'172.17.0.9'}"]}"#,
        );
        assert_eq!(mode(&flags(&["n1", "n2"])), "n1");
        assert_eq!(mode(&flags(&[])), "default");
    }

    #[test]
    fn bad_networks_are_refused_with_docker_texts() {
        for (text, want) in [
            ("alias=b", "network name/id is not specified"),
            ("name=a,foo=b", "invalid field key foo"),
            ("name=a,foo", "invalid field foo"),
            (
                "name=a,gw-priority=x",
                "invalid gw-priority (x): invalid syntax",
            ),
            (
                "name=a,driver-opt=x",
                "invalid key value pair format in driver options",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), want, "{text}");
        }
        refused(&flags(&[""]), "no name set for network");
        refused(
            &flags(&["a", "a"]),
            "network \"a\" is specified multiple times",
        );
        refused(
            &flags(&["a", "host"]),
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
        );
        let alias = NetworkFlags {
            network_alias: vec!["x".to_owned()],
            ..flags(&["host"])
        };
        refused(
            &alias,
            "network-scoped aliases are only supported for user-defined networks",
        );
        let twice = NetworkFlags {
            ip: "10.0.0.1".to_owned(),
            ..flags(&["name=a,ip=10.0.0.2"])
        };
        refused(
            &twice,
            "conflicting options: cannot specify both --ip and per-network IPv4 address",
        );
        let mac = NetworkFlags {
            mac_address: "x".to_owned(),
            ..flags(&[])
        };
        refused(&mac, "x is not a valid mac address");
    }

    #[test]
    fn values_of_single_options() {
        for (text, want) in [
            ("db:10.1.2.3", Ok("db:10.1.2.3")),
            ("db=10.1.2.3", Ok("db:10.1.2.3")),
            ("db:::1", Ok("db:::1")),
            ("db=[::1]", Ok("db:::1")),
            ("h:host-gateway", Ok("h:host-gateway")),
            ("a", Err("bad format for add-host: \"a\"")),
            (":1.1.1.1", Err("bad format for add-host: \":1.1.1.1\"")),
            ("a:b", Err("invalid IP address in add-host: \"b\"")),
            (
                "a:b=1.1.1.1",
                Err("bad format for add-host: \"a:b=1.1.1.1\""),
            ),
        ] {
            let got = extra_host(text).map_err(|error| error.to_string());
            assert_eq!(
                got.as_deref(),
                want.map_err(str::to_owned).as_ref().copied(),
                "{text}"
            );
        }
        assert_eq!(name_server(" 0:0:0:0:0:0:0:1 ").unwrap(), "::1");
        assert_eq!(
            name_server("nosuch").unwrap_err().to_string(),
            "IP address is not correctly formatted: nosuch"
        );
        for (text, want) in [
            (".", "."),
            ("example.org.", "example.org"),
            ("a-b.c", "a-b.c"),
        ] {
            assert_eq!(search_domain(text).unwrap(), want);
        }
        for text in ["a b", "", "1.2", "-a", "a..b", "a_b"] {
            let want = format!("{text} is not a valid domain");
            assert_eq!(search_domain(text).unwrap_err().to_string(), want);
        }
        assert_eq!(
            link("a:b:c").unwrap_err().to_string(),
            "bad format for links: a:b:c"
        );
        assert!(link("").is_err() && link("a:b").is_ok());
        for (text, good) in [
            ("02:42:ac:11:00:02", true),
            ("02-42-AC-11-00-02", true),
            ("0242.ac11.0002", true),
            ("02:42:ac:11:00", false),
            ("02:42:ac:11:00:2", false),
            ("zz:42:ac:11:00:02", false),
        ] {
            assert_eq!(is_mac_address(text), good, "{text}");
        }
    }
}
