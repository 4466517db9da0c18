//! Which registry has a repository and how it is asked, and what its failures mean for the user.

use anyhow::Result;

use super::Engine;
use crate::error::{self, Kind};
use crate::oci::reference::{DEFAULT_REGISTRY, Reference};
use crate::registry::client::Client;
use crate::registry::endpoint::{
    CONNECT_TIMEOUT, Capabilities, Credentials, Endpoint, HUB_CREDENTIALS, HUB_HOST, Settings, Tls,
};
use crate::registry::failure::{Failure, Why};
use crate::registry::http::Cancel;
use crate::registry::proxy::is_loopback;
use crate::registry::source::Source;

/// What a pull or push does when it must end early, and how it is configured.
#[derive(Debug, Default)]
pub struct Access {
    /// Ends it.
    pub cancel: Cancel,
    /// What holds for all registries.
    pub settings: Settings,
}

/// Returns the repository of `reference` at all endpoints of its registry.
pub(crate) fn source(_engine: &Engine, access: &Access, reference: &Reference) -> Result<Source> {
    let mut clients = Vec::new();
    for endpoint in endpoints(&reference.registry) {
        clients.push(Client::new(
            &endpoint,
            &access.settings,
            Box::new(|| Ok(Credentials::None)),
            &access.cancel,
        )?);
    }
    Ok(Source {
        clients,
        repository: reference.repository.clone(),
    })
}

fn endpoints(registry: &str) -> Vec<Endpoint> {
    let is_hub = registry == DEFAULT_REGISTRY;
    let host = if is_hub { HUB_HOST } else { registry };
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    vec![Endpoint {
        base: format!("https://{host}/v2"),
        capabilities: Capabilities::ALL,
        namespace: None,
        credentials: Some(if is_hub { HUB_CREDENTIALS } else { registry }.to_owned()),
        tls: Tls {
            insecure: is_loopback(name),
            ..Tls::default()
        },
        headers: Vec::new(),
        connect_timeout: CONNECT_TIMEOUT,
    }]
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
        other => connection(reference, other),
    }
}

/// Returns what a failure of the way to a registry means, with what helps.
pub(crate) fn connection(reference: &Reference, failure: &Failure) -> anyhow::Error {
    let why = match failure {
        Failure::Transport(transport) => Some(transport.why),
        _ => None,
    };
    let error = anyhow::Error::new(failure.clone());
    let registry = &reference.registry;
    match why {
        Some(Why::Plain) => error::with_hint(
            error,
            format!(
                r#""insecure-registries": ["{registry}"] in /etc/aril/daemon.json allows plain HTTP"#
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
