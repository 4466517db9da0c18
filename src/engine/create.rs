//! A request and an image → a new container.
//!
//! Everything is checked and made in a draft that nobody sees; the last step gives it its name and its place.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use rustix::fs::FileType;

use super::lifecycle::{self, RemoveOptions};
use super::{Engine, repair, volumes};
use crate::container::mounts::{self, Request, Source};
use crate::container::{Record, Settling, check, merge, names, new_id, quota, short};
use crate::docker::container::{Config, ContainerCreate, HostConfig, NetworkingConfig};
use crate::docker::inspect::MountPoint;
use crate::docker::system::VolumeCreate;
use crate::image::gc::{self, Lease};
use crate::image::{Image, apply, snapshot, tarball};
use crate::monitor::{place, removal};
use crate::oci::image::host_architecture;
use crate::oci::platform::Platform;
use crate::sys::rooted::Root;
use crate::{error, event, settings};

/// The network of a container that asks for none.
const DEFAULT_NETWORK: &str = "bridge";
/// How often another name is made up when one is taken.
const NAME_ATTEMPTS: u32 = 6;

/// A container that was made.
#[derive(Debug)]
pub struct Created {
    /// Its id.
    pub id: String,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Who tells the user of the container waits for this before.
    pub settling: Settling,
}

/// What comes beside the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct CreateOptions<'a> {
    /// Its name; without one it gets one.
    pub name: Option<&'a str>,
    /// The platform that the image must be for; none is whatever it is for.
    pub platform: Option<&'a Platform>,
    /// Whether a container that has the name goes, once everything else about the new one is done; its volumes stay.
    pub replace: bool,
}

/// Makes a container.
///
/// Errors: `NotFound` if the image, or a container that is referred to, does not exist; `Conflict` if the name is taken;
/// `Invalid` for whatever is wrong with the request.
pub fn create(
    engine: &Engine,
    mut request: ContainerCreate,
    options: CreateOptions<'_>,
) -> Result<Created> {
    let CreateOptions {
        name,
        platform,
        replace,
    } = options;
    let name = name.map(|name| name.strip_prefix('/').unwrap_or(name));
    if let Some(name) = name {
        names::validate(name)?;
    }
    let image = engine.images.resolve(&request.config.image)?.image;
    if let Some(platform) = platform {
        super::images::check_platform(&request.config.image, &image, platform)?;
    }
    let discarded = super::machine::discard_weights(&mut request.host_config.resources)?;
    let _lease = Lease::on_image(&engine.images, &image)?;
    gc::remove_relics(&engine.images)?;
    repair::run_directories(engine)?;
    let draft = engine.containers.draft()?;
    let mut new_volumes = Vec::new();
    let created =
        fill(engine, request, &image, draft.path(), &mut new_volumes).and_then(|mut record| {
            if let Some(name) = name.filter(|_| replace) {
                remove_namesake(engine, name)?;
            }
            let settling = insert(engine, &mut record, draft.path(), name)?;
            Ok((record, settling))
        });
    match created {
        Ok((record, settling)) => {
            let platform = (platform.is_none()).then(|| platform_warning(&image));
            let ports = ports_warning(&record.host_config);
            let warnings = platform.flatten().into_iter().chain(ports);
            let warnings = warnings.chain(discarded).collect();
            let id = record.id.clone();
            volumes::report_made(engine, &new_volumes);
            event::record(
                &engine.dirs,
                "container",
                "create",
                &id,
                removal::attributes(&record),
            );
            Ok(Created {
                id,
                warnings,
                settling,
            })
        }
        Err(error) => {
            drop(draft);
            volumes::take_back(engine, &new_volumes);
            Err(error)
        }
    }
}

/// Puts a container together in its draft.
fn fill(
    engine: &Engine,
    request: ContainerCreate,
    image: &Image,
    draft: &Path,
    new_volumes: &mut Vec<String>,
) -> Result<Record> {
    let id = new_id()?;
    let (config, mut host, mut networking_config) = complete(engine, request, image, &id)?;
    super::networks::complete(engine, &mut host, &mut networking_config)?;
    let inherited = inherited(engine, &host)?;
    let requests = mounts::plan(&config, &host, &inherited)?;
    let lowers = snapshot::lowers(&engine.images, image)?;
    let (upper, work) = (draft.join("upper"), draft.join("work"));
    snapshot::prepare(&lowers, &upper, &work)?;
    if let Some(size) = host.storage_opt.get("size") {
        quota::check(&upper)?;
        let bytes = settings::binary_size(size).and_then(|bytes| u64::try_from(bytes).ok());
        let bytes = bytes.ok_or_else(|| error::invalid(format!("invalid size: '{size}'")))?;
        quota::limit(&upper, &work, bytes)?;
    }
    let mut content = Content::of(engine, image);
    let mut points = Vec::with_capacity(requests.len());
    for request in requests {
        points.push(mount_point(&mut content, &host, &request, new_volumes)?);
    }
    record(engine, image, id, (config, host, networking_config), points)
}

/// Returns the record that a request would get, without making or changing anything: networks need not be there, and new
/// volumes have a place that is not there yet.
pub(super) fn propose(
    engine: &Engine,
    mut request: ContainerCreate,
    image: &Image,
    id: &str,
) -> Result<Record> {
    super::machine::discard_weights(&mut request.host_config.resources)?;
    let asked = complete(engine, request, image, id)?;
    let inherited = inherited(engine, &asked.1)?;
    let points = mounts::plan(&asked.0, &asked.1, &inherited)?
        .iter()
        .map(|request| proposed_point(engine, request))
        .collect::<Result<_>>()?;
    record(engine, image, id.to_owned(), asked, points)
}

fn proposed_point(engine: &Engine, request: &Request) -> Result<MountPoint> {
    let point = |kind: &str, source: String| point(request, kind, source);
    Ok(match &request.source {
        Source::Bind { path, create } => {
            check_source(path, *create)?;
            point("bind", path.clone())
        }
        Source::Tmpfs => point("tmpfs", String::new()),
        Source::Image(name) => image_point(engine, request, name)?,
        Source::AnonymousVolume => point("volume", "a new volume".to_owned()),
        Source::Volume(name) => {
            let options = engine
                .volumes
                .get(name)
                .ok()
                .and_then(|volume| volume.options);
            let data = engine.volumes.data(name);
            let source = crate::volume::device(options.as_ref()).unwrap_or(&data);
            point("volume", source.to_string_lossy().into_owned())
        }
    })
}

/// Returns what a request says of its mount, of which the kind and the source are known by now.
fn point(request: &Request, kind: &str, source: String) -> MountPoint {
    MountPoint {
        kind: kind.to_owned(),
        source,
        destination: request.target.clone(),
        mode: request.mode.clone(),
        rw: request.writable,
        propagation: request.propagation.clone(),
        ..MountPoint::default()
    }
}

fn check_source(path: &str, create: bool) -> Result<()> {
    if create || Path::new(path).symlink_metadata().is_ok() {
        return Ok(());
    }
    let why = format!("bind source path does not exist: {path}");
    Err(error::invalid(format!(
        "invalid mount config for type \"bind\": {why}"
    )))
}

/// An image is kept by its id: its name may move.
fn image_point(engine: &Engine, request: &Request, name: &str) -> Result<MountPoint> {
    let image = engine.images.resolve(name)?.image;
    Ok(MountPoint {
        name: name.to_owned(),
        ..point(request, "image", image.id.to_string())
    })
}

/// What a request says of a container, completed.
type Asked = (Config, HostConfig, NetworkingConfig);

/// Fails with `Invalid` for a parent that the driver of cgroups cannot take.
fn record(
    engine: &Engine,
    image: &Image,
    id: String,
    (config, host_config, networking_config): Asked,
    mounts: Vec<MountPoint>,
) -> Result<Record> {
    let record = Record {
        id,
        name: String::new(),
        created: Timestamp::now(),
        image: image.id.clone(),
        layers: image.layers().to_vec(),
        platform: image.config.os.clone(),
        config,
        host_config,
        networking_config,
        mounts,
        cgroup_driver: engine.settings()?.cgroup_driver(),
    };
    place::unit(&record)?;
    Ok(record)
}

/// Completes a request by the image's configuration and by defaults.
fn complete(engine: &Engine, request: ContainerCreate, image: &Image, id: &str) -> Result<Asked> {
    let defaults = image.config.config.clone().unwrap_or_default();
    let mut config = merge::with_image(request.config, &defaults)?;
    let mut host = request.host_config;
    if matches!(host.network_mode.as_str(), "" | "default") {
        DEFAULT_NETWORK.clone_into(&mut host.network_mode);
    }
    super::defaults::apply(engine.settings()?, &mut host)?;
    check::complete(&mut config, &mut host, &super::machine::limits())?;
    if config.hostname.is_empty() && host.uts_mode != "host" {
        config.hostname = match host.network_mode.as_str() {
            "host" => super::machine::hostname()?,
            mode if mode.starts_with("container:") => String::new(),
            _ => short(id).to_owned(),
        };
    }
    let mut networking_config = request.networking_config;
    // The client's word for the network that a container gets if it asks for none.
    if let Some(endpoint) = networking_config.endpoints_config.remove("default") {
        networking_config
            .endpoints_config
            .insert(DEFAULT_NETWORK.to_owned(), endpoint);
    }
    resolve_references(engine, &mut host)?;
    Ok((config, host, networking_config))
}

fn ports_warning(host: &HostConfig) -> Option<String> {
    let discarded = host.network_mode == "host" && !host.port_bindings.is_empty();
    let why = "Published ports are discarded when using host network mode";
    discarded.then(|| why.to_owned())
}

fn platform_warning(image: &Image) -> Option<String> {
    let (arch, _) = host_architecture();
    let theirs = image.config.architecture.as_str();
    if theirs.is_empty() || theirs == arch {
        return None;
    }
    Some(format!(
        "The requested image's platform ({}/{theirs}) does not match the detected host platform (linux/{arch}) \
         and no specific platform was requested",
        image.config.os
    ))
}

/// References to other containers are kept as ids: names may move.
fn resolve_references(engine: &Engine, host: &mut HostConfig) -> Result<()> {
    for (mode, is_network) in [
        (&mut host.network_mode, true),
        (&mut host.ipc_mode, false),
        (&mut host.pid_mode, false),
    ] {
        if is_network && matches!(mode.as_str(), "container" | "container:") {
            let why = "invalid network mode: invalid container format container:<name|id>";
            return Err(error::invalid(why));
        }
        if let Some(other) = mode.strip_prefix("container:") {
            let id = match engine.containers.resolve(other) {
                Err(error) if is_network => {
                    return Err(error.context("joining network namespace of container"));
                }
                found => found?,
            };
            *mode = format!("container:{id}");
        }
    }
    for link in host.links.iter_mut().flatten() {
        let (name, alias) = crate::monitor::network::links::parts(link);
        let found = engine.containers.resolve(name);
        let id = found.with_context(|| format!("could not get container for {name}"))?;
        *link = format!("{id}:{alias}");
    }
    Ok(())
}

fn insert(
    engine: &Engine,
    record: &mut Record,
    draft: &Path,
    name: Option<&str>,
) -> Result<Settling> {
    if let Some(name) = name {
        name.clone_into(&mut record.name);
        return engine.containers.insert(draft, record);
    }
    for attempt in 0..NAME_ATTEMPTS {
        record.name = names::generate(random()?, attempt);
        match engine.containers.insert(draft, record) {
            Err(error) if error::is(&error, error::Kind::Conflict) => {}
            inserted => return inserted,
        }
    }
    short(&record.id).clone_into(&mut record.name);
    engine.containers.insert(draft, record)
}

fn remove_namesake(engine: &Engine, name: &str) -> Result<()> {
    let Some(id) = engine.containers.owner(name)? else {
        return Ok(());
    };
    let options = RemoveOptions {
        force: true,
        volumes: false,
    };
    lifecycle::remove(engine, &id, options).with_context(|| format!("replace container {name}"))
}

fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .context("make a random number")?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Returns the mounts of `--volumes-from`.
fn inherited(engine: &Engine, host: &HostConfig) -> Result<Vec<MountPoint>> {
    let mut points = Vec::new();
    for text in host.volumes_from.iter().flatten() {
        let (name, mode) = text.split_once(':').unwrap_or((text, "rw"));
        if name.is_empty() {
            let why = "volumes-from specification cannot be an empty string";
            return Err(error::invalid(why));
        }
        if !matches!(mode, "ro" | "rw" | "z" | "Z") {
            return Err(error::invalid(format!("invalid mode: {mode}")));
        }
        for mut point in engine.container(name)?.record.mounts {
            point.rw &= mode != "ro";
            points.push(point);
        }
    }
    Ok(points)
}

/// The image's files, mounted when they are first asked for.
pub(super) struct Content<'a> {
    engine: &'a Engine,
    image: &'a Image,
    root: Option<Root>,
}

impl<'a> Content<'a> {
    /// Returns the files of an image; mounts nothing yet.
    pub(super) fn of(engine: &'a Engine, image: &'a Image) -> Content<'a> {
        Content {
            engine,
            image,
            root: None,
        }
    }

    /// Returns the directory at `target` in the image; nothing if there is none.
    ///
    /// The error is of kind `Invalid` if there is a file.
    fn directory(&mut self, target: &str) -> Result<Option<OwnedFd>> {
        let root = match self.root.take() {
            Some(root) => root,
            None => Root::from_dir(snapshot::mount_image(&self.engine.images, self.image)?),
        };
        let found = self.root.insert(root).handle(Path::new(target));
        let handle = match found {
            Ok(handle) => handle,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            Err(error) => {
                return Err(error).with_context(|| format!("look at {target} in the image"));
            }
        };
        let stat =
            rustix::fs::fstat(&handle).with_context(|| format!("look at {target} in the image"))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            let why = format!("cannot mount volume over existing file, file exists {target}");
            return Err(error::invalid(why));
        }
        Ok(Some(handle))
    }
}

/// Returns a mount as records have it; a volume that is not there yet is made, filled, and added to `new_volumes`.
pub(super) fn mount_point(
    content: &mut Content<'_>,
    host: &HostConfig,
    request: &Request,
    new_volumes: &mut Vec<String>,
) -> Result<MountPoint> {
    let point = |kind: &str, source: String| point(request, kind, source);
    let name = match &request.source {
        Source::Bind { path, create } => {
            check_source(path, *create)?;
            return Ok(point("bind", path.clone()));
        }
        Source::Tmpfs => return Ok(point("tmpfs", String::new())),
        Source::Image(name) => return image_point(content.engine, request, name),
        Source::Volume(name) => name.clone(),
        Source::AnonymousVolume => String::new(),
    };
    let driver = request.volume.driver_config.clone().unwrap_or_default();
    let asked = VolumeCreate {
        name,
        driver: if driver.name.is_empty() {
            host.volume_driver.clone()
        } else {
            driver.name
        },
        driver_opts: Some(driver.options),
        labels: Some(request.volume.labels.clone()).filter(|labels| !labels.is_empty()),
    };
    let (volume, new) = content.engine.volumes.create(&asked)?;
    if new {
        new_volumes.push(volume.name.clone());
    }
    let data = PathBuf::from(&volume.mountpoint);
    if request.copy && volume.options.is_none() {
        fill_volume(content, &volume.name, &data, &request.target)?;
    }
    let source = crate::volume::device(volume.options.as_ref())
        .unwrap_or(&data)
        .to_string_lossy()
        .into_owned();
    Ok(MountPoint {
        name: volume.name,
        driver: volume.driver,
        ..point("volume", source)
    })
}

/// Copies what the image has at `target` into a volume that is empty.
fn fill_volume(content: &mut Content<'_>, name: &str, data: &Path, target: &str) -> Result<()> {
    let _lock = content.engine.volumes.lock(name)?;
    let mut entries =
        std::fs::read_dir(data).with_context(|| format!("list {}", data.display()))?;
    if entries.next().is_some() {
        return Ok(());
    }
    let Some(source) = content.directory(target)? else {
        return Ok(());
    };
    copy(source, data).with_context(|| format!("copy {target} of the image into volume {name}"))
}

/// Copies a directory with all it has into an empty one.
fn copy(source: OwnedFd, target: &Path) -> Result<()> {
    let (reader, writer) = std::io::pipe().context("make a pipe")?;
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            let options = tarball::tree::Options {
                root: true,
                ..tarball::tree::Options::default()
            };
            tarball::pack::pack(
                source.as_fd(),
                options,
                &mut File::from(OwnedFd::from(writer)),
            )
        });
        let applied = apply::apply(reader, target, apply::Policy::RootFilesystem);
        let written = writing
            .join()
            .map_err(|_| anyhow::anyhow!("the reading thread has ended unexpectedly"))?;
        applied.and(written.map(drop))
    })
}
