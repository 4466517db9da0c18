//! Layers reach the disk without anybody waiting for it.
//!
//! ```text
//! aril pull ─ installs layers ─ spawns ─▶ aril settle: syncfs, then "synced" in each meta.json
//!      └─ ends at once
//! ```
//!
//! Whatever made layers ends with this: pull, load, import and commit, and a `run` that had to make one again. Until it is
//! done, a power cut costs no more than making the layers again (`image/layers/heal.rs`), so nothing is lost if it cannot be
//! started or is killed, and the next one does its work.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::dirs::Dirs;
use crate::error;
use crate::image::Images;
use crate::image::layers::heal;

/// The hidden command that [`settle`] is.
pub const COMMAND: &str = "settle";

/// Has the layers that this process has made written to the disk, by a process that outlives it.
pub fn later(dirs: &Dirs) {
    if heal::take_made()
        && let Err(error) = start(dirs)
    {
        tracing::warn!("{}", error::line(&error));
    }
}

fn start(dirs: &Dirs) -> Result<()> {
    Command::new("/proc/self/exe")
        .arg0("aril")
        .args([OsStr::new("--root"), dirs.data().as_os_str()])
        .args([OsStr::new("--run"), dirs.run().as_os_str()])
        .arg(COMMAND)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // It keeps no file system busy, and Ctrl-C on the terminal is not meant for it.
        .current_dir("/")
        .process_group(0)
        .spawn()
        .map(drop)
        .context("start the process that writes layers to the disk")
}

/// Writes all layers to the disk; takes as long as the disk does.
pub fn settle(dirs: &Dirs) -> Result<()> {
    heal::sync(&Images::open(dirs)).map(drop)
}
