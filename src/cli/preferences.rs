//! The formats of lists that a user prefers: `psFormat` and its kind in config.json.
//!
//! The file is read only if a list is shown without `--format` and `--quiet`. One that is not there, or is no JSON, has no
//! wishes: what is wrong in it is for those to say who need its credentials.

use std::path::PathBuf;

use super::command::Context;
use crate::registry::credentials::Store;

/// More is no file that a person wrote.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// Returns the format of a list: what `--format` says, else what config.json says under `key`, else nothing.
pub fn format(context: &Context, asked: &str, quiet: bool, key: &str) -> String {
    if !asked.is_empty() || quiet {
        return asked.to_owned();
    }
    preferred(context, key).unwrap_or_default()
}

fn preferred(context: &Context, key: &str) -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok();
    let store = Store::open(context.globals.config.as_deref(), &variable);
    let path: PathBuf = store.config().to_owned();
    if path.metadata().ok()?.len() > FILE_MAX_BYTES {
        return None;
    }
    let document: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    document.get(key)?.as_str().map(str::to_owned)
}
