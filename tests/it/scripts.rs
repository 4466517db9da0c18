//! Scripts as people write them for docker, `tests/scripts/`, run unchanged with `docker` a link to the program: what they do.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;

use crate::sandbox::{ARIL, Ran, Sandbox, wait_until};

/// A machine on which `docker` is the program under test.
struct Machine(Sandbox);

impl Machine {
    fn new() -> Machine {
        let sandbox = Sandbox::new();
        std::fs::create_dir_all(sandbox.home("bin")).unwrap();
        symlink(ARIL, sandbox.home("bin/docker")).unwrap();
        Machine(sandbox)
    }

    /// Returns a command of this machine, with docker in its PATH.
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = self.0.command(program);
        let path = std::env::var("PATH").unwrap();
        let bin = self.0.home("bin");
        command
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("TMPDIR", self.0.home(""))
            .args(args);
        command
    }

    /// Returns a script as a command.
    fn script(&self, name: &str, args: &[&str]) -> Command {
        self.command(&path_of(name), args)
    }

    /// Runs a script to its end.
    #[track_caller]
    fn run(&self, name: &str, args: &[&str]) -> Ran {
        self.0.run(self.script(name, args))
    }

    /// Runs a script with `input` to its end.
    #[track_caller]
    fn feed(&self, name: &str, args: &[&str], input: &str) -> Ran {
        let mut running = self.0.start(self.script(name, args));
        running.feed_and_end(input.as_bytes())
    }

    /// Runs `docker ARGS`, which must succeed.
    #[track_caller]
    fn docker(&self, args: &[&str]) -> String {
        self.0.run(self.command("docker", args)).ok()
    }

    /// Starts a container that sleeps.
    #[track_caller]
    fn sleeper(&self, name: &str, options: &[&str]) {
        let mut args = vec!["run", "-d", "--name", name];
        args.extend(options);
        args.extend(["busybox", "sleep", "1000"]);
        self.docker(&args);
    }

    /// Makes an image of busybox that runs `script`.
    #[track_caller]
    fn image(&self, name: &str, script: &str) {
        let command = serde_json::to_string(&["sh", "-c", script]).unwrap();
        self.docker(&["create", "--name", "made", "busybox"]);
        let change = format!("CMD {command}");
        self.docker(&[
            "commit",
            "-c",
            &change,
            "-c",
            "ENV MODE=shipped",
            "made",
            name,
        ]);
        self.docker(&["rm", "made"]);
    }

    fn files(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.0.path(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path(name)).unwrap()
    }
}

fn path_of(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let path = folder.join(name);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert!(mode & 0o111 != 0, "{} can be run", path.display());
    path.into_os_string().into_string().unwrap()
}

#[test]
fn volumes_are_saved_and_come_back() {
    let machine = Machine::new();
    machine.sleeper(
        "shop",
        &["-v", "goods:/srv/goods", "-v", "orders:/srv/orders"],
    );
    let fill = "echo apple > /srv/goods/a; mkdir /srv/goods/deep; echo pear > /srv/goods/deep/p; \
                chown 1000:7 /srv/goods/a; echo 1 > /srv/orders/1";
    machine.docker(&["exec", "shop", "sh", "-c", fill]);
    let before = machine.0.inspect("shop", "{{.State.StartedAt}}");
    for _ in 0..3 {
        let said = machine
            .run("backup-volumes.sh", &["shop", "saved", "2"])
            .ok();
        assert!(said.contains("saved goods to goods-"), "{said}");
    }
    // It was stopped meanwhile and runs again, and only the newest two archives of each volume are left.
    assert_eq!(machine.0.inspect("shop", "{{.State.Status}}"), "running");
    assert_ne!(machine.0.inspect("shop", "{{.State.StartedAt}}"), before);
    let archives = machine.files("saved");
    let goods: Vec<&String> = archives
        .iter()
        .filter(|name| name.starts_with("goods-"))
        .collect();
    assert_eq!((archives.len(), goods.len()), (4, 2), "{archives:?}");
    // Back into the volume, but not while it is in use.
    let archive = format!("saved/{}", goods[1]);
    let refused = machine.run("restore-volume.sh", &[&archive, "goods"]);
    refused.fails(4, "shop (busybox)");
    machine.docker(&[
        "exec",
        "shop",
        "sh",
        "-c",
        "rm -r /srv/goods/deep; echo later > /srv/goods/b",
    ]);
    machine.docker(&["rm", "-f", "shop"]);
    machine
        .run("restore-volume.sh", &[&archive, "goods"])
        .says("restored 2 files into goods");
    let list = "cd /v && find . -type f | sort | xargs cat; stat -c %u:%g a";
    let seen = |volume: &str| {
        let bind = format!("{volume}:/v");
        machine.docker(&["run", "--rm", "-v", &bind, "busybox", "sh", "-c", list])
    };
    assert_eq!(seen("goods"), "apple\npear\n1000:7");
    assert_eq!(seen("goods-before"), "apple\nlater\n1000:7");
    assert_eq!(
        machine
            .0
            .inspect("goods-before", r#"{{index .Labels "copy-of"}}"#),
        "goods"
    );
    // Into a new one, whose name is said.
    let said = machine.run("restore-volume.sh", &[&archive, "other"]).ok();
    assert_eq!(said, "other\nrestored 2 files into other");
    assert_eq!(seen("other"), "apple\npear\n1000:7");
    machine
        .run("backup-volumes.sh", &["nosuch", "saved"])
        .fails(3, "no container called nosuch");
}

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
fn a_clean_up_removes_what_nobody_needs() {
    let machine = Machine::new();
    machine.sleeper("runs", &["-v", "/anonymous", "-v", "named:/n"]);
    machine.docker(&["run", "--name", "ended", "-v", "/gone", "busybox", "true"]);
    machine.docker(&[
        "run",
        "--name",
        "kept",
        "--label",
        "keep=for a reason",
        "busybox",
        "true",
    ]);
    machine.docker(&["create", "--name", "never", "busybox"]);
    machine.docker(&["network", "create", "unused"]);
    machine.docker(&["volume", "create", "spare"]);
    // An image without a name, and a volume that nobody knows any more.
    machine.image("tool:1", "true");
    machine.image("tool:1", "false");
    machine.docker(&["run", "--name", "first", "-v", "/lost", "busybox", "true"]);
    machine.docker(&["rm", "first"]);
    assert_eq!(
        machine
            .docker(&["images", "-qf", "dangling=true"])
            .lines()
            .count(),
        1
    );
    machine.run("nightly-cleanup.sh", &["cleanup.log"]).says("");
    let log = machine.read("cleanup.log");
    assert!(log.contains(" kept kept\n"), "{log}");
    assert_eq!(log.matches("removed container").count(), 2, "{log}");
    assert!(
        log.contains("before: Images=3 Containers=4 Local Volumes=5 Build Cache=0"),
        "{log}"
    );
    assert!(
        log.contains("after: Images=2 Containers=2 Local Volumes=3 Build Cache=0"),
        "{log}"
    );
    let names = machine.docker(&["ps", "-a", "--format", "{{.Names}}"]);
    assert_eq!(names, "kept\nruns");
    assert_eq!(machine.docker(&["network", "ls", "-qf", "name=unused"]), "");
    assert_eq!(machine.docker(&["images", "-qf", "dangling=true"]), "");
    // Of the same second, maybe, and then in any order.
    let listed = machine.docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    let mut listed: Vec<&str> = listed.lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, ["busybox:latest", "tool:1"]);
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
fn a_database_is_dumped_and_restored_by_its_own_tools() {
    let machine = Machine::new();
    let settings = ["-e", "DB_NAME=music", "-e", "DB_SECRET=open=sesame"];
    machine.sleeper("db", &settings);
    let fill = r"mkdir -p /var/lib/db/music && cd /var/lib/db/music; seq 1 20000 > numbers; printf 'a\\nb\tc\n' > odd";
    machine.docker(&["exec", "db", "sh", "-c", fill]);
    let sums = || {
        machine.docker(&[
            "exec",
            "-w",
            "/var/lib/db/music",
            "db",
            "sh",
            "-c",
            "md5sum *",
        ])
    };
    let before = sums();
    machine
        .run("database.sh", &["dump", "db", "dump.gz"])
        .says("");
    machine.docker(&["exec", "db", "sh", "-c", "rm /var/lib/db/music/odd; echo x >> /var/lib/db/music/numbers; echo > /var/lib/db/music/new"]);
    machine
        .run("database.sh", &["restore", "db", "dump.gz"])
        .says("2 tables restored");
    assert_eq!(sums(), before);
    // Into another one.
    machine.sleeper("copy", &settings);
    machine.docker(&["exec", "copy", "mkdir", "-p", "/var/lib/db"]);
    machine
        .run("database.sh", &["restore", "copy", "dump.gz"])
        .says("2 tables restored");
    machine.docker(&["stop", "-t", "0", "db"]);
    machine
        .run("database.sh", &["dump", "db", "other.gz"])
        .fails(1, "db is not running");
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
fn images_travel_in_a_file() {
    let machine = Machine::new();
    machine.image("example.com/tools/hello:2.1", "echo hello $MODE");
    machine.image("other", "true");
    let ids = |machine: &Machine| {
        machine.docker(&["images", "-q", "--no-trunc", "example.com/tools/hello"])
    };
    let before = ids(&machine);
    machine
        .run(
            "ship-image.sh",
            &[
                "pack",
                "images.tar.gz",
                "example.com/tools/hello:2.1",
                "other:latest",
            ],
        )
        .says("");
    machine.docker(&[
        "rmi",
        "-f",
        "example.com/tools/hello:2.1",
        "other",
        "busybox",
    ]);
    assert_eq!(machine.docker(&["images", "-aq"]), "");
    let said = machine
        .run("ship-image.sh", &["unpack", "images.tar.gz"])
        .ok();
    let mut names: Vec<&str> = said.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["example.com/tools/hello:2.1", "other:latest"]);
    assert_eq!(ids(&machine), before);
    let run = |image: &str| machine.docker(&["run", "--rm", image]);
    assert_eq!(run("example.com/tools/hello:2.1"), "hello shipped");
    let said = machine
        .run(
            "ship-image.sh",
            &["flatten", "example.com/tools/hello:2.1", "flat"],
        )
        .ok();
    assert!(
        said.starts_with("sha256:") && said.ends_with("\n2 -> 1"),
        "{said}"
    );
    assert_eq!(run("flat"), "hello shipped");
    assert_eq!(
        machine.docker(&["history", "--format", "{{.Comment}}", "flat"]),
        "flat form of example.com/tools/hello:2.1"
    );
    // What was damaged on the way is not loaded.
    machine
        .0
        .shell("printf x | dd of=images.tar.gz bs=1 seek=5000 conv=notrunc 2> /dev/null");
    assert_eq!(
        machine
            .run("ship-image.sh", &["unpack", "images.tar.gz"])
            .code,
        1
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

#[test]
fn a_reset_leaves_nothing() {
    let machine = Machine::new();
    machine.docker(&["network", "create", "inner"]);
    machine.sleeper(
        "one",
        &[
            "--network",
            "inner",
            "-v",
            "data:/data",
            "-v",
            "/anonymous",
            "--restart",
            "always",
        ],
    );
    machine.docker(&["create", "--name", "two", "-v", "more:/m", "busybox"]);
    machine.image("made:1", "true");
    machine.docker(&["tag", "busybox", "busybox:again"]);
    // Without the word it asks.
    machine.feed("wipe.sh", &[], "n\n").fails(1, "");
    assert_eq!(machine.docker(&["ps", "-aq"]).lines().count(), 2);
    let said = machine.run("wipe.sh", &["-y"]).ok();
    assert!(
        said.ends_with("\n0 containers, 0 images, 0 volumes"),
        "{said}"
    );
    assert_eq!(machine.docker(&["network", "ls", "-qf", "type=custom"]), "");
}
