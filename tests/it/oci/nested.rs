//! The runtime inside a container: on hosts that are containers themselves, less is allowed and more is in the way.

use serde_json::{Value, json};

use super::namespaces::open_to_all;
use super::{Sandbox, busybox};
use crate::sandbox::{ARIL, Sandbox as Machine};

/// Makes of the root of `sandbox` one with a runtime and a bundle at /bundle, whose program is `script`.
fn prepare(sandbox: &Sandbox, script: &str, change: impl Fn(&mut Value)) {
    let rootfs = sandbox.rootfs();
    std::fs::copy(env!("CARGO_BIN_EXE_aril"), rootfs.join("bin/aril-oci")).unwrap();
    let inner = rootfs.join("bundle/rootfs");
    for directory in ["bin", "proc", "sys", "dev", "tmp"] {
        std::fs::create_dir_all(inner.join(directory)).unwrap();
    }
    std::fs::create_dir(rootfs.join("run")).unwrap();
    std::fs::copy(busybox(), inner.join("bin/busybox")).unwrap();
    for applet in ["sh", "cat", "echo", "id", "ls", "test", "sleep", "wc"] {
        std::os::unix::fs::symlink("busybox", inner.join("bin").join(applet)).unwrap();
    }
    let mut config = super::config();
    config["process"]["args"] = json!(["sh", "-c", script]);
    change(&mut config);
    std::fs::write(rootfs.join("bundle/config.json"), config.to_string()).unwrap();
}

/// Gives the outer container all that `--privileged` gives.
fn privileged(sandbox: &mut Sandbox) {
    let names = caps::all().into_iter().map(|cap| cap.to_string());
    let all = json!(names.collect::<Vec<_>>());
    let sets = json!({"bounding": all, "effective": all, "permitted": all});
    sandbox
        .set("/process/capabilities", sets)
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]))
        .set("/linux/resources/devices", json!([{"allow": true}]));
    for mount in sandbox.config["mounts"].as_array_mut().unwrap() {
        let options = mount["options"].as_array_mut().unwrap();
        options.retain(|option| option != "ro");
    }
}

const INSIDE: &str = "cd /bundle && aril-oci --root /run/oci";

#[test]
fn it_runs_in_a_privileged_container() {
    let script = format!(
        "{INSIDE} run one; {INSIDE} create two >/dev/null </dev/null && {INSIDE} start two && {INSIDE} exec two echo joined
         {INSIDE} delete --force two; ls /run/oci | wc -l"
    );
    let mut sandbox = Sandbox::new(&script);
    privileged(&mut sandbox);
    prepare(
        &sandbox,
        "echo inner $$; cat /proc/timer_list | wc -c; test -e /started || { echo > /started; exit 0; }; exec sleep 1000",
        |config| {
            config["linux"]["resources"]["pids"] = json!({"limit": 50});
            config["linux"]["sysctl"] = json!({"net.ipv4.ip_unprivileged_port_start": "80"});
        },
    );
    sandbox.run().says("inner 1\n0\njoined\n0");
}

#[test]
fn it_runs_in_a_container_with_a_user_namespace() {
    let script = format!("{INSIDE} run one; ls /run/oci | wc -l");
    let mut sandbox = Sandbox::new(&script);
    privileged(&mut sandbox);
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    sandbox
        .namespace("user", None)
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map);
    prepare(
        &sandbox,
        "echo inner $$; id -u; cat /proc/timer_list | wc -c; echo x > /dev/null && echo null",
        |config| {
            config["linux"]["sysctl"] = json!({"net.ipv4.ip_unprivileged_port_start": "80"});
            config["linux"].as_object_mut().unwrap().remove("resources");
        },
    );
    open_to_all(&sandbox);
    sandbox.run().says("inner 1\n0\n0\nnull\n0");
}

#[test]
fn containers_run_in_a_privileged_container() {
    let machine = Machine::new();
    // overlayfs does not lie on overlayfs: a container that is to have containers needs a volume for them.
    let place = machine.path("place");
    std::fs::create_dir(&place).unwrap();
    std::fs::copy(ARIL, place.join("aril")).unwrap();
    machine.ok(&["save", "-o", "place/saved.tar", "busybox"]);
    let script = "set -e
        export ARIL_ROOT=/place/root ARIL_RUN=/run/aril PATH=/place:$PATH
        aril load -q -i /place/saved.tar >/dev/null
        aril run --rm --network none busybox echo inner
        aril run -d --network none -m 64m --name one busybox sleep 1000 >/dev/null
        aril exec one echo joined
        aril rm -f one >/dev/null
        aril run --rm busybox echo on its bridge";
    let volume = format!("{}:/place", place.display());
    let run = [
        "run",
        "--rm",
        "--privileged",
        "--network",
        "none",
        "-v",
        &volume,
    ];
    let said = machine.ok(&[&run[..], &["busybox", "sh", "-c", script]].concat());
    assert_eq!(said, "inner\njoined\non its bridge");
}

#[test]
fn containers_run_in_a_container_with_a_user_namespace() {
    let script = "set -e
        export ARIL_ROOT=/place/root ARIL_RUN=/run/aril PATH=/place:$PATH
        mkdir /place/root; mount -t tmpfs tmpfs /place/root
        aril load -q -i /place/saved.tar >/dev/null
        aril run --rm --network none busybox echo inner
        aril run -d --network none --name one busybox sleep 1000 >/dev/null
        aril exec one sh -c 'echo joined $(id -u); echo null >/dev/null'
        aril stop -t 0 one >/dev/null; aril start one >/dev/null; aril rm -f one >/dev/null
        aril run --rm busybox echo on its bridge
        aril run --rm --network none -m 64m busybox true 2>&1 | grep -o 'make cgroup.*' | sed 's/ .sys.*: /: /'
        aril ps -aq";
    let mut sandbox = Sandbox::new(script);
    privileged(&mut sandbox);
    super::namespaces::with_users(&mut sandbox);
    let place = sandbox.rootfs().join("place");
    std::fs::create_dir(&place).unwrap();
    std::fs::create_dir(sandbox.rootfs().join("run")).unwrap();
    std::fs::copy(ARIL, place.join("aril")).unwrap();
    let machine = Machine::new();
    let saved = place.join("saved.tar");
    machine.ok(&["save", "-o", saved.to_str().unwrap(), "busybox"]);
    open_to_all(&sandbox);
    sandbox
        .run()
        .says("inner\njoined 0\non its bridge\nmake cgroup: permission denied");
}
