//! Scripts about what runs for long: services, their health, their replacement, and who watches them.

use rustix::process::Signal;

use crate::sandbox::wait_until;

use super::Machine;

#[test]
fn what_needs_a_service_waits_until_it_is_healthy() {
    let machine = Machine::new();
    let service = "mkdir -p /shared; sleep 0.5; echo 42 > /tmp/answer; touch /tmp/ready; exec nc -ll -p 9 -e cat /tmp/answer";
    let client = "nc 127.0.0.1 9";
    let said = machine
        .run("wait-healthy.sh", &["answers", "30", service, client])
        .ok();
    let (status, answer) = said.split_once('\n').unwrap();
    assert!(
        status.starts_with("answers: Up ") && status.ends_with(" (healthy)"),
        "{said}"
    );
    assert_eq!(answer, "42");
    // One that never becomes so is reported by what its check has said.
    let ran = machine.run(
        "wait-healthy.sh",
        &["never", "30", "echo sorry; exec sleep 1000", "true"],
    );
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(ran.err, "never is unhealthy\n1 not ready yet\nsorry\n");
}

#[test]
fn several_containers_without_compose() {
    let machine = Machine::new();
    machine
        .0
        .write("settings.env", "# of the store\nGREETING=good morning\n");
    let up = machine.run("stack.sh", &["up"]).ok();
    assert_eq!(up, "store is up\napp_1 is up\napp_2 is up\nfront is up");
    // Again, which changes nothing.
    let ids = machine.docker(&["ps", "-q", "--no-trunc"]);
    machine.run("stack.sh", &["up"]).says(&up);
    assert_eq!(machine.docker(&["ps", "-q", "--no-trunc"]), ids);
    let status = machine.run("stack.sh", &["status"]).ok();
    let lines: Vec<&str> = status.lines().collect();
    assert_eq!(lines[0], "NAMES        STATE     service");
    assert_eq!(lines[1], "shop_front   running   front");
    assert!(
        lines[6].starts_with("shop_app_1 172.") && lines[6].ends_with("/16"),
        "{status}"
    );
    // Through all three, by their names.
    let address = lines[10].to_owned();
    let (host, port) = address.split_once(':').unwrap();
    wait_until("the page comes from the store", || {
        let fetch = format!("printf 'GET / HTTP/1.0\\n' | timeout 20 busybox nc {host} {port}");
        let ran = machine.0.run(machine.command("sh", &["-c", &fetch]));
        ran.out.contains("good morning from the store")
    });
    machine.run("stack.sh", &["down", "-v"]).says("");
    assert_eq!(machine.docker(&["ps", "-aq"]), "");
    assert_eq!(machine.docker(&["volume", "ls", "-q"]), "");
    assert_eq!(
        machine.docker(&["network", "ls", "-q", "-f", "type=custom"]),
        ""
    );
}

#[test]
fn events_are_acted_upon() {
    let machine = Machine::new();
    let mut watch = machine
        .0
        .start(machine.script("watch-events.sh", &["seen"]));
    let seen = || std::fs::read_to_string(machine.0.path("seen")).unwrap_or_default();
    wait_until("it watches", || machine.0.path("seen.pid").exists());
    // It fails until it has been started twice.
    let twice = "echo x >> /runs; [ $(wc -l < /runs) -gt 1 ] || exit 5; sleep 1000";
    machine.docker(&[
        "run",
        "-d",
        "--name",
        "flaky",
        "--label",
        "watch.again=true",
        "busybox",
        "sh",
        "-c",
        twice,
    ]);
    wait_until("it was started again", || {
        seen().matches("up flaky").count() == 2
    });
    machine.docker(&[
        "run", "-d", "--name", "broken", "busybox", "sh", "-c", "exit 6",
    ]);
    machine.docker(&["run", "--rm", "--name", "fine", "busybox", "true"]);
    wait_until("the failure was told", || {
        seen().contains("failed broken 6")
    });
    machine.docker(&["create", "--name", "stop-watching", "busybox"]);
    machine.docker(&["rm", "stop-watching"]);
    watch.wait().says("");
    let seen = seen();
    let of_flaky: Vec<&str> = seen.lines().filter(|line| line.contains("flaky")).collect();
    assert_eq!(of_flaky.len(), 4, "{seen}");
    assert_eq!(of_flaky[1..3], ["failed flaky 5", "again flaky"], "{seen}");
    assert_eq!(of_flaky[3], "up flaky 1", "{seen}");
    assert!(
        !seen.contains("failed fine") && !seen.contains("again broken"),
        "{seen}"
    );
    assert_eq!(machine.0.inspect("flaky", "{{.State.Status}}"), "running");
}

#[test]
fn what_is_unhealthy_is_restarted() {
    let machine = Machine::new();
    let check = |name: &'static str, more: &[&str], command: &str| {
        let mut options = vec![
            "--health-cmd",
            command,
            "--health-interval",
            "50ms",
            "--health-retries",
            "2",
        ];
        options.extend(more);
        machine.sleeper(name, &options);
    };
    check(
        "ill",
        &["--label", "autoheal=true"],
        "test -e /tmp/cure || { echo no cure; false; }",
    );
    check("unlabelled", &[], "false");
    check("well", &["--label", "autoheal=true"], "true");
    machine
        .0
        .wait_for("ill", "{{.State.Health.Status}}", "unhealthy");
    machine
        .0
        .wait_for("unlabelled", "{{.State.Health.Status}}", "unhealthy");
    machine
        .0
        .wait_for("well", "{{.State.Health.Status}}", "healthy");
    let started = |name: &str| machine.0.inspect(name, "{{.State.StartedAt}}");
    let before = (started("ill"), started("unlabelled"), started("well"));
    machine.docker(&["exec", "ill", "touch", "/tmp/cure"]);
    machine.docker(&["pause", "well"]);
    machine.docker(&["unpause", "well"]);
    // The cure may have come to pass before the script looks.
    let status = machine.0.inspect("ill", "{{.State.Health.Status}}");
    let said = machine.run("autoheal.sh", &["heal.log"]).ok();
    let after = (started("ill"), started("unlabelled"), started("well"));
    assert_eq!((&after.1, &after.2), (&before.1, &before.2));
    if status == "unhealthy" && !said.is_empty() {
        assert!(
            said.contains("] ill (") && said.contains(" failures, last "),
            "{said}"
        );
        assert!(said.ends_with("\nill"), "{said}");
        assert_ne!(after.0, before.0);
    }
    machine
        .0
        .wait_for("ill", "{{.State.Health.Status}}", "healthy");
    assert!(
        machine
            .read("heal.log")
            .contains("left alone: unlabelled\n")
    );
}

#[test]
fn a_service_is_replaced_or_stays() {
    let machine = Machine::new();
    let serve = |text: &str| {
        format!("mkdir -p /www; echo {text} > /www/index.html; exec httpd -f -p 80 -h /www")
    };
    machine.image("site:1", &serve("one"));
    machine.image("site:2", &serve("two"));
    machine.image("site:bad", "echo cannot start >&2; exit 3");
    let page = || {
        let fetch = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 20 busybox nc 127.0.0.1 8123 | tail -n 1";
        machine.0.run(machine.command("sh", &["-c", fetch])).ok()
    };
    let deploy = |image: &str| machine.run("redeploy.sh", &["site", image, "8123"]);
    let id = |image: &str| machine.0.inspect(image, "{{slice .Id 7 19}}");
    deploy("site:1").says(&format!("site runs {}", id("site:1")));
    assert_eq!(page(), "one");
    deploy("site:1").says("site is up to date");
    deploy("site:2").says(&format!("site runs {}", id("site:2")));
    assert_eq!(page(), "two");
    let from = machine
        .0
        .inspect("site", r#"{{index .Config.Labels "deployed.from"}}"#);
    assert_eq!(from, machine.0.inspect("site:1", "{{.Id}}"));
    // The bad one makes room for the old one again.
    let ran = deploy("site:bad");
    assert!(
        ran.err.contains("going back\n  | cannot start\n"),
        "{ran:?}"
    );
    assert_eq!(ran.code, 1);
    // It was started, and nobody has waited until it answers.
    wait_until("the old one answers again", || page() == "two");
    assert_eq!(
        machine.docker(&["ps", "-a", "--format", "{{.Names}} {{.Image}} {{.State}}"]),
        "site site:2 running"
    );
}

#[test]
fn a_service_of_an_init_system() {
    let machine = Machine::new();
    let service = |action: &str| {
        let mut script = machine.script("service.sh", &[action]);
        script.env("PIDFILE", machine.0.path("daemon.pid"));
        script
    };
    let run = |action: &str| machine.0.run(service(action));
    assert_eq!(run("status").code, 4);
    run("start").says("");
    machine.0.wait_for_log("daemon", "started");
    let pid = machine.read("daemon.pid");
    assert_eq!(
        machine.0.shell(&format!(
            "tr '\\0' ' ' < /proc/{}/cmdline | cut -c1-5",
            pid.trim()
        )),
        "sh -c"
    );
    let status = run("status").ok();
    assert!(
        status.starts_with(&format!("daemon ({}) is running since 20", pid.trim())),
        "{status}"
    );
    let inside =
        "ulimit -n; cat /proc/sys/net/core/somaxconn; grep 192.0.2 /etc/hosts /etc/resolv.conf";
    assert_eq!(
        machine.docker(&["exec", "daemon", "sh", "-c", inside]),
        "1024\n99\n/etc/hosts:192.0.2.7\tdb\n/etc/resolv.conf:nameserver 192.0.2.53"
    );
    run("reload").says("");
    machine.0.wait_for_log("daemon", "reloaded");
    run("stop").says("");
    assert_eq!(
        machine.docker(&["logs", "daemon"]),
        "started\nreloaded\nbye"
    );
    assert!(!machine.0.path("daemon.pid").exists());
    let ended = run("status");
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (3, "daemon has ended with 0\n")
    );
    assert_eq!(run("reload").code, 7);
    // In front, as a unit has it, ended by the init system's signal.
    let mut running = machine.0.start(service("console"));
    running.expect("started");
    running.signal(Signal::HUP);
    running.expect("reloaded");
    running.signal(Signal::TERM);
    running.expect("bye");
    assert_eq!(running.end().code, 0);
}
