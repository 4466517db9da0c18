//! Names: what containers in the networks of users ask 127.0.0.11, and what it asks others.

use std::collections::HashSet;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use domain::base::iana::{Rcode, Rtype};
use domain::base::name::Name;
use domain::base::{Message, MessageBuilder};
use domain::rdata::{A, AllRecordData};

use super::Lan;
use super::place::Place::{self, Container, Host, Router};
use crate::sandbox::{PATIENCE, wait_until};

/// Returns a question on the wire.
fn query(name: &str, kind: Rtype) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec().question();
    builder.header_mut().set_id(4711);
    builder.header_mut().set_rd(true);
    let name = Name::<Vec<u8>>::vec_from_str(name).unwrap();
    builder.push((name, kind)).unwrap();
    builder.finish()
}

/// Asks the name server `server` from a place; returns the code and the records of its answer, in their order.
fn ask_at(lan: &Lan, place: Place<'_>, server: &str, name: &str, kind: Rtype) -> String {
    let query = query(name, kind);
    let server: IpAddr = server.parse().unwrap();
    let answer = lan.at(place, || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect((server, 53)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send(&query).unwrap();
        let mut buffer = vec![0; 4096];
        let bytes = socket.recv(&mut buffer).unwrap();
        buffer.truncate(bytes);
        buffer
    });
    let message = Message::from_octets(&answer[..]).unwrap();
    assert_eq!(message.header().id(), 4711);
    let mut text = message.header().rcode().to_string();
    for record in message.answer().unwrap() {
        let record = record.unwrap().into_record::<AllRecordData<_, _>>();
        text = format!("{text} {}", record.unwrap().unwrap().data());
    }
    println!("  {name} {kind} from {place:?}: {text}");
    text
}

fn ask(lan: &Lan, container: &str, name: &str, kind: Rtype) -> String {
    ask_at(lan, Container(container), "127.0.0.11", name, kind)
}

/// Gives the host a resolv.conf that no other test sees.
fn set_resolv_conf(lan: &Lan, text: &str) {
    let path = lan.sandbox.write("resolv.conf", text);
    lan.sandbox.shell(&format!(
        "mountpoint -q /etc/resolv.conf || mount --bind {path} /etc/resolv.conf"
    ));
}

fn reset_resolv_conf(lan: &Lan) {
    lan.sandbox.shell("umount /etc/resolv.conf");
}

/// A name server that gives every name the same address, until it is dropped.
struct NameServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    fn new(lan: &Lan, place: Place<'_>, at: &str, answer: [u8; 4]) -> NameServer {
        let at: IpAddr = at.parse().unwrap();
        let socket = lan.at(place, move || UdpSocket::bind((at, 53)).unwrap());
        let pause = Duration::from_millis(20);
        socket.set_read_timeout(Some(pause)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let mut buffer = [0; 1000];
                let Ok((bytes, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                let query = Message::from_octets(&buffer[..bytes]).unwrap();
                let question = query.sole_question().unwrap();
                let is_address = question.qtype() == Rtype::A;
                let code = if is_address {
                    Rcode::NOERROR
                } else {
                    Rcode::NXDOMAIN
                };
                let mut reply = MessageBuilder::new_vec()
                    .start_answer(&query, code)
                    .unwrap();
                if is_address {
                    let [a, b, c, d] = answer;
                    reply
                        .push((question.qname(), 60, A::from_octets(a, b, c, d)))
                        .unwrap();
                }
                socket.send_to(&reply.finish(), from).unwrap();
            }
        });
        NameServer {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

#[test]
fn containers_find_each_other_by_all_their_names() {
    let lan = Lan::new();
    set_resolv_conf(&lan, "nameserver 127.0.0.53\n");
    lan.sandbox.ok(&["network", "create", "front"]);
    lan.sandbox.ok(&["network", "create", "back.net"]);
    lan.sleeper("app", &["--network", "front"]);
    let alias = ["--network", "front", "--network-alias", "shared"];
    lan.sleeper("one", &alias);
    lan.sleeper("two", &[&alias[..], &["--hostname", "two-host"]].concat());
    let id = lan.sandbox.inspect("two", "{{.Id}}");
    let (one, two) = (
        lan.address_in("one", "front"),
        lan.address_in("two", "front"),
    );
    let check = |name: &str, kind, expected: String| {
        assert_eq!(ask(&lan, "app", name, kind), expected, "{name} {kind}");
    };
    for name in ["two", "TWO", "two-host", &id[..12], "two.front"] {
        check(name, Rtype::A, format!("NOERROR {two}"));
    }
    check("two", Rtype::AAAA, "NOERROR".to_owned());
    check("two", Rtype::MX, "NOERROR".to_owned());
    let mut reverse: Vec<&str> = one.split('.').collect();
    reverse.reverse();
    let reverse = format!("{}.in-addr.arpa", reverse.join("."));
    check(&reverse, Rtype::PTR, "NOERROR one.front.".to_owned());
    let orders: HashSet<String> = (0..100)
        .map(|_| ask(&lan, "app", "shared", Rtype::A))
        .collect();
    let expected = [
        format!("NOERROR {one} {two}"),
        format!("NOERROR {two} {one}"),
    ];
    assert_eq!(orders, HashSet::from(expected));
    // Programs with a resolver of their own, and with the C library's.
    let text = lan.sandbox.ok(&["exec", "app", "nslookup", "two"]);
    assert!(text.contains(&two), "{text}");
    let resolv_conf = lan.sandbox.ok(&["exec", "app", "cat", "/etc/resolv.conf"]);
    assert!(
        resolv_conf.contains("nameserver 127.0.0.11\n"),
        "{resolv_conf}"
    );
    assert!(resolv_conf.contains("ndots:0"), "{resolv_conf}");
    lan.sandbox
        .ok(&["exec", "app", "ping", "-c1", "-W30", "two"]);
    // Another network has other names, until one is in both.
    lan.sleeper("stranger", &["--network", "back.net"]);
    assert!(!ask(&lan, "stranger", "two", Rtype::A).contains(&two));
    lan.sandbox.ok(&["network", "connect", "back.net", "two"]);
    let there = lan.address_in("two", "back.net");
    let expected = format!("NOERROR {there}");
    assert_eq!(ask(&lan, "stranger", "two", Rtype::A), expected);
    assert_eq!(ask(&lan, "stranger", "two.back.net", Rtype::A), expected);
    let expected = format!("NOERROR {}", lan.address_in("stranger", "back.net"));
    assert_eq!(ask(&lan, "two", "stranger", Rtype::A), expected);
    lan.sandbox
        .ok(&["network", "disconnect", "back.net", "two"]);
    assert!(!ask(&lan, "stranger", "two", Rtype::A).contains(&there));
    reset_resolv_conf(&lan);
}

#[test]
fn names_come_and_go_with_their_containers() {
    let lan = Lan::new();
    // Nobody answers there, which is told at once.
    set_resolv_conf(&lan, "nameserver 127.0.0.53\n");
    lan.sandbox.ok(&["network", "create", "front"]);
    lan.sleeper("app", &["--network", "front"]);
    for number in 0..10 {
        let name = format!("web{number}");
        lan.sleeper(&name, &["--network", "front"]);
        let address = lan.address_in(&name, "front");
        let expected = format!("NOERROR {address}");
        assert_eq!(ask(&lan, "app", &name, Rtype::A), expected);
        let is_known = |name: &str| ask(&lan, "app", name, Rtype::A).contains(&address);
        match number % 3 {
            0 => {
                lan.sandbox.ok(&["rm", "-f", &name]);
                assert!(!is_known(&name));
            }
            1 => {
                let pid = lan.sandbox.inspect(&name, "{{.State.Pid}}");
                lan.sandbox.shell(&format!(
                    "kill -9 $(grep PPid /proc/{pid}/status | cut -f2)"
                ));
                wait_until("the name is gone", || !is_known(&name));
                lan.sandbox.ok(&["rm", "-f", &name]);
            }
            _ => {
                lan.sandbox.ok(&["rename", &name, "renamed"]);
                assert!(is_known("renamed") && !is_known(&name));
                lan.sandbox.ok(&["rm", "-f", "renamed"]);
            }
        }
    }
    reset_resolv_conf(&lan);
}

#[test]
fn servers_on_the_hosts_loopback_are_asked_for_containers() {
    let lan = Lan::new();
    set_resolv_conf(&lan, "nameserver 127.0.0.53\nsearch example.com\n");
    let _first = NameServer::new(&lan, Host, "127.0.0.53", [192, 0, 2, 1]);
    let _second = NameServer::new(&lan, Host, "127.0.0.54", [192, 0, 2, 2]);
    lan.sandbox.ok(&["network", "create", "front"]);
    lan.sleeper("app", &["--network", "front"]);
    lan.sleeper("plain", &[]);
    for container in ["app", "plain"] {
        assert_eq!(
            ask(&lan, container, "example.org", Rtype::A),
            "NOERROR 192.0.2.1"
        );
        assert_eq!(ask(&lan, container, "example.org", Rtype::MX), "NXDOMAIN");
        let text = lan
            .sandbox
            .ok(&["exec", container, "cat", "/etc/resolv.conf"]);
        assert!(text.contains("search example.com\n"), "{text}");
    }
    // A laptop that has changed its network.
    set_resolv_conf(&lan, "nameserver 127.0.0.54\n");
    for container in ["app", "plain"] {
        assert_eq!(
            ask(&lan, container, "example.org", Rtype::A),
            "NOERROR 192.0.2.2"
        );
    }
    reset_resolv_conf(&lan);
}

#[test]
fn servers_that_the_user_names_are_asked_from_the_container() {
    let lan = Lan::new();
    let _server = NameServer::new(&lan, Router, "10.99.0.2", [192, 0, 2, 3]);
    lan.sandbox.ok(&["network", "create", "front"]);
    let options = ["--network", "front", "--dns", "10.99.0.2"];
    lan.sleeper("app", &options);
    assert_eq!(
        ask(&lan, "app", "example.org", Rtype::A),
        "NOERROR 192.0.2.3"
    );
    // With a search list to go through, a name without a dot is not asked elsewhere.
    let more = ["--dns-option", "ndots:2", "--dns-search", "example.org"];
    lan.sleeper("searcher", &[&options[..], &more].concat());
    assert_eq!(ask(&lan, "searcher", "nobody", Rtype::A), "NOERROR");
    let text = lan
        .sandbox
        .ok(&["exec", "searcher", "cat", "/etc/resolv.conf"]);
    assert!(
        text.contains("search example.org\noptions ndots:2\n"),
        "{text}"
    );
    // The container's own port 53 is free.
    lan.at(Container("app"), || {
        UdpSocket::bind("0.0.0.0:53").unwrap();
        std::net::TcpListener::bind("0.0.0.0:53").unwrap();
    });
}

#[test]
fn cve_2024_29018_an_internal_network_has_names_and_no_way_out() {
    let lan = Lan::new();
    set_resolv_conf(&lan, "nameserver 127.0.0.53\n");
    let _server = NameServer::new(&lan, Host, "127.0.0.53", [192, 0, 2, 1]);
    lan.sandbox.ok(&["network", "create", "--internal", "cell"]);
    lan.sleeper("one", &["--network", "cell"]);
    lan.sleeper("two", &["--network", "cell"]);
    let expected = format!("NOERROR {}", lan.address_in("two", "cell"));
    assert_eq!(ask(&lan, "one", "two", Rtype::A), expected);
    assert_eq!(ask(&lan, "one", "example.org", Rtype::A), "SERVFAIL");
    let out = lan
        .sandbox
        .aril(&["exec", "one", "ping", "-c1", "-W1", "10.99.0.2"]);
    assert_ne!(out.code, 0, "{out:?}");
    reset_resolv_conf(&lan);
}

#[test]
fn many_ask_at_once() {
    let lan = Lan::new();
    lan.sandbox.ok(&["network", "create", "front"]);
    lan.sleeper("app", &["--network", "front"]);
    lan.sleeper("web", &["--network", "front"]);
    let address: std::net::Ipv4Addr = lan.address_in("web", "front").parse().unwrap();
    let query = query("web", Rtype::A);
    lan.at(Container("app"), || {
        let sockets: Vec<UdpSocket> = (0..500)
            .map(|_| {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.connect("127.0.0.11:53").unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                socket.send(&query).unwrap();
                socket
            })
            .collect();
        for socket in sockets {
            let mut buffer = [0; 512];
            let bytes = socket.recv(&mut buffer).unwrap();
            assert!(buffer[..bytes].ends_with(&address.octets()));
        }
    });
}

#[test]
fn names_begin_with_the_first_network_that_has_them() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    set_resolv_conf(&lan, "nameserver 10.99.0.2\n");
    sandbox.ok(&["network", "create", "one"]);
    sandbox.ok(&["network", "create", "--ipv6", "six"]);
    lan.sleeper("peer", &["--network", "one"]);
    lan.sleeper("joins", &[]);
    lan.sleeper("edits", &[]);
    let servers = |name: &str| {
        let text = sandbox.ok(&["exec", name, "cat", "/etc/resolv.conf"]);
        text.lines()
            .find_map(|line| line.strip_prefix("nameserver "))
            .map(str::to_owned)
            .unwrap_or_default()
    };
    let ping = |name: &str| sandbox.aril(&["exec", "joins", "ping", "-c1", "-W5", name]);
    assert_eq!(servers("joins"), "10.99.0.2");
    sandbox.ok(&["network", "connect", "one", "joins"]);
    assert_eq!(servers("joins"), "127.0.0.11");
    ping("peer").ok();
    // Programs have read the file: what it names goes on to answer. Nobody is there under that name any more.
    sandbox.ok(&["network", "disconnect", "one", "joins"]);
    assert_eq!(servers("joins"), "127.0.0.11");
    assert!(ping("peer").err.contains("bad address"));
    // The next start is as if nothing had been.
    sandbox.ok(&["restart", "-t", "0", "joins"]);
    assert_eq!(servers("joins"), "10.99.0.2");
    // A file that its user has changed stays.
    let edit = "echo nameserver 9.9.9.9 > /etc/resolv.conf";
    sandbox.ok(&["exec", "edits", "sh", "-c", edit]);
    sandbox.ok(&["network", "connect", "one", "edits"]);
    assert_eq!(servers("edits"), "9.9.9.9");
    // IPv6, too, can come while it runs.
    sandbox.ok(&["network", "connect", "six", "joins"]);
    let gateway = "{{(index .NetworkSettings.Networks \"six\").IPv6Gateway}}";
    ping(&sandbox.inspect("joins", gateway)).ok();
    reset_resolv_conf(&lan);
}
