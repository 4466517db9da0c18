//! Volumes and events; version and info.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
