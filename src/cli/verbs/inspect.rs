//! `inspect` and its forms for one type.

use anyhow::Result;
use serde::Serialize;

use super::engine;
use crate::cli::command::{self, Context};
use crate::cli::commands::inspect::{
    ContainerInspectArgs, ImageInspectArgs, InspectArgs, NetworkInspectArgs, VolumeInspectArgs,
};
use crate::cli::face::Failed;
use crate::cli::format;
use crate::cli::inspector::Inspector;
use crate::cli::output;
use crate::docker::image::ImageInspect;
use crate::docker::inspect::ContainerInspect;
use crate::docker::network::Network;
use crate::docker::system::Volume;
use crate::engine::{Engine, images, inspect, networks, usage};
use crate::error::{self, Kind};

/// What `--type` may be; of some of them there are none here.
const KINDS: [&str; 10] = [
    "config",
    "container",
    "image",
    "network",
    "node",
    "plugin",
    "secret",
    "service",
    "task",
    "volume",
];

/// An object of any type.
#[derive(Serialize)]
#[serde(untagged)]
enum Object {
    Container(Box<ContainerInspect>),
    Image(Box<ImageInspect>),
    Network(Box<Network>),
    Volume(Box<Volume>),
}

/// Prints what `find` returns for each name, and what it fails with after it.
fn print<T: Serialize>(
    asked: &str,
    names: &[String],
    has_json: impl Fn(&T) -> bool,
    mut find: impl FnMut(&str) -> Result<T, Failed>,
) -> Result<u8, Failed> {
    let inspector = Inspector::new(asked)
        .map_err(|error| Failed::from(format::parsing_error(error)).code(64))?;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for name in names {
        match find(name) {
            Ok(object) => found.push(object),
            Err(failed) => failures.push(failed),
        }
    }
    let inspected = inspector.inspect(&found, has_json)?;
    output::out(&inspected.out)?;
    failures.extend(inspected.errors.into_iter().map(Failed::from));
    Failed::all(failures)?;
    Ok(0)
}

fn container(engine: &Engine, name: &str, size: bool) -> Result<ContainerInspect> {
    let container = engine.container(name)?;
    let mut document = inspect::inspect(engine, &container)?;
    if size {
        let written =
            usage::of_directory(&engine.dirs.container(&container.record.id).join("upper"));
        let image = engine.images.by_id(&container.record.image)?.size;
        document.size_rw = i64::try_from(written).ok();
        document.size_root_fs = i64::try_from(written + image).ok();
    }
    Ok(document)
}

/// `inspect`
pub fn any(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: InspectArgs = command::arguments(matches)?;
    let engine = engine(context)?;
    let size = arguments.size;
    let kind = arguments.kind.as_deref();
    if let Some(kind) = kind.filter(|kind| !KINDS.contains(kind)) {
        let known: Vec<String> = KINDS[..KINDS.len() - 1]
            .iter()
            .map(|kind| format!("{kind:?}"))
            .collect();
        let known = format!("must be one of {}, \"volume\"", known.join(", "));
        let what = if kind.is_empty() {
            "type is empty".to_owned()
        } else {
            format!("unknown type: {kind:?}")
        };
        return Err(Failed::from(error::invalid(format!("{what}: {known}"))));
    }
    let has_json = |object: &Object| !matches!(object, Object::Volume(_));
    print(&arguments.how.format, &arguments.names, has_json, |name| {
        find(&engine, name, kind, size)
    })
}

/// Looks for an object of `kind`, or of any, in docker's order.
fn find(engine: &Engine, name: &str, kind: Option<&str>, size: bool) -> Result<Object, Failed> {
    let ignored = |kind: &str| {
        if size {
            output::warn(&[format!("--size ignored for {kind}")]);
        }
    };
    match kind {
        Some("config" | "node" | "secret" | "service" | "task") => {
            return Err(Failed::engine(error::no_swarm()));
        }
        Some("plugin") => {
            let why = format!("plugin {name:?} not found");
            return Err(Failed::engine(error::not_found(why)));
        }
        // Docker's client says so before it asks for any type.
        None if name.is_empty() => drop(engine.container(name).map_err(Failed::engine)?),
        _ => {}
    }
    let wanted = |this: &str| kind.is_none_or(|kind| kind == this);
    let mut last = None;
    if wanted("container") {
        match container(engine, name, size) {
            Ok(found) => return Ok(Object::Container(Box::new(found))),
            Err(error) => last = Some(error),
        }
    }
    if wanted("image") {
        match images::inspect(engine, name) {
            Ok(found) => {
                ignored("image");
                return Ok(Object::Image(Box::new(found)));
            }
            Err(error) => last = Some(error),
        }
    }
    if wanted("network") {
        match networks::inspect(engine, name) {
            Ok(found) => {
                ignored("network");
                return Ok(Object::Network(Box::new(found)));
            }
            Err(error) => last = Some(error),
        }
    }
    if wanted("volume") {
        match engine.volumes.get(name) {
            Ok(found) => {
                ignored("volume");
                return Ok(Object::Volume(Box::new(found)));
            }
            Err(error) => last = Some(error),
        }
    }
    match (kind, last) {
        (Some(_), Some(error)) => Err(Failed::engine(error)),
        _ => Err(Failed::from(error::new(
            Kind::NotFound,
            format!("Error: No such object: {name}"),
        ))),
    }
}

/// `container inspect`
pub fn containers(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: ContainerInspectArgs = command::arguments(matches)?;
    let engine = engine(context)?;
    print(
        &arguments.how.format,
        &arguments.names,
        |_| true,
        |name| container(&engine, name, arguments.size).map_err(Failed::engine),
    )
}

/// `image inspect`
pub fn images(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: ImageInspectArgs = command::arguments(matches)?;
    let platform = super::pull::platform(&arguments.platform)?;
    let engine = engine(context)?;
    let find = |name: &str| {
        images::on_platform(&engine, name, platform.as_ref())
            .and_then(|()| images::inspect(&engine, name))
            .map_err(Failed::engine)
    };
    print(&arguments.how.format, &arguments.names, |_| true, find)
}

/// `network inspect`
pub fn networks(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: NetworkInspectArgs = command::arguments(matches)?;
    let engine = engine(context)?;
    print(
        &arguments.how.format,
        &arguments.names,
        |_| true,
        |name| networks::inspect(&engine, name).map_err(Failed::engine),
    )
}

/// `volume inspect`
pub fn volumes(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: VolumeInspectArgs = command::arguments(matches)?;
    let engine = engine(context)?;
    print(
        &arguments.how.format,
        &arguments.names,
        |_| false,
        |name| engine.volumes.get(name).map_err(Failed::engine),
    )
}
