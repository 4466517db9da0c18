//! `prune --dry-run`: what a prune would remove, with sizes.

use super::{engine, volume};
use crate::cli::command::Context;
use crate::cli::commands::system::SystemPruneArgs;
use crate::cli::face::Failed;
use crate::cli::output;
use crate::docker::image::Removed;
use crate::engine::filter::Filters;
use crate::engine::prune::{self, Candidate, Gone};
use crate::image::remove::Proposal;

/// `container prune --dry-run`
pub(super) fn containers(context: &Context, filters: &Filters) -> Result<u8, Failed> {
    let engine = engine(context)?;
    let found = prune::stopped_containers(&engine, filters).map_err(Failed::engine)?;
    output::out(&format!(
        "{}{}",
        of_containers(&found),
        total(bytes(&found))
    ))?;
    Ok(0)
}

/// `volume prune --dry-run`
pub(super) fn volumes(context: &Context, filters: &Filters) -> Result<u8, Failed> {
    let engine = engine(context)?;
    let found = prune::unused_volumes(&engine, filters, &Gone::new()).map_err(Failed::engine)?;
    output::out(&format!("{}{}", of_volumes(&found), total(bytes(&found))))?;
    Ok(0)
}

/// `network prune --dry-run`
pub(super) fn networks(context: &Context, filters: &Filters) -> Result<u8, Failed> {
    let engine = engine(context)?;
    let found = prune::unused_networks(&engine, filters).map_err(Failed::engine)?;
    output::out(&of_networks(&found))?;
    Ok(0)
}

/// `image prune --dry-run`
pub(super) fn images(context: &Context, all: bool, filters: &Filters) -> Result<u8, Failed> {
    let engine = engine(context)?;
    let found = prune::unused_images(&engine, all, filters, &Gone::new());
    let found = found.map_err(Failed::engine)?;
    output::out(&format!("{}{}", of_images(&found), total(found.reclaimed)))?;
    Ok(0)
}

/// `system prune --dry-run`: each kind as if those before it were gone.
pub(super) fn system(
    context: &Context,
    arguments: &SystemPruneArgs,
    filters: &Filters,
) -> Result<u8, Failed> {
    let engine = engine(context)?;
    let containers = prune::stopped_containers(&engine, filters).map_err(Failed::engine)?;
    let gone: Gone = (containers.iter())
        .map(|container| container.id.clone())
        .collect();
    let networks = prune::unused_networks(&engine, filters).map_err(Failed::engine)?;
    let volumes = if arguments.volumes {
        prune::unused_volumes(&engine, filters, &gone).map_err(Failed::engine)?
    } else {
        Vec::new()
    };
    let images = prune::unused_images(&engine, arguments.all, filters, &gone);
    let images = images.map_err(Failed::engine)?;
    let text = [
        of_containers(&containers),
        of_networks(&networks),
        of_volumes(&volumes),
        of_images(&images),
        total(bytes(&containers) + bytes(&volumes) + images.reclaimed),
    ];
    output::out(&text.concat())?;
    Ok(0)
}

fn bytes(candidates: &[Candidate]) -> u64 {
    candidates.iter().map(|candidate| candidate.bytes).sum()
}

fn total(bytes: u64) -> String {
    format!(
        "Total space that would be reclaimed: {}\n",
        volume::total(bytes)
    )
}

fn of_containers(found: &[Candidate]) -> String {
    let rows = found.iter().map(|container| {
        let Candidate { id, name, bytes } = container;
        format!("{id}  {:>8}  {name}", volume::total(*bytes))
    });
    section("Containers", rows)
}

fn of_networks(found: &[Candidate]) -> String {
    section("Networks", found.iter().map(|network| network.name.clone()))
}

fn of_volumes(found: &[Candidate]) -> String {
    let width = found.iter().map(|volume| volume.id.len()).max();
    let rows = found.iter().map(|volume| {
        let size = volume::total(volume.bytes);
        format!(
            "{:width$}  {size:>8}",
            volume.id,
            width = width.unwrap_or(0)
        )
    });
    section("Volumes", rows)
}

fn of_images(found: &Proposal) -> String {
    let sized = |word: &str, id: &str, bytes: u64| match bytes {
        0 => format!("{word}: {id}"),
        bytes => format!("{word}: {id}  {:>8}", volume::total(bytes)),
    };
    let steps = found.steps.iter().map(|(step, bytes)| match step {
        Removed::Untagged(name) => sized("untagged", name, *bytes),
        Removed::Deleted(id) => sized("deleted", id, *bytes),
    });
    let stray = found.stray.iter();
    let rows = steps.chain(stray.map(|(id, bytes)| sized("of no image", id, *bytes)));
    section("Images", rows)
}

/// Returns a title and rows, with an empty line at the end; nothing if there are no rows.
fn section(kind: &str, rows: impl Iterator<Item = String>) -> String {
    let rows: Vec<String> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("{kind} that would be deleted:\n{}\n\n", rows.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_have_sizes_and_empty_ones_are_left_out() {
        let volume = |id: &str, bytes| Candidate {
            id: id.to_owned(),
            name: id.to_owned(),
            bytes,
        };
        assert_eq!(of_volumes(&[]), "");
        assert_eq!(
            of_volumes(&[volume("a", 5000), volume("longer", 1_500_000)]),
            "Volumes that would be deleted:\na            5kB\nlonger     1.5MB\n\n"
        );
        let images = Proposal {
            steps: vec![
                (Removed::Untagged("x:1".to_owned()), 0),
                (Removed::Deleted("sha256:1".to_owned()), 0),
                (Removed::Deleted("sha256:2".to_owned()), 1000),
            ],
            stray: vec![("sha256:3".to_owned(), 10)],
            reclaimed: 1010,
        };
        assert_eq!(
            of_images(&images),
            "Images that would be deleted:\nuntagged: x:1\ndeleted: sha256:1\ndeleted: sha256:2       1kB\n\
             of no image: sha256:3       10B\n\n"
        );
    }
}
