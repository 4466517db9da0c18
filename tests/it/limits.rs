//! Limits: read back from the cgroup, and enforced.

use std::path::PathBuf;

use crate::sandbox::{Sandbox, leftovers};

/// Returns the value of a control file of the container's cgroup, whichever version has it under one of `names`.
#[track_caller]
fn value(sandbox: &Sandbox, names: &[&str]) -> String {
    let id = sandbox.inspect("box", "{{.Id}}");
    let cgroups = leftovers::cgroups_of(&id);
    let found: Option<PathBuf> = cgroups
        .iter()
        .flat_map(|cgroup| names.iter().map(|name| cgroup.join(name)))
        .find(|path| path.exists());
    let path = found.unwrap_or_else(|| panic!("{names:?} in {cgroups:?}"));
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

#[test]
fn memory() {
    let sandbox = Sandbox::with_box(&[
        "-m",
        "64m",
        "--memory-swap",
        "64m",
        "--memory-reservation",
        "32m",
    ]);
    assert_eq!(
        value(&sandbox, &["memory.limit_in_bytes", "memory.max"]),
        "67108864"
    );
    assert_eq!(
        value(&sandbox, &["memory.soft_limit_in_bytes", "memory.low"]),
        "33554432"
    );
    // Nothing but the container's own program is ended when it asks for too much.
    let script = "head -c 200000000 /dev/zero | tail > /dev/null";
    let ran = sandbox.aril(&["exec", "box", "sh", "-c", &format!("{script}; echo $?")]);
    assert!(ran.out.trim() == "137" || ran.code == 137, "{ran:?}");
    assert_eq!(sandbox.inspect("box", "{{.State.Status}}"), "running");
    sandbox.ok(&["rm", "-f", "box"]);
    let ran = sandbox.aril(&[
        "run",
        "--name",
        "box",
        "-m",
        "32m",
        "--memory-swap",
        "32m",
        "busybox",
        "tail",
        "/dev/zero",
    ]);
    assert_eq!(ran.code, 137);
    assert_eq!(
        sandbox.inspect("box", "{{.State.OOMKilled}} {{.State.ExitCode}}"),
        "true 137"
    );
}

#[test]
fn processors() {
    let sandbox = Sandbox::with_box(&[
        "--cpus",
        "0.5",
        "--cpu-shares",
        "512",
        "--cpuset-cpus",
        "0",
        "--cpuset-mems",
        "0",
    ]);
    let quota = value(&sandbox, &["cpu.cfs_quota_us", "cpu.max"]);
    assert!(quota == "50000" || quota == "50000 100000", "{quota}");
    let shares = value(&sandbox, &["cpu.shares", "cpu.weight"]);
    assert!(["512", "20", "59"].contains(&shares.as_str()), "{shares}");
    assert_eq!(value(&sandbox, &["cpuset.cpus"]), "0");
    assert_eq!(value(&sandbox, &["cpuset.mems"]), "0");
    assert_eq!(sandbox.ok(&["exec", "box", "nproc"]), "1");
    sandbox.ok(&["rm", "-f", "box"]);
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "--cpu-period",
        "50000",
        "--cpu-quota",
        "20000",
        "busybox",
        "sleep",
        "1000",
    ]);
    let quota = value(&sandbox, &["cpu.cfs_quota_us", "cpu.max"]);
    assert!(quota == "20000" || quota == "20000 50000", "{quota}");
}

#[test]
fn a_share_of_a_processor_is_held() {
    let sandbox = Sandbox::with_box(&["--cpus", "0.2"]);
    sandbox.ok(&["exec", "-d", "box", "sh", "-c", "while :; do :; done"]);
    crate::sandbox::wait_until("it is held back", || {
        let stat = value(&sandbox, &["cpu.stat"]);
        stat.lines()
            .filter_map(|line| line.strip_prefix("nr_throttled "))
            .any(|count| count.parse::<u64>().unwrap() > 3)
    });
}

#[test]
fn processes() {
    let sandbox = Sandbox::with_box(&["--pids-limit", "10"]);
    assert_eq!(value(&sandbox, &["pids.max"]), "10");
    let script = "n=0; while [ $n -lt 30 ]; do sleep 100 & n=$((n + 1)); done; echo all";
    let ran = sandbox.aril(&["exec", "box", "sh", "-c", script]);
    assert_ne!(ran.code, 0);
    assert!(ran.err.contains("can't fork"), "{ran:?}");
    assert!(value(&sandbox, &["pids.current"]).parse::<u32>().unwrap() <= 10);
}

#[test]
fn devices() {
    // Fuse is refused by default, and net/tun is not. What has no driver here fails in another way once it is allowed.
    let sandbox = Sandbox::with_box(&["--device-cgroup-rule", "c 10:229 r"]);
    let script = "mknod /tmp/fuse c 10 229; mknod /tmp/other c 10 228; mknod /tmp/tun c 10 200; \
                  for f in fuse other tun; do (exec 3</tmp/$f) 2>&1 | grep -c 'not permitted'; done; \
                  (exec 3>/tmp/fuse) 2>&1 | grep -c 'not permitted'; true";
    assert_eq!(
        sandbox.ok(&["exec", "box", "sh", "-c", script]),
        "0\n1\n0\n1"
    );
}

#[test]
fn a_group_of_ones_own_and_another_parent() {
    let sandbox = Sandbox::with_box(&[]);
    assert_eq!(
        sandbox.ok(&[
            "exec",
            "box",
            "sh",
            "-c",
            "sed 's/.*://' /proc/self/cgroup | sort -u"
        ]),
        "/"
    );
    let id = sandbox.inspect("box", "{{.Id}}");
    let pid = sandbox.inspect("box", "{{.State.Pid}}");
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(groups.contains(&format!(":/aril/{id}\n")), "{groups}");
    assert!(!leftovers::cgroups_of(&id).is_empty());
    sandbox.ok(&["rm", "-f", "box"]);
    assert!(leftovers::cgroups_of(&id).is_empty());
    let parent = format!("aril-test-{}", std::process::id());
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "--cgroup-parent",
        &format!("/{parent}"),
        "busybox",
        "sleep",
        "1000",
    ]);
    let pid = sandbox.inspect("box", "{{.State.Pid}}");
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(groups.contains(&format!(":/{parent}/")), "{groups}");
    sandbox.ok(&["rm", "-f", "box"]);
    sandbox.shell(&format!(
        "find /sys/fs/cgroup -depth -type d -path '*/{parent}*' -exec rmdir {{}} +"
    ));
}

#[test]
fn what_this_machine_does_not_have_is_refused() {
    let sandbox = Sandbox::new();
    let check = |options: &[&str], text: &str| {
        let mut args = vec!["run", "--rm"];
        args.extend(options);
        args.extend(["busybox", "true"]);
        let error = sandbox.fails(125, &args);
        assert!(error.contains(text), "{options:?}: {error}");
    };
    check(
        &["--cpuset-cpus", "4096"],
        "Requested CPUs are not available - requested 4096, available:",
    );
    check(
        &["--cpuset-mems", "77"],
        "Requested memory nodes are not available - requested 77, available:",
    );
    check(&["-m", "5m"], "Minimum memory limit allowed is 6MB");
    check(
        &["-m", "64m", "--memory-swap", "32m"],
        "Minimum memoryswap limit should be larger than memory limit",
    );
    check(
        &["--memory-swap", "32m"],
        "always set the Memory limit when using Memoryswap limit",
    );
    check(
        &["-m", "64m", "--memory-reservation", "128m"],
        "Minimum memory limit can not be less than memory reservation limit",
    );
    check(
        &["--cpus", "1", "--cpu-quota", "5000"],
        "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
    );
    check(
        &["--cpu-period", "10"],
        "CPU cfs period can not be less than 1ms",
    );
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
}
