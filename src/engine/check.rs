//! Whether everything below the two roots is as it should be, and what a repair does about what is not.
//!
//! The image store is looked at by [`crate::image::check`]; here are containers, their names and volumes, and what
//! operations that ended too early have left. Leftovers and garbage are no damage: the store is meant to be killed at any
//! moment, and the next collection takes them; they are counted, and a repair collects them at once.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use oci_spec::image::Digest;

use super::{Engine, repair, usage};
use crate::container::{Container, short};
use crate::image::layers::heal;
use crate::image::{check as image_check, gc};
use crate::{error, store};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Of what: `image busybox:latest`, `container web`.
    pub subject: String,
    /// What is wrong with it.
    pub what: String,
    /// What became of it, or is to be done.
    pub outcome: Outcome,
    cure: Cure,
}

/// What became of a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A repair would set it right.
    Repairable,
    /// It was set right; says how.
    Repaired(String),
    /// It stays; says what the user can do, or why.
    Stays(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cure {
    Image(image_check::Cure),
    /// Frees a name that leads nowhere.
    FreeName(String),
    /// Gives a container its name back.
    Link {
        name: String,
        id: String,
    },
    /// Moves a directory that no command can read to where nothing is in its way.
    PutAside(PathBuf),
    None(&'static str),
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Images.
    pub images: usize,
    /// Layers.
    pub layers: usize,
    /// Containers.
    pub containers: usize,
    /// Volumes.
    pub volumes: usize,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What nobody needs any more.
    pub leftovers: Leftovers,
}

/// What nobody needs any more: no damage, and collected by the next removal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// How many layers, blobs and directories.
    pub count: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Whether they have just been collected.
    pub collected: bool,
}

impl Report {
    /// Returns whether nothing is wrong, or nothing any more.
    pub fn is_sound(&self) -> bool {
        self.problems
            .iter()
            .all(|problem| matches!(problem.outcome, Outcome::Repaired(_)))
    }
}

/// How to check.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckOptions {
    /// Whether all data is read and compared with its digests. Default: false.
    pub deep: bool,
    /// Whether what is wrong is set right. Default: false.
    pub repair: bool,
}

/// Looks at everything; with [`CheckOptions::repair`] it also sets right what can be.
pub fn check(engine: &Engine, options: CheckOptions) -> Result<Report> {
    let mut report = Report::default();
    let found = image_check::check(&engine.images, options.deep)?;
    (report.images, report.layers) = (found.images, found.layers);
    for problem in found.problems {
        report.problems.push(new(
            problem.subject,
            problem.what,
            Cure::Image(problem.cure),
        ));
    }
    let containers = containers(engine, &mut report)?;
    names(engine, &containers, &mut report)?;
    volumes(engine, &mut report)?;
    if options.repair {
        let busy = busy(&containers);
        for problem in &mut report.problems {
            problem.outcome = cure(engine, &problem.cure, &busy);
        }
        // What is sound now shall outlive a power cut.
        heal::sync(&engine.images)?;
    }
    report.leftovers = leftovers(engine, options.repair)?;
    Ok(report)
}

fn new(subject: String, what: String, cure: Cure) -> Problem {
    let outcome = match &cure {
        Cure::Image(image_check::Cure::Advice(advice)) | Cure::None(advice) => {
            Outcome::Stays((*advice).to_owned())
        }
        _ => Outcome::Repairable,
    };
    Problem {
        subject,
        what,
        outcome,
        cure,
    }
}

/// Looks at each container; returns those that can be read, with what crashes have left of them repaired as always.
fn containers(engine: &Engine, report: &mut Report) -> Result<Vec<Container>> {
    let mut readable = Vec::new();
    for path in entries(&engine.dirs.containers())? {
        report.containers += 1;
        let id = name_of(&path);
        match engine.containers.get(&id) {
            Ok(container) => readable.push(container),
            // It was removed while this looked.
            Err(_) if !path.exists() => report.containers -= 1,
            Err(error) => report.problems.push(new(
                format!("container {}", short(&id)),
                format!("its record cannot be read: {}", error::line(&error)),
                Cure::PutAside(path),
            )),
        }
    }
    let readable = repair::containers(engine, readable)?;
    for container in &readable {
        let record = &container.record;
        let missing = |layer: &&Digest| !crate::image::layers::contains(&engine.images, layer);
        if let Some(layer) = record.layers.iter().find(missing) {
            report.problems.push(new(
                format!("container {}", record.name),
                format!("its layer {layer} is missing or damaged"),
                Cure::None("pull or load its image again"),
            ));
        }
        for mount in record.mounts.iter().filter(|mount| mount.kind == "volume") {
            if engine.volumes.get(&mount.name).is_err() {
                report.problems.push(new(
                    format!("container {}", record.name),
                    format!("its volume {} is missing", mount.name),
                    Cure::None(
                        "make one of that name with aril volume create, or remove the container",
                    ),
                ));
            }
        }
    }
    Ok(readable)
}

/// Looks whether names and containers belong together.
fn names(engine: &Engine, containers: &[Container], report: &mut Report) -> Result<()> {
    let mut linked = HashSet::new();
    for path in entries(&engine.dirs.names())? {
        let name = name_of(&path);
        let id = std::fs::read_link(&path)
            .map(|target| name_of(&target))
            .unwrap_or_default();
        let owner = containers
            .iter()
            .find(|container| container.record.id == id);
        if owner.is_some_and(|owner| owner.record.name == name) {
            linked.insert(id);
        } else {
            report.problems.push(new(
                format!("name {name}"),
                "it leads to no container".to_owned(),
                Cure::FreeName(name),
            ));
        }
    }
    for container in containers {
        let record = &container.record;
        if !linked.contains(&record.id) {
            report.problems.push(new(
                format!("container {}", record.name),
                "its name does not lead to it".to_owned(),
                Cure::Link {
                    name: record.name.clone(),
                    id: record.id.clone(),
                },
            ));
        }
    }
    Ok(())
}

fn volumes(engine: &Engine, report: &mut Report) -> Result<()> {
    for path in entries(&engine.dirs.volumes())? {
        report.volumes += 1;
        let name = name_of(&path);
        if let Err(error) = engine.volumes.get(&name)
            && path.exists()
        {
            report.problems.push(new(
                format!("volume {name}"),
                format!("its record cannot be read: {}", error::line(&error)),
                Cure::PutAside(path),
            ));
        }
    }
    Ok(())
}

/// The layers that containers which have processes are made of.
fn busy(containers: &[Container]) -> Vec<Digest> {
    let running = containers
        .iter()
        .filter(|container| container.status.phase.needs_monitor());
    running
        .flat_map(|container| container.record.layers.iter().cloned())
        .collect()
}

fn cure(engine: &Engine, cure: &Cure, busy: &[Digest]) -> Outcome {
    let done = match cure {
        Cure::None(advice) | Cure::Image(image_check::Cure::Advice(advice)) => {
            return Outcome::Stays((*advice).to_owned());
        }
        Cure::Image(cure) => image_check::repair(&engine.images, cure, busy)
            .map(|done| done.unwrap_or_default().to_owned()),
        Cure::FreeName(name) => engine
            .containers
            .free_name(name)
            .map(|()| "it is free again".to_owned()),
        Cure::Link { name, id } => engine
            .containers
            .restore_name(name, id)
            .map(|()| "the name leads to it again".to_owned()),
        Cure::PutAside(path) => {
            put_aside(engine, path).map(|place| format!("put aside as {}", place.display()))
        }
    };
    match done {
        Ok(done) => Outcome::Repaired(done),
        Err(error) => Outcome::Stays(match error::hint(&error) {
            Some(hint) => format!("{}; {hint}", error::line(&error)),
            None => error::line(&error),
        }),
    }
}

fn put_aside(engine: &Engine, path: &Path) -> Result<PathBuf> {
    let damaged = engine.dirs.damaged();
    std::fs::create_dir_all(&damaged).with_context(|| format!("make {}", damaged.display()))?;
    store::discard(path, &damaged)
}

/// Counts what nobody needs, and collects it if `collect` says so.
fn leftovers(engine: &Engine, collect: bool) -> Result<Leftovers> {
    let used = || -> Result<Vec<Digest>> {
        let containers = engine.containers.list()?;
        Ok(containers
            .iter()
            .flat_map(|container| container.record.images())
            .collect())
    };
    let garbage = gc::garbage(&engine.images, &used()?)?;
    let mut found = Leftovers {
        count: garbage.layers.len() + garbage.tops.len() + garbage.blobs.len(),
        bytes: 0,
        collected: collect,
    };
    let layers = garbage.layers.iter().map(|name| engine.dirs.layer(name));
    for path in layers.chain(garbage.tops) {
        found.bytes += usage::of_directory(&path);
    }
    for digest in &garbage.blobs {
        found.bytes += crate::image::blobs::size(&engine.images, digest).unwrap_or_default();
    }
    for path in entries(&engine.dirs.trash())? {
        found.count += 1;
        found.bytes += usage::of_path(&path);
    }
    if collect {
        gc::collect(&engine.images, &mut || used())?;
        gc::empty_trash(&engine.images)?;
    }
    Ok(found)
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Returns what is in a directory, sorted; hidden names are drafts.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("list {}", dir.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if !name_of(&path).starts_with('.') {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
