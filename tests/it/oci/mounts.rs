//! Mounts: binds, attributes, propagation, targets, what must not be covered.

use std::os::unix::fs::symlink;

use super::{Sandbox, until};
use serde_json::{Value, json};

fn bind(source: &str, destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": options})
}

#[test]
fn binds_of_files_and_directories() {
    let mut sandbox = Sandbox::new(
        "cat /data/file /etc/config /relative/file; touch /data/new /relative/x 2>&-; ls /data /relative",
    );
    let data = sandbox.dir.join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("file"), "content\n").unwrap();
    let file = data.join("file");
    sandbox
        .push(
            "/mounts",
            bind(data.to_str().unwrap(), "/data", &["rbind", "rw"]),
        )
        .push(
            "/mounts",
            bind(file.to_str().unwrap(), "/etc/config", &["bind", "ro"]),
        )
        .push("/mounts", bind("data", "relative", &["bind", "ro"]));
    let listing = "/data:\nfile\nnew\n\n/relative:\nfile\nnew";
    sandbox
        .run()
        .says(&format!("content\ncontent\ncontent\n{listing}"));
    assert!(data.join("new").exists() && !data.join("x").exists());
}

#[test]
fn targets_that_do_not_fit_are_named() {
    let mut sandbox = Sandbox::new("true");
    let dir = sandbox.dir.to_str().unwrap().to_owned();
    let fresh = sandbox.config.clone();
    for (mount, text) in [
        (
            bind("/no/such", "/x", &["rbind"]),
            "error mounting \"/no/such\" to rootfs at \"/x\": no such file or directory",
        ),
        (
            bind(&dir, "/etc/passwd", &["rbind"]),
            "not a directory: Are you trying to mount a directory onto a file (or vice-versa)?",
        ),
        (
            bind("/etc/passwd", "/tmp", &["bind"]),
            "Are you trying to mount a directory onto a file",
        ),
        (
            bind(&dir, "/proc", &["rbind"]),
            "\"/proc\" cannot be mounted because it is not of type proc",
        ),
        (
            bind(&dir, "/proc/sys", &["rbind"]),
            "\"/proc/sys\" cannot be mounted because it is inside /proc",
        ),
        (
            bind(&dir, "/linked/self", &["rbind"]),
            "cannot be mounted because it is inside /proc",
        ),
        (
            bind(&dir, "/", &["rbind"]),
            "it is the root filesystem itself",
        ),
        (
            json!({"destination": "/x", "type": "nosuchfs", "source": "x"}),
            "error mounting \"nosuchfs\" to rootfs at \"/x\": no such device",
        ),
        (
            json!({"destination": "/x", "type": "tmpfs", "source": "x", "options": ["nosuchoption"]}),
            "error mounting \"tmpfs\" to rootfs at \"/x\": invalid argument",
        ),
        (
            json!({"destination": "/x", "source": "x"}),
            "has neither a type nor the option bind",
        ),
    ] {
        sandbox.config = fresh.clone();
        std::fs::remove_file(sandbox.rootfs().join("linked")).ok();
        symlink("/proc", sandbox.rootfs().join("linked")).unwrap();
        sandbox.push("/mounts", mount).run().fails(1, text);
    }
    // Lxcfs covers files that only inform.
    sandbox.config = fresh;
    sandbox
        .push("/mounts", bind("/etc/hostname", "/proc/uptime", &["bind"]))
        .script("cat /proc/uptime");
    sandbox
        .run()
        .says(std::fs::read_to_string("/etc/hostname").unwrap().trim());
}

#[test]
fn cve_2023_27561_2019_18837_and_2025_54867_proc_and_sys_must_be_directories() {
    for name in ["proc", "sys"] {
        let mut sandbox = Sandbox::new("true");
        let rootfs = sandbox.rootfs();
        std::fs::remove_dir(rootfs.join(name)).unwrap();
        symlink("/tmp", rootfs.join(name)).unwrap();
        sandbox
            .run()
            .fails(1, "must be mounted on ordinary directory");
    }
}

#[test]
fn links_in_the_image_stay_inside() {
    let mut sandbox = Sandbox::new("ls /inside; ls /out 2>&1");
    let rootfs = sandbox.rootfs();
    let outside = sandbox.dir.join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::create_dir(rootfs.join("inside")).unwrap();
    symlink("../../../../../../../../../inside", rootfs.join("climb")).unwrap();
    symlink(&outside, rootfs.join("out")).unwrap();
    let data = sandbox.dir.join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("file"), "").unwrap();
    sandbox.push(
        "/mounts",
        bind(data.to_str().unwrap(), "/climb", &["rbind"]),
    );
    sandbox.push(
        "/mounts",
        bind(data.to_str().unwrap(), "/out/deep/er", &["rbind"]),
    );
    let ran = sandbox.run();
    // A link that dangles inside cannot become a directory; nothing was made outside.
    ran.fails(1, "open mount target \"/out/deep/er\" beneath the root");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    sandbox.config["mounts"].as_array_mut().unwrap().pop();
    sandbox.script("ls /inside").run().says("file");
}

#[test]
fn attributes_reach_the_mount_or_the_whole_tree() {
    let mut sandbox = Sandbox::new(
        "touch /plain/x 2>&- || echo ro; touch /plain/sub/x 2>&- && echo sub rw
         touch /all/x 2>&- || echo ro; touch /all/sub/x 2>&- || echo sub ro",
    );
    let data = sandbox.dir.join("data");
    std::fs::create_dir_all(data.join("sub")).unwrap();
    let data = data.to_str().unwrap();
    // A mount below the source, in a mount namespace that ends with the test's commands.
    sandbox
        .push("/mounts", bind(data, "/plain", &["rbind", "ro"]))
        .push("/mounts", bind(data, "/all", &["rbind", "rro"]));
    let prelude = format!("mount -t tmpfs tmpfs {data}/sub &&");
    sandbox
        .run_by(&["unshare", "-m"], &prelude, "")
        .says("ro\nsub rw\nro\nsub ro");
}

#[test]
fn a_tmpfs_starts_with_what_it_covers() {
    let mut sandbox = Sandbox::new(
        "cat /etc/passwd | wc -l; touch /etc/new; stat -c %a /etc; grep ' /etc ' /proc/mounts | cut -d' ' -f3",
    );
    let tmpfs = |options: &[&str]| json!({"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": options});
    sandbox
        .push("/mounts", tmpfs(&["tmpcopyup"]))
        .run()
        .says("2\n755\ntmpfs");
    assert!(!sandbox.rootfs().join("etc/new").exists());
    sandbox.config["mounts"].as_array_mut().unwrap().pop();
    sandbox
        .push("/mounts", tmpfs(&["tmpcopyup", "ro", "size=1m"]))
        .script("wc -l < /etc/passwd; touch /etc/x 2>&- || echo ro");
    sandbox.run().says("2\nro");
}

#[test]
fn options_may_be_longer_than_the_new_calls_take() {
    let mut sandbox = Sandbox::new("cat /merged/file");
    let base = sandbox.dir.join("x".repeat(100));
    let mut lower = Vec::new();
    for number in 0..3 {
        let layer = base.join(number.to_string());
        std::fs::create_dir_all(&layer).unwrap();
        lower.push(layer.to_str().unwrap().to_owned());
    }
    std::fs::write(base.join("1/file"), "layered").unwrap();
    let option = format!("lowerdir={}", lower.join(":"));
    assert!(option.len() > 300);
    sandbox.push(
        "/mounts",
        json!({"destination": "/merged", "type": "overlay", "source": "overlay", "options": [option]}),
    );
    sandbox.run().says("layered");
}

#[test]
fn mounts_of_the_container_stay_in_it_unless_shared() {
    // `mount` shows what a later mount on the host does to the container's view, and the other way round.
    let propagation = |options: &[&str], root: &str| {
        let mut sandbox = Sandbox::new(
            "grep ' /data ' /proc/self/mountinfo | grep -oE '(shared|master):' | tr '\\n' ' '",
        );
        let data = sandbox.dir.join("data");
        std::fs::create_dir(&data).unwrap();
        sandbox.push("/mounts", bind(data.to_str().unwrap(), "/data", options));
        sandbox.set("/linux/rootfsPropagation", json!(root));
        // A host whose mounts are shared, as systemd makes them.
        sandbox
            .run_by(&["unshare", "-m", "--propagation", "shared"], "", "")
            .ok()
    };
    for (options, root, expected) in [
        (&["rbind"][..], "", "master:"),
        (&["rbind", "rprivate"], "", ""),
        (&["rbind", "rslave"], "", "master:"),
        (&["rbind", "rshared"], "", "shared: master:"),
        (&["rbind", "rshared"], "shared", "shared:"),
        (&["rbind", "rprivate"], "shared", ""),
    ] {
        assert_eq!(propagation(options, root), expected, "{options:?} {root:?}");
    }
}

#[test]
fn the_root_has_the_propagation_asked_for() {
    for (asked, expected) in [
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("private", ""),
        ("", ""),
    ] {
        let mut sandbox =
            Sandbox::new("grep ' / / ' /proc/self/mountinfo | grep -o shared: || true");
        // The root's own line: its mount point is /.
        sandbox
            .script("cut -d' ' -f5,7 /proc/self/mountinfo | grep '^/ ' | grep -o shared: || true");
        sandbox
            .set("/linux/rootfsPropagation", json!(asked))
            .run()
            .says(expected);
    }
}

#[test]
fn ids_of_a_mount_can_be_mapped() {
    let mut sandbox = Sandbox::new("stat -c '%u %g' /data/file; touch /data/new");
    let data = sandbox.dir.join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("file"), "").unwrap();
    std::os::unix::fs::chown(data.join("file"), Some(5000), Some(6000)).unwrap();
    std::os::unix::fs::chown(&data, Some(5000), Some(6000)).unwrap();
    let mut mount = bind(data.to_str().unwrap(), "/data", &["bind"]);
    mount["uidMappings"] = json!([{"containerID": 5000, "hostID": 0, "size": 1}]);
    mount["gidMappings"] = json!([{"containerID": 6000, "hostID": 0, "size": 1}]);
    sandbox.push("/mounts", mount.clone()).run().says("0 0");
    let new = std::fs::metadata(data.join("new")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&new), 5000);
    mount.as_object_mut().unwrap().remove("gidMappings");
    mount["uidMappings"] = json!([]);
    mount["options"] = json!(["bind", "idmap"]);
    sandbox.config["mounts"].as_array_mut().unwrap().pop();
    sandbox
        .push("/mounts", mount)
        .run()
        .fails(1, "an id-mapped mount needs uidMappings and gidMappings");
}

#[test]
fn without_pivot_the_old_root_is_out_of_reach() {
    let mut sandbox = Sandbox::new(
        "ls / | tr '\\n' ' '; umount / 2>&-; ls / | wc -l; touch /ready; exec sleep 1000",
    );
    let id = sandbox.id("c");
    for args in [["create", "--no-pivot", &id].as_slice(), &["start", &id]] {
        let mut command = sandbox.command(args);
        let log = std::fs::File::create(sandbox.dir.join("log")).unwrap();
        assert!(
            command
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .status()
                .unwrap()
                .success()
        );
    }
    let ready = sandbox.rootfs().join("ready");
    until("the program runs", || ready.exists());
    sandbox.exec(&id, &["cat", "/etc/passwd"]).ok();
}

#[test]
fn only_the_container_s_cgroup_is_seen() {
    let script = "for c in memory pids cpu; do grep -c . /sys/fs/cgroup/$c/cgroup.procs; done; mkdir /sys/fs/cgroup/pids/x 2>&- || echo ro
        grep -c ' /sys/fs/cgroup/' /proc/mounts; grep pids /proc/self/cgroup | cut -d: -f3";
    let mut sandbox = Sandbox::new(script);
    let hierarchies = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let count = hierarchies
        .lines()
        .filter(|line| line.split(' ').nth(2) == Some("cgroup"))
        .count();
    let with_namespace = sandbox.run().ok();
    assert_eq!(
        with_namespace.lines().skip(3).collect::<Vec<_>>(),
        ["ro", &count.to_string(), "/"],
        "{with_namespace}"
    );
    sandbox.without_namespace("cgroup");
    let without = sandbox.run().ok();
    let id = sandbox.id("run");
    assert_eq!(
        without.lines().skip(3).collect::<Vec<_>>(),
        ["ro", &count.to_string(), &format!("/{id}")],
        "{without}"
    );
}
