//! Scripts about what is done once: builds, batches, tests, reports.

use rustix::process::Signal;

use super::{Machine, path_of};

#[test]
fn a_ci_job_brings_its_artifacts_back_and_leaves_nothing() {
    let machine = Machine::new();
    machine.0.write("sources/main.txt", "hello\n");
    machine.0.write("sources/sub/more.txt", "world\n");
    let job = |command: &str| {
        let mut script = machine.script(
            "ci-job.sh",
            &["busybox", "sources", "out", "sh", "-c", command],
        );
        script.env("JOB_ID", "77").env("CI_BRANCH", "main");
        machine.0.run(script)
    };
    let build = "cat main.txt sub/more.txt | tr a-z A-Z > /artifacts/result; echo $CI $JOB_ID $CI_BRANCH; pwd; echo warned >&2";
    let ran = job(build);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "true 77 main\n/src\nwarned\n"),
        "{ran:?}"
    );
    assert_eq!(machine.read("out/result"), "HELLO\nWORLD\n");
    assert_eq!(machine.read("build.log"), ran.out);
    let listed = machine.0.shell("tar -tzf artifacts.tar.gz");
    assert_eq!(listed, "artifacts/\nartifacts/result");
    let ran = job("echo half > /artifacts/half; exit 42");
    assert_eq!(ran.code, 42, "{ran:?}");
    assert_eq!(machine.read("out/half"), "half\n");
    assert_eq!(machine.docker(&["ps", "-aq"]), "");
    // One that is interrupted leaves nothing either.
    let mut script = machine.script(
        "ci-job.sh",
        &[
            "busybox",
            "sources",
            "out",
            "sh",
            "-c",
            "echo working; sleep 1000",
        ],
    );
    script.env("JOB_ID", "78");
    let mut running = machine.0.start(script);
    running.expect("working");
    // bash obeys once what it waits for has ended.
    running.signal(Signal::TERM);
    let id = machine.docker(&["ps", "-q", "-f", "label=ci.job=78"]);
    machine.docker(&["stop", "-t", "0", &id]);
    assert_eq!(running.end().code, 130);
    assert_eq!(machine.docker(&["ps", "-aq"]), "");
}

#[test]
fn a_dev_shell_works_on_the_callers_files_as_the_caller() {
    let machine = Machine::new();
    // Where it stands is what it mounts.
    std::fs::copy(path_of("dev-shell.sh"), machine.0.path("dev-shell.sh")).unwrap();
    machine
        .0
        .shell("chmod 755 . dev-shell.sh; mkdir src; chown -R 1000:1000 .");
    let as_user = |args: &[&str]| {
        let mut command = machine.command(machine.0.path("dev-shell.sh").to_str().unwrap(), args);
        command
            .current_dir(machine.0.path("src"))
            .env("EDITOR", "vi");
        command
    };
    let script = "pwd; id -u; id -g; echo $HOME $TOOLS $IN_CONTAINER $EDITOR; cat /etc/tools-release; id -G; echo made > made";
    let ran = machine.0.run(as_user(&["sh", "-c", script]));
    let top = machine.0.path("src");
    let expected = format!("{}\n0\n0\n/tmp yes 1 vi\ntools 1\n0 1234", top.display());
    assert!(ran.err.contains("making project-tools:1, once"), "{ran:?}");
    assert_eq!(ran.ok(), expected);
    assert_eq!(machine.read("src/made"), "made\n");
    // Its exit code, its input and, in a terminal, its terminal.
    let mut running = machine
        .0
        .start(as_user(&["sh", "-c", "wc -c; tty; exit 9"]));
    let ran = running.feed_and_end(b"12345");
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (9, "5\nnot a tty\n"),
        "{ran:?}"
    );
    let mut terminal = machine.0.terminal_command((30, 90), &as_user(&["sh"]));
    terminal.expect("# ");
    terminal.send("stty size; exit 3\n");
    terminal.expect("30 90");
    assert_eq!(terminal.wait().0, 3);
    assert_eq!(machine.docker(&["ps", "-aq"]), "");
    assert_eq!(
        machine
            .0
            .inspect("project-tools:1", "{{.Config.Labels.purpose}}"),
        "tool chain"
    );
}

#[test]
fn jobs_are_spread_over_containers() {
    let machine = Machine::new();
    let list = "one echo first; echo done\n\
                bad echo wrong >&2; exit 7\n\
                user id -u; touch /file || true\n\
                hungry head -c 200000000 /dev/zero | tail -c 100000000 > /dev/null; echo $?\n\
                slow sleep 0.5; echo slept\n";
    let ran = machine.feed("batch.sh", &["2"], list);
    assert_eq!(ran.code, 1, "{ran:?}");
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "one 0 done",
            "bad 7 wrong",
            "user 0 touch: /file: Read-only file system"
        ],
        "{ran:?}"
    );
    assert!(lines[3].starts_with("hungry "), "{ran:?}");
    assert_eq!(lines[4], "slow 0 slept");
    assert!(lines[5].starts_with("5 jobs, "), "{ran:?}");
    assert_eq!(machine.docker(&["ps", "-aq"]), "");
    machine
        .feed("batch.sh", &["3"], "a true\nb true\nc true\n")
        .says("a 0 \nb 0 \nc 0 \n3 jobs, 0 failed, 0 out of memory");
}

/// Two containers that run and one that has ended.
fn with_three() -> Machine {
    let machine = Machine::new();
    machine.run("report.sh", &["json"]).says("[]");
    machine.docker(&["network", "create", "--subnet", "10.77.0.0/24", "inner"]);
    machine.sleeper(
        "web",
        &[
            "-p",
            "127.0.0.1:8088:80",
            "-v",
            "data:/data",
            "-v",
            "/etc/hostname:/h:ro",
            "-m",
            "64m",
            "-e",
            "APP_MODE=test",
            "--label",
            "tier=front",
        ],
    );
    machine.sleeper(
        "inside",
        &[
            "--network",
            "inner",
            "--ip",
            "10.77.0.9",
            "--restart",
            "unless-stopped",
        ],
    );
    machine.docker(&[
        "run",
        "--name",
        "over",
        "--network",
        "none",
        "--entrypoint",
        "sh",
        "busybox",
        "-c",
        "exit 0",
    ]);
    machine
}

#[test]
fn a_report_is_for_people() {
    let machine = with_three();
    let text = machine.run("report.sh", &["text"]).ok();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("NAMES     IMAGE     STATUS ") && lines[0].ends_with(" PORTS"),
        "{text}"
    );
    assert!(
        lines[1].starts_with("over      busybox   Exited (0) "),
        "{text}"
    );
    assert!(lines[3].ends_with(" 127.0.0.1:8088->80/tcp"), "{text}");
    let web = machine
        .0
        .inspect("web", "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    let mounts = if lines[7].contains("bind:/h(ro) volume:/data") {
        "bind:/h(ro) volume:/data"
    } else {
        "volume:/data bind:/h(ro)"
    };
    assert_eq!(
        lines[5..],
        [
            "inside running restarts=0 policy=unless-stopped inner=10.77.0.9",
            "over exited restarts=0 policy=no none=-",
            &format!(
                "web running restarts=0 policy=no bridge={web} 80/tcp->8088 {mounts} memory=67108864"
            ),
        ],
        "{text}"
    );
}

#[test]
fn a_report_is_for_programs() {
    let machine = with_three();
    let json: serde_json::Value =
        serde_json::from_str(&machine.run("report.sh", &["json"]).ok()).unwrap();
    assert_eq!(
        json,
        serde_json::json!([
            {"name": "inside", "image": "busybox", "running": true, "env": [], "labels": {}, "command": "sleep 1000"},
            {"name": "over", "image": "busybox", "running": false, "env": [], "labels": {}, "command": "sh -c exit 0"},
            {"name": "web", "image": "busybox", "running": true, "env": ["APP_MODE=test"], "labels": {"tier": "front"}, "command": "sleep 1000"},
        ])
    );
    machine.run("report.sh", &["metrics"]).says(
        "container_pids{name=\"inside\"} 1\ncontainer_pids{name=\"web\"} 1\n\
         container_up{name=\"inside\"} 1\ncontainer_up{name=\"web\"} 1\n\
         reclaimable{type=\"Images\"} 1\nreclaimable{type=\"Containers\"} 1\n\
         reclaimable{type=\"Local Volumes\"} 1\nreclaimable{type=\"Build Cache\"} 1\n\
         containers_running 2",
    );
}

#[test]
fn a_server_is_tested_from_outside() {
    let machine = Machine::new();
    let serve = "mkdir /www; echo it works > /www/index.html; sleep 0.3; echo ready; exec httpd -f -p 80 -h /www";
    let said = machine
        .run("smoke-test.sh", &["busybox", "sh", "-c", serve])
        .ok();
    assert!(said.contains("ok on 172."), "{said}");
    assert_eq!(machine.read("server.log"), "ready\n");
    assert_eq!(machine.docker(&["ps", "-aq"]), "");
    // One that does not do what it should.
    let bad = serve.replace("it works", "broken");
    let ran = machine.run("smoke-test.sh", &["busybox", "sh", "-c", &bad]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(machine.docker(&["ps", "-aq"]), "");
}
