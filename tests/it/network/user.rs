//! Networks of users: addresses, names, isolation, and containers that come and go.

use super::Lan;
use crate::sandbox::{Sandbox, wait_until};

/// Makes the network `one`.
fn make_one(sandbox: &Sandbox, range: &str) -> String {
    let mut args = vec![
        "network",
        "create",
        "--label",
        "a=b",
        "--subnet",
        "10.77.0.0/24",
    ];
    args.extend(["--gateway", "10.77.0.254", "--ip-range", range, "one"]);
    sandbox.ok(&args)
}

#[test]
fn networks_are_made_shown_and_removed() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    let id = make_one(sandbox, "10.77.0.128/25");
    assert_eq!(id.len(), 64);
    let network = |args: &[&str]| sandbox.aril(&[&["network"], args].concat());
    network(&["create", "one"]).fails(1, "network with name one already exists");
    let overlap = "Pool overlaps with other one on this address space";
    network(&["create", "--subnet", "10.77.0.0/16", "two"]).fails(1, overlap);
    let format = "{{.Driver}} {{(index .IPAM.Config 0).Subnet}} {{(index .IPAM.Config 0).Gateway}} {{.Labels}}";
    let shown = "bridge 10.77.0.0/24 10.77.0.254 map[a:b]";
    network(&["inspect", "-f", format, &id[..12]]).says(shown);
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "aa",
        "--network",
        "one",
        "busybox",
        "sleep",
        "1000",
    ]);
    let format = "{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}";
    network(&["inspect", "-f", format, "one"]).says("aa 10.77.0.128/24");
    network(&["rm", "one"]).fails(1, "network one has active endpoints (name:\"aa\" id:");
    sandbox.ok(&["rm", "-f", "aa"]);
    network(&["ls", "--filter", "type=custom", "--format", "{{.Name}}"]).says("one");
    network(&["prune", "-f"]).says("Deleted Networks:\none");
    network(&["inspect", "one"]).fails(1, "network one not found");
    network(&["rm", "bridge"]).fails(1, "bridge is a pre-defined network and cannot be removed");
    let missing = "failed to set up container networking: network one not found";
    sandbox
        .aril(&["run", "--rm", "--network", "one", "busybox", "true"])
        .fails(125, missing);
    assert_eq!(sandbox.shell("ip -br link | grep -c ^br- || true"), "0");
}

#[test]
fn addresses_can_be_chosen_where_the_subnet_was() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    make_one(sandbox, "10.77.0.128/25");
    let sleep = ["busybox", "sleep", "1000"];
    let run = |args: &[&str]| sandbox.aril(&[&["run", "-d"], args, &sleep].concat());
    run(&["--name", "aa", "--network", "one"]).ok();
    let mac = "02:42:0a:4d:00:99";
    run(&[
        "--name",
        "bb",
        "--network",
        "one",
        "--ip",
        "10.77.0.9",
        "--mac-address",
        mac,
    ])
    .ok();
    let address =
        "{{.NetworkSettings.Networks.one.IPAddress}} {{.NetworkSettings.Networks.one.MacAddress}}";
    assert_eq!(
        sandbox.inspect("aa", address),
        "10.77.0.128 02:42:0a:4d:00:80"
    );
    assert_eq!(sandbox.inspect("bb", address), format!("10.77.0.9 {mac}"));
    sandbox.ok(&["exec", "aa", "ping", "-c1", "-W5", "10.77.0.9"]);
    run(&["--network", "one", "--ip", "10.77.0.9"]).fails(125, "Address already in use");
    let outside = "no configured subnet or ip-range contain the IP address 10.78.0.9";
    run(&["--network", "one", "--ip", "10.78.0.9"]).fails(125, outside);
    let default = "user specified IP address is supported on user defined networks only";
    run(&["--ip", "172.17.0.9"]).fails(125, default);
    sandbox.ok(&["network", "create", "two"]);
    let chosen = "supported only when connecting to networks with user configured subnets";
    run(&["--network", "two", "--ip", "172.18.0.9"]).fails(125, chosen);
}

#[test]
fn containers_find_each_other_by_name() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    sandbox.ok(&["network", "create", "net"]);
    lan.serve(
        "web",
        &["--network", "net", "--network-alias", "alias", "-h", "host"],
    );
    let id = sandbox.inspect("web", "{{.Id}}");
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "me",
        "--network",
        "net",
        "--link",
        "web:private",
        "busybox",
        "sleep",
        "1000",
    ]);
    let me = sandbox.inspect("me", "{{.NetworkSettings.Networks.net.IPAddress}}");
    for name in [
        "web",
        "WEB",
        "alias",
        "host",
        "web.net",
        "private",
        &id[..12],
    ] {
        assert_eq!(lan.ask_from("me", name), me, "{name}");
    }
    let shown = sandbox.ok(&["exec", "me", "cat", "/etc/resolv.conf"]);
    assert!(
        shown.lines().any(|line| line == "nameserver 127.0.0.11"),
        "{shown}"
    );
    // The very next command sees a new name, and no dead one.
    lan.serve("late", &["--network", "net"]);
    assert_eq!(lan.ask_from("me", "late"), me);
    sandbox.ok(&["rename", "late", "later"]);
    assert_eq!(lan.ask_from("me", "later"), me);
    sandbox
        .aril(&["exec", "me", "wget", "-qO-", "http://late/"])
        .fails(1, "bad address");
    sandbox.ok(&["rm", "-f", "later"]);
    sandbox
        .aril(&["exec", "me", "wget", "-qO-", "http://later/"])
        .fails(1, "bad address");
}

#[test]
fn networks_are_isolated() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    for (name, option) in [
        ("one", "--internal=false"),
        ("two", "--internal=false"),
        ("closed", "--internal"),
    ] {
        sandbox.ok(&["network", "create", option, name]);
    }
    for name in ["one", "two", "closed"] {
        lan.serve(name, &["--network", name]);
    }
    let address = |name: &str| {
        sandbox.inspect(
            name,
            &format!("{{{{.NetworkSettings.Networks.{name}.IPAddress}}}}"),
        )
    };
    let reaches =
        |from: &str, to: &str| sandbox.aril(&["exec", from, "ping", "-c1", "-W1", to]).code == 0;
    assert!(!reaches("one", &address("two")));
    assert!(!reaches("one", &address("closed")));
    assert!(!reaches("closed", &address("one")));
    assert!(reaches("one", "10.99.0.2"));
    assert!(!reaches("closed", "10.99.0.2"));
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "peer",
        "--network",
        "closed",
        "busybox",
        "sleep",
        "1000",
    ]);
    assert!(reaches("peer", &address("closed")));
    sandbox
        .aril(&["exec", "closed", "ip", "route"])
        .ok()
        .lines()
        .for_each(|line| assert!(!line.starts_with("default")));
}

#[test]
fn a_running_container_joins_and_leaves_networks() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    sandbox.ok(&["network", "create", "one"]);
    sandbox.ok(&["network", "create", "--subnet", "10.78.0.0/24", "two"]);
    lan.serve("aa", &["--network", "one", "-p", "8080:80"]);
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "bb",
        "--network",
        "two",
        "busybox",
        "sleep",
        "1000",
    ]);
    sandbox.ok(&[
        "network",
        "connect",
        "--ip",
        "10.78.0.77",
        "--alias",
        "nick",
        "two",
        "aa",
    ]);
    sandbox
        .aril(&["exec", "aa", "ls", "/sys/class/net"])
        .says("eth0\neth1\nlo");
    let b = sandbox.inspect("bb", "{{.NetworkSettings.Networks.two.IPAddress}}");
    assert_eq!(lan.ask_from("bb", "nick"), b);
    let hosts = sandbox.ok(&["exec", "aa", "cat", "/etc/hosts"]);
    assert!(hosts.contains("10.78.0.77\t"), "{hosts}");
    sandbox
        .aril(&["network", "connect", "two", "aa"])
        .fails(1, "endpoint with name aa already exists in network two");
    // The port leads to the network that is left.
    assert_eq!(
        lan.ask_from_outside("10.99.0.1:8080").as_deref(),
        Some("10.99.0.2")
    );
    sandbox.ok(&["network", "disconnect", "one", "aa"]);
    assert_eq!(
        lan.ask_from_outside("10.99.0.1:8080").as_deref(),
        Some("10.99.0.2")
    );
    sandbox
        .aril(&["network", "disconnect", "one", "aa"])
        .fails(1, "is not connected to network one");
    let hosts = sandbox.ok(&["exec", "aa", "cat", "/etc/hosts"]);
    assert_eq!(hosts.lines().count(), 7, "{hosts}");
    // What was connected stays so over a restart.
    sandbox.ok(&["restart", "-t", "0", "aa"]);
    assert_eq!(
        sandbox.inspect("aa", "{{.NetworkSettings.Networks.two.IPAddress}}"),
        "10.78.0.77"
    );
    sandbox.ok(&["network", "disconnect", "two", "aa"]);
    sandbox
        .aril(&["exec", "aa", "ls", "/sys/class/net"])
        .says("lo");
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "hh",
        "--network",
        "host",
        "busybox",
        "sleep",
        "1000",
    ]);
    sandbox
        .aril(&["network", "connect", "one", "hh"])
        .fails(1, "container sharing network namespace with another container or host cannot be connected to any other network");
}

#[test]
fn a_network_can_have_ipv6() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    sandbox.ok(&["network", "create", "--ipv6", "six"]);
    lan.serve("aa", &["--network", "six", "-p", "8080:80"]);
    let address = sandbox.inspect("aa", "{{.NetworkSettings.Networks.six.GlobalIPv6Address}}");
    assert!(address.starts_with("fd"), "{address}");
    wait_until("the address is known", || {
        lan.ask(&format!("[{address}]:80")).is_some()
    });
    assert_eq!(
        lan.ask_from_outside("[fd99::1]:8080").as_deref(),
        Some("fd99::2")
    );
    sandbox.ok(&["exec", "aa", "ping", "-6", "-c1", "-W5", "fd99::2"]);
}

#[test]
fn one_hundred_networks_do_not_exhaust_the_pools() {
    let lan = Lan::new();
    for number in 0..40 {
        lan.sandbox
            .ok(&["network", "create", &format!("n{number}")]);
    }
    lan.sandbox
        .aril(&[
            "network",
            "inspect",
            "-f",
            "{{(index .IPAM.Config 0).Subnet}}",
            "n29",
            "n30",
            "n39",
        ])
        .says("192.168.240.0/20\n10.128.0.0/24\n10.128.9.0/24");
    lan.sandbox
        .aril(&[
            "run",
            "--rm",
            "--network",
            "n39",
            "busybox",
            "ping",
            "-c1",
            "-W5",
            "10.99.0.2",
        ])
        .ok();
}

#[test]
fn interfaces_are_called_as_asked() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    let prefix = "com.docker.network.container_iface_prefix=lan";
    sandbox.ok(&["network", "create", "-o", prefix, "one"]);
    sandbox.ok(&["network", "create", "two"]);
    let name = "driver-opt=com.docker.network.endpoint.ifname=up";
    let networks = format!("--network one --network name=two,{name}");
    let run: Vec<&str> = ["run", "-d", "--name", "aa"]
        .into_iter()
        .chain(networks.split(' '))
        .collect();
    sandbox.ok(&[&run[..], &["busybox", "sleep", "1000"]].concat());
    let names = ["exec", "aa", "ls", "/sys/class/net"];
    assert_eq!(sandbox.ok(&names), "lan0\nlo\nup");
    let add = |name: &str| {
        let option = format!("com.docker.network.endpoint.ifname={name}");
        sandbox.aril(&[
            "network",
            "connect",
            "--driver-opt",
            &option,
            "bridge",
            "aa",
        ])
    };
    add("up").fails(1, "the container has an interface up already");
    add("a/b").fails(1, "\"a/b\" cannot be the name of an interface");
    add("more").ok();
    sandbox.ok(&["network", "disconnect", "one", "aa"]);
    sandbox.ok(&["network", "connect", "one", "aa"]);
    assert_eq!(sandbox.ok(&names), "lan0\nlo\nmore\nup");
}
