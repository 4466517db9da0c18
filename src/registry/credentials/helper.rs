//! Programs that keep credentials: `docker-credential-NAME get|store|erase`.
//!
//! ```text
//! get    stdin: the key            stdout: {"ServerURL","Username","Secret"}; "credentials not found …" and status 1 is none
//! store  stdin: such a document
//! erase  stdin: the key
//! ```
//!
//! The name `<token>` says that the secret is an identity token.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::json;

use crate::error;
use crate::registry::endpoint::{Credentials, Secret};

/// The longest answer that is read.
const ANSWER_MAX_BYTES: u64 = 1 << 20;
/// The user whose secret is an identity token.
const TOKEN_USER: &str = "<token>";
/// What helpers say when they have nothing.
const NOT_FOUND: &str = "credentials not found in native keychain";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Document {
    username: String,
    secret: String,
}

/// Asks the helper called `name` what it has for `key`.
pub(super) fn get(name: &str, key: &str) -> Result<Credentials> {
    match call(&program(name)?, "get", key.as_bytes()) {
        Ok(document) => decode(&document),
        Err(error) if error.to_string().contains(NOT_FOUND) => Ok(Credentials::None),
        Err(error) => Err(error),
    }
}

/// Gives the helper what it is to keep for `key`.
pub(super) fn store(name: &str, key: &str, credentials: &Credentials) -> Result<()> {
    let (user, secret) = match credentials {
        Credentials::Password { user, password } => (user.as_str(), password),
        Credentials::Identity(token) => (TOKEN_USER, token),
        Credentials::None | Credentials::Bearer(_) => {
            return Err(error::invalid(
                "a helper keeps passwords and identity tokens only",
            ));
        }
    };
    let document = json!({"ServerURL": key, "Username": user, "Secret": secret.expose()});
    call(&program(name)?, "store", document.to_string().as_bytes()).map(drop)
}

/// Lets the helper forget what it has for `key`.
pub(super) fn erase(name: &str, key: &str) -> Result<()> {
    match call(&program(name)?, "erase", key.as_bytes()) {
        Err(error) if error.to_string().contains(NOT_FOUND) => Ok(()),
        called => called.map(drop),
    }
}

fn program(name: &str) -> Result<std::path::PathBuf> {
    if name.contains('/') || name.contains('\0') {
        return Err(error::invalid(format!("{name:?} is no name of a helper")));
    }
    Ok(format!("docker-credential-{name}").into())
}

/// Reads what a helper answered.
pub(super) fn decode(document: &[u8]) -> Result<Credentials> {
    // The parser's complaint might repeat a secret.
    let document: Document = serde_json::from_slice(document)
        .map_err(|_| error::invalid("the helper's answer is no JSON document"))?;
    let secret = Secret::new(document.secret);
    Ok(match document.username.as_str() {
        TOKEN_USER => Credentials::Identity(secret),
        "" => Credentials::None,
        user => Credentials::Password {
            user: user.to_owned(),
            password: secret,
        },
    })
}

/// Runs a helper and returns what it wrote to its standard output.
pub(super) fn call(program: &Path, action: &str, input: &[u8]) -> Result<Vec<u8>> {
    let shown = program.display();
    let mut child = Command::new(program)
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => error::with_hint(
                error::unavailable(format!(
                    "exec: \"{shown}\": executable file not found in $PATH"
                )),
                "install the helper, or take it out of credsStore and credHelpers in config.json",
            ),
            _ => anyhow::Error::from(error).context(format!("run {shown}")),
        })?;
    if let Some(mut stdin) = child.stdin.take()
        && let Err(error) = stdin.write_all(input)
    {
        // It may have answered without reading.
        tracing::debug!(%error, "write to {shown}");
    }
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout
            .take(ANSWER_MAX_BYTES)
            .read_to_end(&mut answer)
            .with_context(|| format!("read from {shown}"))?;
    }
    let status = child.wait().with_context(|| format!("wait for {shown}"))?;
    if status.success() {
        return Ok(answer);
    }
    let said = String::from_utf8_lossy(&answer);
    Err(anyhow::anyhow!("err: {status}, out: `{}`", said.trim()))
}
