//! What a pull or push says while it works: the lines of `POST /images/create` and of `POST /images/{name}/push`.

use serde::{Deserialize, Serialize};

/// One line; printed as `ID: STATUS`, or as the status alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// `Pulling fs layer`.
    pub status: String,
    /// How far it is, without numbers if there are none; a line that has this takes the place of the last one of its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_detail: Option<Detail>,
    /// The beginning of a layer's digest, or a tag; empty for what is said of all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
}

/// How far something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Detail {
    /// Bytes that are done.
    #[serde(skip_serializing_if = "super::is_default")]
    pub current: u64,
    /// All bytes; 0 if that is not known.
    #[serde(skip_serializing_if = "super::is_default")]
    pub total: u64,
}

impl Progress {
    /// Returns a line that stays: of a tag, or of all if `id` is empty.
    pub fn note(id: impl Into<String>, status: impl Into<String>) -> Progress {
        Progress {
            status: status.into(),
            progress_detail: None,
            id: id.into(),
        }
    }

    /// Returns what a layer is doing.
    pub fn layer(id: impl Into<String>, status: impl Into<String>) -> Progress {
        Progress {
            progress_detail: Some(Detail::default()),
            ..Progress::note(id, status)
        }
    }

    /// Returns it with how far it is.
    #[must_use]
    pub fn at(mut self, current: u64, total: u64) -> Progress {
        self.progress_detail = Some(Detail { current, total });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_docker() {
        for (line, json) in [
            (
                Progress::note("latest", "Pulling from library/x"),
                r#"{"status":"Pulling from library/x","id":"latest"}"#,
            ),
            (
                Progress::layer("0123456789ab", "Pulling fs layer"),
                r#"{"status":"Pulling fs layer","progressDetail":{},"id":"0123456789ab"}"#,
            ),
            (
                Progress::layer("a", "Downloading").at(1, 2),
                r#"{"status":"Downloading","progressDetail":{"current":1,"total":2},"id":"a"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&line).unwrap(), json);
        }
    }
}
