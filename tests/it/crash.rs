//! `kill -9` at every step: whatever of ours dies, the next command finds its way, and nothing is left.
//!
//! strace ends the traced processes just before one of their state-changing system calls: of each process the first such
//! call, in the next round the second, and so on, until the command gets through.

use std::collections::BTreeSet;

use crate::sandbox::{ARIL, Running, Sandbox, leftovers, wait_until};

/// System calls that change what others can see.
const CALLS: &str = "rename,renameat,renameat2,mkdir,mkdirat,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,mknodat,\
                     fsopen,fsmount,move_mount,open_tree,mount,umount2,clone3,execve,write,sendmsg,fchmod,fchown,\
                     ftruncate,fsync,flock,setsid,bind,listen,connect,openat2,pwrite64,copy_file_range";

/// Starts `aril ARGS`, whose processes are killed at the `step`th of their calls each; returns what became of it.
fn killed_at(sandbox: &Sandbox, step: usize, args: &[&str]) -> Running {
    let mut command = sandbox.command("strace");
    let inject = format!("inject={CALLS}:signal=KILL:when={step}");
    command.args(["-f", "-qq", "-o"]).arg(sandbox.path("trace"));
    command.args(["-e", &format!("trace={CALLS}"), "-e", &inject, ARIL]);
    command.args(args);
    sandbox.start(command)
}

/// Whether anything was killed in the last round.
fn was_killed(sandbox: &Sandbox) -> bool {
    let trace = std::fs::read_to_string(sandbox.path("trace")).unwrap();
    trace.contains("killed by SIGKILL")
}

/// Checks that nothing of a dead container runs, or is reserved, and that the store is whole.
fn check_repaired(sandbox: &Sandbox, step: usize) {
    let listed = sandbox.aril(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]);
    assert_eq!(listed.code, 0, "after step {step}: {listed:?}");
    assert!(
        !listed.err.contains("panicked"),
        "after step {step}: {listed:?}"
    );
    // Whatever is there can be removed, and its name used again.
    let ran = sandbox.aril(&["rm", "-f", "-v", "box"]);
    assert_eq!(ran.code, 0, "after step {step}: {ran:?}");
    wait_until("the container is gone", || {
        sandbox.ok(&["ps", "-aq"]).is_empty()
    });
    let again = sandbox.aril(&["run", "--rm", "--name", "box", "busybox", "echo", "again"]);
    assert_eq!(
        (again.code, again.out.as_str()),
        (0, "again\n"),
        "after step {step}: {again:?}"
    );
}

/// Checks that no folder of the store holds anything that only a dead process knew of.
fn check_clean(sandbox: &Sandbox) {
    sandbox.ok(&["container", "prune", "-f"]);
    sandbox.ok(&["volume", "prune", "-a", "-f"]);
    sandbox.ok(&["image", "prune", "-f"]);
    let left = |folder: &str| -> BTreeSet<String> {
        let entries = std::fs::read_dir(sandbox.root().join(folder)).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    for folder in ["containers", "names", "volumes", "leases", "tmp", "trash"] {
        assert_eq!(left(folder), BTreeSet::new(), "{folder}");
    }
    // Networks stay, and what names a container in them goes.
    let run = sandbox.run_dir();
    for entry in std::fs::read_dir(&run).unwrap() {
        let name = entry.unwrap().file_name();
        // What is kept for all containers.
        assert!(
            name == "networks" || name == "filters",
            "{}",
            name.display()
        );
    }
    let names = sandbox.shell(&format!(
        "find {} ! -type d ! -name lock",
        run.join("networks").display()
    ));
    assert_eq!(names, "");
}

/// Kills `aril ARGS` at every step; `prepare` and `check` stand before and after each round.
fn at_every_step(sandbox: &Sandbox, args: &[&str], prepare: impl Fn(), check: impl Fn(usize)) {
    let mut quiet = 0;
    // Some calls are made by one process alone, so the end is known only after a few rounds without any victim.
    for step in 1..2000 {
        prepare();
        let mut running = killed_at(sandbox, step, args);
        running.close_input();
        let ran = running.wait();
        assert!(!ran.err.contains("panicked"), "{ran:?}");
        check(step);
        quiet = if was_killed(sandbox) { 0 } else { quiet + 1 };
        if quiet == 3 {
            return;
        }
    }
    panic!("the command never gets through");
}

#[test]
fn run_at_every_step() {
    let sandbox = Sandbox::new();
    let args = [
        "run",
        "--name",
        "box",
        "-v",
        "/vol",
        "busybox",
        "sh",
        "-c",
        "echo x; echo y > /file",
    ];
    at_every_step(
        &sandbox,
        &args,
        || {},
        |step| check_repaired(&sandbox, step),
    );
    check_clean(&sandbox);
}

#[test]
fn run_rm_at_every_step() {
    let sandbox = Sandbox::new();
    let args = ["run", "--rm", "--name", "box", "-i", "busybox", "cat"];
    at_every_step(
        &sandbox,
        &args,
        || {},
        |step| check_repaired(&sandbox, step),
    );
    check_clean(&sandbox);
}

#[test]
fn commit_at_every_step() {
    let sandbox = Sandbox::new();
    let script = "mkdir /new; for n in 1 2 3; do echo $n > /new/$n; done; rm /etc/group";
    sandbox.ok(&["run", "--name", "box", "busybox", "sh", "-c", script]);
    let args = ["commit", "-m", "killed", "box", "new:1"];
    at_every_step(
        &sandbox,
        &args,
        || {},
        |step| {
            // The image is there as a whole, or not at all.
            let ran = sandbox.aril(&["run", "--rm", "--pull", "never", "new:1", "cat", "/new/3"]);
            assert!(
                (ran.code, ran.out.as_str()) == (0, "3\n")
                    || ran.code == 125 && ran.err.contains("No such image"),
                "after step {step}: {ran:?}"
            );
            sandbox.ok(&["images"]);
            assert_eq!(sandbox.inspect("box", "{{.State.Status}}"), "exited");
            sandbox.aril(&["rmi", "new:1"]);
        },
    );
    sandbox.ok(&["commit", "box", "new:1"]);
    assert_eq!(sandbox.ok(&["run", "--rm", "new:1", "cat", "/new/3"]), "3");
    sandbox.ok(&["rm", "box"]);
    sandbox.ok(&["rmi", "new:1"]);
    check_clean(&sandbox);
}

#[test]
fn a_killed_commit_does_not_leave_the_container_paused() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "head -c 20000000 /dev/urandom > /file; sleep 1000",
    ]);
    wait_until("the file is there", || {
        sandbox
            .aril(&[
                "exec",
                "box",
                "sh",
                "-c",
                "test $(stat -c %s /file) = 20000000",
            ])
            .code
            == 0
    });
    let mut commit = sandbox.spawn(&["commit", "box", "new"]);
    wait_until("it is paused, or over", || {
        commit.has_ended() || sandbox.inspect("box", "{{.State.Status}}") == "paused"
    });
    if !commit.has_ended() {
        commit.signal(rustix::process::Signal::KILL);
    }
    commit.end();
    // The freezer is the monitor's; the client's end thaws it.
    wait_until("it goes on", || {
        sandbox.inspect("box", "{{.State.Status}}") == "running"
    });
    assert_eq!(sandbox.ok(&["exec", "box", "echo", "well"]), "well");
}

#[test]
fn stop_and_rm_at_every_step() {
    let sandbox = Sandbox::new();
    let args = ["rm", "-f", "-v", "box"];
    at_every_step(
        &sandbox,
        &args,
        || {
            sandbox.ok(&[
                "run", "-d", "--name", "box", "-v", "/vol", "busybox", "sleep", "1000",
            ]);
        },
        |step| check_repaired(&sandbox, step),
    );
    check_clean(&sandbox);
}

fn kill(pid: rustix::process::Pid) {
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    wait_until("it has died", || is_dead(pid.as_raw_nonzero().get()));
}

/// Whether a process runs no more; it may stay for its parent to look at, but holds nothing.
fn is_dead(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn the_monitor_of_a_running_container() {
    let sandbox = Sandbox::new();
    let id = sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "-v",
        "vol:/vol",
        "busybox",
        "sh",
        "-c",
        "sleep 1000 & sleep 1000",
    ]);
    let pid = sandbox.inspect("box", "{{.State.Pid}}");
    let monitor = sandbox.monitor("box");
    // As ps(1) and top(1) call it.
    let name = std::fs::read_to_string(format!("/proc/{monitor}/comm")).unwrap();
    assert_eq!(name, "aril\n");
    kill(monitor);
    let listed = sandbox.aril(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]);
    assert_eq!((listed.code, listed.out.as_str()), (0, "box exited\n"));
    assert!(
        listed
            .err
            .contains("repaired container box: its monitor was killed while it ran"),
        "{listed:?}"
    );
    assert_eq!(
        sandbox.inspect("box", "{{.State.ExitCode}} {{.State.Pid}}"),
        "137 0"
    );
    wait_until("its program has died", || is_dead(pid.parse().unwrap()));
    assert!(leftovers::cgroups_of(&id).is_empty());
    // It is said once, and the container starts again with all it had.
    assert_eq!(sandbox.aril(&["ps", "-a"]).err, "");
    sandbox.ok(&["start", "box"]);
    sandbox.ok(&["exec", "box", "true"]);
    kill(sandbox.monitor("box"));
    sandbox.ok(&["rm", "-f", "box"]);
    check_clean(&sandbox);
}

#[test]
fn the_monitor_under_each_command() {
    let sandbox = Sandbox::new();
    let commands: [&[&str]; 9] = [
        &["stop", "box"],
        &["kill", "box"],
        &["restart", "-t", "0", "box"],
        &["exec", "box", "true"],
        &["attach", "box"],
        &["pause", "box"],
        &["wait", "box"],
        &["logs", "-f", "box"],
        &["commit", "box", "new"],
    ];
    for command in commands {
        sandbox.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
        kill(sandbox.monitor("box"));
        let ran = sandbox.aril(command);
        assert!(!ran.err.contains("panicked"), "{ran:?}");
        sandbox.ok(&["rm", "-f", "box"]);
    }
}

#[test]
fn clients_that_wait_are_told() {
    let sandbox = Sandbox::new();
    let mut running = sandbox.spawn(&[
        "run",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "echo ready; sleep 1000",
    ]);
    running.expect("ready");
    let waiting = sandbox.spawn(&["wait", "box"]);
    let following = sandbox.spawn(&["logs", "-f", "box"]);
    kill(sandbox.monitor("box"));
    let ran = running.end();
    assert_ne!(ran.code, 0);
    assert!(ran.err.contains("monitor"), "{ran:?}");
    waiting.end();
    following.end();
    assert_eq!(sandbox.inspect("box", "{{.State.Status}}"), "exited");
}

#[test]
fn with_rm_it_is_removed_by_whoever_comes_next() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "run", "-d", "--rm", "--name", "box", "-v", "/vol", "busybox", "sleep", "1000",
    ]);
    kill(sandbox.monitor("box"));
    let listed = sandbox.aril(&["ps", "-aq"]);
    assert_eq!((listed.code, listed.out.as_str()), (0, ""));
    assert!(listed.err.contains("it is removed"), "{listed:?}");
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "");
    check_clean(&sandbox);
}

#[test]
fn a_client_that_is_killed_leaves_the_container_running() {
    let sandbox = Sandbox::new();
    let script = "while :; do echo x; sleep 0.05; done";
    let mut running = sandbox.spawn(&["run", "--name", "box", "busybox", "sh", "-c", script]);
    running.expect("x");
    running.signal(rustix::process::Signal::KILL);
    running.end();
    assert_eq!(sandbox.inspect("box", "{{.State.Status}}"), "running");
    let count = || sandbox.ok(&["logs", "box"]).len();
    let before = count();
    wait_until("it goes on", || count() > before);
}

#[test]
fn load_and_import_at_many_steps() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "run",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "echo x > /file",
    ]);
    sandbox.ok(&["commit", "box", "new"]);
    sandbox.ok(&["rm", "box"]);
    sandbox.ok(&["save", "-o", "file", "new"]);
    sandbox.ok(&["rmi", "new"]);
    for step in (1..).step_by(7) {
        let mut running = killed_at(&sandbox, step, &["load", "-i", "file"]);
        running.close_input();
        running.wait();
        let ran = sandbox.aril(&["run", "--rm", "--pull", "never", "new", "cat", "/file"]);
        assert!(
            ran.code == 125 || ran.out == "x\n",
            "after step {step}: {ran:?}"
        );
        sandbox.aril(&["rmi", "new"]);
        if !was_killed(&sandbox) {
            break;
        }
    }
    sandbox.ok(&["load", "-i", "file"]);
    assert_eq!(sandbox.ok(&["run", "--rm", "new", "cat", "/file"]), "x");
    sandbox.ok(&["rmi", "new"]);
    check_clean(&sandbox);
}
