//! Readiness of a container for systemd (sd_notify(3)): a service whose program is a container says when it is ready by a
//! socket of the container's own, and whoever starts the container passes that on.
//!
//! ```text
//! host, NOTIFY_SOCKET ◀── READY=1 MAINPID=… ── start ◀── READY=1 ── ROOT/ID/notify/notify.sock
//!                                                                  /run/notify/notify.sock inside
//! ```
//!
//! The directory is mounted when the container is created, the socket is made when it is started: nobody listens before.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, poll};

use crate::oci::runtime::{Mount, Spec};

/// The name of the socket in its directory.
const SOCKET: &str = "notify.sock";
/// Where the directory is in the container.
const INSIDE: &str = "/run/notify";
/// The longest message that is passed on.
const MESSAGE_MAX: usize = 4096;

fn place(directory: &Path) -> PathBuf {
    directory.join("notify")
}

/// Gives a container that is being created a directory for its socket, below its own `directory`.
pub(super) fn provide(directory: &Path, spec: &mut Spec) -> Result<()> {
    let place = place(directory);
    let make = || -> io::Result<()> {
        fs::create_dir(&place)?;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755))
    };
    make().with_context(|| format!("make {}", place.display()))?;
    add(&place, spec);
    Ok(())
}

/// Adds to the configuration of a container what [`provide`] has added, if it has.
pub(super) fn recall(directory: &Path, spec: &mut Spec) {
    let place = place(directory);
    if place.is_dir() {
        add(&place, spec);
    }
}

fn add(place: &Path, spec: &mut Spec) {
    spec.mounts.push(Mount {
        destination: INSIDE.into(),
        kind: "bind".to_owned(),
        source: place.display().to_string(),
        options: ["bind", "nosuid", "noexec", "nodev", "ro"]
            .map(str::to_owned)
            .to_vec(),
        ..Mount::default()
    });
    if let Some(process) = &mut spec.process {
        process.env.push(format!("NOTIFY_SOCKET={INSIDE}/{SOCKET}"));
    }
}

/// Listens to a container, and speaks to the host's service manager.
#[derive(Debug)]
pub(super) struct Relay {
    container: UnixDatagram,
    host: SocketAddr,
}

impl Relay {
    /// Begins to listen, if the container has a directory for it and the caller a service manager.
    pub(super) fn listen(directory: &Path) -> Result<Option<Relay>> {
        let place = place(directory);
        let host = std::env::var_os("NOTIFY_SOCKET").filter(|host| !host.is_empty());
        let (Some(host), true) = (host, place.is_dir()) else {
            return Ok(None);
        };
        let path = place.join(SOCKET);
        let bind = || -> io::Result<UnixDatagram> {
            let socket = UnixDatagram::bind(&path)?;
            // The program may be anybody.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
            Ok(socket)
        };
        Ok(Some(Relay {
            container: bind().with_context(|| format!("listen at {}", path.display()))?,
            host: address(Path::new(&host)).context("read NOTIFY_SOCKET")?,
        }))
    }
}

/// A container whose readiness is yet to be told.
#[derive(Debug)]
pub struct Readiness {
    relay: Relay,
    pid: i32,
    pidfd: OwnedFd,
}

impl Readiness {
    pub(super) fn new(relay: Relay, pid: i32, pidfd: OwnedFd) -> Readiness {
        Readiness { relay, pid, pidfd }
    }

    /// Waits until the container is ready, and says so with the id of its first process; or until it has ended.
    pub fn tell(&self) -> Result<()> {
        let Relay { container, host } = &self.relay;
        let mut message = [0; MESSAGE_MAX];
        loop {
            let mut waiting = [
                PollFd::new(container, PollFlags::IN),
                PollFd::new(&self.pidfd, PollFlags::IN),
            ];
            rustix::io::retry_on_intr(|| poll(&mut waiting, None))
                .context("wait for the container to be ready")?;
            if waiting[0].revents().is_empty() {
                return Ok(());
            }
            let length = container.recv(&mut message)?;
            let ready = message[..length].split(|&byte| byte == b'\n');
            if ready.into_iter().any(|line| line == b"READY=1") {
                let text = format!("READY=1\nMAINPID={}\n", self.pid);
                let socket = UnixDatagram::unbound()?;
                return socket
                    .send_to_addr(text.as_bytes(), host)
                    .map(drop)
                    .context("tell the service manager that the container is ready");
            }
        }
    }
}

/// A name that begins with `@` is not in the file system.
fn address(socket: &Path) -> io::Result<SocketAddr> {
    match socket.to_str().and_then(|name| name.strip_prefix('@')) {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(socket),
    }
}
