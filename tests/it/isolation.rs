//! What a container sees of the machine, and what of the caller leaks into it: nothing.

use crate::sandbox::{Sandbox, lines};

/// Returns what `run --rm OPTIONS busybox sh -c SCRIPT` says.
#[track_caller]
fn says(sandbox: &Sandbox, options: &[&str], script: &str) -> String {
    let mut args = vec!["run", "--rm"];
    args.extend(options);
    args.extend(["busybox", "sh", "-c", script]);
    sandbox.ok(&args)
}

#[test]
fn namespaces_are_its_own() {
    let sandbox = Sandbox::new();
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "uts"];
    let script = "for n in cgroup ipc mnt net pid uts; do readlink /proc/self/ns/$n; done";
    let inside = says(&sandbox, &[], script);
    let outside = sandbox.shell(script);
    for (kind, (inner, outer)) in kinds.iter().zip(inside.lines().zip(outside.lines())) {
        assert!(inner.starts_with(kind), "{inner}");
        assert_ne!(inner, outer);
    }
    let host = |option: &str, kind: &str| {
        let script = format!("readlink /proc/self/ns/{kind}");
        assert_eq!(
            says(&sandbox, &[option], &script),
            sandbox.shell(&script),
            "{option}"
        );
    };
    host("--pid=host", "pid");
    host("--ipc=host", "ipc");
    host("--uts=host", "uts");
    host("--cgroupns=host", "cgroup");
    host("--network=host", "net");
    assert_eq!(says(&sandbox, &[], "ls /proc | grep -c '^[0-9]'"), "3");
}

#[test]
fn namespaces_of_another_container_are_shared() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "first",
        "--ipc",
        "shareable",
        "busybox",
        "sleep",
        "1000",
    ]);
    for (option, kind) in [("--pid", "pid"), ("--ipc", "ipc"), ("--network", "net")] {
        let script = format!("readlink /proc/self/ns/{kind}");
        let first = sandbox.ok(&["exec", "first", "sh", "-c", &script]);
        assert_eq!(
            says(&sandbox, &[option, "container:first"], &script),
            first,
            "{option}"
        );
    }
    assert!(says(&sandbox, &["--pid=container:first"], "ps").contains("sleep 1000"));
}

#[test]
fn capabilities_are_dockers() {
    const DEFAULT: &str = "00000000a80425fb";
    const NONE: &str = "0000000000000000";
    let sandbox = Sandbox::new();
    let check = |options: &[&str], set: &str, expected: &str| {
        let script = format!("grep Cap{set} /proc/self/status | cut -f2");
        assert_eq!(
            says(&sandbox, options, &script),
            expected,
            "{options:?} {set}"
        );
    };
    for set in ["Bnd", "Prm", "Eff"] {
        check(&[], set, DEFAULT);
    }
    for set in ["Inh", "Amb"] {
        check(&[], set, NONE);
    }
    check(&["-u", "app"], "Eff", NONE);
    check(&["-u", "app"], "Bnd", DEFAULT);
    check(&["--cap-drop", "ALL"], "Bnd", NONE);
    check(
        &["--cap-drop", "all", "--cap-add", "CHOWN"],
        "Eff",
        "0000000000000001",
    );
    check(&["--cap-add", "CAP_SYS_ADMIN"], "Eff", "00000000a82425fb");
    check(
        &["--cap-drop", "net_raw", "--cap-drop=CAP_MKNOD"],
        "Eff",
        "00000000a00405fb",
    );
    let all = lines("/proc/self/status")
        .into_iter()
        .find_map(|line| line.strip_prefix("CapBnd:\t").map(str::to_owned))
        .unwrap();
    check(&["--privileged"], "Eff", &all);
    check(&["--cap-add", "ALL"], "Eff", &all);
}

#[test]
fn system_calls_are_filtered() {
    let sandbox = Sandbox::new();
    let status = |options: &[&str]| {
        says(
            &sandbox,
            options,
            "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status | cut -f2 | tr '\\n' ' '",
        )
    };
    assert_eq!(status(&[]), "0 2");
    assert_eq!(status(&["--security-opt", "seccomp=unconfined"]), "0 0");
    assert_eq!(status(&["--privileged"]), "0 0");
    assert_eq!(status(&["--security-opt", "no-new-privileges"]), "1 2");
    assert_eq!(
        status(&["--security-opt=no-new-privileges:true", "-u", "app"]),
        "1 2"
    );
    let unshare = "unshare -U true 2>&1 || echo refused";
    assert!(says(&sandbox, &[], unshare).ends_with("refused"));
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 17}]}"#;
    let file = sandbox.write("profile.json", profile);
    let option = format!("seccomp={file}");
    let said = says(
        &sandbox,
        &["--security-opt", &option],
        "mkdir /tmp/x 2>&1; echo $?",
    );
    assert!(
        said.contains("File exists") && said.ends_with('1'),
        "{said}"
    );
}

#[test]
fn cve_2017_16539_what_tells_of_the_machine_is_masked() {
    let sandbox = Sandbox::new();
    let script = "cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c; ls /sys/firmware | wc -l; \
                  for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/irq/x /sys/kernel/x /sys/fs/cgroup/x; do \
                  (echo x > $f) 2>/dev/null && echo written $f; done; echo end";
    assert_eq!(says(&sandbox, &[], script), "0\n0\nend");
    let mounted = "grep -c -E ' /proc/(sys|irq|timer_list|keys) ' /proc/mounts; true";
    assert_ne!(says(&sandbox, &[], mounted), "0");
    let option = ["--security-opt", "systempaths=unconfined"];
    assert_eq!(says(&sandbox, &option, mounted), "0");
    let ro = "grep -E ' (/proc|/sys|/sys/fs/cgroup) ' /proc/mounts | awk '{print $2, substr($4, 1, 2)}' | sort -u";
    assert_eq!(
        says(&sandbox, &[], ro),
        "/proc rw\n/sys ro\n/sys/fs/cgroup ro"
    );
    assert!(says(&sandbox, &["--privileged"], ro).contains("/sys rw"));
    let writable = |value: &str, more: &[&str]| {
        let option = format!("--security-opt=writable-cgroups={value}");
        says(&sandbox, &[&[&*option], more].concat(), ro)
    };
    assert_eq!(
        writable("true", &[]),
        "/proc rw\n/sys ro\n/sys/fs/cgroup rw"
    );
    assert_eq!(
        writable("0", &["--privileged"]),
        "/proc rw\n/sys rw\n/sys/fs/cgroup ro"
    );
    // What is made there is below the container's own, which has a namespace of its own.
    let below = "cd /sys/fs/cgroup; [ -e cgroup.procs ] || cd pids; mkdir below && ls -d below && rmdir below";
    let option = ["--security-opt", "writable-cgroups=true"];
    assert_eq!(says(&sandbox, &option, below), "below");
}

#[test]
fn devices_are_few() {
    let sandbox = Sandbox::new();
    // Kernels without /proc/kcore have no link to it either.
    let list = "ls /dev | grep -vx core | tr '\\n' ' '";
    assert_eq!(
        says(&sandbox, &[], list),
        "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    );
    let said = says(
        &sandbox,
        &[],
        "mknod /tmp/d c 10 229 && cat /tmp/d 2>&1; mknod /tmp/z c 1 5 && head -c 2 /tmp/z | wc -c",
    );
    assert!(
        said.contains("Operation not permitted") && said.ends_with('2'),
        "{said}"
    );
    assert_eq!(
        says(
            &sandbox,
            &["--device", "/dev/kmsg:/dev/other:r"],
            "ls -l /dev/other | cut -c1; (echo x > /dev/other) 2>/dev/null || echo no"
        ),
        "c\nno"
    );
    assert_eq!(
        says(
            &sandbox,
            &["--device", "/dev/kmsg"],
            "test -c /dev/kmsg && echo there"
        ),
        "there"
    );
    assert_eq!(
        says(
            &sandbox,
            &["--privileged"],
            "test -c /dev/kmsg && echo there"
        ),
        "there"
    );
    assert_eq!(
        says(
            &sandbox,
            &[],
            "stat -c '%a %t,%T' /dev/null; readlink /dev/fd; readlink /dev/ptmx"
        ),
        "666 1,3\n/proc/self/fd\npts/ptmx"
    );
}

#[test]
fn the_root_file_system_is_its_own() {
    let sandbox = Sandbox::new();
    assert_eq!(
        says(&sandbox, &[], "touch /new && ls -a / | tr '\\n' ' '"),
        ". .. .dockerenv bin dev etc home new proc root sys tmp usr var"
    );
    assert_eq!(
        says(&sandbox, &[], "ls /new 2>/dev/null; echo gone"),
        "gone"
    );
    let said = says(
        &sandbox,
        &["--read-only", "--tmpfs", "/scratch"],
        "touch /new 2>&1; touch /scratch/x && echo ok; touch /dev/shm/x && echo shm",
    );
    assert!(
        said.contains("Read-only file system") && said.ends_with("ok\nshm"),
        "{said}"
    );
    // Nothing of the host's file systems is to be seen.
    let mounts = says(&sandbox, &[], "cat /proc/self/mountinfo");
    let dir = sandbox.root().display().to_string();
    for line in mounts.lines() {
        let point = line.split(' ').nth(4).unwrap();
        assert!(!point.contains(&dir), "{line}");
    }
    assert_eq!(
        says(
            &sandbox,
            &[],
            "ls /proc/1/root/ | wc -l; cd /proc/1/cwd && pwd -P"
        ),
        "10\n/"
    );
}

#[test]
fn nothing_of_the_caller_leaks_in() {
    let sandbox = Sandbox::new();
    let inner = "exec 2>&1; umask; ulimit -n; ulimit -c; pwd; ls /proc/self/fd | tr '\\n' ' '; echo; \
                 grep -E '^Sig(Ign|Blk)' /proc/self/status | cut -f2 | tr '\\n' ' '; echo; \
                 cat /proc/self/oom_score_adj; cut -d ' ' -f 19 /proc/self/stat; env | grep -c LEAK; true";
    let run = |prelude: &str| {
        let aril = crate::sandbox::ARIL;
        let outer = format!("{prelude} exec {aril} run --rm busybox sh -c \"$0\"");
        let mut command = sandbox.command("sh");
        command.args(["-c", &outer, inner]);
        sandbox.run(command).ok()
    };
    let plain = run("");
    let odd = run(
        "umask 077; ulimit -Sn 111; ulimit -c 5000; cd /tmp; trap '' TERM HUP USR1 INT; export LEAK=1; \
         exec 5</etc/passwd 9</etc/group; echo 500 > /proc/self/oom_score_adj; ",
    );
    assert_eq!(plain, odd);
    let facts: Vec<&str> = plain.lines().collect();
    assert_eq!((facts[0], facts[3], facts[4]), ("0022", "/", "0 1 2 3 "));
    assert_eq!(facts[5], "0000000000000000 0000000000000000 ");
    assert_eq!(&facts[6..], ["0", "0", "0"]);
}

#[test]
fn the_caller_may_go() {
    let sandbox = Sandbox::new();
    // In a session of its own, so that the end of a terminal or a login does not end it.
    let id = sandbox.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let pid = sandbox.inspect("box", "{{.State.Pid}}");
    let stat = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let field = |stat: &str, n: usize| {
        stat.rsplit(") ")
            .next()
            .unwrap()
            .split(' ')
            .nth(n)
            .unwrap()
            .to_owned()
    };
    let monitor = field(&stat(&pid), 1);
    assert_eq!(
        field(&stat(&monitor), 3),
        monitor,
        "the monitor of {id} leads its session"
    );
    assert_eq!(
        std::fs::read_link(format!("/proc/{monitor}/cwd"))
            .unwrap()
            .to_str(),
        Some("/")
    );
    for fd in 0..3 {
        let target = std::fs::read_link(format!("/proc/{monitor}/fd/{fd}")).unwrap();
        assert_eq!(target.to_str(), Some("/dev/null"));
    }
}

#[test]
fn sysctls_of_the_network_let_everybody_listen_and_ping() {
    let sandbox = Sandbox::new();
    assert_eq!(
        says(
            &sandbox,
            &[],
            "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range"
        ),
        "0\n0\t2147483647"
    );
}

#[test]
fn a_setuid_program_works_unless_refused() {
    let sandbox = Sandbox::new();
    let script = "mkdir /suid; cp /bin/busybox /suid; chmod 4755 /suid/busybox";
    sandbox.ok(&["run", "--name", "box", "busybox", "sh", "-c", script]);
    sandbox.ok(&["commit", "box", "suid"]);
    // busybox' su says so itself if it has not become root.
    let su = |options: &[&str]| {
        let mut args = vec!["run", "--rm", "-u", "app"];
        args.extend(options);
        args.extend(["suid", "/suid/busybox", "su", "-c", "true"]);
        sandbox
            .aril(&args)
            .err
            .contains("must be suid to work properly")
    };
    assert!(!su(&[]));
    assert!(su(&["--security-opt", "no-new-privileges"]));
}
