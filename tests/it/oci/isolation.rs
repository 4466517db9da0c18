//! What a process in a container can see and do: users, capabilities, descriptors, directories, paths.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::{Ran, Sandbox, until};
use serde_json::json;

#[test]
fn the_process_is_as_the_configuration_says() {
    let mut sandbox = Sandbox::new(
        "echo $(hostname) $(pwd) $(id -u):$(id -g) $(umask); echo $HOME $A; cat /proc/self/oom_score_adj",
    );
    sandbox
        .set("/process/cwd", json!("/tmp"))
        .set(
            "/process/user",
            json!({"uid": 1000, "gid": 1000, "additionalGids": [7, 8], "umask": 0o027}),
        )
        .set("/process/oomScoreAdj", json!(100))
        .push("/process/env", json!("A=1"))
        .push("/process/env", json!("A=2"));
    sandbox
        .run()
        .says("box /tmp 1000:1000 0027\n/home/app 2\n100");
    sandbox
        .script("id -G; env | sort")
        .run()
        .says("1000 7 8\nA=2\nHOME=/home/app\nPATH=/bin:/usr/bin\nPWD=/tmp\nSHLVL=1\nTERM=xterm");
}

#[test]
fn capabilities_are_those_of_the_configuration() {
    let status = "grep -E '^(Cap|NoNew)' /proc/self/status";
    let mut sandbox = Sandbox::new(status);
    let all = "CapInh:\t0000000000000000\nCapPrm:\t00000000080004eb\nCapEff:\t00000000080004eb\n\
               CapBnd:\t00000000080004eb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0";
    sandbox.run().says(all);
    // A user that is not root has none in force, and can gain those of the bounding set only by a program that has them.
    sandbox.set("/process/user/uid", json!(1000));
    let out = sandbox.run().ok();
    assert!(
        out.contains("CapPrm:\t0000000000000000\nCapEff:\t0000000000000000"),
        "{out}"
    );
    assert!(out.contains("CapBnd:\t00000000080004eb"), "{out}");
    sandbox
        .set("/process/capabilities/inheritable", json!(["CAP_KILL"]))
        .set(
            "/process/capabilities/ambient",
            json!(["CAP_KILL", "CAP_CHOWN"]),
        )
        .set("/process/noNewPrivileges", json!(true));
    let ran = sandbox.run();
    assert!(
        ran.err.contains("can't raise ambient capability CAP_CHOWN"),
        "{ran:?}"
    );
    let out = ran.ok();
    assert!(out.contains("CapEff:\t0000000000000020"), "{out}");
    assert!(out.contains("CapAmb:\t0000000000000020"), "{out}");
    assert!(out.contains("NoNewPrivs:\t1"), "{out}");

    let mut sandbox = Sandbox::new(status);
    sandbox.set("/process/capabilities", json!(null));
    let out = sandbox.run().ok();
    for set in ["Prm", "Eff", "Bnd"] {
        assert!(
            out.contains(&format!("Cap{set}:\t0000000000000000")),
            "{out}"
        );
    }
    sandbox.set(
        "/process/capabilities",
        json!({"bounding": ["CAP_CHOWN", "CAP_TIME_TRAVEL"]}),
    );
    let ran = sandbox.run();
    assert!(
        ran.err
            .contains("level=warning msg=\"ignoring unknown or unavailable capabilities: [\\\"CAP_TIME_TRAVEL\\\"]"),
        "{ran:?}"
    );
    assert!(ran.out.contains("CapBnd:\t0000000000000001"), "{ran:?}");
}

#[test]
fn nothing_of_the_caller_leaks_in() {
    let mut sandbox = Sandbox::new(
        "ls /proc/self/fd | tr '\\n' ' '; grep -E '^Sig(Blk|Ign)' /proc/self/status; cut -d' ' -f19 /proc/self/stat",
    );
    // A caller with open files, ignored signals, another umask and environment.
    let prelude = "umask 077; trap '' HUP INT; exec 5</etc/passwd; export SECRET=1;";
    let clean = "0 1 2 3 SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n0";
    sandbox.run_by(&["env"], prelude, "").says(clean);
    sandbox.script("env | grep -c SECRET; umask");
    sandbox.run_by(&["env"], prelude, "").says("0\n0022");
}

#[test]
fn descriptors_are_passed_on_when_asked_for() {
    let mut sandbox = Sandbox::new("cat <&3; ls /proc/self/fd | wc -l");
    let hostname = std::fs::read_to_string("/etc/hostname").unwrap();
    let env = &["env"];
    sandbox
        .run_by(env, "exec 3</etc/hostname;", "--preserve-fds 1")
        .says(&format!("{}\n5", hostname.trim()));
    sandbox
        .run_by(env, "exec 3<&-;", "--preserve-fds 1")
        .fails(1, "descriptor 3 is to be preserved, but is not open");
}

#[test]
fn cve_2024_21626_the_working_directory_cannot_lead_out() {
    let mut sandbox = Sandbox::new("pwd; ls ../../../..");
    for number in 3..20 {
        sandbox.set("/process/cwd", json!(format!("/proc/self/fd/{number}")));
        let ran = sandbox.run();
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(
            ran.err.contains("chdir to cwd") || ran.err.contains("outside of container"),
            "{ran:?}"
        );
    }
    symlink("/proc/self/fd/7", sandbox.rootfs().join("link")).unwrap();
    sandbox
        .set("/process/cwd", json!("/link"))
        .run()
        .fails(1, "chdir to cwd (\"/link\")");
    sandbox.set("/process/cwd", json!("/nowhere")).run().fails(
        1,
        "chdir to cwd (\"/nowhere\") set in config.json failed: no such file or directory",
    );
    // The program cannot be one of the host's either.
    sandbox.set("/process/cwd", json!("/"));
    for number in 3..20 {
        let program = format!("/proc/self/fd/{number}/bin/true");
        let ran = sandbox.args(&[&program]).run();
        assert_eq!(ran.code, 1, "{ran:?}");
        let nothing = ["no such file or directory", "not a directory"];
        assert!(nothing.iter().any(|text| ran.err.contains(text)), "{ran:?}");
    }
}

#[test]
fn a_directory_that_only_the_user_may_enter_is_entered_as_the_user() {
    let mut sandbox = Sandbox::new("pwd");
    let private = sandbox.rootfs().join("private");
    std::fs::create_dir(&private).unwrap();
    std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&private, Some(1000), Some(1000)).unwrap();
    sandbox
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .set("/process/cwd", json!("/private"))
        .set("/process/capabilities", json!({}));
    sandbox.run().says("/private");
}

#[test]
fn masked_and_read_only_paths() {
    let mut sandbox = Sandbox::new(
        "wc -c < /proc/timer_list; ls -A /sys/firmware; echo x 2>&- > /sys/firmware/x || echo ro
         echo y 2>&- > /proc/sys/kernel/domainname || echo sys ro; stat -c %F /proc/keys",
    );
    sandbox
        .push("/linux/maskedPaths", json!("/no/such/path"))
        .push("/linux/readonlyPaths", json!("/no/such/path"));
    let expected = "0\nro\nsys ro\ncharacter special file";
    sandbox.run().says(expected);
    // What the image has at /dev/null is not what masks (CVE-2025-31133); links are followed inside.
    let rootfs = sandbox.rootfs();
    sandbox
        .set("/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]))
        .set("/linux/maskedPaths", json!(["/etc/passwd", "/link", "/hidden"]))
        .set("/linux/readonlyPaths", json!(["/etc"]))
        .script("wc -c < /etc/passwd; ls -A /hidden | wc -l; wc -c < /secret; touch /etc/x 2>&- || echo ro; touch /ok && echo rw");
    std::fs::create_dir_all(rootfs.join("hidden/inner")).unwrap();
    std::fs::write(rootfs.join("secret"), "secret").unwrap();
    symlink("/secret", rootfs.join("link")).unwrap();
    std::fs::write(rootfs.join("dev/null"), "not null").unwrap();
    sandbox.run().says("0\n0\n0\nro\nrw");
    assert_eq!(
        std::fs::read_to_string(rootfs.join("dev/null")).unwrap(),
        "not null"
    );
}

#[test]
fn the_root_can_be_read_only() {
    let mut sandbox = Sandbox::new("touch /x 2>&- || echo ro; touch /dev/shm/x && echo rw");
    sandbox
        .set("/root/readonly", json!(true))
        .run()
        .says("ro\nrw");
}

#[test]
fn the_devices_are_there_and_work() {
    let mut sandbox = Sandbox::new(
        "ls -A /dev | grep -vx core | tr '\\n' ' '; echo; head -c 3 /dev/zero | wc -c; echo x > /dev/null; head -c 4 /dev/urandom | wc -c
         for l in fd stdin ptmx; do readlink /dev/$l; done; stat -c '%a %u:%g %t,%T' /dev/null /dev/special /dev/net/tun",
    );
    sandbox.set(
        "/linux/devices",
        json!([{"path": "/dev/special", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 7, "gid": 8},
               {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200}]),
    );
    // A kernel may be without the file that this link leads to.
    let core = if Path::new("/proc/kcore").exists() {
        "core "
    } else {
        ""
    };
    sandbox.run().says(&format!(
        "{core}fd full mqueue net null ptmx pts random shm special stderr stdin stdout tty urandom zero \n3\n4\n\
         /proc/self/fd\n/proc/self/fd/0\npts/ptmx\n666 0:0 1,3\n640 7:8 1,3\n666 0:0 a,c8"
    ));
}

#[test]
fn cve_2026_41579_links_of_the_image_do_not_lead_devices_out() {
    // No mount on /dev: the nodes go into the image's directory, which must be one (CVE-2026-41579).
    let mut sandbox = Sandbox::new("head -c 2 /dev/zero | wc -c; stat -c %F /dev/null");
    let without_dev = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    sandbox
        .set("/mounts", without_dev)
        .run()
        .says("2\ncharacter special file");
    let rootfs = sandbox.rootfs();
    let outside = sandbox.dir.join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::remove_dir_all(rootfs.join("dev")).unwrap();
    symlink(&outside, rootfs.join("dev")).unwrap();
    sandbox
        .run()
        .fails(1, "open /dev, which must be a directory");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    assert!(sandbox.rootfs().join("dev").is_symlink());
}

#[test]
fn cve_2019_5736_the_binary_of_the_runtime_cannot_be_written() {
    // CVE-2019-5736: whoever can reach the runtime's own binary through a process of the container cannot open it.
    let mut sandbox = Sandbox::new("true");
    let id = sandbox.id("c");
    sandbox.call_and_leave(&["create", &id]);
    let pid = sandbox.state(&id)["pid"].clone();
    let error = std::fs::OpenOptions::new()
        .write(true)
        .open(format!("/proc/{pid}/exe"))
        .unwrap_err();
    assert!(
        [Some(libc::EROFS), Some(libc::ETXTBSY)].contains(&error.raw_os_error()),
        "{error}"
    );
    // It is a file on a read-only mount, for as long as somebody holds it.
    let flags = rustix::fs::OFlags::PATH;
    let exe = rustix::fs::open(format!("/proc/{pid}/exe"), flags, rustix::fs::Mode::empty());
    let mount = rustix::fs::fstatvfs(exe.unwrap()).unwrap();
    assert!(mount.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    // Neither is it readable for who is not privileged: the process is not dumpable.
    let owner = std::fs::metadata(format!("/proc/{pid}/status")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), 0);

    // The program is the runtime itself, in a container where it knows no command.
    let before = std::fs::read(env!("CARGO_BIN_EXE_aril")).unwrap();
    sandbox
        .args(&["/proc/self/exe", "frob"])
        .run()
        .fails(1, "unknown command");
    assert!(std::fs::read(env!("CARGO_BIN_EXE_aril")).unwrap() == before);
}

#[test]
fn an_init_reaps_and_passes_on_signals() {
    let script = "cat /proc/1/comm; tr '\\0\\n' '  ' < /proc/1/cmdline; echo; cat /proc/1/environ 2>&- | wc -c
        (sleep 0.1 & exec true); trap 'exit 5' TERM; echo $$; touch /tmp/ready; while :; do sleep 0.05; done";
    let mut sandbox = Sandbox::new(script);
    let id = sandbox.id("run");
    let mut command = sandbox.command(&["run", "--init", &id]);
    let child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .env("HOST_SECRET", "1")
        .spawn()
        .unwrap();
    let ready = sandbox.rootfs().join("tmp/ready");
    until("the program runs", || ready.exists());
    // The orphan is taken care of: only init and the shell (and its sleep) are left.
    let zombies = || {
        sandbox
            .exec(
                &id,
                &[
                    "sh",
                    "-c",
                    "grep -l '^State:.Z' /proc/[0-9]*/status 2>&- | wc -l",
                ],
            )
            .ok()
    };
    until("no zombie is left", || zombies() == "0");
    let exe = sandbox
        .exec(&id, &["sh", "-c", "readlink /proc/1/exe || echo closed"])
        .ok();
    assert_eq!(exe, "closed");
    Ran::from(sandbox.call(&["kill", &id, "TERM"])).ok();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 5, "{ran:?}");
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[0], "docker-init");
    assert!(
        lines[1].starts_with("/sbin/docker-init -- sh -c "),
        "{ran:?}"
    );
    assert_eq!(lines[2], "0");
    assert_eq!(lines[3], "2");

    let mut sandbox = Sandbox::new("kill -9 $$");
    let id = sandbox.id("run");
    assert_eq!(Ran::from(sandbox.call(&["run", "--init", &id])).code, 137);
    sandbox.args(&["/etc/passwd"]);
    Ran::from(sandbox.call(&["run", "--init", &id]))
        .fails(1, "exec: \"/etc/passwd\": permission denied");
    std::fs::write(sandbox.rootfs().join("bad"), "x").unwrap();
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(sandbox.rootfs().join("bad"), executable).unwrap();
    sandbox.args(&["/bad"]);
    Ran::from(sandbox.call(&["run", "--init", &id])).fails(1, "exec /bad: exec format error");
}

#[test]
fn scheduling_priority_and_personality() {
    let mut sandbox = Sandbox::new("cut -d' ' -f19 /proc/self/stat; uname -m");
    sandbox
        .set(
            "/process/scheduler",
            json!({"policy": "SCHED_BATCH", "nice": 5}),
        )
        .set(
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0}),
        )
        .set("/linux/personality", json!({"domain": "LINUX32"}))
        .set("/linux/memoryPolicy", json!({"mode": "MPOL_DEFAULT"}));
    let out = sandbox.run().ok();
    assert!(out == "5\ni686" || !cfg!(target_arch = "x86_64"), "{out}");
    sandbox
        .set("/process/scheduler", json!({"policy": "SCHED_NONE"}))
        .run()
        .fails(1, "invalid scheduler policy \"SCHED_NONE\"");
}

#[test]
fn memory_comes_from_the_nodes_of_the_policy() {
    // Anonymous memory has the policy of its process.
    let script = "grep -m 1 heap /proc/self/numa_maps | cut -d' ' -f2";
    let mut sandbox = Sandbox::new(script);
    for (policy, shown) in [
        (json!({"mode": "MPOL_BIND", "nodes": "0"}), "bind:0"),
        (json!({"mode": "MPOL_PREFERRED", "nodes": "0"}), "prefer:0"),
        (
            json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}),
            "interleave=static:0",
        ),
        (json!({"mode": "MPOL_LOCAL"}), "local"),
    ] {
        sandbox.set("/linux/memoryPolicy", policy).run().says(shown);
    }
    let id = sandbox
        .set(
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "0"}),
        )
        .script("exec sleep 1000")
        .start("bound");
    // A process that joins has it as well.
    sandbox.exec(&id, &["sh", "-c", script]).says("bind:0");
    sandbox
        .set(
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "1023"}),
        )
        .run()
        .fails(1, "memory policy");
    sandbox
        .set("/linux/memoryPolicy", json!({"mode": "MPOL_BEST"}))
        .run()
        .fails(1, "invalid memory policy mode \"MPOL_BEST\"");
}

/// What is on a mount of the host cannot be saved.
#[test]
fn dev_null_is_the_container_s_own() {
    let mut sandbox = Sandbox::new("stat -L -c '%t:%T %d' /dev/stdin /dev/null");
    let said = sandbox.run().ok();
    let (stdin, null) = said.split_once('\n').unwrap();
    assert!(stdin == null && stdin.starts_with("1:3 "), "{said}");
    // One that has none is given the host's.
    sandbox.script("rm /dev/null; sleep 1000");
    let id = sandbox.start("c");
    until("it has none", || {
        sandbox.exec(&id, &["test", "-e", "/dev/null"]).code == 1
    });
    sandbox
        .exec(&id, &["stat", "-L", "-c", "%t:%T", "/dev/stdin"])
        .says("1:3");
}
