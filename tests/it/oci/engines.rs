//! aril as the runtime of other engines: dockerd, containerd and podman, as Debian has them.

use std::path::PathBuf;

use crate::peers::{Containerd, Docker, Podman};
use crate::sandbox::{ARIL, Sandbox, image, wait_until};

/// Returns the program under the name by which it is a runtime.
fn runtime(sandbox: &Sandbox) -> PathBuf {
    let path = sandbox.path("aril-oci");
    std::os::unix::fs::symlink(ARIL, &path).unwrap();
    path
}

/// Makes an archive of a root filesystem with busybox; returns its name.
fn archive(sandbox: &Sandbox) -> &'static str {
    sandbox.shell(&format!(
        "tar -C {} -cf busybox.tar .",
        image::rootfs().display()
    ));
    "busybox.tar"
}

#[test]
fn dockerd_runs_containers_by_it() {
    let sandbox = Sandbox::bare();
    let runtime = runtime(&sandbox);
    sandbox.shell("ip link add br-test type bridge; ip address add 10.99.0.1/24 dev br-test");
    let docker = Docker::start(
        &sandbox,
        &[
            &format!("--add-runtime aril={}", runtime.display()),
            "--default-runtime aril --bridge br-test",
        ],
    );
    docker.ok(&["import", "-c", "CMD [\"sh\"]", archive(&sandbox), "busybox"]);
    assert_eq!(
        docker.ok(&["run", "--rm", "busybox", "echo", "hello"]),
        "hello"
    );
    let ran = docker.docker(&["run", "--rm", "busybox", "sh", "-c", "exit 7"]);
    assert_eq!(ran.code, 7, "{ran:?}");
    let ran = docker.docker(&["run", "--rm", "busybox", "/nosuch"]);
    assert_eq!(ran.code, 127, "{ran:?}");

    docker.ok(&[
        "run", "-d", "--name", "web", "-m", "64m", "busybox", "sleep", "1000",
    ]);
    let limit = "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes";
    assert_eq!(docker.ok(&["exec", "web", "sh", "-c", limit]), "67108864");
    // On its bridge it is reached from another one.
    let address = docker.ok(&["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web"]);
    docker.ok(&["run", "--rm", "busybox", "ping", "-c", "1", &address]);
    let ran = docker.docker(&["exec", "web", "sh", "-c", "exit 9"]);
    assert_eq!(ran.code, 9, "{ran:?}");
    let stats = docker.ok(&[
        "stats",
        "--no-stream",
        "--format",
        "{{.MemUsage}} {{.PIDs}}",
        "web",
    ]);
    assert!(stats.contains("/ 64MiB 1"), "{stats}");
    docker.ok(&["pause", "web"]);
    docker.ok(&["unpause", "web"]);
    docker.ok(&["update", "-m", "48m", "--memory-swap", "64m", "web"]);
    assert_eq!(docker.ok(&["exec", "web", "sh", "-c", limit]), "50331648");
    docker.ok(&["restart", "-t", "0", "web"]);
    assert_eq!(docker.ok(&["exec", "web", "echo", "again"]), "again");
    docker.ok(&["kill", "web"]);
    assert_eq!(docker.ok(&["wait", "web"]), "137");
    docker.ok(&["rm", "web"]);
    drop(docker);
    sandbox.shell("ip link delete br-test");
}

#[test]
fn containerd_runs_containers_by_it() {
    let sandbox = Sandbox::new();
    let runtime = runtime(&sandbox);
    let runtime = runtime.to_str().unwrap();
    let containerd = Containerd::start(&sandbox);
    sandbox.ok(&["save", "-o", "saved.tar", "busybox"]);
    containerd.ok(&["image", "import", "saved.tar"]);
    let image = "docker.io/library/busybox:latest";
    let cgroup = containerd.cgroup("box");
    let run = ["run", "--runc-binary", runtime, "--cgroup", &cgroup];
    let with = |args: &[&'static str]| {
        let mut all: Vec<&str> = run.to_vec();
        all.extend(args);
        containerd.ctr(&all)
    };
    with(&["--rm", image, "box", "echo", "hello"]).says("hello");
    let ran = with(&["--rm", image, "box", "sh", "-c", "exit 7"]);
    assert_eq!(ran.code, 7, "{ran:?}");
    with(&["-d", image, "box", "sleep", "1000"]).ok();
    let exec = ["task", "exec", "--exec-id", "one", "box", "echo", "joined"];
    assert_eq!(containerd.ok(&exec), "joined");
    containerd.ok(&["task", "pause", "box"]);
    containerd.ok(&["task", "resume", "box"]);
    containerd.ok(&["task", "metrics", "box"]);
    containerd.ok(&["task", "kill", "-s", "KILL", "box"]);
    wait_until("the task has ended", || {
        containerd.ok(&["task", "ls"]).contains("STOPPED")
    });
    containerd.ok(&["task", "rm", "box"]);
    containerd.ok(&["container", "rm", "box"]);
}

#[test]
fn podman_runs_containers_by_it() {
    let sandbox = Sandbox::bare();
    let podman = Podman::with_runtime(&sandbox, &runtime(&sandbox));
    podman.ok(&["import", "-c", "CMD [\"sh\"]", archive(&sandbox), "busybox"]);
    podman
        .run(&["--rm", "busybox", "echo", "hello"])
        .says("hello");
    let ran = podman.run(&["--rm", "busybox", "sh", "-c", "exit 7"]);
    assert_eq!(ran.code, 7, "{ran:?}");
    let ran = podman.run(&["--rm", "busybox", "/nosuch"]);
    assert_eq!(ran.code, 127, "{ran:?}");
    podman
        .run(&["-d", "--name", "waits", "busybox", "sleep", "1000"])
        .ok();
    assert_eq!(podman.ok(&["exec", "waits", "echo", "joined"]), "joined");
    podman.ok(&["pause", "waits"]);
    podman.ok(&["unpause", "waits"]);
    podman.ok(&["kill", "waits"]);
    assert_eq!(podman.ok(&["wait", "waits"]), "137");
    podman.ok(&["rm", "waits"]);
}

/// Returns the blocks of `language` in the documentation.
fn documented(language: &str) -> Vec<&'static str> {
    let text = include_str!("../../../docs/kubernetes.md");
    let blocks = text.split("```").skip(1).step_by(2);
    let block = |block: &'static str| block.strip_prefix(language)?.strip_prefix('\n');
    blocks.filter_map(block).collect()
}

#[test]
fn documented_configurations_are_taken() {
    let sandbox = Sandbox::bare();
    let tables = documented("toml");
    assert_eq!(tables.len(), 3);
    for table in &tables {
        table.parse::<toml::Table>().unwrap();
    }
    sandbox.write("config.toml", tables[0]);
    let dump = sandbox.shell("containerd --config config.toml config dump");
    let (_, ours) = dump
        .split_once("containerd.runtimes.aril.options]")
        .unwrap();
    let ours = ours.trim_start();
    assert!(
        ours.starts_with("BinaryName = \"/usr/local/bin/aril-oci\""),
        "{ours}"
    );
    let daemon: serde_json::Value = serde_json::from_str(documented("json")[0]).unwrap();
    assert_eq!(
        daemon["runtimes"]["aril"]["path"],
        "/usr/local/bin/aril-oci"
    );
    assert!(documented("yaml")[0].contains("handler: aril"));
}
