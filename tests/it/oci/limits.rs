//! Limits: resource limits of the process, and those of its cgroup, read back and enforced.

use std::path::PathBuf;

use super::{Ran, Sandbox, cgroups_of, until};
use serde_json::json;

/// The directory of container `id` where `controller` is managed.
fn directory(id: &str, controller: &str) -> PathBuf {
    let found = cgroups_of(id).into_iter().find(|directory| {
        let hierarchy = directory.parent().unwrap().to_str().unwrap();
        hierarchy.split(['/', ',']).any(|part| part == controller)
    });
    found.unwrap_or_else(|| panic!("{id} has no cgroup of {controller}"))
}

fn read(id: &str, controller: &str, file: &str) -> String {
    let path = directory(id, controller).join(file);
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .trim()
        .to_owned()
}

#[test]
fn resource_limits() {
    let mut sandbox = Sandbox::new("ulimit -S -n; ulimit -H -n; ulimit -c");
    sandbox.set(
        "/process/rlimits",
        json!([{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]),
    );
    sandbox.run().says("64\n128\n0");
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .maximum
        .unwrap();
    let asked = own + 1;
    sandbox.set(
        "/process/rlimits",
        json!([{"type": "RLIMIT_NOFILE", "soft": asked, "hard": asked}]),
    );
    let ran = sandbox.run();
    // Whether it may be raised depends on CAP_SYS_RESOURCE; if not, that is a warning.
    if ran.err.contains("raising it is not permitted") {
        ran.says(&format!("{own}\n{own}\nunlimited").replace("unlimited", &core_limit()));
    } else {
        assert!(ran.ok().starts_with(&format!("{asked}\n{asked}")));
    }
}

fn core_limit() -> String {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Core).current;
    limit.map_or_else(|| "unlimited".to_owned(), |bytes| (bytes / 512).to_string())
}

#[test]
fn a_mebibyte_is_enough_for_a_program_that_fits() {
    let mut sandbox = Sandbox::new("");
    sandbox.args(&["true"]);
    for memory in [
        json!({"limit": 1 << 20}),
        json!({"limit": 1 << 20, "swap": 1 << 20}),
    ] {
        sandbox.set("/linux/resources/memory", memory);
        sandbox.run().says("");
    }
    sandbox.script("cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true");
    sandbox.run().says("1048576");
}

#[test]
fn limits_are_written() {
    let mut sandbox = Sandbox::new("exec sleep 1000");
    sandbox.set(
        "/linux/resources",
        json!({
            "devices": [{"allow": false, "access": "rwm"}],
            "memory": {"limit": 67_108_864, "swap": 134_217_728, "reservation": 33_554_432},
            "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0", "mems": "0"},
            "pids": {"limit": 50}
        }),
    );
    let id = sandbox.start("c");
    for (controller, file, value) in [
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("memory", "memory.memsw.limit_in_bytes", "134217728"),
        ("memory", "memory.soft_limit_in_bytes", "33554432"),
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_quota_us", "50000"),
        ("cpu", "cpu.cfs_period_us", "100000"),
        ("cpuset", "cpuset.cpus", "0"),
        ("cpuset", "cpuset.mems", "0"),
        ("pids", "pids.max", "50"),
    ] {
        assert_eq!(read(&id, controller, file), value, "{file}");
    }
    // Every hierarchy holds the process, and it may run where its cpuset says.
    let pid = sandbox.state(&id)["pid"].to_string();
    for directory in cgroups_of(&id) {
        let procs = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap();
        assert_eq!(procs.trim(), pid, "{}", directory.display());
    }
    sandbox
        .exec(&id, &["grep", "Cpus_allowed_list", "/proc/self/status"])
        .says("Cpus_allowed_list:\t0");
}

#[test]
fn without_limits_the_caller_s_affinity_does_not_count() {
    let mut sandbox = Sandbox::new("grep Cpus_allowed_list /proc/self/status");
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
    let all = format!("Cpus_allowed_list:\t{}", online.trim());
    sandbox.run_by(&["taskset", "-c", "0"], "", "").says(&all);
}

#[test]
fn a_process_that_takes_too_much_memory_is_killed() {
    let mut sandbox = Sandbox::new("x=x; while :; do x=$x$x; done");
    sandbox.set(
        "/linux/resources/memory",
        json!({"limit": 33_554_432, "swap": 33_554_432}),
    );
    let ran = sandbox.run();
    assert_eq!(ran.code, 137, "{ran:?}");
}

#[test]
fn a_container_that_is_too_small_to_start_says_so() {
    let mut sandbox = Sandbox::new("true");
    sandbox.set("/linux/resources/memory", json!({"limit": 20_480}));
    sandbox.run().fails(1, "memory limit too low");
    // Ours is small, though: this is enough.
    sandbox
        .set("/linux/resources/memory", json!({"limit": 2_097_152}))
        .run()
        .says("");
}

#[test]
fn no_more_processes_than_allowed() {
    let mut sandbox = Sandbox::new("for i in 1 2 3 4 5 6; do sleep 5 & done; echo unreachable");
    sandbox.set("/linux/resources/pids", json!({"limit": 4}));
    let ran = sandbox.run();
    assert!(
        ran.err.contains("can't fork") && ran.out.is_empty(),
        "{ran:?}"
    );
}

#[test]
fn devices_are_denied_and_allowed() {
    let script = "mknod /tmp/d c 1 11 && head -c 0 /tmp/d && echo kmsg; head -c 1 /dev/zero | wc -c
        mknod /tmp/b b 254 0 2>&-; head -c 1 /tmp/b 2>&1 | head -n 1";
    let mut sandbox = Sandbox::new(script);
    let ran = sandbox.run();
    assert!(ran.out.contains("Operation not permitted"), "{ran:?}");
    assert!(
        ran.err.contains("/tmp/d: Operation not permitted") && !ran.out.contains("kmsg"),
        "{ran:?}"
    );
    let mut sandbox = Sandbox::new("mknod /tmp/d c 1 11 && true > /tmp/d && echo kmsg");
    sandbox.push(
        "/linux/resources/devices",
        json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "w"}),
    );
    sandbox.run().says("kmsg");
    let mut sandbox = Sandbox::new("true");
    sandbox
        .push(
            "/linux/resources/devices",
            json!({"allow": true, "type": "c", "access": "rwm"}),
        )
        .push(
            "/linux/resources/devices",
            json!({"allow": false, "type": "c", "major": 10, "minor": 229, "access": "rwm"}),
        );
    sandbox.run().fails(
        1,
        "cannot make device rule \"c 10:229 rwm\" an exception from \"c *:* rwm\"",
    );
}

#[test]
fn limits_of_absent_controllers_are_refused() {
    let mut sandbox = Sandbox::new("true");
    for (resource, value, text) in [
        (
            "network",
            json!({"classID": 5}),
            "the net_cls cgroup controller is not available",
        ),
        (
            "rdma",
            json!({"mlx": {"hcaHandles": 1}}),
            "the rdma cgroup controller is not available",
        ),
        (
            "unified",
            json!({"nosuch.max": "1"}),
            "controller \"nosuch\" not available",
        ),
    ] {
        let mut sandbox = Sandbox::new("true");
        sandbox
            .set(&format!("/linux/resources/{resource}"), value)
            .run()
            .fails(1, text);
    }
    // What an existing container's cgroup holds is not taken over.
    let id = sandbox.start("first");
    drop(id);
}

#[test]
fn limits_of_the_other_hierarchy_of_a_hybrid_host() {
    let Some(unified) = unified_of_hybrid() else {
        return;
    };
    let mut sandbox = Sandbox::new("cat /proc/self/cgroup | grep ^0:; exec sleep 1000");
    sandbox.set(
        "/linux/resources/unified",
        json!({"cgroup.max.descendants": "7"}),
    );
    let id = sandbox.start("c");
    let directory = unified.join(&id);
    let limit = std::fs::read_to_string(directory.join("cgroup.max.descendants")).unwrap();
    assert_eq!(limit.trim(), "7");
    let pid = sandbox.state(&id)["pid"].to_string();
    // Until the pipe has run, what it is made of is there too.
    until("the program is alone", || {
        let procs = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap();
        procs.trim() == pid
    });
}

/// The v2 hierarchy, where there are v1 ones, too; a plain v2 host has its own tests.
fn unified_of_hybrid() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let kind = |wanted: &str| {
        mounts
            .lines()
            .find(|line| line.split(' ').nth(2) == Some(wanted))
            .and_then(|line| line.split(' ').nth(1).map(PathBuf::from))
    };
    kind("cgroup").and(kind("cgroup2"))
}

#[test]
fn a_cgroup_with_processes_is_not_taken_over() {
    let mut first = Sandbox::new("exec sleep 1000");
    let id = first.start("c");
    let mut second = Sandbox::new("true");
    second.set("/linux/cgroupsPath", json!(format!("/{id}")));
    second.run().fails(1, "container's cgroup is not empty");
    assert_eq!(first.status(&id), "running");
}

#[test]
fn cgroups_below_a_container_s_go_with_it() {
    let mut sandbox = Sandbox::new(
        "mkdir /sys/fs/cgroup/pids/inner && echo 0 > /sys/fs/cgroup/pids/inner/cgroup.procs; exec sleep 1000",
    );
    let mounts = sandbox.config["mounts"].as_array_mut().unwrap();
    let cgroup = mounts
        .iter_mut()
        .find(|mount| mount["type"] == "cgroup")
        .unwrap();
    cgroup["options"] = json!(["nosuid", "noexec", "nodev"]);
    let id = sandbox.start("c");
    let inner = directory(&id, "pids").join("inner/cgroup.procs");
    until("the process has moved", || {
        std::fs::read_to_string(&inner).is_ok_and(|text| !text.is_empty())
    });
    Ran::from(sandbox.call(&["delete", "--force", &id])).ok();
    assert!(cgroups_of(&id).is_empty());
}
