//! What can go wrong with a registry, for callers that branch on it, in the words that docker's users and scripts know.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// The most that is shown of an answer that is no error document.
const SHOWN_BYTES: usize = 300;

/// An error of a registry, of the way to it, or of what it sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It answered with a status that says no.
    Refused(Refusal),
    /// There was no answer, or not all of one.
    Transport(Transport),
    /// It answered, and what it sent cannot be what was asked for; says what.
    Wrong(String),
}

/// An answer that says no.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked: `Head "https://…"`.
    pub request: String,
    /// Status of HTTP.
    pub status: u16,
    /// What it says about it; empty if there was no body.
    pub errors: Vec<ApiError>,
    /// How long to wait before the next request (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// What it says of the number of requests that it answers: `100;w=21600`; empty if it says nothing.
    pub limit: String,
    /// Whether the registry wants to know who asks, and there are no credentials to tell it.
    pub needs_credentials: bool,
}

/// One error of the distribution-spec (Error Codes).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ApiError {
    /// `MANIFEST_UNKNOWN`; empty if the answer is in no form we know.
    pub code: String,
    /// For people.
    pub message: String,
}

/// How the way to a registry failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    /// What was asked: `Get "https://…"`.
    pub request: String,
    /// The sort of failure.
    pub why: Why,
    /// What happened, as Go says it: `dial tcp 127.0.0.1:5000: connect: connection refused`.
    pub text: String,
}

/// Sorts of failures on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Somebody here wanted it to stop.
    Cancelled,
    /// Nobody could be connected to.
    Connect,
    /// There is no such host.
    Unknown,
    /// The other side has no TLS.
    Plain,
    /// The other side's certificate, or ours, is not accepted.
    Certificate,
    /// Nothing came for too long.
    Stalled,
    /// The connection ended too early, or spoke no HTTP.
    Cut,
}

impl Failure {
    /// Returns whether the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Failure::Refused(refusal) => {
                matches!(refusal.status, 408 | 429 | 500 | 502 | 503 | 504)
            }
            Failure::Transport(transport) => {
                matches!(transport.why, Why::Connect | Why::Stalled | Why::Cut)
            }
            Failure::Wrong(_) => false,
        }
    }

    /// Returns whether somebody here wanted it to stop.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Failure::Transport(transport) if transport.why == Why::Cancelled)
    }

    /// Returns whether nobody was there to be asked.
    pub fn is_silence(&self) -> bool {
        matches!(self, Failure::Transport(transport) if matches!(transport.why, Why::Connect | Why::Unknown))
    }

    /// Returns the status of an answer that said no.
    pub fn status(&self) -> Option<u16> {
        match self {
            Failure::Refused(refusal) => Some(refusal.status),
            _ => None,
        }
    }

    /// Returns whether an answer names this error.
    pub fn is_code(&self, code: &str) -> bool {
        matches!(self, Failure::Refused(refusal) if refusal.errors.iter().any(|error| error.code == code))
    }
}

impl Refusal {
    /// Reads what came with a status; `body` is empty after HEAD.
    pub(crate) fn read(request: String, status: u16, body: &[u8]) -> Refusal {
        Refusal {
            request,
            status,
            errors: errors(body),
            ..Refusal::default()
        }
    }
}

/// Reads errors in one of the forms that registries and token servers have.
fn errors(body: &[u8]) -> Vec<ApiError> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Document {
        errors: Vec<ApiError>,
        details: String,
        message: String,
        error: String,
        error_description: String,
    }
    if let Ok(document) = serde_json::from_slice::<Document>(body) {
        if !document.errors.is_empty() {
            return document.errors;
        }
        for message in [
            document.details,
            document.message,
            document.error_description,
            document.error,
        ] {
            if !message.is_empty() {
                return vec![ApiError {
                    code: String::new(),
                    message,
                }];
            }
        }
    }
    let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES)]);
    // Pages for browsers say nothing on a terminal.
    if text.trim().is_empty() || text.trim_start().starts_with('<') {
        return Vec::new();
    }
    let line: Vec<&str> = text.split_whitespace().collect();
    vec![ApiError {
        code: String::new(),
        message: line.join(" "),
    }]
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.code.to_ascii_lowercase().replace('_', " ");
        match (words.as_str(), self.message.as_str()) {
            ("", message) => f.write_str(message),
            (words, "") => f.write_str(words),
            (words, message) => write!(f, "{words}: {message}"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.needs_credentials {
            return write!(f, "{}: no basic auth credentials", self.request);
        }
        if self.status == 429 && !self.limit.is_empty() {
            let other = Refusal {
                limit: String::new(),
                ..self.clone()
            };
            return write!(f, "{other} (limit: {})", self.limit);
        }
        if !self.errors.is_empty() {
            let all: Vec<String> = self.errors.iter().map(ToString::to_string).collect();
            let all = all.join("; ");
            return match self.status {
                429 if !all.starts_with("toomanyrequests") => write!(f, "toomanyrequests: {all}"),
                401 if self.errors.iter().all(|error| error.code.is_empty()) => {
                    write!(f, "unauthorized: {all}")
                }
                403 if self.errors.iter().all(|error| error.code.is_empty()) => {
                    write!(f, "denied: {all}")
                }
                _ => f.write_str(&all),
            };
        }
        match self.status {
            401 => f.write_str("unauthorized: authentication required"),
            403 => f.write_str("denied: requested access to the resource is denied"),
            429 => f.write_str("toomanyrequests: the registry asks for fewer requests"),
            status => write!(
                f,
                "{}: received unexpected HTTP status: {status}{}",
                self.request,
                reason(status)
            ),
        }
    }
}

fn reason(status: u16) -> String {
    ureq::http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .map(|reason| format!(" {reason}"))
        .unwrap_or_default()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused(refusal) => refusal.fmt(f),
            Failure::Transport(transport) if transport.why == Why::Cancelled => {
                f.write_str("context canceled")
            }
            Failure::Transport(transport) => {
                write!(f, "{}: {}", transport.request, transport.text)
            }
            Failure::Wrong(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: &str, expected: &str) {
        let request = "Get \"https://example.com/v2/\"".to_owned();
        let refusal = Refusal::read(request, status, body.as_bytes());
        assert_eq!(Failure::Refused(refusal).to_string(), expected, "{body}");
    }

    #[test]
    fn answers_are_told_as_docker_does() {
        check(
            404,
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#,
            "manifest unknown: manifest unknown",
        );
        check(
            401,
            r#"{"details":"incorrect username or password"}"#,
            "unauthorized: incorrect username or password",
        );
        check(
            403,
            r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#,
            "denied: requested access to the resource is denied",
        );
        check(
            403,
            "",
            "denied: requested access to the resource is denied",
        );
        check(
            429,
            "You have reached\n your limit",
            "toomanyrequests: You have reached your limit",
        );
        check(
            429,
            r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow"}]}"#,
            "toomanyrequests: slow",
        );
        check(
            502,
            "<html><body>Bad gateway</body></html>",
            "Get \"https://example.com/v2/\": received unexpected HTTP status: 502 Bad Gateway",
        );
        check(400, r#"{"message":"no","errors":[]}"#, "no");
    }

    #[test]
    fn some_failures_pass() {
        for (status, temporary) in [
            (401, false),
            (404, false),
            (429, true),
            (500, true),
            (501, false),
            (503, true),
        ] {
            let failure = Failure::Refused(Refusal::read(String::new(), status, b""));
            assert_eq!(failure.is_temporary(), temporary, "{status}");
        }
    }
}
