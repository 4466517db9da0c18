//! `rmi` and `image prune`, on the store.
//!
//! The rules (removable.rs) are applied to the table in memory, and only if nothing is in the way it is written, all under the
//! store's lock; then what nobody needs goes to the trash. So a refused removal has changed nothing, and two removals, or a removal
//! and a new container, see each other.

use std::collections::BTreeMap;

use anyhow::Result;
use oci_spec::image::Digest;

use super::gc::{self, STORE_LOCK, leased, sweep, unneeded};
use super::references::{self, Table};
use super::removable::{Layers, Plan, RemoveOptions, Use, all_names, chains};
use super::{Image, Images};
use crate::docker::image::Removed;
use crate::error;
use crate::oci::image::chain_ids;
use crate::store::FileLock;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Removal {
    /// In the order in which it is shown: names, then ids of images and chain IDs of their layers.
    pub steps: Vec<Removed>,
    /// Ids of images by their names, and by themselves, before it was done.
    pub ids: BTreeMap<String, String>,
    /// Bytes of the layers that are gone, as docker counts them.
    pub reclaimed: u64,
}

/// Who uses images; asked while nobody can make a container.
pub type InUse<'a> = &'a mut dyn FnMut() -> Result<Vec<Use>>;

/// Removes the name or the image that a user's text names.
///
/// A name goes alone as long as the image has others. The error is of kind `NotFound` if there is no such image, and of
/// kind `Conflict` if containers or other images need it. What was deleted is in the trash: see
/// [`crate::image::gc::empty_trash`].
pub fn remove(
    images: &Images,
    text: &str,
    options: RemoveOptions,
    in_use: InUse<'_>,
) -> Result<Removal> {
    locked(images, in_use, |plan| plan.remove(text, options))
}

/// Removes images without a tag, or with `all` every image that no container uses; of those only what `wanted` takes.
pub fn prune(
    images: &Images,
    all: bool,
    wanted: &dyn Fn(&Image) -> bool,
    in_use: InUse<'_>,
) -> Result<Removal> {
    let candidates = candidates(images, wanted)?;
    locked(images, in_use, |plan| Ok(plan.prune_all(&candidates, all)))
}

/// What a prune would do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proposal {
    /// As in [`Removal`], each with the bytes that its layer frees.
    pub steps: Vec<(Removed, u64)>,
    /// Layers that belong to no image, as diff IDs, with their bytes.
    pub stray: Vec<(String, u64)>,
    /// Bytes of the layers that would be gone, as docker counts them.
    pub reclaimed: u64,
}

/// Returns what [`prune`] would do, and the collection of garbage after it; changes nothing.
pub fn propose_prune(
    images: &Images,
    all: bool,
    wanted: &dyn Fn(&Image) -> bool,
    in_use: InUse<'_>,
) -> Result<Proposal> {
    let candidates = candidates(images, wanted)?;
    let _store = FileLock::exclusive(&images.dirs().lock(STORE_LOCK))?;
    let leased = leased(images)?;
    let uses = in_use()?;
    let used: Vec<Digest> = uses.iter().map(|user| user.image.clone()).collect();
    let mut table = references::read(images)?;
    let layers = diff_ids(images, &table, &used);
    let mut plan = Plan {
        chains: chains(&layers),
        table: &mut table,
        uses,
    };
    let steps = plan.prune_all(&candidates, all);
    let going = unneeded(images, &table, &used, &leased)?.layers;
    let mut sizes: Vec<(String, u64)> = (going.into_iter())
        .map(|layer| (format!("sha256:{layer}"), layer))
        .map(|(id, layer)| (id, gc::layer_bytes(images, &layer)))
        .collect();
    let reclaimed = sizes.iter().map(|(_, bytes)| bytes).sum();
    // A layer is counted where it is first named: several images may have it on top of different ones.
    let mut bytes_of = |chain: &str| {
        let mut known = layers
            .iter()
            .flat_map(|(_, layers)| chain_ids(layers).into_iter().zip(layers.iter()));
        let found = known.find(|(id, _)| id.as_ref() == chain);
        let at = found.and_then(|(_, layer)| sizes.iter().position(|(id, _)| id == layer.as_ref()));
        at.map_or(0, |at| sizes.remove(at).1)
    };
    let steps = steps.into_iter().map(|step| {
        let bytes = match &step {
            Removed::Deleted(id) => bytes_of(id),
            Removed::Untagged(_) => 0,
        };
        (step, bytes)
    });
    Ok(Proposal {
        steps: steps.collect(),
        stray: sizes,
        reclaimed,
    })
}

fn candidates(images: &Images, wanted: &dyn Fn(&Image) -> bool) -> Result<Vec<Digest>> {
    let wanted = images.list()?.into_iter().filter(|image| wanted(image));
    Ok(wanted.map(|image| image.id).collect())
}

fn locked(
    images: &Images,
    in_use: InUse<'_>,
    act: impl FnOnce(&mut Plan<'_>) -> Result<Vec<Removed>>,
) -> Result<Removal> {
    let _store = FileLock::exclusive(&images.dirs().lock(STORE_LOCK))?;
    let leased = leased(images)?;
    let uses = in_use()?;
    let used: Vec<Digest> = uses.iter().map(|user| user.image.clone()).collect();
    let mut ids = BTreeMap::new();
    let steps = references::update(images, |table| {
        for record in &table.records {
            let id = record.id.to_string();
            let names = all_names(record).into_iter().map(|name| name.familiar());
            ids.extend(names.map(|name| (name, id.clone())));
            ids.insert(id.clone(), id);
        }
        act(&mut Plan {
            chains: chains(&diff_ids(images, table, &used)),
            table,
            uses,
        })
    })?;
    let mut removal = Removal {
        steps,
        ids,
        reclaimed: 0,
    };
    let deleted = |step: &Removed| matches!(step, Removed::Deleted(_));
    if removal.steps.iter().any(deleted) {
        match references::read(images).and_then(|table| sweep(images, &table, &used, &leased)) {
            Ok(collected) => removal.reclaimed = collected.size,
            // The images are gone; what is left of them is found by the next collection.
            Err(error) => tracing::warn!("leave parts of removed images: {}", error::line(&error)),
        }
    }
    Ok(removal)
}

/// Returns the layers of every image in the table or in use.
fn diff_ids(images: &Images, table: &Table, used: &[Digest]) -> Layers {
    let ids = table.records.iter().map(|record| &record.id);
    let others = used.iter().filter(|id| table.by_id(id).is_none());
    let mut all = Layers::new();
    for id in ids.chain(others) {
        if all.iter().any(|(known, _)| known == id) {
            continue;
        }
        // One that cannot be read needs nothing that could be named.
        let image = images.by_id_alone(id);
        let layers = image.map(|image| image.config.rootfs.diff_ids);
        all.push((id.clone(), layers.unwrap_or_default()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::testing::{Scratch, named, store};
    use crate::image::{gc, work};
    use crate::oci::digest::short;
    use crate::oci::reference::Reference;

    struct Store {
        _scratch: Scratch,
        images: Images,
    }

    /// A container: the image it uses, and whether it runs.
    type Container<'a> = (&'a Image, bool);

    impl Store {
        fn new() -> Store {
            let (scratch, images) = store("remove");
            Store {
                _scratch: scratch,
                images,
            }
        }

        fn image(&self, layers: &[&str], names: &[&str]) -> Image {
            named(&self.images, layers, names)
        }

        fn child(&self, parent: &Image, layers: &[&str], names: &[&str]) -> Image {
            let image = self.image(layers, names);
            references::update(&self.images, |table| {
                let mut record = table.by_id(&image.id).unwrap().clone();
                record.parent = Some(parent.id.clone());
                table.add(record);
                Ok(())
            })
            .unwrap();
            image
        }

        fn remove(
            &self,
            text: &str,
            force: bool,
            containers: &[Container<'_>],
        ) -> Result<Vec<String>> {
            let options = RemoveOptions {
                force,
                ..RemoveOptions::default()
            };
            let removal = remove(&self.images, text, options, &mut || Ok(uses(containers)))?;
            Ok(lines(&removal))
        }

        fn conflict(&self, text: &str, force: bool, containers: &[Container<'_>], why: &str) {
            let before = references::read(&self.images).unwrap();
            let error = self.remove(text, force, containers).unwrap_err();
            assert_eq!(error.to_string(), why);
            assert!(error::is(&error, error::Kind::Conflict));
            assert_eq!(references::read(&self.images).unwrap(), before);
        }

        fn prune(&self, all: bool, containers: &[Container<'_>]) -> Vec<String> {
            let mut in_use = || Ok(uses(containers));
            lines(&prune(&self.images, all, &|_| true, &mut in_use).unwrap())
        }

        fn names(&self) -> Vec<String> {
            let list = self.images.list().unwrap();
            let mut names: Vec<_> = list
                .iter()
                .flat_map(|image| &image.references)
                .map(Reference::familiar)
                .collect();
            names.sort();
            names
        }
    }

    fn uses(containers: &[Container<'_>]) -> Vec<Use> {
        let containers = containers.iter();
        containers
            .map(|(image, running)| Use {
                container: "c0ffee".repeat(8),
                running: *running,
                image: image.id.clone(),
            })
            .collect()
    }

    fn lines(removal: &Removal) -> Vec<String> {
        let steps = removal.steps.iter();
        steps
            .map(|step| match step {
                Removed::Untagged(name) => format!("Untagged: {name}"),
                Removed::Deleted(id) => format!("Deleted: {id}"),
            })
            .collect()
    }

    fn deleted(image: &Image) -> Vec<String> {
        let chain = chain_ids(image.layers());
        std::iter::once(&image.id)
            .chain(chain.iter().rev())
            .map(|id| format!("Deleted: {id}"))
            .collect()
    }

    #[test]
    fn a_name_goes_first_and_the_image_with_the_last() {
        let store = Store::new();
        let image = store.image(&["1", "2"], &["busybox", "mine:1.0"]);
        assert_eq!(
            store.remove("mine:1.0", false, &[]).unwrap(),
            ["Untagged: mine:1.0"]
        );
        let mut expected = vec!["Untagged: busybox:latest".to_owned()];
        expected.extend(deleted(&image));
        assert_eq!(store.remove("busybox", false, &[]).unwrap(), expected);
        assert!(store.images.list().unwrap().is_empty());
        assert!(
            crate::image::layers::names(&store.images)
                .unwrap()
                .is_empty()
        );
        assert!(crate::image::blobs::list(&store.images).unwrap().is_empty());
        assert!(!work::list(&store.images.dirs().trash()).unwrap().is_empty());
        gc::empty_trash(&store.images).unwrap();
        assert!(work::list(&store.images.dirs().trash()).unwrap().is_empty());
        let error = store.remove("busybox", true, &[]).unwrap_err();
        assert_eq!(error.to_string(), "No such image: busybox:latest");
        assert!(error::is(&error, error::Kind::NotFound));
    }

    #[test]
    fn shared_layers_stay() {
        let store = Store::new();
        let one = store.image(&["base", "1"], &["one"]);
        let two = store.image(&["base", "2"], &["two"]);
        let gone = store.remove("one", false, &[]).unwrap();
        assert_eq!(gone.len(), 3, "a name, an image and one layer: {gone:?}");
        assert_eq!(gone[2], format!("Deleted: {}", one.chain().unwrap()));
        crate::image::snapshot::lowers(&store.images, &two).unwrap();
    }

    #[test]
    fn by_id_all_names_of_one_repository_go() {
        let store = Store::new();
        let image = store.image(&["1"], &["x:1"]);
        let id = image.id.to_string();
        let mut expected = vec!["Untagged: x:1".to_owned()];
        expected.extend(deleted(&image));
        assert_eq!(store.remove(&id, false, &[]).unwrap(), expected);
        let image = store.image(&["1"], &["x:1", "x:2"]);
        let short = short(&image.id);
        store.conflict(
            short,
            false,
            &[],
            &format!("conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"),
        );
        assert_eq!(store.remove(short, true, &[]).unwrap().len(), 4);
    }

    #[test]
    fn containers_are_in_the_way() {
        let store = Store::new();
        let image = store.image(&["1"], &["busybox", "used:1"]);
        let (stopped, running) = ([(&image, false)], [(&image, true)]);
        let short = short(&image.id).to_owned();
        // While other names are left, a name goes whoever uses the image.
        assert_eq!(
            store.remove("busybox", false, &running).unwrap(),
            ["Untagged: busybox:latest"]
        );
        for containers in [&stopped, &running] {
            store.conflict(
                "used:1",
                false,
                containers,
                &format!(
                    "conflict: unable to remove repository reference \"used:1\" (must force) - container c0ffeec0ffee is \
                     using its referenced image {short}"
                ),
            );
        }
        store.conflict(
            &short,
            false,
            &stopped,
            &format!("conflict: unable to delete {short} (must be forced) - image is being used by stopped container c0ffeec0ffee"),
        );
        store.conflict(
            &short,
            true,
            &running,
            &format!("conflict: unable to delete {short} (cannot be forced) - image is being used by running container c0ffeec0ffee"),
        );
        // Forced by name, the name goes and the image stays.
        assert_eq!(
            store.remove("used:1", true, &running).unwrap(),
            ["Untagged: used:1"]
        );
        // Forced under a stopped container, the image goes, and what the container needs stays.
        let gone = store.remove(&short, true, &stopped).unwrap();
        assert_eq!(gone, [format!("Deleted: {}", image.id)]);
        let kept = store.images.by_id(&image.id).unwrap();
        crate::image::snapshot::lowers(&store.images, &kept).unwrap();
        assert!(store.images.list().unwrap().is_empty());
    }

    #[test]
    fn digests_go_with_the_last_tag_of_their_repository() {
        let store = Store::new();
        let image = store.image(&["1"], &["pulled:1", "pulled:2", "other:1"]);
        let digest = format!("pulled@{}", image.id);
        references::update(&store.images, |table| {
            let mut record = table.by_id(&image.id).unwrap().clone();
            record.digests = vec![Reference::parse(&digest).unwrap()];
            table.add(record);
            Ok(())
        })
        .unwrap();
        assert_eq!(
            store.remove("pulled:1", false, &[]).unwrap(),
            ["Untagged: pulled:1"]
        );
        let expected = [
            "Untagged: pulled:2".to_owned(),
            format!("Untagged: {digest}"),
        ];
        assert_eq!(store.remove("pulled:2", false, &[]).unwrap(), expected);
    }

    #[test]
    fn parents_and_children() {
        let store = Store::new();
        let base = store.image(&["1"], &["base"]);
        let middle = store.child(&base, &["1", "2"], &[]);
        let top = store.child(&middle, &["1", "2", "3"], &["top"]);
        let short = short(&base.id).to_owned();
        store.conflict(
            &short,
            true,
            &[],
            &format!("conflict: unable to delete {short} (cannot be forced) - image has dependent child images"),
        );
        assert!(
            store.prune(false, &[]).is_empty(),
            "an image with children is not dangling"
        );
        // The nameless parent goes with its child, the named one stays.
        let gone = store.remove("top", false, &[]).unwrap();
        let ids: Vec<_> = gone
            .iter()
            .filter(|line| line.contains("Deleted"))
            .collect();
        assert_eq!(ids.len(), 4, "{gone:?}");
        assert!(gone.contains(&format!("Deleted: {}", middle.id)));
        assert!(gone.contains(&format!("Deleted: {}", top.id)));
        assert_eq!(store.names(), ["base:latest"]);
    }

    #[test]
    fn prune_takes_what_nobody_names_or_uses() {
        let store = Store::new();
        let used = store.image(&["1"], &["used:1", "used:2"]);
        let dangling = store.image(&["2"], &[]);
        store.image(&["3"], &["a:1", "b:1"]);
        assert_eq!(store.prune(false, &[(&used, false)]), deleted(&dangling));
        let gone = store.prune(true, &[(&used, false)]);
        assert_eq!(gone.len(), 4, "{gone:?}");
        assert_eq!(store.names(), ["used:1", "used:2"]);
        let none = prune(&store.images, true, &|_| false, &mut || Ok(Vec::new())).unwrap();
        assert_eq!((none.steps, none.reclaimed), (Vec::new(), 0));
    }
}
