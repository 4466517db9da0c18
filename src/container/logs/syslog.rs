//! Entries for a syslog daemon (RFC 3164, RFC 5424), and the options that say where it is. Pure.

use std::path::PathBuf;

use anyhow::Result;
use jiff::tz::TimeZone;

use super::{Piece, Stream};
use crate::error;

/// Where the daemon of this machine takes entries.
const LOCAL_SOCKET: &str = "/dev/log";
const PORT: u16 = 514;
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];
/// daemon
const DEFAULT_FACILITY: u8 = 3;

/// Where entries go, and in what form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where.
    pub address: Address,
    /// Number of the facility.
    pub facility: u8,
    /// In what form.
    pub format: Format,
}

/// Where a daemon is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket of this machine: datagrams, or a stream if it takes none.
    Unix(PathBuf),
    /// `host:port`, datagrams.
    Udp(String),
    /// `host:port`, a stream.
    Tcp(String),
}

/// The form of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As programs of this machine write it: no host name.
    Unix,
    /// RFC 3164.
    Rfc3164,
    /// RFC 5424, seconds.
    Rfc5424,
    /// RFC 5424, microseconds.
    Rfc5424Micro,
}

/// Reads the options, which `take` gives away; errors are of kind `Invalid`.
pub fn target(take: &mut dyn FnMut(&str) -> Option<String>) -> Result<Target> {
    let address = address(&take("syslog-address").unwrap_or_default())?;
    let facility = match take("syslog-facility") {
        Some(text) => facility(&text)?,
        None => DEFAULT_FACILITY,
    };
    let format = match take("syslog-format").unwrap_or_default().as_str() {
        "" => Format::Unix,
        "rfc3164" => Format::Rfc3164,
        "rfc5424" => Format::Rfc5424,
        "rfc5424micro" => Format::Rfc5424Micro,
        _ => return Err(error::invalid("Invalid syslog format")),
    };
    Ok(Target {
        address,
        facility,
        format,
    })
}

fn address(text: &str) -> Result<Address> {
    let wrong = || {
        error::invalid(format!(
            "invalid syslog-address {text:?}: expected unix://PATH, udp://HOST:PORT or tcp://HOST:PORT"
        ))
    };
    if text.is_empty() {
        return Ok(Address::Unix(PathBuf::from(LOCAL_SOCKET)));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(error::invalid("unsupported scheme: ''"));
    };
    let host = || -> Result<String> {
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') && !port.contains(']') => {
                (host, port.parse::<u16>().map_err(|_| wrong())?)
            }
            _ => (rest, PORT),
        };
        if host.is_empty() || host.contains('/') {
            return Err(wrong());
        }
        Ok(format!("{host}:{port}"))
    };
    match scheme {
        "unix" | "unixgram" if rest.starts_with('/') => Ok(Address::Unix(PathBuf::from(rest))),
        "udp" => Ok(Address::Udp(host()?)),
        "tcp" => Ok(Address::Tcp(host()?)),
        "tcp+tls" => {
            let why = error::invalid("syslog-address tcp+tls:// is not supported");
            Err(error::with_hint(
                why,
                "send to the daemon of this machine (unix:///dev/log), and let it forward over TLS",
            ))
        }
        _ => Err(wrong()),
    }
}

fn facility(text: &str) -> Result<u8> {
    let by_name = FACILITIES
        .iter()
        .position(|name| *name == text && !name.is_empty());
    let number = by_name
        .or_else(|| text.parse::<usize>().ok())
        .filter(|number| *number < FACILITIES.len());
    number
        .and_then(|number| u8::try_from(number).ok())
        .ok_or_else(|| error::invalid("invalid syslog facility"))
}

/// What does not change between entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Number of the facility.
    pub facility: u8,
    /// In what form.
    pub format: Format,
    /// Name of this machine.
    pub host: String,
    /// Name of the sender.
    pub tag: String,
    /// Number of the sender's process.
    pub pid: u32,
}

impl Header {
    /// Returns one entry; over a stream it ends with its line, or begins with its length (RFC 6587) in the newer forms.
    pub fn message(&self, piece: &Piece<'_>, zone: &TimeZone, is_stream: bool) -> Vec<u8> {
        let severity = match piece.stream {
            Stream::Stdout => 6,
            Stream::Stderr => 3,
        };
        let priority = u32::from(self.facility) * 8 + severity;
        let local = piece.time.to_zoned(zone.clone());
        let (tag, pid, host) = (&self.tag, self.pid, &self.host);
        let head = match self.format {
            Format::Unix => format!(
                "<{priority}>{} {tag}[{pid}]: ",
                local.strftime("%b %e %H:%M:%S")
            ),
            Format::Rfc3164 => format!(
                "<{priority}>{} {host} {tag}[{pid}]: ",
                local.strftime("%b %e %H:%M:%S")
            ),
            Format::Rfc5424 => {
                let time = local.strftime("%Y-%m-%dT%H:%M:%S%:z");
                format!("<{priority}>1 {time} {host} {tag} {pid} {tag} - ")
            }
            Format::Rfc5424Micro => {
                let time = local.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z");
                format!("<{priority}>1 {time} {host} {tag} {pid} {tag} - ")
            }
        };
        let mut out = head.into_bytes();
        out.extend_from_slice(piece.content());
        match (is_stream, self.format) {
            (true, Format::Rfc5424 | Format::Rfc5424Micro) => {
                let mut framed = format!("{} ", out.len()).into_bytes();
                framed.extend_from_slice(&out);
                framed
            }
            (true, _) => {
                out.push(b'\n');
                out
            }
            (false, _) => out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check =
            |text: &str, want: Option<Address>| assert_eq!(address(text).ok(), want, "{text}");
        check("", Some(Address::Unix("/dev/log".into())));
        check(
            "unix:///run/x.sock",
            Some(Address::Unix("/run/x.sock".into())),
        );
        check(
            "udp://192.0.2.1:1514",
            Some(Address::Udp("192.0.2.1:1514".into())),
        );
        check(
            "udp://logs.example.com",
            Some(Address::Udp("logs.example.com:514".into())),
        );
        check("tcp://[::1]:601", Some(Address::Tcp("[::1]:601".into())));
        check("tcp+tls://logs.example.com:6514", None);
        check("logs.example.com", None);
        check("udp://", None);
        check("udp://x:y", None);
        assert_eq!(facility("local7").unwrap(), 23);
        assert_eq!(facility("4").unwrap(), 4);
        assert!(facility("").is_err() && facility("24").is_err() && facility("news2").is_err());
    }

    #[test]
    fn entries_have_dockers_forms() {
        let mut header = Header {
            facility: 3,
            format: Format::Unix,
            host: "h".to_owned(),
            tag: "web".to_owned(),
            pid: 7,
        };
        let piece = Piece {
            stream: Stream::Stderr,
            bytes: b"oh no\n",
            time: "2025-01-02T03:04:05.678901Z".parse().unwrap(),
        };
        let mut check = |format, is_stream, want: &str| {
            header.format = format;
            let message = header.message(&piece, &TimeZone::UTC, is_stream);
            assert_eq!(String::from_utf8(message).unwrap(), want);
        };
        check(Format::Unix, false, "<27>Jan  2 03:04:05 web[7]: oh no");
        check(
            Format::Rfc3164,
            true,
            "<27>Jan  2 03:04:05 h web[7]: oh no\n",
        );
        check(
            Format::Rfc5424,
            false,
            "<27>1 2025-01-02T03:04:05+00:00 h web 7 web - oh no",
        );
        check(
            Format::Rfc5424Micro,
            true,
            "58 <27>1 2025-01-02T03:04:05.678901+00:00 h web 7 web - oh no",
        );
    }
}
