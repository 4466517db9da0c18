//! Volumes and events; version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of docker whose behaviour this engine has.
pub const DOCKER_VERSION: &str = "28.5.2";
/// The newest version of the API.
pub const API_VERSION: &str = "1.51";
/// The oldest version of the API that is announced; older ones are answered all the same.
pub const MIN_API_VERSION: &str = "1.24";

/// The engine's version (`GET /version`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Version {
    /// The product.
    pub platform: Platform,
    /// The parts of the engine.
    pub components: Vec<Component>,
    /// Of docker.
    pub version: String,
    /// The newest.
    pub api_version: String,
    /// The oldest.
    #[serde(rename = "MinAPIVersion")]
    pub min_api_version: String,
    /// What it was built from.
    pub git_commit: String,
    /// Always empty: there is no Go in it.
    pub go_version: String,
    /// `linux`.
    pub os: String,
    /// `amd64`.
    pub arch: String,
    /// Of the machine.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kernel_version: String,
    /// When it was built; empty if unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub build_time: String,
}

/// The product that an engine is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Platform {
    /// With its own version.
    pub name: String,
}

/// A part of the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Component {
    /// `Engine`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whatever it has to say.
    pub details: BTreeMap<String, String>,
}

impl Version {
    /// Returns the version of this engine, whose own version is `own`, on a machine of `arch` with `kernel`.
    pub fn of_this_program(own: &str, arch: &str, kernel: &str) -> Version {
        let commit = format!("aril-{own}");
        let details = [
            ("ApiVersion", API_VERSION),
            ("Arch", arch),
            ("Experimental", "false"),
            ("GitCommit", &commit),
            ("KernelVersion", kernel),
            ("MinAPIVersion", MIN_API_VERSION),
            ("Os", "linux"),
        ];
        let details = details.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Version {
            platform: Platform {
                name: format!("aril {own}"),
            },
            components: vec![Component {
                name: "Engine".to_owned(),
                version: DOCKER_VERSION.to_owned(),
                details: details.into(),
            }],
            version: DOCKER_VERSION.to_owned(),
            api_version: API_VERSION.to_owned(),
            min_api_version: MIN_API_VERSION.to_owned(),
            git_commit: commit,
            os: "linux".to_owned(),
            arch: arch.to_owned(),
            kernel_version: kernel.to_owned(),
            ..Version::default()
        }
    }
}

/// A volume (`GET /volumes/{name}`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Volume {
    /// RFC 3339, without fractions.
    pub created_at: String,
    /// Only `local` exists.
    pub driver: String,
    /// Metadata.
    pub labels: Option<BTreeMap<String, String>>,
    /// Where its data is on the host.
    pub mountpoint: String,
    /// Its name.
    pub name: String,
    /// `type`, `o`, `device`.
    pub options: Option<BTreeMap<String, String>>,
    /// Always `local`.
    pub scope: String,
    /// What a driver has to say; `local` says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<BTreeMap<String, String>>,
    /// How large it is; only known where it was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_data: Option<BTreeMap<String, i64>>,
}

/// The body of `POST /volumes/create`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeCreate {
    /// Empty makes one up.
    pub name: String,
    /// Empty means `local`.
    pub driver: String,
    /// `type`, `o`, `device`.
    pub driver_opts: Option<BTreeMap<String, String>>,
    /// Metadata.
    pub labels: Option<BTreeMap<String, String>>,
}

/// Something that happened (`GET /events`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// The action once more, for old clients; of containers and images only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// The actor's id once more, for old clients; of containers and images only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The image of a container, for old clients.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// `container`, `image`, `volume`, `network`, `daemon`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// `create`, `start`, `die`, `exec_create: sh`.
    #[serde(rename = "Action")]
    pub action: String,
    /// To what it happened.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// Always `local`.
    pub scope: String,
    /// Seconds since 1970.
    pub time: i64,
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

/// To what something happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Actor {
    /// Id or name.
    #[serde(rename = "ID")]
    pub id: String,
    /// `name`, `image`, labels, and what the action adds.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}
