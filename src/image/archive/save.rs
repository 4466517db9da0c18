//! `save`: images → one archive, written as it goes.
//!
//! The documents come first, so that who reads from a pipe knows what follows; then each blob once. A layer that is backed
//! by its blob is written as that, byte for byte, one that is backed by its directory as the archive of that, whose size is
//! known beforehand. Nothing is copied to a temporary file, and times are zero, so the same images give the same archive.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Read as _, Write};

use anyhow::{Context as _, Result, ensure};
use oci_spec::image::Digest;
use serde::Serialize;
use serde_json::{Value, json};

use super::{IMAGE_NAME, ManifestItem};
use crate::error;
use crate::image::layers::{self, Backing};
use crate::image::references::{self, REF_NAME};
use crate::image::tarball::{Entry, Kind, write};
use crate::image::transfer::{self, Layer, Transfer};
use crate::image::{Image, Images, blobs, find};
use crate::oci::digest;
use crate::oci::reference::Reference;

/// How much is gathered before it is written.
const BUFFER_BYTES: usize = 256 << 10;

/// An image to save, with the names that it keeps in the archive.
#[derive(Clone, Debug, PartialEq)]
pub struct Selected {
    /// The image.
    pub image: Image,
    /// Names with a tag; may be none.
    pub references: Vec<Reference>,
}

/// Returns the images that users' texts name, each once: a name without a tag stands for all of its tags, an id for the
/// image without a name. Names are in the order in which they were given.
///
/// The error is of kind `NotFound` if there is no such image.
pub fn select(images: &Images, texts: &[String]) -> Result<Vec<Selected>> {
    let table = references::read(images)?;
    let mut all: Vec<Selected> = Vec::new();
    let mut add = |record: &references::Record, names: Vec<Reference>| -> Result<()> {
        let known = all.iter().position(|known| known.image.id == record.id);
        let at = if let Some(at) = known {
            at
        } else {
            all.push(Selected {
                image: images.load(record)?,
                references: Vec::new(),
            });
            all.len() - 1
        };
        for name in names {
            if !all[at].references.contains(&name) {
                all[at].references.push(name);
            }
        }
        Ok(())
    };
    for text in texts {
        let parsed = Reference::parse(text).ok();
        if let Some(name) = parsed.filter(|name| name.tag.is_none() && name.digest.is_none()) {
            let same = |other: &&Reference| other.name() == name.name();
            let mut found = false;
            for record in &table.records {
                let tags: Vec<_> = record.references.iter().filter(same).cloned().collect();
                if !tags.is_empty() {
                    add(record, tags)?;
                    found = true;
                }
            }
            if found {
                continue;
            }
        }
        match find(&table, text) {
            Ok((record, reference)) => {
                let tagged = reference.filter(|reference| reference.digest.is_none());
                add(record, tagged.into_iter().collect())?;
            }
            Err(error) if error::is(&error, error::Kind::NotFound) => {
                // docker's words for a name with a tag.
                let tagged = Reference::parse(text).is_ok_and(|it| it.tag.is_some());
                return Err(error::not_found(if tagged {
                    "reference does not exist".to_owned()
                } else {
                    format!("No such image: {text}")
                }));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Writes an archive of images to `output`. The caller holds leases on them.
pub fn save(images: &Images, selected: &[Selected], output: impl Write) -> Result<()> {
    let plans = selected
        .iter()
        .map(|selected| plan(images, selected))
        .collect::<Result<Vec<_>>>()?;
    let mut archive = Archive {
        output: BufWriter::with_capacity(BUFFER_BYTES, output),
        written: Vec::new(),
    };
    archive.document("index.json", &index(&plans)?)?;
    archive.document("manifest.json", &items(&plans)?)?;
    archive.document("oci-layout", &json!({"imageLayoutVersion": "1.0.0"}))?;
    let repositories = repositories(&plans)?;
    if !repositories.is_empty() {
        archive.document("repositories", &repositories)?;
    }
    archive.directory("blobs/")?;
    archive.directory("blobs/sha256/")?;
    for plan in &plans {
        archive.blob(plan.transfer.manifest.digest(), &plan.transfer.raw_manifest)?;
        archive.blob(&plan.selected.image.id, &plan.selected.image.raw_config)?;
    }
    for layer in plans.iter().flat_map(|plan| &plan.transfer.layers) {
        archive.layer(images, layer)?;
    }
    archive.output.write_all(&write::END)?;
    archive.output.flush().context("write the archive")
}

/// One image of the archive.
struct Plan<'a> {
    selected: &'a Selected,
    transfer: Transfer,
}

fn plan<'a>(images: &Images, selected: &'a Selected) -> Result<Plan<'a>> {
    let image = &selected.image;
    let transfer = transfer::of_image(images, image)
        .with_context(|| format!("save the image {}", image.id))?;
    Ok(Plan { selected, transfer })
}

/// `index.json`: one descriptor per name, or one without.
fn index(plans: &[Plan<'_>]) -> Result<Value> {
    let mut manifests = Vec::new();
    for plan in plans {
        let mut descriptor =
            serde_json::to_value(&plan.transfer.manifest).context("encode a descriptor")?;
        let config = &plan.selected.image.config;
        descriptor["platform"] = json!({"architecture": config.architecture, "os": config.os});
        if let Some(variant) = &config.variant {
            descriptor["platform"]["variant"] = json!(variant);
        }
        for name in &plan.selected.references {
            let mut named = descriptor.clone();
            named["annotations"] = json!({
                IMAGE_NAME: name.to_string(),
                REF_NAME: name.tag,
            });
            manifests.push(named);
        }
        if plan.selected.references.is_empty() {
            manifests.push(descriptor);
        }
    }
    Ok(json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    }))
}

/// `manifest.json`.
fn items(plans: &[Plan<'_>]) -> Result<Vec<ManifestItem>> {
    let saved = |id: &Digest| plans.iter().any(|plan| plan.selected.image.id == *id);
    plans
        .iter()
        .map(|plan| {
            let names = plan.selected.references.iter();
            let names: Vec<_> = names.map(Reference::familiar).collect();
            let layers = plan.transfer.layers.iter();
            let image = &plan.selected.image;
            Ok(ManifestItem {
                config: blob_path(&image.id)?,
                repo_tags: (!names.is_empty()).then_some(names),
                layers: layers
                    .map(|layer| blob_path(layer.blob.digest()))
                    .collect::<Result<_>>()?,
                parent: (image.parent.as_ref())
                    .filter(|parent| saved(parent))
                    .map(Digest::to_string),
            })
        })
        .collect()
}

/// `repositories`: names → tags → the topmost layer.
fn repositories(plans: &[Plan<'_>]) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
    let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for plan in plans {
        let top = plan.selected.image.layers().last();
        let top = top.unwrap_or(&plan.selected.image.id);
        let (_, hex) = digest::path_parts(top)?;
        for name in &plan.selected.references {
            let tags = all.entry(name.familiar_name()).or_default();
            tags.insert(name.tag.clone().unwrap_or_default(), hex.to_owned());
        }
    }
    Ok(all)
}

fn blob_path(digest: &Digest) -> Result<String> {
    let (algorithm, hex) = digest::path_parts(digest)?;
    Ok(format!("blobs/{algorithm}/{hex}"))
}

struct Archive<W: Write> {
    output: BufWriter<W>,
    /// Blobs that are in it: images share layers.
    written: Vec<Digest>,
}

impl<W: Write> Archive<W> {
    fn directory(&mut self, path: &str) -> Result<()> {
        write::append(
            &mut self.output,
            &Entry::new(path, Kind::Directory, 0o755),
            b"",
        )
    }

    fn document(&mut self, path: &str, value: &impl Serialize) -> Result<()> {
        let bytes = serde_json::to_vec(value).with_context(|| format!("encode {path}"))?;
        write::append(
            &mut self.output,
            &Entry::new(path, Kind::File, 0o644),
            &bytes,
        )
    }

    fn blob(&mut self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        if self.is_new(digest) {
            let entry = Entry::new(blob_path(digest)?, Kind::File, 0o644);
            write::append(&mut self.output, &entry, bytes)?;
        }
        Ok(())
    }

    fn is_new(&mut self, digest: &Digest) -> bool {
        if self.written.contains(digest) {
            return false;
        }
        self.written.push(digest.clone());
        true
    }

    fn layer(&mut self, images: &Images, layer: &Layer) -> Result<()> {
        let digest = layer.blob.digest();
        if !self.is_new(digest) {
            return Ok(());
        }
        let size = match &layer.meta.backing {
            Backing::Blob { size, .. } => *size,
            Backing::Tree => layer.meta.tar_size,
        };
        let mut entry = Entry::new(blob_path(digest)?, Kind::File, 0o644);
        entry.size = size;
        let mut header = Vec::new();
        write::header(&mut header, &entry)?;
        self.output.write_all(&header)?;
        let written = match &layer.meta.backing {
            Backing::Blob { digest, .. } => {
                // The buffer is passed by, so that to a file or a pipe the kernel copies.
                self.output.flush().context("write the archive")?;
                let mut blob = blobs::open(images, digest)?.take(size);
                io::copy(&mut blob, self.output.get_mut()).context("write the archive")?
            }
            Backing::Tree => layers::write(images, &layer.meta, &mut self.output)?,
        };
        ensure!(
            written == size,
            "the layer {} has {written} of {size} bytes",
            layer.meta.diff_id
        );
        let padding = vec![0; write::padding(size)];
        Ok(self.output.write_all(&padding)?)
    }
}
