//! `kill -9` of a pull, a push, a load or a prune at any moment: the store is whole after each, and the next command goes on.
//!
//! crash.rs kills at chosen system calls; here chance chooses, since these commands have threads and wait for others. Each
//! test prints its seed.

use std::time::{Duration, Instant};

use super::server::Server;
use super::{blobs, parts};
use crate::sandbox::{Running, Sandbox};

/// Of each command.
const KILLS: u32 = 50;
/// So often what was killed is let through to its end.
const CHECKED_EACH: u32 = 10;

/// Chooses moments; the same ones for the same seed, as far as the machine is the same.
struct Chance {
    state: u64,
    /// How long the command takes if nobody ends it.
    whole: Duration,
}

impl Chance {
    fn of(sandbox: &Sandbox, args: &[&str]) -> Chance {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap();
        let state = since.as_secs().wrapping_mul(1_000_003) | 1;
        println!("seed {state}");
        let start = Instant::now();
        sandbox.ok(args);
        Chance {
            state,
            whole: start.elapsed(),
        }
    }

    /// Returns a moment of the command, or shortly after its end.
    fn moment(&mut self) -> Duration {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let part = u32::try_from(self.state % 1100).unwrap();
        self.whole * part / 1000
    }
}

/// Kills `aril ARGS` at some moment; returns whether it came too late for that.
fn kill(sandbox: &Sandbox, chance: &mut Chance, args: &[&str]) -> bool {
    let mut running: Running = sandbox.spawn(args);
    running.close_input();
    std::thread::sleep(chance.moment());
    let is_late = running.has_ended();
    if !is_late {
        running.signal(rustix::process::Signal::KILL);
    }
    let ran = running.wait();
    assert!(!ran.err.contains("panicked"), "{ran:?}");
    is_late
}

/// Checks that a look at everything finds no damage, and that nothing else is said of it.
#[track_caller]
fn check(sandbox: &Sandbox, kill: u32) {
    let ran = sandbox.aril(&["system", "check", "--deep"]);
    let clean = ran.code == 0 && ran.out.contains("no damage") && ran.err.is_empty();
    assert!(clean, "after kill {kill}: {ran:?}");
}

/// Checks that nothing is left that only a dead process knew of.
#[track_caller]
fn check_tidy(sandbox: &Sandbox) {
    sandbox.ok(&["image", "prune", "-f"]);
    for folder in ["tmp", "trash", "leases"] {
        let left = super::list(sandbox, folder);
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
    assert!(parts(sandbox).is_empty());
}

/// Makes `NAME` with two layers above busybox.
fn make(sandbox: &Sandbox, name: &str) {
    let mut from = "busybox";
    for layer in 1..3 {
        let script = format!(
            "mkdir -p /new/{layer}; cd /new/{layer}
             for n in $(seq 150); do head -c $((n * 40)) /bin/busybox > $n; done
             head -c 400000 /dev/urandom > noise; echo {name} > name"
        );
        sandbox.ok(&["run", "--name", "box", from, "sh", "-c", &script]);
        sandbox.ok(&["commit", "box", name]);
        sandbox.ok(&["rm", "box"]);
        from = name;
    }
}

/// Checks that an image is whole, by a program and a file of it.
#[track_caller]
fn check_image(sandbox: &Sandbox, name: &str) {
    let run = ["run", "--rm", "--network", "none", "--pull", "never", name];
    let script = "test $(ls /new/1 /new/2 | wc -l) -ge 304 && cat /new/2/150 | wc -c";
    let args = [&run[..], &["sh", "-c", script]].concat();
    assert_eq!(sandbox.ok(&args), "6000");
}

#[test]
fn pulls_are_gone_on_with() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox);
    let name = format!("{}/made", server.address);
    make(&sandbox, &name);
    sandbox.ok(&["push", &name]);
    sandbox.ok(&["rmi", &name]);
    let pull = ["pull", &name];
    let mut chance = Chance::of(&sandbox, &pull);
    sandbox.ok(&["rmi", &name]);
    for number in 1..=KILLS {
        let is_late = kill(&sandbox, &mut chance, &pull);
        check(&sandbox, number);
        if number % CHECKED_EACH == 0 {
            sandbox.ok(&pull);
            check_image(&sandbox, &name);
            sandbox.ok(&["rmi", &name]);
            check_tidy(&sandbox);
        } else if is_late {
            sandbox.ok(&["rmi", &name]);
        }
    }
}

#[test]
fn pushes_leave_what_they_push() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox);
    make(&sandbox, "made");
    let mut name = format!("{}/made0", server.address);
    sandbox.ok(&["tag", "made", &name]);
    let mut chance = Chance::of(&sandbox, &["push", &name]);
    for number in 1..=KILLS {
        // What was compressed is made again, and the registry's repository is empty.
        sandbox.ok(&["rmi", &name]);
        sandbox.ok(&["image", "prune", "-f"]);
        name = format!("{}/made{number}", server.address);
        sandbox.ok(&["tag", "made", &name]);
        kill(&sandbox, &mut chance, &["push", &name]);
        check(&sandbox, number);
        if number % CHECKED_EACH == 0 {
            let said = sandbox.ok(&["push", &name]);
            assert!(said.contains("latest: digest: sha256:"), "{said}");
            let root = sandbox.path("elsewhere");
            let elsewhere = ["--root", root.to_str().unwrap()];
            sandbox.ok(&[&elsewhere[..], &["pull", "-q", &name]].concat());
            let id = ["image", "inspect", "-f", "{{.Id}}"];
            let there = [&elsewhere[..], &id, &[&name]].concat();
            let here = [&id[..], &["made"]].concat();
            assert_eq!(sandbox.ok(&there), sandbox.ok(&here));
        }
    }
    sandbox.ok(&["rmi", &name]);
    check_image(&sandbox, "made");
    check_tidy(&sandbox);
}

#[test]
fn loads_are_done_as_a_whole_or_not() {
    let sandbox = Sandbox::new();
    make(&sandbox, "made");
    sandbox.ok(&["save", "-o", "made.tar", "made"]);
    sandbox.ok(&["rmi", "made"]);
    let load = ["load", "-q", "-i", "made.tar"];
    let mut chance = Chance::of(&sandbox, &load);
    sandbox.ok(&["rmi", "made"]);
    for number in 1..=KILLS {
        kill(&sandbox, &mut chance, &load);
        check(&sandbox, number);
        if sandbox.ok(&["images", "-q", "made"]).is_empty() {
            assert!(number % CHECKED_EACH != 0 || !sandbox.ok(&load).is_empty());
        }
        if number % CHECKED_EACH == 0 {
            check_image(&sandbox, "made");
        }
        if !sandbox.ok(&["images", "-q", "made"]).is_empty() {
            sandbox.ok(&["rmi", "made"]);
        }
    }
    check_tidy(&sandbox);
}

#[test]
fn prunes_take_what_nobody_needs_and_nothing_else() {
    let sandbox = Sandbox::new();
    make(&sandbox, "made");
    sandbox.ok(&["save", "-o", "made.tar", "made"]);
    sandbox.ok(&["create", "--name", "keeps", "busybox", "true"]);
    let prune = ["image", "prune", "-a", "-f"];
    let mut chance = Chance::of(&sandbox, &prune);
    for number in 1..=KILLS {
        sandbox.ok(&["load", "-q", "-i", "made.tar"]);
        check_image(&sandbox, "made");
        kill(&sandbox, &mut chance, &prune);
        check(&sandbox, number);
        if number % CHECKED_EACH == 0 {
            sandbox.ok(&prune);
            assert_eq!(sandbox.ok(&["images", "-q", "made"]), "");
            check_tidy(&sandbox);
        }
    }
    assert_eq!(sandbox.ok(&["start", "-a", "keeps"]), "");
    // Those of busybox, which was made here and never sent.
    assert!(blobs(&sandbox).len() <= 3);
}
