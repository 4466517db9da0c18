//! Prunes: what nothing uses, and its removal.
//!
//! Each first decides, from what is on disk, what goes; then it either tells that, or removes it. A removal asks again
//! whether the thing is unused, under the locks that keep others from beginning to use it.

use std::collections::BTreeSet;

use anyhow::Result;

use super::filter::Filters;
use super::lifecycle::{self, RemoveOptions};
use super::{Engine, images, networks, repair, usage, volumes};
use crate::container::{Container, Phase};
use crate::docker::network::Network;
use crate::docker::system::Volume;
use crate::image::remove::{Proposal, Removal};
use crate::image::{Image, gc, remove};
use crate::network::record;
use crate::{error, event, volume};

/// Something that a prune takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// The id of a container or network, the name of a volume.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Bytes of its files.
    pub bytes: u64,
}

/// What a prune has removed.
#[derive(Clone, Debug, Default)]
pub struct Pruned {
    /// Names or ids.
    pub removed: Vec<String>,
    /// Bytes of files.
    pub bytes: u64,
}

/// Ids of containers that are looked upon as gone: what a prune of everything has removed by the time it comes to images.
pub type Gone = BTreeSet<String>;

/// Which objects a prune may take.
#[derive(Debug)]
struct Conditions<'a> {
    filters: &'a Filters,
    /// Only what was made before, in seconds since 1970.
    until: Option<i64>,
}

impl Conditions<'_> {
    fn read<'a>(filters: &'a Filters, known: &[&str]) -> Result<Conditions<'a>> {
        filters.check(known)?;
        let until = filters.values("until").map(images::until);
        let until = until.collect::<Result<Vec<_>>>()?.into_iter().min();
        Ok(Conditions { filters, until })
    }

    fn fit(&self, labels: &std::collections::BTreeMap<String, String>, created: i64) -> bool {
        self.until.is_none_or(|until| created < until)
            && self.filters.labels("label", labels)
            && (!self.filters.has("label!") || !self.filters.labels("label!", labels))
    }
}

fn container_goes(container: &Container, conditions: &Conditions<'_>) -> bool {
    let record = &container.record;
    matches!(container.status.phase, Phase::Created | Phase::Exited)
        && conditions.fit(&record.config.labels, record.created.as_second())
}

fn volume_goes(volume: &Volume, used: bool, all: bool, conditions: &Conditions<'_>) -> bool {
    let labels = volume.labels.clone().unwrap_or_default();
    !used && (all || volume::is_anonymous(volume)) && conditions.fit(&labels, 0)
}

fn network_goes(document: &Network, used: bool, conditions: &Conditions<'_>) -> bool {
    // Of one whose time cannot be read nobody knows whether it is old enough.
    let created = document.created.parse::<jiff::Timestamp>();
    let created = created.map_or(i64::MAX, jiff::Timestamp::as_second);
    let stays = used || document.config_only || record::is_predefined(&document.name);
    !stays && conditions.fit(&document.labels, created)
}

/// Returns the containers that a prune takes: those that do not run.
pub fn stopped_containers(engine: &Engine, filters: &Filters) -> Result<Vec<Candidate>> {
    let conditions = Conditions::read(filters, &["label", "label!", "until"])?;
    let containers = repair::containers(engine, engine.containers.list()?)?;
    let going = containers
        .into_iter()
        .filter(|container| container_goes(container, &conditions));
    let candidates = going.map(|container| {
        let id = container.record.id;
        Candidate {
            bytes: usage::of_directory(&engine.dirs.container(&id).join("upper")),
            name: container.record.name,
            id,
        }
    });
    Ok(candidates.collect())
}

/// Removes the containers that do not run.
pub fn containers(engine: &Engine, filters: &Filters) -> Result<Pruned> {
    let candidates = stopped_containers(engine, filters)?;
    let pruned = each(candidates, |container| {
        lifecycle::remove(engine, &container.id, RemoveOptions::default())
    })?;
    // What a removal that was killed has left as well.
    repair::run_directories(engine)?;
    gc::empty_trash(&engine.images)?;
    report(engine, "container", pruned.bytes);
    Ok(pruned)
}

/// Returns the volumes that a prune takes: those without a name of their own that no container but those in `gone` has, or
/// with the filter `all` any.
pub fn unused_volumes(engine: &Engine, filters: &Filters, gone: &Gone) -> Result<Vec<Candidate>> {
    let conditions = Conditions::read(filters, &["all", "label", "label!"])?;
    let all = filters.flag("all").map_err(|error| {
        if filters.values("all").count() > 1 {
            return error;
        }
        let value: String = filters.values("all").collect();
        let why = "invalid syntax";
        error::invalid(format!(
            "invalid filter 'all': strconv.ParseBool: parsing {value:?}: {why}"
        ))
    })?;
    let all = all.unwrap_or(false);
    let containers = engine.containers.list()?;
    let mounts = (containers.iter())
        .filter(|container| !gone.contains(&container.record.id))
        .flat_map(|container| &container.record.mounts);
    let used: BTreeSet<&str> = mounts
        .filter(|mount| mount.kind == "volume")
        .map(|mount| mount.name.as_str())
        .collect();
    let mut candidates = Vec::new();
    for volume in engine.volumes.list()? {
        if volume_goes(
            &volume,
            used.contains(volume.name.as_str()),
            all,
            &conditions,
        ) {
            candidates.push(Candidate {
                bytes: volumes::bytes(engine, &volume),
                id: volume.name.clone(),
                name: volume.name,
            });
        }
    }
    Ok(candidates)
}

/// Removes the volumes that no container uses: those without a name of their own, or with the filter `all` any.
pub fn volumes(engine: &Engine, filters: &Filters) -> Result<Pruned> {
    let candidates = unused_volumes(engine, filters, &Gone::new())?;
    let pruned = each(candidates, |volume| {
        volumes::remove(engine, &volume.id, false)
    })?;
    report(engine, "volume", pruned.bytes);
    Ok(pruned)
}

/// Returns the networks that a prune takes: those that no running container is in.
pub fn unused_networks(engine: &Engine, filters: &Filters) -> Result<Vec<Candidate>> {
    let conditions = Conditions::read(filters, &["label", "label!", "until"])?;
    let members = networks::members(engine)?;
    let mut candidates = Vec::new();
    for network in engine.networks()?.list()? {
        let used = !networks::containers_of(&network, &members).is_empty();
        if network_goes(&network.document, used, &conditions) {
            candidates.push(Candidate {
                id: network.document.id,
                name: network.document.name,
                bytes: 0,
            });
        }
    }
    Ok(candidates)
}

/// Removes the networks that no running container is in; returns their names.
pub fn networks(engine: &Engine, filters: &Filters) -> Result<Vec<String>> {
    let candidates = unused_networks(engine, filters)?;
    // What is told of a network is its name.
    let named = candidates.into_iter().map(|network| Candidate {
        id: network.name.clone(),
        ..network
    });
    let pruned = each(named.collect(), |network| {
        networks::remove(engine, &network.id, false).map(drop)
    })?;
    report(engine, "network", pruned.bytes);
    Ok(pruned.removed)
}

/// Returns whether a prune takes images with names too, and which it may take, besides that no container has them.
fn of_images(all: bool, filters: &Filters) -> Result<(bool, impl Fn(&Image) -> bool)> {
    let conditions = Conditions::read(filters, &["dangling", "label", "label!", "until"])?;
    let all = all || filters.flag("dangling")? == Some(false);
    let wanted = move |image: &Image| {
        let config = image.config.config.as_ref();
        let labels = config.and_then(|config| config.labels.clone());
        conditions.fit(&labels.unwrap_or_default(), image.created_seconds())
    };
    Ok((all, wanted))
}

/// Returns what a prune of images would do, if the containers in `gone` were not there; see [`images()`].
pub fn unused_images(
    engine: &Engine,
    all: bool,
    filters: &Filters,
    gone: &Gone,
) -> Result<Proposal> {
    let (all, wanted) = of_images(all, filters)?;
    remove::propose_prune(&engine.images, all, &wanted, &mut || {
        let mut uses = images::uses(engine)?;
        uses.retain(|user| !gone.contains(&user.container));
        Ok(uses)
    })
}

/// Removes the images that have no name, or with `all` those that no container uses.
pub fn images(engine: &Engine, all: bool, filters: &Filters) -> Result<Removal> {
    let (all, wanted) = of_images(all, filters)?;
    let mut removal = remove::prune(&engine.images, all, &wanted, &mut || images::uses(engine))?;
    // Layers of a commit, an import or a load that was killed belong to no image.
    let in_use = || {
        Ok(images::uses(engine)?
            .into_iter()
            .map(|user| user.image)
            .collect())
    };
    removal.reclaimed += gc::collect(&engine.images, &mut { in_use })?.size;
    images::finish(engine, &removal)?;
    report(engine, "image", removal.reclaimed);
    Ok(removal)
}

/// Removes one after the other; what somebody has begun to use, or has removed, since it was looked at, is left out.
fn each(
    candidates: Vec<Candidate>,
    mut remove: impl FnMut(&Candidate) -> Result<()>,
) -> Result<Pruned> {
    let mut pruned = Pruned::default();
    for candidate in candidates {
        match remove(&candidate) {
            Ok(()) => {
                pruned.bytes += candidate.bytes;
                pruned.removed.push(candidate.id);
            }
            Err(error) if error::kind(&error).is_some() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(pruned)
}

/// Tells of a prune, and how much room it has made.
fn report(engine: &Engine, kind: &str, bytes: u64) {
    let reclaimed = [("reclaimed".to_owned(), bytes.to_string())].into();
    event::record(&engine.dirs, kind, "prune", "", reclaimed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(filters: &Filters) -> Conditions<'_> {
        Conditions::read(filters, &["label", "label!", "until"]).unwrap()
    }

    fn filters(given: &[(&str, &str)]) -> Filters {
        let mut filters = Filters::default();
        for (key, value) in given {
            filters.add(key, value);
        }
        filters
    }

    #[test]
    fn conditions_are_on_labels_and_age() {
        let labels = [("keep".to_owned(), "1".to_owned())].into();
        for (given, expected) in [
            (&[][..], true),
            (&[("label", "keep")], true),
            (&[("label", "keep=2")], false),
            (&[("label!", "keep")], false),
            (&[("label!", "other")], true),
            (&[("until", "101")], true),
            (&[("until", "100")], false),
            (&[("until", "101"), ("until", "50")], false),
        ] {
            let filters = filters(given);
            assert_eq!(
                conditions(&filters).fit(&labels, 100),
                expected,
                "{given:?}"
            );
        }
    }

    #[test]
    fn networks_in_use_and_dockers_own_stay() {
        let none = Filters::default();
        let network = |name: &str, created: &str| Network {
            name: name.to_owned(),
            created: created.to_owned(),
            ..Network::default()
        };
        let old = "2020-01-01T00:00:00Z";
        assert!(network_goes(
            &network("mine", old),
            false,
            &conditions(&none)
        ));
        assert!(!network_goes(
            &network("mine", old),
            true,
            &conditions(&none)
        ));
        assert!(!network_goes(
            &network("bridge", old),
            false,
            &conditions(&none)
        ));
        let until = filters(&[("until", "1700000000")]);
        assert!(network_goes(
            &network("mine", old),
            false,
            &conditions(&until)
        ));
        assert!(!network_goes(
            &network("mine", "?"),
            false,
            &conditions(&until)
        ));
    }

    #[test]
    fn named_volumes_go_on_request_only() {
        let none = Filters::default();
        let named = Volume::default();
        let mut anonymous = Volume::default();
        let label = volume::ANONYMOUS_LABEL.to_owned();
        anonymous.labels = Some([(label, String::new())].into());
        let goes = |volume: &Volume, used, all| volume_goes(volume, used, all, &conditions(&none));
        assert!(goes(&anonymous, false, false));
        assert!(!goes(&anonymous, true, true));
        assert!(!goes(&named, false, false));
        assert!(goes(&named, false, true));
    }
}
