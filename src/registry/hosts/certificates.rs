//! `certs.d/HOST[:PORT]/`: certificates for one registry, where docker looks for them.
//!
//! ```text
//! *.crt               authorities that are trusted besides the system's
//! NAME.cert NAME.key  a certificate and its key, for registries that ask who is calling
//! ```

use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::error;
use crate::registry::endpoint::Identity;

/// What the folders of one registry hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Files of authorities.
    pub authorities: Vec<PathBuf>,
    /// Pairs of certificate and key.
    pub identities: Vec<Identity>,
}

/// Collects what is in the folder `host` (with its port) of each of `folders`.
///
/// The error is of kind `Invalid` if half of a pair is missing.
pub(super) fn read(folders: &[PathBuf], host: &str) -> Result<Certificates> {
    let mut found = Certificates::default();
    for folder in folders {
        let folder = folder.join(host);
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                continue;
            }
            Err(error) => return Err(error).with_context(|| format!("list {}", folder.display())),
        };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        for file in &files {
            let other = |extension: &str| file.with_extension(extension);
            let name = |file: &PathBuf| {
                file.file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned()
            };
            match file.extension().and_then(OsStr::to_str) {
                Some("crt") => found.authorities.push(file.clone()),
                Some("cert") => {
                    let key = other("key");
                    if !files.contains(&key) {
                        let why = format!(
                            "missing key {} for client certificate {}",
                            name(&key),
                            name(file)
                        );
                        let error = error::invalid(format!("read {}: {why}", folder.display()));
                        return Err(error::with_hint(
                            error,
                            "certificates of authorities have names that end in .crt",
                        ));
                    }
                    found.identities.push(Identity {
                        certificate: file.clone(),
                        key,
                    });
                }
                Some("key") if !files.contains(&other("cert")) => {
                    let certificate = name(&other("cert"));
                    let why = format!(
                        "missing client certificate {certificate} for key {}",
                        name(file)
                    );
                    return Err(error::invalid(format!("read {}: {why}", folder.display())));
                }
                _ => {}
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_whole() {
        let dir = std::env::temp_dir().join(format!("aril-certs-{}", crate::store::unique()));
        let host = dir.join("a.example.com:5000");
        std::fs::create_dir_all(&host).unwrap();
        let folders = [dir.clone(), dir.join("none")];
        let put = |name: &str| std::fs::write(host.join(name), "").unwrap();
        let look = || read(&folders, "a.example.com:5000");
        put("b.crt");
        put("a.crt");
        put("notes.txt");
        let found = look().unwrap();
        assert_eq!(found.authorities, [host.join("a.crt"), host.join("b.crt")]);
        put("client.cert");
        let error = look().unwrap_err().to_string();
        assert!(
            error.ends_with("missing key client.key for client certificate client.cert"),
            "{error}"
        );
        put("client.key");
        assert_eq!(look().unwrap().identities.len(), 1);
        std::fs::remove_file(host.join("client.cert")).unwrap();
        let error = look().unwrap_err().to_string();
        assert!(
            error.ends_with("missing client certificate client.cert for key client.key"),
            "{error}"
        );
        assert_eq!(
            read(&folders, "b.example.com").unwrap(),
            Certificates::default()
        );
        std::fs::remove_dir_all(dir).unwrap();
    }
}
