//! Crashes, crowds, and other people's firewalls.

use std::collections::BTreeSet;

use rustix::process::{Signal, kill_process};

use super::Lan;
use crate::sandbox::wait_until;

const CROWD: usize = 50;

/// Kills the monitor of a container.
fn kill_monitor(lan: &Lan, name: &str) {
    let id = lan.sandbox.inspect(name, "{{.Id}}");
    let monitor = lan.sandbox.monitor(name);
    let cmdline = format!("/proc/{}/cmdline", monitor.as_raw_nonzero());
    let arguments = std::fs::read_to_string(cmdline).unwrap();
    assert!(
        arguments.contains(&id),
        "{arguments:?} is no monitor of {id}"
    );
    kill_process(monitor, Signal::KILL).unwrap();
}

#[test]
fn a_killed_monitor_frees_everything() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    sandbox.ok(&["network", "create", "net"]);
    lan.serve("aa", &["--network", "net", "-p", "8080:80"]);
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "me",
        "--network",
        "net",
        "busybox",
        "sleep",
        "1000",
    ]);
    let address = sandbox.inspect("aa", "{{.NetworkSettings.Networks.net.IPAddress}}");
    kill_monitor(&lan, "aa");
    // Address, port, rules and name, without anybody having looked at the container since.
    wait_until("the name is gone", || {
        sandbox
            .aril(&["exec", "me", "wget", "-qO-", "http://aa/"])
            .err
            .contains("bad address")
    });
    lan.serve("bb", &["--network", "net", "-p", "8080:80"]);
    assert_eq!(
        sandbox.inspect("bb", "{{.NetworkSettings.Networks.net.IPAddress}}"),
        address
    );
    assert_eq!(
        lan.ask_from_outside("10.99.0.1:8080").as_deref(),
        Some("10.99.0.2")
    );
    assert_eq!(sandbox.shell("nft list tables | grep -c aril-"), "1");
}

#[test]
fn a_crowd_gets_an_address_each() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    std::thread::scope(|scope| {
        for number in 0..CROWD {
            let name = format!("c{number}");
            scope.spawn(move || {
                sandbox.ok(&[
                    "run", "-d", "--name", &name, "-p", "80", "busybox", "httpd", "-f", "-p", "80",
                ])
            });
        }
    });
    let names: Vec<String> = (0..CROWD).map(|number| format!("c{number}")).collect();
    let addresses: BTreeSet<String> = names.iter().map(|name| lan.address(name)).collect();
    assert_eq!(addresses.len(), CROWD);
    for name in &names {
        let port = sandbox.ok(&["port", name, "80"]);
        let port = port
            .lines()
            .next()
            .unwrap()
            .rsplit_once(':')
            .unwrap()
            .1
            .to_owned();
        wait_until("it is reached", || {
            lan.on_router(|| std::net::TcpStream::connect(format!("10.99.0.1:{port}")).is_ok())
        });
    }
    let mut args = vec!["rm", "-f"];
    args.extend(names.iter().map(String::as_str));
    sandbox.ok(&args);
    wait_until("nothing is left", || {
        sandbox.shell("ip -br link | grep -c veth || true") == "0"
    });
    assert_eq!(sandbox.shell("nft list tables"), "table inet aril");
    assert_eq!(
        std::fs::read_dir(sandbox.run_dir().join("networks"))
            .unwrap()
            .map(|network| {
                std::fs::read_dir(network.unwrap().path().join("leases"))
                    .unwrap()
                    .count()
            })
            .sum::<usize>(),
        0
    );
}

#[test]
fn rules_heal_after_somebody_flushed_them() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    lan.serve("aa", &["-p", "8080:80"]);
    sandbox.shell("nft flush ruleset");
    assert_eq!(
        lan.ask_from_outside("10.99.0.1:8080").as_deref(),
        Some("10.99.0.2")
    );
    sandbox.ok(&["run", "--rm", "busybox", "ping", "-c1", "-W5", "10.99.0.2"]);
    sandbox.shell("nft delete table inet aril; ip link delete aril0");
    sandbox.ok(&["run", "--rm", "busybox", "ping", "-c1", "-W5", "10.99.0.2"]);
}

#[test]
fn a_firewall_that_drops_what_is_forwarded_lets_containers_pass() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    // It may come when containers run already: with the next start, they pass too.
    lan.serve("aa", &["-p", "8080:80"]);
    sandbox.shell("iptables-nft -P FORWARD DROP");
    assert!(lan.is_closed_outside("10.99.0.1:8080"));
    sandbox.ok(&["run", "--rm", "busybox", "true"]);
    assert_eq!(
        lan.ask_from_outside("10.99.0.1:8080").as_deref(),
        Some("10.99.0.2")
    );
    sandbox.ok(&["exec", "aa", "ping", "-c1", "-W5", "10.99.0.2"]);
    let rules = sandbox.shell("iptables-nft -S FORWARD | sort");
    assert_eq!(
        rules,
        "-A FORWARD -i aril0 -j ACCEPT\n-A FORWARD -o aril0 -j ACCEPT\n-P FORWARD DROP"
    );
    sandbox.ok(&[
        "network",
        "create",
        "-o",
        "com.docker.network.bridge.name=mine",
        "net",
    ]);
    sandbox.ok(&[
        "run",
        "--rm",
        "--network",
        "net",
        "busybox",
        "ping",
        "-c1",
        "-W5",
        "10.99.0.2",
    ]);
    sandbox.ok(&["network", "rm", "net"]);
    assert!(!sandbox.shell("iptables-nft -S FORWARD").contains("mine"));
    sandbox.shell(
        "iptables-nft -P FORWARD ACCEPT; iptables-nft -F FORWARD; nft delete table ip filter",
    );
}

#[test]
fn who_gets_an_address_again_is_not_taken_for_the_last_one() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    // The last one's network lives on for some time after it is gone, with the same address, and would refuse.
    for round in 0..10 {
        let name = format!("web{round}");
        lan.serve(&name, &["-p", "8080:80"]);
        assert_eq!(lan.address(&name), "172.17.0.2");
        for server in ["127.0.0.1:8080", "172.17.0.2:80"] {
            assert_eq!(
                lan.ask(server).as_deref(),
                Some("172.17.0.1"),
                "{round}: {server}"
            );
        }
        sandbox.ok(&["stop", "-t", "0", &name]);
        let left = sandbox
            .shell("bridge link show; bridge fdb show br aril0 | grep 02:42:ac:11:00:02 || true");
        assert!(
            !left.contains("forwarding") && !left.contains("02:42:ac:11"),
            "{round}: {left}"
        );
    }
}
