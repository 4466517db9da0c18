//! Registries: Debian's `docker-registry`, and one in this process that does everything wrong.

mod addresses;
mod exchange;
mod fake;
mod hostile;
mod killed;
mod mirrors;
mod others;
mod platforms;
mod proxied;
mod secured;
pub(crate) mod server;
mod stalled;
mod together;
mod tokens;
mod uploads;

use std::path::PathBuf;

use crate::sandbox::Sandbox;

/// Returns the paths of what is in a folder of the data root.
fn list(sandbox: &Sandbox, folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(sandbox.root().join(folder));
    entries
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default()
}

/// The layers that are stored.
fn layers(sandbox: &Sandbox) -> Vec<PathBuf> {
    list(sandbox, "layers")
}

/// The blobs that are stored.
fn blobs(sandbox: &Sandbox) -> Vec<PathBuf> {
    list(sandbox, "images/blobs/sha256")
}

/// The blobs that are not complete.
fn parts(sandbox: &Sandbox) -> Vec<PathBuf> {
    list(sandbox, "images/ingest")
}
