//! Who we are: answers to challenges, and the tokens that token servers give (distribution's token authentication).
//!
//! ```text
//! request ─▶ 401, WWW-Authenticate ─▶ Basic: name and password with every request to this host
//!                                  └▶ Bearer: GET realm?service=…&scope=…   (POST with a refresh token) ─▶ token
//! request + Authorization ─▶ answer; 401 once more: the scope that is missed is added, then it is given up
//! ```
//!
//! Tokens are kept as long as they are valid, one for each set of scopes; several threads that need the same wait for one
//! of them to fetch it. Credentials are asked for when a challenge came, since a helper program may have to tell them.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde::Deserialize;
use ureq::http::{HeaderMap, HeaderValue, Method, Uri, header};

use super::challenge::{self, Bearer, Challenge};
use super::endpoint::{Credentials, Secret};
use super::failure::Failure;
use super::http::{self, Answer, Body, Http, Request};
use super::proxy::is_loopback;

/// The longest answer of a token server.
const TOKEN_MAX_BYTES: u64 = 1 << 20;
/// A token that says nothing of its end, or an earlier one, is valid for so long.
const LIFE_MIN: Duration = Duration::from_secs(60);
/// So long before its end a token is not used any more.
const SLACK: Duration = Duration::from_secs(10);
/// What token servers know the caller as.
const CLIENT_ID: &str = "aril";

/// Returns a user's credentials for one endpoint, when they are needed.
pub type Lookup = Box<dyn Fn() -> anyhow::Result<Credentials> + Send + Sync>;

/// What is known of an endpoint's wishes.
pub(crate) struct Auth {
    lookup: Lookup,
    /// Whether token servers are asked for a token that can be kept, as `login` wants it.
    offline: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    challenge: Option<Challenge>,
    credentials: Option<Credentials>,
    tokens: HashMap<Vec<String>, Token>,
    /// What a token server gave to be kept.
    refresh: Option<Secret>,
}

struct Token {
    secret: Secret,
    until: Instant,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auth")
    }
}

/// What a token server says.
#[derive(Deserialize, Default)]
#[serde(default)]
struct TokenAnswer {
    token: String,
    access_token: String,
    expires_in: u64,
    refresh_token: String,
}

impl Auth {
    pub(crate) fn new(lookup: Lookup) -> Auth {
        Auth {
            lookup,
            offline: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// Asks token servers from now on for a token that others can be had for.
    pub(crate) fn ask_for_refresh(&self) {
        self.offline.store(true, Ordering::Relaxed);
    }

    /// Returns the token that a token server gave to be kept in the place of a password.
    pub(crate) fn refresh(&self) -> Option<Secret> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.refresh.clone()
    }

    /// Returns the value of `Authorization` for a request that needs `scopes`, as far as the endpoint's wishes are known.
    pub(crate) fn header(
        &self,
        http: &Http,
        scopes: &[String],
    ) -> Result<Option<HeaderValue>, Failure> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let challenge = state.challenge.clone();
        match challenge {
            None => Ok(None),
            Some(challenge) => self.answer(&mut state, http, &challenge, scopes),
        }
    }

    /// Takes note of a 401; returns whether another attempt may fare better than that with `sent`.
    ///
    /// `scopes` get what the endpoint says is needed.
    pub(crate) fn challenged(
        &self,
        headers: &HeaderMap,
        sent: Option<&HeaderValue>,
        scopes: &mut Vec<String>,
    ) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let values = headers.get_all(header::WWW_AUTHENTICATE);
        let texts = values.iter().filter_map(|value| value.to_str().ok());
        let Some(challenge) = challenge::choose(texts) else {
            return false;
        };
        let mut kept = challenge.clone();
        if let Challenge::Bearer(bearer) = &mut kept {
            bearer.scope.clear();
            bearer.error.clear();
        }
        let mut hope = sent.is_none() || state.challenge.as_ref() != Some(&kept);
        if let Challenge::Bearer(bearer) = &challenge {
            let before = scopes.len();
            add_scopes(scopes, &bearer.scope);
            hope |= scopes.len() > before;
            if let Some(sent) = sent {
                let refused = |token: &Token| bearer_value(&token.secret).as_ref() == Some(sent);
                let known = state.tokens.len();
                state.tokens.retain(|_, token| !refused(token));
                // One that was good once has come to its end.
                hope |= state.tokens.len() < known || bearer.error == "invalid_token";
            }
        }
        state.challenge = Some(kept);
        hope
    }

    /// Returns whether the endpoint wants a password and there is none.
    pub(crate) fn wants_password(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.challenge == Some(Challenge::Basic)
            && !matches!(state.credentials, Some(Credentials::Password { .. }))
    }

    fn answer(
        &self,
        state: &mut State,
        http: &Http,
        challenge: &Challenge,
        scopes: &[String],
    ) -> Result<Option<HeaderValue>, Failure> {
        if state.credentials.is_none() {
            let found = (self.lookup)().map_err(|error| Failure::Wrong(format!("{error:#}")))?;
            state.credentials = Some(found);
        }
        let credentials = state.credentials.clone().unwrap_or_default();
        match (challenge, &credentials) {
            (_, Credentials::Bearer(token)) => Ok(bearer_value(token)),
            (Challenge::Basic, Credentials::Password { user, password }) => {
                Ok(Some(basic_value(user, password)))
            }
            (Challenge::Basic, _) => Ok(None),
            (Challenge::Bearer(bearer), credentials) => {
                let mut key = scopes.to_vec();
                key.sort();
                let now = Instant::now();
                if let Some(token) = state.tokens.get(&key)
                    && token.until > now
                {
                    return Ok(bearer_value(&token.secret));
                }
                let is_login = self.offline.load(Ordering::Relaxed);
                let answer = fetch(http, bearer, credentials, scopes, is_login)?;
                if is_login && !answer.refresh_token.is_empty() {
                    state.refresh = Some(Secret::new(&answer.refresh_token));
                }
                let token = token(&answer, bearer)?;
                let value = bearer_value(&token.secret);
                state.tokens.insert(key, token);
                Ok(value)
            }
        }
    }
}

/// Splits scopes, which stand with blanks between, and adds the new ones in front, where servers look first.
fn add_scopes(scopes: &mut Vec<String>, text: &str) {
    let new: Vec<String> = text
        .split_whitespace()
        .filter(|scope| !scopes.iter().any(|known| known == scope))
        .map(str::to_owned)
        .collect();
    scopes.splice(0..0, new);
}

fn token(answer: &TokenAnswer, bearer: &Bearer) -> Result<Token, Failure> {
    let text = if answer.token.is_empty() {
        &answer.access_token
    } else {
        &answer.token
    };
    if text.is_empty() {
        let why = format!("the token server {} gave no token", bearer.realm);
        return Err(Failure::Wrong(why));
    }
    let life = Duration::from_secs(answer.expires_in).max(LIFE_MIN);
    let life = life.saturating_sub(SLACK);
    Ok(Token {
        secret: Secret::new(text),
        until: Instant::now() + life,
    })
}

/// Asks a token server.
fn fetch(
    http: &Http,
    bearer: &Bearer,
    credentials: &Credentials,
    scopes: &[String],
    is_login: bool,
) -> Result<TokenAnswer, Failure> {
    let realm: Uri = bearer.realm.parse().map_err(|_| {
        Failure::Wrong(format!(
            "the token server's address {:?} is malformed",
            bearer.realm
        ))
    })?;
    check_realm(&realm, http)?;
    if let Credentials::Identity(refresh) = credentials {
        let form = refresh_form(bearer, refresh, scopes);
        let mut request = Request::new(Method::POST, realm);
        request.headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        request.body = Body::Bytes(form.as_bytes());
        return match parse(http, request) {
            // It knows no such requests; then the token stands in a password's place.
            Err(failure) if matches!(failure.status(), Some(404 | 405)) => {
                let basic = Credentials::Password {
                    user: String::new(),
                    password: refresh.clone(),
                };
                fetch(http, bearer, &basic, scopes, is_login)
            }
            answer => answer,
        };
    }
    let mut query: Vec<(&str, &str)> = Vec::new();
    if !bearer.service.is_empty() {
        query.push(("service", &bearer.service));
    }
    query.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
    let mut private = HeaderMap::new();
    if let Credentials::Password { user, password } = credentials {
        if !user.is_empty() {
            query.push(("account", user));
        }
        private.insert(header::AUTHORIZATION, basic_value(user, password));
    }
    if is_login {
        query.push(("offline_token", "true"));
        query.push(("client_id", CLIENT_ID));
    }
    let separator = if realm.query().is_some() { '&' } else { '?' };
    let text = format!("{realm}{separator}{}", form_encode(&query));
    let url = text.trim_end_matches(['?', '&']).parse().map_err(|_| {
        Failure::Wrong(format!(
            "the token server's address {:?} is malformed",
            bearer.realm
        ))
    })?;
    let mut request = Request::new(Method::GET, url);
    request.private = private;
    parse(http, request)
}

fn refresh_form(bearer: &Bearer, refresh: &Secret, scopes: &[String]) -> String {
    form_encode(&[
        ("grant_type", "refresh_token"),
        ("service", &bearer.service),
        ("client_id", CLIENT_ID),
        ("scope", &scopes.join(" ")),
        ("refresh_token", refresh.expose()),
    ])
}

fn parse(http: &Http, request: Request<'_>) -> Result<TokenAnswer, Failure> {
    let name = http::named(&request);
    let answer: Answer = http::check(name.clone(), http.send(request)?)?;
    let bytes = http::read(&name, answer, TOKEN_MAX_BYTES, http.cancel())?;
    // What serde says may show a part of the token.
    serde_json::from_slice(&bytes)
        .map_err(|_| Failure::Wrong(format!("{name}: the answer of the token server is no JSON")))
}

/// Refuses token servers that a hostile registry could want asked: without TLS, or on this machine and its neighbours.
///
/// A registry that is on this machine or in this network itself may name itself.
fn check_realm(realm: &Uri, http: &Http) -> Result<(), Failure> {
    let refuse = |why: &str| {
        let shown = http::without_query(realm);
        Err(Failure::Wrong(format!(
            "refused to ask the token server {shown}: {why}"
        )))
    };
    let home = http.home();
    let own_host = realm.host().is_some() && realm.host() == home.host();
    match realm.scheme_str() {
        Some("https") => {}
        Some("http") if http.is_insecure() || (own_host && home.scheme_str() == Some("http")) => {}
        Some("http") => return refuse("it has no TLS"),
        _ => return refuse("it is not https"),
    }
    let host = realm.host().unwrap_or_default();
    let both_here = is_loopback(host) && is_loopback(home.host().unwrap_or_default());
    if !own_host && is_internal(host) && !both_here {
        return refuse("it is an address inside of this network, and not the registry's");
    }
    Ok(())
}

/// Refuses addresses that a manifest names and that a hostile one could want asked; as for token servers.
pub(crate) fn check_elsewhere(url: &Uri, http: &Http) -> Result<(), Failure> {
    let host = url.host().unwrap_or_default();
    let home = http.home();
    let is_near = is_internal(home.host().unwrap_or_default());
    if matches!(url.scheme_str(), Some("http" | "https")) && (is_near || !is_internal(host)) {
        return Ok(());
    }
    Err(Failure::Wrong(format!(
        "refused to fetch a layer from {}, which the manifest names",
        http::without_query(url)
    )))
}

/// Whether a host is written as an address that is not of the Internet.
fn is_internal(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if is_loopback(host) {
        return true;
    }
    match host.parse() {
        Ok(std::net::IpAddr::V4(v4)) => {
            v4.is_private() || v4.is_link_local() || v4.is_unspecified()
        }
        Ok(std::net::IpAddr::V6(v6)) => {
            let mapped = v6.to_ipv4_mapped();
            mapped.is_some_and(|v4| v4.is_private() || v4.is_link_local() || v4.is_loopback())
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_unspecified()
        }
        Err(_) => false,
    }
}

fn bearer_value(token: &Secret) -> Option<HeaderValue> {
    sensitive(&format!("Bearer {}", token.expose()))
}

fn basic_value(user: &str, password: &Secret) -> HeaderValue {
    let text = format!("{user}:{}", password.expose());
    sensitive(&format!("Basic {}", BASE64.encode(text)))
        .expect("base64 has no byte that a header cannot have")
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Encodes names and values as forms and queries have them.
pub(crate) fn form_encode(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    text.push(char::from(byte));
                }
                other => {
                    text.push('%');
                    for digit in [other >> 4, other & 15] {
                        text.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
                    }
                }
            }
        }
    }
    text
}
