//! What daemon.json makes of networks, and networks without a bridge.

use super::Lan;
use super::place::{Echo, Place};
use crate::sandbox::Sandbox;

/// What a throwaway container says of its network.
fn routes(sandbox: &Sandbox, options: &[&str]) -> String {
    let script = "ip -4 addr show eth0 | grep -o 'inet [0-9./]*'; ip route | grep default; \
                  ip -6 addr show eth0 scope global | grep -o 'inet6 [0-9a-f:/]*'; ip -6 route | grep ^default; \
                  cat /sys/class/net/eth0/mtu; grep -v '^#' /etc/resolv.conf | tr '\\n' ' '";
    let mut args = vec!["run", "--rm"];
    args.extend(options);
    args.extend(["busybox", "sh", "-c", script]);
    sandbox.ok(&args)
}

#[test]
fn the_default_network_is_what_daemon_json_says() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    // What is there before the file says something else is made again, but not while somebody is in it.
    lan.sleeper("old", &[]);
    assert_eq!(lan.address("old"), "172.17.0.2");
    sandbox.configure(
        r#"{"bip": "10.5.0.1/24", "fixed-cidr": "10.5.0.128/25", "default-gateway": "10.5.0.9",
            "ipv6": true, "bip6": "fd05::1/64", "fixed-cidr-v6": "fd05::100/120", "default-gateway-v6": "fd05::9",
            "mtu": 1280, "dns": ["192.0.2.53"], "dns-search": ["example.com"], "dns-opts": ["ndots:3"],
            "host-gateway-ips": ["192.0.2.1"], "icc": false, "ip": "127.0.0.1"}"#,
    );
    let late = sandbox.aril(&["run", "--rm", "busybox", "hostname", "-i"]);
    assert_eq!(late.ok(), "172.17.0.3");
    sandbox.ok(&["rm", "-f", "old"]);
    let shown = routes(sandbox, &[]);
    assert_eq!(
        shown.lines().map(str::trim).collect::<Vec<_>>(),
        [
            "inet 10.5.0.128/24",
            "default via 10.5.0.9 dev eth0",
            "inet6 fd05::100/64",
            "default via fd05::9 dev eth0  metric 1024",
            "1280",
            "nameserver 192.0.2.53 search example.com options ndots:3",
        ],
        "{shown}"
    );
    let hosts = [
        "run",
        "--rm",
        "--add-host",
        "gate:host-gateway",
        "busybox",
        "grep",
        "gate",
        "/etc/hosts",
    ];
    assert_eq!(sandbox.ok(&hosts), "192.0.2.1\tgate");
    // Neighbours do not reach one another, and ports are for the machine alone.
    lan.serve("aa", &["-p", "8080:80"]);
    lan.sleeper("bb", &[]);
    let ping = ["exec", "bb", "ping", "-c1", "-W1", &lan.address("aa")];
    assert_ne!(sandbox.aril(&ping).code, 0);
    assert!(lan.ask("127.0.0.1:8080").is_some());
    assert!(lan.is_closed_outside("10.99.0.1:8080"));
    sandbox
        .aril(&["port", "aa"])
        .says("80/tcp -> 127.0.0.1:8080");
}

#[test]
fn new_networks_get_what_daemon_json_says() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    sandbox.configure(
        r#"{"default-address-pools": [{"base": "10.60.0.0/16", "size": 24}, {"base": "fd60::/48", "size": 64}],
            "default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "1300"}}}"#,
    );
    sandbox.ok(&["network", "create", "--ipv6", "six"]);
    let shown = routes(sandbox, &["--network", "six", "--dns", "192.0.2.53"]);
    let lines: Vec<&str> = shown.lines().map(str::trim).collect();
    // The default network has the first.
    assert_eq!(lines[0], "inet 10.60.1.2/24", "{shown}");
    assert_eq!(lines[2], "inet6 fd60::2/64", "{shown}");
    assert_eq!(lines[4], "1300", "{shown}");
    sandbox.configure(r#"{"bip": "nonsense"}"#);
    sandbox
        .aril(&["run", "--rm", "busybox", "true"])
        .fails(125, "bip is no network");
    sandbox.configure(r#"{"bridge": "br0"}"#);
    sandbox
        .aril(&["run", "--rm", "busybox", "true"])
        .fails(125, "bridge cannot be fulfilled");
}

#[test]
fn without_rules_the_firewall_is_the_administrators() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    sandbox.configure(r#"{"iptables": false, "ip-forward": false}"#);
    lan.serve("aa", &["-p", "8080:80"]);
    assert_eq!(sandbox.shell("nft list tables"), "");
    assert_eq!(
        sandbox.shell("cat /proc/sys/net/ipv4/conf/aril0/forwarding"),
        "0"
    );
    // The proxy leads to it all the same, and shows as the host.
    assert_eq!(
        lan.ask_from_outside("10.99.0.1:8080").as_deref(),
        Some("172.17.0.1")
    );
    let out = ["exec", "aa", "ping", "-c1", "-W1", "10.99.0.2"];
    assert_ne!(sandbox.aril(&out).code, 0);
    // What the administrator switches on works.
    sandbox.shell(
        "for i in aril0 up0; do echo 1 > /proc/sys/net/ipv4/conf/$i/forwarding; done; \
         nft 'table ip mine { chain out { type nat hook postrouting priority 100; oifname up0 masquerade; }; }'",
    );
    sandbox.ok(&["exec", "aa", "ping", "-c1", "-W5", "10.99.0.2"]);
    sandbox.shell("nft delete table ip mine");
}

#[test]
fn a_macvlan_network_is_that_of_its_parent() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    let create = |driver: &str, options: &[&str], name: &str| {
        let args = [&["network", "create", "-d", driver], options, &[name]].concat();
        sandbox.aril(&args)
    };
    let subnet = ["--subnet", "10.99.0.0/24", "--gateway", "10.99.0.2"];
    create("macvlan", &subnet, "lan").fails(1, "macvlan needs the interface to go out by");
    let missing = [&subnet[..], &["-o", "parent=nosuch"]].concat();
    create("macvlan", &missing, "lan").fails(1, "there is no interface nosuch");
    let mode = [&subnet[..], &["-o", "parent=up0", "-o", "macvlan_mode=x"]].concat();
    create("macvlan", &mode, "lan").fails(1, "macvlan_mode cannot be \"x\"");
    let good = [
        &subnet[..],
        &["--ip-range", "10.99.0.64/26", "-o", "parent=up0"],
    ]
    .concat();
    create("macvlan", &good, "lan").ok();
    create("macvlan", &good, "again").fails(1, "Pool overlaps");
    lan.sleeper("aa", &["--network", "lan", "-p", "8080:80"]);
    lan.sleeper("bb", &["--network", "lan", "--ip", "10.99.0.99"]);
    assert_eq!(lan.address_in("aa", "lan"), "10.99.0.64");
    // It is a machine of the router's network, without anybody's translation, under its name for its neighbours.
    let _echo = Echo::new(&lan, Place::Container("aa"), 7000);
    assert_eq!(lan.peer(Place::Router, "10.99.0.64:7000"), "10.99.0.2");
    assert_eq!(
        lan.peer(Place::Container("bb"), "10.99.0.64:7000"),
        "10.99.0.99"
    );
    sandbox.ok(&["exec", "bb", "ping", "-c1", "-W5", "aa"]);
    sandbox.ok(&["exec", "bb", "ping", "-c1", "-W5", "10.99.0.2"]);
    let shown = sandbox.ok(&[
        "network",
        "inspect",
        "-f",
        "{{.Driver}} {{.Options}}",
        "lan",
    ]);
    assert_eq!(shown, "macvlan map[parent:up0]");
    sandbox.ok(&["rm", "-f", "aa", "bb"]);
    // The kernel says whether it has the other kind.
    let has =
        sandbox.shell("ip link add x0 type ipvlan 2>&1 | grep -c 'Unknown device type' || true");
    let other = ["-o", "parent=lo", "--subnet", "10.98.0.0/24"];
    if has == "0" {
        create("ipvlan", &other, "flat").ok();
        sandbox.ok(&["network", "rm", "flat"]);
    } else {
        create("ipvlan", &other, "flat").fails(1, "this kernel has no ipvlan");
    }
    sandbox.ok(&["network", "rm", "lan"]);
}
