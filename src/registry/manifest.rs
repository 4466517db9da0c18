//! Manifests and indexes (image-spec manifest.md, image-index.md), and docker's, as registries have them. Pure.

use anyhow::{Context as _, Result, bail};
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use serde_json::Value;

use crate::error;
use crate::oci::image::{DOCKER_CONFIG, DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, DOCUMENT_MAX_BYTES};
use crate::oci::platform::Platform;

/// OCI's manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI's index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI's configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// What we can read, in the order of preference.
pub(crate) const ACCEPTED: &[&str] = &[
    OCI_INDEX,
    DOCKER_MANIFEST_LIST,
    OCI_MANIFEST,
    DOCKER_MANIFEST,
];

/// The annotation by which builders mark what is no image but says something of one.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// A document that a tag can stand for.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// One image.
    Image(Box<ImageManifest>),
    /// Images of several platforms, or other indexes.
    Index(Box<ImageIndex>),
}

/// Reads a manifest or index; `media_type` is what the registry says it is, and may be empty.
///
/// Refuses what is both, what says that it is something else than the registry does, and manifests of schema 1.
pub fn parse(bytes: &[u8], media_type: &str) -> Result<Document> {
    anyhow::ensure!(
        bytes.len() as u64 <= DOCUMENT_MAX_BYTES,
        "the manifest is larger than {DOCUMENT_MAX_BYTES} bytes"
    );
    let value: Value = serde_json::from_slice(bytes).context("the manifest is no JSON")?;
    let own = value.get("mediaType").and_then(Value::as_str);
    let is_schema1 = value.get("fsLayers").is_some()
        || value.get("schemaVersion") == Some(&Value::from(1))
        || media_type.starts_with("application/vnd.docker.distribution.manifest.v1+");
    if is_schema1 {
        let why = "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed";
        return Err(error::with_hint(
            error::invalid(why),
            "ask the author to push the image again with a newer tool, to the OCI format or schema 2",
        ));
    }
    let is_index = value.get("manifests").is_some();
    let is_image = value.get("config").is_some() || value.get("layers").is_some();
    if is_index && is_image {
        bail!("the manifest is an image and an index at once");
    }
    let said = [own.unwrap_or_default(), media_type];
    // A registry that does not know says something general.
    for said in said {
        let kind = kind(said);
        if kind.is_some_and(|index| index != is_index) {
            bail!("the manifest is not what its media type {said:?} says");
        }
    }
    if let (Some(own), true) = (own, kind(media_type).is_some())
        && own != media_type
    {
        bail!("the manifest says that it is {own:?}, and the registry that it is {media_type:?}");
    }
    if is_index {
        return Ok(Document::Index(Box::new(
            serde_json::from_value(value).context("read the index")?,
        )));
    }
    if !is_image {
        let media_type = own.unwrap_or(media_type);
        bail!("unsupported manifest media type {media_type:?}");
    }
    let manifest: ImageManifest = serde_json::from_value(value).context("read the manifest")?;
    check_config(manifest.config().media_type().as_ref())?;
    Ok(Document::Image(Box::new(manifest)))
}

/// Whether a media type is that of an index (or of an image); nothing for others.
fn kind(media_type: &str) -> Option<bool> {
    match media_type {
        OCI_INDEX | DOCKER_MANIFEST_LIST => Some(true),
        OCI_MANIFEST | DOCKER_MANIFEST => Some(false),
        _ => None,
    }
}

/// Refuses what is kept in registries and is no image: charts, plugins, signatures.
fn check_config(media_type: &str) -> Result<()> {
    match media_type {
        // Old tools pushed configurations under the general types.
        OCI_CONFIG
        | DOCKER_CONFIG
        | "application/octet-stream"
        | "application/json"
        | "text/html"
        | "" => Ok(()),
        "application/vnd.docker.plugin.v1+json" => {
            Err(error::invalid("this is a plugin of docker, and no image"))
        }
        other => Err(error::invalid(format!(
            "Encountered remote {other:?}(unknown) when fetching: it is no image"
        ))),
    }
}

/// Returns which entry of an index is for a platform.
///
/// Attestations, and what is neither a manifest nor an index, are passed over. The error is of kind `NotFound`.
pub fn choose<'i>(index: &'i ImageIndex, platform: &Platform) -> Result<&'i Descriptor> {
    let is_candidate = |descriptor: &&Descriptor| {
        let notes = descriptor.annotations().as_ref();
        let media_type = descriptor.media_type().as_ref();
        notes.is_none_or(|notes| !notes.contains_key(REFERENCE_TYPE))
            && (kind(media_type).is_some() || media_type.is_empty())
    };
    let candidates: Vec<Descriptor> = index
        .manifests()
        .iter()
        .filter(is_candidate)
        .cloned()
        .collect();
    let best = platform.best(&candidates).map(Descriptor::digest);
    let found = index
        .manifests()
        .iter()
        .find(|descriptor| Some(descriptor.digest()) == best && is_candidate(descriptor));
    found.ok_or_else(|| {
        let mut shown = platform.clone();
        // Nobody asked for a level of the architecture.
        if shown.architecture == "amd64" {
            shown.variant.clear();
        }
        error::not_found(format!(
            "no matching manifest for {shown} in the manifest list entries"
        ))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn zeros(digit: u8) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    fn image() -> Value {
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": zeros(0), "size": 1}, "layers": []})
    }

    fn refused(value: &Value, media_type: &str, why: &str) {
        let error = parse(value.to_string().as_bytes(), media_type).unwrap_err();
        assert!(error.to_string().contains(why), "{error:#}");
    }

    #[test]
    fn documents_are_what_they_say() {
        let parsed = |value: &Value, media_type: &str| {
            parse(value.to_string().as_bytes(), media_type).unwrap()
        };
        assert!(matches!(parsed(&image(), OCI_MANIFEST), Document::Image(_)));
        assert!(matches!(parsed(&image(), "text/plain"), Document::Image(_)));
        let mut bare = image();
        bare.as_object_mut().unwrap().remove("mediaType");
        assert!(matches!(parsed(&bare, ""), Document::Image(_)));
        let index = json!({"schemaVersion": 2, "manifests": []});
        assert!(matches!(parsed(&index, OCI_INDEX), Document::Index(_)));
        refused(&index, OCI_MANIFEST, "not what its media type");
        refused(&image(), DOCKER_MANIFEST, "and the registry");
        let mut both = image();
        both["manifests"] = json!([]);
        refused(&both, "", "an image and an index");
        refused(
            &json!({"schemaVersion": 1, "fsLayers": []}),
            "",
            "schema 1 support has been removed",
        );
        refused(
            &json!({"schemaVersion": 2}),
            "application/x",
            "unsupported manifest",
        );
        let mut chart = image();
        chart["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
        refused(&chart, "", "no image");
    }

    #[test]
    fn the_platform_is_found_among_other_things() {
        let entry = |digit: u8, architecture: &str, more: Value| {
            let mut entry = json!({"mediaType": OCI_MANIFEST, "digest": zeros(digit), "size": 1,
                "platform": {"os": "linux", "architecture": architecture}});
            for (key, value) in more.as_object().unwrap() {
                entry[key] = value.clone();
            }
            entry
        };
        let index = json!({"schemaVersion": 2, "manifests": [
            entry(1, "amd64", json!({"annotations": {REFERENCE_TYPE: "attestation-manifest"}})),
            entry(2, "amd64", json!({"mediaType": "application/x"})),
            entry(3, "unknown", json!({"platform": {"os": "unknown", "architecture": "unknown"}})),
            entry(4, "arm64", json!({})),
            entry(5, "amd64", json!({})),
        ]});
        let Document::Index(index) = parse(index.to_string().as_bytes(), "").unwrap() else {
            unreachable!("it has manifests");
        };
        let chosen = |platform: &str| {
            choose(&index, &Platform::parse(platform).unwrap())
                .map(|found| found.digest().to_string())
        };
        assert_eq!(chosen("linux/amd64").unwrap(), zeros(5));
        assert_eq!(chosen("linux/arm64").unwrap(), zeros(4));
        let error = chosen("linux/s390x").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no matching manifest for linux/s390x in the manifest list entries"
        );
        assert!(error::is(&error, error::Kind::NotFound));
    }
}
