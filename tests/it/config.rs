//! daemon.json.

use crate::sandbox::Sandbox;

#[test]
fn a_broken_file_is_shown_where_it_is_broken() {
    let sandbox = Sandbox::new();
    sandbox.configure("{\n  \"registry-mirrors\": [\n    \"https://mirror.gcr.io\"\n    \"https://docker.io\"\n  ]\n}\n");
    let said = sandbox.fails(1, &["info"]);
    assert!(
        said.contains("line 3, column 28: a comma is missing after \"https://mirror.gcr.io\""),
        "{said}"
    );
    assert!(
        said.contains("\n  3 |     \"https://mirror.gcr.io\"\n    |                            ^"),
        "{said}"
    );
    assert!(
        said.contains("hint: write a comma there (line 3)"),
        "{said}"
    );
    // What does not need the file works.
    sandbox.ok(&["ps"]);
    sandbox.configure("{\n  “registry-mirrors”: []\n}");
    let said = sandbox.fails(1, &["info"]);
    assert!(
        said.contains("line 2, column 3: “ only looks like \""),
        "{said}"
    );
}

#[test]
fn what_has_no_effect_is_a_warning_of_info() {
    let sandbox = Sandbox::new();
    sandbox.configure(r#"{"registry-mirror": ["https://mirror.gcr.io"], "log-driver": "none"}"#);
    let ran = sandbox.aril(&["info", "--format", "{{.LoggingDriver}}"]);
    assert_eq!(ran.out, "none\n", "{ran:?}");
    assert!(
        ran.err.contains(
            "WARNING: registry-mirror is no key of docker's (is registry-mirrors meant?)"
        ),
        "{ran:?}"
    );
}

#[test]
fn who_makes_cgroups_is_configured() {
    let sandbox = Sandbox::new();
    for driver in ["cgroupfs", "systemd"] {
        sandbox.configure(&format!(
            r#"{{"exec-opts": ["native.cgroupdriver={driver}"]}}"#
        ));
        let ran = sandbox.aril(&["info", "--format", "{{.CgroupDriver}}"]);
        assert_eq!((ran.out, ran.err.as_str()), (format!("{driver}\n"), ""));
    }
    // Here no systemd runs.
    let said = sandbox.fails(125, &["run", "--name", "box", "busybox", "true"]);
    let why = "systemd not running on this host, cannot use systemd cgroups manager";
    assert!(said.contains(why), "{said}");
    assert!(said.contains("native.cgroupdriver=cgroupfs"), "{said}");
    let said = sandbox.fails(1, &["create", "--cgroup-parent", "/box", "busybox"]);
    let why = "cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"";
    assert!(said.contains(why), "{said}");
    // A container keeps the driver that it was made with.
    sandbox.configure("{}");
    sandbox.fails(1, &["start", "box"]);
    sandbox.ok(&["rm", "box"]);
    sandbox.ok(&["run", "--rm", "busybox", "true"]);
}

#[test]
fn info_tells_what_scripts_ask_for() {
    let sandbox = Sandbox::new();
    sandbox.configure(
        r#"{"proxies": {"http-proxy": "http://me:secret@proxy.example.com"}, "debug": true}"#,
    );
    let check = |format: &str, want: &str| {
        assert_eq!(sandbox.ok(&["info", "-f", format]), want, "{format}");
    };
    check(
        "{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}",
        "inactive false",
    );
    check(
        "{{.Plugins.Volume}} {{.Plugins.Network}} {{json .Plugins.Authorization}}",
        "[local] [bridge host ipvlan macvlan null] null",
    );
    check("{{.Runtimes.nvidia}}", "<no value>");
    check("{{.Runtimes.runc.Path}} {{.DefaultRuntime}}", "aril aril");
    check("{{index .DriverStatus 1}}", "[Supports d_type true]");
    check(
        "{{.MemoryLimit}} {{.PidsLimit}} {{.CPUSet}}",
        "true true true",
    );
    check("{{.IndexServerAddress}}", "https://index.docker.io/v1/");
    check("{{.HTTPProxy}}", "http://xxxxx:xxxxx@proxy.example.com");
    check(
        "{{.ClientInfo.Context}} {{.ClientInfo.Debug}}",
        "default false",
    );
    let text = sandbox.ok(&["info"]);
    for part in [
        "Client:\n Version:    28.5.2\n Context:    default\n",
        "\n Images: 1\n",
        "\n Plugins:\n  Volume: local\n  Network: bridge host ipvlan macvlan null\n  Log: ",
        "\n Swarm: inactive\n Runtimes: aril io.containerd.runc.v2 runc\n",
        "\n Security Options:\n  seccomp\n   Profile: builtin\n",
        "\n HTTP Proxy: http://xxxxx:xxxxx@proxy.example.com\n",
    ] {
        assert!(text.contains(part), "{part:?}: {text}");
    }
    assert!(!sandbox.ok(&["info", "-f", "json"]).contains("secret"));
}

#[test]
fn info_shows_mirrors_as_docker_does() {
    let sandbox = Sandbox::bare();
    sandbox.configure(r#"{"registry-mirrors": ["https://mirror.gcr.io"], "insecure-registries": ["registry.example.com:5000", "10.0.0.0/8"]}"#);
    let text = sandbox.ok(&["info"]);
    let want = " Insecure Registries:\n  registry.example.com:5000\n  10.0.0.0/8\n  ::1/128\n  127.0.0.0/8\n Registry Mirrors:\n  https://mirror.gcr.io/\n";
    assert!(text.contains(want), "{text}");
    let mirrors = sandbox.ok(&["info", "--format", "{{.RegistryConfig.Mirrors}}"]);
    assert_eq!(mirrors, "[https://mirror.gcr.io/]");
}

#[test]
fn containers_get_what_is_configured() {
    let sandbox = Sandbox::new();
    sandbox.configure(
        r#"{"log-opts": {"max-size": "1m"}, "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 333, "Soft": 222}},
            "no-new-privileges": true, "default-shm-size": "2M"}"#,
    );
    let script =
        "ulimit -n; grep NoNewPrivs /proc/self/status; df -k /dev/shm | tail -1 | awk '{print $2}'";
    let said = sandbox.ok(&["run", "--name", "cc", "busybox", "sh", "-c", script]);
    assert_eq!(said, "222\nNoNewPrivs:\t1\n2048");
    let log = sandbox.inspect(
        "cc",
        "{{.HostConfig.LogConfig.Type}} {{index .HostConfig.LogConfig.Config \"max-size\"}}",
    );
    assert_eq!(log, "json-file 1m");
    sandbox.configure(r#"{"userns-remap": "default"}"#);
    let said = sandbox.fails(125, &["run", "--rm", "busybox", "true"]);
    assert!(said.contains("userns-remap cannot be fulfilled"), "{said}");
}

#[test]
fn data_root_moves_everything() {
    let sandbox = Sandbox::bare();
    let elsewhere = sandbox.path("elsewhere");
    sandbox.configure(&format!("{{\"data-root\": {elsewhere:?}}}"));
    let mut command = sandbox.aril_command(&["info", "--format", "{{.DockerRootDir}}"]);
    command.env_remove("ARIL_ROOT");
    sandbox.run(command).says(elsewhere.to_str().unwrap());
    // What is said more loudly wins.
    assert_eq!(
        sandbox.ok(&["info", "--format", "{{.DockerRootDir}}"]),
        sandbox.root().display().to_string()
    );
}

#[test]
fn another_file_can_be_named() {
    let sandbox = Sandbox::bare();
    let file = sandbox.write("other.json", "{\"log-driver\": \"none\"}");
    let said = sandbox.ok(&[
        "--config-file",
        &file,
        "info",
        "--format",
        "{{.LoggingDriver}}",
    ]);
    assert_eq!(said, "none");
    let missing = sandbox.fails(1, &["--config-file", "/nonexistent/d.json", "info"]);
    assert!(
        missing.contains("open /nonexistent/d.json: no such file"),
        "{missing}"
    );
}

#[test]
fn containers_are_told_the_proxies_of_the_user() {
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.home(".docker")).unwrap();
    let config = |text: &str| std::fs::write(sandbox.home(".docker/config.json"), text).unwrap();
    config(
        r#"{"proxies": {"default": {"httpProxy": "http://proxy.example.com:3128", "httpsProxy": "http://proxy.example.com:3129",
            "noProxy": "localhost,.example.com", "allProxy": "socks5://proxy.example.com", "ftpProxy": "http://proxy.example.com:21"}}}"#,
    );
    let run = "run --rm --network none -e http_proxy=own -e NO_PROXY= busybox sh -c";
    let mut args: Vec<&str> = run.split(' ').collect();
    args.push("env | grep -i proxy | sort");
    assert_eq!(
        sandbox.ok(&args),
        "ALL_PROXY=socks5://proxy.example.com\n\
         FTP_PROXY=http://proxy.example.com:21\n\
         HTTPS_PROXY=http://proxy.example.com:3129\n\
         HTTP_PROXY=http://proxy.example.com:3128\n\
         NO_PROXY=\n\
         all_proxy=socks5://proxy.example.com\n\
         ftp_proxy=http://proxy.example.com:21\n\
         http_proxy=own\n\
         https_proxy=http://proxy.example.com:3129\n\
         no_proxy=localhost,.example.com"
    );
    sandbox.ok(&["create", "--name", "cc", "--network", "none", "busybox"]);
    let kept = sandbox.inspect("cc", "{{json .Config.Env}}");
    assert!(
        kept.contains("\"HTTP_PROXY=http://proxy.example.com:3128\""),
        "{kept}"
    );
    // A broken file is no reason not to run.
    config("{\"proxies\": }");
    let ran = sandbox.aril(&["run", "--rm", "--network", "none", "busybox", "env"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.err.contains("no proxies are set: read ")
            && ran.err.contains("config.json: line 1, column 13"),
        "{ran:?}"
    );
}
