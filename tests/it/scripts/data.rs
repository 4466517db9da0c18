//! Scripts about what is kept: volumes, databases, images, and what is to go.

use super::Machine;

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
