//! `ps`, `images` and `history`.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;

use super::{engine, filters};
use crate::cli::command::{self, Context};
use crate::cli::commands::images::HistoryArgs;
use crate::cli::commands::lists::{ImagesArgs, PsArgs};
use crate::cli::face::Failed;
use crate::cli::rows::{self, containers, history, images};
use crate::cli::{human, output, preferences};
use crate::container::{Container, Listed, merge};
use crate::engine::images as engine_images;
use crate::engine::list::{self as engine_list, ListOptions};
use crate::engine::{Engine, inspect, usage};
use crate::error;
use crate::image::references;
use crate::oci::reference::Reference;

/// `ps`
pub fn ps(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: PsArgs = command::arguments(matches)?;
    let asked = preferences::format(context, &arguments.format, arguments.quiet, "psFormat");
    let asked = asked.as_str();
    containers::check_format(asked)?;
    if !asked.is_empty() && arguments.quiet {
        output::err(&format!("{}\n", containers::QUIET_WARNING));
    }
    let list = if arguments.size == Some(true) {
        &containers::LIST_WITH_SIZE
    } else {
        &containers::LIST
    };
    let format = list.format(asked, arguments.quiet)?;
    let sizes = arguments
        .size
        .unwrap_or_else(|| asked != "json" && format.uses("Size"));
    let engine = engine(context)?;
    let last = if arguments.latest {
        Some(1)
    } else {
        usize::try_from(arguments.last)
            .ok()
            .filter(|last| *last > 0)
    };
    let options = ListOptions {
        all: arguments.all,
        last,
        filters: filters(&arguments.filter.filter)?,
    };
    let found = engine_list::list(&engine, &options).map_err(Failed::engine)?;
    let table = references::read(&engine.images).map_err(Failed::engine)?;
    let options = rows::Options {
        now: Timestamp::now(),
        whole: arguments.no_trunc,
        created_at: format.uses("CreatedAt"),
    };
    let links = if arguments.no_trunc {
        engine_list::link_names(&engine).map_err(Failed::engine)?
    } else {
        BTreeMap::new()
    };
    let rows: Result<Vec<_>> = found
        .iter()
        .map(|container| {
            let mut shown = shown(container, &table, options.now);
            let more = links.get(&container.record.id);
            shown.names.extend(more.into_iter().flatten().cloned());
            if sizes {
                (shown.size_rw, shown.size_root_fs) = size(&engine, container)?;
            }
            Ok(containers::row(&shown, options))
        })
        .collect();
    output::out(&format.render(list.columns, &rows?)?)?;
    Ok(0)
}

pub(super) fn shown(
    container: &Container<Listed>,
    table: &references::Table,
    now: Timestamp,
) -> containers::Container {
    let record = &container.record;
    // As docker shows it: arguments with blanks in quotes, whatever else is in them.
    let words: Vec<String> = merge::command_line(&record.config)
        .enumerate()
        .map(|(index, word)| {
            if index > 0 && word.contains(' ') {
                format!("'{word}'")
            } else {
                word.clone()
            }
        })
        .collect();
    let name = Reference::parse(&record.config.image)
        .ok()
        .map(Reference::or_latest);
    let named = name
        .and_then(|name| table.by_reference(&name))
        .map(|image| &image.id);
    let still = named == Some(&record.image);
    let state = inspect::state(&container.status);
    containers::Container {
        id: record.id.clone(),
        names: vec![record.name.clone()],
        image: if still {
            record.config.image.clone()
        } else {
            record.image.to_string()
        },
        image_id: record.image.to_string(),
        command: words.join(" "),
        created: record.created,
        status: human::time::status(&state, now),
        state: state.status,
        ports: ports(container),
        labels: record.config.labels.clone(),
        mounts: record
            .mounts
            .iter()
            .map(|mount| containers::Mount {
                name: mount.name.clone(),
                source: mount.source.clone(),
                driver: mount.driver.clone(),
            })
            .collect(),
        networks: engine_list::networks(container)
            .map(str::to_owned)
            .collect(),
        size_rw: 0,
        size_root_fs: 0,
    }
}

/// Returns the ports of a container that runs.
fn ports(container: &Container<Listed>) -> Vec<human::ports::Port> {
    let mut all = Vec::new();
    for (port, hosts) in &container.status.network.ports {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        let own = human::ports::Port {
            private: number.parse().unwrap_or_default(),
            protocol: protocol.to_owned(),
            ..human::ports::Port::default()
        };
        match hosts {
            None => all.push(own),
            Some(hosts) => all.extend(hosts.iter().map(|host| human::ports::Port {
                address: host.host_ip.clone(),
                public: host.host_port.parse().unwrap_or_default(),
                ..own.clone()
            })),
        }
    }
    all
}

/// Returns the bytes of the writable layer, and of all layers with it.
fn size(engine: &Engine, container: &Container<Listed>) -> Result<(i64, i64)> {
    let written = usage::of_directory(&engine.dirs.container(&container.record.id).join("upper"));
    let image = engine.images.by_id(&container.record.image)?.size;
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    Ok((signed(written), signed(written + image)))
}

/// `images`
pub fn images(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: ImagesArgs = command::arguments(matches)?;
    if arguments.tree {
        return Err(Failed::from(error::invalid(
            "--tree is an experiment of docker's that aril does not have",
        )));
    }
    let format = &arguments.format;
    let format = preferences::format(context, format, arguments.quiet, "imagesFormat");
    let asked = images::with_digests(&format, arguments.digests);
    let list = if arguments.digests {
        &images::LIST_WITH_DIGESTS
    } else {
        &images::LIST
    };
    let format = list.format(&asked, arguments.quiet)?;
    let engine = engine(context)?;
    let mut filters = filters(&arguments.filter.filter)?;
    if let Some(reference) = &arguments.reference {
        filters.add("reference", reference);
    }
    let mut found =
        engine_images::list(&engine, arguments.all, &filters).map_err(Failed::engine)?;
    if format.uses("Containers") {
        engine_images::count_containers(&engine, &mut found).map_err(Failed::engine)?;
    }
    let options = rows::Options {
        now: Timestamp::now(),
        whole: arguments.no_trunc,
        created_at: format.uses("CreatedAt"),
    };
    let rows: Vec<_> = found
        .iter()
        .flat_map(|image| images::rows(image, &asked, arguments.digests, options))
        .collect();
    output::out(&format.render(list.columns, &rows)?)?;
    Ok(0)
}

/// `history`
pub fn history(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: HistoryArgs = command::arguments(matches)?;
    let list = if arguments.human {
        &history::LIST
    } else {
        &history::LIST_EXACT
    };
    let format = list.format(&arguments.format, arguments.quiet)?;
    let engine = engine(context)?;
    let platform = super::pull::platform(&arguments.platform)?;
    let items = engine_images::on_platform(&engine, &arguments.image, platform.as_ref())
        .and_then(|()| engine_images::history(&engine, &arguments.image))
        .map_err(Failed::engine)?;
    let options = history::Options {
        now: Timestamp::now(),
        whole: arguments.no_trunc,
        human: arguments.human,
    };
    let rows: Vec<_> = items
        .iter()
        .map(|item| rows::history::row(item, options))
        .collect();
    output::out(&format.render(list.columns, &rows)?)?;
    Ok(0)
}
