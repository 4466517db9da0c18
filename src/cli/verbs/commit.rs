//! `commit`.

use anyhow::Result;

use super::engine;
use crate::cli::command::{self, Context};
use crate::cli::commands::containers::CommitArgs;
use crate::cli::face::Failed;
use crate::cli::output;
use crate::engine::commit::{self, CommitOptions};
use crate::error;
use crate::oci::reference::Reference;

/// `commit`
pub fn run(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: CommitArgs = command::arguments(matches)?;
    let text = arguments
        .reference
        .as_deref()
        .filter(|text| !text.is_empty());
    let reference = text
        .map(Reference::parse)
        .transpose()?
        .map(Reference::or_latest);
    if reference.as_ref().is_some_and(|it| it.digest.is_some()) {
        return Err(Failed::from(error::invalid(
            "refusing to create a tag with a digest reference",
        )));
    }
    let engine = engine(context)?;
    let container = engine
        .container(&arguments.container)
        .map_err(Failed::engine)?;
    let options = CommitOptions {
        reference,
        author: arguments.author,
        comment: arguments.message,
        changes: arguments.change,
        pause: arguments.pause && !arguments.no_pause,
    };
    let id = commit::commit(&engine, &container, &options).map_err(Failed::engine)?;
    output::out(&format!("{id}\n"))?;
    Ok(0)
}
