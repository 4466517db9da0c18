//! Hooks: when they run, where, with what.

use super::{Ran, Sandbox};
use serde_json::{Value, json};

/// A hook that appends its name, status and more to a file of the host.
fn hook(sandbox: &Sandbox, name: &str, script: &str) -> Value {
    let log = sandbox.dir.join("hooklog").display().to_string();
    let script = format!(
        "read -r state; status=${{state#*status\\\":\\\"}}; status=${{status%%\\\"*}}; pid=${{state#*pid\\\":}}; pid=${{pid%%,*}}; {script}"
    );
    json!({"path": "/bin/sh", "args": ["hook", "-c", script], "env": [format!("LOG={log}"), format!("NAME={name}"), "PATH=/bin:/usr/bin"]})
}

#[test]
fn all_hooks_run_in_their_order_and_place() {
    let mut sandbox = Sandbox::new("echo program >> /log; cat /made");
    let log = sandbox.dir.join("hooklog");
    std::fs::write(&log, "").unwrap();
    std::fs::write(sandbox.rootfs().join("log"), "").unwrap();
    let dir = sandbox.dir.display().to_string();
    sandbox.push("/mounts", json!({"destination": "/log", "type": "bind", "source": log.to_str().unwrap(), "options": ["bind"]}));
    let report = "echo $NAME $status $(test $pid -gt 1 && echo host || echo $pid) $PWD >> $LOG";
    let hooks = json!({
        "prestart": [hook(&sandbox, "prestart", report)],
        "createRuntime": [hook(&sandbox, "createRuntime", report)],
        // In the container's namespaces, but still with the host's root.
        "createContainer": [hook(&sandbox, "createContainer", &format!("{report}; hostname >> $LOG; echo made > {dir}/rootfs/made"))],
        "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "cat > /state; echo startContainer $PWD $(test -e /made && echo root) >> /log"], "env": ["PATH=/bin"]}],
        "poststart": [hook(&sandbox, "poststart", report)],
        "poststop": [hook(&sandbox, "poststop", report)]
    });
    sandbox.set("/hooks", hooks);
    let id = sandbox.id("c");
    sandbox.call_and_leave(&["create", &id]);
    let read = || std::fs::read_to_string(&log).unwrap();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let created = format!(
        "prestart creating host {dir}\ncreateRuntime creating host {dir}\ncreateContainer creating 1 {dir}\n{host}"
    );
    assert_eq!(read(), created);
    Ran::from(sandbox.call(&["start", &id])).ok();
    sandbox.wait_for_status(&id, "stopped");
    let all = read();
    let rest = all.strip_prefix(&created).unwrap();
    let mut lines: Vec<&str> = rest.lines().collect();
    assert_eq!(lines[0], "startContainer / root", "{all}");
    // The program and the hooks after its start are two processes.
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            &format!("poststart running host {dir}"),
            "program",
            "startContainer / root"
        ]
    );
    let state: Value =
        serde_json::from_str(&std::fs::read_to_string(sandbox.rootfs().join("state")).unwrap())
            .unwrap();
    assert_eq!(state["status"], "created");
    assert_eq!(state["pid"], 1);
    Ran::from(sandbox.call(&["delete", &id])).ok();
    assert!(read().ends_with(&format!("poststop stopped 0 {dir}\n")));
}

#[test]
fn a_hook_that_fails_ends_the_creation() {
    for kind in [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
    ] {
        let mut sandbox = Sandbox::new("echo ran");
        let after = sandbox.dir.join("after");
        let poststop = hook(&sandbox, "poststop", "echo $status > ${LOG%hooklog}after");
        sandbox.set(
            &format!("/hooks/{kind}"),
            json!([
                {"path": "/bin/true"},
                {"path": "/bin/sh", "args": ["sh", "-c", "echo broken >&2; exit 3"]}
            ]),
        );
        sandbox.set("/hooks/poststop", json!([{"path": "/bin/false"}, poststop]));
        let ran = sandbox.run();
        assert!(ran.out.is_empty(), "{ran:?}");
        ran.fails(
            1,
            &format!("error running {kind} hook #1: /bin/sh: exit status 3, stderr: broken"),
        );
        assert_eq!(std::fs::read_to_string(after).unwrap(), "stopped\n");
    }
}

#[test]
fn a_hook_after_the_start_that_fails_is_a_warning() {
    let mut sandbox = Sandbox::new("exec sleep 0.1");
    sandbox.set("/hooks/poststart", json!([{"path": "/no/such/hook"}]));
    let ran = sandbox.run();
    assert!(
        ran.err
            .contains("error running poststart hook #0: /no/such/hook: no such file or directory"),
        "{ran:?}"
    );
    ran.ok();
}

#[test]
fn cve_2025_23266_hooks_have_their_own_environment_only() {
    // CVE-2025-23266: LD_PRELOAD of an image must not reach a hook of the host.
    let mut sandbox = Sandbox::new("true");
    let out = sandbox.dir.join("env").display().to_string();
    sandbox.push("/process/env", json!("LD_PRELOAD=/evil.so"));
    for kind in ["createRuntime", "createContainer"] {
        sandbox.set("/hooks", json!({kind: [{"path": "/bin/dd", "args": ["dd", "if=/proc/self/environ", format!("of={out}")]}]}));
        sandbox.run().ok();
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "", "{kind}");
    }
}

#[test]
fn hooks_have_their_time_limit() {
    let mut sandbox = Sandbox::new("true");
    sandbox.set(
        "/hooks/createRuntime",
        json!([{"path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1}]),
    );
    sandbox.run().fails(
        1,
        "error running createRuntime hook #0: /bin/sleep: hook ran past specified timeout of 1 s",
    );
}
