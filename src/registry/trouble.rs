//! What ureq and rustls say, in the words of Go, which scripts look for.

use std::io::{self, ErrorKind};
use std::net::ToSocketAddrs as _;

use rustls::{CertificateError, InvalidMessage};
use ureq::http::Uri;
use ureq::{Error, Timeout};

use super::failure::{Transport, Why};
use super::{http, tls};

/// Returns how a request for `url`, called `request`, failed.
///
/// Where nobody was reached docker names the root of the API, since it asks for that first.
pub(crate) fn transport(url: &Uri, request: String, error: &Error) -> Transport {
    let (why, text) = why(url, error);
    // The search is no part of that API.
    let root = url.host().is_some()
        && url.path().contains("/v2/")
        && matches!(
            why,
            Why::Connect | Why::Unknown | Why::Plain | Why::Certificate
        );
    let request = if root {
        let root = http::join(url, "/v2/").unwrap_or_default();
        format!("Get \"{}\"", http::without_query(&root))
    } else {
        request
    };
    Transport { request, why, text }
}

/// Returns how a request failed that was to go by a proxy.
pub(crate) fn by_proxy(proxy: &str, failed: Transport, error: &Error) -> Transport {
    let is_proxy = matches!(failed.why, Why::Connect | Why::Unknown);
    let Some(url) = proxy.parse().ok().filter(|_| is_proxy) else {
        return failed;
    };
    let (why, text) = why(&url, error);
    let text = format!(
        "proxyconnect tcp: {}",
        text.trim_start_matches("proxyconnect tcp: ")
    );
    Transport {
        why,
        text,
        ..failed
    }
}

fn why(url: &Uri, error: &Error) -> (Why, String) {
    if let Some(error) = rustls_error(error) {
        return of_tls(error);
    }
    let dial = |text: &str| {
        let address = address(url).map(|address| format!(" {address}"));
        format!("dial tcp{}: {text}", address.unwrap_or_default())
    };
    match error {
        Error::HostNotFound => (Why::Unknown, no_such_host(url)),
        Error::Timeout(Timeout::Resolve) => {
            let host = url.host().unwrap_or_default();
            (
                Why::Connect,
                format!("dial tcp: lookup {host}: i/o timeout"),
            )
        }
        Error::Timeout(Timeout::Connect) => (Why::Connect, dial("i/o timeout")),
        Error::Timeout(Timeout::RecvResponse) => (
            Why::Stalled,
            "net/http: timeout awaiting response headers".to_owned(),
        ),
        Error::Timeout(_) => (
            Why::Stalled,
            "no data came for too long: i/o timeout".to_owned(),
        ),
        Error::ConnectProxyFailed(text) => (Why::Connect, format!("proxyconnect tcp: {text}")),
        Error::Io(error) => of_io(url, error, &dial),
        other => (Why::Cut, other.to_string()),
    }
}

fn of_io(url: &Uri, error: &io::Error, dial: &dyn Fn(&str) -> String) -> (Why, String) {
    match error.kind() {
        ErrorKind::ConnectionRefused => (Why::Connect, dial("connect: connection refused")),
        ErrorKind::HostUnreachable => (Why::Connect, dial("connect: no route to host")),
        ErrorKind::NetworkUnreachable => (Why::Connect, dial("connect: network is unreachable")),
        ErrorKind::UnexpectedEof => (Why::Cut, "unexpected EOF".to_owned()),
        ErrorKind::ConnectionReset => (Why::Cut, "read: connection reset by peer".to_owned()),
        ErrorKind::BrokenPipe => (Why::Cut, "write: broken pipe".to_owned()),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => (
            Why::Stalled,
            "no data came for too long: i/o timeout".to_owned(),
        ),
        _ if error.to_string().starts_with("failed to lookup address") => {
            if error.to_string().contains("emporary failure") {
                let host = url.host().unwrap_or_default();
                let why = format!("dial tcp: lookup {host}: Temporary failure in name resolution");
                return (Why::Connect, why);
            }
            (Why::Unknown, no_such_host(url))
        }
        _ => (Why::Cut, error.to_string()),
    }
}

fn no_such_host(url: &Uri) -> String {
    format!(
        "dial tcp: lookup {}: no such host",
        url.host().unwrap_or_default()
    )
}

/// Returns the address that was probably tried last.
fn address(url: &Uri) -> Option<String> {
    let host = url.host()?.trim_start_matches('[').trim_end_matches(']');
    let mut found = (host, http::port(url)).to_socket_addrs().ok()?;
    Some(found.next_back()?.to_string())
}

fn of_tls(error: &rustls::Error) -> (Why, String) {
    let verify = |text: String| {
        let text = format!("tls: failed to verify certificate: x509: {text}");
        (Why::Certificate, text)
    };
    match error {
        // The record that came has another first byte: the `H` of `HTTP/1.1`.
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => (
            Why::Plain,
            "http: server gave HTTP response to HTTPS client".to_owned(),
        ),
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer if !tls::has_system_roots() => verify(
                "certificate signed by unknown authority: this system has none (package ca-certificates)"
                    .to_owned(),
            ),
            CertificateError::UnknownIssuer => {
                verify("certificate signed by unknown authority".to_owned())
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                verify("certificate has expired or is not yet valid".to_owned())
            }
            other => verify(other.to_string()),
        },
        rustls::Error::AlertReceived(alert) => {
            let alert = words(&format!("{alert:?}"));
            (Why::Certificate, format!("remote error: tls: {alert}"))
        }
        other => (Why::Certificate, format!("tls: {other}")),
    }
}

/// Splits a name into its words: `CertificateRequired` → `certificate required`.
fn words(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// Finds what rustls says, which comes wrapped in errors of input and output.
fn rustls_error(error: &Error) -> Option<&rustls::Error> {
    let io = match error {
        Error::Rustls(error) => return Some(error),
        Error::Io(io) => io,
        _ => return None,
    };
    let mut at: Option<&(dyn std::error::Error + 'static)> = io.get_ref().map(|inner| inner as _);
    while let Some(inner) = at {
        if let Some(found) = inner.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        at = inner.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: &Error, why: Why, text: &str) {
        let url: Uri = "https://127.0.0.1:5000/v2/x/manifests/1".parse().unwrap();
        let found = transport(&url, "Head \"…\"".to_owned(), error);
        assert_eq!((found.why, found.text.as_str()), (why, text), "{error}");
    }

    #[test]
    fn failures_are_told_as_go_does() {
        check(
            &io::Error::from(ErrorKind::ConnectionRefused).into(),
            Why::Connect,
            "dial tcp 127.0.0.1:5000: connect: connection refused",
        );
        let plain = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
        check(
            &io::Error::new(ErrorKind::InvalidData, plain).into(),
            Why::Plain,
            "http: server gave HTTP response to HTTPS client",
        );
        check(
            &rustls::Error::InvalidCertificate(CertificateError::Expired).into(),
            Why::Certificate,
            "tls: failed to verify certificate: x509: certificate has expired or is not yet valid",
        );
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        check(
            &io::Error::new(ErrorKind::InvalidData, alert).into(),
            Why::Certificate,
            "remote error: tls: certificate required",
        );
        check(
            &Error::HostNotFound,
            Why::Unknown,
            "dial tcp: lookup 127.0.0.1: no such host",
        );
        check(
            &io::Error::from(ErrorKind::UnexpectedEof).into(),
            Why::Cut,
            "unexpected EOF",
        );
    }
}
