//! Namespaces: new ones, shared ones, joined ones; user namespaces, clocks, kernel parameters.

use std::process::{Command, Stdio};

use super::{Helper, Sandbox};
use serde_json::json;

const KINDS: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
];

fn own(name: &str) -> String {
    std::fs::read_link(format!("/proc/self/ns/{name}"))
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned()
}

/// A process in new namespaces that lives as long as it is held.
fn elsewhere(flags: &[&str]) -> Helper {
    let child = Command::new("unshare")
        .args(flags)
        .args(["sh", "-c", "echo; exec sleep 1000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut helper = Helper(child);
    let mut output = helper.0.stdout.take().unwrap();
    std::io::Read::read_exact(&mut output, &mut [0]).unwrap();
    helper
}

#[test]
fn namespaces_are_new_unless_shared() {
    let mut sandbox = Sandbox::new(
        "for n in pid net ipc uts mnt cgroup user; do readlink /proc/self/ns/$n; done",
    );
    let out = sandbox.run().ok();
    let inside: Vec<&str> = out.lines().collect();
    for ((kind, name), inside) in KINDS.iter().zip(&inside) {
        assert_ne!(*inside, own(name), "{kind}");
    }
    assert_eq!(inside[6], own("user"));
    for kind in ["pid", "network", "ipc", "uts", "cgroup"] {
        sandbox.without_namespace(kind);
    }
    sandbox.set("/hostname", json!(""));
    let out = sandbox.run().ok();
    for ((kind, name), inside) in KINDS.iter().zip(out.lines()) {
        assert_eq!(inside == own(name), *kind != "mount", "{kind}");
    }
}

#[test]
fn the_first_process_is_one_and_loopback_is_up() {
    let mut sandbox = Sandbox::new(
        "echo $$; cat /sys/class/net/lo/operstate /sys/class/net/lo/flags; ls /sys/class/net",
    );
    sandbox.run().says("1\nunknown\n0x9\nlo");
}

#[test]
fn namespaces_are_joined_by_their_files() {
    let helper = elsewhere(&[
        "--net",
        "--ipc",
        "--uts",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    let children = format!("/proc/{}/task/{}/children", helper.pid(), helper.pid());
    let pid = std::fs::read_to_string(children).unwrap().trim().to_owned();
    let link = |name: &str| {
        std::fs::read_link(format!("/proc/{pid}/ns/{name}"))
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    let mut sandbox = Sandbox::new(
        "for n in net ipc uts pid; do readlink /proc/self/ns/$n; done; test $$ -gt 1 && echo not first",
    );
    for (kind, name) in [
        ("network", "net"),
        ("ipc", "ipc"),
        ("uts", "uts"),
        ("pid", "pid"),
    ] {
        sandbox.namespace(kind, Some(&format!("/proc/{pid}/ns/{name}")));
    }
    sandbox.set("/hostname", json!(""));
    let expected = format!(
        "{}\n{}\n{}\n{}\nnot first",
        link("net"),
        link("ipc"),
        link("uts"),
        link("pid")
    );
    sandbox.run().says(&expected);
    sandbox
        .namespace("network", Some("/no/such/ns"))
        .run()
        .fails(1, "open namespace /no/such/ns: no such file");
    sandbox
        .namespace("network", Some(&format!("/proc/{pid}/ns/uts")))
        .run()
        .fails(1, "join the net namespace");
}

#[test]
fn two_containers_can_share_namespaces() {
    let mut first = Sandbox::new("exec sleep 1000");
    let id = first.start("pod");
    let pid = first.state(&id)["pid"].to_string();
    let mut second = Sandbox::new("hostname; cat /proc/1/comm");
    second.set("/hostname", json!(""));
    for (kind, name) in [("network", "net"), ("uts", "uts"), ("pid", "pid")] {
        second.namespace(kind, Some(&format!("/proc/{pid}/ns/{name}")));
    }
    second.run().says("box\nsleep");
}

pub(super) fn with_users(sandbox: &mut Sandbox) {
    sandbox
        .namespace("user", None)
        .set(
            "/linux/uidMappings",
            json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]),
        )
        .set(
            "/linux/gidMappings",
            json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]),
        );
    open_to_all(sandbox);
}

/// The mapped root is nobody's root outside: it must be able to reach its files.
pub(super) fn open_to_all(sandbox: &Sandbox) {
    let status = Command::new("chown")
        .args(["-R", "100000:100000"])
        .arg(sandbox.rootfs())
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn a_user_namespace_maps_root_to_nobody_s() {
    let mut sandbox = Sandbox::new(
        "id -u; tr -s ' ' < /proc/self/uid_map; stat -c %u /bin/busybox; touch /new; echo 1 > /proc/sys/net/ipv4/ip_forward
         hostname; grep CapEff /proc/self/status; head -c 1 /dev/zero | wc -c; stat -c '%u %t,%T' /dev/null; echo x > /dev/null && echo null
         ls /dev/pts /dev/mqueue /sys > /tmp/out && echo mounts; mknod /tmp/d c 1 3 2>&- || echo no nodes; cat /proc/self/oom_score_adj",
    );
    with_users(&mut sandbox);
    sandbox
        .set("/linux/readonlyPaths", json!([]))
        .set("/process/oomScoreAdj", json!(50))
        .set(
            "/process/rlimits",
            json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]),
        );
    sandbox.run().says(
        "0\n 0 100000 65536\n0\nbox\nCapEff:\t00000000080004eb\n1\n0 1,3\nnull\nmounts\nno nodes\n50",
    );
    let new = std::fs::metadata(sandbox.rootfs().join("new")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&new), 100_000);
}

#[test]
fn a_container_in_a_user_namespace_is_entered() {
    let mut sandbox = Sandbox::new("exec sleep 1000");
    with_users(&mut sandbox);
    sandbox.set("/linux/resources/pids", json!({"limit": 20}));
    let id = sandbox.start("c");
    sandbox.exec(&id, &["sh", "-c", "id -u; tr -s ' ' < /proc/self/uid_map; ps | grep -c '[s]leep 1000'; cat /proc/self/cgroup | grep pids | cut -d: -f3"])
        .says("0\n 0 100000 65536\n1\n/");
    sandbox
        .exec(
            &id,
            &[
                "--user",
                "1000:1000",
                "--",
                "sh",
                "-c",
                "id -u; grep CapEff /proc/self/status",
            ],
        )
        .says("1000\nCapEff:\t0000000000000000");
}

#[test]
fn root_need_not_be_mapped() {
    let mut sandbox = Sandbox::new("id -u; ls / > /dev/null && echo reads");
    with_users(&mut sandbox);
    sandbox
        .set(
            "/linux/uidMappings",
            json!([{"containerID": 1000, "hostID": 100_000, "size": 1}]),
        )
        .set(
            "/linux/gidMappings",
            json!([{"containerID": 1000, "hostID": 100_000, "size": 1}]),
        )
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .set("/linux/devices", json!([]));
    let mounts = sandbox.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| {
        ["/proc", "/dev", "/dev/shm"].contains(&mount["destination"].as_str().unwrap())
    });
    sandbox.run().says("1000\nreads");
}

#[test]
fn a_user_namespace_is_joined() {
    let mut first = Sandbox::new("exec sleep 1000");
    with_users(&mut first);
    let id = first.start("pod");
    let pid = first.state(&id)["pid"].to_string();
    let script = "id -u; tr -s ' ' < /proc/self/uid_map; echo $$; hostname; mount -t tmpfs tmpfs /tmp && echo owns its mounts; echo $(cat /proc/1/comm)";
    let mut second = Sandbox::new(script);
    open_to_all(&second);
    second
        .namespace("user", Some(&format!("/proc/{pid}/ns/user")))
        .namespace("network", Some(&format!("/proc/{pid}/ns/net")))
        .namespace("uts", Some(&format!("/proc/{pid}/ns/uts")))
        .set("/hostname", json!(""))
        .set(
            "/linux/uidMappings",
            json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]),
        )
        .set(
            "/linux/gidMappings",
            json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]),
        );
    for set in ["bounding", "effective", "permitted"] {
        second.push(
            &format!("/process/capabilities/{set}"),
            json!("CAP_SYS_ADMIN"),
        );
    }
    second
        .run()
        .says("0\n 0 100000 65536\n1\nbox\nowns its mounts\nsh");
    second
        .args(&["nosuch"])
        .run()
        .fails(1, "executable file not found in $PATH");
}

#[test]
fn clocks_have_their_offsets() {
    let mut sandbox = Sandbox::new("cut -d. -f1 /proc/uptime; readlink /proc/self/ns/time");
    sandbox.namespace("time", None).set(
        "/linux/timeOffsets",
        json!({"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 5, "nanosecs": 1}}),
    );
    let out = sandbox.run().ok();
    let (uptime, link) = out.split_once('\n').unwrap();
    assert!(uptime.parse::<u64>().unwrap() >= 1_000_000, "{out}");
    assert_ne!(link, own("time"));
    let id = sandbox.script("exec sleep 1000").start("c");
    let joined = sandbox
        .exec(&id, &["cut", "-d.", "-f1", "/proc/uptime"])
        .ok();
    assert!(joined.parse::<u64>().unwrap() >= 1_000_000, "{joined}");
    sandbox
        .without_namespace("time")
        .run()
        .fails(1, "timeOffsets specified, but TIME namespace isn't enabled");
}

#[test]
fn kernel_parameters_are_set_inside() {
    let before = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    let mut sandbox = Sandbox::new(
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/net/ipv4/conf/lo/forwarding",
    );
    let value = if before.trim() == "1" { "0" } else { "1" };
    sandbox.set(
        "/linux/sysctl",
        json!({"net.ipv4.ip_forward": value, "kernel.msgmax": "4096", "net/ipv4/conf/lo/forwarding": "0"}),
    );
    sandbox.run().says(&format!("{value}\n4096\n0"));
    assert_eq!(
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(),
        before
    );
    sandbox
        .set("/linux/sysctl", json!({"net.no.such": "1"}))
        .run()
        .fails(1, "set sysctl net.no.such to \"1\": no such file");
}

#[test]
fn starts_at_the_same_time_do_not_disturb_each_other() {
    // The way into v1 cgroups takes no machine-wide lock: many at once, with forks all around, end up where they belong.
    let script = "for i in 1 2 3 4 5 6 7 8; do (exec true) & done; wait; grep -v '^0:' /proc/1/cgroup | cut -d: -f3";
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut sandbox = Sandbox::new(script);
                sandbox.without_namespace("cgroup");
                let expected = format!("/{}", sandbox.id("run"));
                for _ in 0..10 {
                    let out = sandbox.run().ok();
                    assert!(
                        out.lines().count() > 1 && out.lines().all(|path| path == expected),
                        "{out}"
                    );
                }
            });
        }
    });
}
