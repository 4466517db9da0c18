//! Creates containers, parent's side: read and check everything, open what is the host's, one clone, and then whatever can
//! be done while the child makes its mounts.

use std::borrow::Cow;
use std::ffi::CString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Rlimit, getrlimit, setrlimit};

use super::channel::OrFail as _;
use super::child::{self, Meanwhile, Process};
use super::init::{Init, Sync, Userns};
use super::last::{Last, Starter, first_closed};
use super::namespaces::{self, Namespaces, sysctls};
use super::net_devices::{self, NetDevice};
use super::process::{self, ProcessPlan, Surroundings};
use super::rootfs::RootPlan;
use super::spawn::spawn;
use super::terminal::Stdio;
use super::{attributes, cgroupfs, devices, listener, mounts};
use crate::cgroup::{Cgroup, Entry};
use crate::error;
use crate::oci::runtime::Spec;
use crate::oci::runtime::linux::{Linux, NamespaceKind};
use crate::oci::state::{State, Status};
use crate::sys::mount::clone_tree;

/// Where the root filesystem comes from.
#[derive(Clone, Copy, Debug)]
pub enum Rootfs<'a> {
    /// A directory; mounts below it come along.
    Path(&'a Path),
    /// A detached mount, which is used up: it becomes the root itself.
    Detached(BorrowedFd<'a>),
}

/// When the program starts.
#[derive(Debug)]
pub enum Start {
    /// As soon as it can: [`create`] returns when it runs.
    AtOnce,
    /// By [`Process::start`].
    Later,
    /// By [`super::start_by_socket`], from any process that reaches this listening SOCK_SEQPACKET socket.
    BySocket(OwnedFd),
}

/// What to create, and how.
#[derive(Debug)]
pub struct Options<'a> {
    /// The container's id: for hooks, and the name of its session keyring.
    pub id: &'a str,
    /// The configuration. Limits and device rules are the cgroup's matter and not looked at here.
    pub spec: &'a Spec,
    /// Absolute path of the bundle: relative sources of mounts are relative to it, and hooks run in it.
    pub bundle: &'a Path,
    /// The root filesystem.
    pub rootfs: Rootfs<'a>,
    /// The standard streams of the program.
    pub stdio: Stdio<'a>,
    /// The cgroup to live in; nothing to stay in the caller's.
    pub cgroup: Option<&'a Cgroup>,
    /// When the program starts.
    pub start: Start,
    /// How many of the caller's descriptors from 3 on the program gets.
    pub preserved_fds: u32,
    /// Whether the container gets an init that reaps for the program.
    pub init: bool,
    /// Whether the session keyring of the caller is kept.
    pub keep_keyring: bool,
    /// Whether the old root is covered instead of taken away, for hosts that run from an initial ramdisk.
    pub no_pivot: bool,
    /// Where compiled seccomp profiles are kept, a folder of ours alone; nothing to compile each time.
    pub filters: Option<&'a Path>,
}

/// Creates a container: on return its first process has done everything but to execute the program, or runs it
/// ([`Start::AtOnce`]).
///
/// `meanwhile`, if there is one, runs as soon as the namespaces exist, beside the child's mounts; the program does not
/// start before it has come back. Fails with [`super::Failure`] for what went wrong in the child; nothing is left then but
/// the cgroup, which is the caller's. The caller must have one thread.
pub fn create(mut options: Options<'_>, meanwhile: Meanwhile<'_>) -> Result<Process> {
    let spec = options.spec;
    let hooks = &spec.hooks;
    let has_hooks = !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty();
    let (start, starts_at_once) = match std::mem::replace(&mut options.start, Start::Later) {
        Start::AtOnce => (Starter::AtOnce, true),
        Start::Later => (Starter::Parent, false),
        Start::BySocket(socket) => (Starter::Socket(socket), false),
    };
    let plans = Plans::new(&options)?;
    let sync = if has_hooks {
        Sync::Tell
    } else if meanwhile.is_some() || !plans.net_devices.is_empty() {
        Sync::Wait
    } else {
        Sync::None
    };
    let init = plan_init(&options, &plans, start, sync)?;
    let limits = raise_limits(&plans);
    let spawned = spawn(&plans.namespaces, &plans.linux, &init);
    restore_limits(&limits)?;
    let (child, channel) = spawned?;

    let mut state = plans.state(&options, Status::Creating);
    state.pid = child.pid.as_raw_nonzero().get();
    let mut created = Process {
        pid: child.pid,
        pidfd: child.pidfd,
        terminal: None,
        channel,
        poststart: hooks.poststart.clone(),
        state,
        bundle: options.bundle.to_owned(),
        listener: listener::Target::of(&plans.linux, &plans.process),
    };
    let done = child::bring_up(&mut created, &init, &plans.net_devices, meanwhile)
        .and_then(|()| created.follow_creation(hooks, starts_at_once));
    match done {
        Ok(()) => Ok(created),
        Err(error) => {
            let killed = options.cgroup.is_some_and(|cgroup| cgroup.oom_kills() > 0);
            created.end()?;
            Err(if killed {
                error.context("container init was OOM-killed (memory limit too low?)")
            } else {
                error
            })
        }
    }
}

/// What is read from the configuration before anything is done.
struct Plans<'a> {
    linux: Cow<'a, Linux>,
    namespaces: Namespaces,
    process: ProcessPlan,
    entry: Option<Entry>,
    net_devices: Vec<NetDevice>,
    keyring: Option<CString>,
}

impl<'a> Plans<'a> {
    fn new(options: &Options<'a>) -> Result<Plans<'a>> {
        let linux = options.spec.linux.as_ref().map(Cow::Borrowed);
        let linux = linux.unwrap_or_default();
        let namespaces = namespaces::plan(&linux)?;
        let Some(process) = &options.spec.process else {
            bail!(error::invalid("process property must not be empty"));
        };
        let surroundings = Surroundings {
            seccomp: linux.seccomp.as_ref(),
            filters: options.filters,
            personality: linux.personality.as_ref(),
            memory_policy: linux.memory_policy.as_ref(),
            in_userns: namespaces.has(NamespaceKind::User),
        };
        let process = process::plan(process, surroundings)?;
        for warning in &process.warnings {
            tracing::warn!("{warning}");
        }
        if linux.intel_rdt.is_some() {
            bail!(error::unavailable("linux.intelRdt is not supported"));
        }
        if !linux.mount_label.is_empty() && !Path::new("/sys/fs/selinux/enforce").exists() {
            bail!(error::unavailable(
                "linux.mountLabel is specified in config, but selinux is disabled or not supported"
            ));
        }
        if let Some(number) = first_closed(options.preserved_fds) {
            bail!(error::invalid(format!(
                "descriptor {number} is to be preserved, but is not open"
            )));
        }
        Ok(Plans {
            entry: options.cgroup.map(Cgroup::entry).transpose()?,
            net_devices: net_devices::plan(&linux, &namespaces)?,
            keyring: (!options.keep_keyring)
                .then(|| CString::new(format!("_ses.{}", options.id)))
                .transpose()?,
            linux,
            namespaces,
            process,
        })
    }

    /// The state of the container as its hooks see it; inside a pid namespace of its own the first process is 1.
    fn state(&self, options: &Options<'_>, status: Status) -> State {
        State {
            oci_version: options.spec.oci_version.clone(),
            id: options.id.to_owned(),
            status,
            pid: i32::from(self.namespaces.makes(NamespaceKind::Pid)),
            bundle: options.bundle.to_owned(),
            annotations: options.spec.annotations.clone(),
        }
    }
}

fn plan_init<'a>(
    options: &'a Options<'_>,
    plans: &'a Plans<'_>,
    start: Starter,
    sync: Sync,
) -> Result<Init<'a>> {
    let spec = options.spec;
    let hooks = &spec.hooks;
    let namespaces = &plans.namespaces;
    Ok(Init {
        entry: plans.entry.as_ref(),
        userns: if namespaces.joined_user.is_some() {
            Userns::Joined
        } else if namespaces.makes(NamespaceKind::User) {
            Userns::New {
                uids: &plans.linux.uid_mappings,
                gids: &plans.linux.gid_mappings,
            }
        } else {
            Userns::Shared
        },
        new_cgroup_namespace: namespaces.makes(NamespaceKind::Cgroup),
        new_network: namespaces.makes(NamespaceKind::Network),
        root: plan_root(options, &plans.linux, namespaces)?,
        hostname: &spec.hostname,
        domainname: &spec.domainname,
        sysctls: sysctls(&plans.linux, namespaces, &spec.hostname)?,
        stdio: options.stdio,
        sync,
        create_container: (!hooks.create_container.is_empty()).then(|| {
            let state = plans.state(options, Status::Creating);
            (hooks.create_container.as_slice(), state, options.bundle)
        }),
        last: Last {
            process: &plans.process,
            start,
            preserved: options.preserved_fds,
            has_terminal: matches!(options.stdio, Stdio::Terminal(_)),
            keyring: plans.keyring.as_deref(),
            init: options.init,
            start_container: (!hooks.start_container.is_empty()).then(|| {
                let state = plans.state(options, Status::Created);
                (hooks.start_container.as_slice(), state)
            }),
        },
    })
}

fn plan_root(options: &Options<'_>, linux: &Linux, namespaces: &Namespaces) -> Result<RootPlan> {
    let spec = options.spec;
    let propagation = match linux.rootfs_propagation.trim_start_matches('r') {
        // A slave is what it is while it is put together.
        "" | "slave" => None,
        "shared" => Some(libc::MS_SHARED),
        "private" => Some(libc::MS_PRIVATE),
        "unbindable" => Some(libc::MS_UNBINDABLE),
        _ => bail!(error::invalid(format!(
            "rootfsPropagation={} is not supported",
            linux.rootfs_propagation
        ))),
    };
    let mounts = mounts::prepare(&spec.mounts, options.bundle, linux)?;
    let mut nodes = devices::plan(linux)?;
    if crate::sys::process::in_user_namespace() {
        devices::clone_hosts(&mut nodes)?;
    } else if namespaces.has(NamespaceKind::User) {
        devices::make_clones(&mut nodes, linux)?;
    }
    let wants_cgroups = mounts
        .iter()
        .any(|mount| matches!(mount.source, mounts::Source::Cgroups));
    let cgroups = wants_cgroups
        .then(|| cgroupfs::prepare(options.cgroup, namespaces.has(NamespaceKind::Cgroup)));
    Ok(RootPlan {
        tree: open_root(options.rootfs)?,
        read_only: spec.root.as_ref().is_some_and(|root| root.readonly),
        shared: propagation == Some(libc::MS_SHARED),
        propagation,
        mounts,
        nodes,
        cgroups: cgroups.transpose()?,
        masked: linux.masked_paths.clone(),
        read_only_paths: linux.readonly_paths.clone(),
        shares_pids: !namespaces.makes(NamespaceKind::Pid),
        shares_network: !namespaces.makes(NamespaceKind::Network),
        no_pivot: options.no_pivot,
    })
}

/// Returns the root filesystem as a detached mount that carries nothing to the host.
pub(super) fn open_root(rootfs: Rootfs<'_>) -> Result<OwnedFd> {
    let path = match rootfs {
        Rootfs::Detached(mount) => {
            return rustix::io::fcntl_dupfd_cloexec(mount, 0).context("open the root filesystem");
        }
        Rootfs::Path(path) => path,
    };
    let open = || -> std::io::Result<OwnedFd> {
        let flags =
            rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, rustix::fs::Mode::empty())?;
        let tree = clone_tree(directory.as_fd(), true)?;
        if attributes::work_detached() {
            let slave = libc::MS_SLAVE;
            attributes::change(tree.as_fd(), super::options::Change::default(), slave, true)?;
        }
        Ok(tree)
    };
    open()
        .or_fail(|| format!("open the root filesystem {}", path.display()))
        .map_err(Into::into)
}

/// Raises our own limits to what the container asks for, for a child in a user namespace, which cannot; returns how they
/// were. What we may not raise either, the child warns of.
fn raise_limits(plans: &Plans<'_>) -> Vec<(rustix::process::Resource, Rlimit)> {
    let mut before = Vec::new();
    if !plans.namespaces.has(NamespaceKind::User) {
        return before;
    }
    for &(resource, wanted) in &plans.process.rlimits {
        let own = getrlimit(resource);
        let above = match (wanted.maximum, own.maximum) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(wanted), Some(own)) => wanted > own,
        };
        let raised = Rlimit {
            current: own.current,
            maximum: wanted.maximum,
        };
        if above && setrlimit(resource, raised).is_ok() {
            before.push((resource, own));
        }
    }
    before
}

fn restore_limits(limits: &[(rustix::process::Resource, Rlimit)]) -> Result<()> {
    for &(resource, limit) in limits {
        setrlimit(resource, limit)
            .with_context(|| format!("lower our limit {resource:?} again"))?;
    }
    Ok(())
}
