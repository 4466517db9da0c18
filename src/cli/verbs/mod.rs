//! What the commands do: each reads its arguments, calls one operation of the engine, and prints what came back.

pub mod boot;
pub mod check;
pub mod commit;
pub mod copy;
pub mod diff;
pub mod disk_usage;
pub mod events;
pub mod exec;
pub mod explain;
pub mod foreign;
pub mod images;
pub mod inspect;
pub mod lifecycle;
pub mod list;
pub mod login;
pub mod logs;
pub mod manifest;
pub mod mirror;
pub mod monitor;
pub mod network;
pub mod port;
mod propose;
pub mod prune;
pub mod pull;
pub mod push;
pub mod run;
pub mod search;
pub mod serve;
pub mod session;
pub mod settle;
pub mod stats;
pub mod system;
pub mod top;
pub mod transfer;
pub mod update;
pub mod volume;
pub mod why;

use anyhow::{Context as _, Result};

use crate::cli::command::Context;
use crate::cli::face::Failed;
use crate::cli::values::Filter;
use crate::cli::{output, preferences};
use crate::dirs::Dirs;
use crate::engine::Engine;
use crate::engine::filter::Filters;
use crate::{error, settings};

/// Returns the engine over the state that the call names.
pub(crate) fn engine(context: &Context) -> Result<Engine, Failed> {
    check_context(context)?;
    if !rustix::process::geteuid().is_root() {
        let why = "containers, and what is kept of them, need root";
        let error = error::new(error::Kind::Forbidden, why);
        return Err(Failed::from(error::with_hint(
            error,
            format!("sudo {} …", context.path),
        )));
    }
    let globals = &context.globals;
    let file = globals.config_file.as_deref();
    let elsewhere = if globals.root_is_default {
        settings::data_root(file)?
    } else {
        None
    };
    let dirs = elsewhere.map_or_else(
        || globals.dirs.clone(),
        |root| Dirs::new(root, globals.dirs.run()),
    );
    Ok(configured(context, Engine::open(dirs)?))
}

/// Refuses what is meant for another machine: it must not be done on this one.
pub(crate) fn check_context(context: &Context) -> Result<(), Failed> {
    match preferences::current_context(context) {
        Some(name) => Err(foreign::unresolved(context, &name)),
        None => Ok(()),
    }
}

/// Returns an engine for what only asks registries and reads the user's config.json: it needs neither root nor a store.
pub(crate) fn client(context: &Context) -> Engine {
    let dirs = context.globals.dirs.clone();
    configured(context, Engine::without_store(dirs))
}

fn configured(context: &Context, mut engine: Engine) -> Engine {
    let globals = &context.globals;
    engine.settings_file.clone_from(&globals.config_file);
    engine.client_config.clone_from(&globals.config);
    engine
}

/// Does the same to several objects, prints what each returns, and goes on after errors; they come last.
pub(crate) fn each(
    names: &[String],
    mut act: impl FnMut(&str) -> Result<String>,
) -> Result<u8, Failed> {
    let mut failures = Vec::new();
    for name in names {
        match act(name) {
            Ok(line) if line.is_empty() => {}
            Ok(line) => output::out(&format!("{line}\n"))?,
            Err(error) => failures.push(Failed::engine(error)),
        }
    }
    Failed::all(failures)?;
    Ok(0)
}

/// Collects the values of `--filter`; how long ago becomes a moment.
///
/// A moment that is none, docker's daemon would find.
pub(crate) fn filters(given: &[Option<Filter>]) -> Result<Filters, Failed> {
    let mut filters = Filters::default();
    for filter in given.iter().flatten() {
        if filter.name == "until" {
            let moment = logs::plain_moment(&filter.value).map_err(Failed::engine)?;
            let moment = moment.unwrap_or_default();
            filters.add(&filter.name, &moment.as_second().to_string());
        } else {
            filters.add(&filter.name, &filter.value);
        }
    }
    Ok(filters)
}

/// Asks whether something is to be done; without a terminal the answer is read from standard input all the same.
pub(crate) fn confirmed(warning: &str) -> Result<bool> {
    output::out(&format!(
        "{warning}\nAre you sure you want to continue? [y/N] "
    ))?;
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .context("read the answer")?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}
