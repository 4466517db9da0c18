//! The PORTS column: runs of ports that are published under their own number stand together.

use std::collections::BTreeMap;

/// A port of a container, and where it is published if it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// In the container.
    pub private: u16,
    /// Address on the host; empty if the port is only exposed.
    pub address: String,
    /// On the host; 0 if the port is only exposed.
    pub public: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

/// Returns the column: `0.0.0.0:80-82->80-82/tcp, 443/tcp, [::]:8080->80/tcp`.
pub fn ports(ports: &[Port]) -> String {
    let mut sorted: Vec<&Port> = ports.iter().collect();
    sorted.sort();
    let mut done = Vec::new();
    let mut remapped = Vec::new();
    // The run that is open per address and protocol; the order of their first appearance counts.
    let mut order = Vec::new();
    let mut open: BTreeMap<(&str, &str), (u16, u16)> = BTreeMap::new();
    for port in sorted {
        let published = !port.address.is_empty();
        if published && port.public != port.private {
            let host = host_port(&port.address, &port.public.to_string());
            remapped.push(format!("{host}->{}/{}", port.private, port.protocol));
            continue;
        }
        let key = (port.address.as_str(), port.protocol.as_str());
        match open.get_mut(&key) {
            None => {
                open.insert(key, (port.private, port.private));
                order.push(key);
            }
            Some((_, last)) if last.checked_add(1) == Some(port.private) => *last = port.private,
            Some(run) => {
                done.push(group(key, *run));
                *run = (port.private, port.private);
            }
        }
    }
    for key in order {
        done.push(group(key, open[&key]));
    }
    done.append(&mut remapped);
    done.join(", ")
}

fn group((address, protocol): (&str, &str), (first, last): (u16, u16)) -> String {
    let range = if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    };
    if address.is_empty() {
        return format!("{range}/{protocol}");
    }
    format!("{}->{range}/{protocol}", host_port(address, &range))
}

fn host_port(address: &str, port: &str) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(specs: &[(&str, u16, u16, &str)], want: &str) {
        let list: Vec<Port> = specs
            .iter()
            .map(|(address, public, private, protocol)| Port {
                private: *private,
                address: (*address).to_owned(),
                public: *public,
                protocol: (*protocol).to_owned(),
            })
            .collect();
        assert_eq!(ports(&list), want);
    }

    #[test]
    fn ports_are_grouped() {
        check(&[], "");
        check(&[("", 0, 443, "tcp")], "443/tcp");
        check(
            &[
                ("0.0.0.0", 18080, 80, "tcp"),
                ("::", 18080, 80, "tcp"),
                ("127.0.0.1", 18081, 81, "udp"),
            ],
            "0.0.0.0:18080->80/tcp, [::]:18080->80/tcp, 127.0.0.1:18081->81/udp",
        );
        check(
            &[
                ("0.0.0.0", 80, 80, "tcp"),
                ("0.0.0.0", 81, 81, "tcp"),
                ("0.0.0.0", 82, 82, "tcp"),
            ],
            "0.0.0.0:80-82->80-82/tcp",
        );
        check(
            &[
                ("", 0, 80, "tcp"),
                ("", 0, 81, "tcp"),
                ("", 0, 90, "tcp"),
                ("", 0, 80, "udp"),
                ("0.0.0.0", 8080, 85, "tcp"),
            ],
            "80-81/tcp, 90/tcp, 80/udp, 0.0.0.0:8080->85/tcp",
        );
        check(
            &[("", 0, 65535, "tcp"), ("", 0, 1, "tcp")],
            "1/tcp, 65535/tcp",
        );
        check(
            &[
                ("0.0.0.0", 9000, 9000, "tcp"),
                ("::", 9000, 9000, "tcp"),
                ("0.0.0.0", 9001, 9001, "tcp"),
                ("::", 9001, 9001, "tcp"),
            ],
            "0.0.0.0:9000-9001->9000-9001/tcp, [::]:9000-9001->9000-9001/tcp",
        );
    }
}
