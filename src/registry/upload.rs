//! To a registry: blobs that it lacks, and manifests (distribution-spec, Pushing Blobs and Pushing Manifests).
//!
//! ```text
//! HEAD blob ─▶ there
//!          └▶ POST uploads/?mount&from ─▶ 201, it was in a repository beside
//!                                      └▶ 202, a session ─▶ PUT all of it ─▶ 201
//!                                                        └▶ 413 ─▶ PATCH, PATCH, … ─▶ PUT the end
//! ```
//!
//! A session that is lost (404, 416, a cut) is begun anew from the start of the blob, which is in a file; what a cut request
//! may have completed all the same is asked for first.

use std::io::{self, Read};
use std::time::Duration;

use oci_spec::image::Digest;
use ureq::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

use super::client::{Client, pull_scope};
use super::failure::Failure;
use super::http::{self, Answer, Body, Request};
use super::retry;
use crate::oci::digest;

/// How much is sent at a time where a whole blob is too much for the registry.
const CHUNK_BYTES: u64 = 8 << 20;
/// The largest smallest chunk that a registry may ask for (`OCI-Chunk-Min-Length`).
const CHUNK_MAX_BYTES: u64 = 1 << 30;

/// What became of a request to take a blob over from a repository beside.
enum Begun {
    Mounted,
    Session(Session),
}

struct Session {
    url: Uri,
    chunk_bytes: u64,
}

/// How a blob came to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was there.
    Exists,
    /// It was taken over from this repository.
    Mounted(String),
    /// It was sent.
    Uploaded,
    /// It stays elsewhere, where its descriptor says.
    Foreign,
}

/// A blob to send.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    /// Of its bytes.
    pub digest: &'a Digest,
    /// How many there are.
    pub size: u64,
    /// Returns its bytes from this offset on.
    pub open: &'a dyn Fn(u64) -> io::Result<Box<dyn Read + Send>>,
}

impl std::fmt::Debug for Outgoing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outgoing({}, {})", self.digest, self.size)
    }
}

impl Client {
    /// Returns whether a repository has a blob.
    pub fn has_blob(&self, repository: &str, digest: &Digest) -> Result<bool, Failure> {
        let url = self.url(&format!("{repository}/blobs/{digest}"), &[])?;
        let asked = self.retry(&mut |_| {}, &mut || {
            self.call(&[push_scope(repository)], &mut || {
                Ok(Request::new(Method::HEAD, url.clone()))
            })
        });
        match asked {
            Ok(_) => Ok(true),
            Err(failure) if failure.status() == Some(404) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Takes a blob over from another repository of this registry; returns whether that could be done.
    pub fn mount(&self, repository: &str, digest: &Digest, from: &str) -> Result<bool, Failure> {
        match self.begin(repository, Some((digest, from))) {
            Ok(Begun::Mounted) => Ok(true),
            Ok(Begun::Session(session)) => {
                self.abandon(repository, &session);
                Ok(false)
            }
            Err(failure) if failure.is_cancelled() => Err(failure),
            // Some refuse what we may not read, some know no mounts; then it is sent.
            Err(failure) => {
                tracing::debug!("mount {digest} from {from}: {failure}");
                Ok(false)
            }
        }
    }

    /// Sends a blob; `waiting` is told for how long nothing will happen.
    pub fn upload(
        &self,
        repository: &str,
        blob: Outgoing<'_>,
        waiting: &mut dyn FnMut(Duration),
    ) -> Result<(), Failure> {
        let mut attempt = 0;
        let mut in_chunks = false;
        loop {
            attempt += 1;
            let failure = match self.attempt(repository, blob, &mut in_chunks) {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            let lost = matches!(failure.status(), Some(404 | 416));
            let delay = match retry::delay(&failure, attempt, self.attempts()) {
                Some(delay) => delay,
                None if lost && attempt < self.attempts() => Duration::from_millis(100),
                None => return Err(failure),
            };
            tracing::info!("{failure}; the blob is sent again in {delay:?}");
            waiting(delay);
            if self.http.cancel().sleep(delay) {
                return Err(http::cancelled());
            }
            if self.has_blob(repository, blob.digest)? {
                return Ok(());
            }
        }
    }

    fn attempt(
        &self,
        repository: &str,
        blob: Outgoing<'_>,
        in_chunks: &mut bool,
    ) -> Result<(), Failure> {
        let session = match self.begin(repository, None)? {
            Begun::Mounted => return Ok(()),
            Begun::Session(session) => session,
        };
        if !*in_chunks {
            match self.finish(repository, &session.url, blob, 0) {
                Err(failure) if failure.status() == Some(413) => *in_chunks = true,
                Err(failure) => {
                    self.abandon_after(repository, &session, &failure);
                    return Err(failure);
                }
                Ok(()) => return Ok(()),
            }
            self.abandon(repository, &session);
            return self.attempt(repository, blob, in_chunks);
        }
        let sent = self.chunks(repository, &session, blob);
        if let Err(failure) = &sent {
            self.abandon_after(repository, &session, failure);
        }
        sent
    }

    /// Sends all in pieces, and then says that it is the end.
    fn chunks(
        &self,
        repository: &str,
        session: &Session,
        blob: Outgoing<'_>,
    ) -> Result<(), Failure> {
        let mut url = session.url.clone();
        let mut at = 0;
        while at < blob.size {
            let count = session.chunk_bytes.min(blob.size - at);
            let (name, answer) = self.call(&[push_scope(repository)], &mut || {
                let mut request = Request::new(Method::PATCH, url.clone());
                octets(&mut request.headers);
                let range = format!("{at}-{}", at + count - 1);
                if let Ok(value) = HeaderValue::from_str(&range) {
                    request.headers.insert(header::CONTENT_RANGE, value);
                }
                let reader = Box::new(open(blob, at)?.take(count));
                request.body = Body::Stream {
                    reader,
                    size: count,
                };
                Ok(request)
            })?;
            url = location(&name, &answer, &url)?;
            at += count;
        }
        self.finish(repository, &url, blob, blob.size)
    }

    /// Sends what is left from `offset` on, and that it is all.
    fn finish(
        &self,
        repository: &str,
        url: &Uri,
        blob: Outgoing<'_>,
        offset: u64,
    ) -> Result<(), Failure> {
        let url = with_query(url, "digest", blob.digest.as_ref())?;
        let (name, answer) = self.call(&[push_scope(repository)], &mut || {
            let mut request = Request::new(Method::PUT, url.clone());
            octets(&mut request.headers);
            if offset < blob.size {
                request.body = Body::Stream {
                    reader: open(blob, offset)?,
                    size: blob.size - offset,
                };
            }
            Ok(request)
        })?;
        check_digest(&name, &answer, blob.digest)
    }

    fn begin(&self, repository: &str, mount: Option<(&Digest, &str)>) -> Result<Begun, Failure> {
        let mut scopes = vec![push_scope(repository)];
        let digest = mount
            .map(|(digest, _)| digest.to_string())
            .unwrap_or_default();
        let mut query = Vec::new();
        if let Some((_, from)) = mount {
            scopes.push(pull_scope(from));
            query.push(("mount", digest.as_str()));
            query.push(("from", from));
        }
        let url = self.url(&format!("{repository}/blobs/uploads/"), &query)?;
        let (name, answer) =
            self.call(&scopes, &mut || Ok(Request::new(Method::POST, url.clone())))?;
        if answer.status() == StatusCode::CREATED {
            return Ok(Begun::Mounted);
        }
        let least = answer.headers().get("oci-chunk-min-length");
        let least = least.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        Ok(Begun::Session(Session {
            url: location(&name, &answer, &url)?,
            chunk_bytes: least
                .unwrap_or_default()
                .clamp(CHUNK_BYTES, CHUNK_MAX_BYTES),
        }))
    }

    /// Ends a session that nobody needs, so that the registry need not keep it; that it cannot be ended is no harm.
    fn abandon(&self, repository: &str, session: &Session) {
        let ended = self.call(&[push_scope(repository)], &mut || {
            Ok(Request::new(Method::DELETE, session.url.clone()))
        });
        if let Err(failure) = ended {
            tracing::debug!("end an upload: {failure}");
        }
    }

    fn abandon_after(&self, repository: &str, session: &Session, failure: &Failure) {
        // Who does not answer would not answer to this either, and a lost session is gone.
        if matches!(failure.status(), Some(status) if !matches!(status, 404 | 416)) {
            self.abandon(repository, session);
        }
    }

    /// Puts a manifest or index under a tag or digest.
    pub fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        (media_type, bytes): (&str, &[u8]),
    ) -> Result<(), Failure> {
        let url = self.url(&format!("{repository}/manifests/{reference}"), &[])?;
        let (name, answer) = self.retry(&mut |_| {}, &mut || {
            self.call(&[push_scope(repository)], &mut || {
                let mut request = Request::new(Method::PUT, url.clone());
                if let Ok(value) = HeaderValue::from_str(media_type) {
                    request.headers.insert(header::CONTENT_TYPE, value);
                }
                let size = bytes.len() as u64;
                let reader = Box::new(io::Cursor::new(bytes.to_vec()));
                request.body = Body::Stream { reader, size };
                Ok(request)
            })
        })?;
        check_digest(&name, &answer, &digest::sha256(bytes))
    }
}

/// The scope of writing to a repository.
fn push_scope(repository: &str) -> String {
    format!("repository:{repository}:pull,push")
}

fn octets(headers: &mut HeaderMap) {
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, octets);
}

fn open(blob: Outgoing<'_>, offset: u64) -> Result<Box<dyn Read + Send>, Failure> {
    (blob.open)(offset)
        .map_err(|error| Failure::Wrong(format!("read the blob {}: {error}", blob.digest)))
}

/// Returns where an upload goes on.
///
/// A registry behind something that ends TLS for it may not know that it has TLS; then it is asked as it was before.
fn location(name: &str, answer: &Answer, asked: &Uri) -> Result<Uri, Failure> {
    let target = answer.headers().get(header::LOCATION);
    let target = target.and_then(|value| value.to_str().ok());
    let url = target.and_then(|target| http::join(asked, target));
    let url = url.ok_or_else(|| {
        Failure::Wrong(format!("{name}: the registry names no place for the blob"))
    })?;
    let forgot_tls = asked.scheme_str() == Some("https")
        && url.scheme_str() == Some("http")
        && url.authority() == asked.authority();
    if !forgot_tls {
        return Ok(url);
    }
    let mut parts = url.into_parts();
    parts.scheme = asked.scheme().cloned();
    Uri::from_parts(parts).map_err(|error| Failure::Wrong(format!("{name}: {error}")))
}

/// Adds to a query what is already there unchanged.
fn with_query(url: &Uri, name: &str, value: &str) -> Result<Uri, Failure> {
    let separator = if url.query().is_some() { '&' } else { '?' };
    let added = super::auth::form_encode(&[(name, value)]);
    let text = format!("{url}{separator}{added}");
    text.parse().map_err(|_| {
        Failure::Wrong(format!(
            "the address {:?} is malformed",
            http::without_query(url)
        ))
    })
}

/// Checks what the registry says that it has got.
fn check_digest(name: &str, answer: &Answer, expected: &Digest) -> Result<(), Failure> {
    let said = answer.headers().get("docker-content-digest");
    let said = said.and_then(|value| digest::parse(value.to_str().ok()?).ok());
    match said {
        // Some name it in another algorithm.
        Some(said) if said.algorithm() == expected.algorithm() && said != *expected => {
            Err(Failure::Wrong(format!(
                "{name}: the registry has got {said} in place of {expected}"
            )))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_keeps_its_query() {
        let url: Uri = "https://example.com/v2/x/blobs/uploads/1?_state=a%3D%3D"
            .parse()
            .unwrap();
        let url = with_query(&url, "digest", "sha256:00").unwrap();
        assert_eq!(
            url.to_string(),
            "https://example.com/v2/x/blobs/uploads/1?_state=a%3D%3D&digest=sha256%3A00"
        );
    }
}
