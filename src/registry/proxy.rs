//! Which proxy an address is reached by: Go's rules for `NO_PROXY`, which docker's users know.

use std::net::IpAddr;

use super::endpoint::{Proxies, Secret};

/// Returns the proxy for `scheme://host:port`; nothing means that it is reached directly, as this machine always is.
pub(crate) fn choose<'p>(
    proxies: &'p Proxies,
    scheme: &str,
    host: &str,
    port: u16,
) -> Option<&'p Secret> {
    let proxy = match scheme {
        "https" => &proxies.https,
        _ => &proxies.http,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!proxy.expose().is_empty() && !is_excepted(&proxies.except, host, port)).then_some(proxy)
}

/// Returns whether a host is this machine: `localhost` or an address of the loopback interface.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

fn is_excepted(list: &str, host: &str, port: u16) -> bool {
    is_loopback(host) || list.split(',').any(|rule| fits(rule.trim(), host, port))
}

fn fits(rule: &str, host: &str, port: u16) -> bool {
    if rule.is_empty() {
        return false;
    }
    if rule == "*" {
        return true;
    }
    if let (Some((network, length)), Ok(address)) = (rule.split_once('/'), host.parse()) {
        return is_within(network, length, address);
    }
    if let Ok(address) = rule
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>()
    {
        return host.parse() == Ok(address);
    }
    let (name, wanted) = match rule.rsplit_once(':') {
        Some((name, digits)) => match digits.parse::<u16>() {
            Ok(port) => (name, Some(port)),
            Err(_) => return false,
        },
        None => (rule, None),
    };
    let name = name.strip_prefix('*').unwrap_or(name).to_ascii_lowercase();
    let host = host.to_ascii_lowercase();
    let named = match name.strip_prefix('.') {
        // `.example.com` is what is below it, `example.com` that too.
        Some(_) => host.ends_with(&name),
        None => host == name || host.ends_with(&format!(".{name}")),
    };
    named && wanted.is_none_or(|wanted| wanted == port)
}

fn is_within(network: &str, length: &str, address: IpAddr) -> bool {
    let (Ok(network), Ok(length)) = (network.parse::<IpAddr>(), length.parse::<u32>()) else {
        return false;
    };
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let ((network, width), (address, other)) = (bits(network), bits(address));
    let shift = 128 - length.min(128);
    width == other
        && length <= width
        && (network.checked_shr(shift).unwrap_or(0) == address.checked_shr(shift).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_those_of_go() {
        let check = |list: &str, host: &str, port: u16, direct: bool| {
            let proxies = Proxies {
                http: Secret::new("http://plain:1"),
                https: Secret::new("http://proxy:1"),
                except: list.to_owned(),
            };
            let chosen = choose(&proxies, "https", host, port);
            assert_eq!(chosen.is_none(), direct, "{list} {host}:{port}");
        };
        check("", "example.com", 443, false);
        check("", "localhost", 443, true);
        check("", "127.3.2.1", 443, true);
        check("", "[::1]", 443, true);
        check("*", "example.com", 443, true);
        check("example.com", "example.com", 443, true);
        check("example.com", "a.example.com", 443, true);
        check("example.com", "badexample.com", 443, false);
        check(".example.com", "example.com", 443, false);
        check(".example.com", "A.Example.com", 443, true);
        check("*.example.com", "a.example.com", 443, true);
        check("x, example.com:8443", "example.com", 443, false);
        check("x, example.com:8443", "example.com", 8443, true);
        check("10.0.0.0/8", "10.1.2.3", 443, true);
        check("10.0.0.0/8", "11.1.2.3", 443, false);
        check("0.0.0.0/0", "11.1.2.3", 443, true);
        check("fd00::/8", "[fd12::1]", 443, true);
        check("10.0.0.0/8", "fd12::1", 443, false);
        check("10.1.2.3", "10.1.2.3", 443, true);
        check("10.0.0.0/99", "10.1.2.3", 443, false);
        let proxies = Proxies {
            http: Secret::new("http://plain:1"),
            ..Proxies::default()
        };
        assert!(choose(&proxies, "https", "example.com", 443).is_none());
        assert!(choose(&proxies, "http", "example.com", 80).is_some());
    }
}
