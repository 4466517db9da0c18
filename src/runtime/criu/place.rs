//! Where images and log are, and what a dump and a restore ask for alike.

use std::fs::DirBuilder;
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;

use super::external::text;
use super::images::Unfollowed;
use super::rpc::Options;
use super::session::Failed;
use super::{Common, images, log};
use crate::oci::runtime::Spec;
use crate::sys::rooted::path_of;

/// Settings that come last, over those of the request; the annotation names another file, or none.
const CONFIG_ANNOTATION: &str = "org.criu.config";
/// The file that administrators of other runtimes write, too.
const CONFIG: &str = "/etc/criu/runc.conf";
/// Everything but traces.
const LOG_LEVEL: i32 = 4;
/// What CRIU writes beside its log.
const STATISTICS: [&str; 2] = ["stats-dump", "stats-restore"];

/// The directories of a dump or restore.
pub(super) struct Place {
    pub(super) images: OwnedFd,
    work: Option<OwnedFd>,
    /// Whether the images are changes of others, to which a link in their directory leads.
    is_change: bool,
    /// The directory of the log.
    directory: PathBuf,
    name: &'static str,
}

impl Place {
    /// Opens the directories, and makes those that are missing.
    pub(super) fn make(common: &Common, log: &'static str) -> Result<Place> {
        Place::open_with(common, log, true)
    }

    /// Opens the directories; that of the images is there.
    pub(super) fn open(common: &Common, log: &'static str) -> Result<Place> {
        Place::open_with(common, log, false)
    }

    fn open_with(common: &Common, log: &'static str, may_make_images: bool) -> Result<Place> {
        let opened = open(&common.images, may_make_images)?;
        let place = Place {
            is_change: images::check(opened.as_fd(), &common.images)?,
            images: opened,
            work: common
                .work
                .as_deref()
                .map(|work| open(work, true))
                .transpose()?,
            directory: common.work.as_ref().unwrap_or(&common.images).clone(),
            name: log,
        };
        let directory = place.work.as_ref().unwrap_or(&place.images);
        for name in STATISTICS.into_iter().chain([log]) {
            log::remove_old(directory.as_fd(), name)
                .with_context(|| format!("remove {}", place.directory.join(name).display()))?;
        }
        Ok(place)
    }

    /// Returns the directories as CRIU is to see them in a mount namespace of its own: whatever is put there while it works,
    /// no link leads it out. The one to the parent is to be followed.
    pub(super) fn unfollowed(&self) -> Result<Unfollowed> {
        let images = (!self.is_change).then_some(&self.images);
        let all: Vec<_> = images
            .into_iter()
            .chain(&self.work)
            .map(OwnedFd::as_fd)
            .collect();
        Unfollowed::new(&all)
    }

    /// Opens the directories anew as process `pid` sees them, which has a mount namespace of its own: CRIU makes mounts in its
    /// working directory, and may do so only in its own.
    pub(super) fn enter(&mut self, pid: Pid) -> Result<()> {
        let within = |directory: &OwnedFd| -> Result<OwnedFd> {
            let path = path_of(directory.as_fd()).context("find a directory again")?;
            let pid = pid.as_raw_nonzero();
            open(
                Path::new(&format!("/proc/{pid}/root{}", text(&path)?)),
                false,
            )
        };
        self.images = within(&self.images)?;
        self.work = self.work.as_ref().map(within).transpose()?;
        Ok(())
    }

    /// Returns where CRIU's log is.
    pub(super) fn log(&self) -> PathBuf {
        self.directory.join(self.name)
    }

    /// Returns the error for what CRIU has failed to do, in the words of its log if it has one.
    pub(super) fn failed(&self, what: &str, failed: Failed) -> anyhow::Error {
        let directory = self.work.as_ref().unwrap_or(&self.images);
        let why = log::first_error(directory.as_fd(), self.name).unwrap_or(failed.0);
        anyhow!("criu {what} failed: {why} (see {})", self.log().display())
    }

    /// Returns the part of a request that depends on neither of the two.
    pub(super) fn options(&self, common: &Common, spec: &Spec) -> Options {
        let config = match spec.annotations.get(CONFIG_ANNOTATION) {
            None => Some(CONFIG.to_owned()),
            Some(file) => Some(file.clone()).filter(|file| !file.is_empty()),
        };
        Options {
            images_dir_fd: self.images.as_raw_fd(),
            work_dir_fd: self.work.as_ref().map(AsRawFd::as_raw_fd),
            log_level: Some(LOG_LEVEL),
            log_file: Some(self.name.to_owned()),
            config_file: config,
            tcp_established: Some(common.tcp_established),
            ext_unix_sk: Some(common.ext_unix_sk),
            shell_job: Some(common.shell_job),
            file_locks: Some(common.file_locks),
            auto_dedup: Some(common.auto_dedup),
            manage_cgroups: Some(true),
            manage_cgroups_mode: Some(common.manage_cgroups.number()),
            notify_scripts: Some(true),
            orphan_pts_master: Some(true),
            // Who made the network makes it again: by hooks, or by naming one that is there.
            empty_ns: Some(libc::CLONE_NEWNET.cast_unsigned()),
            ..Options::default()
        }
    }
}

fn open(path: &Path, may_make: bool) -> Result<OwnedFd> {
    if may_make {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.with_context(|| format!("make {}", path.display()))?;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).with_context(|| format!("open {}", path.display()))
}
