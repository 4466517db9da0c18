//! The OCI runtime: from a configuration to a running process (runtime-spec runtime.md and config.md).
//!
//! Two callers share it: the monitor of a container of ours (configuration in memory, root as a detached mount), and the
//! `aril-oci` command line (a bundle on disk). Both have one thread, which the clone insists on.
//!
//! ```text
//! create            read and check all, open what is the host's           create process mounts devices namespaces seccomp
//!   spawn           one clone into all namespaces                          spawn
//!     init            the child's steps, in order                          init rootfs target masks terminal
//!       last            the steps that a joining process shares            last capabilities program reaper
//!   child           accompanies it meanwhile, by messages                  child channel hooks listener
//! exec              a process that joins                                   exec
//! criu              processes become files, and processes again            criu/
//! bundle            the containers of `aril-oci`, on disk                  bundle/
//! ```
//!
//! What it deliberately does not do: limits (they are the `cgroup` part's; a container is only put into one), networks
//! (beyond loopback and devices of the host that are moved in), images, logs.

mod attributes;
pub mod bundle;
mod capabilities;
mod cgroupfs;
mod channel;
mod child;
mod copy_up;
mod create;
pub mod criu;
mod devices;
mod exec;
mod hooks;
mod idmap;
mod init;
mod last;
mod listener;
mod masks;
mod mounts;
mod namespaces;
mod net_devices;
mod options;
mod process;
mod program;
#[cfg(any(test, fuzzing))]
pub mod properties;
mod reaper;
mod rootfs;
pub mod seccomp;
mod spawn;
mod target;
mod terminal;
mod tuning;

pub use channel::{Failure, Step};
pub use child::{Meanwhile, Prepared, Process, start_by_socket};
pub use create::{Options, Rootfs, Start, create};
pub use exec::{ExecOptions, Running, exec};
pub use terminal::Stdio;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::net::SocketAddrUnix;

/// Returns the names of the modes and of the flags of memory policies that are known here.
pub fn memory_policy_names() -> (Vec<&'static str>, Vec<&'static str>) {
    let names = |table: &[(&'static str, i32)]| table.iter().map(|(name, _)| *name).collect();
    (names(&tuning::MEMORY_MODES), names(&tuning::MEMORY_FLAGS))
}

/// Connects to a unix socket by a path of any length.
fn connect(socket: &OwnedFd, path: &Path) -> io::Result<()> {
    by_short_path(path, |address| Ok(rustix::net::connect(socket, address)?))
}

/// Calls `with` with an address for `path`; a path that is longer than an address holds goes through its directory.
fn by_short_path<T>(
    path: &Path,
    with: impl FnOnce(&SocketAddrUnix) -> io::Result<T>,
) -> io::Result<T> {
    use std::os::fd::AsRawFd as _;
    if let Ok(address) = SocketAddrUnix::new(path) {
        return with(&address);
    }
    let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
    let name = path.file_name().ok_or_else(invalid)?;
    let directory = std::fs::File::open(path.parent().ok_or_else(invalid)?)?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string());
    with(&SocketAddrUnix::new(short.join(name))?)
}
