//! What a container's monitor is called with. It does not go through the parser: what that makes would stay in the memory of
//! each for as long as the container runs.

use std::ffi::OsStr;
use std::process::ExitCode;

use crate::cli::log;
use crate::dirs::Dirs;
use crate::monitor::supervise;

/// Runs the monitor of the container whose full id is given, as [`crate::monitor::client::spawn`] starts it.
pub fn main(root: &OsStr, run: &OsStr, id: &OsStr) -> ExitCode {
    let dirs = Dirs::new(root, run);
    let id = id.to_string_lossy();
    log::to_file(&dirs.container(&id).join("monitor.log"));
    match supervise::main(&dirs, &id) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
