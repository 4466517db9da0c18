//! Cgroups on the v2 hierarchy, which hybrid hosts have beside their v1 ones: everything that needs no controller, device
//! programs among them. The v1 side is tested through containers.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use aril::cgroup::layout::{Hierarchy, Host, detect};
use aril::cgroup::{self, Cgroup};
use aril::oci::runtime::resources::Resources;

/// This host as if it had nothing but its v2 hierarchy.
fn v2_only() -> Host {
    let unified = detect().unwrap().unified.clone();
    Host {
        v1: Vec::new(),
        unified: Some(unified.expect("these tests need a cgroup2 mount")),
    }
}

fn resources(json: &str) -> Resources {
    serde_json::from_str(json).unwrap()
}

fn path(name: &str) -> PathBuf {
    Path::new(cgroup::PARENT).join(format!("it-{}-{name}", std::process::id()))
}

/// A shell in the cgroup.
fn inside(cgroup: &Cgroup, script: &str) -> Child {
    let procs = cgroup.unified().unwrap().join("cgroup.procs");
    Command::new("sh")
        .args([
            "-c",
            &format!("echo $$ > {} && {{ {script}; }}", procs.display()),
        ])
        .spawn()
        .unwrap()
}

fn wait_inside(cgroup: &Cgroup, count: usize) {
    crate::oci::until("the processes are inside", || {
        cgroup.pids().unwrap().len() == count
    });
}

#[test]
fn device_programs_decide() {
    let host = v2_only();
    let rules = r#"{"devices":[{"allow":false},{"allow":true,"type":"c","major":1,"minor":3},
                    {"allow":true,"type":"c","major":1,"minor":5,"access":"r"}]}"#;
    let cgroup = cgroup::create(&host, &path("devices"), &resources(rules)).unwrap();
    let check = |script: &str, allowed: bool| {
        let status = inside(&cgroup, script).wait().unwrap();
        assert_eq!(status.success(), allowed, "{script}");
    };
    check("exec 2>&-; echo x > /dev/null", true);
    check("exec < /dev/zero", true);
    check("exec 2> /dev/null > /dev/zero", false);
    check("exec 2> /dev/null < /dev/urandom", false);
    // An update replaces the rules; one without rules leaves them.
    cgroup
        .update(
            &host,
            &resources(
                r#"{"devices":[{"allow":true},{"allow":false,"type":"c","major":1,"minor":5}]}"#,
            ),
        )
        .unwrap();
    check("exec < /dev/urandom", true);
    check("exec 2> /dev/null < /dev/zero", false);
    cgroup.update(&host, &resources("{}")).unwrap();
    check("exec 2> /dev/null < /dev/zero", false);
    cgroup.remove().unwrap();
    assert!(!cgroup.unified().unwrap().exists());
}

#[test]
fn processes_are_frozen_thawed_and_killed() {
    let host = v2_only();
    let cgroup = cgroup::create(&host, &path("freeze"), &resources("{}")).unwrap();
    let mut child = inside(&cgroup, "sleep 1000 & exec sleep 1000");
    wait_inside(&cgroup, 2);
    assert!(!cgroup.is_frozen().unwrap());
    cgroup.freeze().unwrap();
    assert!(cgroup.is_frozen().unwrap());
    cgroup.thaw().unwrap();
    assert!(!cgroup.is_frozen().unwrap());
    // Processes in it keep it from being removed or taken over.
    let again = cgroup::create(&host, &path("freeze"), &resources("{}")).unwrap_err();
    assert!(
        again
            .to_string()
            .contains("container's cgroup is not empty"),
        "{again}"
    );
    cgroup.freeze().unwrap();
    cgroup.kill_all().unwrap();
    child.wait().unwrap();
    std::fs::create_dir_all(cgroup.unified().unwrap().join("a/b")).unwrap();
    cgroup.remove().unwrap();
    assert!(!cgroup.unified().unwrap().exists());
    cgroup.remove().unwrap();
}

#[test]
fn limits_need_their_controllers() {
    let host = v2_only();
    if host.unified_controllers().iter().any(|c| c == "memory") {
        let cgroup = cgroup::create(
            &host,
            &path("limits"),
            &resources(r#"{"memory":{"limit":67108864}}"#),
        )
        .unwrap();
        let limit = std::fs::read_to_string(cgroup.unified().unwrap().join("memory.max")).unwrap();
        assert_eq!(limit.trim(), "67108864");
        cgroup.remove().unwrap();
        return;
    }
    let error = cgroup::create(
        &host,
        &path("limits"),
        &resources(r#"{"memory":{"limit":67108864}}"#),
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the memory cgroup controller is not available on this host"),
        "{error}"
    );
    let left: PathBuf = host
        .unified
        .unwrap()
        .mount
        .join(path("limits").strip_prefix("/").unwrap());
    assert!(!left.exists());
}

#[test]
fn paths_stay_below_the_root() {
    let host = v2_only();
    for bad in ["/a/../../b", "/", ""] {
        assert!(
            cgroup::create(&host, Path::new(bad), &resources("{}")).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn opening_finds_what_is_there() {
    let host = v2_only();
    let made = cgroup::create(&host, &path("open"), &resources("{}")).unwrap();
    let opened = cgroup::open(&host, &path("open")).unwrap();
    assert_eq!(opened.unified(), made.unified());
    made.remove().unwrap();
    assert_eq!(cgroup::open(&host, &path("open")).unwrap().unified(), None);
    let _: Option<&Hierarchy> = host.unified.as_ref();
}
