//! The search that Docker Hub and old registries have: `GET /v1/search?q=TERM&n=COUNT`.

use serde::Deserialize;
use ureq::http::Method;

use super::client::Client;
use super::failure::Failure;
use super::http::{self, Request};

/// Where Docker Hub is searched.
pub const HUB_SEARCH: &str = "https://index.docker.io/v1";
/// The longest answer.
const ANSWER_MAX_BYTES: u64 = 8 << 20;

/// A repository that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Found {
    /// Repository.
    pub name: String,
    /// Free text, possibly of several lines; null reads as none.
    pub description: Option<String>,
    /// How many people like it.
    pub star_count: u64,
    /// Whether the registry itself keeps it.
    pub is_official: bool,
    /// Whether it was built automatically; not said any more.
    pub is_automated: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    results: Vec<Found>,
}

/// Returns at most `limit` repositories that fit `term`, in the registry's order; 0 leaves the number to the registry.
///
/// The client's base ends in `/v1`, see [`HUB_SEARCH`].
pub fn search(client: &Client, term: &str, limit: u32) -> Result<Vec<Found>, Failure> {
    let limit = limit.to_string();
    let mut query = vec![("q", term)];
    if limit != "0" {
        query.push(("n", &limit));
    }
    let url = client.url("search", &query)?;
    let (name, answer) = client.call(&[], &mut || {
        let mut request = Request::new(Method::GET, url.clone());
        let yes = ureq::http::HeaderValue::from_static("true");
        request.headers.insert("x-docker-token", yes);
        Ok(request)
    })?;
    let bytes = http::read(&name, answer, ANSWER_MAX_BYTES, client.http.cancel())?;
    let document: Document = serde_json::from_slice(&bytes).map_err(|error| {
        Failure::Wrong(format!(
            "{name}: the answer is no list of repositories: {error}"
        ))
    })?;
    Ok(document.results)
}
