//! Documents of the three specs (image, runtime, distribution): serde types with public fields, and pure functions.
//!
//! Descriptor, manifest, index and digest are the types of the `oci-spec` crate. The runtime configuration and the image
//! configuration are ours: the crate's enums refuse a whole document for one unknown capability, where callers expect a
//! warning, and its image configuration drops what docker adds.

pub mod digest;
pub mod image;
pub mod platform;
pub mod reference;
pub mod runtime;
pub mod state;

/// Reads `null`, which Go writes for an empty list or map, as the default.
pub(crate) fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    let value: Option<T> = serde::Deserialize::deserialize(deserializer)?;
    Ok(value.unwrap_or_default())
}
