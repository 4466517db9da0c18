//! Many ports, and many starts one after the other: nothing becomes slow, and nothing stays.

use std::time::{Duration, Instant};

use super::Lan;
use super::place::Echo;
use super::place::Place::{Container, Host, Router};
use crate::sandbox::wait_until;

/// How often a container starts and ends; more by the environment.
const CYCLES: usize = 60;
const CYCLES_VARIABLE: &str = "ARIL_TEST_CYCLES";

#[test]
fn a_thousand_ports_are_published_by_one_option() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    let began = Instant::now();
    lan.sleeper(
        "wide",
        &[
            "-p",
            "20000-20999:20000-20999",
            "-p",
            "20000-20999:20000-20999/udp",
        ],
    );
    let took = began.elapsed();
    println!("  4000 sockets in {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    for port in [20000, 20500, 20999] {
        let _echo = Echo::new(&lan, Container("wide"), port);
        let outside = format!("10.99.0.1:{port}");
        assert_eq!(lan.peer(Router, &outside), "10.99.0.2");
        assert_eq!(lan.udp_peer(Router, &outside), "10.99.0.2");
        let own = format!("127.0.0.1:{port}");
        assert_eq!(lan.peer(Host, &own), "172.17.0.1");
        assert_eq!(lan.udp_peer(Host, &own), "172.17.0.1");
    }
    let ports = sandbox.ok(&["port", "wide"]);
    assert_eq!(ports.lines().count(), 4000);
    sandbox.aril(&["ps", "--format", "{{.Ports}}"]).says(
        "0.0.0.0:20000-20999->20000-20999/tcp, 0.0.0.0:20000-20999->20000-20999/udp, \
             [::]:20000-20999->20000-20999/tcp, [::]:20000-20999->20000-20999/udp",
    );
    // Others are refused the whole range for one port of it, and take none.
    sandbox
        .aril(&[
            "run",
            "--rm",
            "-p",
            "19000-20000:9000-10000",
            "busybox",
            "true",
        ])
        .fails(
            125,
            "Bind for 0.0.0.0:20000 failed: port is already allocated",
        );
    assert!(sandbox.inside(|| std::net::TcpListener::bind("0.0.0.0:19000").is_ok()));
    sandbox.ok(&["rm", "-f", "wide"]);
    assert!(sandbox.inside(|| std::net::TcpListener::bind("0.0.0.0:20500").is_ok()));
}

#[test]
fn starts_do_not_become_slower_and_leave_nothing() {
    let cycles = std::env::var(CYCLES_VARIABLE).map_or(CYCLES, |text| text.parse().unwrap());
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    sandbox.ok(&["network", "create", "front"]);
    let options = [
        "--rm",
        "--network",
        "front",
        "-p",
        "8080:80",
        "-p",
        "8080:80/udp",
        "busybox",
        "true",
    ];
    let mut times = Vec::with_capacity(cycles);
    for _ in 0..cycles {
        let began = Instant::now();
        sandbox.ok(&[&["run"], &options[..]].concat());
        times.push(began.elapsed());
    }
    let median = |times: &[Duration]| {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    };
    let third = cycles / 3;
    let (first, last) = (median(&times[..third]), median(&times[cycles - third..]));
    println!("  {cycles} cycles: {first:?} at first, {last:?} at last");
    // The machine may be busy with something else for a while; what grows with each start grows beyond this.
    assert!(
        last < first * 3 + Duration::from_millis(200),
        "{first:?} {last:?}"
    );
    wait_until("no interface is left", || {
        sandbox.shell("ip -br link | grep -c veth || true") == "0"
    });
    assert_eq!(sandbox.shell("nft list tables"), "table inet aril");
    assert_eq!(
        sandbox.shell("nft list table inet aril | grep -c chain"),
        "3"
    );
    let left = sandbox.shell(&format!(
        "find {}/networks/*/leases {}/networks/*/names -mindepth 1 | wc -l",
        sandbox.run_dir().display(),
        sandbox.run_dir().display()
    ));
    assert_eq!(left, "0");
    assert_eq!(
        sandbox.shell("cut -d ' ' -f 1 /proc/net/route | grep -c veth || true"),
        "0"
    );
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
}
