//! A repository over all its endpoints: mirrors in order, then the registry; and a blob as one stream over all of them,
//! whatever happens to the connections.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oci_spec::image::Digest;
use ureq::http::Uri;

use super::client::{Client, Fetched, Resolved};
use super::failure::Failure;
use super::{http, retry};

/// A repository and who may have it.
#[derive(Debug)]
pub struct Source {
    /// In the order in which they are asked; not empty.
    pub clients: Vec<Client>,
    /// Path in the registry.
    pub repository: String,
}

/// How a stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many bytes are here, of the size that was promised.
    Received(u64),
    /// A connection failed; for so long nothing will come.
    Waiting(Duration),
}

impl Source {
    /// Returns what a tag stands for, if that is told without the document.
    pub fn resolve(&self, tag: &str) -> Result<Option<Resolved>, Failure> {
        self.each(
            |client| client.capabilities().resolve,
            |client| client.resolve(&self.repository, tag),
        )
    }

    /// Returns the document behind a tag.
    pub fn by_tag(&self, tag: &str) -> Result<Fetched, Failure> {
        self.each(
            |client| client.capabilities().resolve,
            |client| client.fetch(&self.repository, tag, None),
        )
    }

    /// Returns a manifest or index by its digest.
    pub fn by_digest(&self, digest: &Digest) -> Result<Fetched, Failure> {
        let text = digest.to_string();
        self.each(
            |client| client.capabilities().pull,
            |client| client.fetch(&self.repository, &text, Some(digest)),
        )
    }

    /// Returns the tags.
    pub fn tags(&self) -> Result<Vec<String>, Failure> {
        self.each(
            |client| client.capabilities().resolve,
            |client| client.tags(&self.repository),
        )
    }

    /// Returns a stream of a blob from `offset` on; nothing is asked before it is read from.
    ///
    /// `urls` are places outside of the registry that are asked first (image-spec descriptor.md, urls).
    pub fn blob<'a>(
        &'a self,
        (digest, size, urls): (&'a Digest, u64, &[String]),
        offset: u64,
        step: Box<dyn FnMut(Step) + Send + 'a>,
    ) -> BlobReader<'a> {
        let mut reader = BlobReader {
            source: self,
            digest,
            size,
            at: offset,
            urls: urls.iter().filter_map(|url| url.parse().ok()).collect(),
            place: 0,
            attempt: 0,
            settled_at: offset,
            body: None,
            step,
            failure: Arc::default(),
        };
        reader.skip_silent();
        reader
    }

    /// Asks one endpoint after the other. What a mirror says no to, or is not there for, the next one may have; what the last
    /// one says is final, after it was asked again as long as that may help.
    fn each<T>(
        &self,
        may: impl Fn(&Client) -> bool,
        act: impl Fn(&Client) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let able: Vec<&Client> = self.clients.iter().filter(|client| may(client)).collect();
        let Some((last, mirrors)) = able.split_last() else {
            let why = "no endpoint of this registry may be asked for that".to_owned();
            return Err(Failure::Wrong(why));
        };
        for mirror in mirrors.iter().filter(|mirror| !mirror.is_silent()) {
            match act(mirror) {
                Ok(done) => return Ok(done),
                Err(failure) if failure.is_cancelled() => return Err(failure),
                Err(failure) => {
                    mirror.note(&failure);
                    tracing::warn!("mirror {}: {failure}", mirror.name());
                }
            }
        }
        last.retry(&mut |_| {}, &mut || act(last))
    }
}

/// A blob as one stream.
///
/// A connection that fails is made again where it ended, and counting begins anew when much had come; then the next
/// endpoint is asked. Never returns more bytes than were promised; fewer are an error. That the digest is right is for
/// whoever reads it.
pub struct BlobReader<'a> {
    source: &'a Source,
    digest: &'a Digest,
    size: u64,
    at: u64,
    urls: Vec<Uri>,
    /// Which of the addresses is asked, and after them which endpoint.
    place: usize,
    attempt: u32,
    /// Where counting began.
    settled_at: u64,
    body: Option<Box<dyn Read + Send>>,
    step: Box<dyn FnMut(Step) + Send + 'a>,
    failure: Arc<Mutex<Option<Failure>>>,
}

impl std::fmt::Debug for BlobReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlobReader({} at {})", self.digest, self.at)
    }
}

impl<'r> BlobReader<'r> {
    /// Returns where the failure will be that ended the stream; nothing will be there if something else ended it.
    pub fn failure(&self) -> Arc<Mutex<Option<Failure>>> {
        Arc::clone(&self.failure)
    }

    /// Returns the endpoint that is asked now, or by which an address outside of the registry is.
    fn place(&self) -> (&'r Client, Option<Uri>) {
        let clients = &self.source.clients;
        match self.urls.get(self.place) {
            Some(url) => (&clients[clients.len() - 1], Some(url.clone())),
            None => (&clients[self.place - self.urls.len()], None),
        }
    }

    /// Goes on to the first place that is not known to be silent, and to the last one at most.
    fn skip_silent(&mut self) {
        let last = self.urls.len() + self.source.clients.len() - 1;
        while self.place < last {
            let (client, url) = self.place();
            if url.is_some() || !client.is_silent() {
                return;
            }
            self.place += 1;
        }
    }

    fn attempt(&mut self, out: &mut [u8]) -> Result<usize, Failure> {
        let (client, url) = self.place();
        let name = || match &url {
            Some(url) => http::without_query(url),
            None => format!("{}: blob {}", client.name(), self.digest),
        };
        if self.body.is_none() {
            let wanted = (self.digest, self.size);
            self.body = Some(match &url {
                Some(url) => client.elsewhere(url, self.size, self.at)?,
                None => client.blob(&self.source.repository, wanted, self.at)?,
            });
        }
        let Some(body) = &mut self.body else {
            return Ok(0);
        };
        let failed = |error: io::Error| {
            if client.http.cancel().is_cancelled() {
                return http::cancelled();
            }
            http::broken(&name(), error)
        };
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX);
        if left == 0 {
            // Only at its end can the connection serve the next request.
            return match body.read(&mut [0]).map_err(failed)? {
                0 => Ok(0),
                _ => Err(Failure::Wrong(format!(
                    "{}: more came than was promised",
                    name()
                ))),
            };
        }
        let room = out.len().min(left);
        match body.read(&mut out[..room]).map_err(failed)? {
            0 if room > 0 => Err(http::cut(&name())),
            count => Ok(count),
        }
    }

    /// Decides how it goes on after a failure: again after a wait, at the next endpoint, or not at all.
    fn go_on(&mut self, failure: &Failure) -> bool {
        self.body = None;
        if failure.is_cancelled() {
            return false;
        }
        if self.at - self.settled_at >= retry::PROGRESS_BYTES {
            self.attempt = 0;
        }
        self.settled_at = self.at;
        self.attempt += 1;
        let (client, url) = self.place();
        let last = self.place + 1 == self.urls.len() + self.source.clients.len();
        // Somebody else can be asked without waiting for this one.
        let attempts = if last {
            client.attempts()
        } else if failure.is_silence() {
            1
        } else {
            client.attempts().min(2)
        };
        if let Some(delay) = retry::delay(failure, self.attempt, attempts) {
            tracing::info!("{failure}; once more in {delay:?}");
            (self.step)(Step::Waiting(delay));
            return !client.http.cancel().sleep(delay);
        }
        if last {
            return false;
        }
        if url.is_some() {
            tracing::warn!("{failure}; the registry is asked");
        } else {
            client.note(failure);
            tracing::warn!("mirror {}: {failure}", client.name());
        }
        self.place += 1;
        self.skip_silent();
        self.attempt = 0;
        true
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() || (self.at == self.size && self.body.is_none()) {
            return Ok(0);
        }
        loop {
            match self.attempt(out) {
                Ok(0) => {
                    self.body = None;
                    return Ok(0);
                }
                Ok(count) => {
                    self.at += count as u64;
                    (self.step)(Step::Received(self.at));
                    return Ok(count);
                }
                Err(failure) => {
                    // All is here; how the connection ends does not matter.
                    if self.at == self.size && !matches!(failure, Failure::Wrong(_)) {
                        self.body = None;
                        return Ok(0);
                    }
                    if !self.go_on(&failure) {
                        let error = io::Error::other(failure.clone());
                        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) =
                            Some(failure);
                        return Err(error);
                    }
                }
            }
        }
    }
}

impl Source {
    /// Skips endpoints of which nothing may be fetched.
    pub fn retain_pull(&mut self) {
        self.clients.retain(|client| client.capabilities().pull);
    }
}
