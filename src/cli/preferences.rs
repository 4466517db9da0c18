//! What a user prefers, as config.json says it: formats of lists (`psFormat` and its kind), keys, proxies, a context.
//!
//! For a list the file is read only if it is shown without `--format` and `--quiet`. One that is broken has no wishes, which
//! is a warning, as for docker.

use anyhow::Result;
use serde_json::{Map, Value};

use super::command::Context;
use super::globals::DEFAULT_CONTEXT;
use super::output;
use crate::error;
use crate::registry::credentials::{self, Store};

/// Reads the config.json of the caller; one that is not there is empty.
///
/// The error is of kind `Invalid` if it is broken.
pub fn document(context: &Context) -> Result<Map<String, Value>> {
    credentials::file::read(store(context).config())
}

fn store(context: &Context) -> Store {
    let variable = |name: &str| std::env::var(name).ok();
    Store::open(context.globals.config.as_deref(), &variable)
}

const CURRENT_CONTEXT: &str = "currentContext";

/// Returns the context that is meant: by the call, the environment or config.json; nothing for the default one.
///
/// Under its own name the program is not docker's client, for which config.json has one.
pub fn current_context(context: &Context) -> Option<String> {
    let configured = || {
        // What is wrong with the file, those tell who need more of it.
        let document = document(context).ok()?;
        Some(document.get(CURRENT_CONTEXT)?.as_str()?.to_owned())
    };
    let name = match &context.globals.context {
        Some(name) => Some(name.clone()),
        None if context.face.is_docker() => configured(),
        None => None,
    };
    name.filter(|name| !["", DEFAULT_CONTEXT].contains(&name.as_str()))
}

/// Makes the default context the one of config.json.
pub fn use_default_context(context: &Context) -> Result<()> {
    credentials::file::update(store(context).config(), &mut |document| {
        document.remove(CURRENT_CONTEXT).is_some()
    })
}

/// Returns the format of a list: what `--format` says, else what config.json says under `key`, else nothing.
pub fn format(context: &Context, asked: &str, quiet: bool, key: &str) -> String {
    if !asked.is_empty() || quiet {
        return asked.to_owned();
    }
    let document = document(context).unwrap_or_else(|error| {
        output::warn(&[format!("{key} is not looked up: {}", error::line(&error))]);
        Map::new()
    });
    let preferred = document.get(key).and_then(Value::as_str);
    preferred.unwrap_or_default().to_owned()
}
