//! `container prune` and `system prune`.

use anyhow::Result;

use super::{confirmed, engine, filters, images, propose, volume};
use crate::cli::command::{self, Context};
use crate::cli::commands::PruneArgs;
use crate::cli::commands::system::SystemPruneArgs;
use crate::cli::face::Failed;
use crate::cli::output;
use crate::engine::prune;
use crate::error;

/// `container prune`
pub fn containers(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: PruneArgs = command::arguments(matches)?;
    let filters = filters(&arguments.filter)?;
    if arguments.dry_run {
        return propose::containers(context, &filters);
    }
    if !arguments.force && !confirmed("WARNING! This will remove all stopped containers.")? {
        return Ok(0);
    }
    let engine = engine(context)?;
    let pruned = prune::containers(&engine, &filters).map_err(Failed::engine)?;
    output::out(&report(
        "Deleted Containers:",
        &pruned.removed,
        pruned.bytes,
    ))?;
    Ok(0)
}

/// `system prune`
pub fn system(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: SystemPruneArgs = command::arguments(matches)?;
    let given = &arguments.prune.filter;
    if arguments.volumes && given.iter().flatten().any(|filter| filter.name == "until") {
        return Err(Failed::from(error::invalid(
            "ERROR: The \"until\" filter is not supported with \"--volumes\"",
        )));
    }
    let filters = filters(given)?;
    if arguments.prune.dry_run {
        return propose::system(context, &arguments, &filters);
    }
    if !arguments.prune.force && !confirmed(&warning(&arguments))? {
        return Ok(0);
    }
    let engine = engine(context)?;
    let containers = prune::containers(&engine, &filters).map_err(Failed::engine)?;
    output::out(&removed("Deleted Containers:", &containers.removed))?;
    let mut bytes = containers.bytes;
    let names = prune::networks(&engine, &filters).map_err(Failed::engine)?;
    output::out(&removed("Deleted Networks:", &names))?;
    if arguments.volumes {
        let volumes = prune::volumes(&engine, &filters).map_err(Failed::engine)?;
        output::out(&removed("Deleted Volumes:", &volumes.removed))?;
        bytes += volumes.bytes;
    }
    let images = prune::images(&engine, arguments.all, &filters).map_err(Failed::engine)?;
    output::out(&images::deleted(&images.steps))?;
    bytes += images.reclaimed;
    output::out(&format!(
        "Total reclaimed space: {}\n",
        volume::total(bytes)
    ))?;
    Ok(0)
}

/// What `system prune` will do, as docker says it.
fn warning(arguments: &SystemPruneArgs) -> String {
    let mut lines = vec![
        "all stopped containers",
        "all networks not used by at least one container",
    ];
    if arguments.volumes {
        lines.push("all anonymous volumes not used by at least one container");
    }
    lines.push(if arguments.all {
        "all images without at least one container associated to them"
    } else {
        "all dangling images"
    });
    lines.push(if arguments.all {
        "all build cache"
    } else {
        "unused build cache"
    });
    let mut text = format!("WARNING! This will remove:\n  - {}\n", lines.join("\n  - "));
    let filters: Vec<String> = (arguments.prune.filter.iter().flatten())
        .map(|filter| format!("  - {}={}", filter.name, filter.value))
        .collect();
    if !filters.is_empty() {
        let filters = filters.join("\n");
        text = format!("{text}\n  Items to be pruned will be filtered with:\n{filters}\n");
    }
    text
}

/// Returns what was removed, and how much room that makes.
pub fn report(title: &str, names: &[String], bytes: u64) -> String {
    let text = removed(title, names);
    format!("{text}Total reclaimed space: {}\n", volume::total(bytes))
}

/// Returns what was removed, with an empty line at its end; nothing if nothing was.
fn removed(title: &str, names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    format!("{title}\n{}\n\n", names.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::values::Filter;

    #[test]
    fn the_warning_is_dockers() {
        let mut arguments = SystemPruneArgs::default();
        assert_eq!(
            warning(&arguments),
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n  \
             - all dangling images\n  - unused build cache\n"
        );
        arguments.all = true;
        arguments.volumes = true;
        arguments.prune.filter = vec![Some(Filter {
            name: "label".to_owned(),
            value: "a=b".to_owned(),
        })];
        assert_eq!(
            warning(&arguments),
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n  \
             - all anonymous volumes not used by at least one container\n  \
             - all images without at least one container associated to them\n  - all build cache\n\n  \
             Items to be pruned will be filtered with:\n  - label=a=b\n"
        );
    }
}
