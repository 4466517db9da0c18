//! What lies at an address of its own: an archive that `import` takes. No registry, and none of its credentials.

use std::io::{self, Read};

use ureq::http::{Method, StatusCode, Uri, header};

use super::endpoint::{CONNECT_TIMEOUT, Settings, Tls};
use super::failure::Failure;
use super::http::{self, Cancel, Http, Request, without_query};

/// What is being fetched.
pub struct Download {
    /// The address without what may be secret in it: no user, no query.
    pub name: String,
    /// How many bytes it says that it has; 0 if it does not.
    pub size: u64,
    /// The bytes; an end before all have come is an error.
    pub content: Box<dyn Read + Send>,
}

/// Begins to fetch what lies at `url`, `http://…` or `https://…`.
pub fn open(url: &str, settings: &Settings, cancel: &Cancel) -> Result<Download, Failure> {
    let malformed = |_| Failure::Wrong(format!("{url:?} is no address"));
    let url: Uri = url.parse().map_err(malformed)?;
    let name = without_query(&url);
    let tls = (Tls::default(), CONNECT_TIMEOUT);
    let http = Http::new(url.clone(), tls, settings, cancel.clone());
    let request = Request::new(Method::GET, url);
    let asked = http::named(&request);
    let answer = http.send(request)?;
    let status = answer.status();
    if status != StatusCode::OK {
        return Err(Failure::Wrong(format!(
            "failed to GET {name} with status {status}"
        )));
    }
    let length = answer.headers().get(header::CONTENT_LENGTH);
    let size = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let body = answer.into_body().into_with_config().limit(u64::MAX);
    Ok(Download {
        name,
        size: size.unwrap_or_default(),
        content: Box::new(Content {
            asked,
            body: body.reader(),
        }),
    })
}

/// A body, whose errors are told as those of requests.
struct Content<R> {
    asked: String,
    body: R,
}

impl<R: Read> Read for Content<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let told = |error| io::Error::other(http::broken(&self.asked, error));
        self.body.read(buffer).map_err(told)
    }
}
