//! The runtime as a monitor uses it: in memory, with a detached root, given streams, and work beside the mounts.
//!
//! The runtime clones only from a process with one thread, which a test is not: each test forks one.

use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use aril::cgroup::{self, layout};
use aril::oci::runtime::{ConsoleSize, Process as Document, Spec};
use aril::runtime::{
    ExecOptions, Failure, Options, Prepared, Process, Rootfs, Running, Start, Stdio, Step, create,
    exec,
};
use aril::sys::clone::fork;
use aril::sys::mount::clone_tree;
use rustix::process::{WaitId, WaitIdOptions, WaitOptions, waitid};

use super::{Sandbox, cgroups_of};

/// Runs `test` in a child that has this thread alone.
fn alone(test: fn()) {
    let pid = fork(|| i32::from(std::panic::catch_unwind(test).is_err())).unwrap();
    let (_, status) = rustix::process::waitpid(Some(pid), WaitOptions::empty())
        .unwrap()
        .unwrap();
    assert_eq!(status.exit_status(), Some(0), "see the messages above");
}

fn options<'a>(
    id: &'a str,
    spec: &'a Spec,
    sandbox: &'a Sandbox,
    rootfs: Rootfs<'a>,
) -> Options<'a> {
    Options {
        id,
        spec,
        bundle: &sandbox.dir,
        rootfs,
        stdio: Stdio::Inherit,
        cgroup: None,
        start: Start::Later,
        preserved_fds: 0,
        init: false,
        keep_keyring: false,
        no_pivot: false,
        filters: None,
    }
}

fn spec(sandbox: &Sandbox) -> Spec {
    serde_json::from_value(sandbox.config.clone()).unwrap()
}

fn wait(process: &Process) -> i32 {
    let status = waitid(WaitId::PidFd(process.pidfd.as_fd()), WaitIdOptions::EXITED)
        .unwrap()
        .unwrap();
    status
        .exit_status()
        .unwrap_or_else(|| 128 + status.terminating_signal().unwrap())
}

#[test]
fn a_monitor_s_way() {
    alone(a_monitor_s_way_alone);
}

fn a_monitor_s_way_alone() {
    let mut sandbox =
        Sandbox::new("cat; cat /sys/class/net/*/address | wc -l; echo error >&2; exit 3");
    let id = sandbox.id("monitor");
    let spec = spec(&sandbox);
    let tree = clone_tree(std::fs::File::open(sandbox.rootfs()).unwrap().as_fd(), true).unwrap();
    let host = layout::detect().unwrap();
    let path = Path::new(cgroup::PARENT).join(&id);
    let cgroup = cgroup::create(
        host,
        &path,
        &serde_json::from_str(r#"{"pids":{"limit":9}}"#).unwrap(),
    )
    .unwrap();
    let (input, mut feed) = std::io::pipe().unwrap();
    let (mut out, output) = std::io::pipe().unwrap();
    let (mut err, error) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut feed, b"fed\n").unwrap();
    drop(feed);
    let mut seen = None;
    let mut meanwhile = |prepared: Prepared<'_>| {
        let pid = prepared.pid.as_raw_nonzero();
        seen = Some(std::fs::read_link(format!("/proc/{pid}/ns/net"))?);
        Ok(())
    };
    let mut process = create(
        Options {
            stdio: Stdio::Given([input.as_fd(), output.as_fd(), error.as_fd()]),
            cgroup: Some(&cgroup),
            ..options(&id, &spec, &sandbox, Rootfs::Detached(tree.as_fd()))
        },
        Some(&mut meanwhile),
    )
    .unwrap();
    drop((input, output, error));
    assert_ne!(
        seen.unwrap(),
        std::fs::read_link("/proc/self/ns/net").unwrap()
    );
    assert_eq!(cgroup.pids().unwrap(), [process.pid.as_raw_nonzero().get()]);
    process.start().unwrap();
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    assert_eq!(text, "fed\n1\n");
    text.clear();
    err.read_to_string(&mut text).unwrap();
    assert_eq!(text, "error\n");
    assert_eq!(wait(&process), 3);
    assert!(cgroup.stats().cpu.total > 0);
    assert_eq!(cgroup.oom_kills(), 0);
    cgroup.remove().unwrap();
    assert!(cgroups_of(&id).is_empty());
}

#[test]
fn failures_are_typed() {
    alone(failures_are_typed_alone);
}

fn failures_are_typed_alone() {
    let mut sandbox = Sandbox::new("");
    let id = sandbox.id("failures");
    let mut fail = |args: &[&str], cwd: &str| {
        sandbox.args(args).set("/process/cwd", cwd.into());
        let spec = spec(&sandbox);
        let rootfs = sandbox.rootfs();
        let error = create(options(&id, &spec, &sandbox, Rootfs::Path(&rootfs)), None).unwrap_err();
        let failure = error.downcast_ref::<Failure>().unwrap();
        (failure.step, failure.errno)
    };
    assert_eq!(fail(&["nosuch"], "/"), (Step::Program, libc::ENOENT));
    assert_eq!(fail(&["/etc"], "/"), (Step::Program, libc::EISDIR));
    assert_eq!(fail(&["/etc/passwd"], "/"), (Step::Program, libc::EACCES));
    assert_eq!(
        fail(&["true"], "/nope"),
        (Step::WorkingDirectory, libc::ENOENT)
    );
    // No child is left, and this process is where it was.
    let none = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
    assert_eq!(none.unwrap_err(), rustix::io::Errno::CHILD);

    // What happens beside the mounts can fail, too.
    sandbox.args(&["true"]).set("/process/cwd", "/".into());
    let spec = spec(&sandbox);
    let rootfs = sandbox.rootfs();
    let mut broken = |_: Prepared<'_>| anyhow::bail!("no network");
    let error = create(
        options(&id, &spec, &sandbox, Rootfs::Path(&rootfs)),
        Some(&mut broken),
    )
    .unwrap_err();
    assert_eq!(error.to_string(), "no network");
}

fn joining<'a>(process: &'a Document, output: BorrowedFd<'a>) -> ExecOptions<'a> {
    ExecOptions {
        process,
        stdio: Stdio::Given([output; 3]),
        wait: true,
        preserved_fds: 0,
        keep_keyring: false,
        sub_cgroups: &[],
    }
}

#[test]
fn terminals_and_processes_that_join() {
    alone(terminals_and_processes_that_join_alone);
}

fn terminals_and_processes_that_join_alone() {
    let mut sandbox = Sandbox::new("stty size; read line; exit 4");
    let id = sandbox.id("join");
    let spec = spec(&sandbox);
    let rootfs = sandbox.rootfs();
    let size = ConsoleSize {
        height: 11,
        width: 22,
    };
    let mut process = create(
        Options {
            stdio: Stdio::Terminal(Some(size)),
            ..options(&id, &spec, &sandbox, Rootfs::Path(&rootfs))
        },
        None,
    )
    .unwrap();
    process.start().unwrap();
    let mut terminal = std::fs::File::from(process.terminal.take().unwrap());
    let mut buffer = [0; 100];
    let length = terminal.read(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"11 22\r\n");

    let own = std::fs::read_link("/proc/self/ns/pid_for_children").unwrap();
    let state = aril::oci::state::State {
        oci_version: "1.2.0".into(),
        id: id.clone(),
        status: aril::oci::state::Status::Running,
        pid: process.pid.as_raw_nonzero().get(),
        bundle: sandbox.dir.clone(),
        annotations: std::collections::BTreeMap::default(),
    };
    let linux = spec.linux.clone().unwrap();
    let mut document = spec.process.clone().unwrap();
    document.args = vec!["sh".into(), "-c".into(), "hostname; exit 6".into()];
    let (mut out, output) = std::io::pipe().unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    let running = Running {
        pidfd: process.pidfd.as_fd(),
        state: &state,
        linux: &linux,
        cgroup: None,
        filters: None,
    };
    let mut joined = exec(running, joining(&document, output.as_fd())).unwrap();
    joined.start().unwrap();
    drop(output);
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    assert_eq!(text, "box\n");
    assert_eq!(wait(&joined), 6);
    document.args = vec!["nosuch".into()];
    let error = exec(running, joining(&document, null.as_fd())).unwrap_err();
    assert_eq!(error.downcast_ref::<Failure>().unwrap().step, Step::Program);
    let now = std::fs::read_link("/proc/self/ns/pid_for_children").unwrap();
    assert_eq!(now, own);

    std::io::Write::write_all(&mut terminal, b"\n").unwrap();
    assert_eq!(wait(&process), 4);
}
