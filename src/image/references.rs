//! The table of images: `index.json` of an OCI image layout (image-spec image-layout.md), so that other tools read it.
//!
//! ```text
//! one descriptor per tag, or one without a name for an image without tags; annotations
//!   org.opencontainers.image.ref.name   docker.io/library/busybox:latest
//!   io.aril.image.id                    digest of the configuration, so that an image is found without its manifest
//!   io.aril.image.digests               NAME@DIGEST of what was pulled or pushed, blanks between
//!   io.aril.image.parent                id of the image it was committed from
//!   io.aril.image.tagged                when a tag last moved to it, RFC 3339
//!   io.aril.image.size                  bytes as docker counts them
//! ```
//!
//! Readers take no lock and see one state or the next, since it is replaced by a rename. What another tool added is taken
//! over if it is an image; what is not understood stays as it is.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use oci_spec::image::{Descriptor, Digest, ImageManifest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Images, blobs};
use crate::error;
use crate::oci::digest;
use crate::oci::reference::Reference;
use crate::store::{self, Durability, FileLock};

/// The annotation that names a manifest.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
const ID: &str = "io.aril.image.id";
const DIGESTS: &str = "io.aril.image.digests";
const PARENT: &str = "io.aril.image.parent";
const TAGGED: &str = "io.aril.image.tagged";
const SIZE: &str = "io.aril.image.size";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What the table says about one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Digest of the configuration.
    pub id: Digest,
    /// The manifest; without annotations.
    pub manifest: Descriptor,
    /// Names with a tag.
    pub references: Vec<Reference>,
    /// Names with the digest of the manifest or index under which a registry has it.
    pub digests: Vec<Reference>,
    /// The image it was committed from.
    pub parent: Option<Digest>,
    /// When a tag last moved to it.
    pub tagged: Option<String>,
    /// Bytes as docker counts them; nothing if they were not counted here.
    pub size: Option<u64>,
    /// What other tools have noted.
    other: BTreeMap<String, String>,
}

impl Record {
    /// Returns a record without names.
    pub fn new(id: Digest, manifest: Descriptor) -> Record {
        Record {
            id,
            manifest,
            references: Vec::new(),
            digests: Vec::new(),
            parent: None,
            tagged: None,
            size: None,
            other: BTreeMap::new(),
        }
    }

    fn from_descriptor(images: &Images, value: &Value) -> Result<Record> {
        let mut descriptor: Descriptor =
            serde_json::from_value(value.clone()).context("read a descriptor")?;
        let mut notes: BTreeMap<String, String> = descriptor
            .annotations()
            .iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        descriptor.set_annotations(None);
        let id = match notes.remove(ID) {
            Some(id) => digest::parse(&id)?,
            // Another tool has put it there.
            None => manifest(images, descriptor.digest())?
                .config()
                .digest()
                .clone(),
        };
        let mut record = Record::new(id, descriptor);
        if let Some(name) = notes.remove(REF_NAME) {
            record.references.push(Reference::parse(&name)?.or_latest());
        }
        for text in notes.remove(DIGESTS).unwrap_or_default().split_whitespace() {
            record.digests.push(Reference::parse(text)?);
        }
        record.parent = (notes.remove(PARENT))
            .map(|id| digest::parse(&id))
            .transpose()?;
        record.tagged = notes.remove(TAGGED);
        record.size = notes.remove(SIZE).and_then(|size| size.parse().ok());
        record.other = notes;
        Ok(record)
    }

    fn merge(&mut self, more: Record) {
        for reference in more.references {
            add(&mut self.references, reference);
        }
        for reference in more.digests {
            add(&mut self.digests, reference);
        }
        self.parent = self.parent.take().or(more.parent);
        self.size = self.size.or(more.size);
        // Times of one form compare as text.
        self.tagged = self.tagged.take().max(more.tagged);
    }

    fn descriptors(&self) -> Result<Vec<Value>> {
        let mut notes = self.other.clone();
        let digests: Vec<String> = self.digests.iter().map(Reference::to_string).collect();
        let mut note = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                notes.insert(key.to_owned(), value);
            }
        };
        note(ID, Some(self.id.to_string()));
        note(DIGESTS, (!digests.is_empty()).then(|| digests.join(" ")));
        note(PARENT, self.parent.as_ref().map(Digest::to_string));
        note(TAGGED, self.tagged.clone());
        note(SIZE, self.size.map(|size| size.to_string()));
        let names: Vec<Option<String>> = if self.references.is_empty() {
            vec![None]
        } else {
            let names = self.references.iter();
            names.map(|name| Some(name.to_string())).collect()
        };
        let descriptor = serde_json::to_value(&self.manifest).context("encode a descriptor")?;
        let named = names.into_iter().map(|name| {
            let mut notes = notes.clone();
            if let Some(name) = name {
                notes.insert(REF_NAME.to_owned(), name);
            }
            let mut descriptor = descriptor.clone();
            descriptor["annotations"] = json!(notes);
            descriptor
        });
        Ok(named.collect())
    }
}

/// The whole table; the order of the images means nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// One per image.
    pub records: Vec<Record>,
    /// Descriptors that are no images of ours.
    foreign: Vec<Value>,
    other: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Vec<Value>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl Table {
    /// Returns the image of this id.
    pub fn by_id(&self, id: &Digest) -> Option<&Record> {
        self.records.iter().find(|record| record.id == *id)
    }

    /// Returns the image that `reference` names: by its digest if it has one, else by its tag.
    pub fn by_reference(&self, reference: &Reference) -> Option<&Record> {
        self.records.iter().find(|record| match &reference.digest {
            Some(_) => record
                .digests
                .iter()
                .any(|known| known.digest == reference.digest && known.name() == reference.name()),
            None => record.references.contains(reference),
        })
    }

    /// Returns the record of `record`'s image, after adding it if there was none.
    ///
    /// A known image keeps its manifest, whose blobs are stored, and gets what else the new record says.
    pub fn add(&mut self, record: Record) -> &mut Record {
        let known = self.records.iter().position(|r| r.id == record.id);
        if let Some(at) = known {
            self.records[at].merge(record);
            return &mut self.records[at];
        }
        self.records.push(record);
        self.records.last_mut().expect("it was just pushed")
    }

    /// Moves the tag `reference` to the image `id`; returns the image that had it before, if that was another one.
    ///
    /// The error is of kind `NotFound` if there is no such image.
    pub fn tag(&mut self, id: &Digest, reference: &Reference, now: &str) -> Result<Option<Digest>> {
        if self.by_id(id).is_none() {
            return Err(error::not_found(format!("No such image: {id}")));
        }
        let mut before = None;
        for record in &mut self.records {
            if record.id == *id {
                add(&mut record.references, reference.clone());
                record.tagged = Some(now.to_owned());
            } else if let Some(at) = record.references.iter().position(|r| r == reference) {
                record.references.remove(at);
                before = Some(record.id.clone());
            }
        }
        Ok(before)
    }
}

/// Adds a reference that is not there yet, and keeps them sorted.
pub(crate) fn add(list: &mut Vec<Reference>, reference: Reference) {
    if !list.contains(&reference) {
        list.push(reference);
        list.sort_by_cached_key(Reference::to_string);
    }
}

/// Reads the table; none yet is an empty one.
pub fn read(images: &Images) -> Result<Table> {
    let document: Document = match store::read_json(&images.dirs().index()) {
        Ok(document) => document,
        Err(error) if error::is(&error, error::Kind::NotFound) => return Ok(Table::default()),
        Err(error) => return Err(error).context("read the table of images"),
    };
    let mut table = Table {
        other: document.other,
        ..Table::default()
    };
    for value in document.manifests {
        match Record::from_descriptor(images, &value) {
            Ok(record) => drop(table.add(record)),
            Err(error) => {
                tracing::warn!(
                    "left alone an entry of the image layout: {}",
                    error::line(&error)
                );
                table.foreign.push(value);
            }
        }
    }
    Ok(table)
}

/// Changes the table under its lock; an error of `change` leaves it as it was. What has changed is on the disk afterwards.
pub fn update<T>(images: &Images, change: impl FnOnce(&mut Table) -> Result<T>) -> Result<T> {
    let _lock = FileLock::exclusive(&images.dirs().lock("refs.lock"))?;
    let before = read(images)?;
    let mut table = before.clone();
    let result = change(&mut table)?;
    if table != before {
        write(images, &table)?;
    }
    Ok(result)
}

fn write(images: &Images, table: &Table) -> Result<()> {
    let layout = images.dirs().images().join("oci-layout");
    if !layout.exists() {
        let version = json!({"imageLayoutVersion": "1.0.0"});
        store::write_json(&layout, &version, Durability::Synced)?;
    }
    let mut manifests = Vec::new();
    for record in &table.records {
        manifests.extend(record.descriptors()?);
    }
    manifests.extend(table.foreign.iter().cloned());
    let mut other = table.other.clone();
    other.insert("schemaVersion".to_owned(), json!(2));
    other.insert("mediaType".to_owned(), json!(INDEX));
    let document = Document { manifests, other };
    store::write_json(&images.dirs().index(), &document, Durability::Synced)
}

/// Reads a manifest and verifies its digest.
pub(crate) fn manifest(images: &Images, digest: &Digest) -> Result<ImageManifest> {
    let bytes = blobs::read(images, digest)?;
    ImageManifest::from_reader(&bytes[..]).with_context(|| format!("read the manifest {digest}"))
}

#[cfg(test)]
mod tests {
    use oci_spec::image::MediaType;

    use super::*;
    use crate::image::testing::store;

    fn record(text: &str) -> Record {
        let descriptor =
            Descriptor::new(MediaType::ImageManifest, 7, digest::sha256(text.as_bytes()));
        Record::new(digest::sha256(text.as_bytes()), descriptor)
    }

    fn reference(text: &str) -> Reference {
        Reference::parse(text).unwrap()
    }

    #[test]
    fn the_table_survives_the_file() {
        let (_scratch, images) = store("table");
        assert_eq!(read(&images).unwrap(), Table::default());
        let (a, b) = (record("a"), record("b"));
        update(&images, |table| {
            let added = table.add(a.clone());
            added.digests.push(reference(&format!("busybox@{}", b.id)));
            added.parent = Some(b.id.clone());
            added.size = Some(5);
            table.add(b.clone());
            for name in ["x:2", "busybox:latest", "host:1/y:z"] {
                table.tag(&a.id, &reference(name), "2026-01-01T00:00:00Z")?;
            }
            Ok(())
        })
        .unwrap();
        let table = read(&images).unwrap();
        let found = table.by_reference(&reference("busybox:latest")).unwrap();
        assert_eq!(
            (&found.id, found.references.len(), found.size),
            (&a.id, 3, Some(5))
        );
        assert_eq!(found.parent, Some(b.id.clone()));
        let digested = reference(&format!("busybox:other@{}", b.id));
        assert_eq!(table.by_reference(&digested).unwrap().id, a.id);
        assert!(
            table
                .by_reference(&reference(&format!("other@{}", b.id)))
                .is_none()
        );
        assert!(table.by_id(&b.id).unwrap().references.is_empty());
        let text = std::fs::read_to_string(images.dirs().index()).unwrap();
        assert!(text.contains("\"docker.io/library/busybox:latest\""));
        assert!(images.dirs().images().join("oci-layout").exists());
    }

    #[test]
    fn a_tag_moves() {
        let mut table = Table::default();
        let (a, b) = (record("a"), record("b"));
        table.add(a.clone());
        table.add(b.clone());
        let name = reference("x:1");
        assert_eq!(table.tag(&a.id, &name, "t").unwrap(), None);
        assert_eq!(table.tag(&a.id, &name, "t").unwrap(), None);
        assert_eq!(table.tag(&b.id, &name, "t").unwrap(), Some(a.id.clone()));
        assert_eq!(table.by_reference(&name).unwrap().id, b.id);
        let error = table.tag(&digest::sha256(b"c"), &name, "t").unwrap_err();
        assert!(error::is(&error, error::Kind::NotFound));
    }

    #[test]
    fn what_others_wrote_is_kept() {
        let (_scratch, images) = store("foreign");
        let config = digest::sha256(b"config");
        let manifest = json!({"schemaVersion": 2, "layers": [], "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 6}});
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let digest = blobs::put(&images, &manifest).unwrap();
        let index = json!({"schemaVersion": 2, "annotations": {"k": "v"}, "manifests": [
            {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": manifest.len(),
             "annotations": {REF_NAME: "theirs:1", "more": "notes"}},
            {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": config, "size": 1},
            "rubbish"]});
        std::fs::write(images.dirs().index(), index.to_string()).unwrap();
        update(&images, |table| {
            assert_eq!(
                table.by_reference(&reference("theirs:1")).unwrap().id,
                config
            );
            table.tag(&config, &reference("ours:2"), "now")
        })
        .unwrap();
        let text = std::fs::read_to_string(images.dirs().index()).unwrap();
        for part in [
            "\"rubbish\"",
            "\"k\":\"v\"",
            "\"more\":\"notes\"",
            "theirs:1",
            "ours:2",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let again: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(again["manifests"].as_array().unwrap().len(), 4);
    }
}
