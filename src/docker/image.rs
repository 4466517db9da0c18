//! What `image inspect`, `images` and `history` say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use super::inspect::GraphDriver;
use crate::oci::image::{Config, Healthcheck};

/// An image (`GET /images/{name}/json`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageInspect {
    /// `sha256:…`, the digest of the configuration.
    pub id: String,
    /// As people see them.
    pub repo_tags: Vec<String>,
    /// `name@sha256:…` of the manifest, where it was pulled from or pushed to.
    pub repo_digests: Vec<String>,
    /// The image it was committed from; empty if unknown.
    pub parent: String,
    /// Said when it was made.
    pub comment: String,
    /// RFC 3339 with nanoseconds.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created: String,
    /// Version of the engine that made it.
    pub docker_version: String,
    /// Who made it.
    pub author: String,
    /// Defaults of containers.
    #[serde(serialize_with = "in_dockers_order")]
    pub config: Option<Config>,
    /// `amd64`.
    pub architecture: String,
    /// `v8`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// `linux`.
    pub os: String,
    /// Bytes of all layers, unpacked.
    pub size: i64,
    /// Where the layers are.
    pub graph_driver: GraphDriver,
    /// Digests of the layers.
    #[serde(rename = "RootFS")]
    pub root_fs: RootFs,
    /// What only this machine knows of it.
    pub metadata: Metadata,
}

/// Writes a configuration as docker shows it: what image-spec has comes before what docker adds. The document that an image's
/// id is of has another order.
#[expect(clippy::ref_option, reason = "serde calls it with the field")]
fn in_dockers_order<S: Serializer>(
    config: &Option<Config>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Shown {
        #[serde(flatten)]
        of_the_spec: Config,
        #[serde(skip_serializing_if = "Option::is_none")]
        args_escaped: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        healthcheck: Option<Healthcheck>,
        #[serde(skip_serializing_if = "Option::is_none")]
        on_build: Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        shell: Option<Vec<String>>,
    }
    let shown = config.clone().map(|mut config| Shown {
        args_escaped: config.args_escaped.take(),
        healthcheck: config.healthcheck.take(),
        on_build: config.on_build.take(),
        shell: config.shell.take(),
        of_the_spec: config,
    });
    shown.serialize(serializer)
}

/// Digests of the layers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// From the lowest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
}

/// What only this machine knows of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Metadata {
    /// When a tag last moved to it, RFC 3339 with nanoseconds.
    pub last_tag_time: String,
}

/// A line of `images` (`GET /images/json`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageSummary {
    /// Containers that use it; -1 if not counted.
    pub containers: i64,
    /// Seconds since 1970.
    pub created: i64,
    /// `sha256:…`.
    pub id: String,
    /// Of its configuration.
    pub labels: Option<BTreeMap<String, String>>,
    /// The image it was committed from; empty if unknown.
    pub parent_id: String,
    /// `name@sha256:…`.
    pub repo_digests: Vec<String>,
    /// As people see them.
    pub repo_tags: Vec<String>,
    /// Bytes that other images have too; -1 if not counted.
    pub shared_size: i64,
    /// Bytes of all layers, unpacked.
    pub size: i64,
}

/// A line of `history` (`GET /images/{name}/history`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HistoryItem {
    /// `sha256:…`, or `<missing>`.
    pub id: String,
    /// Seconds since 1970; below 0 if unknown.
    pub created: i64,
    /// By which command.
    pub created_by: String,
    /// Names of the image, on its newest line.
    pub tags: Option<Vec<String>>,
    /// Bytes of the layer.
    pub size: i64,
    /// What was said about it.
    pub comment: String,
}

/// What `rmi` did: one of both (`DELETE /images/{name}`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Removed {
    /// A reference was taken away.
    Untagged(String),
    /// An image or a layer is gone.
    Deleted(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_shown_in_dockers_order() {
        const SHOWN: &str = r#"{"User":"1","ExposedPorts":{"80/tcp":{}},"Env":["A=b"],"Entrypoint":["/bin/sh"],"Cmd":["sh"],"Volumes":{"/v":{}},"WorkingDir":"/w","Labels":{"a":"b"},"StopSignal":"SIGINT","Healthcheck":{"Test":["CMD-SHELL","true"]},"OnBuild":["RUN true"]}"#;
        let config: Config = serde_json::from_str(SHOWN).unwrap();
        assert_ne!(serde_json::to_string(&config).unwrap(), SHOWN);
        let inspect = ImageInspect {
            config: Some(config),
            ..ImageInspect::default()
        };
        let text = serde_json::to_string(&inspect).unwrap();
        assert!(text.contains(&format!("\"Config\":{SHOWN},")), "{text}");
        let none = serde_json::to_value(ImageInspect::default()).unwrap();
        assert!(none["Config"].is_null());
    }
}
