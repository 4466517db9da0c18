//! Which registry has a repository and how it is asked, and what its failures mean for the user.

use anyhow::Result;

use super::Engine;
use crate::error::{self, Kind};
use crate::oci::reference::{DEFAULT_REGISTRY, Reference};
use crate::registry::auth::Lookup;
use crate::registry::client::Client;
use crate::registry::credentials::Store;
use crate::registry::endpoint::{Credentials, Endpoint, Settings};
use crate::registry::failure::{Failure, Why};
use crate::registry::hosts::{self, Folders};
use crate::registry::http::Cancel;
use crate::registry::source::Source;

/// What a pull or push does when it must end early, and how it is configured.
#[derive(Debug)]
pub struct Access {
    /// Ends it.
    pub cancel: Cancel,
    /// What holds for all registries.
    pub settings: Settings,
    /// What the user has for registries.
    pub credentials: Store,
}

impl Access {
    /// Returns how to look up the credentials of `key`, when a registry asks for them: a helper program may take its time.
    ///
    /// What cannot be read is a warning, and then the registry is asked as by anybody.
    pub fn lookup(&self, key: Option<String>, repository: Option<&str>) -> Lookup {
        let store = self.credentials.clone();
        let repository = repository.map(str::to_owned);
        Box::new(move || {
            let Some(key) = &key else {
                return Ok(Credentials::None);
            };
            match store.find(key, repository.as_deref()) {
                Ok(found) => Ok(found),
                Err(error) => {
                    tracing::warn!("{}", error::line(&error));
                    Ok(Credentials::None)
                }
            }
        })
    }
}

/// Returns what daemon.json, the environment and the user's config.json say of all registries.
pub fn access(engine: &Engine) -> Result<Access> {
    let variable = |name: &str| std::env::var(name).ok();
    Ok(Access {
        cancel: Cancel::default(),
        settings: hosts::limits(engine.settings()?, &variable),
        credentials: Store::open(engine.client_config.as_deref(), &variable),
    })
}

/// Returns where what `registry` has is asked for, in the order in which it is.
pub(crate) fn endpoints(engine: &Engine, access: &Access, registry: &str) -> Result<Vec<Endpoint>> {
    let folders = Folders::beside(engine.settings_file.as_deref());
    // A broken config.json is told when its credentials are looked up.
    let headers = access.credentials.headers().unwrap_or_default();
    hosts::endpoints(registry, engine.settings()?, headers, &folders)
}

/// Returns the registry itself, which comes last.
pub(crate) fn server(engine: &Engine, access: &Access, registry: &str) -> Result<Endpoint> {
    let mut endpoints = endpoints(engine, access, registry)?;
    Ok(endpoints.pop().expect("every registry has an endpoint"))
}

/// Returns the repository of `reference` at all endpoints of its registry.
pub(crate) fn source(engine: &Engine, access: &Access, reference: &Reference) -> Result<Source> {
    source_by(engine, access, reference, |_| {})
}

/// Returns the repository of `reference` at all endpoints of its registry, each of which `change` may change.
pub(crate) fn source_by(
    engine: &Engine,
    access: &Access,
    reference: &Reference,
    change: impl Fn(&mut Endpoint),
) -> Result<Source> {
    let mut clients = Vec::new();
    for mut endpoint in endpoints(engine, access, &reference.registry)? {
        change(&mut endpoint);
        let key = endpoint.credentials.clone();
        clients.push(Client::new(
            &endpoint,
            &access.settings,
            access.lookup(key, Some(&reference.repository)),
            &access.cancel,
        )?);
    }
    Ok(Source {
        clients,
        repository: reference.repository.clone(),
    })
}

/// Returns what a failure to read a repository means, in docker's words.
pub(crate) fn explain(reference: &Reference, failure: &Failure) -> anyhow::Error {
    let text = failure.to_string();
    let familiar = reference.familiar();
    let name = reference.familiar_name();
    let login = format!("aril login {}", host(reference));
    match failure {
        Failure::Refused(refusal) if refusal.needs_credentials => {
            let error = error::new(Kind::Forbidden, text);
            error::with_hint(error, login)
        }
        Failure::Refused(_) if failure.is_code("NAME_UNKNOWN") => {
            error::not_found(format!("repository {name} not found: {text}"))
        }
        Failure::Refused(refusal) if refusal.status == 404 => {
            let text = if refusal.errors.is_empty() {
                "manifest unknown: manifest unknown".to_owned()
            } else {
                text
            };
            error::not_found(format!("manifest for {familiar} not found: {text}"))
        }
        Failure::Refused(refusal) if matches!(refusal.status, 401 | 403) => {
            if !failure.is_code("DENIED") && !failure.is_code("UNAUTHORIZED") {
                return error::with_hint(error::new(Kind::Forbidden, text), login);
            }
            let denied = "requested access to the resource is denied";
            let said = refusal.errors.iter().find(|error| error.code == "DENIED");
            let message = said.map_or(denied, |error| error.message.as_str());
            let error = error::not_found(format!(
                "pull access denied for {name}, repository does not exist or may require 'docker login': denied: {message}"
            ));
            error::with_hint(error, login)
        }
        Failure::Refused(refusal) if refusal.status == 429 => error::with_hint(
            error::unavailable(text),
            format!("{login}: registries allow more to those they know; or name a mirror"),
        ),
        other => connection(&reference.registry, other),
    }
}

/// Returns what a failure of the way to a registry means, with what helps.
pub(crate) fn connection(registry: &str, failure: &Failure) -> anyhow::Error {
    let why = match failure {
        Failure::Transport(transport) => Some(transport.why),
        _ => None,
    };
    let error = anyhow::Error::new(failure.clone());
    match why {
        Some(Why::Plain) => error::with_hint(
            error,
            format!(
                r#""insecure-registries": ["{registry}"] in /etc/aril/daemon.json allows plain HTTP"#
            ),
        ),
        Some(Why::Certificate) if failure.to_string().contains("remote error") => error::with_hint(
            error,
            format!(
                "it asks who is calling: put your certificate and its key into /etc/docker/certs.d/{registry}/, as client.cert and client.key"
            ),
        ),
        Some(Why::Certificate) => error::with_hint(
            error,
            format!(
                "put the certificate of its authority into /etc/docker/certs.d/{registry}/ca.crt"
            ),
        ),
        _ => error,
    }
}

fn host(reference: &Reference) -> &str {
    match reference.registry.as_str() {
        DEFAULT_REGISTRY => "",
        other => other,
    }
}
