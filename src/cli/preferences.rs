//! What a user prefers, as config.json says it: formats of lists (`psFormat` and its kind), keys, proxies.
//!
//! For a list the file is read only if it is shown without `--format` and `--quiet`. One that is broken has no wishes, which
//! is a warning, as for docker.

use anyhow::Result;
use serde_json::{Map, Value};

use super::command::Context;
use super::verbs;
use crate::error;
use crate::registry::credentials::{self, Store};

/// Reads the config.json of the caller; one that is not there is empty.
///
/// The error is of kind `Invalid` if it is broken.
pub fn document(context: &Context) -> Result<Map<String, Value>> {
    let variable = |name: &str| std::env::var(name).ok();
    let store = Store::open(context.globals.config.as_deref(), &variable);
    credentials::file::read(store.config())
}

/// Returns the format of a list: what `--format` says, else what config.json says under `key`, else nothing.
pub fn format(context: &Context, asked: &str, quiet: bool, key: &str) -> String {
    if !asked.is_empty() || quiet {
        return asked.to_owned();
    }
    let document = document(context).unwrap_or_else(|error| {
        verbs::warn(&[format!("{key} is not looked up: {}", error::line(&error))]);
        Map::new()
    });
    let preferred = document.get(key).and_then(Value::as_str);
    preferred.unwrap_or_default().to_owned()
}
