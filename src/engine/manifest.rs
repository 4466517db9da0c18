//! What a registry has under a name, without pulling it.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci_spec::image::{Descriptor, ImageManifest};
use serde_json::{Map, Value, json};

use super::Engine;
use super::registries::{self, Access};
use crate::error;
use crate::oci::image::{DOCKER_MANIFEST, DOCUMENT_MAX_BYTES, ImageConfig};
use crate::oci::reference::Reference;
use crate::registry::client::Fetched;
use crate::registry::manifest::{self, Document, OCI_MANIFEST};
use crate::registry::source::Source;

/// A document of a registry.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// As the registry has it.
    pub bytes: Vec<u8>,
    /// Whether it is an index.
    pub is_index: bool,
    /// Each image of it as docker describes it; only if that was wanted.
    pub described: Vec<Value>,
}

/// What is wanted, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InspectOptions {
    /// Whether each image is described.
    pub verbose: bool,
    /// Whether any certificate will do, and plain HTTP.
    pub insecure: bool,
}

/// Returns the manifest or index behind a name, and what each image of it is if that is wanted.
///
/// The error is of kind `NotFound` if there is none.
pub fn inspect(
    engine: &Engine,
    reference: &Reference,
    options: InspectOptions,
    access: &Access,
) -> Result<Shown> {
    let reference = reference.clone().or_latest();
    let source = registries::source_by(engine, access, &reference, |endpoint| {
        endpoint.tls.insecure |= options.insecure;
    })?;
    let fetched = match &reference.digest {
        Some(digest) => source.by_digest(digest),
        None => source.by_tag(reference.tag.as_deref().unwrap_or_default()),
    };
    let fetched = fetched.map_err(|failure| match failure.status() {
        Some(404) => error::not_found(format!("no such manifest: {reference}")),
        _ => registries::explain(&reference, &failure),
    })?;
    let document = manifest::parse(&fetched.bytes, &fetched.media_type)?;
    let is_index = matches!(document, Document::Index(_));
    let mut described = Vec::new();
    if options.verbose {
        match document {
            Document::Image(image) => {
                let descriptor = descriptor(&source, &fetched, &image)?;
                described.push(describe(&reference, &descriptor, &fetched, &image)?);
            }
            Document::Index(index) => {
                for entry in index.manifests() {
                    let fetched = source.by_digest(entry.digest())?;
                    // Attestations and nested indexes are no images.
                    if let Ok(Document::Image(image)) =
                        manifest::parse(&fetched.bytes, &fetched.media_type)
                    {
                        let value = serde_json::to_value(entry).context("encode a descriptor")?;
                        described.push(describe(&reference, &value, &fetched, &image)?);
                    }
                }
            }
        }
    }
    Ok(Shown {
        bytes: fetched.bytes,
        is_index,
        described,
    })
}

fn media_type(fetched: &Fetched, image: &ImageManifest) -> String {
    let own = image.media_type().as_ref().map(ToString::to_string);
    own.unwrap_or_else(|| match fetched.media_type.as_str() {
        DOCKER_MANIFEST => DOCKER_MANIFEST.to_owned(),
        _ => OCI_MANIFEST.to_owned(),
    })
}

/// Describes an image that is in no index: its platform is in its configuration.
fn descriptor(source: &Source, fetched: &Fetched, image: &ImageManifest) -> Result<Value> {
    let config: &Descriptor = image.config();
    let mut bytes = Vec::new();
    anyhow::ensure!(
        config.size() <= DOCUMENT_MAX_BYTES,
        "the configuration is too large"
    );
    let mut reader = source.blob((config.digest(), config.size(), &[]), 0, Box::new(|_| {}));
    std::io::Read::read_to_end(&mut reader, &mut bytes)
        .with_context(|| format!("fetch the configuration {}", config.digest()))?;
    let parsed: ImageConfig = serde_json::from_slice(&bytes).unwrap_or_default();
    let mut platform = Map::new();
    platform.insert("architecture".to_owned(), json!(parsed.architecture));
    platform.insert("os".to_owned(), json!(parsed.os));
    if let Some(variant) = parsed.variant {
        platform.insert("variant".to_owned(), json!(variant));
    }
    Ok(json!({
        "mediaType": media_type(fetched, image),
        "digest": fetched.digest,
        "size": fetched.bytes.len(),
        "platform": platform,
    }))
}

fn describe(
    reference: &Reference,
    descriptor: &Value,
    fetched: &Fetched,
    image: &ImageManifest,
) -> Result<Value> {
    let key = if media_type(fetched, image) == DOCKER_MANIFEST {
        "SchemaV2Manifest"
    } else {
        "OCIManifest"
    };
    let manifest: Value = serde_json::from_slice(&fetched.bytes).context("read the manifest")?;
    let mut all = Map::new();
    let name = match reference.digest {
        Some(_) => reference.to_string(),
        None => format!("{reference}@{}", fetched.digest),
    };
    all.insert("Ref".to_owned(), json!(name));
    all.insert("Descriptor".to_owned(), descriptor.clone());
    all.insert(
        "Raw".to_owned(),
        json!(BASE64_STANDARD.encode(&fetched.bytes)),
    );
    all.insert(key.to_owned(), manifest);
    Ok(Value::Object(all))
}
