//! Published ports.

use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use super::{EchoServer, Lan, echo, ip};
use crate::sandbox::wait_until;

#[test]
fn cve_2021_20199_a_published_port_is_reached_from_everywhere_and_shows_who_asks() {
    let lan = Lan::new();
    lan.serve("aa", &["-p", "8080:80"]);
    lan.serve("bb", &[]);
    lan.sandbox.ok(&["network", "create", "other"]);
    lan.serve("cc", &["--network", "other"]);
    let some = |address: &str| Some(address.to_owned());
    // The machine, by each of its addresses; by loopback and IPv6 through the proxy.
    assert_eq!(lan.ask("10.99.0.1:8080"), some("10.99.0.1"));
    for server in ["127.0.0.1:8080", "[::1]:8080", "[fd99::1]:8080"] {
        assert_eq!(lan.ask(server), some("172.17.0.1"), "{server}");
    }
    assert_eq!(lan.ask_from_outside("10.99.0.1:8080"), some("10.99.0.2"));
    assert_eq!(lan.ask_from_outside("[fd99::1]:8080"), some("172.17.0.1"));
    // Itself, a neighbour, and somebody in another network.
    for container in ["aa", "bb"] {
        for server in ["10.99.0.1:8080", "172.17.0.1:8080"] {
            assert_eq!(
                lan.ask_from(container, server),
                "172.17.0.1",
                "{container} {server}"
            );
        }
    }
    // As with docker, a container shows as the host to other networks.
    assert_eq!(lan.ask_from("cc", "10.99.0.1:8080"), "172.17.0.1");
    // What is not published is closed, also to who knows the way.
    lan.on_router(|| ip("route add 172.17.0.0/16 via 10.99.0.1"));
    assert!(lan.is_closed_outside("172.17.0.2:80"));
    assert!(lan.is_closed_outside("172.17.0.3:80"));
}

#[test]
fn loopback_is_for_the_machine_alone() {
    let lan = Lan::new();
    lan.serve(
        "aa",
        &[
            "-p",
            "127.0.0.1:8080:80",
            "-p",
            "10.99.0.1:8081:80",
            "-p",
            "[::1]:8082:80",
        ],
    );
    assert!(lan.ask("127.0.0.1:8080").is_some());
    assert!(lan.ask("[::1]:8082").is_some());
    assert!(lan.is_closed_outside("10.99.0.1:8080"));
    lan.on_router(|| ip("route add 127.0.0.2/32 via 10.99.0.1"));
    assert!(lan.ask_from_outside("10.99.0.1:8081").is_some());
    lan.sandbox
        .aril(&["port", "aa"])
        .says("80/tcp -> 10.99.0.1:8081\n80/tcp -> 127.0.0.1:8080\n80/tcp -> [::1]:8082");
}

#[test]
fn datagrams_find_their_way_and_follow_to_the_next_container() {
    let lan = Lan::new();
    let run = |name: &str| {
        let port = ["-p", "8081:81/udp"];
        let args = [
            &["run", "-d", "--name", name],
            &port[..],
            &["busybox", "sleep", "1000"],
        ];
        lan.sandbox.ok(&args.concat());
        EchoServer::start(&lan, name, 81)
    };
    let hello = Some("hello".to_owned());
    // A client that goes on from the same port while its server is replaced.
    let client = lan.on_router(|| {
        let client = UdpSocket::bind("0.0.0.0:0").unwrap();
        client.connect("10.99.0.1:8081").unwrap();
        let second = Some(Duration::from_secs(1));
        client.set_read_timeout(second).unwrap();
        client
    });
    let is_answered = || {
        // While nobody listens, that is said.
        let sent = client.send(b"again").is_ok();
        sent && client.recv(&mut [0; 16]).is_ok()
    };
    let server = run("aa");
    assert_eq!(lan.on_router(|| echo("10.99.0.1:8081")), hello);
    for address in ["127.0.0.1:8081", "10.99.0.1:8081"] {
        assert_eq!(lan.sandbox.inside(|| echo(address)), hello, "{address}");
    }
    wait_until("the client is answered", is_answered);
    drop(server);
    lan.sandbox.ok(&["rm", "-f", "aa"]);
    // Another address, so that what the kernel remembers of the old one leads nowhere.
    lan.sandbox
        .ok(&["run", "-d", "--name", "other", "busybox", "sleep", "1000"]);
    let _server = run("bb");
    wait_until("the client is answered by the next one", is_answered);
}

#[test]
fn a_port_that_is_taken_says_by_whom() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    lan.serve("aa", &["-p", "8080:80"]);
    let run = |port: &str| {
        sandbox.aril(&[
            "run", "-d", "--name", "bb", "-p", port, "busybox", "sleep", "1000",
        ])
    };
    let ran = run("8080:80");
    ran.fails(
        125,
        "Bind for 0.0.0.0:8080 failed: port is already allocated",
    );
    let ran = sandbox.aril(&["start", "bb"]);
    assert!(
        ran.err
            .contains("hint: container aa has port 8080; port 8081 is free: -p 8081:80"),
        "{ran:?}"
    );
    sandbox
        .aril(&["inspect", "-f", "{{.State.Status}}", "bb"])
        .says("created");
    sandbox.ok(&["rm", "bb"]);
    let listener = sandbox.inside(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    let ran = run(&format!("{port}:80"));
    assert!(
        ran.err
            .contains(&format!("(pid {}) has port {port}", std::process::id())),
        "{ran:?}"
    );
    ran.fails(125, "address already in use");
    sandbox.ok(&["rm", "bb"]);
    // Nothing of the failed starts is left: the address is free.
    sandbox.ok(&["run", "-d", "--name", "bb", "busybox", "sleep", "1000"]);
    assert_eq!(lan.address("bb"), "172.17.0.3");
    // The port is held for the container, and free again after it.
    let bind = || sandbox.inside(|| TcpListener::bind("0.0.0.0:8080").is_ok());
    assert!(!bind());
    sandbox.ok(&["rm", "-f", "aa"]);
    assert!(bind());
}

#[test]
fn random_ports_ranges_and_all_that_are_exposed() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "aa",
        "-p",
        "80",
        "--expose",
        "90-91/udp",
        "-P",
        "busybox",
        "sleep",
        "1000",
    ]);
    let ports = sandbox.ok(&["port", "aa"]);
    assert_eq!(ports.lines().count(), 6, "{ports}");
    let number = |port: &str, address: &str| {
        let line = ports
            .lines()
            .find(|line| line.starts_with(&format!("{port} -> {address}:")))
            .unwrap();
        line.rsplit_once(':').unwrap().1.to_owned()
    };
    for port in ["80/tcp", "90/udp", "91/udp"] {
        assert_eq!(number(port, "0.0.0.0"), number(port, "[::]"));
    }
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "bb",
        "-p",
        "9000-9002:80",
        "-p",
        "9100-9101:90-91",
        "busybox",
        "sleep",
        "1000",
    ]);
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "cc",
        "-p",
        "9000-9002:80",
        "busybox",
        "sleep",
        "1000",
    ]);
    sandbox
        .aril(&["port", "bb", "80"])
        .says("0.0.0.0:9000\n[::]:9000");
    sandbox
        .aril(&["port", "bb", "91/tcp"])
        .says("0.0.0.0:9101\n[::]:9101");
    sandbox
        .aril(&["port", "cc", "80"])
        .says("0.0.0.0:9001\n[::]:9001");
    sandbox
        .aril(&["port", "cc", "81"])
        .fails(1, "No public port '81' published for cc");
    sandbox
        .aril(&["ps", "--filter", "name=bb", "--format", "{{.Ports}}"])
        .says("0.0.0.0:9000->80/tcp, [::]:9000->80/tcp, 0.0.0.0:9100->90/tcp, [::]:9100->90/tcp, 0.0.0.0:9101->91/tcp, [::]:9101->91/tcp");
}

#[test]
fn a_port_can_be_left_to_the_proxy_so_that_the_hosts_firewall_sees_it() {
    let lan = Lan::new();
    lan.sandbox
        .ok(&["network", "create", "-o", "aril.publish=proxy", "guarded"]);
    lan.serve("aa", &["--network", "guarded", "-p", "8080:80"]);
    let gateway = lan
        .sandbox
        .inspect("aa", "{{.NetworkSettings.Networks.guarded.Gateway}}");
    assert_eq!(lan.ask_from_outside("10.99.0.1:8080"), Some(gateway));
    lan.sandbox.shell("nft add table inet admin; nft 'add chain inet admin input { type filter hook input priority 0; }'; nft add rule inet admin input iifname up0 tcp dport 8080 drop");
    assert!(lan.is_closed_outside("10.99.0.1:8080"));
    lan.sandbox.shell("nft delete table inet admin");
    assert!(lan.ask_from_outside("10.99.0.1:8080").is_some());
}

/// The published ports of a container, one a line.
fn shown(lan: &Lan, name: &str) -> String {
    let ports = lan.sandbox.ok(&["port", name]);
    let mut lines: Vec<&str> = ports.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn update(lan: &Lan, changes: &[&str]) {
    lan.sandbox.ok(&[&["update"], changes, &["aa"]].concat());
}

#[test]
fn ports_are_published_while_it_runs() {
    let lan = Lan::new();
    lan.serve("aa", &["-p", "8080:80"]);
    let more = [
        "--publish-add",
        "8081:80",
        "--publish-add",
        "127.0.0.1:8082:80",
    ];
    update(&lan, &more);
    // From outside, whose address is kept; from the machine; and itself by the proxy.
    for port in ["8080", "8081"] {
        let server = format!("10.99.0.1:{port}");
        assert_eq!(lan.ask_from_outside(&server), Some("10.99.0.2".to_owned()));
        assert_eq!(lan.ask_from("aa", &server), "172.17.0.1");
        assert!(lan.ask(&format!("[::1]:{port}")).is_some());
    }
    assert!(lan.ask("127.0.0.1:8082").is_some());
    assert!(lan.is_closed_outside("10.99.0.1:8082"));
    let ports = "80/tcp -> 0.0.0.0:8080\n80/tcp -> 0.0.0.0:8081\n80/tcp -> 127.0.0.1:8082\n\
                 80/tcp -> [::]:8080\n80/tcp -> [::]:8081";
    assert_eq!(shown(&lan, "aa"), ports);
    let format = "{{.HostConfig.PortBindings}}";
    let sandbox = &lan.sandbox;
    assert!(sandbox.inspect("aa", format).contains("127.0.0.1 8082"));
    let listed = sandbox.ok(&["ps", "--format", "{{.Ports}}"]);
    assert!(listed.contains("127.0.0.1:8082->80/tcp"), "{listed}");
    // A port that somebody else has changes nothing.
    lan.serve("bb", &["-p", "8088:80"]);
    let _other = sandbox.inside(|| TcpListener::bind("0.0.0.0:8089").unwrap());
    for (taken, text) in [
        (
            "8088:80",
            "Bind for 0.0.0.0:8088 failed: port is already allocated",
        ),
        ("8089:80", "address already in use"),
    ] {
        let change = ["--publish-rm", "80", "--publish-add", "8090:80"];
        let args = [&["update"], &change[..], &["--publish-add", taken, "aa"]].concat();
        sandbox.aril(&args).fails(1, text);
        assert_eq!(shown(&lan, "aa"), ports);
        assert!(!sandbox.inspect("aa", format).contains("8090"));
        assert!(lan.ask("10.99.0.1:8080").is_some());
        assert!(lan.is_closed_outside("10.99.0.1:8090"));
    }
    sandbox.ok(&["create", "--name", "host", "--network", "host", "busybox"]);
    let ran = sandbox.aril(&["update", "--publish-add", "8085:80", "host"]);
    let discarded = "Published ports are discarded when using host network mode";
    assert!(ran.err.contains(discarded), "{ran:?}");
}

#[test]
fn ports_are_taken_back_while_it_runs() {
    let lan = Lan::new();
    lan.serve("aa", &["-p", "8080:80", "-p", "8081:80", "-p", "8082:80"]);
    // One of them; and the number of another for another port of the container in the same step.
    let others = ["--publish-rm", "published=8082,target=80"];
    let moved = ["--publish-rm", "8080:80", "--publish-add", "8080:81"];
    update(&lan, &[&others[..], &moved].concat());
    assert!(lan.is_closed_outside("10.99.0.1:8082"));
    assert!(lan.ask("10.99.0.1:8080").is_none());
    let outside = Some("10.99.0.2".to_owned());
    assert_eq!(lan.ask_from_outside("10.99.0.1:8081"), outside);
    let ports =
        "80/tcp -> 0.0.0.0:8081\n80/tcp -> [::]:8081\n81/tcp -> 0.0.0.0:8080\n81/tcp -> [::]:8080";
    assert_eq!(shown(&lan, "aa"), ports);
    // Datagrams.
    update(&lan, &["--publish-add", "8086:81/udp"]);
    let server = EchoServer::start(&lan, "aa", 81);
    let asked = || lan.on_router(|| echo("10.99.0.1:8086"));
    assert_eq!(asked(), Some("hello".to_owned()));
    update(&lan, &["--publish-rm", "81/udp"]);
    assert_eq!(asked(), None);
    drop(server);
    // All of them; then others may have them, and they stay away after a restart.
    update(&lan, &["--publish-rm", "80", "--publish-rm", "81"]);
    assert_eq!(shown(&lan, "aa"), "");
    for port in ["8080", "8081"] {
        assert!(lan.is_closed_outside(&format!("10.99.0.1:{port}")));
    }
    lan.serve("cc", &["-p", "8080:80"]);
    update(&lan, &["--publish-add", "8083:80"]);
    lan.sandbox.ok(&["restart", "-t", "0", "aa"]);
    let one = "80/tcp -> 0.0.0.0:8083\n80/tcp -> [::]:8083";
    assert_eq!(shown(&lan, "aa"), one);
    // Stopped: at the next start.
    lan.sandbox.ok(&["stop", "-t", "0", "aa"]);
    update(&lan, &["--publish-add", "8084:80"]);
    assert_eq!(shown(&lan, "aa"), "");
    lan.sandbox.ok(&["start", "aa"]);
    assert!(shown(&lan, "aa").contains("80/tcp -> 0.0.0.0:8084"));
}
