//! `--storage-opt size`: what a container may write, where the file system counts by projects.
//!
//! Its upper directory and overlayfs' work directory are one project, since files are renamed from the one to the other.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::Result;

use crate::error;
use crate::store;
use crate::sys::quota;

/// Of the project with this number are all files that belong to none.
const FIRST: u32 = 1 << 30;
const TRIES: usize = 16;

/// Refuses a file system that does not count, with kind `Invalid` and docker's text.
pub fn check(upper: &Path) -> Result<()> {
    let asked = File::open(upper).and_then(|dir| quota::limit(dir.as_fd(), FIRST));
    asked
        .map(drop)
        .map_err(|cause| refused(upper, &cause.into()))
}

/// Limits what goes into `upper` and `work`, directories that are still empty, to so many bytes in all.
///
/// Fails like [`check`].
pub fn limit(upper: &Path, work: &Path, bytes: u64) -> Result<()> {
    set(upper, work, bytes).map_err(|cause| refused(upper, &cause))
}

fn refused(upper: &Path, cause: &anyhow::Error) -> anyhow::Error {
    error::with_hint(
        error::invalid(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        ),
        format!(
            "the file system of {} has no quotas of projects ({cause}): mount xfs with pquota, or ext4 with prjquota",
            upper.display()
        ),
    )
}

fn set(upper: &Path, work: &Path, bytes: u64) -> Result<()> {
    let dirs = [File::open(upper)?, File::open(work)?];
    let project = free(&dirs[0])?;
    // First the limit, so that the number is taken.
    quota::set_limit(dirs[0].as_fd(), project, bytes)?;
    for dir in &dirs {
        if let Err(error) = quota::set_project(dir.as_fd(), project) {
            quota::set_limit(dirs[0].as_fd(), project, 0)?;
            return Err(error.into());
        }
    }
    Ok(())
}

/// Returns a project that nobody has: numbers are drawn, since no list of them exists.
fn free(dir: &File) -> Result<u32> {
    for _ in 0..TRIES {
        let drawn = u32::from_str_radix(&store::random_id()?[..8], 16)?;
        let project = FIRST | drawn >> 2;
        if quota::limit(dir.as_fd(), project)? == 0 {
            return Ok(project);
        }
    }
    Err(io::Error::other("all numbers of projects that were tried are taken").into())
}

/// Gives back the project of a container that is about to be deleted.
pub fn release(upper: &Path) -> Result<()> {
    let dir = File::open(upper)?;
    if let Some(project) = quota::project(dir.as_fd())? {
        quota::set_limit(dir.as_fd(), project, 0)?;
    }
    Ok(())
}
