//! Devices of the host that move into a container. Each test has a host of its own: a network namespace.

use serde_json::json;

use super::Sandbox;
use super::namespaces::{open_to_all, with_users};

/// A device with addresses, of which those of the link stay behind.
const DEVICE: &str = "ip link add dev0 type veth peer name peer0 && ip addr add 192.0.2.7/24 dev dev0 &&
    ip addr add 169.254.7.7/16 scope link dev dev0 && ip addr add 2001:db8::7/64 dev dev0 nodad && ip link set peer0 up &&";

const SHOW: &str = "busybox ip -o addr show scope global | while read -r n name family address rest; do echo $name $address; done
    for name in $(ls /sys/class/net); do echo $name $(($(cat /sys/class/net/$name/flags) & 1)); done | grep -v ^lo";

fn sandbox(script: &str, devices: serde_json::Value) -> Sandbox {
    let mut sandbox = Sandbox::new(script);
    sandbox.config["linux"]["netDevices"] = devices;
    sandbox
}

#[test]
fn a_device_moves_with_its_addresses() {
    sandbox(SHOW, json!({"dev0": {}}))
        .run_by(&["unshare", "-n"], DEVICE, "")
        .says("dev0 192.0.2.7/24\ndev0 2001:db8::7/64\ndev0 1");
}

#[test]
fn a_device_gets_another_name() {
    let mut sandbox = sandbox(
        SHOW,
        json!({"dev0": {"name": "net%d"}, "peer0": {"name": "other"}}),
    );
    sandbox
        .run_by(&["unshare", "-n"], DEVICE, "")
        .says("net0 192.0.2.7/24\nnet0 2001:db8::7/64\nnet0 1\nother 1");
}

#[test]
fn a_device_moves_into_a_user_namespace() {
    let mut sandbox = sandbox(SHOW, json!({"dev0": {"name": "eth0"}}));
    with_users(&mut sandbox);
    open_to_all(&sandbox);
    sandbox
        .run_by(&["unshare", "-n"], DEVICE, "")
        .says("eth0 192.0.2.7/24\neth0 2001:db8::7/64\neth0 1");
}

#[test]
fn hooks_find_it_in_the_container() {
    let mut sandbox = sandbox("true", json!({"dev0": {"name": "eth0"}}));
    let said = sandbox.dir.join("said");
    let list = "ip -o link | cut -d: -f2 | cut -d@ -f1";
    let script = format!("{list} > {}", said.display());
    sandbox.config["hooks"]["createRuntime"] =
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}]);
    sandbox.run_by(&["unshare", "-n"], DEVICE, "").ok();
    assert_eq!(std::fs::read_to_string(said).unwrap(), " lo\n peer0\n");
}

#[test]
fn what_cannot_move_is_named() {
    let fails = |devices, prelude: &str, text: &str| {
        let mut sandbox = sandbox("echo ran", devices);
        sandbox
            .run_by(&["unshare", "-n"], prelude, "")
            .fails(1, text);
    };
    fails(
        json!({"dev9": {}}),
        "",
        "there is no network device \"dev9\" on the host",
    );
    fails(
        json!({"dev0": {"name": "lo"}}),
        DEVICE,
        "network device \"dev0\" cannot be called \"lo\" in the container: there is one of that name",
    );
    fails(
        json!({"lo": {"name": "lo1"}}),
        "",
        "move network device \"lo\" into the container",
    );
    fails(
        json!({"a/b": {}}),
        "",
        "invalid network device name \"a/b\"",
    );
    let mut sandbox = sandbox("echo ran", json!({"dev0": {}}));
    sandbox.without_namespace("network");
    sandbox.run_by(&["unshare", "-n"], DEVICE, "").fails(
        1,
        "network devices cannot be moved into the host's network namespace",
    );
}
