//! The files of a container: its root filesystem as others may read it.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::fs::FileType;

use super::Engine;
use crate::container::Container;
use crate::event;
use crate::image::archive::export;
use crate::image::snapshot;
use crate::image::snapshot::overlay::{self, Upper};
use crate::monitor::{bring_up, removal};
use crate::sys::mount::clone_tree;
use crate::sys::rooted::Root;
use crate::sys::thread::with_mounts_of;

/// What is done with the files of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Nothing is written that anybody needs. The end of this does not wait until what others have written is on the disk.
    Read,
    /// What is written is to last.
    Write,
}

/// Returns the root filesystem of a container, running or not, without what is mounted in it.
pub fn root(engine: &Engine, container: &Container, purpose: Purpose) -> Result<OwnedFd> {
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
            volatile: container.record.host_config.auto_remove || purpose == Purpose::Read,
        }),
    )
}

/// Makes the working directory of a new container, as docker does when it makes a container: `cp` may go there before the
/// first start.
pub fn make_working_dir(engine: &Engine, container: &Container) -> Result<()> {
    let record = &container.record;
    let dir = record.config.working_dir.as_str();
    if dir.is_empty() {
        return Ok(());
    }
    let image = engine.images.by_id(&record.image)?;
    let lowers = snapshot::lowers(&engine.images, &image)?;
    // Most images have theirs, and the end of a mount that can be written to waits for the disk.
    if let Ok(found) = Root::from_dir(overlay::mount(&lowers, None)?).handle(Path::new(dir)) {
        let stat = rustix::fs::fstat(&found).with_context(|| format!("look at {dir}"))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Ok(());
        }
    }
    // Somebody may have started it already, which makes the directory too.
    let Some(_lock) = engine.containers.try_lock(&record.id)? else {
        return Ok(());
    };
    let made = root(engine, container, Purpose::Write)
        .and_then(|root| bring_up::make_working_dir(&Root::from_dir(root), dir));
    engine.containers.clear_run(&record.id);
    made
}

/// Writes the root filesystem of a container as an archive.
pub fn export(engine: &Engine, container: &Container, output: &mut dyn Write) -> Result<()> {
    let root = root(engine, container, Purpose::Read)?;
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
