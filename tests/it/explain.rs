//! `explain`: of what would be made, and of what is in force.

use crate::sandbox::Sandbox;

/// `{{range}}` over all entries: section, name, value, whether it differs from the default.
const LINES: &str = "{{range .Sections}}{{$title := .Title}}{{range .Items}}{{$title}}|{{.Name}}|{{.Value}}|{{.Differs}}{{println}}{{end}}{{end}}";

const OPTIONS: &[&str] = &[
    "-m",
    "64m",
    "--cpus",
    "0.5",
    "--pids-limit",
    "50",
    "--cap-add",
    "NET_ADMIN",
    "--cap-drop",
    "MKNOD",
    "--read-only",
    "--tmpfs",
    "/mem:size=1m",
    "--ulimit",
    "nofile=100:200",
    "-e",
    "COLOUR=red",
    "--security-opt",
    "no-new-privileges",
    "--init",
    "-v",
    "/etc:/host:ro",
    "-v",
    "fresh:/fresh",
];

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

fn words<'a>(lists: &[&[&'a str]]) -> Vec<&'a str> {
    lists.concat()
}

/// What both the plan and the running container must say.
const BOTH: &[&str] = &[
    "limits of the cgroup|memory|67108864 bytes|true",
    "limits of the cgroup|processor time|50000 of each 100000 microseconds|true",
    "limits of the cgroup|processes|50|true",
    "limits of the cgroup|processors|all|false",
    "limits of processes|nofile|100, up to 200|true",
    "capabilities|NET_ADMIN|granted|true",
    "capabilities|CHOWN|granted|false",
    "capabilities|MKNOD||true",
    "mounts|/|overlay, ro|true",
    "mounts|/mem|tmpfs, 1024 KiB, nosuid, nodev, noexec|true",
    "mounts|/host|bind of /etc, ro|true",
    "mounts|/proc|proc, nosuid, nodev, noexec|false",
    "mounts|/dev/shm|tmpfs, 65536 KiB, nosuid, nodev, noexec|false",
    "variables|COLOUR|red|true",
    "restrictions|no new privileges|yes|true",
    "restrictions|system calls (seccomp)|the default profile for these capabilities|false",
    "program|init|yes|true",
    "namespaces|network|own|false",
    "namespaces|user|the host's|false",
    "masked paths|/proc/kcore|masked|false",
    "read-only paths|/proc/sys|read-only|false",
];

#[test]
fn what_run_would_make_is_told_and_not_made() {
    let sandbox = Sandbox::new();
    let ports = ["-p", "8080:80", "--name", "web"];
    let run = words(&[
        &["explain", "--format", LINES, "run"],
        OPTIONS,
        &ports,
        &["busybox", "sleep", "9"],
    ]);
    let text = sandbox.ok(&run);
    has(&text, BOTH);
    has(
        &text,
        &[
            "program|command|sleep 9|true",
            "network|port 80/tcp|every address, 8080|true",
            "network|mode|bridge|false",
        ],
    );
    // Nothing is there: no container, no volume.
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "");
    // Without options nothing differs, whatever is shown.
    let plain = sandbox.ok(&["explain", "--format", LINES, "run", "busybox"]);
    assert!(!plain.contains("|true"), "{plain}");
    let json = sandbox.ok(&["explain", "--format", "json", "run", "busybox"]);
    assert!(
        json.starts_with("{\"Name\":\"busybox\",\"State\":\"proposed\",\"Sections\":["),
        "{json}"
    );
    let text = sandbox.ok(&["explain", "run", "--privileged", "busybox"]);
    has(
        &text,
        &[
            "busybox: what would be made;",
            "  * SYS_ADMIN",
            "  * system calls (seccomp)  none  (default: the default profile",
        ],
    );
    // It fails as run does.
    sandbox
        .aril(&["explain", "run", "--nosuch", "busybox"])
        .fails(125, "unknown flag: --nosuch");
    sandbox
        .aril(&["explain", "run", "nosuch"])
        .fails(1, "No such image: nosuch:latest");
    sandbox
        .aril(&["explain", "nosuch"])
        .fails(1, "No such container: nosuch");
    sandbox
        .aril(&["explain"])
        .fails(1, "requires at least 1 argument");
}

#[test]
fn what_is_in_force_is_read_from_the_kernel() {
    let sandbox = Sandbox::new();
    sandbox.ok(&words(&[
        &["run", "-d", "--name", "box", "-p", "8080:80"],
        OPTIONS,
        &["busybox", "sleep", "1000"],
    ]));
    let explain = || sandbox.ok(&["explain", "box", "--format", LINES]);
    let text = explain();
    has(&text, BOTH);
    has(
        &text,
        &[
            "network|port 80/tcp|0.0.0.0, 8080; ::, 8080|true",
            "network|place in bridge|172.17.0.2/16, by 172.17.0.1, ",
        ],
    );
    // What somebody has changed behind the record's back.
    let id = sandbox.inspect("box", "{{.Id}}");
    let limit = format!(
        "cd /sys/fs/cgroup; f=pids/aril/{id}/pids.max; test -e $f || f=aril/{id}/pids.max; echo 33 > $f"
    );
    sandbox.shell(&limit);
    has(&explain(), &["limits of the cgroup|processes|33|true"]);
    let text = sandbox.ok(&["explain", "box"]);
    has(
        &text,
        &[
            "box: what is in force;",
            "  * processes",
            "33  (default: none)",
            "  * NET_ADMIN",
        ],
    );
    sandbox.ok(&["stop", "-t", "0", "box"]);
    has(
        &explain(),
        &[
            "limits of the cgroup|processes|50|true",
            "capabilities|NET_ADMIN|granted|true",
        ],
    );
    has(
        &sandbox.ok(&["explain", "box"]),
        &["box: what its next start makes;"],
    );
    // Without options, whatever runs is the default.
    sandbox.ok(&["run", "-d", "--name", "plain", "busybox", "sleep", "1000"]);
    let text = sandbox.ok(&["explain", "--format", LINES, "plain"]);
    let differ: Vec<&str> = text
        .lines()
        .filter(|line| line.ends_with("|true"))
        .collect();
    // The machine may not let anybody have as many files as docker gives.
    let expected = [
        "program|command|sleep 1000|true",
        "limits of processes|nofile|1024, up to",
    ];
    let known = |line: &&str| expected.iter().any(|start| line.starts_with(start));
    assert!(differ.iter().all(known), "{differ:#?}");
}
