//! docker's rules for `rmi` and `image prune`, on a table in memory: what loses a name, what is deleted, and what is in the way.
//! Pure.

use std::collections::HashSet;

use anyhow::Result;
use oci_spec::image::Digest;

use super::find;
use super::references::{Record, Table};
use crate::docker::image::Removed;
use crate::error;
use crate::oci::digest::short;
use crate::oci::image::chain_ids;
use crate::oci::reference::Reference;

/// A container that was made from an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Its full id.
    pub container: String,
    /// Whether it runs.
    pub running: bool,
    /// The image's id.
    pub image: Digest,
}

/// How to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Whether stopped containers and several names are no hindrance. Default: false.
    pub force: bool,
    /// Whether parents without a name that nobody needs any more go too. Default: true.
    pub parents: bool,
}

impl Default for RemoveOptions {
    fn default() -> RemoveOptions {
        RemoveOptions {
            force: false,
            parents: true,
        }
    }
}

/// Diff IDs or chain IDs, from the lowest, by the ids of their images.
pub(super) type Layers = Vec<(Digest, Vec<Digest>)>;

/// The rules, on a table in memory.
pub(super) struct Plan<'a> {
    pub(super) table: &'a mut Table,
    pub(super) uses: Vec<Use>,
    /// Chain IDs per image.
    pub(super) chains: Layers,
}

/// Returns the chain IDs of images whose diff IDs these are.
pub(super) fn chains(layers: &Layers) -> Layers {
    let chain = |(id, layers): &(Digest, Vec<Digest>)| (id.clone(), chain_ids(layers));
    layers.iter().map(chain).collect()
}

/// What is in the way of deleting an image.
struct Obstacle {
    hard: bool,
    /// Whether a container is the obstacle.
    used: bool,
    message: String,
}

impl Obstacle {
    fn error(&self, id: &Digest) -> anyhow::Error {
        let force = if self.hard {
            "cannot be forced"
        } else {
            "must be forced"
        };
        error::conflict(format!(
            "conflict: unable to delete {} ({force}) - {}",
            short(id),
            self.message
        ))
    }
}

/// Which obstacles count.
#[derive(Clone, Copy)]
struct Strictness {
    names: bool,
    stopped: bool,
}

impl Plan<'_> {
    pub(super) fn remove(&mut self, text: &str, options: RemoveOptions) -> Result<Vec<Removed>> {
        let (record, reference) = find(self.table, text)?;
        let (id, names) = (record.id.clone(), all_names(record));
        let by_id = id.to_string().starts_with(text) || id.digest().starts_with(text);
        let reference = reference.filter(|_| !by_id);
        let mut steps = Vec::new();
        let strict = |names| Strictness {
            names: names && !options.force,
            stopped: !options.force,
        };
        let mut quiet = false;
        if let Some(reference) = reference {
            let user = self.uses.iter().find(|user| user.image == id);
            if let Some(user) = user
                && !options.force
                && is_single(&names)
            {
                return Err(error::conflict(format!(
                    "conflict: unable to remove repository reference {text:?} (must force) - container {} is using its \
                     referenced image {}",
                    short_text(&user.container),
                    short(&id)
                )));
            }
            self.untag(&id, &reference, &mut steps);
            if self.names(&id) > 0 {
                return Ok(steps);
            }
            quiet = true;
        } else if is_single(&names) {
            if let Some(obstacle) = self.obstacle(&id, strict(false)) {
                return Err(obstacle.error(&id));
            }
            for name in &names {
                self.drop_name(&id, name, &mut steps);
            }
        }
        self.delete(&id, (strict(true), quiet), options.parents, &mut steps)?;
        Ok(steps)
    }

    pub(super) fn prune_all(&mut self, candidates: &[Digest], all: bool) -> Vec<Removed> {
        let steps = candidates.iter().flat_map(|id| self.prune(id, all));
        steps.collect()
    }

    /// Removes one image if the rules of prune allow it; what is in the way leaves it as it is.
    fn prune(&mut self, id: &Digest, all: bool) -> Vec<Removed> {
        let Some(record) = self.table.by_id(id) else {
            return Vec::new();
        };
        let names = all_names(record);
        let (tagged, has_children) = (!record.references.is_empty(), self.has_children(id));
        let used = self.uses.iter().any(|user| user.image == *id);
        if used || (!all && tagged) || (names.is_empty() && has_children) {
            return Vec::new();
        }
        let texts: Vec<String> = if names.is_empty() {
            vec![id.to_string()]
        } else {
            names.iter().map(Reference::to_string).collect()
        };
        let options = RemoveOptions::default();
        // A name that went with another one is not found any more.
        let steps = texts.iter().map(|text| {
            let before = self.table.clone();
            self.remove(text, options).unwrap_or_else(|_| {
                *self.table = before;
                Vec::new()
            })
        });
        steps.collect::<Vec<_>>().concat()
    }

    /// Takes a tag or a digest from an image; with the last tag of a repository its digests go as well.
    fn untag(&mut self, id: &Digest, reference: &Reference, steps: &mut Vec<Removed>) {
        self.drop_name(id, reference, steps);
        if reference.digest.is_some() {
            return;
        }
        let Some(record) = self.table.by_id(id) else {
            return;
        };
        let same = |other: &&Reference| other.name() == reference.name();
        if record.references.iter().any(|other| same(&other)) {
            return;
        }
        let orphans: Vec<Reference> = record.digests.iter().filter(same).cloned().collect();
        for orphan in orphans {
            self.drop_name(id, &orphan, steps);
        }
    }

    fn drop_name(&mut self, id: &Digest, name: &Reference, steps: &mut Vec<Removed>) {
        let records = self.table.records.iter_mut();
        if let Some(record) = records.into_iter().find(|record| record.id == *id) {
            // With a digest the tag is only for people.
            let is = |known: &Reference| match &name.digest {
                Some(_) => known.name() == name.name() && known.digest == name.digest,
                None => known == name,
            };
            record.references.retain(|known| !is(known));
            record.digests.retain(|known| !is(known));
            steps.push(Removed::Untagged(name.familiar()));
        }
    }

    fn names(&self, id: &Digest) -> usize {
        let record = self.table.by_id(id);
        record.map_or(0, |record| record.references.len() + record.digests.len())
    }

    fn has_children(&self, id: &Digest) -> bool {
        let mut records = self.table.records.iter();
        records.any(|record| record.parent.as_ref() == Some(id))
    }

    fn obstacle(&self, id: &Digest, strict: Strictness) -> Option<Obstacle> {
        let user = |running: bool| {
            let mut uses = self.uses.iter();
            uses.find(|user| user.image == *id && user.running == running)
        };
        if self.has_children(id) {
            return Some(Obstacle {
                hard: true,
                used: false,
                message: "image has dependent child images".to_owned(),
            });
        }
        if let Some(user) = user(true) {
            let container = short_text(&user.container);
            return Some(Obstacle {
                hard: true,
                used: true,
                message: format!("image is being used by running container {container}"),
            });
        }
        if strict.names && self.names(id) > 0 {
            return Some(Obstacle {
                hard: false,
                used: false,
                message: "image is referenced in multiple repositories".to_owned(),
            });
        }
        let user = user(false).filter(|_| strict.stopped)?;
        let container = short_text(&user.container);
        Some(Obstacle {
            hard: false,
            used: true,
            message: format!("image is being used by stopped container {container}"),
        })
    }

    /// Deletes an image, its names and, with `parents`, those it was made from that nothing needs any more.
    fn delete(
        &mut self,
        id: &Digest,
        (strict, quiet): (Strictness, bool),
        parents: bool,
        steps: &mut Vec<Removed>,
    ) -> Result<()> {
        if let Some(obstacle) = self.obstacle(id, strict) {
            // Whoever took the last name away wants to know why the image stays, but not that somebody uses it.
            let dangling = self.names(id) == 0 && !self.has_children(id);
            if quiet && (!dangling || obstacle.used) {
                return Ok(());
            }
            return Err(obstacle.error(id));
        }
        let Some(at) = self.table.records.iter().position(|r| r.id == *id) else {
            return Ok(());
        };
        for name in all_names(&self.table.records[at]) {
            self.drop_name(id, &name, steps);
        }
        let record = self.table.records.remove(at);
        steps.push(Removed::Deleted(id.to_string()));
        for chain in self.freed(id) {
            steps.push(Removed::Deleted(chain.to_string()));
        }
        let (true, Some(parent)) = (parents, record.parent) else {
            return Ok(());
        };
        let strict = Strictness {
            names: true,
            stopped: true,
        };
        self.delete(&parent, (strict, true), true, steps)
    }

    /// Returns the chain IDs that only the removed image `id` had, the topmost first.
    fn freed(&self, id: &Digest) -> Vec<Digest> {
        let needed = |(other, _): &&(Digest, Vec<Digest>)| {
            self.table.by_id(other).is_some() || self.uses.iter().any(|user| user.image == *other)
        };
        let kept: HashSet<&Digest> = self
            .chains
            .iter()
            .filter(needed)
            .flat_map(|(_, chain)| chain)
            .collect();
        let own = self.chains.iter().find(|(known, _)| known == id);
        let own = own.map(|(_, chain)| chain.as_slice()).unwrap_or_default();
        let freed = own.iter().rev().take_while(|chain| !kept.contains(chain));
        freed.cloned().collect()
    }
}

pub(super) fn all_names(record: &Record) -> Vec<Reference> {
    [record.references.as_slice(), &record.digests].concat()
}

/// Whether all names are of one repository, with one tag at most; none is not single.
fn is_single(names: &[Reference]) -> bool {
    if names.len() <= 1 {
        return names.len() == 1;
    }
    let repositories: HashSet<String> = names.iter().map(Reference::name).collect();
    let tags = names.iter().filter(|name| name.digest.is_none()).count();
    repositories.len() == 1 && tags <= 1
}

fn short_text(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
