//! One endpoint: manifests, blobs and lists of tags, with whatever authorization it wants.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use oci_spec::image::Digest;
use ureq::ResponseExt as _;
use ureq::http::uri::{Parts, Scheme};
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

use super::auth::{self, Auth, Lookup};
use super::endpoint::{Capabilities, Endpoint, Secret, Settings};
use super::failure::{Failure, Why};
use super::http::{self, Answer, Cancel, Http, Request};
use super::{manifest, retry};
use crate::oci::digest;
use crate::oci::image::DOCUMENT_MAX_BYTES;

/// The header that names the digest of what is in an answer.
const DIGEST_HEADER: &str = "docker-content-digest";
/// How often one request is sent because it was not authorized.
const AUTHORIZATIONS_MAX: usize = 3;
/// The largest page of a list of tags, how many tags it is asked to have, and how many pages there may be.
const TAGS_MAX_BYTES: u64 = 8 << 20;
const TAGS_PER_PAGE: usize = 1000;
const TAG_PAGES_MAX: usize = 1000;

/// One endpoint of a registry; any number of threads may use it at once.
#[derive(Debug)]
pub struct Client {
    pub(crate) http: Http,
    auth: Auth,
    base: Uri,
    namespace: Option<String>,
    headers: Vec<(String, Secret)>,
    capabilities: Capabilities,
    attempts: u32,
    settled: std::sync::OnceLock<Scheme>,
    silent: AtomicBool,
    reached: AtomicBool,
}

/// What a tag stands for, told without the document itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Of the manifest or index.
    pub digest: Digest,
    /// As the registry has it.
    pub media_type: String,
}

/// A manifest or index as a registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Byte for byte.
    pub bytes: Vec<u8>,
    /// As the registry says it; empty if it does not.
    pub media_type: String,
    /// Of the bytes.
    pub digest: Digest,
}

impl Client {
    /// Returns a client of `endpoint`; nothing is asked yet. `lookup` is asked for credentials when they are wanted.
    pub fn new(
        endpoint: &Endpoint,
        settings: &Settings,
        lookup: Lookup,
        cancel: &Cancel,
    ) -> Result<Client> {
        let context = || format!("the registry's address {:?} is malformed", endpoint.base);
        let base: Uri = endpoint.base.parse().with_context(context)?;
        let sound = matches!(base.scheme_str(), Some("http" | "https")) && base.host().is_some();
        anyhow::ensure!(sound, context());
        let settled = std::sync::OnceLock::new();
        // Only where both may be is it to be found out.
        if !endpoint.tls.insecure || base.scheme_str() == Some("http") {
            drop(settled.set(base.scheme().cloned().unwrap_or(Scheme::HTTPS)));
        }
        Ok(Client {
            http: Http::new(
                base.clone(),
                (endpoint.tls.clone(), endpoint.connect_timeout),
                settings,
                cancel.clone(),
            ),
            auth: Auth::new(lookup),
            base,
            namespace: endpoint.namespace.clone(),
            headers: endpoint.headers.clone(),
            capabilities: endpoint.capabilities,
            attempts: settings.attempts.max(1),
            settled,
            silent: AtomicBool::new(false),
            reached: AtomicBool::new(false),
        })
    }

    /// Returns its address, for people, with the scheme that it has turned out to have.
    pub fn home(&self) -> String {
        http::without_query(&self.http.home())
    }

    /// Returns whether nobody was there when it was asked before.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// Remembers whether nobody is there, so that whoever has another place to ask does not wait for this one again.
    pub(crate) fn note(&self, failure: &Failure) {
        if failure.is_silence() {
            self.silent.store(true, Ordering::Relaxed);
        }
    }

    /// Returns what it may be asked for.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Returns scheme and host, for people.
    pub fn name(&self) -> String {
        http::without_query(&self.base)
    }

    /// Returns the digest behind a tag or digest, without the document; nothing if the registry does not say it.
    pub fn resolve(&self, repository: &str, reference: &str) -> Result<Option<Resolved>, Failure> {
        let answer = match self.manifest(&Method::HEAD, repository, reference) {
            // Some know no HEAD, and what is wrong is only said to a GET.
            Err(Failure::Refused(_)) => return Ok(None),
            other => other?.1,
        };
        let text = |name: &str| {
            let value = answer.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let found = text(DIGEST_HEADER).and_then(|text| digest::parse(&text).ok());
        Ok(found.map(|digest| Resolved {
            digest,
            media_type: text("content-type").unwrap_or_default(),
        }))
    }

    /// Returns a manifest or index; one that was asked for by its digest has it.
    pub fn fetch(
        &self,
        repository: &str,
        reference: &str,
        expected: Option<&Digest>,
    ) -> Result<Fetched, Failure> {
        let (name, answer) = self.manifest(&Method::GET, repository, reference)?;
        let media_type = answer
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        // What follows is a character set.
        let media_type = media_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        let said = answer.headers().get(DIGEST_HEADER);
        let said = said
            .and_then(|value| value.to_str().ok())
            .and_then(|text| digest::parse(text).ok());
        let bytes = http::read(&name, answer, DOCUMENT_MAX_BYTES, self.http.cancel())?;
        let expected = expected.cloned().or(said);
        let digest = match expected {
            Some(expected) => {
                let found = hash_like(&expected, &bytes)?;
                if found != expected {
                    let why = format!("manifest verification failed for digest {expected}");
                    return Err(Failure::Wrong(why));
                }
                found
            }
            None => digest::sha256(&bytes),
        };
        Ok(Fetched {
            bytes,
            media_type,
            digest,
        })
    }

    fn manifest(
        &self,
        method: &Method,
        repository: &str,
        reference: &str,
    ) -> Result<(String, Answer), Failure> {
        let url = self.url(&format!("{repository}/manifests/{reference}"), &[])?;
        self.call(&[pull_scope(repository)], &mut || {
            let mut request = Request::new(method.clone(), url.clone());
            for accepted in manifest::ACCEPTED {
                let value = HeaderValue::from_static(accepted);
                request.headers.append(header::ACCEPT, value);
            }
            Ok(request)
        })
    }

    /// Opens a blob from `offset` on; what comes first of what is returned is that byte.
    pub(crate) fn blob(
        &self,
        repository: &str,
        (digest, size): (&Digest, u64),
        offset: u64,
    ) -> Result<Box<dyn Read + Send>, Failure> {
        let url = self.url(&format!("{repository}/blobs/{digest}"), &[])?;
        let ask = |offset: u64| {
            self.call(&[pull_scope(repository)], &mut || {
                Ok(from_offset(url.clone(), offset))
            })
        };
        let (name, answer) = match ask(offset) {
            // It has ranges, and not this one; then all of it is read again.
            Err(failure) if offset > 0 && failure.status() == Some(416) => ask(0)?,
            asked => asked?,
        };
        self.body(&name, answer, (size, offset))
    }

    /// Opens a blob from `offset` on at an address outside of the registry, which learns nothing of us.
    pub(crate) fn elsewhere(
        &self,
        url: &Uri,
        size: u64,
        offset: u64,
    ) -> Result<Box<dyn Read + Send>, Failure> {
        auth::check_elsewhere(url, &self.http)?;
        let request = from_offset(url.clone(), offset);
        let name = http::named(&request);
        let answer = http::check(name.clone(), self.http.send(request)?)?;
        self.body(&name, answer, (size, offset))
    }

    /// Returns what comes of a blob from `offset` on.
    fn body(
        &self,
        name: &str,
        answer: Answer,
        (size, offset): (u64, u64),
    ) -> Result<Box<dyn Read + Send>, Failure> {
        let skip = match answer.status() {
            StatusCode::PARTIAL_CONTENT if range_start(answer.headers()) == Some(offset) => 0,
            StatusCode::PARTIAL_CONTENT => {
                return Err(Failure::Wrong(format!("{name}: another range was sent")));
            }
            // It knows no ranges.
            _ => offset,
        };
        let length = answer
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let wanted = size - offset + skip;
        if let Some(length) = length
            && length != wanted
        {
            let why = format!("{name}: the blob has {length} bytes where {wanted} were promised");
            return Err(Failure::Wrong(why));
        }
        let reader = answer
            .into_body()
            .into_with_config()
            .limit(u64::MAX)
            .reader();
        let mut reader: Box<dyn Read + Send> = Box::new(reader);
        if skip > 0 {
            self.skip(name, &mut reader, skip)?;
        }
        Ok(reader)
    }

    fn skip(&self, name: &str, reader: &mut dyn Read, count: u64) -> Result<(), Failure> {
        let skipped = std::io::copy(&mut reader.take(count), &mut std::io::sink());
        match skipped {
            Ok(skipped) if skipped == count => Ok(()),
            _ if self.http.cancel().is_cancelled() => Err(http::cancelled()),
            _ => Err(http::cut(name)),
        }
    }

    /// Returns the tags of a repository, sorted.
    pub fn tags(&self, repository: &str) -> Result<Vec<String>, Failure> {
        #[derive(serde::Deserialize, Default)]
        #[serde(default)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let path = format!("{repository}/tags/list");
        let count = TAGS_PER_PAGE.to_string();
        let mut url = self.url(&path, &[("n", &count)])?;
        let mut all: Vec<String> = Vec::new();
        for _ in 0..TAG_PAGES_MAX {
            let (name, answer) = self.call(&[pull_scope(repository)], &mut || {
                Ok(Request::new(Method::GET, url.clone()))
            })?;
            let next = next_page(answer.headers()).and_then(|target| http::join(&url, &target));
            let bytes = http::read(&name, answer, TAGS_MAX_BYTES, self.http.cancel())?;
            let page: Page = serde_json::from_slice(&bytes)
                .map_err(|_| Failure::Wrong(format!("{name}: the list of tags is no JSON")))?;
            let tags = page.tags.unwrap_or_default();
            let full = tags.len() >= TAGS_PER_PAGE;
            let known = all.len();
            all.extend(tags);
            all.sort();
            all.dedup();
            url = match (next, all.last()) {
                (Some(next), _) if all.len() > known && http::is_same_origin(&next, &url) => next,
                // A full page without a link may be one of several.
                (None, Some(last)) if full && all.len() > known => {
                    self.url(&path, &[("n", &count), ("last", last)])?
                }
                _ => return Ok(all),
            };
        }
        Ok(all)
    }

    /// Asks whether the endpoint speaks the protocol and takes our credentials (`/v2/`).
    pub fn ping(&self) -> Result<(), Failure> {
        let url = self.url("", &[])?;
        self.call(&[], &mut || Ok(Request::new(Method::GET, url.clone())))
            .map(drop)
    }

    /// Does what [`Client::ping`] does, and returns the token that the token server gives to be kept for our password, if
    /// there is a token server that does.
    pub fn login(&self) -> Result<Option<Secret>, Failure> {
        self.auth.ask_for_refresh();
        self.ping()?;
        Ok(self.auth.refresh())
    }

    /// Returns an address below the endpoint's.
    pub(crate) fn url(&self, path: &str, query: &[(&str, &str)]) -> Result<Uri, Failure> {
        let mut query = query.to_vec();
        if let Some(namespace) = &self.namespace {
            query.push(("ns", namespace));
        }
        let home = self.http.home();
        let separator = if query.is_empty() { "" } else { "?" };
        let text = format!(
            "{}/{path}{separator}{}",
            home.to_string().trim_end_matches('/'),
            auth::form_encode(&query)
        );
        text.parse()
            .map_err(|_| Failure::Wrong(format!("the address {text:?} is malformed")))
    }

    /// Sends what `make` makes until it is authorized; returns what it was called, and an answer that says yes.
    pub(crate) fn call(
        &self,
        scopes: &[String],
        make: &mut dyn FnMut() -> Result<Request<'static>, Failure>,
    ) -> Result<(String, Answer), Failure> {
        let mut scopes = scopes.to_vec();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let authorization = self.auth.header(&self.http, &scopes)?;
            let mut request = make()?;
            if self.settled.get() != self.base.scheme()
                && self.settled.get().is_some()
                && http::is_same_origin(&request.url, &self.base)
            {
                request.url = plain(&request.url);
            }
            let own = http::is_same_origin(&request.url, &self.http.home());
            if own {
                self.private(&mut request.private);
                if let Some(value) = &authorization {
                    request.private.insert(header::AUTHORIZATION, value.clone());
                }
            }
            let (name, answer) = self.send(request, make)?;
            self.reached.store(true, Ordering::Relaxed);
            let challenged = answer.status() == StatusCode::UNAUTHORIZED
                && own
                && http::is_same_origin(answer.get_uri(), &self.http.home());
            if !challenged {
                return Ok((name.clone(), http::check(name, answer)?));
            }
            let sent = authorization.as_ref();
            let hope = self.auth.challenged(answer.headers(), sent, &mut scopes);
            let can_answer = hope
                && attempt < AUTHORIZATIONS_MAX
                && (sent.is_some() || self.auth.header(&self.http, &scopes)?.is_some());
            if !can_answer {
                let mut refusal = http::refusal(name, answer);
                refusal.needs_credentials = sent.is_none() && self.auth.wants_password();
                return Err(Failure::Refused(refusal));
            }
        }
    }

    /// Sends a request; where it is not known yet whether the other side has TLS this finds it out.
    fn send(
        &self,
        request: Request<'_>,
        make: &mut dyn FnMut() -> Result<Request<'static>, Failure>,
    ) -> Result<(String, Answer), Failure> {
        let name = http::named(&request);
        if self.settled.get().is_some() {
            return Ok((name, self.http.send(request)?));
        }
        let private = request.private.clone();
        match self.http.send(request) {
            Ok(answer) => {
                drop(self.settled.set(Scheme::HTTPS));
                Ok((name, answer))
            }
            Err(Failure::Transport(failure))
                if !matches!(failure.why, Why::Cancelled | Why::Unknown) =>
            {
                tracing::debug!("no TLS: {}", failure.text);
                let mut again = make()?;
                again.private = private;
                again.url = plain(&again.url);
                let name = http::named(&again);
                self.http.settle(plain(&self.http.home()));
                let answer = self.http.send(again);
                match answer {
                    Ok(answer) => {
                        drop(self.settled.set(Scheme::HTTP));
                        Ok((name, answer))
                    }
                    Err(failure) => {
                        self.http.settle(self.base.clone());
                        Err(failure)
                    }
                }
            }
            Err(failure) => Err(failure),
        }
    }

    fn private(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(mut value)) = (name, HeaderValue::from_str(value.expose())) {
                value.set_sensitive(true);
                headers.append(name, value);
            }
        }
    }

    /// Does something again as long as it may help; `waiting` is told for how long there will be nothing.
    pub(crate) fn retry<T>(
        &self,
        waiting: &mut dyn FnMut(Duration),
        act: &mut dyn FnMut() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let failure = match act() {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            // Who was never there will hardly come; a name may be misspelt.
            let attempts = if self.reached.load(Ordering::Relaxed) || !failure.is_silence() {
                self.attempts
            } else {
                self.attempts.min(2)
            };
            let Some(delay) = retry::delay(&failure, attempt, attempts) else {
                return Err(failure);
            };
            tracing::info!("{failure}; once more in {delay:?}");
            waiting(delay);
            if self.http.cancel().sleep(delay) {
                return Err(http::cancelled());
            }
        }
    }

    /// How often something is tried.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }
}

/// Returns a request for what stands at an address from `offset` on.
fn from_offset(url: Uri, offset: u64) -> Request<'static> {
    let mut request = Request::new(Method::GET, url);
    if offset > 0
        && let Ok(range) = HeaderValue::from_str(&format!("bytes={offset}-"))
    {
        request.headers.insert(header::RANGE, range);
    }
    request
}

/// The scope of reading a repository.
pub(crate) fn pull_scope(repository: &str) -> String {
    format!("repository:{repository}:pull")
}

fn hash_like(expected: &Digest, bytes: &[u8]) -> Result<Digest, Failure> {
    let mut hasher =
        digest::Hasher::like(expected).map_err(|error| Failure::Wrong(format!("{error:#}")))?;
    hasher.update(bytes);
    Ok(hasher.finish())
}

fn plain(url: &Uri) -> Uri {
    let mut parts: Parts = url.clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    Uri::from_parts(parts).unwrap_or_else(|_| url.clone())
}

/// Reads where the bytes of an answer begin: `bytes 5-9/10`.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let range = text.trim().strip_prefix("bytes")?.trim_start();
    range.split('-').next()?.trim().parse().ok()
}

/// Returns where a list goes on (RFC 8288): `</v2/x/tags/list?last=b>; rel="next"`.
fn next_page(headers: &HeaderMap) -> Option<String> {
    let links = headers.get_all(header::LINK).iter();
    links
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(",<"))
        .find_map(|link| {
            let (target, rest) = link.trim().trim_start_matches('<').split_once('>')?;
            let rest = rest.replace([' ', '"'], "").to_ascii_lowercase();
            rest.split(';')
                .any(|parameter| parameter == "rel=next")
                .then(|| target.to_owned())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_ranges_are_read() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::LINK,
            "</v2/x/tags/list?last=b&n=2>; rel=\"next\""
                .parse()
                .unwrap(),
        );
        assert_eq!(next_page(&headers).unwrap(), "/v2/x/tags/list?last=b&n=2");
        headers.insert(header::LINK, "</x>; rel=prev".parse().unwrap());
        assert_eq!(next_page(&headers), None);
        for (text, start) in [
            ("bytes 5-9/10", Some(5)),
            ("bytes 0-9/*", Some(0)),
            ("bytes */10", None),
            ("x", None),
        ] {
            headers.insert(header::CONTENT_RANGE, text.parse().unwrap());
            assert_eq!(range_start(&headers), start, "{text}");
        }
    }
}
