//! The image store: what images there are, and what they are made of.
//!
//! ```text
//! references   index.json: names → images              tarball      archives ↔ members
//! blobs        bytes by their digest                   apply        archive → directory of a layer
//! layers       unpacked layers by their diff ID        diff         container's directory → changes, new layer
//! snapshot     layers → root file system               archive      import, load, save, export
//! create       configuration + layers → image          gc           who needs what, and what goes
//! check        what is damaged, and how it is healed
//! ```
//!
//! All state is files, so [`Images`] is only where they are; any number of processes use them at once. A file is
//! complete under its final name. Locks are held for milliseconds, `store.lock` before `refs.lock`, and never while
//! something is read from outside, unpacked, hashed or deleted. Who needs what is not yet in the table holds a lease
//! ([`gc::Lease`]). This folder knows neither registries nor containers: who uses an image is told by the caller.

pub mod apply;
pub mod archive;
pub mod blobs;
pub mod change;
pub mod check;
pub mod compress;
mod copy;
pub mod create;
pub mod deflate;
pub mod diff;
pub mod exchange;
pub mod gc;
pub mod layers;
pub mod path;
pub mod references;
pub mod removable;
pub mod remove;
pub mod snapshot;
pub mod tarball;
#[cfg(test)]
mod testing;
pub mod transfer;
mod words;
mod work;

use anyhow::{Context as _, Result};
use oci_spec::image::{Descriptor, Digest};

use crate::dirs::Dirs;
use crate::error;
use crate::oci::digest;
use crate::oci::image::{ImageConfig, chain_ids};
use crate::oci::reference::Reference;
use references::{Record, Table};

/// The image store of one data root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    dirs: Dirs,
}

/// One image.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Digest of the configuration: what docker calls the image's ID.
    pub id: Digest,
    /// The manifest; nothing if the image is only kept because a container was made from it.
    pub manifest: Option<Descriptor>,
    /// The configuration.
    pub config: ImageConfig,
    /// The configuration, byte for byte.
    pub raw_config: Vec<u8>,
    /// Names with a tag, sorted.
    pub references: Vec<Reference>,
    /// Names with the digest under which a registry has it, sorted.
    pub digests: Vec<Reference>,
    /// The image it was committed from.
    pub parent: Option<Digest>,
    /// When a tag last moved to it, RFC 3339.
    pub tagged: Option<String>,
    /// Bytes as docker counts them: files and targets of symlinks of all layers.
    pub size: u64,
}

impl Image {
    /// Returns the diff IDs of the layers, from the lowest.
    pub fn layers(&self) -> &[Digest] {
        &self.config.rootfs.diff_ids
    }

    /// Returns the chain ID of all layers; nothing for an image without layers.
    pub fn chain(&self) -> Option<Digest> {
        chain_ids(self.layers()).pop()
    }

    /// Returns whether no name is left of it, so that a prune removes it.
    pub fn is_dangling(&self) -> bool {
        self.references.is_empty()
    }

    /// Returns when it was made, in seconds since 1970; 0 if it does not say.
    pub fn created_seconds(&self) -> i64 {
        let created = self.config.created.as_deref().unwrap_or_default();
        let time = created.parse::<jiff::Timestamp>();
        time.map_or(0, jiff::Timestamp::as_second)
    }
}

/// What a user's text named.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The image.
    pub image: Image,
    /// The name, if it was one and not an id.
    pub reference: Option<Reference>,
}

impl Images {
    /// Returns the store below `dirs`, whose directories exist; nothing is read yet.
    pub fn open(dirs: &Dirs) -> Images {
        Images { dirs: dirs.clone() }
    }

    /// Returns where it is.
    pub fn dirs(&self) -> &Dirs {
        &self.dirs
    }

    /// Returns all images, the newest first; one that is damaged is left out with a warning.
    pub fn list(&self) -> Result<Vec<Image>> {
        let table = references::read(self)?;
        let mut images = Vec::with_capacity(table.records.len());
        for record in &table.records {
            match self.load(record) {
                Ok(image) => images.push(image),
                Err(error) => {
                    tracing::warn!(image = %record.id, "left out a damaged image: {}", error::line(&error));
                }
            }
        }
        images.sort_by_cached_key(|image| {
            (
                std::cmp::Reverse(image.created_seconds()),
                image.id.to_string(),
            )
        });
        Ok(images)
    }

    /// Returns the image that a user's text names: a name with its tag or digest, an id, or the unique beginning of one.
    ///
    /// A name wins over an id if there is an image of that name. The error is of kind `NotFound` if there is none, and of
    /// kind `Invalid` if the text is neither or fits several.
    pub fn resolve(&self, text: &str) -> Result<Found> {
        let table = references::read(self)?;
        let (record, reference) = find(&table, text)?;
        let image = self.load(record)?;
        Ok(Found { image, reference })
    }

    /// Returns the image of this id; one that no name leads to any more is found too, as long as it is stored.
    ///
    /// The error is of kind `NotFound` if there is none.
    pub fn by_id(&self, id: &Digest) -> Result<Image> {
        match references::read(self)?.by_id(id) {
            Some(record) => self.load(record),
            None => self.by_id_alone(id),
        }
    }

    /// Returns the image that a name with its tag or digest leads to, or nothing.
    pub fn by_reference(&self, reference: &Reference) -> Result<Option<Image>> {
        let table = references::read(self)?;
        let record = table.by_reference(reference);
        record.map(|record| self.load(record)).transpose()
    }

    /// Gives an image a name with a tag, which another one may lose; returns that one.
    pub fn tag(&self, id: &Digest, reference: &Reference) -> Result<Option<Digest>> {
        if reference.digest.is_some() {
            let why = "refusing to create a tag with a digest reference";
            return Err(error::invalid(why));
        }
        let reference = reference.clone().or_latest();
        let now = now();
        references::update(self, |table| table.tag(id, &reference, &now))
    }

    /// Returns the images without a tag, the newest first.
    pub fn dangling(&self) -> Result<Vec<Image>> {
        let mut images = self.list()?;
        images.retain(Image::is_dangling);
        Ok(images)
    }

    /// Reads what a record stands for.
    pub(crate) fn load(&self, record: &Record) -> Result<Image> {
        let mut image = self
            .by_id_alone(&record.id)
            .with_context(|| format!("read the image {}", record.id))?;
        image.manifest = Some(record.manifest.clone());
        image.references.clone_from(&record.references);
        image.digests.clone_from(&record.digests);
        image.parent.clone_from(&record.parent);
        image.tagged.clone_from(&record.tagged);
        if let Some(size) = record.size {
            image.size = size;
        } else {
            image.size = self.size(&image);
        }
        Ok(image)
    }

    /// Reads an image from its configuration alone.
    pub(crate) fn by_id_alone(&self, id: &Digest) -> Result<Image> {
        let raw_config = blobs::read(self, id).map_err(|error| {
            if error::is(&error, error::Kind::NotFound) {
                return error::not_found(format!("No such image: {id}"));
            }
            error
        })?;
        let config = serde_json::from_slice(&raw_config)
            .with_context(|| format!("read the configuration {id}"))?;
        Ok(Image {
            id: id.clone(),
            manifest: None,
            config,
            raw_config,
            references: Vec::new(),
            digests: Vec::new(),
            parent: None,
            tagged: None,
            size: 0,
        })
    }

    /// Counts the layers that are stored.
    fn size(&self, image: &Image) -> u64 {
        let metas = image.layers().iter().map(|id| layers::meta(self, id));
        metas
            .filter_map(Result::ok)
            .map(|meta| meta.facts.size)
            .sum()
    }
}

/// Returns the time, RFC 3339 in UTC with nanoseconds.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// Finds the record that a user's text names, and the name if it was one.
pub(crate) fn find<'t>(table: &'t Table, text: &str) -> Result<(&'t Record, Option<Reference>)> {
    let parsed = Reference::parse(text);
    if let Ok(reference) = &parsed {
        let reference = reference.clone().or_latest();
        if let Some(record) = table.by_reference(&reference) {
            return Ok((record, Some(reference)));
        }
    }
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let digits = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if !hex.is_empty() && hex.len() <= 64 && hex.bytes().all(digits) {
        let mut fitting = table
            .records
            .iter()
            .filter(|record| record.id.digest().starts_with(hex));
        match (fitting.next(), fitting.next()) {
            (Some(record), None) => return Ok((record, None)),
            (Some(_), Some(_)) => {
                let why = format!("multiple IDs found with provided prefix: {text}");
                return Err(error::invalid(why));
            }
            (None, _) => {}
        }
    }
    let shown = match parsed {
        Ok(reference) => reference.or_latest().familiar(),
        // An id is no name, but it is not malformed either.
        Err(_) if hex.len() == 64 && hex.bytes().all(digits) => format!("sha256:{hex}"),
        Err(_) if digest::parse(text).is_ok() => text.to_owned(),
        Err(error) => return Err(error),
    };
    Err(error::not_found(format!("No such image: {shown}")))
}
