//! The files of a container: its root filesystem as others may read it.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result};

use super::Engine;
use crate::container::Container;
use crate::event;
use crate::image::archive::export;
use crate::image::snapshot;
use crate::image::snapshot::overlay::{self, Upper};
use crate::monitor::removal;
use crate::sys::mount::clone_tree;
use crate::sys::thread::with_mounts_of;

/// Returns the root filesystem of a container, running or not, without what is mounted in it.
pub fn root(engine: &Engine, container: &Container) -> Result<OwnedFd> {
    if container.status.phase.has_processes() {
        let pid = container.status.pid;
        let namespace = File::open(format!("/proc/{pid}/ns/mnt"))
            .context("open the mounts of the container")?;
        let clone = || clone_tree(File::open("/")?.as_fd(), false);
        return with_mounts_of(namespace.as_fd(), clone)
            .and_then(|cloned| cloned)
            .context("clone the root mount of the container");
    }
    let image = engine.images.by_id(&container.record.image)?;
    let lowers = snapshot::lowers(&engine.images, &image)?;
    let dir = engine.dirs.container(&container.record.id);
    overlay::mount(
        &lowers,
        Some(Upper {
            upper: &dir.join("upper"),
            work: &dir.join("work"),
            volatile: container.record.host_config.auto_remove,
        }),
    )
}

/// Writes the root filesystem of a container as an archive.
pub fn export(engine: &Engine, container: &Container, output: &mut dyn Write) -> Result<()> {
    let root = root(engine, container)?;
    export::export(root.as_fd(), output)?;
    let record = &container.record;
    event::record(
        &engine.dirs,
        "container",
        "export",
        &record.id,
        removal::attributes(record),
    );
    Ok(())
}
