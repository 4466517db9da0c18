//! Makes the directories of a cgroup, ready to be entered.
//!
//! Two things besides `mkdir`: a v1 cpuset takes over its parent's CPUs and memory nodes, since nobody may enter an empty
//! one, and on v2 the parents hand their controllers down.

use std::io;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rustix::fs::Mode;
use rustix::io::Errno;

use super::Cgroup;
use super::layout::Host;
use super::plan::write_file;
use crate::error;
use crate::sys::pseudo;

/// How often creation starts over when another process removes an empty parent in between.
const RETRIES: usize = 20;

/// Makes the directories of `cgroup`; returns whether one existed.
pub(super) fn make_directories(host: &Host, cgroup: &Cgroup) -> Result<bool> {
    let mut existed = false;
    for (hierarchy, directory) in host.v1.iter().zip(&cgroup.v1) {
        let is_new = !make(&hierarchy.mount, &directory.path)?;
        existed |= !is_new;
        if hierarchy.controllers.iter().any(|c| c == "cpuset") {
            let fill = if is_new { take_over } else { inherited };
            for file in ["cpuset.cpus", "cpuset.mems"] {
                fill(&hierarchy.mount, &directory.path, file)?;
            }
        }
    }
    if let (Some(unified), Some(directory)) = (&host.unified, &cgroup.unified) {
        existed |= make(&unified.mount, directory)?;
        enable_controllers(&unified.mount, directory, &host.unified_controllers());
    }
    Ok(existed)
}

/// Fails with `Conflict` if processes live in `cgroup`, or if who enters it would stop.
pub(super) fn check_unused(cgroup: &Cgroup) -> Result<()> {
    if !cgroup.pids()?.is_empty() {
        bail!(error::conflict(format!(
            "container's cgroup is not empty: processes live in {}",
            cgroup.path.display()
        )));
    }
    // Whoever enters would stop before it can say that it did.
    if cgroup.is_frozen()? {
        bail!(error::with_hint(
            error::conflict(format!(
                "container's cgroup unexpectedly frozen: {}",
                cgroup.path.display()
            )),
            "thaw it, or choose another cgroup",
        ));
    }
    Ok(())
}

/// Makes `directory` and its missing parents below `mount`; returns whether it existed.
fn make(mount: &Path, directory: &Path) -> Result<bool> {
    let mkdir = |path: &Path| rustix::fs::mkdir(path, Mode::from_raw_mode(0o755));
    let failed = |errno: Errno, path: &Path| {
        Err(io::Error::from(errno)).with_context(|| format!("make cgroup {}", path.display()))
    };
    for _ in 0..RETRIES {
        match mkdir(directory) {
            Ok(()) => return Ok(false),
            Err(Errno::EXIST) => return Ok(true),
            Err(Errno::NOENT) => {}
            Err(errno) => return failed(errno, directory),
        }
        let mut parents: Vec<&Path> = directory
            .ancestors()
            .skip(1)
            .take_while(|above| *above != mount)
            .collect();
        parents.reverse();
        for parent in parents {
            match mkdir(parent) {
                // Whoever removes the last cgroup below a parent removes the parent: then all starts over.
                Ok(()) | Err(Errno::EXIST | Errno::NOENT) => {}
                Err(errno) => return failed(errno, parent),
            }
        }
    }
    bail!(
        "make cgroup {}: its parents keep vanishing",
        directory.display()
    )
}

/// Returns the CPUs or memory nodes (`file`) of a v1 cpuset directory, taking over its parent's if it has none: without,
/// no process may enter.
fn inherited(mount: &Path, directory: &Path, file: &str) -> Result<String> {
    let path = directory.join(file);
    let value = pseudo::read_text(&path)
        .with_context(|| format!("read {}", path.display()))?
        .trim()
        .to_owned();
    if value.is_empty() && directory != mount {
        return take_over(mount, directory, file);
    }
    Ok(value)
}

/// Gives a v1 cpuset directory the CPUs or memory nodes (`file`) of its parent; returns them.
fn take_over(mount: &Path, directory: &Path, file: &str) -> Result<String> {
    let path = directory.join(file);
    let value = inherited(mount, directory.parent().unwrap_or(mount), file)?;
    write_file(&path, &value).with_context(|| format!("write {value:?} to {}", path.display()))?;
    Ok(value)
}

/// Lets `directory` have the controllers that are `offered` at the root of its v2 hierarchy, as far as that is possible:
/// what is missing shows when a limit needs it.
fn enable_controllers(mount: &Path, directory: &Path, offered: &[String]) {
    // Writing what is enabled already would wait for dying cgroups; looking does not.
    let has = pseudo::read_text(directory.join("cgroup.controllers")).unwrap_or_default();
    let has: Vec<&str> = has.split_whitespace().collect();
    let lacks: Vec<String> = offered
        .iter()
        .filter(|controller| !has.contains(&controller.as_str()))
        .map(|controller| format!("+{controller}"))
        .collect();
    if lacks.is_empty() {
        return;
    }
    let inside = |above: &&Path| above.starts_with(mount);
    let mut parents: Vec<&Path> = directory.ancestors().skip(1).take_while(inside).collect();
    parents.reverse();
    for parent in parents {
        let file = parent.join("cgroup.subtree_control");
        if write_file(&file, &lacks.join(" ")).is_ok() {
            continue;
        }
        // One that cannot be delegated must not keep back the others.
        for controller in &lacks {
            if let Err(error) = write_file(&file, controller) {
                tracing::debug!("write {controller} to {}: {error}", file.display());
            }
        }
    }
}
