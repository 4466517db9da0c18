//! A bundle becomes a container with a record.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};

use super::notify::{self, Readiness, Relay};
use super::operate::open;
use super::place::{Cgroups, Place};
use super::record::{Bundle, Record, directory, filters, load, start_socket};
use crate::error;
use crate::oci::runtime::Hook;
use crate::oci::state::{State, Status};
use crate::runtime::{
    Options, Process, Rootfs, Start, Stdio, by_short_path, criu, hooks, start_by_socket,
};

/// How a container is created from a bundle.
#[derive(Clone, Copy, Debug)]
pub struct BundleOptions<'a> {
    /// The directory of records.
    pub root: &'a Path,
    /// The container's id.
    pub id: &'a str,
    /// The standard streams of the program.
    pub stdio: Stdio<'a>,
    /// Whether the container gets an init that reaps for the program.
    pub init: bool,
    /// Whether the program starts at once, instead of by [`start`].
    pub at_once: bool,
    /// How many of the caller's descriptors from 3 on the program gets.
    pub preserved_fds: u32,
    /// Whether the session keyring of the caller is kept.
    pub keep_keyring: bool,
    /// Whether the old root is covered instead of taken away.
    pub no_pivot: bool,
    /// Who makes the cgroup.
    pub cgroups: Cgroups,
    /// Whether the program can say that it is ready, by a socket of its own; who starts it passes that on.
    pub notifies: bool,
}

/// Creates a container from a bundle and records it. Fails with `Conflict` if the id is taken; nothing is left of a
/// container that cannot be created.
pub fn create_from_bundle(bundle: Bundle, options: BundleOptions<'_>) -> Result<Process> {
    let directory = directory(options.root, options.id)?;
    make_directory(options.root, &directory)?;
    let created = create_recorded(bundle, options, &directory);
    if created.is_err()
        && let Err(left) = fs::remove_dir_all(&directory)
    {
        tracing::warn!("remove {}: {left}", directory.display());
    }
    created
}

pub(super) fn make_directory(root: &Path, directory: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700);
    match builder.create(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            builder
                .recursive(true)
                .create(root)
                .with_context(|| format!("make {}", root.display()))?;
            fs::create_dir(directory).with_context(|| format!("make {}", directory.display()))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(error::conflict("container with given ID already exists"))
        }
        made => made.with_context(|| format!("make {}", directory.display())),
    }
}

fn create_recorded(
    mut bundle: Bundle,
    options: BundleOptions<'_>,
    directory: &Path,
) -> Result<Process> {
    if options.notifies {
        notify::provide(directory, &mut bundle.spec)?;
    }
    let rootfs = bundle.rootfs()?;
    let Bundle { path, spec, .. } = &bundle;
    let filters = filters(options.root);
    let place = Place::make(spec, options.id, options.cgroups)?;
    let create = || -> Result<Process> {
        let process = crate::runtime::create(
            Options {
                id: options.id,
                spec,
                bundle: path,
                rootfs: Rootfs::Path(&rootfs),
                stdio: options.stdio,
                cgroup: place.cgroup.as_ref(),
                start: if options.at_once {
                    Start::AtOnce
                } else {
                    Start::BySocket(listen_for_start(directory)?)
                },
                preserved_fds: options.preserved_fds,
                init: options.init,
                keep_keyring: options.keep_keyring,
                no_pivot: options.no_pivot,
                filters: Some(&filters),
            },
            None,
        )?;
        let mut record = Record::new(options.id, &bundle, &place, process.pid)?;
        if matches!(options.stdio, Stdio::Inherit) {
            record.descriptors = criu::own_descriptors();
        }
        match record.save(directory) {
            Ok(()) => Ok(process),
            Err(error) => {
                process.end()?;
                Err(error)
            }
        }
    };
    let created = create();
    if created.is_err() {
        place.destroy();
        run_poststop(&spec.hooks.poststop, &bundle.stopped(options.id));
    }
    created
}

pub(super) fn run_poststop(hooks: &[Hook], state: &State) {
    // A failure is a warning (runtime-spec runtime.md, Lifecycle), and the hooks after it run all the same.
    for hook in hooks {
        let hook = std::slice::from_ref(hook);
        if let Err(failure) = hooks::run(hook, "poststop", state, &state.bundle) {
            tracing::warn!("{failure}");
        }
    }
}

fn listen_for_start(directory: &Path) -> Result<OwnedFd> {
    let path = start_socket(directory);
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let listen = || -> io::Result<()> {
        by_short_path(&path, |address| Ok(bind(&socket, address)?))?;
        Ok(listen(&socket, 1)?)
    };
    listen().with_context(|| format!("listen at {}", path.display()))?;
    Ok(socket)
}

/// Starts a created container; returns when its program runs, or with the [`crate::runtime::Failure`] that kept it from it.
///
/// The result waits until the program is ready, if that is of interest to the caller's service manager.
pub fn start(root: &Path, id: &str) -> Result<Option<Readiness>> {
    let record = load(root, id)?;
    match record.status(root)? {
        Status::Created => {}
        Status::Stopped => bail!(error::conflict("cannot start a container that has stopped")),
        Status::Running => bail!(error::conflict("cannot start an already running container")),
        status => bail!(error::conflict(format!(
            "cannot start a container in the {} state",
            status.name()
        ))),
    }
    let directory = directory(root, id)?;
    let relay = Relay::listen(&directory)?;
    let pidfd = open(&record)?;
    let socket = start_socket(&directory);
    let started = start_by_socket(&socket, &record.state(Status::Created), &record.spec()?);
    // Whatever came of it: it has been started, and cannot be again.
    fs::remove_file(&socket).with_context(|| format!("remove {}", socket.display()))?;
    started?;
    Ok(relay
        .zip(pidfd)
        .map(|(relay, pidfd)| Readiness::new(relay, record.pid, pidfd)))
}
