//! Who the user is to registries: credentials are tried before they are kept, and forgotten on demand.

use anyhow::Result;

use super::Engine;
use super::registries::{self, Access};
use crate::error::{self, Kind};
use crate::registry::client::Client;
use crate::registry::credentials::{self, Kept};
use crate::registry::endpoint::{Credentials, HUB_CREDENTIALS};
use crate::registry::failure::Failure;

/// Returns the key under which the credentials for `server` are kept, however the user wrote it.
pub fn key(server: &str) -> String {
    match credentials::key(server.trim_end_matches('/')) {
        key if key == HUB_CREDENTIALS => key,
        key if credentials::host(&key) == "index.docker.io" => HUB_CREDENTIALS.to_owned(),
        key => credentials::host(&key).to_owned(),
    }
}

/// Asks the registry of `key` whether it takes `credentials`; returns what is to be kept: them, or the token that the registry
/// gives in their place.
///
/// The error is of kind `Forbidden` if it does not, and says in docker's words what was wrong with the way to it otherwise.
pub fn check(
    engine: &Engine,
    access: &Access,
    key: &str,
    credentials: &Credentials,
) -> Result<Credentials> {
    let registry = registry(key);
    let given = credentials.clone();
    let endpoint = registries::server(engine, access, registry)?;
    let client = Client::new(
        &endpoint,
        &access.settings,
        Box::new(move || Ok(given.clone())),
        &access.cancel,
    )?;
    let token = client
        .login()
        .map_err(|failure| refused(&client.home(), registry, &failure))?;
    Ok(token.map_or_else(|| credentials.clone(), Credentials::Identity))
}

fn refused(home: &str, registry: &str, failure: &Failure) -> anyhow::Error {
    let own = format!("Get \"{home}/\"");
    match failure {
        // By the registry itself, and not by its token server.
        Failure::Refused(refusal) if refusal.status == 401 && refusal.request == own => {
            let why = format!("login attempt to {home}/ failed with status: 401 Unauthorized");
            error::new(Kind::Forbidden, why)
        }
        Failure::Refused(refusal) if matches!(refusal.status, 401 | 403) => {
            let text = failure.to_string();
            error::new(Kind::Forbidden, format!("{own}: {text}"))
        }
        _ => registries::connection(registry, failure),
    }
}

/// Keeps what `user` has for the registry of `key`; returns where.
pub fn keep(access: &Access, key: &str, user: &str, credentials: &Credentials) -> Result<Kept> {
    access.credentials.keep(key, user, credentials)
}

/// Forgets what there is for the registry of `key`, under every form in which clients have written it.
///
/// Returns the forms that could not be erased, and why; an error only if none could.
pub fn forget(access: &Access, key: &str) -> Result<()> {
    let mut keys = vec![key.to_owned()];
    if key != HUB_CREDENTIALS {
        keys.push(format!("http://{key}"));
        keys.push(format!("https://{key}"));
    }
    let mut failed = None;
    let mut erased = false;
    for key in &keys {
        match access.credentials.erase(key) {
            Ok(()) => erased = true,
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match failed {
        Some(error) if !erased => Err(error),
        _ => Ok(()),
    }
}

/// Returns the registry whose credentials have this key.
fn registry(key: &str) -> &str {
    if key == HUB_CREDENTIALS {
        crate::oci::reference::DEFAULT_REGISTRY
    } else {
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        for (server, want) in [
            ("", HUB_CREDENTIALS),
            ("docker.io", HUB_CREDENTIALS),
            ("https://index.docker.io/v1/", HUB_CREDENTIALS),
            ("index.docker.io", HUB_CREDENTIALS),
            ("https://registry.example.com/v2/", "registry.example.com"),
            ("registry.example.com:5000", "registry.example.com:5000"),
            ("localhost:5000/", "localhost:5000"),
        ] {
            assert_eq!(key(server), want, "{server}");
        }
    }
}
