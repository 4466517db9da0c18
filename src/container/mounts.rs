//! What is to be mounted into a container: `-v` texts and long forms, checked and put in docker's order.
//!
//! Pure: sources are not looked at here. The engine makes the volumes that are asked for, and [`super::spec`] turns the
//! result into mounts of the runtime configuration.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::idmap;
use crate::docker::container::{
    BindOptions, Config, HostConfig, ImageOptions, Mount, VolumeOptions,
};
use crate::docker::inspect::MountPoint;
use crate::error;

/// Where the content of a mount comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A path of the host; `create` makes a missing directory.
    Bind {
        /// Absolute.
        path: String,
        /// Whether a missing source is made.
        create: bool,
    },
    /// A named volume.
    Volume(String),
    /// A new volume without a name of its own.
    AnonymousVolume,
    /// A tmpfs.
    Tmpfs,
    /// The content of an image, by its name or id, read-only.
    Image(String),
}

/// One mount to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where its content comes from.
    pub source: Source,
    /// Absolute and clean path in the container.
    pub target: String,
    /// Whether it can be written.
    pub writable: bool,
    /// The options as they were written, for documents.
    pub mode: String,
    /// `rprivate` and so on; empty for what is no bind.
    pub propagation: String,
    /// Whether an empty volume gets the image's content.
    pub copy: bool,
    /// Of a volume that is made.
    pub volume: VolumeOptions,
}

/// Returns all mounts of a new container in docker's order: those of other containers, `-v`, long forms, image volumes.
///
/// `inherited` are the mounts of `--volumes-from`, already filtered to read-only where that was asked. Errors are of kind
/// `Invalid`.
pub fn plan(config: &Config, host: &HostConfig, inherited: &[MountPoint]) -> Result<Vec<Request>> {
    let mut requests: BTreeMap<String, Request> = BTreeMap::new();
    for mount in inherited {
        requests.insert(mount.destination.clone(), from_other(mount));
    }
    let mut explicit: BTreeSet<String> = host.tmpfs.keys().map(|target| clean(target)).collect();
    let binds = host.binds.iter().flatten().map(|bind| parse_bind(bind));
    for request in binds.chain(host.mounts.iter().map(check_mount)) {
        let request = request?;
        if !explicit.insert(request.target.clone()) {
            return Err(error::invalid(format!(
                "Duplicate mount point: {}",
                request.target
            )));
        }
        requests.insert(request.target.clone(), request);
    }
    for target in config.volumes.iter().flat_map(BTreeMap::keys) {
        let request = parse_bind(target)?;
        if !explicit.contains(&request.target) {
            requests.entry(request.target.clone()).or_insert(request);
        }
    }
    Ok(requests.into_values().collect())
}

/// Returns the same mount for another container: of its options those that are not shown otherwise.
fn from_other(mount: &MountPoint) -> Request {
    let mut options = mount.mode.split(',');
    let id_map = options.find(|option| idmap::asked([*option]).is_some());
    let source = match mount.kind.as_str() {
        "volume" => Source::Volume(mount.name.clone()),
        "tmpfs" => Source::Tmpfs,
        "image" => Source::Image(mount.source.clone()),
        _ => Source::Bind {
            path: mount.source.clone(),
            create: false,
        },
    };
    Request {
        source,
        target: mount.destination.clone(),
        writable: mount.rw,
        mode: id_map.unwrap_or_default().to_owned(),
        propagation: mount.propagation.clone(),
        copy: false,
        volume: VolumeOptions::default(),
    }
}

/// Reads `[source:]target[:options]`.
pub fn parse_bind(raw: &str) -> Result<Request> {
    let malformed = || error::invalid(format!("invalid volume specification: '{raw}'"));
    let parts: Vec<&str> = raw.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [target] => ("", target, ""),
        [source, target] if parse_mode(target).is_none() => (source, target, ""),
        [source, target, mode] => (source, target, mode),
        _ => return Err(malformed()),
    };
    if target.is_empty() || (parts.len() > 1 && source.is_empty()) {
        return Err(malformed());
    }
    let options =
        parse_mode(mode).ok_or_else(|| error::invalid(format!("invalid mode: {mode}")))?;
    check_id_map(idmap::asked(mode.split(',')))?;
    let is_bind = source.starts_with('/');
    let kind = if is_bind { "bind" } else { "volume" };
    check_target(target)
        .map_err(|error| error::invalid(format!("{}: {}", malformed(), in_config(kind, &error))))?;
    let misplaced = match is_bind {
        true if options.no_copy => Some("VolumeOptions"),
        false if !options.propagation.is_empty() => Some("BindOptions"),
        _ => None,
    };
    if let Some(options) = misplaced {
        let why = error::invalid(format!("field {options} must not be specified"));
        let why = in_config(kind, &why);
        return Err(error::invalid(format!("{}: {why}", malformed())));
    }
    let source = match (is_bind, source.is_empty()) {
        (true, _) => Source::Bind {
            path: clean(source),
            create: true,
        },
        (false, true) => Source::AnonymousVolume,
        (false, false) => Source::Volume(source.to_owned()),
    };
    let shown = if matches!(source, Source::Volume(_)) && mode.is_empty() {
        "z"
    } else {
        mode
    };
    Ok(Request {
        target: clean(target),
        writable: options.writable,
        mode: shown.to_owned(),
        propagation: propagation(is_bind, options.propagation),
        copy: !is_bind && !options.no_copy,
        volume: VolumeOptions::default(),
        source,
    })
}

fn propagation(is_bind: bool, asked: &str) -> String {
    match (is_bind, asked) {
        (false, _) => String::new(),
        (true, "") => "rprivate".to_owned(),
        (true, asked) => asked.to_owned(),
    }
}

const PROPAGATIONS: [&str; 6] = [
    "private", "rprivate", "shared", "rshared", "slave", "rslave",
];

struct Mode<'a> {
    writable: bool,
    no_copy: bool,
    propagation: &'a str,
}

/// Reads the options of `-v`; nothing if one is unknown or given twice.
fn parse_mode(text: &str) -> Option<Mode<'_>> {
    let mut mode = Mode {
        writable: true,
        no_copy: false,
        propagation: "",
    };
    let mut seen = BTreeSet::new();
    for word in text.split(',').filter(|_| !text.is_empty()) {
        let group = match word {
            "ro" | "rw" => {
                mode.writable = word == "rw";
                "access"
            }
            "nocopy" => {
                mode.no_copy = true;
                "copy"
            }
            // There is no SELinux label to share or own where this runs without SELinux, and docker ignores them there too.
            "z" | "Z" => "label",
            word if PROPAGATIONS.contains(&word) => {
                mode.propagation = word;
                "propagation"
            }
            "consistent" | "cached" | "delegated" | "default" => "consistency",
            word if idmap::asked([word]).is_some() => "idmap",
            _ => return None,
        };
        if !seen.insert(group) {
            return None;
        }
    }
    Some(mode)
}

/// Checks a mount of the long form.
pub fn check_mount(mount: &Mount) -> Result<Request> {
    let refuse = |why: String| error::invalid(in_config(&mount.kind, &error::invalid(why)));
    let needs = |name: &str, present: bool| -> Result<()> {
        if present {
            Ok(())
        } else {
            Err(refuse(format!("field {name} must not be empty")))
        }
    };
    let excludes = |name: &str, present: bool| -> Result<()> {
        if present {
            Err(refuse(format!("field {name} must not be specified")))
        } else {
            Ok(())
        }
    };
    needs("Target", !mount.target.is_empty())?;
    check_target(&mount.target).map_err(|error| refuse(error.to_string()))?;
    for (options, kind, given) in [
        ("BindOptions", "bind", mount.bind_options.is_some()),
        ("ImageOptions", "image", mount.image_options.is_some()),
        ("VolumeOptions", "volume", mount.volume_options.is_some()),
        ("TmpfsOptions", "tmpfs", mount.tmpfs_options.is_some()),
    ] {
        excludes(options, given && mount.kind != kind)?;
    }
    let bind: BindOptions = mount.bind_options.clone().unwrap_or_default();
    check_id_map(bind.id_map.as_deref())?;
    let volume = mount.volume_options.clone().unwrap_or_default();
    let image = mount.image_options.clone().unwrap_or_default();
    check_paths(&bind, &volume, &image).map_err(|error| refuse(error.to_string()))?;
    let (source, mode) = match mount.kind.as_str() {
        "bind" => {
            needs("Source", !mount.source.is_empty())?;
            if !mount.source.starts_with('/') {
                let why = format!(
                    "invalid mount path: '{}' mount path must be absolute",
                    mount.source
                );
                return Err(refuse(why));
            }
            (
                Source::Bind {
                    path: clean(&mount.source),
                    create: bind.create_mountpoint,
                },
                "",
            )
        }
        "volume" if mount.source.is_empty() => {
            if mount.read_only {
                return Err(refuse(
                    "must not set ReadOnly mode when using anonymous volumes".to_owned(),
                ));
            }
            (Source::AnonymousVolume, "")
        }
        "volume" => (Source::Volume(mount.source.clone()), "z"),
        "tmpfs" => {
            excludes("Source", !mount.source.is_empty())?;
            (Source::Tmpfs, "")
        }
        "image" => {
            needs("Source", !mount.source.is_empty())?;
            (Source::Image(mount.source.clone()), "")
        }
        _ => return Err(refuse("mount type unknown".to_owned())),
    };
    Ok(Request {
        source,
        target: clean(&mount.target),
        writable: !mount.read_only && mount.kind != "image",
        mode: mode.to_owned(),
        propagation: propagation(mount.kind == "bind", &bind.propagation),
        copy: mount.kind == "volume" && !volume.no_copy,
        volume,
    })
}

/// An id map without ranges is made when it is known whom it is for.
fn check_id_map(ranges: Option<&str>) -> Result<()> {
    match ranges {
        None | Some("") => Ok(()),
        Some(ranges) => idmap::parse(ranges).map(drop),
    }
}

/// Refuses a path that does not lead down from where it begins, by its text alone; the empty one does.
fn check_subpath(path: &str, whole: &str) -> Result<()> {
    let mut depth = 0_i32;
    let refuse = || {
        error::invalid(format!(
            "subpath must be a relative path within the {whole}"
        ))
    };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 || path.starts_with('/') {
            return Err(refuse());
        }
    }
    Ok(())
}

fn check_paths(bind: &BindOptions, volume: &VolumeOptions, image: &ImageOptions) -> Result<()> {
    check_propagation(&bind.propagation)?;
    check_subpath(&image.subpath, "image")?;
    check_subpath(&volume.subpath, "volume")
}

fn check_propagation(text: &str) -> Result<()> {
    if text.is_empty() || PROPAGATIONS.contains(&text) {
        return Ok(());
    }
    Err(error::invalid(format!("invalid propagation mode: {text}")))
}

fn in_config(kind: &str, error: &anyhow::Error) -> String {
    format!("invalid mount config for type \"{kind}\": {error}")
}

/// Refuses places where nothing can be mounted; the error is of kind `Invalid`.
pub fn check_target(target: &str) -> Result<()> {
    if !target.starts_with('/') {
        return Err(error::invalid(format!(
            "invalid mount path: '{target}' mount path must be absolute"
        )));
    }
    if clean(target) == "/" {
        return Err(error::invalid(
            "invalid specification: destination can't be '/'",
        ));
    }
    Ok(())
}

/// Returns an absolute path without `.`, `..` and repeated slashes, by its text alone.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::image::Empty;

    fn check(raw: &str, source: Source, target: &str, writable: bool, mode: &str) {
        let request = parse_bind(raw).unwrap();
        let found = (
            request.source,
            request.target.as_str(),
            request.writable,
            request.mode.as_str(),
        );
        assert_eq!(found, (source, target, writable, mode), "{raw}");
    }

    fn bind(path: &str) -> Source {
        Source::Bind {
            path: path.to_owned(),
            create: true,
        }
    }

    #[test]
    fn short_forms_are_read_as_docker_reads_them() {
        check("/data", Source::AnonymousVolume, "/data", true, "");
        check(
            "name:/data",
            Source::Volume("name".into()),
            "/data",
            true,
            "z",
        );
        check(
            "name:/data:ro",
            Source::Volume("name".into()),
            "/data",
            false,
            "ro",
        );
        check(
            "name:/data:nocopy",
            Source::Volume("name".into()),
            "/data",
            true,
            "nocopy",
        );
        check("/a/../b:/c/", bind("/b"), "/c", true, "");
        check("/a:/c:ro,z,rslave", bind("/a"), "/c", false, "ro,z,rslave");
        assert_eq!(parse_bind("/a:/c:rslave").unwrap().propagation, "rslave");
        assert_eq!(parse_bind("/a:/c").unwrap().propagation, "rprivate");
        assert!(!parse_bind("v:/c:nocopy").unwrap().copy);
    }

    #[test]
    fn malformed_short_forms_have_dockers_texts() {
        let config = "invalid mount config for type \"bind\"";
        for (raw, text) in [
            (
                "a:b:c:d",
                "invalid volume specification: 'a:b:c:d'".to_owned(),
            ),
            (":/x", "invalid volume specification: ':/x'".to_owned()),
            ("/x:ro", "invalid volume specification: '/x:ro'".to_owned()),
            (
                "/x:rel",
                format!(
                    "invalid volume specification: '/x:rel': {config}: invalid mount path: 'rel' mount path must be absolute"
                ),
            ),
            (
                "/x:/",
                format!(
                    "invalid volume specification: '/x:/': {config}: invalid specification: destination can't be '/'"
                ),
            ),
            ("/x:/y:wat", "invalid mode: wat".to_owned()),
            ("/x:/y:ro,rw", "invalid mode: ro,rw".to_owned()),
        ] {
            assert_eq!(parse_bind(raw).unwrap_err().to_string(), text, "{raw}");
        }
    }

    #[test]
    fn long_forms_are_checked() {
        let mount = |kind: &str, source: &str, target: &str| Mount {
            kind: kind.into(),
            source: source.into(),
            target: target.into(),
            ..Mount::default()
        };
        for (mount, text) in [
            (
                mount("nosuch", "", "/t"),
                "invalid mount config for type \"nosuch\": mount type unknown",
            ),
            (
                mount("bind", "", "/t"),
                "invalid mount config for type \"bind\": field Source must not be empty",
            ),
            (
                mount("volume", "", ""),
                "invalid mount config for type \"volume\": field Target must not be empty",
            ),
            (
                mount("tmpfs", "x", "/t"),
                "invalid mount config for type \"tmpfs\": field Source must not be specified",
            ),
        ] {
            assert_eq!(check_mount(&mount).unwrap_err().to_string(), text);
        }
        assert_eq!(
            check_mount(&mount("volume", "", "/t")).unwrap().source,
            Source::AnonymousVolume
        );
    }

    #[test]
    fn explicit_mounts_win_over_image_volumes_and_must_not_repeat() {
        let config = Config {
            volumes: Some(BTreeMap::from([
                ("/data".into(), Empty {}),
                ("/log".into(), Empty {}),
            ])),
            ..Config::default()
        };
        let host = HostConfig {
            binds: Some(vec!["/src:/data".into()]),
            tmpfs: BTreeMap::from([("/log".into(), String::new())]),
            ..HostConfig::default()
        };
        let requests = plan(&config, &host, &[]).unwrap();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].source, bind("/src"));
        let twice = HostConfig {
            binds: Some(vec!["a:/x".into(), "b:/x/".into()]),
            ..HostConfig::default()
        };
        assert_eq!(
            plan(&config, &twice, &[]).unwrap_err().to_string(),
            "Duplicate mount point: /x"
        );
    }

    #[test]
    fn paths_are_cleaned_by_their_text() {
        for (path, expected) in [
            ("/", "/"),
            ("//a/./b/../c/", "/a/c"),
            ("/../..", "/"),
            ("a", "/a"),
        ] {
            assert_eq!(clean(path), expected);
        }
    }
}
