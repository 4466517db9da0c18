//! The restore of a saved container.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, unshare};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use super::external::{key, mounts_to_restore, namespaces_to_join, text};
use super::place::Place;
use super::root::NewRoot;
use super::rpc::{CgroupRoot, InheritFd, JoinNamespace, Kind, Options, Request, Response};
use super::session::{self, Failed, Session};
use super::{ManageCgroups, RestoreOptions, descriptors, rights};
use crate::cgroup::layout::memberships;
use crate::cgroup::{Cgroup, Entry};
use crate::error;
use crate::oci::runtime::Spec;
use crate::oci::runtime::linux::{Linux, NamespaceKind};
use crate::oci::state::{State, Status};
use crate::runtime::channel::OrFail as _;
use crate::runtime::child::Prepared;
use crate::runtime::init::{enter_cgroup, set_sysctls};
use crate::runtime::namespaces::{self, KINDS, Namespaces, file_name};
use crate::runtime::{hooks, net_devices};
use crate::sys::clone::CloneOptions;
use crate::sys::netns;
use crate::sys::process::loopback_up;
use crate::sys::signal::signal_if_alive;

const LOG: &str = "restore.log";

/// A container to be made of saved processes.
pub(in crate::runtime) struct Restore<'a> {
    pub(in crate::runtime) id: &'a str,
    pub(in crate::runtime) spec: &'a Spec,
    pub(in crate::runtime) bundle: &'a Path,
    pub(in crate::runtime) rootfs: &'a Path,
    /// An empty directory of ours, at which CRIU finds the root filesystem.
    pub(in crate::runtime) mount_point: &'a Path,
    pub(in crate::runtime) cgroup: Option<&'a Cgroup>,
    /// Whether its standard streams are a terminal, which comes back in [`Restored`].
    pub(in crate::runtime) has_terminal: bool,
}

/// A restored container.
#[derive(Debug)]
pub struct Restored {
    /// Its first process, a child of ours.
    pub pid: Pid,
    /// The same.
    pub pidfd: OwnedFd,
    /// The master side of its terminal.
    pub terminal: Option<OwnedFd>,
}

/// What is to be known of a container that is restored, but does not run yet.
pub(in crate::runtime) struct Found {
    pub(in crate::runtime) pid: Pid,
    /// What its standard streams are now.
    pub(in crate::runtime) descriptors: Vec<String>,
    /// Whether CRIU has given it a time namespace of its own.
    pub(in crate::runtime) has_time_namespace: bool,
}

/// Restores a container. `found` is called when all is there, and before anything runs; if it fails, or anything else,
/// nothing is left but the cgroup, which is the caller's. The caller must have one thread.
pub(in crate::runtime) fn restore(
    container: &Restore<'_>,
    options: &RestoreOptions,
    found: &mut dyn FnMut(Found) -> Result<()>,
) -> Result<Restored> {
    let criu = session::find()?;
    let mut place = Place::open(&options.common, LOG)?;
    let pipes = descriptors::read_pipes(place.images.as_fd(), &options.common.images)?;
    let plan = Plan::new(container, pipes)?;
    let entry = container.cgroup.map(Cgroup::entry).transpose()?;
    let root = NewRoot::new(container, &plan.linux)?;
    let unfollowed = place.unfollowed()?;
    let clone = CloneOptions {
        namespaces: libc::CLONE_NEWNS,
        cgroup: entry.as_ref().and_then(Entry::directory),
        sibling: false,
    };
    let passed: Vec<BorrowedFd<'_>> = plan.shared.iter().map(|(_, file)| file.as_fd()).collect();
    let session = Session::start(&criu, &clone, &passed, || {
        enter_cgroup(entry.as_ref())?;
        // If CRIU is to leave cgroups alone, that is the caller's as well.
        if options.common.manage_cgroups == ManageCgroups::Ignore
            && plan.namespaces.makes(NamespaceKind::Cgroup)
        {
            unshare(CloneFlags::CLONE_NEWCGROUP)
                .or_fail(|| "make a cgroup namespace".to_owned())?;
        }
        root.attach()?;
        unfollowed.attach()
    })?;
    place.enter(session.pid())?;
    let request = Request {
        options: Some(plan.options(container, options, &place, session.pid())?),
        ..Request::new(Kind::Restore)
    };
    let mut first = None;
    let mut terminal = None;
    let mut is_checked = false;
    let answer = session.ask(&request, &mut |script, pid, mut fds| {
        match (script, pid) {
            ("orphan-pts-master", _) => terminal = fds.pop(),
            ("setup-namespaces", Some(pid)) => plan.set_up_namespaces(container, pid)?,
            ("post-restore", Some(pid)) => {
                first = Some((pid, pidfd_open(pid, PidfdFlags::empty())?));
                found(plan.look_at(pid)?)?;
            }
            ("pre-resume", _) => {
                let (pid, _) = first.as_ref().context("criu has left out a step")?;
                rights::check(container, *pid, &session)?;
                is_checked = true;
            }
            _ => {}
        }
        Ok(())
    });
    let done = outcome(answer, session.end(), &place).and_then(|()| {
        if !is_checked {
            bail!("criu has let nobody look at what it has restored");
        }
        Ok(())
    });
    match (done, first) {
        (Ok(()), Some((pid, pidfd))) => {
            if container.has_terminal && terminal.is_none() {
                tracing::warn!("what was saved has no terminal");
            }
            Ok(Restored {
                pid,
                pidfd,
                terminal,
            })
        }
        (Ok(()), None) => bail!("criu has not said which process it has restored"),
        (Err(error), first) => {
            if let Some((_, pidfd)) = first {
                end(pidfd.as_fd())?;
            }
            Err(error)
        }
    }
}

fn outcome(
    answer: Result<Result<Response, Failed>>,
    ended: Result<bool>,
    place: &Place,
) -> Result<()> {
    match answer? {
        Ok(_) if ended? => Ok(()),
        Ok(_) => bail!("criu has ended badly"),
        Err(failed) => Err(place.failed("restore", failed)),
    }
}

/// Ends what was restored, as far as CRIU has not.
fn end(pidfd: BorrowedFd<'_>) -> Result<()> {
    signal_if_alive(pidfd, libc::SIGKILL).context("kill what was restored")?;
    let wait = || waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED);
    match rustix::io::retry_on_intr(wait) {
        Ok(_) | Err(rustix::io::Errno::CHILD) => Ok(()),
        Err(errno) => Err(errno).context("wait for what was restored"),
    }
}

/// What is decided before anything is done.
struct Plan {
    linux: Linux,
    namespaces: Namespaces,
    /// Namespaces that are there already, by their names in the images.
    shared: Vec<(&'static str, File)>,
    /// Others, by kind and file.
    joined: Vec<(&'static str, String)>,
    /// Which of our standard streams take the places of which pipes.
    pipes: Vec<(i32, String)>,
}

impl Plan {
    fn new(container: &Restore<'_>, pipes: Vec<(i32, String)>) -> Result<Plan> {
        let linux = container.spec.linux.clone().unwrap_or_default();
        let namespaces = namespaces::plan(&linux)?;
        let mut shared = Vec::new();
        for (kind, path) in &namespaces.joined {
            if let Some(key) = key(*kind) {
                let file = File::open(path)
                    .with_context(|| format!("open namespace {}", path.display()))?;
                shared.push((key, file));
            }
        }
        Ok(Plan {
            joined: namespaces_to_join(&namespaces)?,
            linux,
            namespaces,
            shared,
            pipes,
        })
    }

    fn options(
        &self,
        container: &Restore<'_>,
        options: &RestoreOptions,
        place: &Place,
        criu: Pid,
    ) -> Result<Options> {
        let spec = container.spec;
        let shared = self.shared.iter();
        let inherited = shared.map(|(key, file)| ((*key).to_owned(), file.as_raw_fd()));
        let pipes = self.pipes.iter().map(|(fd, key)| (key.clone(), *fd));
        let joined = self.joined.iter().map(|(kind, file)| JoinNamespace {
            kind: (*kind).to_owned(),
            file: file.clone(),
        });
        Ok(Options {
            root: Some(text(container.mount_point)?),
            evasive_devices: Some(true),
            rst_sibling: Some(true),
            inherit_fd: inherited
                .chain(pipes)
                .map(|(key, fd)| InheritFd { key, fd })
                .collect(),
            join_ns: joined.collect(),
            ext_mnt: mounts_to_restore(spec, container.bundle, container.cgroup)?,
            cg_root: match container.cgroup {
                Some(_) => own_cgroups(criu)?,
                None => Vec::new(),
            },
            lsm_profile: options.lsm_profile.clone(),
            lsm_mount_context: options.lsm_mount_context.clone(),
            ..place.options(&options.common, spec)
        })
    }

    /// What is the runtime's to do once the namespaces exist: a network of the container's own is empty, and hooks may fill
    /// it. Those that run inside the container have run before it was saved.
    fn set_up_namespaces(&self, container: &Restore<'_>, pid: Pid) -> Result<()> {
        if self.namespaces.makes(NamespaceKind::Network) {
            self.set_up_network(container, pid)?;
        }
        let spec = container.spec;
        let state = State {
            oci_version: spec.oci_version.clone(),
            id: container.id.to_owned(),
            status: Status::Creating,
            pid: pid.as_raw_nonzero().get(),
            bundle: container.bundle.to_owned(),
            annotations: spec.annotations.clone(),
        };
        hooks::run(&spec.hooks.prestart, "prestart", &state, container.bundle)?;
        let create_runtime = &spec.hooks.create_runtime;
        hooks::run(create_runtime, "createRuntime", &state, container.bundle)?;
        Ok(())
    }

    fn set_up_network(&self, container: &Restore<'_>, pid: Pid) -> Result<()> {
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        let devices = net_devices::plan(&self.linux, &self.namespaces)?;
        net_devices::move_in(
            &devices,
            Prepared {
                pid,
                pidfd: pidfd.as_fd(),
            },
        )?;
        let mut sysctls =
            namespaces::sysctls(&self.linux, &self.namespaces, &container.spec.hostname)?;
        // The others are saved with what they belong to.
        sysctls.retain(|sysctl| sysctl.path.starts_with("net/"));
        let file = format!("/proc/{}/ns/net", pid.as_raw_nonzero());
        let network = File::open(&file).with_context(|| format!("open {file}"))?;
        netns::inside(network.as_fd(), || -> Result<()> {
            loopback_up().context("bring up the loopback interface")?;
            Ok(set_sysctls(&sysctls)?)
        })
        .context("enter the network namespace of what is restored")?
    }

    /// Looks at what is restored, and refuses what is not where the configuration wants it: the images may be anybody's.
    fn look_at(&self, pid: Pid) -> Result<Found> {
        let inode = |process: &str, kind: NamespaceKind| -> Result<u64> {
            let file = format!("/proc/{process}/ns/{}", file_name(kind));
            let found = rustix::fs::stat(&*file).with_context(|| format!("look at {file}"))?;
            Ok(found.st_ino)
        };
        let process = pid.as_raw_nonzero().to_string();
        // A cgroup namespace hides paths only, and CRIU leaves it out where it found nothing to save of cgroups.
        let needed = KINDS
            .into_iter()
            .filter(|&kind| kind != NamespaceKind::Cgroup);
        for kind in needed {
            if self.namespaces.makes(kind) && inode(&process, kind)? == inode("self", kind)? {
                bail!(error::invalid(format!(
                    "what was saved has no {} namespace of its own, which the configuration asks for",
                    file_name(kind)
                )));
            }
        }
        let time = NamespaceKind::Time;
        let has_times = Path::new("/proc/self/ns/time").exists();
        let own = descriptors::own();
        let is_ours = |number: usize| {
            self.pipes
                .iter()
                .any(|(pipe, _)| usize::try_from(*pipe) == Ok(number))
        };
        Ok(Found {
            pid,
            descriptors: own
                .into_iter()
                .enumerate()
                .map(|(number, shown)| {
                    if is_ours(number) {
                        shown
                    } else {
                        String::new()
                    }
                })
                .collect(),
            has_time_namespace: has_times && inode(&process, time)? != inode("self", time)?,
        })
    }
}

/// Returns the cgroups that CRIU is in, below which it makes those of what it restores.
fn own_cgroups(criu: Pid) -> Result<Vec<CgroupRoot>> {
    let file = format!("/proc/{}/cgroup", criu.as_raw_nonzero());
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
    Ok(cgroup_roots(&text))
}

/// `5:cpu,cpuacct:/aril/ID`, or `0::/aril/ID` for v2.
fn cgroup_roots(text: &str) -> Vec<CgroupRoot> {
    let roots = memberships(text).flat_map(|(controllers, path)| {
        controllers.split(',').map(|controller| CgroupRoot {
            controller: Some(controller.to_owned()),
            path: path.to_owned(),
        })
    });
    roots.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_controller_has_its_cgroup() {
        let roots = cgroup_roots("5:cpu,cpuacct:/a:b\n1:name=systemd:/c\n0::/d\n");
        let found: Vec<_> = roots
            .iter()
            .map(|root| (root.controller(), &*root.path))
            .collect();
        let expected = [
            ("cpu", "/a:b"),
            ("cpuacct", "/a:b"),
            ("name=systemd", "/c"),
            ("", "/d"),
        ];
        assert_eq!(found, expected);
    }
}
