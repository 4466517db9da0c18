//! Commands about containers, and what callers of runc read.

use std::path::Path;

use serde_json::{Value, json};

use super::{Sandbox, cgroups_of, until};

#[test]
fn help_and_versions_are_those_that_callers_read() {
    let sandbox = Sandbox::new("true");
    let help = String::from_utf8(sandbox.call(&["list", "--help"]).stdout).unwrap();
    assert!(help.starts_with("NAME:\n   aril-oci list - "), "{help}");
    let said = String::from_utf8(sandbox.call(&["-v"]).stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("aril-oci version "), "{said}");
    assert!(
        lines[1].starts_with("commit: ") && lines[2].starts_with("spec: 1."),
        "{said}"
    );
    let unknown = sandbox.call(&["nosuch", "-h"]);
    assert_eq!(unknown.status.code(), Some(3));
    let text = String::from_utf8(unknown.stderr).unwrap();
    assert!(text.contains("No help topic for 'nosuch'"), "{text}");
}

#[test]
fn features_are_a_document() {
    let sandbox = Sandbox::new("true");
    let features: Value = serde_json::from_slice(&sandbox.call(&["features"]).stdout).unwrap();
    let has = |list: &Value, name: &str| list.as_array().unwrap().contains(&json!(name));
    assert!(has(&features["linux"]["namespaces"], "time"));
    assert!(has(&features["linux"]["capabilities"], "CAP_SYS_ADMIN"));
    assert!(
        has(&features["linux"]["seccomp"]["archs"], "SCMP_ARCH_X86_64")
            || cfg!(not(target_arch = "x86_64"))
    );
    assert!(has(&features["mountOptions"], "rro"));
    assert_eq!(features["linux"]["netDevices"]["enabled"], true);
    assert!(has(
        &features["potentiallyUnsafeConfigAnnotations"],
        "org.criu.config"
    ));
    assert!(has(
        &features["linux"]["memoryPolicy"]["modes"],
        "MPOL_BIND"
    ));
}

#[test]
fn the_example_of_a_configuration_runs() {
    let mut sandbox = Sandbox::new("true");
    let written = sandbox.call(&["spec"]);
    // The sandbox has written its own there.
    assert_eq!(written.status.code(), Some(1), "{written:?}");
    let bundle = sandbox.dir.join("other");
    std::fs::create_dir(&bundle).unwrap();
    let written = sandbox.call(&["spec", "--bundle", "other"]);
    assert!(written.status.success(), "{written:?}");
    let text = std::fs::read(bundle.join("config.json")).unwrap();
    sandbox.config = serde_json::from_slice(&text).unwrap();
    sandbox.set("/process/terminal", json!(false));
    sandbox.set("/process/rlimits", json!([]));
    sandbox.script("hostname").run().says("aril");
}

#[test]
fn processes_are_shown() {
    let mut sandbox = Sandbox::new("sleep 1000");
    let id = sandbox.start("box");
    let pid = sandbox.state(&id)["pid"].clone();
    let said = sandbox.call(&["ps", "--format", "json", &id]);
    let pids: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert!(pids.as_array().unwrap().contains(&pid), "{pids} {pid}");
    let said = String::from_utf8(sandbox.call(&["ps", &id, "-o", "pid,args"]).stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].contains("PID") && lines.len() > 1, "{said}");
    assert!(lines[1].contains(&pid.to_string()), "{said}");
}

#[test]
fn statistics_are_reported() {
    let mut sandbox = Sandbox::new("sleep 1000");
    let id = sandbox.start("box");
    let said = sandbox.call(&["events", "--stats", &id]);
    let report: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(
        (&report["type"], &report["id"]),
        (&json!("stats"), &json!(id))
    );
    assert!(
        report["data"]["memory"]["usage"]["usage"].as_u64().unwrap() > 0,
        "{report}"
    );
    let wrong = sandbox.call(&["events", "--interval", "0s", &id]);
    assert_eq!(wrong.status.code(), Some(1));
}

#[test]
fn limits_are_changed() {
    let mut sandbox = Sandbox::new("sleep 1000");
    let id = sandbox.start("box");
    let update = |args: &[&str]| {
        let mut all = vec!["update"];
        all.extend(args);
        let updated = sandbox.call(&all);
        assert!(updated.status.success(), "{updated:?}");
    };
    let file = |v1: &str, v2: &str| {
        let directories = cgroups_of(&id);
        let mut paths = directories
            .iter()
            .flat_map(|dir| [dir.join(v1), dir.join(v2)]);
        let path = paths.rfind(|path| path.exists()).unwrap();
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    };
    update(&["--memory", "32M", &id, "--pids-limit", "20"]);
    assert_eq!(file("memory.limit_in_bytes", "memory.max"), "33554432");
    assert_eq!(file("pids.max", "pids.max"), "20");
    std::fs::write(sandbox.dir.join("limits"), r#"{"pids":{"limit":21}}"#).unwrap();
    update(&["-r", "limits", &id]);
    assert_eq!(file("pids.max", "pids.max"), "21");
    assert_eq!(file("memory.limit_in_bytes", "memory.max"), "33554432");
}

#[test]
fn nobody_is_signalled_after_the_end() {
    let mut sandbox = Sandbox::new("sleep 1000");
    let id = sandbox.start("box");
    assert!(sandbox.call(&["kill", &id, "KILL"]).status.success());
    sandbox.wait_for_status(&id, "stopped");
    let asked = sandbox.call(&["kill", "-a", &id, "0"]);
    assert!(asked.status.success(), "{asked:?}");
    assert_eq!(sandbox.call(&["kill", &id, "TERM"]).status.code(), Some(1));
}

#[test]
fn a_frozen_cgroup_is_refused() {
    let mut sandbox = Sandbox::new("true");
    let id = sandbox.id("box");
    let path = format!("/aril/{id}");
    let host = aril::cgroup::layout::detect().unwrap();
    let resources = aril::oci::runtime::resources::Resources::default();
    let cgroup = aril::cgroup::create(host, Path::new(&path), &resources).unwrap();
    cgroup.freeze().unwrap();
    sandbox.set("/linux/cgroupsPath", json!(path));
    let ran = super::Ran::from(sandbox.call(&["run", &id]));
    cgroup.thaw().unwrap();
    cgroup.remove().unwrap();
    ran.fails(1, "container's cgroup unexpectedly frozen");
}

#[test]
fn who_joins_a_paused_container_may_wait() {
    let mut sandbox = Sandbox::new("sleep 1000");
    let id = sandbox.start("box");
    assert!(sandbox.call(&["pause", &id]).status.success());
    sandbox
        .exec(&id, &["--", "true"])
        .fails(255, "cannot exec in a paused container");
    let mut joining = sandbox
        .command(&["exec", "--ignore-paused", &id, "true"])
        .spawn()
        .unwrap();
    assert!(joining.try_wait().unwrap().is_none());
    assert!(sandbox.call(&["resume", &id]).status.success());
    let mut code = None;
    until("the joined process ends", || {
        code = joining.try_wait().unwrap().map(|status| status.code());
        code.is_some()
    });
    assert_eq!(code, Some(Some(0)));
}

#[test]
fn root_opens_the_working_directory_for_the_user() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut sandbox = Sandbox::new("pwd");
    let home = sandbox.rootfs().join("secret");
    std::fs::create_dir(&home).unwrap();
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700)).unwrap();
    sandbox.set("/process/cwd", json!("/secret"));
    sandbox.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    sandbox.args(&["true"]).run().says("");
}
