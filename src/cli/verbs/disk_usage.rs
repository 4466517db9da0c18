//! `system df`.

use anyhow::Result;
use jiff::Timestamp;

use super::{engine, list};
use crate::cli::command::{self, Context};
use crate::cli::commands::system::DfArgs;
use crate::cli::face::Failed;
use crate::cli::output;
use crate::cli::rows::disk_usage::{self as rows, Details, Part, Total};
use crate::cli::rows::{containers, volumes};
use crate::engine::Engine;
use crate::engine::system::{self, DiskUsage};
use crate::error;
use crate::image::references;

/// `system df`
pub fn run(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: DfArgs = command::arguments(matches)?;
    let format = rows::LIST.format(&arguments.format, false)?;
    let engine = engine(context)?;
    let usage = system::disk_usage(&engine).map_err(Failed::engine)?;
    let text = if arguments.verbose {
        rows::details(
            &details(&engine, usage)?,
            &arguments.format,
            Timestamp::now(),
        )?
    } else {
        format.render(
            rows::LIST.columns,
            &totals(&usage).map(|(part, total)| rows::row(part, total)),
        )?
    };
    output::out(&text)?;
    Ok(0)
}

/// Sums up what docker sums up: an image is in use if a container was made from it, a container if it runs.
fn totals(usage: &DiskUsage) -> [(Part, Total); 4] {
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let is_used = |image: &&crate::docker::image::ImageSummary| image.containers > 0;
    let layers = signed(usage.layers_bytes);
    let used: i64 = usage
        .images
        .iter()
        .filter(is_used)
        .map(|image| image.size - image.shared_size)
        .sum();
    let runs = |container: &crate::container::Container<_>| container.status.phase.needs_monitor();
    let written = |only_stopped: bool| {
        let wanted = usage
            .containers
            .iter()
            .filter(|(container, _)| !only_stopped || !runs(container));
        signed(wanted.map(|(_, bytes)| bytes).sum())
    };
    let stored = |only_unused: bool| {
        let wanted = usage
            .volumes
            .iter()
            .filter(|(_, links, _)| !only_unused || *links == 0);
        signed(wanted.map(|(_, _, bytes)| bytes).sum())
    };
    [
        (
            Part::Images,
            Total {
                count: usage.images.len(),
                active: usage.images.iter().filter(is_used).count(),
                size: layers,
                reclaimable: layers - used,
            },
        ),
        (
            Part::Containers,
            Total {
                count: usage.containers.len(),
                active: usage
                    .containers
                    .iter()
                    .filter(|(container, _)| runs(container))
                    .count(),
                size: written(false),
                reclaimable: written(true),
            },
        ),
        (
            Part::Volumes,
            Total {
                count: usage.volumes.len(),
                active: usage
                    .volumes
                    .iter()
                    .filter(|(_, links, _)| *links > 0)
                    .count(),
                size: stored(false),
                reclaimable: stored(true),
            },
        ),
        (Part::BuildCache, Total::default()),
    ]
}

fn details(engine: &Engine, usage: DiskUsage) -> Result<Details> {
    let table = references::read(&engine.images)?;
    let now = Timestamp::now();
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let mut shown = Vec::with_capacity(usage.containers.len());
    for (container, bytes) in &usage.containers {
        let image = match engine.images.by_id(&container.record.image) {
            Ok(image) => image.size,
            Err(error) if error::is(&error, error::Kind::NotFound) => 0,
            Err(error) => return Err(error),
        };
        shown.push(containers::Container {
            size_rw: signed(*bytes),
            size_root_fs: signed(bytes + image),
            ..list::shown(container, &table, now)
        });
    }
    Ok(Details {
        images: usage.images,
        containers: shown,
        volumes: (usage.volumes.into_iter())
            .map(|(volume, links, bytes)| {
                let size = signed(bytes);
                (volume, volumes::Usage { links, size })
            })
            .collect(),
        cache: Vec::new(),
    })
}
