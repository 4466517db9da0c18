//! `--publish` and `--expose`: `[address:][host[-end]:]container[-end][/protocol]`, and `target=80,published=8080`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Result;

use crate::docker::container::PortBinding;
use crate::error;
use crate::oci::image::Empty;

/// Ports of a container, `80/tcp`, and where they are published.
pub type Bindings = BTreeMap<String, Option<Vec<PortBinding>>>;

/// Ports of a container, `80/tcp`.
pub type Exposed = BTreeMap<String, Empty>;

/// Returns what the arguments of `--publish` publish, and the ports that they expose by that.
///
/// Errors are of kind `Invalid`.
pub fn publish(arguments: &[String]) -> Result<(Exposed, Bindings)> {
    let mut exposed = Exposed::new();
    let mut bindings = Bindings::new();
    for argument in arguments {
        for (port, binding) in parse(&standard_notation(argument)?)? {
            exposed.insert(port.clone(), Empty {});
            let all = bindings.entry(port).or_default();
            all.get_or_insert_default().push(binding);
        }
    }
    Ok((exposed, bindings))
}

/// Returns which published ports the arguments of `--publish-rm` mean: `80/udp` at any place, `8080:80` at that one.
///
/// Errors are of kind `Invalid`.
pub fn published(arguments: &[String]) -> Result<Bindings> {
    let mut bindings = Bindings::new();
    for argument in arguments {
        if argument.contains([':', '=']) {
            for (port, binding) in parse(&standard_notation(argument)?)? {
                // Not if another argument means all of them.
                let places = bindings.entry(port).or_insert_with(|| Some(Vec::new()));
                if let Some(places) = places {
                    places.push(binding);
                }
            }
            continue;
        }
        for (port, _) in parse(argument)? {
            bindings.insert(port, None);
        }
    }
    Ok(bindings)
}

/// Adds the ports of an argument of `--expose`: `80`, `80-90/udp`.
///
/// Errors are of kind `Invalid`.
pub fn expose(argument: &str, exposed: &mut Exposed) -> Result<()> {
    if argument.contains(':') {
        return Err(error::invalid(format!(
            "invalid port format for --expose: {argument}"
        )));
    }
    let (range, protocol) = split_protocol(argument);
    let (start, end) = parse_range(range).map_err(|why| {
        error::invalid(format!(
            "invalid range format for --expose: {argument}, error: {why}"
        ))
    })?;
    for port in start..=end {
        exposed.insert(format!("{port}/{protocol}"), Empty {});
    }
    Ok(())
}

/// `target=80,published=8080,protocol=udp` → `8080:80/udp`; anything else is returned as it is.
fn standard_notation(argument: &str) -> Result<String> {
    if !argument.contains('=') {
        return Ok(argument.to_owned());
    }
    let (mut target, mut published, mut protocol) = ("", "", "tcp");
    for part in argument.split(',') {
        match part.split_once('=') {
            Some(("target", value)) => target = value,
            Some(("published", value)) => published = value,
            Some(("protocol", value)) => protocol = value,
            Some((name, _)) if !name.is_empty() => {}
            _ => {
                return Err(error::invalid(format!(
                    "invalid publish opts format (should be name=value but got '{part}')"
                )));
            }
        }
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

fn parse(text: &str) -> Result<Vec<(String, PortBinding)>> {
    let refuse = |why: String| Err(error::invalid(why));
    let mut from_end = text.rsplitn(3, ':');
    let container = from_end.next().unwrap_or_default();
    let host = from_end.next().unwrap_or_default();
    let address = from_end.next().unwrap_or_default();
    let (range, protocol) = split_protocol(container);
    let address = parse_address(address)?;
    if range.is_empty() {
        return refuse(format!("No port specified: {text}<empty>"));
    }
    let Ok((start, end)) = parse_range(range) else {
        return refuse(format!("Invalid containerPort: {range}"));
    };
    let host_range = match host {
        "" => None,
        host => match parse_range(host) {
            Ok(range) => Some(range),
            Err(_) => return refuse(format!("Invalid hostPort: {host}")),
        },
    };
    if let Some((host_start, host_end)) = host_range
        && end != start
        && host_end - host_start != end - start
    {
        return refuse(format!(
            "Invalid ranges specified for container and host Ports: {range} and {host}"
        ));
    }
    let lower = protocol.to_lowercase();
    if !matches!(lower.as_str(), "tcp" | "udp" | "sctp") {
        return refuse(format!("Invalid proto: {protocol}"));
    }
    let host_port = |offset: u16| match host_range {
        None => String::new(),
        // One port of the container takes the first free one of the range.
        Some((first, last)) if start == end && first != last => format!("{first}-{last}"),
        Some((first, _)) => (first + offset).to_string(),
    };
    let ports = (0..=end - start).map(|offset| {
        let binding = PortBinding {
            host_ip: address.clone(),
            host_port: host_port(offset),
        };
        (format!("{}/{lower}", start + offset), binding)
    });
    Ok(ports.collect())
}

/// `80/udp` → `80` and `udp`; without one it is tcp.
fn split_protocol(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((port, protocol)) if !protocol.is_empty() => {
            (port, protocol.split('/').next().unwrap_or_default())
        }
        Some((port, _)) => (port, "tcp"),
        None => (text, "tcp"),
    }
}

/// An address without its brackets.
fn parse_address(text: &str) -> Result<String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let inner = match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']'),
        None => Some(text).filter(|text| !text.contains(':')),
    };
    let Some(inner) = inner else {
        let why = if text.starts_with('[') {
            format!("address {text}:: missing ']' in address")
        } else {
            format!("address {text}:: too many colons in address")
        };
        return Err(error::invalid(format!("Invalid ip address {text}: {why}")));
    };
    if inner.parse::<IpAddr>().is_err() {
        return Err(error::invalid(format!("Invalid ip address: {inner}")));
    }
    Ok(inner.to_owned())
}

/// `80` or `80-90`; the error is Go's.
fn parse_range(text: &str) -> Result<(u16, u16), String> {
    if text.is_empty() {
        return Err("Empty string specified for ports.".to_owned());
    }
    let port = |text: &str| {
        let decimal = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let quoted = crate::cli::strconv::quote::quote(text);
        let fail = |why: &str| format!("strconv.ParseUint: parsing {quoted}: {why}");
        match text.parse::<u16>() {
            Ok(port) if decimal => Ok(port),
            _ if decimal => Err(fail("value out of range")),
            _ => Err(fail("invalid syntax")),
        }
    };
    let mut parts = text.split('-');
    let start = port(parts.next().unwrap_or_default())?;
    let end = match parts.next() {
        Some(end) => port(end)?,
        None => start,
    };
    if end < start {
        return Err(format!("Invalid range specified for the Port: {text}"));
    }
    Ok((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(arguments: &[&str], want: &str) {
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let (exposed, bindings) = publish(&arguments).unwrap();
        let got = serde_json::to_string(&bindings).unwrap();
        let want: String = want.replace('\'', "\"");
        assert_eq!(got, want, "{arguments:?}");
        assert!(bindings.keys().eq(exposed.keys()));
    }

    #[test]
    fn forms() {
        check(&["80"], "{'80/tcp':[{'HostIp':'','HostPort':''}]}");
        check(&["8080:80"], "{'80/tcp':[{'HostIp':'','HostPort':'8080'}]}");
        check(
            &["8080:80/UDP"],
            "{'80/udp':[{'HostIp':'','HostPort':'8080'}]}",
        );
        check(
            &["127.0.0.1:8080:80"],
            "{'80/tcp':[{'HostIp':'127.0.0.1','HostPort':'8080'}]}",
        );
        check(
            &["127.0.0.1::80"],
            "{'80/tcp':[{'HostIp':'127.0.0.1','HostPort':''}]}",
        );
        check(
            &["[::1]:8080:80"],
            "{'80/tcp':[{'HostIp':'::1','HostPort':'8080'}]}",
        );
        check(
            &["8000-8010:80"],
            "{'80/tcp':[{'HostIp':'','HostPort':'8000-8010'}]}",
        );
        check(
            &["8000-8001:80-81"],
            "{'80/tcp':[{'HostIp':'','HostPort':'8000'}],'81/tcp':[{'HostIp':'','HostPort':'8001'}]}",
        );
        check(
            &["80-81"],
            "{'80/tcp':[{'HostIp':'','HostPort':''}],'81/tcp':[{'HostIp':'','HostPort':''}]}",
        );
        check(
            &["1:80", "2:80"],
            "{'80/tcp':[{'HostIp':'','HostPort':'1'},{'HostIp':'','HostPort':'2'}]}",
        );
        check(
            &["target=80,published=8080"],
            "{'80/tcp':[{'HostIp':'','HostPort':'8080'}]}",
        );
        check(
            &["target=80,protocol=sctp"],
            "{'80/sctp':[{'HostIp':'','HostPort':''}]}",
        );
        check(&["80/"], "{'80/tcp':[{'HostIp':'','HostPort':''}]}");
        check(
            &["65535:65535"],
            "{'65535/tcp':[{'HostIp':'','HostPort':'65535'}]}",
        );
    }

    #[test]
    fn bad_forms_are_refused_with_docker_texts() {
        for (argument, want) in [
            ("abc", "Invalid containerPort: abc"),
            ("", "No port specified: <empty>"),
            ("8080:", "No port specified: 8080:<empty>"),
            ("70000:80", "Invalid hostPort: 70000"),
            ("80:70000", "Invalid containerPort: 70000"),
            ("80/xyz", "Invalid proto: xyz"),
            ("90-80", "Invalid containerPort: 90-80"),
            ("-80", "Invalid containerPort: -80"),
            (
                "1:2:3:4",
                "Invalid ip address 1:2: address 1:2:: too many colons in address",
            ),
            (
                "::1:80:80",
                "Invalid ip address ::1: address ::1:: too many colons in address",
            ),
            (
                "[::1:80:80",
                "Invalid ip address [::1: address [::1:: missing ']' in address",
            ),
            ("a.b:80:80", "Invalid ip address: a.b"),
            (
                "8000-8002:80-81",
                "Invalid ranges specified for container and host Ports: 80-81 and 8000-8002",
            ),
            (
                "a=b,c",
                "invalid publish opts format (should be name=value but got 'c')",
            ),
            ("target=80,published=x", "Invalid hostPort: x"),
        ] {
            let error = publish(&[argument.to_owned()]).unwrap_err();
            assert_eq!(error.to_string(), want, "{argument}");
        }
    }

    #[test]
    fn exposed_ports() {
        let mut exposed = Exposed::new();
        for argument in ["80", "90-91/udp", "80/tcp"] {
            expose(argument, &mut exposed).unwrap();
        }
        assert!(exposed.keys().eq(["80/tcp", "90/udp", "91/udp"]));
        for (argument, want) in [
            (
                "x",
                "invalid range format for --expose: x, error: strconv.ParseUint: parsing \"x\": invalid syntax",
            ),
            (
                "1-x",
                "invalid range format for --expose: 1-x, error: strconv.ParseUint: parsing \"x\": invalid syntax",
            ),
            (
                "70000",
                "invalid range format for --expose: 70000, error: strconv.ParseUint: parsing \"70000\": value out of range",
            ),
            ("8080:80", "invalid port format for --expose: 8080:80"),
            (
                "9-8",
                "invalid range format for --expose: 9-8, error: Invalid range specified for the Port: 9-8",
            ),
        ] {
            let error = expose(argument, &mut exposed).unwrap_err();
            assert_eq!(error.to_string(), want, "{argument}");
        }
    }

    proptest! {
        /// Whatever is written, it is refused, or each of its ports is exposed and has its place.
        #[test]
        fn any_text_is_read_or_refused(
            text in "[0-9a-z:./\\[\\]-]{0,24}|(target|published|protocol|x)=[0-9a-z-]{0,6}(,target=[0-9-]{0,9})?|\\PC{0,9}"
        ) {
            let arguments = [text];
            if let Ok((exposed, bindings)) = publish(&arguments) {
                prop_assert!(bindings.keys().eq(exposed.keys()));
                prop_assert!(bindings.values().all(|places| places.as_ref().is_some_and(|list| !list.is_empty())));
            }
            drop(published(&arguments));
            drop(expose(&arguments[0], &mut Exposed::new()));
        }

        /// Each port of a range leads to the one at the same place of the other range, however it is written.
        #[test]
        fn ranges_lead_one_to_one(
            start in 1_u16..60_000,
            host in 1_u16..60_000,
            count in 1_u16..300,
            address in prop::sample::select(vec!["", "127.0.0.1", "0.0.0.0", "[::1]", "[2001:db8::1]"]),
            protocol in prop::sample::select(vec!["", "/tcp", "/udp", "/sctp", "/UDP"]),
        ) {
            let range = |first: u16| match count {
                1 => first.to_string(),
                _ => format!("{first}-{}", first + count - 1),
            };
            let separator = if address.is_empty() { "" } else { ":" };
            let text = format!("{address}{separator}{}:{}{protocol}", range(host), range(start));
            let (exposed, bindings) = publish(std::slice::from_ref(&text)).unwrap();
            prop_assert_eq!(bindings.len(), usize::from(count), "{}", text);
            prop_assert!(bindings.keys().eq(exposed.keys()));
            let protocol = match protocol {
                "" => "tcp".to_owned(),
                written => written[1..].to_lowercase(),
            };
            for offset in 0..count {
                let port = format!("{}/{protocol}", start + offset);
                let want = PortBinding {
                    host_ip: address.trim_matches(['[', ']']).to_owned(),
                    host_port: (host + offset).to_string(),
                };
                prop_assert_eq!(&bindings[&port], &Some(vec![want]), "{}", text);
            }
        }
    }
}
