//! A process that joins a running container: one clone, one `setns`, and then the last steps of every process.
//!
//! It enters the cgroup first and the namespaces then, by a pidfd of the container's first process, so that no path and no
//! id can mean another container. Nothing of the host goes along: what is open is closed before the working directory and
//! the program are looked up (CVE-2016-9962, CVE-2024-21626).

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::channel::{Channel, Failure, Message, OrFail as _};
use super::child::Process;
use super::init::{adjust_oom_score, become_ids, enter_cgroup, protect};
use super::last::{Last, Starter, become_program, first_closed, open_label, report, set_affinity};
use super::listener;
use super::namespaces::{KINDS, Namespaces, file_name, flag, plan as plan_namespaces};
use super::process::{ProcessPlan, Surroundings, plan as plan_process};
use super::terminal::{self, Stdio};
use crate::cgroup::sub::SubCgroup;
use crate::cgroup::{Cgroup, Entry};
use crate::error;
use crate::oci::runtime::Process as Document;
use crate::oci::runtime::linux::{Linux, NamespaceKind};
use crate::oci::state::State;
use crate::sys::clone::{CloneOptions, clone};
use crate::sys::kernel::{self, Interface};
use crate::sys::process::abandon;
use crate::sys::signal;

/// A running container, for a process that is to join it.
#[derive(Clone, Copy, Debug)]
pub struct Running<'a> {
    /// Its first process.
    pub pidfd: BorrowedFd<'a>,
    /// Its state; the id of the first process counts in the caller's pid namespace.
    pub state: &'a State,
    /// What only Linux has of its configuration: which namespaces it has, seccomp, personality.
    pub linux: &'a Linux,
    /// Its cgroup.
    pub cgroup: Option<&'a Cgroup>,
    /// Where compiled seccomp profiles are kept; see [`super::Options`].
    pub filters: Option<&'a Path>,
}

/// How a process joins.
#[derive(Clone, Copy, Debug)]
pub struct ExecOptions<'a> {
    /// What to run.
    pub process: &'a Document,
    /// The standard streams.
    pub stdio: Stdio<'a>,
    /// Whether the program waits for [`Process::start`].
    pub wait: bool,
    /// How many of the caller's descriptors from 3 on the program gets.
    pub preserved_fds: u32,
    /// Whether the session keyring of the caller is kept.
    pub keep_keyring: bool,
    /// Cgroups below the container's to enter instead of its own; none for its own.
    pub sub_cgroups: &'a [SubCgroup],
}

/// Starts a process in a running container; returns when the program runs, or with `wait` when it only has to be started.
///
/// Fails with [`super::Failure`]; no process is left then. A container that is frozen must be refused by the caller: the
/// process would be frozen with it. The caller must have one thread.
pub fn exec(container: Running<'_>, options: ExecOptions<'_>) -> Result<Process> {
    let namespaces = plan_namespaces(container.linux)?;
    let surroundings = Surroundings {
        seccomp: container.linux.seccomp.as_ref(),
        filters: container.filters,
        personality: container.linux.personality.as_ref(),
        memory_policy: container.linux.memory_policy.as_ref(),
        in_userns: namespaces.has(NamespaceKind::User),
    };
    let process = plan_process(options.process, surroundings)?;
    for warning in &process.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(number) = first_closed(options.preserved_fds) {
        return Err(error::invalid(format!(
            "descriptor {number} is to be preserved, but is not open"
        )));
    }
    let entry = container
        .cgroup
        .map(|cgroup| cgroup.entry_below(options.sub_cgroups))
        .transpose()?;
    let keyring = (!options.keep_keyring)
        .then(|| CString::new(format!("_ses.{}", container.state.id)))
        .transpose()?;
    let joining = Joining {
        process: &process,
        entry: entry.as_ref(),
        may_follow: options.sub_cgroups.is_empty(),
        target: Target::open(container, &namespaces)?,
        in_userns: namespaces.has(NamespaceKind::User),
        stdio: options.stdio,
        last: Last {
            process: &process,
            start: if options.wait {
                Starter::Parent
            } else {
                Starter::AtOnce
            },
            preserved: options.preserved_fds,
            has_terminal: matches!(options.stdio, Stdio::Terminal(_)),
            keyring: keyring.as_deref(),
            init: false,
            start_container: None,
        },
    };
    let mut joined = spawn(container, &namespaces, &joining)?;
    let followed = accompany(&mut joined, &joining, options.wait);
    match followed {
        Ok(()) => Ok(joined),
        Err(error) => {
            joined.end()?;
            Err(error)
        }
    }
}

fn accompany(joined: &mut Process, joining: &Joining<'_>, wait: bool) -> Result<()> {
    if joining.in_userns {
        // In a user namespace it cannot lower its own.
        let pid = joined.pid.as_raw_nonzero();
        adjust_oom_score(joining.process, &format!("/proc/{pid}/oom_score_adj"))?;
    }
    joined.follow_joining()?;
    if wait { Ok(()) } else { joined.follow_start() }
}

/// What the child is to do.
struct Joining<'a> {
    process: &'a ProcessPlan,
    entry: Option<&'a Entry>,
    /// Whether it may go where the first process is, if nobody may enter the container's cgroup itself.
    may_follow: bool,
    target: Target<'a>,
    in_userns: bool,
    stdio: Stdio<'a>,
    last: Last<'a>,
}

/// The namespaces to enter.
enum Target<'a> {
    /// All at once (kernel 5.8).
    Process(BorrowedFd<'a>, CloneFlags),
    /// One by one, in this order.
    Files(Vec<(File, NamespaceKind)>),
}

impl<'a> Target<'a> {
    /// The pid namespace is not among them: the child is born in it.
    fn open(container: Running<'a>, namespaces: &Namespaces) -> Result<Target<'a>> {
        let all = namespaces.all() & !flag(NamespaceKind::Pid);
        if !kernel::forced_off(Interface::SetnsPidfd) {
            let flags = CloneFlags::from_bits_retain(all);
            return Ok(Target::Process(container.pidfd, flags));
        }
        let mut files = Vec::new();
        for kind in KINDS {
            if all & flag(kind) != 0 {
                let file = open_namespace(container.state.pid, kind)
                    .with_context(|| format!("open the {} namespace", file_name(kind)))?;
                files.push((file, kind));
            }
        }
        // The files are those of the process that we mean only if it has not ended since.
        signal::send_signal(container.pidfd, 0).context("look at the container's process")?;
        Ok(Target::Files(files))
    }

    fn enter(&self) -> Result<(), Failure> {
        match self {
            Target::Process(pidfd, flags) => {
                setns(pidfd, *flags).or_fail(|| "enter the namespaces of the container".to_owned())
            }
            Target::Files(files) => {
                for (file, kind) in files {
                    setns(file, CloneFlags::from_bits_retain(flag(*kind)))
                        .or_fail(|| format!("enter the {} namespace", file_name(*kind)))?;
                }
                Ok(())
            }
        }
    }
}

fn open_namespace(pid: i32, kind: NamespaceKind) -> io::Result<File> {
    File::open(format!("/proc/{pid}/ns/{}", file_name(kind)))
}

/// Clones the child, in the container's pid namespace if it has one of its own.
fn spawn(
    container: Running<'_>,
    namespaces: &Namespaces,
    joining: &Joining<'_>,
) -> Result<Process> {
    let (ours, childs) = Channel::pair().context("make a channel to the process")?;
    let back = if namespaces.has(NamespaceKind::Pid) {
        let own = File::open("/proc/self/ns/pid").context("open our pid namespace")?;
        visit_pid_namespace(container).map_err(|errno| match errno.raw_os_error() {
            Some(libc::ESRCH | libc::ENOENT) => {
                error::conflict("cannot exec in a stopped container")
            }
            _ => anyhow::Error::new(errno).context("enter the container's pid namespace"),
        })?;
        Some(own)
    } else {
        None
    };
    let born_in = |entry: Option<&Entry>| {
        let options = CloneOptions {
            namespaces: 0,
            cgroup: entry.and_then(Entry::directory),
            sibling: false,
        };
        clone(&options, || {
            abandon(ours.as_fd());
            match steps(joining, &childs) {
                Ok(never) => match never {},
                Err(failure) => {
                    report(&childs, &failure);
                    1
                }
            }
        })
    };
    let cloned = match (born_in(joining.entry), container.cgroup) {
        (Err(error), Some(cgroup))
            if joining.may_follow && error.raw_os_error() == Some(libc::EBUSY) =>
        {
            let beside = cgroup.entry_beside(container.state.pid);
            beside.and_then(|entry| Ok(born_in(Some(&entry))?))
        }
        (Err(error), Some(cgroup)) if error.raw_os_error() == Some(libc::EBUSY) => {
            let directory = cgroup.unified().unwrap_or(cgroup.path()).display();
            Err(error::conflict(format!(
                "error adding pid of the process to cgroups: {directory}/cgroup.procs: device or resource busy"
            )))
        }
        (cloned, _) => cloned.map_err(Into::into),
    };
    if let Some(own) = back {
        setns(&own, CloneFlags::CLONE_NEWPID).context("go back to our pid namespace")?;
    }
    drop(childs);
    let child = cloned.context("clone a process for the container")?;
    tracing::debug!(
        "nsexec container setup: process {} is cloned",
        child.pid.as_raw_nonzero()
    );
    tracing::debug!("child process in init(): it joins the namespaces");
    Ok(Process {
        pid: child.pid,
        pidfd: child.pidfd,
        terminal: None,
        channel: ours,
        poststart: Vec::new(),
        state: State {
            pid: child.pid.as_raw_nonzero().get(),
            ..container.state.clone()
        },
        bundle: container.state.bundle.clone(),
        listener: listener::Target::of(container.linux, joining.process),
    })
}

/// Makes the container's pid namespace that of our children.
fn visit_pid_namespace(container: Running<'_>) -> io::Result<()> {
    if kernel::forced_off(Interface::SetnsPidfd) {
        let file = open_namespace(container.state.pid, NamespaceKind::Pid)?;
        signal::send_signal(container.pidfd, 0)?;
        return Ok(setns(&file, CloneFlags::CLONE_NEWPID)?);
    }
    Ok(setns(container.pidfd, CloneFlags::CLONE_NEWPID)?)
}

/// The child, from the clone to the program.
fn steps(joining: &Joining<'_>, channel: &Channel) -> Result<Infallible, Failure> {
    let process = joining.process;
    signal::default_signals();
    signal::unblock_signals().or_fail(|| "unblock signals".to_owned())?;

    // While /proc is the host's.
    let label = open_label(process)?;
    if !joining.in_userns {
        adjust_oom_score(process, "/proc/self/oom_score_adj")?;
    }
    // Before anybody in the container can see this process.
    protect()?;

    // With the CPUs that it is to have in the meantime, then with those of the container.
    if let Some(cpus) = &process.affinity.0 {
        set_affinity(Some(cpus))?;
    }
    enter_cgroup(joining.entry)?;
    set_affinity(process.affinity.1.as_deref())?;

    // All at once; a mount namespace brings its root and working directory with it.
    joining.target.enter()?;
    if joining.in_userns {
        // Whatever user 0 is inside: the program's own user follows in the last steps. Where it is not mapped, the
        // capabilities of the namespace are there all the same.
        if let Err(failure) = become_ids(0, 0)
            && failure.errno != libc::EINVAL
        {
            return Err(failure);
        }
    }
    rustix::process::setsid().or_fail(|| "lead a session".to_owned())?;
    set_streams(joining, channel)?;
    become_program(&joining.last, label, channel)
}

fn set_streams(joining: &Joining<'_>, channel: &Channel) -> Result<(), Failure> {
    match joining.stdio {
        Stdio::Inherit => Ok(()),
        Stdio::Given(streams) => terminal::redirect(streams),
        Stdio::Terminal(size) => {
            // The container's own devpts; what it may have put there instead is found out when it is opened.
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let pts = rustix::fs::open("/dev/pts", flags, Mode::empty())
                .or_fail(|| "open /dev/pts of the container".to_owned())?;
            let terminal = terminal::open(pts.as_fd(), size)?;
            terminal::control(&terminal.peer)?;
            match channel.send(&Message::Terminal, &[terminal.master.as_fd()]) {
                Err(error) if error.raw_os_error() == Some(Errno::PIPE.raw_os_error()) => Ok(()),
                sent => sent.or_fail(|| "hand over the terminal".to_owned()),
            }
        }
    }
}
