//! Paths inside a layer: bytes without a leading slash, without `.` and `..`, the root being empty.
//!
//! They are names of any bytes but NUL and slash; in a document they stand as text, or as a list of bytes if they are not
//! UTF-8.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::tarball::PATH_MAX_BYTES;

/// The longest name in a directory, in bytes.
const NAME_MAX_BYTES: usize = 255;
/// The most names in a path: deeper trees cost every reader a descriptor or a stack frame per level.
const DEPTH_MAX: usize = 1024;

/// A path inside a layer, as [`clean`] returns it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct InnerPath(pub Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<Written> for InnerPath {
    fn from(written: Written) -> InnerPath {
        InnerPath(match written {
            Written::Text(text) => text.into_bytes(),
            Written::Bytes(bytes) => bytes,
        })
    }
}

impl From<InnerPath> for Written {
    fn from(path: InnerPath) -> Written {
        match String::from_utf8(path.0) {
            Ok(text) => Written::Text(text),
            Err(error) => Written::Bytes(error.into_bytes()),
        }
    }
}

impl InnerPath {
    /// Returns it as a path relative to the root of the layer; empty for the root itself.
    pub fn as_path(&self) -> &Path {
        as_path(&self.0)
    }
}

/// Returns `bytes` as a path.
pub(crate) fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// Returns the path that an archive or a user wrote, in the form of this module.
///
/// A leading `/` is dropped, as every reader of layers does. `..` is refused: what it means would depend on links on the
/// way, and no tool that makes images writes it. So are a NUL and what no file system could store.
pub fn clean(path: &[u8]) -> Result<Vec<u8>> {
    let mut clean = Vec::with_capacity(path.len());
    let mut depth = 0;
    for name in path.split(|b| *b == b'/') {
        match name {
            b"" | b"." => continue,
            b".." => bail!("the path {:?} has \"..\" in it", show(path)),
            _ if name.contains(&0) => bail!("the path {:?} has a NUL in it", show(path)),
            _ if name.len() > NAME_MAX_BYTES => {
                bail!("a name in the path {:?} is too long", show(path))
            }
            _ => {}
        }
        if !clean.is_empty() {
            clean.push(b'/');
        }
        clean.extend_from_slice(name);
        depth += 1;
    }
    if clean.len() > PATH_MAX_BYTES || depth > DEPTH_MAX {
        bail!("the path {:?} is too long", show(path));
    }
    Ok(clean)
}

/// Cuts a path into the directory and the last name; the root has neither.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// Returns the path of `name` in the directory `dir`.
pub(crate) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() {
        return name.to_vec();
    }
    let mut path = Vec::with_capacity(dir.len() + 1 + name.len());
    path.extend_from_slice(dir);
    path.push(b'/');
    path.extend_from_slice(name);
    path
}

/// Returns whether `path` is `ancestor` or lies below it.
pub(crate) fn is_within(path: &[u8], ancestor: &[u8]) -> bool {
    path.strip_prefix(ancestor)
        .is_some_and(|rest| ancestor.is_empty() || rest.is_empty() || rest[0] == b'/')
}

/// Returns a path for a message.
pub(crate) fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_or_refused() {
        for (input, expected) in [
            ("", ""),
            ("/", ""),
            ("./", ""),
            ("a", "a"),
            ("/a//b/./c/", "a/b/c"),
            ("...", "..."),
        ] {
            assert_eq!(clean(input.as_bytes()).unwrap(), expected.as_bytes());
        }
        for bad in ["..", "a/../b", "../x", "/..", "a\0b"] {
            assert!(clean(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(clean(&[b'n'; 256]).is_err());
        assert!(clean(&b"d/".repeat(1025)).is_err());
        assert!(clean(&[vec![b'n'; 255], vec![b'/']].concat().repeat(17)).is_err());
    }

    #[test]
    fn names_of_any_bytes_survive_a_document() {
        for bytes in [&b"plain/\xc3\xa4"[..], b"\xff\xfe\"\\", b""] {
            let path = InnerPath(bytes.to_vec());
            let text = serde_json::to_string(&path).unwrap();
            assert_eq!(serde_json::from_str::<InnerPath>(&text).unwrap(), path);
        }
    }

    #[test]
    fn within_is_by_names() {
        assert!(is_within(b"a/b", b"a") && is_within(b"a", b"a") && is_within(b"a", b""));
        assert!(!is_within(b"ab", b"a"));
    }
}
