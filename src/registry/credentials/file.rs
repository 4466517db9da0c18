//! docker's `config.json` and documents of its form: read with a limit, changed without losing what others keep there.
//!
//! ```text
//! { "auths": { KEY: { "auth": base64(user:password), "identitytoken": …, "registrytoken": … } },
//!   "credsStore": NAME, "credHelpers": { KEY: NAME }, "HttpHeaders": { … }, … }
//! ```

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize as _;
use serde_json::{Map, Value, json};

use crate::error;
use crate::registry::endpoint::{Credentials, Secret};
use crate::settings::syntax;
use crate::store::unique;
use crate::sys::limited;

/// A larger file is no configuration.
const MAX_BYTES: u64 = 4 << 20;
/// How many symlinks lead to the file at most.
const LINKS_MAX: u32 = 40;

/// Reads a document; one that does not exist is empty.
///
/// The error is of kind `Invalid` if it is broken, and says where.
pub fn read(path: &Path) -> Result<Map<String, Value>> {
    let context = || format!("read {}", path.display());
    let file = match File::open(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Map::new());
        }
        file => file.with_context(context)?,
    };
    let bytes = limited::read_to_end(file, MAX_BYTES).with_context(context)?;
    let bytes = bytes
        .ok_or_else(|| error::invalid(format!("larger than {MAX_BYTES} bytes")))
        .with_context(context)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| error::invalid("it is not UTF-8"))
        .with_context(context)?;
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(&text).map_err(|error| {
        let mistake = syntax::explain(&text, &error);
        // The line may hold a secret, so it is not repeated here.
        let place = format!("line {}, column {}", mistake.line, mistake.column);
        let error = error::invalid(format!(
            "read {}: {place}: {}",
            path.display(),
            mistake.what
        ));
        if mistake.remedy.is_empty() {
            error
        } else {
            error::with_hint(error, mistake.remedy)
        }
    })
}

/// Reads the text of `DOCKER_AUTH_CONFIG`.
pub(super) fn environment(text: &str) -> Result<Map<String, Value>> {
    // Its text is a secret, so the parser's complaint, which may repeat some, is not passed on.
    let document: Map<String, Value> =
        serde_json::from_str(text).map_err(|_| error::invalid("it is no JSON document"))?;
    Ok(auths(&document))
}

/// Returns the entries of a document.
pub(super) fn auths(document: &Map<String, Value>) -> Map<String, Value> {
    document
        .get("auths")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

/// Reads an entry; one without anything useful is [`Credentials::None`].
pub(super) fn decode(entry: &Value) -> Result<Credentials> {
    let field = |name: &str| {
        entry
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    if let Some(token) = field("registrytoken") {
        return Ok(Credentials::Bearer(Secret::new(token)));
    }
    if let Some(token) = field("identitytoken") {
        return Ok(Credentials::Identity(Secret::new(token)));
    }
    if let Some(auth) = field("auth") {
        return decode_auth(auth);
    }
    Ok(match (field("username"), field("password")) {
        (Some(user), Some(password)) => Credentials::Password {
            user: user.to_owned(),
            password: Secret::new(password),
        },
        _ => Credentials::None,
    })
}

fn decode_auth(text: &str) -> Result<Credentials> {
    let broken = || error::invalid("invalid auth configuration file");
    let text = text.trim();
    let bytes = STANDARD
        .decode(text)
        .or_else(|_| STANDARD_NO_PAD.decode(text))
        .map_err(|_| broken())?;
    let pair = String::from_utf8(bytes).map_err(|_| broken())?;
    let (user, password) = pair.split_once(':').ok_or_else(broken)?;
    // Some clients have padded what they encoded.
    let password = password.trim_end_matches('\0');
    if user.is_empty() {
        return Err(broken());
    }
    if password.is_empty() {
        return Ok(Credentials::None);
    }
    Ok(Credentials::Password {
        user: user.to_owned(),
        password: Secret::new(password),
    })
}

/// Returns the entry for what `user` has.
pub(super) fn encode(user: &str, credentials: &Credentials) -> Value {
    let auth = |user: &str, password: &str| STANDARD.encode(format!("{user}:{password}"));
    match credentials {
        Credentials::None => json!({}),
        Credentials::Password { user, password } => json!({"auth": auth(user, password.expose())}),
        Credentials::Identity(token) if user.is_empty() => json!({"identitytoken": token.expose()}),
        Credentials::Identity(token) => {
            json!({"auth": auth(user, ""), "identitytoken": token.expose()})
        }
        Credentials::Bearer(token) => json!({"registrytoken": token.expose()}),
    }
}

/// Changes a document under a lock, which other calls wait for; `change` returns whether there is something to write.
///
/// The lock is on the file's directory, so nothing is left beside it. A symlink stays one, and mode and owner stay what
/// they are; a new file is for its owner only, and belongs to whom the directory belongs to.
pub fn update(path: &Path, change: &mut dyn FnMut(&mut Map<String, Value>) -> bool) -> Result<()> {
    let path = target(path)?;
    let dir = path.parent().unwrap_or(Path::new("/"));
    let context = || format!("write {}", path.display());
    if !dir.is_dir() {
        // Nothing is kept there; only a change that adds something makes it.
        if !change(&mut Map::new()) {
            return Ok(());
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(context)?;
    }
    let lock = File::open(dir).with_context(context)?;
    flock(&lock, FlockOperation::LockExclusive).with_context(context)?;
    let mut document = read(&path)?;
    if !change(&mut document) {
        return Ok(());
    }
    let mut bytes = Vec::new();
    let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, tabs);
    document.serialize(&mut serializer).with_context(context)?;
    replace(&path, &bytes).with_context(context)
}

fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let temporary = dir.join(format!(".config.json.{}.tmp", unique()));
    let write = || -> std::io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        let (mode, model) = match std::fs::metadata(path) {
            Ok(old) => (old.mode() & 0o777, old),
            Err(_) => (0o600, std::fs::metadata(dir)?),
        };
        // Whoever may not give files away keeps them.
        let owner = (Some(model.uid()), Some(model.gid()));
        if let Err(error) = std::os::unix::fs::fchown(&file, owner.0, owner.1) {
            tracing::debug!(%error, "keep the owner of {}", path.display());
        }
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&temporary)))
}

/// Returns the file that a chain of symlinks leads to, which need not exist.
fn target(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match std::fs::read_link(&path) {
            Ok(link) => path = path.parent().unwrap_or(Path::new("/")).join(link),
            Err(_) => return Ok(path),
        }
    }
    Err(error::invalid(format!(
        "open {}: too many symlinks",
        path.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn entries_of_all_forms_are_read() {
        let check = |entry: Value, want: &str| {
            let got = match decode(&entry) {
                Ok(Credentials::None) => "none".to_owned(),
                Ok(Credentials::Password { user, password }) => {
                    format!("{user}/{}", password.expose())
                }
                Ok(Credentials::Identity(token)) => format!("identity {}", token.expose()),
                Ok(Credentials::Bearer(token)) => format!("bearer {}", token.expose()),
                Err(error) => error.to_string(),
            };
            assert_eq!(got, want, "{entry}");
        };
        check(json!({}), "none");
        check(json!({"auth": ""}), "none");
        check(json!({"auth": "bWU6cGE6c3M="}), "me/pa:ss");
        check(json!({"auth": "bWU6cGE6c3M"}), "me/pa:ss");
        check(json!({"auth": "bWU6cHcAAA=="}), "me/pw");
        check(json!({"auth": "OnB3"}), "invalid auth configuration file");
        check(json!({"auth": "!"}), "invalid auth configuration file");
        check(json!({"auth": "bWU="}), "invalid auth configuration file");
        check(json!({"auth": "bWU6", "identitytoken": "t"}), "identity t");
        check(json!({"username": "u", "password": "p"}), "u/p");
        check(json!({"registrytoken": "r"}), "bearer r");
        check(json!(7), "none");
    }

    proptest! {
        /// What is kept is what is found, whatever characters it has.
        #[test]
        fn entries_are_read_as_they_were_written(user in "[^:\u{0}]{1,20}", password in "[^\u{0}]{1,40}") {
            let credentials = Credentials::Password { user: user.clone(), password: Secret::new(password) };
            prop_assert_eq!(decode(&encode(&user, &credentials)).unwrap(), credentials);
        }

        #[test]
        fn no_entry_is_too_strange(text in any::<String>()) {
            drop(decode(&json!({"auth": text})));
            drop(environment(&text));
        }
    }
}
