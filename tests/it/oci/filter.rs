//! Filters of system calls in force.

use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use super::{Ran, Sandbox};
use aril::container::seccomp::default_profile;
use aril::sys::fdpass;
use serde_json::{Value, json};

#[test]
fn actions_happen() {
    for (action, script, code, text) in [
        (
            json!({"action": "SCMP_ACT_ERRNO"}),
            "mkdir /tmp/x",
            1,
            "Operation not permitted",
        ),
        (
            json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 28}),
            "mkdir /tmp/x",
            1,
            "No space left on device",
        ),
        (
            json!({"action": "SCMP_ACT_KILL_PROCESS"}),
            "mkdir /tmp/x; exit $?",
            159,
            "",
        ),
        (
            json!({"action": "SCMP_ACT_TRAP"}),
            "mkdir /tmp/x; exit $?",
            159,
            "",
        ),
        (json!({"action": "SCMP_ACT_LOG"}), "mkdir /tmp/x", 0, ""),
    ] {
        for no_new_privileges in [false, true] {
            let mut sandbox = Sandbox::new(script);
            let mut rule = action.clone();
            rule["names"] = json!(["mkdir", "mkdirat", "nosuchcall"]);
            sandbox
                .set(
                    "/linux/seccomp",
                    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}),
                )
                .set("/process/noNewPrivileges", json!(no_new_privileges))
                // Without the right to install a filter at the end, it must come in time.
                .set("/process/user", json!({"uid": 1000, "gid": 1000}));
            open_tmp(&sandbox);
            let ran = sandbox.run();
            assert_eq!(ran.code, code, "{action} {ran:?}");
            assert!(ran.err.contains(text), "{action} {ran:?}");
        }
    }
}

fn open_tmp(sandbox: &Sandbox) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(sandbox.rootfs().join("tmp"), mode).unwrap();
}

#[test]
fn arguments_decide() {
    let mut sandbox = Sandbox::new("kill -0 $$ && echo zero; kill -10 $$ || echo refused");
    sandbox.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}]}]}),
    );
    let ran = sandbox.run();
    assert_eq!(ran.out, "zero\nrefused\n", "{ran:?}");
}

fn docker_profile(sandbox: &mut Sandbox, capabilities: &[&str]) {
    let capabilities: Vec<String> = capabilities.iter().map(|c| (*c).to_owned()).collect();
    let profile = default_profile(&capabilities, std::env::consts::ARCH);
    sandbox.set("/linux/seccomp", serde_json::to_value(profile).unwrap());
}

#[test]
fn docker_s_profile_lets_programs_work_and_keeps_namespaces_away() {
    let script = "grep -E '^Seccomp(_filters)?:' /proc/self/status; ls / > /dev/null; (sleep 0.01 &) ; ps > /dev/null; date > /dev/null; echo works
        unshare -U true 2>&1; unshare -m true 2>&1; mount -t tmpfs x /tmp 2>&1; setarch 2>&-; true";
    let mut sandbox = Sandbox::new(script);
    for set in ["bounding", "effective", "permitted"] {
        sandbox.push(
            &format!("/process/capabilities/{set}"),
            json!("CAP_SYS_ADMIN"),
        );
    }
    docker_profile(&mut sandbox, &[]);
    sandbox.run().says(
        "Seccomp:\t2\nSeccomp_filters:\t1\nworks\nunshare: unshare(0x10000000): Operation not permitted\n\
         unshare: unshare(0x20000): Operation not permitted\nmount: permission denied (are you root?)",
    );
    docker_profile(&mut sandbox, &["CAP_SYS_ADMIN"]);
    sandbox
        .script("unshare -m true && mount -t tmpfs x /tmp && echo allowed")
        .run()
        .says("allowed");
}

#[test]
fn docker_s_profile_and_an_init_get_along() {
    let mut sandbox = Sandbox::new("exit 9");
    docker_profile(&mut sandbox, &[]);
    let id = sandbox.id("run");
    assert_eq!(Ran::from(sandbox.call(&["run", "--init", &id])).code, 9);
}

#[test]
fn a_listener_gets_the_calls() {
    let mut sandbox = Sandbox::new("mkdir /tmp/x; exit $?");
    let listener = UnixListener::bind(sandbox.dir.join("agent")).unwrap();
    sandbox.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": sandbox.dir.join("agent"), "listenerMetadata": "hello",
               "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}),
    );
    let id = sandbox.id("run");
    let child = sandbox
        .command(&["run", &id])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (stream, _) = listener.accept().unwrap();
    let (document, fds) = fdpass::receive(stream.as_fd(), 65_536).unwrap().unwrap();
    let document: Value = serde_json::from_slice(&document).unwrap();
    assert_eq!(document["fds"], json!(["seccompFd"]));
    assert_eq!(document["metadata"], "hello");
    assert_eq!(document["state"]["id"], id.as_str());
    let link = std::fs::read_link(format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&fds[0])
    ))
    .unwrap();
    assert_eq!(link.to_str().unwrap(), "anon_inode:seccomp notify");
    // A listener that goes away makes the call fail.
    drop(fds);
    Ran::from(child.wait_with_output().unwrap()).fails(1, "Function not implemented");
    sandbox
        .set("/linux/seccomp/listenerPath", json!(""))
        .run()
        .fails(1, "seccomp listenerPath is not set");
}

#[test]
fn wrong_profiles_are_refused() {
    let mut sandbox = Sandbox::new("true");
    sandbox.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_NOPE"}));
    sandbox
        .run()
        .fails(1, "unknown seccomp action \"SCMP_ACT_NOPE\"");
}

#[test]
fn compiled_profiles_are_kept_and_stand_for_their_own_text_alone() {
    let mut sandbox = Sandbox::new("mkdir /tmp/x; rmdir /tmp/x");
    let filters = sandbox.dir.join("run/@filters");
    let forbid = |sandbox: &mut Sandbox, call: &str| {
        let rules = json!([{"names": [call], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]);
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
        sandbox.set("/linux/seccomp", profile);
        let ran = sandbox.run();
        assert!(ran.err.contains(&format!("{call}:")), "{ran:?}");
        assert!(ran.err.contains("No space left on device"), "{ran:?}");
    };
    let kept = || -> Vec<PathBuf> {
        let files = std::fs::read_dir(&filters).unwrap();
        files.map(|file| file.unwrap().path()).collect()
    };
    forbid(&mut sandbox, "mkdir");
    let [first] = kept().try_into().unwrap();
    let inode = std::fs::metadata(&first).unwrap().ino();
    forbid(&mut sandbox, "mkdir");
    assert_eq!(std::fs::metadata(&first).unwrap().ino(), inode);
    forbid(&mut sandbox, "rmdir");
    assert_eq!(kept().len(), 2);
    // Whoever finds another profile under its name compiles its own.
    for file in kept() {
        std::fs::write(&file, "what nobody has compiled").unwrap();
    }
    forbid(&mut sandbox, "mkdir");
    // It is no container.
    assert_eq!(sandbox.call(&["list", "--quiet"]).stdout, b"");
}
