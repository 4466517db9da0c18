//! The resolver as a whole: real sockets in a network namespace of the test's own, real files and locks.

use std::collections::HashSet;
use std::io::{PipeWriter, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use domain::base::iana::Rtype;
use domain::base::name::Name;
use domain::base::{Message, MessageBuilder};
use domain::rdata::AllRecordData;
use proptest::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;

/// Longer than any step takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);
const WEB: &str = "1111111111112222222222222222222222222222222222222222222222222222";
const DB: &str = "3333333333334444444444444444444444444444444444444444444444444444";

/// A directory for one test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        let name = format!("aril-dns-{}", crate::store::unique());
        let dir = std::env::temp_dir().join(name);
        for network in ["front", "back.net"] {
            std::fs::create_dir_all(dir.join(network)).unwrap();
        }
        Scratch(dir)
    }

    fn dirs(&self) -> Dirs {
        Dirs::new(self.0.join("data"), self.0.join("run"))
    }

    /// Locks the monitor of `container`, as if it ran.
    fn monitor(&self, container: &str) -> FileLock {
        let lock = self.dirs().monitor_lock(container);
        std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
        FileLock::try_exclusive(&lock).unwrap().unwrap()
    }

    fn network(&self, name: &str) -> Network {
        Network {
            name: name.into(),
            directory: self.0.join(name),
            links: Vec::new(),
        }
    }

    fn scope(&self) -> Scope {
        Scope {
            networks: vec![self.network("front"), self.network("back.net")],
            forwards: true,
            extra: vec![("host.docker.internal".into(), vec![ip("172.17.0.1")])],
        }
    }

    fn resolv_conf(&self, servers: &[&str]) -> PathBuf {
        let path = self.0.join("resolv.conf");
        let text = format!("nameserver {}\n", servers.join("\nnameserver "));
        let new = self.0.join("resolv.conf.new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &path).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let removed = std::fs::remove_dir_all(&self.0);
        if !std::thread::panicking() {
            removed.unwrap();
        }
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn entry(names: &[&str], addresses: &[&str]) -> Entry {
    Entry {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        addresses: addresses.iter().map(|address| ip(address)).collect(),
    }
}

/// Runs `test` in a network namespace of its own, with its loopback interface up.
fn in_own_network(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            crate::sys::process::loopback_up().unwrap();
            test();
        });
        if let Err(panic) = ended.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn own_netns() -> OwnedFd {
    std::fs::File::open("/proc/thread-self/ns/net")
        .unwrap()
        .into()
}

/// A resolver in a loop like the monitor's, until this is dropped.
struct Running {
    udp: SocketAddr,
    tcp: SocketAddr,
    scopes: mpsc::Sender<Scope>,
    wake: PipeWriter,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let woken = self.wake.write_all(b"x");
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        if !std::thread::panicking() {
            woken.unwrap();
            ended.unwrap().unwrap();
        }
    }
}

impl Running {
    fn new(scratch: &Scratch, upstreams: Upstreams, scope: Scope) -> Running {
        Running::with(scratch, upstreams, scope, false)
    }

    fn with(scratch: &Scratch, upstreams: Upstreams, scope: Scope, keeps: bool) -> Running {
        let sockets = Sockets::open().unwrap();
        let at = |port| SocketAddr::from((ADDRESS, port));
        let (udp, tcp) = (at(sockets.udp_port), at(sockets.tcp_port));
        let setup = Setup {
            dirs: scratch.dirs(),
            sockets,
            netns: own_netns(),
            upstreams,
            keeps_single_labels: keeps,
        };
        let mut resolver = Resolver::new(setup, scope).unwrap();
        let (scopes, receiver) = mpsc::channel();
        let (mut reader, wake) = std::io::pipe().unwrap();
        let thread = std::thread::spawn(move || {
            loop {
                let left = resolver
                    .timeout()
                    .map(|at| at.saturating_duration_since(Instant::now()))
                    .map(|left| Timespec::try_from(left).unwrap());
                let mut fds = [
                    PollFd::from_borrowed_fd(resolver.fd(), PollFlags::IN),
                    PollFd::new(&reader, PollFlags::IN),
                ];
                poll(&mut fds, left.as_ref()).unwrap();
                let [is_ready, is_woken] = fds.map(|fd| !fd.revents().is_empty());
                if is_woken {
                    reader.read_exact(&mut [0]).unwrap();
                    match receiver.try_recv() {
                        Ok(scope) => resolver.set_scope(scope),
                        Err(_) => return,
                    }
                }
                // As the monitor, which reads the clock once for all that may be due.
                let now = Instant::now();
                if is_ready || resolver.timeout().is_some_and(|at| at <= now) {
                    resolver.run().unwrap();
                }
            }
        });
        Running {
            udp,
            tcp,
            scopes,
            wake,
            thread: Some(thread),
        }
    }

    fn ask_bytes(&self, query: &[u8]) -> Vec<u8> {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(self.udp).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client.send(query).unwrap();
        let mut buffer = vec![0; 65_536];
        let bytes = client.recv(&mut buffer).unwrap();
        buffer.truncate(bytes);
        buffer
    }

    /// Asks for a name and returns the answer as text: its code, then its records in order.
    fn ask(&self, name: &str, kind: Rtype) -> String {
        show(&self.ask_bytes(&query(name, kind, None)))
    }
}

fn query(name: &str, kind: Rtype, edns_bytes: Option<u16>) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec().question();
    builder.header_mut().set_id(4711);
    builder.header_mut().set_rd(true);
    let name = Name::<Vec<u8>>::vec_from_str(name).unwrap();
    builder.push((name, kind)).unwrap();
    let mut builder = builder.additional();
    if let Some(bytes) = edns_bytes {
        builder
            .opt(|opt| {
                opt.set_udp_payload_size(bytes);
                Ok(())
            })
            .unwrap();
    }
    builder.finish()
}

fn show(answer: &[u8]) -> String {
    let message = Message::from_octets(answer).unwrap();
    assert_eq!(message.header().id(), 4711);
    assert!(message.header().qr());
    let mut records: Vec<String> = message
        .answer()
        .unwrap()
        .map(|record| {
            let record = record
                .unwrap()
                .into_record::<AllRecordData<_, _>>()
                .unwrap();
            record.unwrap().data().to_string()
        })
        .collect();
    records.sort();
    records.insert(0, message.header().rcode().to_string());
    records.join(" ")
}

/// A name server of the world outside, on the usual port of `address`; what `reply` returns is sent.
struct Upstream {
    asked: mpsc::Receiver<(Vec<u8>, SocketAddr)>,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Upstream {
    fn new(address: &str, reply: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Upstream {
        let socket = UdpSocket::bind((address, 53)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let (sender, asked) = mpsc::channel();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                let Ok((bytes, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                for reply in reply(&buffer[..bytes]) {
                    socket.send_to(&reply, from).unwrap();
                }
                drop(sender.send((buffer[..bytes].to_vec(), from)));
            }
        });
        Upstream {
            asked,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

/// An answer to `query` with one address.
fn found(query: &[u8], address: &str) -> Vec<u8> {
    message::read(query)
        .unwrap()
        .answer(&[Data::Address(ip(address))], 4096)
        .unwrap()
}

#[test]
fn names_are_found_by_dockers_rules() {
    in_own_network(|| {
        let scratch = Scratch::new();
        let _locks = [scratch.monitor(WEB), scratch.monitor(DB)];
        let front = scratch.0.join("front");
        let back = scratch.0.join("back.net");
        let web = ["web", "shared", &WEB[..12], "web-host"];
        entry(&web, &["172.18.0.2"]).write(&front, WEB).unwrap();
        let db = ["db", "shared", &DB[..12], "db.example"];
        entry(&db, &["172.18.0.3", "fd00::3"])
            .write(&front, DB)
            .unwrap();
        entry(&["db", &DB[..12]], &["172.19.0.3"])
            .write(&back, DB)
            .unwrap();
        // Its monitor does not run.
        entry(&["crashed"], &["172.18.0.9"])
            .write(&front, &"5".repeat(64))
            .unwrap();
        let mut scope = scratch.scope();
        scope.networks[0].links.push(Link {
            alias: "sql".into(),
            target: "db".into(),
        });
        scope.forwards = false;
        let file = Upstreams::HostFile(scratch.resolv_conf(&["127.0.0.53"]));
        let resolver = Running::new(&scratch, file, scope);
        let check = |name: &str, kind: Rtype, expected: &str| {
            assert_eq!(resolver.ask(name, kind), expected, "{name} {kind}");
        };
        check("web", Rtype::A, "NOERROR 172.18.0.2");
        check("WEB", Rtype::A, "NOERROR 172.18.0.2");
        check("web-host", Rtype::A, "NOERROR 172.18.0.2");
        check(&WEB[..12], Rtype::A, "NOERROR 172.18.0.2");
        check("db.example", Rtype::A, "NOERROR 172.18.0.3");
        check("db", Rtype::A, "NOERROR 172.18.0.3");
        check("db.front", Rtype::A, "NOERROR 172.18.0.3");
        check("db.back.net", Rtype::A, "NOERROR 172.19.0.3");
        check("db.Back.NET", Rtype::A, "NOERROR 172.19.0.3");
        check("db.example.front", Rtype::A, "NOERROR 172.18.0.3");
        check("web.back.net", Rtype::A, "SERVFAIL");
        check("shared", Rtype::A, "NOERROR 172.18.0.2 172.18.0.3");
        check("sql", Rtype::A, "NOERROR 172.18.0.3");
        check("sql", Rtype::AAAA, "NOERROR fd00::3");
        check("web", Rtype::AAAA, "NOERROR");
        check("web", Rtype::MX, "NOERROR");
        check("web", Rtype::HTTPS, "NOERROR");
        check("db", Rtype::ANY, "NOERROR 172.18.0.3 fd00::3");
        check("crashed", Rtype::A, "SERVFAIL");
        check("nobody", Rtype::A, "SERVFAIL");
        check("host.docker.internal", Rtype::A, "NOERROR 172.17.0.1");
        check("3.0.18.172.in-addr.arpa", Rtype::PTR, "NOERROR db.front.");
        check(
            "3.0.19.172.in-addr.arpa",
            Rtype::PTR,
            "NOERROR db.back.net.",
        );
        let v6 = "3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        check(v6, Rtype::PTR, "NOERROR db.front.");
        check("9.0.18.172.in-addr.arpa", Rtype::PTR, "SERVFAIL");
        check(".", Rtype::A, "SERVFAIL");
        // Both orders come up.
        let orders: HashSet<Vec<u8>> = (0..200)
            .map(|_| resolver.ask_bytes(&query("shared", Rtype::A, None)))
            .collect();
        assert_eq!(orders.len(), 2);
    });
}

#[test]
fn a_change_counts_for_the_next_query() {
    in_own_network(|| {
        let scratch = Scratch::new();
        let mut lock = Some(scratch.monitor(WEB));
        let front = scratch.0.join("front");
        let mut scope = scratch.scope();
        scope.forwards = false;
        let file = Upstreams::HostFile(scratch.resolv_conf(&["127.0.0.53"]));
        let resolver = Running::new(&scratch, file, scope);
        for number in 0..200 {
            let (name, last) = (format!("web{number}"), number % 250 + 2);
            entry(&[&name], &[&format!("172.18.0.{last}")])
                .write(&front, WEB)
                .unwrap();
            let expected = format!("NOERROR 172.18.0.{last}");
            assert_eq!(resolver.ask(&name, Rtype::A), expected);
            if number % 10 == 0 {
                Entry::remove(&front, WEB).unwrap();
            } else if number % 10 == 5 {
                // As when the monitor is killed.
                lock = None;
            } else {
                entry(&["other"], &["172.18.0.2"])
                    .write(&front, WEB)
                    .unwrap();
            }
            assert_eq!(resolver.ask(&name, Rtype::A), "SERVFAIL");
            lock.get_or_insert_with(|| scratch.monitor(WEB));
        }
        // Another network from now on.
        resolver.scopes.send(Scope::default()).unwrap();
        (&resolver.wake).write_all(b"x").unwrap();
        let deadline = Instant::now() + DEADLINE;
        while resolver.ask("other", Rtype::A) != "SERVFAIL" {
            assert!(Instant::now() < deadline, "the scope stays");
        }
    });
}

#[test]
fn answers_fit_what_the_client_takes() {
    in_own_network(|| {
        let scratch = Scratch::new();
        let _lock = scratch.monitor(WEB);
        let addresses: Vec<String> = (2..202).map(|last| format!("172.18.0.{last}")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        entry(&["many"], &addresses)
            .write(&scratch.0.join("front"), WEB)
            .unwrap();
        let upstreams = Upstreams::HostFile(scratch.resolv_conf(&["127.0.0.53"]));
        let resolver = Running::new(&scratch, upstreams, scratch.scope());
        let check = |edns: Option<u16>, max: usize, is_whole: bool| {
            let answer = resolver.ask_bytes(&query("many", Rtype::A, edns));
            let message = Message::from_octets(&answer[..]).unwrap();
            assert!(answer.len() <= max, "{} bytes", answer.len());
            assert_eq!(message.header().tc(), !is_whole);
            assert_eq!(message.opt().is_some(), edns.is_some());
            let count = usize::from(message.header_counts().ancount());
            assert_eq!(message.answer().unwrap().flatten().count(), count);
            assert_eq!(is_whole, count == 200, "{count} records");
            assert!(count > 20, "{count} records");
        };
        check(None, 512, false);
        check(Some(100), 512, false);
        check(Some(1232), 1232, false);
        check(Some(4096), 4096, true);
        // On a stream there is room for all, and for several queries at once.
        let mut stream = TcpStream::connect(resolver.tcp).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        for _ in 0..3 {
            let query = query("many", Rtype::A, None);
            let bytes = u16::try_from(query.len()).unwrap().to_be_bytes();
            stream.write_all(&[&bytes[..], &query].concat()).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).unwrap();
        let mut rest = &answers[..];
        for _ in 0..3 {
            let bytes = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
            let message = Message::from_octets(&rest[2..2 + bytes]).unwrap();
            assert_eq!(message.header_counts().ancount(), 200);
            rest = &rest[2 + bytes..];
        }
        assert!(rest.is_empty());
    });
}

#[test]
fn what_no_container_is_called_is_asked_elsewhere() {
    in_own_network(|| {
        let scratch = Scratch::new();
        let upstream = Upstream::new("127.0.0.53", |query| {
            // First what an attacker might send who knows the port but not the id, then another question's answer.
            let mut wrong_id = found(query, "6.6.6.6");
            wrong_id[0] ^= 1;
            let mut other = self::query("other.example", Rtype::A, None);
            other[..2].copy_from_slice(&query[..2]);
            vec![
                wrong_id,
                found(&other, "6.6.6.6"),
                found(query, "192.0.2.1"),
            ]
        });
        let file = Upstreams::HostFile(scratch.resolv_conf(&["127.0.0.53"]));
        let resolver = Running::new(&scratch, file, scratch.scope());
        let (mut ids, mut ports) = (HashSet::new(), HashSet::new());
        for _ in 0..20 {
            assert_eq!(resolver.ask("example.com", Rtype::A), "NOERROR 192.0.2.1");
            let (asked, from) = upstream.asked.recv_timeout(DEADLINE).unwrap();
            let mut own = query("example.com", Rtype::A, None);
            own[..2].copy_from_slice(&asked[..2]);
            assert_eq!(asked, own, "the query goes out as it came in");
            ids.insert(asked[..2].to_vec());
            ports.insert(from.port());
        }
        assert!(ids.len() > 15 && ports.len() > 15, "{ids:?} {ports:?}");
        // Kept inside: names without a dot, when the user wants the search list to have its turn.
        let file = Upstreams::HostFile(scratch.0.join("resolv.conf"));
        let resolver = Running::with(&scratch, file, scratch.scope(), true);
        assert_eq!(resolver.ask("example", Rtype::A), "NOERROR");
        assert_eq!(resolver.ask("example", Rtype::MX), "NOERROR 192.0.2.1");
        assert_eq!(resolver.ask("a.example", Rtype::A), "NOERROR 192.0.2.1");
    });
}

#[test]
fn a_silent_server_costs_a_second_once() {
    in_own_network(|| {
        let scratch = Scratch::new();
        let silent = Upstream::new("127.0.0.53", |_| Vec::new());
        let _upstream = Upstream::new("127.0.0.54", |query| vec![found(query, "192.0.2.1")]);
        let file = Upstreams::HostFile(scratch.resolv_conf(&["127.0.0.53", "127.0.0.54"]));
        let resolver = Running::new(&scratch, file, scratch.scope());
        let began = Instant::now();
        assert_eq!(resolver.ask("example.com", Rtype::A), "NOERROR 192.0.2.1");
        assert!(began.elapsed() >= Duration::from_secs(1));
        silent.asked.recv_timeout(DEADLINE).unwrap();
        // On a busy machine the other one may be late as well, but not each time.
        let is_left_alone = || {
            assert_eq!(resolver.ask("example.org", Rtype::A), "NOERROR 192.0.2.1");
            silent.asked.try_recv().is_err()
        };
        let left_alone = (0..5).any(|_| is_left_alone());
        assert!(left_alone, "it was asked first again");
    });
}

#[test]
fn a_failure_brings_the_next_server_and_is_passed_on_if_there_is_none() {
    in_own_network(|| {
        let scratch = Scratch::new();
        let refuse = |query: &[u8]| vec![message::failure(query, Rcode::REFUSED).unwrap()];
        let _refusing = Upstream::new("127.0.0.53", refuse);
        let _missing = Upstream::new("127.0.0.55", |query| {
            vec![message::failure(query, Rcode::NXDOMAIN).unwrap()]
        });
        let check = |servers: &[&str], expected: &str| {
            let file = Upstreams::HostFile(scratch.resolv_conf(servers));
            let resolver = Running::new(&scratch, file, scratch.scope());
            let began = Instant::now();
            assert_eq!(resolver.ask("example.com", Rtype::A), expected);
            // Long before a silent server would have been given up.
            assert!(began.elapsed() < forward::GIVE_UP, "{servers:?}");
        };
        // Nobody listens on 127.0.0.54, which says so.
        check(&["127.0.0.53", "127.0.0.54", "127.0.0.55"], "NXDOMAIN");
        check(&["127.0.0.53", "127.0.0.54"], "REFUSED");
        check(&["127.0.0.54"], "SERVFAIL");
    });
}

#[test]
fn a_new_resolv_conf_of_the_host_counts_at_once() {
    in_own_network(|| {
        let scratch = Scratch::new();
        let _first = Upstream::new("127.0.0.53", |query| vec![found(query, "192.0.2.1")]);
        let _second = Upstream::new("127.0.0.54", |query| vec![found(query, "192.0.2.2")]);
        let file = Upstreams::HostFile(scratch.resolv_conf(&["127.0.0.53"]));
        let resolver = Running::new(&scratch, file, scratch.scope());
        for (server, expected) in [
            ("127.0.0.53", "NOERROR 192.0.2.1"),
            ("127.0.0.54", "NOERROR 192.0.2.2"),
            ("127.0.0.53", "NOERROR 192.0.2.1"),
        ] {
            scratch.resolv_conf(&[server]);
            assert_eq!(resolver.ask("example.com", Rtype::A), expected);
        }
    });
}

#[test]
fn an_internal_network_asks_only_servers_that_the_container_reaches() {
    in_own_network(|| {
        let scratch = Scratch::new();
        let upstream = Upstream::new("127.0.0.53", |query| vec![found(query, "192.0.2.1")]);
        let file = Upstreams::HostFile(scratch.resolv_conf(&["127.0.0.53"]));
        let mut scope = scratch.scope();
        scope.forwards = false;
        let resolver = Running::new(&scratch, file, scope.clone());
        assert_eq!(resolver.ask("example.com", Rtype::A), "SERVFAIL");
        assert!(upstream.asked.try_recv().is_err());
        // The server is in the network namespace that plays the container's; the resolver runs in another one.
        let given = Upstreams::Given(vec!["127.0.0.53".into()]);
        let netns = own_netns();
        in_own_network(|| {
            let sockets = Sockets::open().unwrap();
            let at = SocketAddr::from((ADDRESS, sockets.udp_port));
            let setup = Setup {
                dirs: scratch.dirs(),
                sockets,
                netns,
                upstreams: given,
                keeps_single_labels: false,
            };
            let mut resolver = Resolver::new(setup, scope).unwrap();
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.set_nonblocking(true).unwrap();
            let query = query("example.com", Rtype::A, None);
            client.send_to(&query, at).unwrap();
            let mut buffer = [0; 512];
            let deadline = Instant::now() + DEADLINE;
            let bytes = loop {
                resolver.run().unwrap();
                if let Ok(bytes) = client.recv(&mut buffer) {
                    break bytes;
                }
                assert!(Instant::now() < deadline, "no answer");
            };
            assert_eq!(show(&buffer[..bytes]), "NOERROR 192.0.2.1");
        });
    });
}

#[test]
fn a_query_on_a_stream_goes_on_on_a_stream() {
    in_own_network(|| {
        let scratch = Scratch::new();
        let server = TcpListener::bind("127.0.0.53:53").unwrap();
        let file = Upstreams::HostFile(scratch.resolv_conf(&["127.0.0.53"]));
        let resolver = Running::new(&scratch, file, scratch.scope());
        let mut client = TcpStream::connect(resolver.tcp).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        let query = query("example.com", Rtype::A, None);
        let bytes = u16::try_from(query.len()).unwrap().to_be_bytes();
        // In pieces, as a network may bring it.
        client.write_all(&bytes[..1]).unwrap();
        client.write_all(&bytes[1..]).unwrap();
        client.write_all(&query[..20]).unwrap();
        client.write_all(&query[20..]).unwrap();
        let (mut asked, _) = server.accept().unwrap();
        asked.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut read = vec![0; 2 + query.len()];
        asked.read_exact(&mut read).unwrap();
        assert_eq!(read[4..], query[2..]);
        let answer = found(&read[2..], "192.0.2.1");
        let bytes = u16::try_from(answer.len()).unwrap().to_be_bytes();
        asked.write_all(&bytes).unwrap();
        asked.write_all(&answer).unwrap();
        let mut got = vec![0; 2 + answer.len()];
        client.read_exact(&mut got).unwrap();
        assert_eq!(show(&got[2..]), "NOERROR 192.0.2.1");
    });
}

#[test]
fn many_queries_are_under_way_at_once() {
    in_own_network(|| {
        let scratch = Scratch::new();
        let _upstream = Upstream::new("127.0.0.53", |query| vec![found(query, "192.0.2.1")]);
        let file = Upstreams::HostFile(scratch.resolv_conf(&["127.0.0.53"]));
        let resolver = Running::new(&scratch, file, scratch.scope());
        let clients: Vec<UdpSocket> = (0..500)
            .map(|number| {
                let client = UdpSocket::bind("127.0.0.1:0").unwrap();
                client.connect(resolver.udp).unwrap();
                client.set_read_timeout(Some(DEADLINE)).unwrap();
                let name = format!("n{number}.example.com");
                client.send(&query(&name, Rtype::A, None)).unwrap();
                client
            })
            .collect();
        for client in clients {
            let mut buffer = [0; 512];
            let bytes = client.recv(&mut buffer).unwrap();
            assert_eq!(show(&buffer[..bytes]), "NOERROR 192.0.2.1");
        }
    });
}

#[test]
fn an_unwritten_directory_has_no_names() {
    let mut table = Table::new(Network {
        directory: Path::new("/nonexistent").into(),
        ..Network::default()
    });
    table.refresh();
    assert_eq!(names::addresses(&[table], "web", &|_| true), None);
}

/// Checks that `answer` can be read to its last byte, and belongs to `query`.
fn assert_well_formed(query: &[u8], answer: &[u8]) {
    let message = Message::from_octets(answer).unwrap();
    assert_eq!(message.header().id(), message::id(query));
    assert!(message.header().qr());
    assert!(message.question().all(|question| question.is_ok()));
    let mut section = message.answer().unwrap();
    for record in section.by_ref() {
        let record = record.unwrap();
        record.into_record::<AllRecordData<_, _>>().unwrap();
    }
    let authority = section.next_section().unwrap().unwrap();
    let mut additional = authority.next_section().unwrap().unwrap();
    assert!(additional.all(|record| record.is_ok()));
}

proptest! {
    #[test]
    fn any_bytes_get_a_well_formed_answer_or_none(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        keeps_header in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if keeps_header && bytes.len() > 12 {
            // A query with one question, so that what follows is read as one.
            bytes[2..12].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
        }
        match message::read(&bytes) {
            Ok(query) => {
                let asked = query.asked();
                prop_assert!(asked == asked.clone());
                let max_bytes = query.datagram_bytes();
                let records = vec![Data::Address(ip("172.18.0.2")), Data::Name("web.front".into())];
                if let Some(answer) = query.answer(&records, max_bytes) {
                    prop_assert!(answer.len() <= max_bytes);
                    assert_well_formed(&bytes, &answer);
                }
                assert_well_formed(&bytes, &query.failure(Rcode::SERVFAIL).unwrap());
            }
            Err(Some(answer)) => assert_well_formed(&bytes, &answer),
            Err(None) => {}
        }
        message::judge(&bytes, &bytes);
    }

    #[test]
    fn any_name_is_read_as_it_was_written(
        labels in proptest::collection::vec("[a-zA-Z0-9_-]{1,20}", 1..6),
        edns in proptest::option::of(any::<u16>()),
    ) {
        let name = labels.join(".");
        let bytes = query(&name, Rtype::A, edns);
        let query = message::read(&bytes).unwrap();
        let expected = Asked::Addresses(name.to_lowercase(), message::Families::V4);
        prop_assert_eq!(query.asked(), expected);
        let least = usize::from(edns.unwrap_or_default()).max(512);
        prop_assert_eq!(query.datagram_bytes(), least);
    }
}
