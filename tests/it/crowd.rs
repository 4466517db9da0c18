//! Many commands at once lose nothing and leave nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sandbox::Sandbox;

/// How many commands run at the same time.
const AT_ONCE: usize = 12;

/// Does `work` for each number below `count`, some at a time.
fn in_parallel(count: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    work(number);
                }
            });
        }
    });
}

#[test]
fn two_hundred_commands() {
    let sandbox = Sandbox::new();
    in_parallel(40, |n| {
        let (name, image) = (format!("box{n}"), format!("made:{n}"));
        // Five commands each: run, commit, ps, rm, rmi.
        let script = format!("echo {n} > /number; echo {n}");
        sandbox
            .aril(&["run", "--name", &name, "busybox", "sh", "-c", &script])
            .says(&n.to_string());
        sandbox.ok(&["commit", &name, &image]);
        let listed = sandbox.ok(&["ps", "-a", "--format", "{{.Names}}"]);
        assert!(listed.lines().any(|line| line == name), "{listed}");
        sandbox.ok(&["rm", &name]);
        assert_eq!(
            sandbox.ok(&["run", "--rm", &image, "cat", "/number"]),
            n.to_string()
        );
        if n % 2 == 0 {
            sandbox.ok(&["rmi", &image]);
        }
    });
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
    let images = sandbox.ok(&["images", "-q", "made"]);
    assert_eq!(images.lines().count(), 20);
    for n in (1..40).step_by(2) {
        let image = format!("made:{n}");
        sandbox.ok(&["image", "inspect", &image]);
    }
    assert_eq!(sandbox.shell("ls $ARIL_ROOT/tmp $ARIL_ROOT/leases $ARIL_ROOT/containers $ARIL_ROOT/names | grep -v -e : -e '^$' || true"), "");
}

#[test]
fn all_with_rm_and_volumes() {
    let sandbox = Sandbox::new();
    in_parallel(60, |n| {
        let volume = format!("vol{}:/data", n % 5);
        let script = format!("echo {n} >> /data/all; echo {n}");
        sandbox
            .aril(&[
                "run",
                "--rm",
                "-v",
                &volume,
                "-v",
                "/anonymous",
                "busybox",
                "sh",
                "-c",
                &script,
            ])
            .says(&n.to_string());
    });
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]).lines().count(), 5);
    let lines = sandbox.ok(&[
        "run",
        "--rm",
        "-v",
        "vol0:/0",
        "-v",
        "vol1:/1",
        "-v",
        "vol2:/2",
        "-v",
        "vol3:/3",
        "-v",
        "vol4:/4",
        "busybox",
        "sh",
        "-c",
        "cat /[0-4]/all | wc -l",
    ]);
    assert_eq!(lines, "60");
}

#[test]
fn one_name_is_won_by_one() {
    let sandbox = Sandbox::new();
    let won = AtomicUsize::new(0);
    in_parallel(24, |_| {
        let ran = sandbox.aril(&["create", "--name", "wanted", "busybox"]);
        if ran.code == 0 {
            won.fetch_add(1, Ordering::Relaxed);
        } else {
            assert!(
                ran.err.contains("is already in use by container"),
                "{ran:?}"
            );
        }
    });
    assert_eq!(won.into_inner(), 1);
    assert_eq!(sandbox.ok(&["ps", "-aq"]).lines().count(), 1);
    assert_eq!(sandbox.shell("ls $ARIL_ROOT/tmp"), "");
}

#[test]
fn one_container_by_many() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "--name", "box", "busybox", "sleep", "1000"]);
    in_parallel(24, |n| {
        let command: &[&str] = match n % 6 {
            0 | 1 => &["start", "box"],
            2 => &["stop", "-t", "0", "box"],
            3 => &["exec", "box", "true"],
            4 => &["inspect", "box"],
            _ => &["restart", "-t", "0", "box"],
        };
        let ran = sandbox.aril(command);
        assert!(
            !ran.err.contains("panicked") && !ran.err.contains("repaired"),
            "{ran:?}"
        );
        if command[0] == "inspect" {
            assert_eq!(ran.code, 0, "{ran:?}");
        }
    });
    sandbox.ok(&["start", "box"]);
    assert_eq!(sandbox.ok(&["exec", "box", "echo", "well"]), "well");
    // And removed by many: each says so, or that there is none.
    in_parallel(12, |_| {
        let ran = sandbox.aril(&["rm", "-f", "box"]);
        assert!(
            ran.code == 0 || ran.err.contains("already in progress"),
            "{ran:?}"
        );
    });
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
}

#[test]
fn an_image_that_is_removed_while_it_is_used() {
    let sandbox = Sandbox::new();
    in_parallel(30, |n| {
        let image = format!("tag:{n}");
        sandbox.ok(&["tag", "busybox", &image]);
        let ran = sandbox.aril(&["run", "--rm", &image, "echo", "x"]);
        assert!(ran.code == 0 && ran.out == "x\n", "{ran:?}");
        sandbox.ok(&["rmi", "-f", &image]);
        if n % 3 == 0 {
            sandbox.ok(&["image", "prune", "-f"]);
        }
    });
    assert_eq!(
        sandbox.ok(&["images", "--format", "{{.Repository}}"]),
        "busybox"
    );
}
