//! The first process of a container: from the clone to the program, one step after the other.
//!
//! Everything that could be read, checked and opened was so by the parent; what is here is what only a process inside the
//! new namespaces can do. It has one thread, ends in an exec or by [`run`], and uses nothing of the host but descriptors.

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::MountAttrFlags;
use rustix::process::DumpableBehavior;
use rustix::thread::{Gid, Uid};

use super::channel::{Channel, Failure, Message, OrFail as _};
use super::last::{Last, become_program, open_label, report, set_affinity};
use super::namespaces::Sysctl;
use super::process::ProcessPlan;
use super::rootfs::{Assembly, RootPlan, assemble};
use super::terminal::{self, Stdio, Terminal};
use super::{hooks, masks};
use crate::cgroup::Entry;
use crate::oci::runtime::Hook;
use crate::oci::runtime::linux::IdMapping;
use crate::oci::state::State;
use crate::sys::mount::detached;
use crate::sys::{process as kernel, signal};

/// What the first process is to set up.
#[derive(Debug)]
pub(super) struct Init<'a> {
    pub(super) entry: Option<&'a Entry>,
    pub(super) userns: Userns<'a>,
    pub(super) new_cgroup_namespace: bool,
    pub(super) new_network: bool,
    pub(super) root: RootPlan,
    pub(super) hostname: &'a str,
    pub(super) domainname: &'a str,
    pub(super) sysctls: Vec<Sysctl>,
    pub(super) stdio: Stdio<'a>,
    /// Whether the parent has something to do, or to wait for, before the root is switched.
    pub(super) sync: Sync,
    /// Hooks to run in the container's namespaces before the root is switched, with the state for them.
    pub(super) create_container: Option<(&'a [Hook], State, &'a Path)>,
    pub(super) last: Last<'a>,
}

/// Whether the container has a user namespace of its own, and whose ids are its user 0.
#[derive(Clone, Copy, Debug)]
pub(super) enum Userns<'a> {
    /// It shares ours.
    Shared,
    /// A new one: the parent writes the maps, and lets us go on.
    New {
        uids: &'a [IdMapping],
        gids: &'a [IdMapping],
    },
    /// One that the process before this has entered, as its root.
    Joined,
}

/// What the parent does while the mounts are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    /// Nothing that this process must wait for.
    None,
    /// Something of its own, such as the network: it lets us go on.
    Wait,
    /// Something that needs the mounts, such as hooks: it is told, and lets us go on.
    Tell,
}

/// Runs the child; returns its exit code if it did not become the program.
pub(super) fn run(init: &Init<'_>, channel: &Channel) -> i32 {
    match steps(init, channel) {
        Ok(never) => match never {},
        Err(failure) => {
            report(channel, &failure);
            1
        }
    }
}

fn steps(init: &Init<'_>, channel: &Channel) -> Result<Infallible, Failure> {
    let process = init.last.process;

    // What a program expects at its start, whatever its caller had: no blocked and no ignored signals.
    signal::default_signals();
    signal::unblock_signals().or_fail(|| "unblock signals".to_owned())?;

    // While /proc is the host's and its files are ours: not so in a user namespace, where the parent does this.
    let label = open_label(process)?;
    if matches!(init.userns, Userns::Shared) {
        adjust_oom_score(process, "/proc/self/oom_score_adj")?;
    }
    // Nobody in the container may look into this process or through its /proc/PID/exe (CVE-2016-9962, CVE-2019-5736).
    protect()?;

    // First of all, so that everything after counts there, and as long as the host's rights are there.
    enter_cgroup(init.entry)?;
    set_affinity(process.affinity.1.as_deref())?;

    // With the maps written, to be somebody whose files can be owned inside.
    if let Userns::New { uids, gids } = init.userns {
        channel
            .wait()
            .or_fail(|| "wait for the id maps".to_owned())?;
        become_root_inside(uids, gids, process)?;
    }
    // After the cgroup is entered: the namespace's root is what this process is in now.
    if init.new_cgroup_namespace {
        unshare(CloneFlags::CLONE_NEWCGROUP).or_fail(|| "make a cgroup namespace".to_owned())?;
    }
    rustix::process::setsid().or_fail(|| "lead a session".to_owned())?;
    if init.new_network {
        kernel::loopback_up().or_fail(|| "bring up the loopback interface".to_owned())?;
    }

    // Modes of nodes and mount points are what they are asked to be.
    rustix::process::umask(Mode::empty());
    let assembly = assemble(&init.root)?;
    synchronize(init.sync, channel)?;
    if let Some((hooks, state, bundle)) = &init.create_container {
        hooks::run(hooks, "createContainer", state, bundle)?;
    }

    let terminal = set_streams(init, &assembly, channel)?;
    name(init)?;
    // After the network is there, whose interfaces have parameters, and before /proc/sys may be made read-only.
    set_sysctls(&init.sysctls)?;

    masks::finish(&init.root, &assembly)?;
    drop(assembly);
    drop(terminal);
    become_program(&init.last, label, channel)
}

/// Makes this process unreadable for others with its own ids.
pub(super) fn protect() -> Result<(), Failure> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .or_fail(|| "make the process undumpable".to_owned())
}

pub(super) fn enter_cgroup(entry: Option<&Entry>) -> Result<(), Failure> {
    let Some(entry) = entry else {
        return Ok(());
    };
    entry.enter().map_err(|(errno, path)| {
        let what = format!(
            "unable to apply cgroup configuration: write 0 to {}",
            path.display()
        );
        Failure::new(super::channel::Step::Setup, errno, &what)
    })
}

/// Writes the adjustment of the out-of-memory score to `file`.
pub(super) fn adjust_oom_score(process: &ProcessPlan, file: &str) -> Result<(), Failure> {
    let Some(score) = process.oom_score_adj else {
        return Ok(());
    };
    std::fs::write(file, score.to_string()).or_fail(|| format!("write {score} to oom_score_adj"))
}

/// Becomes user and group 0 of the user namespace; where those are not mapped, the ones of the program, which must be.
fn become_root_inside(
    uids: &[IdMapping],
    gids: &[IdMapping],
    process: &ProcessPlan,
) -> Result<(), Failure> {
    let mapped = |maps: &[IdMapping], other: u32| {
        if super::namespaces::host_id(maps, 0).is_some() {
            0
        } else {
            other
        }
    };
    become_ids(mapped(uids, process.uid), mapped(gids, process.gid))
}

/// Becomes user `uid` and group `gid` without losing a capability.
pub(super) fn become_ids(uid: u32, gid: u32) -> Result<(), Failure> {
    let what = || format!("become user {uid}, group {gid} in the user namespace");
    rustix::thread::set_keep_capabilities(true).or_fail(what)?;
    let gid = Gid::from_raw(gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid).or_fail(what)?;
    let uid = Uid::from_raw(uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid).or_fail(what)?;
    super::capabilities::raise()?;
    // A change of ids may have made it so again.
    protect()
}

fn synchronize(sync: Sync, channel: &Channel) -> Result<(), Failure> {
    let what = || "wait for the parent".to_owned();
    match sync {
        Sync::None => Ok(()),
        Sync::Wait => channel.wait().or_fail(what),
        Sync::Tell => {
            channel.send(&Message::Mounted, &[]).or_fail(what)?;
            channel.wait().or_fail(what)
        }
    }
}

/// Sets the standard streams, and hands over the terminal if there is one.
fn set_streams(
    init: &Init<'_>,
    assembly: &Assembly,
    channel: &Channel,
) -> Result<Option<Terminal>, Failure> {
    match init.stdio {
        Stdio::Inherit => Ok(None),
        Stdio::Given(streams) => terminal::redirect(streams).map(|()| None),
        Stdio::Terminal(size) => {
            let pts = assembly.pts.as_ref().ok_or_else(|| {
                Failure::plain("a terminal needs a mount of type devpts on /dev/pts")
            })?;
            let terminal = terminal::open(pts.as_fd(), size)?;
            terminal::bind_console(&assembly.root, &terminal)?;
            terminal::control(&terminal.peer)?;
            channel
                .send(&Message::Terminal, &[terminal.master.as_fd()])
                .or_fail(|| "hand over the terminal".to_owned())?;
            Ok(Some(terminal))
        }
    }
}

fn name(init: &Init<'_>) -> Result<(), Failure> {
    if !init.hostname.is_empty() {
        rustix::system::sethostname(init.hostname.as_bytes())
            .or_fail(|| format!("set the host name {:?}", init.hostname))?;
    }
    if !init.domainname.is_empty() {
        rustix::system::setdomainname(init.domainname.as_bytes())
            .or_fail(|| format!("set the domain name {:?}", init.domainname))?;
    }
    Ok(())
}

/// Writes kernel parameters through a procfs of this process alone: /proc may be anything by now, and an instance that is
/// mounted nowhere cannot be covered (CVE-2025-52881).
pub(super) fn set_sysctls(sysctls: &[Sysctl]) -> Result<(), Failure> {
    if sysctls.is_empty() {
        return Ok(());
    }
    let proc = open_proc().or_fail(|| "open a procfs of our own".to_owned())?;
    for sysctl in sysctls {
        let write = || -> io::Result<()> {
            let path = CString::new(format!("sys/{}", sysctl.path))?;
            let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            // Nothing covers a parameter, and none is a link: what says otherwise is not procfs.
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
            let file = rustix::fs::openat2(&proc, &*path, flags, Mode::empty(), resolve)?;
            rustix::io::write(&file, sysctl.value.as_bytes())?;
            Ok(())
        };
        write().or_fail(|| {
            format!(
                "set sysctl {} to {:?}",
                sysctl.path.replace('/', "."),
                sysctl.value
            )
        })?;
    }
    Ok(())
}

/// Where no new procfs can be mounted (nested in a container that hides parts of its own), the caller's is used, after a
/// check that it is one.
fn open_proc() -> io::Result<OwnedFd> {
    if let Ok(proc) = detached("proc", &[], MountAttrFlags::empty()) {
        return Ok(proc);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", flags, Mode::empty())?;
    let is_proc = |fd: BorrowedFd<'_>| -> io::Result<bool> {
        Ok(rustix::fs::fstatfs(fd)?.f_type == libc::PROC_SUPER_MAGIC)
    };
    if is_proc(proc.as_fd())? {
        Ok(proc)
    } else {
        Err(io::Error::from_raw_os_error(libc::EINVAL))
    }
}
