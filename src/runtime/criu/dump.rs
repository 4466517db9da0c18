//! The dump of a running container.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rustix::fs::{Mode, OFlags};

use super::external::{mounts_to_dump, namespaces_to_dump, text};
use super::place::Place;
use super::rpc::{Kind, Options, PageServer, Request};
use super::session::{self, Session};
use super::{CheckpointOptions, descriptors, images};
use crate::cgroup::Cgroup;
use crate::error;
use crate::oci::runtime::Spec;
use crate::runtime::terminal;
use crate::sys::clone::CloneOptions;

const LOG: &str = "dump.log";
/// How packets are kept away where there is no iptables.
const NFTABLES: i32 = 2;

/// A running container that is to be saved.
pub(in crate::runtime) struct Dump<'a> {
    /// Its first process.
    pub(in crate::runtime) pid: i32,
    /// Its configuration.
    pub(in crate::runtime) spec: &'a Spec,
    pub(in crate::runtime) bundle: &'a Path,
    pub(in crate::runtime) rootfs: &'a Path,
    pub(in crate::runtime) cgroup: &'a Cgroup,
    /// What its standard streams were when it was created.
    pub(in crate::runtime) descriptors: &'a [String],
}

/// Saves a container. Unless the options say that it runs on, its processes are gone then.
pub(in crate::runtime) fn dump(container: &Dump<'_>, options: &CheckpointOptions) -> Result<()> {
    let criu = session::find()?;
    let place = Place::make(&options.common, LOG)?;
    let null = open_null()?;
    let quiet = || terminal::redirect([null.as_fd(); 3]);
    let session = Session::start(&criu, &CloneOptions::default(), &[], quiet)?;
    if let Some(parent) = &options.parent {
        check_parent(&place, parent)?;
    }
    if options.pre_dump || options.parent.is_some() {
        session.check_memory_tracking()?;
    }
    let kind = if options.pre_dump {
        Kind::PreDump
    } else {
        descriptors::write(place.images.as_fd(), container.descriptors)?;
        Kind::Dump
    };
    let request = Request {
        options: Some(request(container, options, &place)?),
        ..Request::new(kind)
    };
    let saved = session.ask(&request, &mut |_, _, _| Ok(()));
    let ended = session.end();
    if let Err(failed) = saved? {
        return Err(place.failed("dump", failed));
    }
    // After a pre-dump it waits for another, and ends badly since none comes.
    if !ended? && !options.pre_dump {
        bail!(
            "criu has ended badly after the dump: see {}",
            place.log().display()
        );
    }
    Ok(())
}

fn open_null() -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open("/dev/null", flags, Mode::empty()).context("open /dev/null")
}

/// Checks that the images of which these are the changes are where CRIU will look for them, who says it less clearly.
fn check_parent(place: &Place, parent: &Path) -> Result<()> {
    if parent.is_absolute() {
        bail!(error::invalid(
            "--parent-path must be relative, to the directory of the images"
        ));
    }
    match images::open_beside(place.images.as_fd(), parent) {
        // A restore would not look there.
        Err(error) if error.raw_os_error() == Some(libc::EXDEV) => bail!(error::invalid(format!(
            "invalid --parent-path {}: it must be beside the directory of the images, or below what is",
            parent.display()
        ))),
        opened => opened
            .map(drop)
            .with_context(|| format!("invalid --parent-path: open {}", parent.display())),
    }
}

fn request(container: &Dump<'_>, options: &CheckpointOptions, place: &Place) -> Result<Options> {
    let spec = container.spec;
    let linux = spec.linux.clone().unwrap_or_default();
    let freezer = container
        .cgroup
        .directory("freezer")
        .map(text)
        .transpose()?;
    let mut all = Options {
        pid: Some(container.pid),
        root: Some(text(container.rootfs)?),
        leave_running: Some(options.leave_running),
        tcp_skip_in_flight: Some(options.tcp_skip_in_flight),
        link_remap: Some(options.link_remap),
        external: namespaces_to_dump(&linux, container.pid)?,
        freeze_cgroup: freezer,
        // Otherwise what CRIU has been built for.
        network_lock: (!session::is_on_path("iptables-restore")).then_some(NFTABLES),
        ..place.options(&options.common, spec)
    };
    if let Some((address, port)) = &options.page_server {
        all.page_server = Some(PageServer {
            address: Some(address.clone()),
            port: Some(i32::from(*port)),
        });
    }
    if let Some(parent) = &options.parent {
        all.parent_img = Some(text(parent)?);
        all.track_mem = Some(true);
    }
    if options.pre_dump {
        all.track_mem = Some(true);
    } else {
        let cgroup = Some(container.cgroup);
        all.ext_mnt = mounts_to_dump(spec, container.bundle, cgroup, container.pid)?;
    }
    Ok(all)
}
