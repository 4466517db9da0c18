//! Kernels that lack newer calls, as far as this one can play them (`ARIL_KERNEL_FALLBACK`).

use super::{Ran, Sandbox};
use serde_json::json;

/// What nearly every container uses.
fn check(fallback: &str) {
    let mut sandbox = Sandbox::new(
        "touch /ro/x 2>&- || echo ro; touch /rw/x && echo rw; touch /x 2>&- || echo root ro; wc -c < /proc/timer_list
         touch /sys/firmware/x 2>&- || echo masked; echo 1 2>&- > /proc/sys/kernel/domainname || echo sys ro
         grep ' /ro ' /proc/mounts | cut -d' ' -f4 | grep -o nosuid; cut -d: -f3 /proc/self/cgroup | sort -u",
    );
    let data = sandbox.dir.join("data");
    std::fs::create_dir(&data).unwrap();
    let bind = |destination: &str, options: &[&str]| json!({"destination": destination, "type": "bind", "source": data.to_str().unwrap(), "options": options});
    let mounts = [
        bind("/ro", &["rbind", "rprivate", "ro", "nosuid"]),
        bind("/rw", &["bind"]),
    ];
    for mount in mounts {
        sandbox.push("/mounts", mount);
    }
    std::fs::create_dir(sandbox.rootfs().join("ro")).unwrap();
    std::fs::create_dir(sandbox.rootfs().join("rw")).unwrap();
    sandbox
        .set("/root/readonly", json!(true))
        .fallback(fallback);
    let expected = "ro\nrw\nroot ro\n0\nmasked\nsys ro\nnosuid\n/";
    sandbox.run().says(expected);

    sandbox
        .script("exec sleep 1000")
        .set("/root/readonly", json!(false));
    let id = sandbox.start("c");
    sandbox.exec(&id, &["sh", "-c", "hostname; readlink /proc/self/ns/net | grep -c $(readlink /proc/1/ns/net | tr -dc 0-9); ps | grep -c '[s]leep 1000'"])
        .says("box\n1\n1");
    Ran::from(sandbox.call(&["pause", &id])).ok();
    Ran::from(sandbox.call(&["delete", "--force", &id])).ok();
}

#[test]
fn without_mount_setattr() {
    check("mount_setattr");
    let mut sandbox = Sandbox::new("true");
    let dir = sandbox.dir.to_str().unwrap().to_owned();
    sandbox
        .push("/mounts", json!({"destination": "/x", "type": "bind", "source": dir, "options": ["rbind", "rro"]}))
        .fallback("mount_setattr")
        .run()
        .fails(1, "error mounting \"bind\" to rootfs at \"/x\"");
}

#[test]
fn without_moving_oneself_into_cgroups() {
    check("cgroup.tasks,clone_into_cgroup");
}

#[test]
fn without_setns_on_pidfds() {
    check("setns_pidfd");
}

#[test]
fn without_detached_binaries() {
    check("detached_exe");
}

#[test]
fn without_all_of_them() {
    check("mount_setattr,clone_into_cgroup,cgroup.tasks,cgroup.kill,setns_pidfd,detached_exe");
}
