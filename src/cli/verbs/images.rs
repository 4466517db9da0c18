//! `tag`, `rmi` and `image prune`.

use std::collections::BTreeSet;

use anyhow::Result;

use super::{confirmed, engine, filters, propose};
use crate::cli::command::{self, Context};
use crate::cli::commands::images::{ImagePruneArgs, RmiArgs, TagArgs};
use crate::cli::face::Failed;
use crate::cli::human::size::bytes_decimal;
use crate::cli::output;
use crate::cli::values::List;
use crate::docker::image::Removed;
use crate::engine::{images, prune};
use crate::error;
use crate::image::removable::RemoveOptions;
use crate::oci::platform::Platform;
use crate::oci::reference::Reference;

/// `tag`
pub fn tag(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: TagArgs = command::arguments(matches)?;
    let text = &arguments.target;
    let parse = |text: &str| {
        Reference::parse(text).map_err(|error| {
            let what = "is not a valid repository/tag";
            error::invalid(format!("Error parsing reference: {text:?} {what}: {error}"))
        })
    };
    let target = parse(text)?;
    if arguments.source.is_empty() {
        parse(&arguments.source)?;
    }
    if target.digest.is_some() {
        return Err(Failed::from(error::invalid(
            "refusing to create a tag with a digest reference",
        )));
    }
    let engine = engine(context)?;
    images::tag(&engine, &arguments.source, &target).map_err(Failed::engine)?;
    Ok(0)
}

/// `rmi`
pub fn rmi(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: RmiArgs = command::arguments(matches)?;
    let platforms = List::all(&arguments.platform);
    let platforms: Vec<Platform> = platforms
        .iter()
        .map(|text| Platform::parse(text))
        .collect::<Result<_>>()?;
    let engine = engine(context)?;
    let options = RemoveOptions {
        force: arguments.force,
        parents: !arguments.no_prune,
    };
    let mut failures = Vec::new();
    // An id stands once per name in `images -q`, and is gone with the first of them.
    let mut gone: BTreeSet<String> = BTreeSet::new();
    for text in &arguments.images {
        let fits = platforms
            .iter()
            .try_for_each(|platform| images::on_platform(&engine, text, Some(platform)));
        match fits.and_then(|()| images::remove(&engine, text, options)) {
            Ok(steps) => {
                for step in &steps {
                    match step {
                        Removed::Untagged(name) => output::out(&format!("Untagged: {name}\n"))?,
                        Removed::Deleted(id) => {
                            gone.insert(id.clone());
                            output::out(&format!("Deleted: {id}\n"))?;
                        }
                    }
                }
            }
            Err(error) if error::is(&error, error::Kind::NotFound) => {
                let hex = text.strip_prefix("sha256:").unwrap_or(text);
                let is_gone = hex.len() >= 4
                    && gone
                        .iter()
                        .any(|id| id.starts_with(&format!("sha256:{hex}")));
                if is_gone {
                    continue;
                }
                if arguments.force {
                    output::err(&context.face.text(&Failed::engine(error)));
                } else {
                    failures.push(Failed::engine(error));
                }
            }
            Err(error) => failures.push(Failed::engine(error)),
        }
    }
    Failed::all(failures)?;
    Ok(0)
}

/// `image prune`
pub fn prune(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: ImagePruneArgs = command::arguments(matches)?;
    if arguments.prune.dry_run {
        let filters = filters(&arguments.prune.filter)?;
        return propose::images(context, arguments.all, &filters);
    }
    let warning = if arguments.all {
        "WARNING! This will remove all images without at least one container associated to them."
    } else {
        "WARNING! This will remove all dangling images."
    };
    if !arguments.prune.force && !confirmed(warning)? {
        return Ok(0);
    }
    let engine = engine(context)?;
    let removal = prune::images(&engine, arguments.all, &filters(&arguments.prune.filter)?)
        .map_err(Failed::engine)?;
    let text = deleted(&removal.steps);
    let bytes = i64::try_from(removal.reclaimed).unwrap_or(i64::MAX);
    output::out(&format!(
        "{text}Total reclaimed space: {}\n",
        bytes_decimal(bytes)
    ))?;
    Ok(0)
}

/// Returns what a prune has done to images, with an empty line at its end; nothing if it did nothing.
pub(super) fn deleted(steps: &[Removed]) -> String {
    if steps.is_empty() {
        return String::new();
    }
    let mut text = String::from("Deleted Images:\n");
    for step in steps {
        match step {
            Removed::Untagged(name) => text.push_str(&["untagged: ", name, "\n"].concat()),
            Removed::Deleted(id) => text.push_str(&["deleted: ", id, "\n"].concat()),
        }
    }
    text.push('\n');
    text
}
