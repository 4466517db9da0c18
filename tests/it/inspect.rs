//! `inspect`: what a record says of what was asked for.

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

#[test]
fn a_container_tells_what_it_was_asked_for() {
    let sandbox = Sandbox::new();
    let command = "create --name box -e A=1 -w /tmp -u app -h host -it -l one=1 -m 64m --cpus 0.5 \
                --pids-limit 50 --cap-add SYS_ADMIN --cap-drop CHOWN --read-only --restart \
                on-failure:3 --tmpfs /scratch -v data:/data:ro --stop-signal QUIT --stop-timeout 5 \
                --init --shm-size 1m --ulimit nofile=10:20 --security-opt no-new-privileges \
                --add-host db:10.0.0.1 --dns 10.0.0.2 --sysctl net.ipv4.ip_forward=1 --oom-score-adj \
                5 --network none --entrypoint cat busybox -u file";
    let args: Vec<&str> = command.split(' ').collect();
    let id = sandbox.ok(&args);
    let text = sandbox.ok(&["inspect", "box"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    let it = &list[0];
    let check =
        |path: &str, expected: Value| assert_eq!(it.pointer(path), Some(&expected), "{path}");
    check("/Id", json!(id));
    check("/Name", json!("/box"));
    check("/Path", json!("cat"));
    check("/Args", json!(["-u", "file"]));
    check("/State/Status", json!("created"));
    check("/State/StartedAt", json!("0001-01-01T00:00:00Z"));
    check("/Config/Hostname", json!("host"));
    check("/Config/User", json!("app"));
    check("/Config/WorkingDir", json!("/tmp"));
    check("/Config/Tty", json!(true));
    check("/Config/OpenStdin", json!(true));
    check("/Config/Image", json!("busybox"));
    check("/Config/Cmd", json!(["-u", "file"]));
    check("/Config/Entrypoint", json!(["cat"]));
    check("/Config/Labels", json!({"one": "1"}));
    check("/Config/StopSignal", json!("QUIT"));
    check("/Config/StopTimeout", json!(5));
    check("/State/Running", json!(false));
    let env = it.pointer("/Config/Env").unwrap().as_array().unwrap();
    assert!(env.contains(&json!("A=1")), "{env:?}");
    check_host_config(it);
}

fn check_host_config(it: &Value) {
    let check =
        |path: &str, expected: Value| assert_eq!(it.pointer(path), Some(&expected), "{path}");
    check("/HostConfig/Memory", json!(64 << 20));
    check("/HostConfig/MemorySwap", json!(128 << 20));
    check("/HostConfig/NanoCpus", json!(500_000_000));
    check("/HostConfig/PidsLimit", json!(50));
    check("/HostConfig/CapAdd", json!(["CAP_SYS_ADMIN"]));
    check("/HostConfig/CapDrop", json!(["CAP_CHOWN"]));
    check("/HostConfig/ReadonlyRootfs", json!(true));
    check(
        "/HostConfig/RestartPolicy",
        json!({"Name": "on-failure", "MaximumRetryCount": 3}),
    );
    check("/HostConfig/Tmpfs", json!({"/scratch": ""}));
    check("/HostConfig/Binds", json!(["data:/data:ro"]));
    check("/HostConfig/Init", json!(true));
    check("/HostConfig/ShmSize", json!(1 << 20));
    check(
        "/HostConfig/Ulimits",
        json!([{"Name": "nofile", "Hard": 20, "Soft": 10}]),
    );
    check("/HostConfig/SecurityOpt", json!(["no-new-privileges"]));
    check("/HostConfig/ExtraHosts", json!(["db:10.0.0.1"]));
    check("/HostConfig/Dns", json!(["10.0.0.2"]));
    check("/HostConfig/Sysctls", json!({"net.ipv4.ip_forward": "1"}));
    check("/HostConfig/OomScoreAdj", json!(5));
    check("/HostConfig/NetworkMode", json!("none"));
    check("/Mounts/0/Name", json!("data"));
    check("/Mounts/0/RW", json!(false));
    check("/Mounts/0/Destination", json!("/data"));
}

#[test]
fn a_running_one_tells_its_process() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let pid = sandbox.inspect("box", "{{.State.Pid}}");
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(comm, "sleep\n");
    let started = sandbox.inspect("box", "{{.State.StartedAt}}");
    assert!(
        started.as_str() > "2001" && started.ends_with('Z'),
        "{started}"
    );
    sandbox.ok(&["stop", "-t", "0", "box"]);
    assert_eq!(
        sandbox.inspect(
            "box",
            "{{.State.Pid}} {{.State.Running}} {{.State.ExitCode}} {{.State.OOMKilled}}"
        ),
        "0 false 137 false"
    );
}

#[test]
fn several_and_missing_ones() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "--name", "box", "busybox"]);
    sandbox.ok(&["volume", "create", "vol"]);
    let ran = sandbox.aril(&["inspect", "box", "nosuch", "busybox", "vol"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("No such object: nosuch"), "{ran:?}");
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(found.as_array().unwrap().len(), 3);
    let ran = sandbox.aril(&["inspect", "nosuch"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, "[]\n"));
    assert_eq!(
        sandbox.ok(&[
            "inspect",
            "--type",
            "image",
            "-f",
            "{{index .RepoTags 0}}",
            "busybox"
        ]),
        "busybox:latest"
    );
    let error = sandbox.fails(1, &["inspect", "--type", "container", "busybox"]);
    assert!(error.contains("No such container: busybox"), "{error}");
    let error = sandbox.fails(1, &["inspect", "-f", "{{.Nosuch}}", "box"]);
    assert!(error.contains("template"), "{error}");
    let sized: Value = serde_json::from_str(&sandbox.ok(&["inspect", "-s", "box"])).unwrap();
    assert_eq!(sized[0]["SizeRw"], json!(0));
    assert!(sized[0]["SizeRootFs"].as_u64().unwrap() > 100_000);
}

#[test]
fn an_image_tells_its_layers_and_configuration() {
    let sandbox = Sandbox::new();
    let it: Value = serde_json::from_str(&sandbox.ok(&["image", "inspect", "busybox"])).unwrap();
    let it = &it[0];
    assert_eq!(it["RepoTags"], json!(["busybox:latest"]));
    assert_eq!(it["Config"]["Cmd"], json!(["sh"]));
    assert_eq!(it["Os"], json!("linux"));
    assert_eq!(it["RootFS"]["Type"], json!("layers"));
    let layers = it["RootFS"]["Layers"].as_array().unwrap();
    assert_eq!(layers.len(), 1);
    assert!(layers[0].as_str().unwrap().starts_with("sha256:"));
    assert!(it["Size"].as_u64().unwrap() > 100_000);
    let error = sandbox.fails(1, &["image", "inspect", "nosuch"]);
    assert!(error.contains("No such image: nosuch"), "{error}");
}

#[test]
fn what_a_container_has_of_another_is_shown_as_its_own() {
    let sandbox = Sandbox::with_box(&["-h", "host", "-v", "data:/data", "-v", "/tmp:/tmp:ro"]);
    let other = ["--network", "container:box", "--volumes-from", "box:ro"];
    sandbox.ok(&[&["create", "--name", "other"], &other[..], &["busybox"]].concat());
    assert_eq!(sandbox.inspect("other", "{{.Config.Hostname}}"), "host");
    let mounts = "{{range .Mounts}}{{.Destination}} {{.Mode}} {{.RW}}, {{end}}";
    let mounts = sandbox.inspect("other", mounts);
    assert!(mounts.contains("/data  false, "), "{mounts:?}");
    assert!(mounts.contains("/tmp  false,"), "{mounts:?}");
    let mac = "02:42:0a:63:07:99";
    sandbox.ok(&["create", "--name", "mac", "--mac-address", mac, "busybox"]);
    assert_eq!(sandbox.inspect("mac", "{{.Config.MacAddress}}"), mac);
}
