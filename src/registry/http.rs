//! One request and its answer, over connections that are kept: timeouts, proxies, TLS, redirects, and an end on demand.
//!
//! ureq does HTTP/1.1 and rustls the rest. What is ours is who is told what: a request that is redirected to another host
//! leaves behind what was meant for the first one (its authorization, its certificate, its headers).

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Result;
use ureq::http::{HeaderMap, Method, Uri, header};
use ureq::{Agent, Proxy, SendBody};

use super::endpoint::{Proxies, Secret, Settings, Tls};
use super::failure::{Failure, Refusal, Transport, Why};
use super::trouble::{by_proxy, transport};
use super::{proxy, retry, tls};

/// How long an answer to a question may take; the end of an upload may take longer, since the registry moves data then.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const UPLOAD_ANSWER_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// How often a request is sent elsewhere.
const REDIRECTS_MAX: usize = 10;
/// The most that is read of an answer that says no.
const REFUSAL_MAX_BYTES: u64 = 64 << 10;
/// Connections that are kept for the next request.
const IDLE_PER_HOST: usize = 8;
const USER_AGENT: &str = concat!("aril/", env!("CARGO_PKG_VERSION"));

/// A wish to stop that reaches requests which are under way.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    cancelled: bool,
    agents: Vec<Agent>,
}

impl Cancel {
    /// Ends every request, and lets no other begin.
    pub fn cancel(&self) {
        let agents = {
            let mut state = self.lock();
            state.cancelled = true;
            std::mem::take(&mut state.agents)
        };
        self.0.changed.notify_all();
        for agent in agents {
            agent.shutdown();
        }
    }

    /// Returns whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.lock().cancelled
    }

    /// Waits, and returns whether it was cancelled meanwhile.
    pub(crate) fn sleep(&self, time: Duration) -> bool {
        let state = self.lock();
        let waited = self
            .0
            .changed
            .wait_timeout_while(state, time, |state| !state.cancelled);
        waited.unwrap_or_else(PoisonError::into_inner).0.cancelled
    }

    fn watch(&self, agent: &Agent) {
        let mut state = self.lock();
        if !state.cancelled {
            state.agents.push(agent.clone());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is asked.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub method: Method,
    pub url: Uri,
    /// For whoever answers in the end.
    pub headers: HeaderMap,
    /// For the host of `url` alone.
    pub private: HeaderMap,
    pub body: Body<'a>,
}

/// What is sent along.
pub(crate) enum Body<'a> {
    Empty,
    Bytes(&'a [u8]),
    /// As much as `size` says; cannot be sent again.
    Stream {
        reader: Box<dyn Read + Send + 'a>,
        size: u64,
    },
}

impl std::fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Body::Empty => f.write_str("Empty"),
            Body::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Body::Stream { size, .. } => write!(f, "Stream({size})"),
        }
    }
}

impl<'a> Request<'a> {
    pub(crate) fn new(method: Method, url: Uri) -> Request<'a> {
        Request {
            method,
            url,
            headers: HeaderMap::new(),
            private: HeaderMap::new(),
            body: Body::Empty,
        }
    }
}

/// An answer, whose body is still to be read.
pub(crate) type Answer = ureq::http::Response<ureq::Body>;

/// What connections have in common that can serve the same requests. The configuration is an agent's, and not a request's,
/// because ureq prepares TLS anew for each of those.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    own: bool,
    is_upload: bool,
    proxy: Option<String>,
}

/// Connections for one endpoint, and for the hosts that it sends us to.
#[derive(Debug)]
pub(crate) struct Http {
    tls: Tls,
    connect_timeout: Duration,
    stall_timeout: Duration,
    proxies: Proxies,
    cancel: Cancel,
    /// The endpoint's scheme, host and port; the scheme may turn out to be another one.
    home: RwLock<Uri>,
    agents: Mutex<HashMap<Key, Agent>>,
}

impl Http {
    pub(crate) fn new(
        home: Uri,
        (tls, connect_timeout): (Tls, Duration),
        settings: &Settings,
        cancel: Cancel,
    ) -> Http {
        Http {
            tls,
            connect_timeout,
            stall_timeout: settings.stall_timeout,
            proxies: settings.proxies.clone(),
            cancel,
            home: RwLock::new(home),
            agents: Mutex::default(),
        }
    }

    pub(crate) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Returns the endpoint's address.
    pub(crate) fn home(&self) -> Uri {
        let home = self.home.read().unwrap_or_else(PoisonError::into_inner);
        home.clone()
    }

    /// Changes the endpoint's address, when its scheme has turned out.
    pub(crate) fn settle(&self, home: Uri) {
        *self.home.write().unwrap_or_else(PoisonError::into_inner) = home;
    }

    /// Returns whether plain HTTP and any certificate will do.
    pub(crate) fn is_insecure(&self) -> bool {
        self.tls.insecure
    }

    /// Sends a request and returns the answer, whatever its status; follows redirects of what has no body.
    pub(crate) fn send(&self, mut request: Request<'_>) -> Result<Answer, Failure> {
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.exchange(&mut request)?;
            let status = answer.status();
            let target = answer.headers().get(header::LOCATION);
            let (true, Some(target)) = (status.is_redirection(), target) else {
                return Ok(answer);
            };
            if !matches!(request.body, Body::Empty) {
                return Ok(answer);
            }
            let next = target
                .to_str()
                .ok()
                .and_then(|target| join(&request.url, target))
                .ok_or_else(|| {
                    Failure::Wrong(format!("{}: a redirect leads nowhere", named(&request)))
                })?;
            if request.url.scheme_str() == Some("https")
                && next.scheme_str() != Some("https")
                && !self.tls.insecure
            {
                let why = format!("{}: a redirect leads from https to http", named(&request));
                return Err(Failure::Wrong(why));
            }
            if !is_same_origin(&request.url, &next) {
                request.private.clear();
            }
            if status.as_u16() == 303 && request.method != Method::HEAD {
                request.method = Method::GET;
            }
            tracing::debug!(url = %without_query(&next), "redirected");
            request.url = next;
        }
        let why = format!(
            "{}: stopped after {REDIRECTS_MAX} redirects",
            named(&request)
        );
        Err(Failure::Wrong(why))
    }

    fn exchange(&self, request: &mut Request<'_>) -> Result<Answer, Failure> {
        let name = named(request);
        if self.cancel.is_cancelled() {
            return Err(cancelled());
        }
        let is_upload = matches!(request.method, Method::PUT | Method::PATCH);
        let agent = self.agent(&request.url, is_upload)?;
        let mut built = ureq::http::Request::builder()
            .method(request.method.clone())
            .uri(request.url.clone());
        for (key, value) in request.headers.iter().chain(&request.private) {
            built = built.header(key, value);
        }
        let built = built.header(header::USER_AGENT, USER_AGENT);
        let mut nothing = std::io::empty();
        let mut rest: &[u8];
        let (reader, size): (&mut dyn Read, u64) = match &mut request.body {
            Body::Empty => (&mut nothing, 0),
            Body::Bytes(bytes) => {
                rest = bytes;
                let size = rest.len() as u64;
                (&mut rest, size)
            }
            Body::Stream { reader, size } => (reader, *size),
        };
        let malformed = |error: ureq::http::Error| Failure::Wrong(format!("{name}: {error}"));
        let result = if matches!(request.method, Method::POST | Method::PUT | Method::PATCH) {
            let built = built.header(header::CONTENT_LENGTH, size);
            let body = SendBody::from_reader(reader);
            agent.run(built.body(body).map_err(malformed)?)
        } else {
            agent.run(built.body(SendBody::none()).map_err(malformed)?)
        };
        if let Ok(answer) = &result {
            let left = header_text(answer.headers(), "ratelimit-remaining");
            let source = header_text(answer.headers(), "docker-ratelimit-source");
            if !left.is_empty() {
                tracing::debug!(left, source, "the registry counts requests");
            }
        }
        result.map_err(|error| {
            if self.cancel.is_cancelled() {
                return cancelled();
            }
            let failed = transport(&request.url, name, &error);
            Failure::Transport(match self.proxy(&request.url) {
                Some(proxy) => by_proxy(proxy.expose(), failed, &error),
                None => failed,
            })
        })
    }

    /// Returns the proxy by which an address is reached.
    fn proxy(&self, url: &Uri) -> Option<&Secret> {
        proxy::choose(
            &self.proxies,
            url.scheme_str().unwrap_or_default(),
            url.host().unwrap_or_default(),
            port(url),
        )
    }

    /// Returns the agent for an address: ours or foreign, and by which proxy.
    fn agent(&self, url: &Uri, is_upload: bool) -> Result<Agent, Failure> {
        let key = Key {
            own: is_same_origin(&self.home(), url),
            is_upload,
            proxy: self.proxy(url).map(|proxy| proxy.expose().to_owned()),
        };
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let agent = Agent::new_with_config(self.config(&key)?);
        self.cancel.watch(&agent);
        agents.insert(key, agent.clone());
        Ok(agent)
    }

    fn config(&self, key: &Key) -> Result<ureq::config::Config, Failure> {
        let wrong = |text: String| Failure::Wrong(text);
        let proxy = match &key.proxy {
            // What is wrong with it may hold its password.
            Some(text) => Some(
                Proxy::new(text)
                    .map_err(|_| wrong("the address of the proxy is malformed".to_owned()))?,
            ),
            None => None,
        };
        let tls = tls::config(&self.tls, key.own).map_err(|error| wrong(format!("{error:#}")))?;
        let (answer, stall) = if key.is_upload {
            (UPLOAD_ANSWER_TIMEOUT, UPLOAD_ANSWER_TIMEOUT)
        } else {
            (ANSWER_TIMEOUT, self.stall_timeout)
        };
        Ok(Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(proxy)
            .tls_config(tls)
            .accept_encoding("identity")
            .timeout_resolve(Some(self.connect_timeout))
            .timeout_connect(Some(self.connect_timeout))
            .timeout_recv_response(Some(answer))
            .timeout_per_read(Some(stall))
            .timeout_per_write(Some(self.stall_timeout))
            .max_idle_connections_per_host(IDLE_PER_HOST)
            .max_idle_connections(2 * IDLE_PER_HOST)
            .build())
    }
}

/// Returns what a request is called in messages, as Go does; without the query, which may hold secrets.
pub(crate) fn named(request: &Request<'_>) -> String {
    let method = request.method.as_str();
    let (first, rest) = method.split_at(1.min(method.len()));
    format!(
        "{first}{} \"{}\"",
        rest.to_ascii_lowercase(),
        without_query(&request.url)
    )
}

/// Returns an address as it may be shown.
pub(crate) fn without_query(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or("http");
    let authority = url
        .authority()
        .map(ureq::http::uri::Authority::as_str)
        .unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{}", url.path())
}

pub(crate) fn cancelled() -> Failure {
    Failure::Transport(Transport {
        request: String::new(),
        why: Why::Cancelled,
        text: String::new(),
    })
}

pub(crate) fn cut(name: &str) -> Failure {
    Failure::Transport(Transport {
        request: name.to_owned(),
        why: Why::Cut,
        text: "unexpected EOF".to_owned(),
    })
}

/// Turns what reading a body says into a failure.
pub(crate) fn broken(name: &str, error: std::io::Error) -> Failure {
    let error = ureq::Error::from(error);
    Failure::Transport(transport(&Uri::default(), name.to_owned(), &error))
}

/// Turns an answer that says no into an error; reads its body for that.
pub(crate) fn check(name: String, answer: Answer) -> Result<Answer, Failure> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    Err(Failure::Refused(refusal(name, answer)))
}

/// Returns a header as text; empty if there is none, or none that is text.
fn header_text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

/// Reads an answer that says no.
pub(crate) fn refusal(name: String, answer: Answer) -> Refusal {
    let status = answer.status().as_u16();
    let retry_after = retry::retry_after(answer.headers());
    let limit = header_text(answer.headers(), "ratelimit-limit").to_owned();
    let mut body = Vec::new();
    let reader = answer.into_body().into_reader();
    if let Err(error) = reader.take(REFUSAL_MAX_BYTES).read_to_end(&mut body) {
        tracing::debug!("read why {name} was refused: {error}");
    }
    Refusal {
        retry_after,
        limit,
        ..Refusal::read(name, status, &body)
    }
}

/// Reads a body whole.
pub(crate) fn read(
    name: &str,
    answer: Answer,
    max_bytes: u64,
    cancel: &Cancel,
) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    answer
        .into_body()
        .into_with_config()
        .limit(u64::MAX)
        .reader()
        .take(max_bytes + 1)
        .read_to_end(&mut body)
        .map_err(|error| {
            if cancel.is_cancelled() {
                return cancelled();
            }
            broken(name, error)
        })?;
    if body.len() as u64 > max_bytes {
        let why = format!("{name}: the answer is larger than {max_bytes} bytes");
        return Err(Failure::Wrong(why));
    }
    Ok(body)
}

/// Returns the port of an address, or that of its scheme.
pub(crate) fn port(url: &Uri) -> u16 {
    let standard = if url.scheme_str() == Some("http") {
        80
    } else {
        443
    };
    url.port_u16().unwrap_or(standard)
}

/// Returns whether two addresses are of one scheme, host and port.
pub(crate) fn is_same_origin(a: &Uri, b: &Uri) -> bool {
    let host = |url: &Uri| url.host().unwrap_or_default().to_ascii_lowercase();
    a.scheme() == b.scheme() && host(a) == host(b) && port(a) == port(b)
}

/// Returns the address that `target` is, seen from `base` (RFC 3986, 5.2): absolute, or relative to a host or a path.
pub(crate) fn join(base: &Uri, target: &str) -> Option<Uri> {
    let target = target.split('#').next().unwrap_or_default();
    let scheme = base.scheme_str()?;
    let authority = base.authority()?.as_str();
    let text = if target.starts_with("http://") || target.starts_with("https://") {
        target.to_owned()
    } else if let Some(rest) = target.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if target.starts_with('/') {
        format!("{scheme}://{authority}{target}")
    } else if target.starts_with('?') || target.is_empty() {
        format!("{scheme}://{authority}{}{target}", base.path())
    } else if target.contains("://") {
        return None;
    } else {
        let (folder, _) = base.path().rsplit_once('/')?;
        format!("{scheme}://{authority}{folder}/{target}")
    };
    let url: Uri = text.parse().ok()?;
    let host = url.host().is_some_and(|host| !host.is_empty());
    (host && url.scheme().is_some()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_found() {
        let base: Uri = "https://example.com:5000/v2/a/blobs/uploads/?x=1"
            .parse()
            .unwrap();
        let check = |target: &str, expected: Option<&str>| {
            let found = join(&base, target).map(|url| url.to_string());
            assert_eq!(found.as_deref(), expected, "{target}");
        };
        check(
            "http://other.example/x?y=z",
            Some("http://other.example/x?y=z"),
        );
        check("//other.example/x", Some("https://other.example/x"));
        check(
            "/v2/b?_state=a%2Fb",
            Some("https://example.com:5000/v2/b?_state=a%2Fb"),
        );
        check(
            "u1?s=2",
            Some("https://example.com:5000/v2/a/blobs/uploads/u1?s=2"),
        );
        check(
            "?s=2",
            Some("https://example.com:5000/v2/a/blobs/uploads/?s=2"),
        );
        check("ftp://example.com/x", None);
        check("http://", None);
        check("https:///x", None);
    }

    #[test]
    fn origins_are_told_apart() {
        let same = |a: &str, b: &str| is_same_origin(&a.parse().unwrap(), &b.parse().unwrap());
        assert!(same("https://Example.com/x", "https://example.com:443/y"));
        assert!(!same("https://example.com/", "http://example.com/"));
        assert!(!same("https://example.com/", "https://example.com:444/"));
        assert!(!same(
            "https://example.com/",
            "https://example.com.evil.example/"
        ));
    }

    #[test]
    fn secrets_in_addresses_are_not_shown() {
        let url: Uri = "https://user:pw@example.com/x?sig=abc".parse().unwrap();
        assert_eq!(
            named(&Request::new(Method::HEAD, url)),
            "Head \"https://example.com/x\""
        );
    }

    #[test]
    fn a_cancel_ends_a_wait() {
        let cancel = Cancel::default();
        assert!(!cancel.sleep(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| cancel.sleep(Duration::from_secs(60)));
            cancel.cancel();
            assert!(waiting.join().unwrap());
        });
    }
}
