//! `update`.

use crate::sandbox::Sandbox;

#[test]
fn limits_change_while_it_runs() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "run", "-d", "--name", "box", "-m", "64m", "busybox", "sleep", "1000",
    ]);
    sandbox.ok(&["create", "--name", "new", "busybox"]);
    let read = |v1: &str, v2: &str| {
        let script = format!("cat /sys/fs/cgroup/{v1} 2>/dev/null || cat /sys/fs/cgroup/{v2}");
        sandbox.ok(&["exec", "box", "sh", "-c", &script])
    };
    let update = [
        "update",
        "-m",
        "128m",
        "--memory-swap",
        "256m",
        "--pids-limit",
        "77",
        "--restart",
        "on-failure:3",
        "box",
        "new",
    ];
    assert_eq!(sandbox.ok(&update), "box\nnew");
    assert_eq!(
        read("memory/memory.limit_in_bytes", "memory.max"),
        "134217728"
    );
    assert_eq!(read("pids/pids.max", "pids.max"), "77");
    let format = "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}";
    for name in ["box", "new"] {
        assert_eq!(sandbox.inspect(name, format), "134217728 77 on-failure 3");
    }
    sandbox.ok(&["update", "-m", "96m", "box"]);
    assert_eq!(
        read("memory/memory.limit_in_bytes", "memory.max"),
        "100663296"
    );
    sandbox.ok(&["update", "--pids-limit", "-1", "--cpu-shares", "512", "box"]);
    assert_eq!(read("pids/pids.max", "pids.max"), "max");
    assert_eq!(
        sandbox.inspect("box", "{{.HostConfig.CpuShares}} {{.HostConfig.PidsLimit}}"),
        "512 -1"
    );
    sandbox.ok(&["update", "--cpus", "0.5", "box"]);
    assert_eq!(
        sandbox.inspect("box", "{{.HostConfig.NanoCpus}}"),
        "500000000"
    );
    let error = sandbox.fails(1, &["update", "--cpu-quota", "20000", "box"]);
    assert!(
        error.ends_with("CPU Quota cannot be updated as NanoCPUs has already been set"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_changed_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "--name", "box", "-m", "64m", "busybox"]);
    sandbox.ok(&["create", "--name", "gone", "--rm", "busybox"]);
    let fails = |args: &[&str], text: &str| sandbox.aril(args).fails(1, text);
    fails(
        &["update", "box"],
        "you must provide one or more flags when using this command",
    );
    fails(
        &["update", "-m", "1m", "box"],
        "Minimum memory limit allowed is 6MB",
    );
    fails(
        &["update", "-m", "1g", "box"],
        "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
    );
    fails(
        &["update", "--restart", "always", "gone"],
        "Restart policy cannot be updated because AutoRemove is enabled for the container",
    );
    fails(
        &["update", "--restart", "always", "nosuch"],
        "No such container: nosuch",
    );
    fails(
        &["update", "--restart", "sometimes", "box"],
        "unknown policy 'sometimes'",
    );
    assert_eq!(sandbox.inspect("box", "{{.HostConfig.Memory}}"), "67108864");
}
