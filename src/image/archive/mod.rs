//! Images as one file: what `import`, `load`, `save` and `export` read and write.
//!
//! ```text
//! manifest.json                 docker's list of images: configuration, names, layers by path
//! index.json  oci-layout        the same as an OCI image layout
//! blobs/sha256/HEX              configurations, manifests, layers
//! repositories                  names as docker before 1.10 had them
//! HEX.json  HEX/layer.tar       configurations and layers of docker before 25, named instead of blobs
//! ```
//!
//! save writes both descriptions over the same blobs, as docker does since 25, so whoever knows one of them can load it.

pub mod export;
pub mod import;
mod legacy;
pub mod load;
mod members;
mod plan;
pub mod save;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

/// An image in `manifest.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ManifestItem {
    /// Path of the configuration.
    pub(crate) config: String,
    /// Names with a tag, as people see them; null for none.
    pub(crate) repo_tags: Option<Vec<String>>,
    /// Paths of the layers, from the lowest.
    pub(crate) layers: Vec<String>,
    /// Id of the image that it was committed from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<String>,
}

/// The annotation in which docker and containerd note the whole name of an image.
pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";
