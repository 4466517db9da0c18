//! The clone of a container's first process, into all its namespaces.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, setns};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::channel::{Channel, Failure, Message, OrFail as _};
use super::init::{self, Init, become_ids};
use super::last::report;
use super::namespaces::{Namespaces, flag, visit};
use crate::cgroup::Entry;
use crate::oci::runtime::linux::{Linux, NamespaceKind};
use crate::sys::clone::{Child, CloneOptions, clone};
use crate::sys::process::abandon;
use crate::sys::pseudo;

/// Starts the first process of a container; returns it with the channel to it.
pub(super) fn spawn(
    namespaces: &Namespaces,
    linux: &Linux,
    init: &Init<'_>,
) -> Result<(Child, Channel)> {
    let (ours, childs) = Channel::pair().context("make a channel to the container")?;
    let back = visit(namespaces, linux)?;
    let spawned = match &namespaces.joined_user {
        None => clone_first(namespaces, init, &ours, childs),
        Some(path) => clone_behind(path, namespaces, init, &ours, childs),
    };
    // Whatever came of it, this process belongs where it was.
    back.go()?;
    let child = spawned?;
    // Scripts look for these words of runc's.
    tracing::debug!(
        "nsexec container setup: process {} is cloned",
        child.pid.as_raw_nonzero()
    );
    tracing::debug!("child process in init(): it makes its mounts");
    Ok((child, ours))
}

/// The namespaces that the clone makes. The cgroup namespace waits until the cgroup is entered, and a time namespace was
/// made by the visit.
fn made_by_clone(namespaces: &Namespaces) -> i32 {
    namespaces.new & !flag(NamespaceKind::Cgroup) & !flag(NamespaceKind::Time)
}

fn clone_first(
    namespaces: &Namespaces,
    init: &Init<'_>,
    ours: &Channel,
    childs: Channel,
) -> Result<Child> {
    let options = CloneOptions {
        namespaces: made_by_clone(namespaces),
        cgroup: init.entry.and_then(Entry::directory),
        sibling: false,
    };
    clone(&options, move || {
        abandon(ours.as_fd());
        init::run(init, &childs)
    })
    .context("clone the container's first process")
}

/// Starts the first process from within a user namespace that exists already, so that its new namespaces belong to that.
///
/// A process in between enters it, which nobody can undo, makes the first process as our child, and ends.
fn clone_behind(
    user: &Path,
    namespaces: &Namespaces,
    init: &Init<'_>,
    ours: &Channel,
    childs: Channel,
) -> Result<Child> {
    let user_namespace =
        File::open(user).with_context(|| format!("open namespace {}", user.display()))?;
    let (report_to_us, betweens) = Channel::pair().context("make a channel to a child")?;
    let options = CloneOptions {
        namespaces: 0,
        cgroup: init.entry.and_then(Entry::directory),
        sibling: false,
    };
    let between = clone(&options, move || {
        abandon(ours.as_fd());
        let made = enter_and_clone(&user_namespace, namespaces, init, childs);
        let told = match made {
            Ok(child) => betweens.send(&Message::Cloned, &[child.pidfd.as_fd()]),
            Err(failure) => {
                report(&betweens, &failure);
                Ok(())
            }
        };
        i32::from(told.is_err())
    })
    .context("clone a process to enter the user namespace")?;
    let received = report_to_us.receive().context("wait for the first process");
    rustix::io::retry_on_intr(|| {
        waitid(WaitId::PidFd(between.pidfd.as_fd()), WaitIdOptions::EXITED)
    })
    .context("wait for the process that entered the user namespace")?;
    match received? {
        Some((Message::Cloned, mut fds)) if fds.len() == 1 => {
            let pidfd = fds.remove(0);
            Ok(Child {
                pid: pid_of(pidfd.as_raw_fd())?,
                pidfd,
            })
        }
        Some((Message::Failed(failure), _)) => Err(failure.into()),
        _ => bail!("the process that was to enter the user namespace has ended"),
    }
}

fn enter_and_clone(
    user_namespace: &File,
    namespaces: &Namespaces,
    init: &Init<'_>,
    childs: Channel,
) -> Result<Child, Failure> {
    setns(user_namespace.as_fd(), CloneFlags::CLONE_NEWUSER)
        .or_fail(|| "join the user namespace".to_owned())?;
    become_ids(0, 0)?;
    let options = CloneOptions {
        namespaces: made_by_clone(namespaces),
        cgroup: None,
        sibling: true,
    };
    clone(&options, move || init::run(init, &childs))
        .or_fail(|| "clone the container's first process".to_owned())
}

/// Returns the id of the process behind a pidfd as our own pid namespace numbers it.
fn pid_of(pidfd: i32) -> Result<Pid> {
    let text = pseudo::read_text(format!("/proc/self/fdinfo/{pidfd}"))
        .context("look at the pidfd of the first process")?;
    let pid = text
        .lines()
        .find_map(|line| line.strip_prefix("Pid:"))
        .and_then(|pid| pid.trim().parse().ok());
    pid.and_then(Pid::from_raw)
        .context("the container's first process has ended")
}
