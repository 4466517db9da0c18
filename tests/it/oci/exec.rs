//! Processes that join a running container.

use super::{Ran, Sandbox, until};
use serde_json::json;

fn running() -> (Sandbox, String) {
    let mut sandbox = Sandbox::new("exec sleep 1000");
    let id = sandbox.start("c");
    (sandbox, id)
}

#[test]
fn it_is_in_the_container() {
    let (sandbox, id) = running();
    sandbox.exec(&id, &["hostname"]).says("box");
    sandbox
        .exec(&id, &["sh", "-c", "ps | grep -c '[s]leep 1000'"])
        .says("1");
    let kinds = "for n in pid net ipc uts mnt cgroup; do test $(readlink /proc/self/ns/$n) = $(readlink /proc/1/ns/$n) || echo $n; done";
    sandbox.exec(&id, &["sh", "-c", kinds]).says("");
    let same = "cut -d: -f2- /proc/self/cgroup > /tmp/a; cut -d: -f2- /proc/1/cgroup > /tmp/b; cat /tmp/a | while read l; do grep -qxF \"$l\" /tmp/b || echo $l; done";
    sandbox.exec(&id, &["sh", "-c", same]).says("");
    sandbox.exec(&id, &["sh", "-c", "exit 5"]).fails(5, "");
    assert_eq!(sandbox.exec(&id, &["sh", "-c", "kill -9 $$"]).code, 137);
}

#[test]
fn its_options_change_it() {
    let (sandbox, id) = running();
    sandbox
        .exec(
            &id,
            &[
                "--cwd",
                "/tmp",
                "--env",
                "A=1",
                "-e",
                "PATH=/bin",
                "--",
                "sh",
                "-c",
                "pwd; echo $A $PATH $TERM",
            ],
        )
        .says("/tmp\n1 /bin xterm");
    sandbox
        .exec(&id, &["--user", "1000:7", "-g", "8", "-g", "9", "--", "id"])
        .says("uid=1000(app) gid=7 groups=8,9");
    sandbox
        .exec(
            &id,
            &[
                "--user",
                "1000",
                "--",
                "sh",
                "-c",
                "echo $HOME; grep CapEff /proc/self/status",
            ],
        )
        .says("/home/app\nCapEff:\t0000000000000000");
    sandbox
        .exec(
            &id,
            &[
                "--cap",
                "CAP_SYS_PTRACE",
                "--no-new-privs",
                "--",
                "grep",
                "-E",
                "CapEff|NoNew",
                "/proc/self/status",
            ],
        )
        .says("CapEff:\t00000000080804eb\nNoNewPrivs:\t1");
    let process = json!({"args": ["sh", "-c", "id -u; pwd; grep CapEff /proc/self/status"], "cwd": "/etc", "user": {"uid": 5, "gid": 6}});
    std::fs::write(sandbox.dir.join("process.json"), process.to_string()).unwrap();
    Ran::from(sandbox.call(&["exec", "--process", "process.json", &id]))
        .says("5\n/etc\nCapEff:\t0000000000000000");
}

#[test]
fn cve_2026_30892_users_are_numbers() {
    // CVE-2026-30892: what is no number must not become user 0.
    let (sandbox, id) = running();
    for user in ["-1", "4294967296", "0x1", " 1", "+1", "1:", ":1", "app", ""] {
        let flag = format!("--user={user}");
        sandbox
            .exec(&id, &[&flag, "--", "id"])
            .fails(255, "invalid user or group id");
    }
    sandbox
        .exec(&id, &["--user", "4294967294", "--", "id", "-u"])
        .says("4294967294");
}

#[test]
fn cve_2016_9962_nothing_of_the_host_comes_along() {
    let (sandbox, id) = running();
    sandbox
        .exec(&id, &["sh", "-c", "ls /proc/self/fd | tr '\\n' ' '; pwd"])
        .says("0 1 2 3 /");
    for number in 3..20 {
        let cwd = format!("/proc/self/fd/{number}");
        let ran = sandbox.exec(&id, &["--cwd", &cwd, "--", "pwd"]);
        assert_eq!(ran.code, 255, "{ran:?}");
        let ran = sandbox.exec(&id, &[&format!("{cwd}/bin/sh"), "-c", "echo out"]);
        assert_eq!(ran.code, 255, "{ran:?}");
    }
    // Nor can a process of the container look into the one that comes: it is gone, or the program, or closed.
    let spy = "while :; do for p in /proc/[0-9]*; do case $(readlink $p/exe 2>&-) in */aril*) echo $p >> /tmp/seen;; esac; done; done";
    sandbox.call_and_leave(&["exec", "--detach", &id, "sh", "-c", spy]);
    for _ in 0..20 {
        sandbox.exec(&id, &["true"]).ok();
    }
    sandbox
        .exec(
            &id,
            &[
                "sh",
                "-c",
                "test -e /tmp/seen && cat /tmp/seen || echo nothing",
            ],
        )
        .says("nothing");
}

#[test]
fn errors_are_named() {
    let (sandbox, id) = running();
    sandbox
        .exec(&id, &["nosuch"])
        .fails(255, "exec: \"nosuch\": executable file not found in $PATH");
    sandbox
        .exec(&id, &["/etc"])
        .fails(255, "exec: \"/etc\": is a directory");
    sandbox.exec(&id, &["--cwd", "/nope", "--", "true"]).fails(
        255,
        "chdir to cwd (\"/nope\") set in config.json failed: no such file or directory",
    );
    sandbox
        .exec(&id, &["--env", "NOVALUE", "--", "true"])
        .fails(255, "invalid environment variable: \"NOVALUE\"");
    sandbox
        .exec(&id, &[])
        .fails(255, "process args cannot be empty");
    sandbox
        .exec("nosuch", &["true"])
        .fails(255, "container \"nosuch\" does not exist");
}

#[test]
fn it_can_be_left_behind() {
    let (sandbox, id) = running();
    sandbox.call_and_leave(&[
        "exec",
        "--detach",
        "--pid-file",
        "pid",
        &id,
        "sleep",
        "1234",
    ]);
    let pid = std::fs::read_to_string(sandbox.dir.join("pid")).unwrap();
    until("it runs", || {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line == "sleep\u{0}1234\u{0}")
    });
}

#[test]
fn limits_and_filters_of_the_container_hold() {
    let mut sandbox = Sandbox::new("exec sleep 1000");
    sandbox
        .set("/linux/resources/pids", json!({"limit": 3}))
        .set(
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}),
        )
        .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 99}]))
        .set("/process/oomScoreAdj", json!(77));
    let id = sandbox.start("c");
    let ran = sandbox.exec(
        &id,
        &["sh", "-c", "sleep 3 & sleep 3 & sleep 3 & echo unreachable"],
    );
    assert!(ran.err.contains("can't fork"), "{ran:?}");
    sandbox
        .exec(&id, &["mkdir", "/tmp/x"])
        .fails(1, "Operation not permitted");
    sandbox
        .exec(
            &id,
            &["sh", "-c", "ulimit -n; cat /proc/self/oom_score_adj"],
        )
        .says("99\n77");
}

#[test]
fn cpus_before_and_after_joining() {
    let (sandbox, id) = running();
    let process = json!({"args": ["grep", "Cpus_allowed_list", "/proc/self/status"], "cwd": "/", "env": ["PATH=/bin"],
        "execCPUAffinity": {"initial": "0", "final": "0"}});
    std::fs::write(sandbox.dir.join("process.json"), process.to_string()).unwrap();
    Ran::from(sandbox.call(&["exec", "--process", "process.json", &id]))
        .says("Cpus_allowed_list:\t0");
}
