//! `[registry/]repository[:tag][@digest]` (distribution-spec, Pulling manifests), with docker's defaults and its texts.

use std::fmt;

use anyhow::Result;
use oci_spec::image::Digest;

use crate::error;
use crate::oci::digest;

/// The registry of names without one.
pub const DEFAULT_REGISTRY: &str = "docker.io";
const LEGACY_REGISTRY: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
/// The tag of references that are wanted with one and have none.
pub const DEFAULT_TAG: &str = "latest";
const REPOSITORY_MAX: usize = 255;
const TAG_MAX: usize = 128;

/// A reference with its defaults filled in; prints in full, `docker.io/library/alpine:3`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Host, with its port if there is one.
    pub registry: String,
    /// Path in the registry; `library/` is filled in for docker.io.
    pub repository: String,
    /// A tag, if one was written.
    pub tag: Option<String>,
    /// A digest, if one was written; it decides, and the tag is for people.
    pub digest: Option<Digest>,
}

impl Reference {
    /// Reads a reference as people write it: `alpine`, `user/app:1`, `host:5000/x@sha256:…`.
    ///
    /// Errors are of kind `Invalid`.
    pub fn parse(text: &str) -> Result<Reference> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            let why = "cannot specify 64-byte hexadecimal strings";
            return Err(error::invalid(format!(
                "invalid repository name ({text}), {why}"
            )));
        }
        let (registry, rest) = split_registry(text);
        let name = rest.split(':').next().unwrap_or_default();
        if name.chars().any(char::is_uppercase) {
            let why = format!("repository name ({name}) must be lowercase");
            return Err(error::invalid(format!("invalid reference format: {why}")));
        }
        let malformed = || error::invalid("invalid reference format");
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest::parse(digest).map_err(|_| malformed())?)),
            None => (rest.as_str(), None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if !is_registry(&registry) || !is_repository(repository) || !tag.is_none_or(is_tag) {
            return Err(malformed());
        }
        if repository.len() > REPOSITORY_MAX {
            let why = format!("repository name must not be more than {REPOSITORY_MAX} characters");
            return Err(error::invalid(why));
        }
        Ok(Reference {
            registry,
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }

    /// Returns the reference with `latest` added if it has neither tag nor digest.
    #[must_use]
    pub fn or_latest(mut self) -> Reference {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// Returns registry and repository without tag and digest, in full.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Returns registry and repository as people see them: `alpine`, `user/app`, `host:5000/x`.
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.name();
        }
        match self.repository.strip_prefix(OFFICIAL) {
            Some(short) if !short.contains('/') => short.to_owned(),
            _ => self.repository.clone(),
        }
    }

    /// Returns the reference as people see it.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    fn with_suffix(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_ref());
        }
        text
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.name()))
    }
}

/// The head is a registry only if it looks like a host; else it belongs to the repository.
fn split_registry(text: &str) -> (String, String) {
    let host = text.split_once('/').filter(|(head, _)| {
        *head == "localhost" || head.contains(['.', ':']) || head.chars().any(char::is_uppercase)
    });
    let (registry, rest) = match host {
        Some((LEGACY_REGISTRY, rest)) => (DEFAULT_REGISTRY, rest),
        Some((head, rest)) => (head, rest),
        None => (DEFAULT_REGISTRY, text),
    };
    let official = registry == DEFAULT_REGISTRY && !rest.contains('/');
    (
        registry.to_owned(),
        if official {
            format!("{OFFICIAL}{rest}")
        } else {
            rest.to_owned()
        },
    )
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(inner) => match inner.split_once(']') {
            Some((address, "")) => return is_address(address),
            Some((address, rest)) if is_address(address) => ("a", rest.strip_prefix(':')),
            _ => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("0")),
        },
    };
    let label = |label: &str| {
        let inner = label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-');
        inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    let digits = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    host.split('.').all(label) && port.is_some_and(digits)
}

fn is_address(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
}

fn is_repository(text: &str) -> bool {
    text.split('/').all(is_component)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_digit() || b.is_ascii_lowercase();
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(|b| word(*b)) && bytes.last().is_some_and(|b| word(*b));
    let separators = text.split(|c: char| u8::try_from(c).is_ok_and(word));
    ends && separators
        .filter(|s| !s.is_empty())
        .all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`
pub fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= TAG_MAX
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, full: &str, familiar: &str) {
        let reference = Reference::parse(input).unwrap();
        assert_eq!(
            (
                reference.to_string().as_str(),
                reference.familiar().as_str()
            ),
            (full, familiar),
            "{input}"
        );
        assert_eq!(Reference::parse(full).unwrap(), reference, "{input}");
    }

    fn refused(input: &str, why: &str) {
        let error = Reference::parse(input).unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error::kind(&error)),
            (why, Some(error::Kind::Invalid)),
            "{input}"
        );
    }

    #[test]
    fn names_get_their_defaults() {
        let zeros = format!("sha256:{}", "0".repeat(64));
        check("alpine", "docker.io/library/alpine", "alpine");
        check("alpine:3.1", "docker.io/library/alpine:3.1", "alpine:3.1");
        check("user/app", "docker.io/user/app", "user/app");
        check(
            "docker.io/ubuntu:12.04",
            "docker.io/library/ubuntu:12.04",
            "ubuntu:12.04",
        );
        check("index.docker.io/a/b", "docker.io/a/b", "a/b");
        check("localhost/x", "localhost/x", "localhost/x");
        check(
            "localhost:5000/x/y:t",
            "localhost:5000/x/y:t",
            "localhost:5000/x/y:t",
        );
        check("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x");
        check(
            "r.example.com/a__b/c-d.e",
            "r.example.com/a__b/c-d.e",
            "r.example.com/a__b/c-d.e",
        );
        check(
            &format!("a@{zeros}"),
            &format!("docker.io/library/a@{zeros}"),
            &format!("a@{zeros}"),
        );
        check(
            &format!("a:1@{zeros}"),
            &format!("docker.io/library/a:1@{zeros}"),
            &format!("a:1@{zeros}"),
        );
        assert_eq!(
            Reference::parse("a").unwrap().or_latest().familiar(),
            "a:latest"
        );
    }

    #[test]
    fn malformed_references_are_refused_with_dockers_texts() {
        refused(
            "UPPER",
            "invalid reference format: repository name (library/UPPER) must be lowercase",
        );
        refused(
            "Bad/Name",
            "invalid reference format: repository name (Name) must be lowercase",
        );
        for bad in [
            "",
            "a b",
            "x:y:z",
            "a/",
            "/a",
            "a//b",
            "-a",
            "a_",
            "a___b",
            "a:",
            "a:-x",
            "a@sha256:12",
            "a@b",
            "h:x/a",
        ] {
            refused(bad, "invalid reference format");
        }
        let hex = "0".repeat(64);
        refused(
            &hex,
            &format!("invalid repository name ({hex}), cannot specify 64-byte hexadecimal strings"),
        );
        refused(
            &"a".repeat(300),
            "repository name must not be more than 255 characters",
        );
        refused(
            &format!("a:{}", "t".repeat(129)),
            "invalid reference format",
        );
    }
}
