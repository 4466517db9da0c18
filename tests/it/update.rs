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
        "512 0"
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

#[test]
fn variables_and_mounts_change_at_the_next_start() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("dir/file", "of the host\n");
    let dir = file.strip_suffix("/file").unwrap();
    let script =
        "echo A=$A B=$B; cat /data/file 2>&1; ls /old 2>&1; trap exit TERM; sleep 1000 & wait";
    let run = [
        "run", "-d", "--name", "box", "-e", "A=1", "-e", "B=2", "-v", "/old", "--tmpfs", "/mem",
    ];
    sandbox.ok(&[&run[..], &["busybox", "sh", "-c", script]].concat());
    sandbox.wait_for_log("box", "A=1 B=2");
    let mount = format!("type=bind,source={dir},target=/data,readonly");
    let update = [
        "update",
        "--env-add",
        "A=3",
        "--env-add",
        "C=4",
        "--env-rm",
        "B",
    ];
    let changed = [
        "--mount-add",
        &mount,
        "--mount-add",
        "source=made,target=/volume",
        "--mount-rm",
        "/old",
        "--mount-rm",
        "/mem",
    ];
    let args = [&update[..], &changed, &["box"]].concat();
    let ran = sandbox.aril(&args);
    assert_eq!((ran.code, ran.out.trim()), (0, "box"), "{ran:?}");
    assert_eq!(
        ran.err.trim(),
        "NOTE: box runs; its variables and mounts change at its next start"
    );
    // Now it is written down, and nothing else has changed.
    let env = sandbox.inspect("box", "{{range .Config.Env}}{{println .}}{{end}}");
    assert!(
        env.contains("A=3") && env.contains("C=4") && !env.contains("B=2"),
        "{env}"
    );
    let places = "{{range .Mounts}}{{.Type}} {{.Destination}} {{.RW}}{{println}}{{end}}";
    assert_eq!(
        sandbox.inspect("box", places).trim(),
        "bind /data false\nvolume /volume true"
    );
    assert_eq!(sandbox.inspect("box", "{{.HostConfig.Tmpfs}}"), "map[]");
    assert_eq!(
        sandbox.ok(&["exec", "box", "sh", "-c", "ls -d /old; echo $A"]),
        "/old\n1"
    );
    sandbox.ok(&["restart", "-t", "20", "box"]);
    sandbox.wait_for_log("box", "A=3 B=\nof the host");
    assert_eq!(
        sandbox.ok(&["exec", "box", "sh", "-c", "echo $A$B$C; ls -d /volume"]),
        "34\n/volume"
    );
}

#[test]
fn refused_changes_leave_nothing_and_stopped_containers_take_all() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("dir/file", "of the host\n");
    let dir = file.strip_suffix("/file").unwrap();
    let run = ["run", "-d", "--name", "box", "-e", "A=3", "-v", "/data"];
    sandbox.ok(&[&run[..], &["busybox", "sleep", "1000"]].concat());
    // What is refused changes nothing, and leaves no volume; what is not there is no error.
    let twice = [
        "--mount-add",
        "source=more,target=/more",
        "--mount-add",
        "type=tmpfs,target=/data",
    ];
    let refused = [&["update", "--env-add", "A=9"], &twice[..], &["box"]].concat();
    sandbox
        .aril(&refused)
        .fails(1, "Duplicate mount point: /data");
    sandbox
        .aril(&["volume", "inspect", "more"])
        .fails(1, "no such volume");
    let warned = sandbox.aril(&[
        "update",
        "--env-rm",
        "NONE",
        "--mount-rm",
        "/none",
        "--publish-rm",
        "80",
        "box",
    ]);
    for part in [
        "variable NONE is not set",
        "nothing is mounted at /none",
        "port 80/tcp is not published",
    ] {
        assert!(warned.err.contains(part), "{warned:?}");
    }
    assert_eq!(warned.code, 0);
    assert_eq!(sandbox.ok(&["exec", "box", "sh", "-c", "echo $A"]), "3");
    // One that does not run says nothing, and has it when it starts.
    sandbox.ok(&[
        "create",
        "--name",
        "new",
        "busybox",
        "sh",
        "-c",
        "echo $X; ls /x",
    ]);
    let ran = sandbox.aril(&[
        "update",
        "--env-add",
        "X=1",
        "--mount-add",
        &format!("type=bind,src={dir},dst=/x"),
        "new",
    ]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    assert_eq!(sandbox.ok(&["start", "-a", "new"]), "1\nfile");
}

#[test]
fn a_limit_that_no_kernel_has_is_told_of() {
    let sandbox = Sandbox::with_box(&[]);
    let ran = sandbox.aril(&["update", "--kernel-memory", "10m", "box"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "box\n"), "{ran:?}");
    assert!(
        ran.err.contains("a kernel memory limit has no effect"),
        "{ran:?}"
    );
}
