//! Which ports of a container are published, after some were added and others taken back; pure.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::container::Record;
use crate::docker::container::{ContainerUpdate, HostConfig, PortBinding};
use crate::error;

type Bindings = BTreeMap<String, Option<Vec<PortBinding>>>;

/// Changes the published ports of a record; returns what the user should know.
///
/// Errors are of kind `Invalid`.
pub(super) fn change(record: &mut Record, asked: &ContainerUpdate) -> Result<Vec<String>> {
    let host = &mut record.host_config;
    let mut warnings = take_back(&mut host.port_bindings, &asked.publish_rm);
    if asked.publish_add.is_empty() {
        return Ok(warnings);
    }
    warnings.extend(check(host)?);
    for (port, bindings) in &asked.publish_add {
        let known = host.port_bindings.entry(port.clone()).or_default();
        let known = known.get_or_insert_default();
        for binding in bindings.iter().flatten() {
            // Asked twice for a port that any number will do for, it is published twice; otherwise that is an error.
            if binding.host_port.is_empty() || !known.contains(binding) {
                known.push(binding.clone());
            }
        }
    }
    Ok(warnings)
}

fn check(host: &HostConfig) -> Result<Option<String>> {
    let mode = host.network_mode.as_str();
    if mode.starts_with("container:") {
        let why = "conflicting options: port publishing and the container type network mode";
        return Err(error::invalid(why));
    }
    let why = "Published ports are discarded when using host network mode";
    Ok((mode == "host").then(|| why.to_owned()))
}

/// Takes ports back: all places of a port, or those that are named.
fn take_back(bindings: &mut Bindings, asked: &Bindings) -> Vec<String> {
    let mut warnings = Vec::new();
    for (port, places) in asked {
        let Some(known) = bindings.get_mut(port) else {
            warnings.push(format!("port {port} is not published by -p"));
            continue;
        };
        let Some(places) = places else {
            bindings.remove(port);
            continue;
        };
        let known = known.get_or_insert_default();
        for place in places {
            let is_meant = |binding: &PortBinding| {
                binding.host_port == place.host_port
                    && (place.host_ip.is_empty() || binding.host_ip == place.host_ip)
            };
            let before = known.len();
            known.retain(|binding| !is_meant(binding));
            if known.len() == before {
                let place = &place.host_port;
                warnings.push(format!("port {port} is not published at {place}"));
            }
        }
        if known.is_empty() {
            bindings.remove(port);
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bindings(given: &[(&str, &[(&str, &str)])]) -> Bindings {
        let binding = |(ip, port): &(&str, &str)| PortBinding {
            host_ip: (*ip).to_owned(),
            host_port: (*port).to_owned(),
        };
        let one = |(port, places): &(&str, &[(&str, &str)])| {
            let places = places.iter().map(binding).collect();
            ((*port).to_owned(), Some(places))
        };
        given.iter().map(one).collect()
    }

    #[track_caller]
    fn check_rm(asked: &Bindings, expected: &Bindings, warned: usize) {
        let mut now = bindings(&[
            ("80/tcp", &[("", "8080"), ("127.0.0.1", "81")]),
            ("53/udp", &[("", "53")]),
        ]);
        let warnings = take_back(&mut now, asked);
        assert_eq!((&now, warnings.len()), (expected, warned), "{warnings:?}");
    }

    #[test]
    fn ports_are_taken_back_as_a_whole_or_by_place() {
        let dns = ("53/udp", &[("", "53")][..]);
        let all = [("80/tcp".to_owned(), None)].into();
        check_rm(&all, &bindings(&[dns]), 0);
        let one = bindings(&[("80/tcp", &[("", "8080")])]);
        check_rm(
            &one,
            &bindings(&[("80/tcp", &[("127.0.0.1", "81")]), dns]),
            0,
        );
        let wrong = bindings(&[("80/tcp", &[("10.0.0.1", "81"), ("", "9")])]);
        let both = ("80/tcp", &[("", "8080"), ("127.0.0.1", "81")][..]);
        check_rm(&wrong, &bindings(&[both, dns]), 2);
        let none = [("99/tcp".to_owned(), None)].into();
        check_rm(&none, &bindings(&[both, dns]), 1);
        check_rm(
            &bindings(&[("53/udp", &[("", "53")])]),
            &bindings(&[both]),
            0,
        );
    }
}
