//! The client of the distribution-spec: manifests, blobs, tags and uploads of one registry, over its endpoints.
//!
//! ```text
//! endpoint     where and how a registry is reached: data, made by the configuration
//! ```

pub mod endpoint;
