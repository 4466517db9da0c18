//! Repositories by a word: on Docker Hub, or on a registry that has the old search.

use anyhow::Result;

use super::Engine;
use super::filter::Filters;
use super::registries::{self, Access};
use crate::error;
use crate::oci::reference::DEFAULT_REGISTRY;
use crate::registry::client::Client;
use crate::registry::credentials;
use crate::registry::endpoint::Endpoint;
use crate::registry::failure::Failure;
use crate::registry::search::{self, Found, HUB_SEARCH};

/// How many answers are asked for where nothing is said.
const LIMIT: u32 = 25;
/// The most answers that may be asked for.
const LIMIT_MAX: i64 = 100;

/// Returns the repositories that fit `term` (`word`, `user/word`, `registry.example.com/word`) and the filters, in the
/// registry's order; without a `limit` (0, or less) there are at most 25.
///
/// Errors are of kind `Invalid` for a limit or filter that cannot be.
pub fn search(
    engine: &Engine,
    access: &Access,
    term: &str,
    limit: i64,
    filters: &Filters,
) -> Result<Vec<Found>> {
    filters.check(&["is-automated", "is-official", "stars"])?;
    let official = filters.flag("is-official")?;
    let automated = filters.flag("is-automated")?;
    let stars = filters
        .values("stars")
        .map(|text| {
            text.parse::<u64>().map_err(|_| {
                let why = format!("strconv.Atoi: parsing {text:?}: invalid syntax");
                error::invalid(format!("invalid filter 'stars={text}': {why}"))
            })
        })
        .collect::<Result<Vec<u64>>>()?;
    let least = stars.into_iter().max().unwrap_or(0);
    let count = match limit {
        ..=0 => LIMIT,
        1..=LIMIT_MAX => u32::try_from(limit).unwrap_or_default(),
        other => {
            return Err(error::invalid(format!(
                "limit {other} is outside the range of [1, {LIMIT_MAX}]"
            )));
        }
    };
    let (registry, term) = split(term);
    if term.is_empty() {
        return Err(error::invalid("the search term is empty"));
    }
    let endpoint = endpoint(engine, access, registry)?;
    let client = Client::new(
        &endpoint,
        &access.settings,
        access.lookup(endpoint.credentials.clone(), None),
        &access.cancel,
    )?;
    let mut found =
        search::search(&client, term, count).map_err(|failure| explain(registry, &failure))?;
    found.retain(|found| {
        found.star_count >= least
            && official.is_none_or(|wanted| found.is_official == wanted)
            && automated.is_none_or(|wanted| found.is_automated == wanted)
    });
    Ok(found)
}

/// Splits off the registry, by the rules for references.
fn split(term: &str) -> (&str, &str) {
    match term.split_once('/') {
        Some((host, rest)) if host == "localhost" || host.contains(['.', ':']) => match host {
            DEFAULT_REGISTRY | "index.docker.io" => (DEFAULT_REGISTRY, official(rest)),
            host => (host, rest),
        },
        _ => (DEFAULT_REGISTRY, official(term)),
    }
}

/// Official repositories are found under their short names.
fn official(term: &str) -> &str {
    term.strip_prefix("library/").unwrap_or(term)
}

fn endpoint(engine: &Engine, access: &Access, registry: &str) -> Result<Endpoint> {
    let server = registries::server(engine, access, registry)?;
    let base = if registry == DEFAULT_REGISTRY {
        HUB_SEARCH.to_owned()
    } else {
        let host = credentials::host(&server.base);
        let scheme = server.base.split("://").next().unwrap_or("https");
        format!("{scheme}://{host}/v1")
    };
    Ok(Endpoint {
        base,
        namespace: None,
        ..server
    })
}

fn explain(registry: &str, failure: &Failure) -> anyhow::Error {
    match failure.status() {
        Some(404) if registry != DEFAULT_REGISTRY => {
            let error = error::not_found(format!(
                "Unexpected status code 404: {registry} has no search"
            ));
            error::with_hint(error, "only Docker Hub and few registries can be searched")
        }
        Some(429) => anyhow::Error::new(failure.clone()),
        Some(status) => error::unavailable(format!("Unexpected status code {status}")),
        None => registries::connection(registry, failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_name_registries() {
        for (term, registry, rest) in [
            ("httpd", "docker.io", "httpd"),
            ("user/httpd", "docker.io", "user/httpd"),
            ("library/httpd", "docker.io", "httpd"),
            ("docker.io/library/httpd", "docker.io", "httpd"),
            ("localhost/x", "localhost", "x"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000", "a/b"),
            ("quay.io/x", "quay.io", "x"),
        ] {
            assert_eq!(split(term), (registry, rest), "{term}");
        }
    }
}
