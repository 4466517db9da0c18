//! What is damaged in the image store, and how it is healed.
//!
//! ```text
//! table → manifest → configuration → layers → blobs        each must be there and have its size
//! deep: each blob has its digest; each layer's directory is what its blob makes, entry by entry
//! ```
//!
//! Nothing that could not be fetched or made again is ever thrown away: a committed layer that was altered stays, and so
//! does an image that lacks something, since the next pull by its name heals it.

use std::collections::{BTreeMap, HashSet};
use std::io;

use anyhow::{Context as _, Result};
use oci_spec::image::{Descriptor, Digest, ImageManifest, MediaType};

use super::gc::STORE_LOCK;
use super::layers::{Backing, Verdict};
use super::references::{self, Record};
use super::{Images, blobs, create, layers};
use crate::error::{self, Kind};
use crate::oci::digest::{self, Hasher, HashingReader};
use crate::oci::image::{DOCUMENT_MAX_BYTES, ImageConfig};
use crate::oci::reference::Reference;
use crate::store::{self, FileLock};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Of what: `image busybox:latest`, `layer sha256:…`.
    pub subject: String,
    /// What is wrong with it.
    pub what: String,
    /// What a repair does.
    pub cure: Cure,
}

/// What a repair does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cure {
    /// Unpacks a layer again.
    Remake {
        /// The layer.
        diff_id: Digest,
        /// From what.
        backing: Backing,
    },
    /// Takes a damaged blob away, so that the next pull fetches it.
    DropBlob(Digest),
    /// Takes a layer away that cannot be made again, so that the next pull fetches it.
    DropLayer(Digest),
    /// Puts the table aside, and lists the images that are stored without their names.
    RebuildTable,
    /// Nothing can be done here; says what the user can do.
    Advice(&'static str),
}

/// What was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Images.
    pub images: usize,
    /// Layers.
    pub layers: usize,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

const PULL: &str = "pull or load the image again";

/// Looks at everything that images are made of; `deep` reads all of it.
///
/// Takes no lock: what is removed meanwhile by others may show up as missing, and does not in the next check.
pub fn check(images: &Images, deep: bool) -> Result<Report> {
    let mut report = Report::default();
    let table = match references::read(images) {
        Ok(table) => table,
        Err(error) => {
            report.problems.push(Problem {
                subject: "table of images".to_owned(),
                what: error::line(&error),
                cure: Cure::RebuildTable,
            });
            return Ok(report);
        }
    };
    let mut walk = Walk::default();
    for record in &table.records {
        report.images += 1;
        walk.image(images, record, deep);
    }
    // What belongs to no image of the table may be a container's.
    for name in layers::names(images)? {
        walk.layers.entry(name).or_insert(None);
    }
    report.problems = walk.problems;
    for (name, blob) in &walk.layers {
        let Ok(diff_id) = digest::parse(&format!("sha256:{name}")) else {
            continue;
        };
        report.layers += 1;
        report
            .problems
            .extend(layer(images, &diff_id, blob.as_ref(), deep)?);
    }
    Ok(report)
}

/// What a walk over all images has come by.
#[derive(Default)]
struct Walk {
    /// Layers by the digits of their diff IDs, and the blobs they came from.
    layers: BTreeMap<String, Option<Descriptor>>,
    /// Blobs that were looked at.
    seen: HashSet<Digest>,
    problems: Vec<Problem>,
}

impl Walk {
    fn image(&mut self, images: &Images, record: &Record, deep: bool) {
        let name = record
            .references
            .first()
            .map_or_else(|| record.id.to_string(), Reference::familiar);
        let mut look = |what: &str, digest: &Digest, size: Option<u64>| -> bool {
            if !self.seen.insert(digest.clone()) {
                return true;
            }
            let Some(wrong) = blob(images, digest, size, deep) else {
                return true;
            };
            let gone = matches!(wrong, Wrong::Missing);
            self.problems.push(Problem {
                subject: format!("image {name}"),
                what: format!("its {what} {digest} {}", wrong.words()),
                cure: if gone {
                    Cure::Advice(PULL)
                } else {
                    Cure::DropBlob(digest.clone())
                },
            });
            false
        };
        let config = look("configuration", &record.id, None)
            .then(|| document::<ImageConfig>(images, &record.id))
            .flatten();
        let digest = record.manifest.digest();
        let manifest = look("manifest", digest, Some(record.manifest.size()))
            .then(|| document::<ImageManifest>(images, digest))
            .flatten();
        let descriptors = manifest
            .map(|manifest| manifest.layers().clone())
            .unwrap_or_default();
        let diff_ids = config
            .map(|config| config.rootfs.diff_ids)
            .unwrap_or_default();
        let is_layer_of_tree = |at: usize| {
            // A committed layer has no blob until somebody pushes or saves it.
            let meta = diff_ids
                .get(at)
                .and_then(|diff_id| layers::meta(images, diff_id).ok());
            meta.is_some_and(|meta| meta.backing == Backing::Tree)
        };
        for (at, descriptor) in descriptors.iter().enumerate() {
            if !is_layer_of_tree(at) {
                look("layer", descriptor.digest(), Some(descriptor.size()));
            }
        }
        for (at, diff_id) in diff_ids.iter().enumerate() {
            if let Ok((_, hex)) = digest::path_parts(diff_id) {
                self.layers
                    .insert(hex.to_owned(), descriptors.get(at).cloned());
            }
        }
    }
}

fn document<T: serde::de::DeserializeOwned>(images: &Images, digest: &Digest) -> Option<T> {
    let bytes = blobs::read(images, digest).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// What is wrong with a blob.
enum Wrong {
    Missing,
    Size(u64, u64),
    Digest,
    Unreadable(String),
}

impl Wrong {
    fn words(&self) -> String {
        match self {
            Wrong::Missing => "is missing".to_owned(),
            Wrong::Size(found, expected) => format!("has {found} of {expected} bytes"),
            Wrong::Digest => "has been altered".to_owned(),
            Wrong::Unreadable(why) => format!("cannot be read: {why}"),
        }
    }
}

fn blob(images: &Images, digest: &Digest, size: Option<u64>, deep: bool) -> Option<Wrong> {
    let unreadable = |error: anyhow::Error| Some(Wrong::Unreadable(error::line(&error)));
    let found = match blobs::size(images, digest) {
        Ok(found) => found,
        Err(error) if error::is(&error, Kind::NotFound) => return Some(Wrong::Missing),
        Err(error) => return unreadable(error),
    };
    if let Some(size) = size.filter(|size| *size != found) {
        return Some(Wrong::Size(found, size));
    }
    // Documents are small, so their digests are looked at in any case.
    if !deep && found > DOCUMENT_MAX_BYTES {
        return None;
    }
    match hash(images, digest) {
        Ok(same) if same == *digest => None,
        Ok(_) => Some(Wrong::Digest),
        Err(error) => unreadable(error),
    }
}

fn hash(images: &Images, digest: &Digest) -> Result<Digest> {
    let mut reader = HashingReader::new(blobs::open(images, digest)?, Hasher::like(digest)?);
    io::copy(&mut reader, &mut io::sink()).with_context(|| format!("read the blob {digest}"))?;
    Ok(reader.finish().0)
}

fn layer(
    images: &Images,
    diff_id: &Digest,
    blob: Option<&Descriptor>,
    deep: bool,
) -> Result<Option<Problem>> {
    let problem = |what: String, cure: Cure| {
        Some(Problem {
            subject: format!("layer {diff_id}"),
            what,
            cure,
        })
    };
    let stored = |digest: &Digest| blobs::contains(images, digest).unwrap_or(false);
    let again = blob
        .filter(|blob| stored(blob.digest()))
        .map(|blob| Cure::Remake {
            diff_id: diff_id.clone(),
            backing: layers::backing_of(blob),
        });
    let meta = match layers::meta(images, diff_id) {
        Ok(meta) => meta,
        Err(error) if error::is(&error, Kind::NotFound) && !layers::is_named(images, diff_id) => {
            let cure = again.unwrap_or(Cure::Advice(PULL));
            return Ok(problem("is not unpacked".to_owned(), cure));
        }
        Err(error) => {
            let what = format!("its record cannot be read: {}", error::line(&error));
            return Ok(problem(
                what,
                again.unwrap_or_else(|| Cure::DropLayer(diff_id.clone())),
            ));
        }
    };
    let own = match &meta.backing {
        Backing::Blob { digest, .. } if stored(digest) => Some(Cure::Remake {
            diff_id: diff_id.clone(),
            backing: meta.backing.clone(),
        }),
        _ => None,
    };
    if !layers::root(images, diff_id)?.is_dir() {
        let cure = own
            .or(again)
            .unwrap_or_else(|| Cure::DropLayer(diff_id.clone()));
        return Ok(problem("its directory is gone".to_owned(), cure));
    }
    if !deep {
        return Ok(None);
    }
    if meta.backing != Backing::Tree && own.is_none() {
        // That the blob is missing is said of the image; the directory alone cannot be judged.
        return Ok(None);
    }
    Ok(match layers::compare(images, &meta) {
        // Of a damaged blob the image's own check speaks.
        Ok(Verdict::Sound | Verdict::BlobDamaged(_)) => None,
        Ok(Verdict::Altered) => {
            let advice = Cure::Advice(
                "it was committed or imported here, so there is nothing to make it from: commit or import it again",
            );
            problem(
                "its directory has been altered".to_owned(),
                own.unwrap_or(advice),
            )
        }
        Err(error) => problem(
            format!("its directory cannot be read: {}", error::line(&error)),
            own.unwrap_or(Cure::Advice(PULL)),
        ),
    })
}

/// Repairs one problem and returns what was done, or nothing if the user has to do it.
///
/// `busy` are the diff IDs of the layers that mounted containers are made of: those are not replaced under their feet.
pub fn repair(images: &Images, cure: &Cure, busy: &[Digest]) -> Result<Option<&'static str>> {
    match cure {
        Cure::Advice(_) => Ok(None),
        Cure::Remake { diff_id, .. } | Cure::DropLayer(diff_id) if busy.contains(diff_id) => {
            let error = error::conflict("a running container uses it");
            Err(error::with_hint(
                error,
                "stop the containers of this image and repair again",
            ))
        }
        Cure::Remake { diff_id, backing } => {
            layers::heal::remake(images, diff_id, backing.clone())?;
            Ok(Some("unpacked again"))
        }
        Cure::DropBlob(digest) => {
            let _store = FileLock::shared(&images.dirs().lock(STORE_LOCK))?;
            blobs::discard(images, digest)?;
            Ok(Some(
                "removed, so that the next pull or load of the image brings it back",
            ))
        }
        Cure::DropLayer(diff_id) => {
            let _store = FileLock::shared(&images.dirs().lock(STORE_LOCK))?;
            layers::discard(images, diff_id)?;
            Ok(Some(
                "removed, so that the next pull or load of the image brings it back",
            ))
        }
        Cure::RebuildTable => {
            rebuild(images)?;
            Ok(Some(
                "put aside; the images that are stored are listed again, without their names",
            ))
        }
    }
}

/// Puts the unreadable table aside, and makes a new one of all manifests that are stored.
fn rebuild(images: &Images) -> Result<()> {
    let damaged = images.dirs().damaged();
    std::fs::create_dir_all(&damaged).with_context(|| format!("make {}", damaged.display()))?;
    let _store = FileLock::exclusive(&images.dirs().lock(STORE_LOCK))?;
    if references::read(images).is_err() {
        store::discard(&images.dirs().index(), &damaged)?;
    }
    for digest in blobs::list(images)? {
        if blobs::size(images, &digest)? > DOCUMENT_MAX_BYTES {
            continue;
        }
        let Some(manifest) = document::<ImageManifest>(images, &digest) else {
            continue;
        };
        if !blobs::contains(images, manifest.config().digest())? {
            continue;
        }
        let media_type = manifest
            .media_type()
            .clone()
            .unwrap_or(MediaType::ImageManifest);
        let size = blobs::size(images, &digest)?;
        create::register(
            images,
            create::Registration {
                manifest: Descriptor::new(media_type, size, digest),
                ..create::Registration::new(manifest.config().digest().clone())
            },
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::testing::{Archive, store};

    fn layer_bytes() -> Vec<u8> {
        let mut archive = Archive::default();
        archive.dir("d", 0o755).file("d/f", "content");
        archive.end()
    }

    /// An image of one layer, which was received as a blob; returns its layer's diff ID.
    fn image(images: &Images) -> Digest {
        let bytes = layer_bytes();
        let digest = digest::sha256(&bytes);
        let part = blobs::begin(images, &digest, bytes.len() as u64, &mut || {})
            .unwrap()
            .unwrap();
        let meta = layers::unpack::receive(
            images,
            part,
            &bytes[..],
            layers::unpack::Expected::default(),
        )
        .unwrap();
        let new = create::NewImage {
            layer: Some(&meta),
            created: "2026-01-01T00:00:00Z".to_owned(),
            ..create::NewImage::default()
        };
        let mut lease = super::super::gc::Lease::take(images, &[]).unwrap();
        let name = crate::oci::reference::Reference::parse("a:1").unwrap();
        create::create(images, &mut lease, &new, Some(&name)).unwrap();
        meta.diff_id
    }

    fn problems(images: &Images, deep: bool) -> Vec<Problem> {
        check(images, deep).unwrap().problems
    }

    #[track_caller]
    fn heals(images: &Images, deep: bool, what: &str) {
        let found = problems(images, deep);
        assert!(
            found.iter().any(|problem| problem.what.contains(what)),
            "{found:?}"
        );
        for problem in &found {
            assert!(
                repair(images, &problem.cure, &[]).unwrap().is_some(),
                "{problem:?}"
            );
        }
    }

    #[test]
    fn a_sound_store_has_no_problems() {
        let (_scratch, images) = store("check-sound");
        image(&images);
        let report = check(&images, true).unwrap();
        assert_eq!((report.images, report.layers), (1, 1));
        assert_eq!(report.problems, []);
    }

    #[test]
    fn an_altered_layer_is_unpacked_again() {
        let (_scratch, images) = store("check-altered");
        let diff_id = image(&images);
        let file = layers::root(&images, &diff_id).unwrap().join("d/f");
        let time = std::fs::metadata(&file).unwrap().modified().unwrap();
        std::fs::write(&file, "CONTENT").unwrap();
        std::fs::File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_modified(time)
            .unwrap();
        assert_eq!(problems(&images, false), []);
        heals(&images, true, "has been altered");
        assert_eq!(std::fs::read(&file).unwrap(), b"content");
        assert_eq!(problems(&images, true), []);
        let busy = [diff_id.clone()];
        let cure = Cure::DropLayer(diff_id);
        assert!(error::is(
            &repair(&images, &cure, &busy).unwrap_err(),
            Kind::Conflict
        ));
    }

    #[test]
    fn a_layer_that_is_gone_or_unreadable_is_unpacked_again() {
        let (_scratch, images) = store("check-gone");
        let diff_id = image(&images);
        let dir = layers::root(&images, &diff_id)
            .unwrap()
            .parent()
            .unwrap()
            .to_owned();
        std::fs::remove_dir_all(&dir).unwrap();
        heals(&images, false, "is not unpacked");
        std::fs::write(dir.join("meta.json"), "{").unwrap();
        heals(&images, false, "its record cannot be read");
        std::fs::remove_file(dir.join("meta.json")).unwrap();
        heals(&images, false, "its record cannot be read");
        std::fs::remove_dir_all(dir.join("root")).unwrap();
        heals(&images, false, "its directory is gone");
        assert_eq!(problems(&images, true), []);
    }

    #[test]
    fn damaged_blobs_make_room_for_sound_ones() {
        let (_scratch, images) = store("check-blob");
        image(&images);
        let digest = digest::sha256(&layer_bytes());
        let path = blobs::path(&images, &digest).unwrap();
        let mut altered = layer_bytes();
        altered[600] ^= 1;
        std::fs::write(&path, &altered).unwrap();
        heals(&images, true, "has been altered");
        assert!(!path.exists());
        let missing = problems(&images, true);
        assert!(missing[0].what.ends_with("is missing"), "{missing:?}");
        assert_eq!(repair(&images, &missing[0].cure, &[]).unwrap(), None);
        std::fs::write(&path, &altered[..100]).unwrap();
        heals(&images, false, "has 100 of");
        // The next download finds its place free.
        let bytes = layer_bytes();
        let mut part = blobs::begin(&images, &digest, bytes.len() as u64, &mut || {})
            .unwrap()
            .unwrap();
        part.write(&bytes).unwrap();
        part.complete(&images).unwrap();
        assert_eq!(problems(&images, true), []);
    }

    #[test]
    fn a_table_that_cannot_be_read_is_made_again() {
        let (_scratch, images) = store("check-table");
        image(&images);
        std::fs::write(images.dirs().index(), "{\"manifests\":[").unwrap();
        heals(&images, false, "read the table of images");
        assert_eq!(images.list().unwrap().len(), 1);
        assert_eq!(problems(&images, true), []);
        assert_eq!(
            std::fs::read_dir(images.dirs().damaged()).unwrap().count(),
            1
        );
    }
}
