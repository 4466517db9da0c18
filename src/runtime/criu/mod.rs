//! Checkpoints: the processes of a container become files, and processes again, by CRIU (criu.org), which is asked by its
//! RPC. No library is linked; the program `criu` is started as it is needed, and must be installed.
//!
//! ```text
//! aril-oci ── Version, Dump | Restore ──▶ criu swrk          a SOCK_SEQPACKET socket, a message each (rpc.rs)
//!          ◀── Notify (1 fd: a terminal) ──                  at points on the way, where CRIU waits
//!          ── Notify, whether to go on ──▶
//!          ◀── Dump | Restore ─────────────                  the end of it
//! ```
//!
//! The directory of images may be anybody's. It must hold plain files only (images.rs), and of them `descriptors.json` alone is
//! read here: at most so long, and through no link. Everything that a container gets from the host is named by its configuration, never by the
//! images. What the images hold of processes CRIU restores as it is; before any of them runs it is looked at whether they have
//! more than the configuration allows (rights.rs, mounted.rs).
//!
//! What it deliberately does not do: lazy migration of memory (userfaultfd).

use std::path::PathBuf;

mod descriptors;
mod dump;
mod external;
mod images;
mod log;
mod mounted;
mod place;
mod restore;
mod rights;
mod root;
mod rpc;
mod session;

pub(super) use descriptors::own as own_descriptors;
pub(super) use dump::{Dump, dump};
pub use restore::Restored;
pub(super) use restore::{Found, Restore, restore};

/// What CRIU does with the cgroups that the processes are in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ManageCgroups {
    /// What CRIU does if nothing is said: as `Soft`.
    #[default]
    Default,
    /// Nothing: what is restored is in the cgroup that the new container's configuration asks for.
    Ignore,
    /// Limits are restored of those that CRIU makes.
    Soft,
    /// Limits are restored of all.
    Full,
    /// None may exist before.
    Strict,
}

impl ManageCgroups {
    /// The number that the protocol has for it.
    fn number(self) -> i32 {
        match self {
            ManageCgroups::Ignore => 0,
            ManageCgroups::Soft => 3,
            ManageCgroups::Full => 4,
            ManageCgroups::Strict => 5,
            ManageCgroups::Default => 6,
        }
    }
}

/// What a checkpoint and a restore are told alike; flags are off by default.
#[derive(Clone, Debug, Default)]
pub struct Common {
    /// The directory of the images.
    pub images: PathBuf,
    /// The directory of the log; that of the images without.
    pub work: Option<PathBuf>,
    /// Whether established TCP connections are kept.
    pub tcp_established: bool,
    /// Whether unix sockets may be connected to what is outside.
    pub ext_unix_sk: bool,
    /// Whether the session may be led by a process outside.
    pub shell_job: bool,
    /// Whether locks on files are kept.
    pub file_locks: bool,
    /// Whether pages of memory that a later image has are dropped from earlier ones.
    pub auto_dedup: bool,
    /// What CRIU does with cgroups.
    pub manage_cgroups: ManageCgroups,
}

/// How a container is saved.
#[derive(Clone, Debug, Default)]
pub struct CheckpointOptions {
    /// What a restore is told, too.
    pub common: Common,
    /// The images that these are the changes of, relative to the directory of the images.
    pub parent: Option<PathBuf>,
    /// Whether only the memory is saved, with what has changed since to be saved later; the container runs on.
    pub pre_dump: bool,
    /// Whether the container runs on.
    pub leave_running: bool,
    /// Whether TCP connections that are being made are left out.
    pub tcp_skip_in_flight: bool,
    /// Whether files without a name may get one for as long as they are saved.
    pub link_remap: bool,
    /// Address and port of the page server that memory is sent to.
    pub page_server: Option<(String, u16)>,
}

/// How a saved container is restored.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// What a checkpoint is told, too.
    pub common: Common,
    /// The security profile, as TYPE:NAME, instead of the one that was saved.
    pub lsm_profile: Option<String>,
    /// The SELinux context of mounts, instead of the one that was saved.
    pub lsm_mount_context: Option<String>,
}
