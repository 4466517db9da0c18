//! Who reaches a published port from where, and what others' firewalls do to it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::place::Echo;
use super::place::Place::{Container, Host, Router};
use super::{Lan, NEVER, ip};
use crate::sandbox::{PATIENCE, lines, wait_until};

/// Lets packets between ports of a bridge pass through the host's firewall, or not.
fn set_bridge_calls_firewall(lan: &Lan, calls: bool) {
    let value = u8::from(calls);
    lan.sandbox.shell(&format!(
        "for name in iptables ip6tables; do
           file=/proc/sys/net/bridge/bridge-nf-call-$name
           [ ! -e $file ] || echo {value} > $file
         done"
    ));
}

#[test]
fn what_bridges_tell_the_firewall_makes_no_difference() {
    let lan = Lan::new();
    lan.sandbox.ok(&["network", "create", "other"]);
    lan.sleeper("web", &["-p", "8080:80", "-p", "8080:80/udp"]);
    lan.sleeper("neighbour", &[]);
    lan.sleeper("stranger", &["--network", "other"]);
    let _web = Echo::new(&lan, Container("web"), 80);
    let own = lan.address_in("web", "bridge");
    for calls in [false, true] {
        set_bridge_calls_firewall(&lan, calls);
        let check = |place, address: &str, seen: &str| {
            assert_eq!(
                lan.peer(place, address),
                seen,
                "{address} from {place:?}, {calls}"
            );
            assert_eq!(
                lan.udp_peer(place, address),
                seen,
                "{address} from {place:?}, {calls}"
            );
        };
        check(Router, "10.99.0.1:8080", "10.99.0.2");
        check(Host, "127.0.0.1:8080", "172.17.0.1");
        check(Container("web"), "10.99.0.1:8080", "172.17.0.1");
        check(Container("neighbour"), "10.99.0.1:8080", "172.17.0.1");
        let neighbour = lan.address_in("neighbour", "bridge");
        check(Container("neighbour"), &format!("{own}:80"), &neighbour);
        lan.peer(Container("stranger"), "10.99.0.1:8080");
    }
}

#[test]
fn datagrams_are_answered_from_the_address_that_was_asked() {
    let lan = Lan::new();
    lan.sandbox
        .inside(|| ip("address add 10.99.0.7/24 dev up0"));
    lan.sleeper("web", &["-p", "8053:53/udp"]);
    let _web = Echo::new(&lan, Container("web"), 53);
    let check = |place, address: &str, seen: &str| {
        assert_eq!(
            lan.udp_peer(place, address),
            seen,
            "{address} from {place:?}"
        );
    };
    check(Router, "10.99.0.1:8053", "10.99.0.2");
    check(Router, "10.99.0.7:8053", "10.99.0.2");
    // The host prefers its first address as the source, whatever it asks of its own.
    check(Host, "10.99.0.7:8053", "10.99.0.1");
    check(Host, "127.0.0.1:8053", "172.17.0.1");
    check(Host, "[::1]:8053", "172.17.0.1");
    check(Router, "[fd99::1]:8053", "172.17.0.1");
}

#[test]
fn many_connections_pass_through_the_proxy_at_once() {
    let lan = Lan::new();
    lan.sandbox
        .ok(&["network", "create", "-o", "aril.loopback=proxy", "net"]);
    lan.sleeper("web", &["-p", "8080:80", "--network", "net"]);
    let web = Echo::new(&lan, Container("web"), 80);
    let to: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    lan.at(Host, || {
        let mut streams: Vec<TcpStream> = (0..200)
            .map(|_| TcpStream::connect_timeout(&to, PATIENCE).unwrap())
            .collect();
        // One that sends much and reads nothing.
        let slow = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
        slow.set_nonblocking(true).unwrap();
        while (&slow).write(&[7; 1 << 12]).is_ok() {}
        for (number, stream) in streams.iter_mut().enumerate() {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            writeln!(stream, "number {number}").unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
        for (number, mut stream) in streams.into_iter().enumerate() {
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert!(text.ends_with(&format!("\nnumber {number}\n")), "{text:?}");
        }
    });
    // Nobody listens any more, which a client may see as early as in its connect.
    drop(web);
    let refused = lan.at(Host, || {
        let read = TcpStream::connect_timeout(&to, PATIENCE).and_then(|mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.read(&mut [0])
        });
        read.unwrap_err().kind()
    });
    assert_eq!(refused, ErrorKind::ConnectionReset);
}

/// After which TCP sends the first packet of a connection once more.
const RETRANSMISSION: Duration = Duration::from_secs(1);
/// What a network whose rules send loopback says of its bridge.
const ROUTES_LOOPBACK: &str = "/proc/sys/net/ipv4/conf/aril0/route_localnet";

#[test]
fn loopback_is_sent_on_by_rules_whatever_the_host_filters() {
    let lan = Lan::new();
    lan.sleeper("web", &["-p", "8080:80", "-p", "127.0.0.1:8081:80/udp"]);
    assert_eq!(lan.sandbox.shell(&format!("cat {ROUTES_LOOPBACK}")), "1");
    let to: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    // Unlike a proxy, rules let the client see that nobody listens.
    let refused = lan.at(Host, || TcpStream::connect_timeout(&to, PATIENCE));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let _web = Echo::new(&lan, Container("web"), 80);
    for filter in 0..=2 {
        lan.sandbox.shell(&format!(
            "for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo {filter} > $file; done"
        ));
        assert_eq!(lan.peer(Host, "127.0.0.1:8080"), "172.17.0.1", "{filter}");
        assert_eq!(lan.peer(Host, "127.9.9.9:8080"), "172.17.0.1", "{filter}");
        assert_eq!(
            lan.udp_peer(Host, "127.0.0.1:8081"),
            "172.17.0.1",
            "{filter}"
        );
    }
    // Thousands one after the other, and none waits for a packet that was lost.
    let waits = lan.at(Host, || {
        let ask = |_| {
            let began = Instant::now();
            let mut stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
            stream.read_exact(&mut [0]).unwrap();
            began.elapsed()
        };
        let times = (0..3000).map(ask);
        times.filter(|time| *time >= RETRANSMISSION).count()
    });
    // A busy machine may make one wait for other reasons.
    assert!(waits < 3, "{waits} of 3000");
}

/// Lets a container send packets for the host's loopback to the host, as a program with the right to send raw ones can;
/// returns whether it gets at `port` there.
fn reaches_loopback(lan: &Lan, container: &str, gateway: &str, port: u16) -> bool {
    lan.at(Container(container), || {
        ip("address del 127.0.0.1/8 dev lo");
        ip(&format!("route add 127.0.0.0/8 via {gateway} dev eth0"));
    });
    let pid = lan.sandbox.inspect(container, "{{.State.Pid}}");
    lan.sandbox.shell(&format!(
        "nsenter -t {pid} -n sh -c 'echo 1 | tee /proc/sys/net/ipv4/conf/*/route_localnet' > /dev/null"
    ));
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    lan.at(Container(container), || {
        TcpStream::connect_timeout(&to, NEVER).is_ok()
    })
}

#[test]
fn containers_do_not_get_at_the_loopback_of_the_host() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    let listener = sandbox.inside(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    // What the attack is, where nothing stops it.
    let bare = "network create --subnet 10.7.0.0/24 -o aril.firewall=false -o com.docker.network.bridge.name=bare bare";
    sandbox.ok(&bare.split(' ').collect::<Vec<_>>());
    lan.sleeper("free", &["--network", "bare"]);
    sandbox.shell("echo 1 > /proc/sys/net/ipv4/conf/bare/route_localnet");
    assert!(reaches_loopback(&lan, "free", "10.7.0.1", port));
    lan.sleeper("web", &["-p", "8080:80"]);
    assert_eq!(sandbox.shell(&format!("cat {ROUTES_LOOPBACK}")), "1");
    assert!(!reaches_loopback(&lan, "web", "172.17.0.1", port));
    for command in ["nft flush ruleset", "nft delete table inet aril"] {
        // Its own table stays, and the other comes back.
        sandbox.shell(command);
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        let reached = lan.at(Container("web"), || {
            TcpStream::connect_timeout(&to, NEVER).is_ok()
        });
        assert!(!reached, "after {command}");
        wait_until("the shared rules are back", || {
            let tables = sandbox.shell("nft list tables");
            tables.lines().any(|table| table == "table inet aril")
        });
    }
    // When nobody publishes any more, the rules for all are enough.
    lan.sleeper("other", &[]);
    sandbox.ok(&["rm", "-f", "web"]);
    assert!(!reaches_loopback(&lan, "other", "172.17.0.1", port));
    sandbox.ok(&["rm", "-f", "free"]);
    sandbox.ok(&["network", "rm", "bare"]);
}

#[test]
fn rules_that_somebody_removes_come_back_by_themselves() {
    let lan = Lan::new();
    lan.sleeper("web", &["-p", "8080:80"]);
    let _services = [
        Echo::new(&lan, Container("web"), 80),
        Echo::new(&lan, Router, 80),
    ];
    for command in ["nft flush ruleset", "nft delete table inet aril"] {
        lan.sandbox.shell(command);
        // These do not need what is gone.
        assert_eq!(lan.peer(Router, "10.99.0.1:8080"), "10.99.0.2");
        assert_eq!(lan.peer(Host, "127.0.0.1:8080"), "172.17.0.1");
        wait_until("the shared rules are back", || {
            let tables = lan.sandbox.shell("nft list tables");
            tables.lines().any(|table| table == "table inet aril")
        });
        assert_eq!(lan.peer(Container("web"), "10.99.0.2:80"), "10.99.0.1");
    }
}

#[test]
fn a_legacy_firewall_that_drops_what_is_forwarded_lets_containers_through() {
    let lan = Lan::new();
    lan.sandbox.shell("iptables-legacy -P FORWARD DROP");
    lan.sleeper("web", &["-p", "8080:80"]);
    let _services = [
        Echo::new(&lan, Container("web"), 80),
        Echo::new(&lan, Router, 80),
    ];
    assert_eq!(lan.peer(Router, "10.99.0.1:8080"), "10.99.0.2");
    assert_eq!(lan.peer(Container("web"), "10.99.0.2:80"), "10.99.0.1");
    let rules = lan.sandbox.shell("iptables-legacy -S FORWARD");
    assert!(rules.contains("-P FORWARD DROP"), "{rules}");
}

#[test]
fn firewalld_is_asked_to_trust_a_bridge_once() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    // What it makes of the kernel's rules: what comes from an interface without a zone is rejected.
    sandbox.shell(
        "nft -f - <<'END'
         table inet firewalld {
           chain filter_FORWARD_ZONES { }
           chain filter_FORWARD {
             type filter hook forward priority 10; policy accept;
             ct state { established, related } accept
             ct status dnat accept
             jump filter_FORWARD_ZONES
             reject with icmpx admin-prohibited
           }
         }
END",
    );
    // Its program, which asks a daemon that the machine here has not.
    let program = sandbox.write(
        "bin/firewall-cmd",
        "#!/bin/sh
         echo \"$*\" >> ${0%/*}/asked
         case $* in
         --permanent*) ;;
         *--add-interface=*) nft insert rule inet firewalld filter_FORWARD_ZONES iifname ${3#*=} accept ;;
         esac
",
    );
    sandbox.shell(&format!("chmod +x {program}"));
    let aril = |args: &[&str]| {
        let path = std::env::var("PATH").unwrap();
        let mut command = sandbox.aril_command(args);
        command.env("PATH", format!("{}:{path}", sandbox.path("bin").display()));
        sandbox.run(command).ok()
    };
    aril(&[
        "network",
        "create",
        "-o",
        "com.docker.network.bridge.name=mine",
        "net",
    ]);
    for _ in 0..2 {
        let ping = "run --rm --network net busybox ping -c1 -W5 10.99.0.2";
        aril(&ping.split(' ').collect::<Vec<_>>());
    }
    aril(&["network", "rm", "net"]);
    assert_eq!(
        lines(sandbox.path("bin/asked")),
        [
            "--quiet --zone=trusted --add-interface=mine",
            "--permanent --quiet --zone=trusted --add-interface=mine",
            "--quiet --zone=trusted --remove-interface=mine",
            "--permanent --quiet --zone=trusted --remove-interface=mine",
        ]
    );
    sandbox.shell("nft delete table inet firewalld");
}
