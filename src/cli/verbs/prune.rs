//! `container prune`.

use anyhow::Result;

use super::{confirmed, engine, filters, volume};
use crate::cli::command::{self, Context};
use crate::cli::commands::PruneArgs;
use crate::cli::face::Failed;
use crate::cli::output;
use crate::engine::lifecycle;

/// `container prune`
pub fn containers(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: PruneArgs = command::arguments(matches)?;
    if !arguments.force && !confirmed("WARNING! This will remove all stopped containers.")? {
        return Ok(0);
    }
    let engine = engine(context)?;
    let pruned = lifecycle::prune(&engine, &filters(&arguments.filter)?).map_err(Failed::engine)?;
    output::out(&report(
        "Deleted Containers:",
        &pruned.removed,
        pruned.bytes,
    ))?;
    Ok(0)
}

/// Returns what was removed, and how much room that makes.
pub fn report(title: &str, removed: &[String], bytes: u64) -> String {
    let mut text = String::new();
    if !removed.is_empty() {
        text = format!("{title}\n{}\n\n", removed.join("\n"));
    }
    format!("{text}Total reclaimed space: {}\n", volume::total(bytes))
}
