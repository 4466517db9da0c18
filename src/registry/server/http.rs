//! HTTP/1.1 as far as registries need it: one thread per connection, heads with limits, bodies out, none in.
//!
//! The head of a request is parsed by the crate httparse. A client that is slow, or sends what is not understood, loses its
//! connection; that there are too many at once is told them at the door.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek as _, SeekFrom, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{Answer, Body, Content, Question, question};

/// The largest head of a request.
const HEAD_MAX_BYTES: usize = 16 << 10;
/// The most lines in it.
const HEADERS_MAX: usize = 64;
/// Connections at one time.
const CONNECTIONS_MAX: usize = 64;
/// How long nothing may come or go.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long, and how much, a client that is refused may still send.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
const LINGER_MAX_BYTES: u64 = 1 << 20;
/// How much is written at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// A line of the log: what was asked, and the status it was answered with.
pub type Log<'a> = &'a (dyn Fn(&str, u16) + Sync);

/// Answers requests until accepting connections fails, which it does not by itself.
pub fn serve(
    listener: &TcpListener,
    answer: &(dyn Fn(&Question) -> Result<Answer> + Sync),
    log: Log<'_>,
) -> Result<()> {
    let count = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                // Of one client, who has left, or of a moment.
                Err(error) if is_passing(&error) => {
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                }
                Err(error) => return Err(error).context("accept a connection"),
            };
            if count.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
                count.fetch_sub(1, Ordering::Relaxed);
                refuse_at_the_door(stream);
                continue;
            }
            let count = &count;
            scope.spawn(move || {
                if let Err(error) = connection(&stream, answer, log) {
                    tracing::debug!(%error, "a connection ends");
                }
                count.fetch_sub(1, Ordering::Relaxed);
            });
        }
    })
}

fn is_passing(error: &io::Error) -> bool {
    let code = error.raw_os_error().unwrap_or_default();
    matches!(
        code,
        libc::ECONNABORTED
            | libc::EINTR
            | libc::EMFILE
            | libc::ENFILE
            | libc::ENOBUFS
            | libc::ENOMEM
    )
}

fn refuse_at_the_door(mut stream: TcpStream) {
    let text = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    if let Err(error) = stream.write_all(text.as_bytes()) {
        tracing::debug!(%error, "refuse a connection");
    }
}

/// What the head of a request says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Head {
    method: String,
    target: String,
    range: Option<String>,
    /// Whether the client wants the connection to end.
    closes: bool,
    /// Whether something follows the head, which is not read.
    has_body: bool,
}

fn connection(
    stream: &TcpStream,
    answer: &(dyn Fn(&Question) -> Result<Answer> + Sync),
    log: Log<'_>,
) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    let mut input = stream;
    let mut pending = Vec::new();
    let mut output = BufWriter::with_capacity(BUFFER_BYTES, stream);
    loop {
        let head = match read_head(&mut input, &mut pending)? {
            Next::End => return Ok(()),
            Next::Head(head) => head,
            Next::Malformed => {
                let closes = Head {
                    closes: true,
                    ..Head::default()
                };
                log("-", 400);
                let nothing = Body::Bytes(Vec::new());
                send(&mut output, &closes, (400, "Bad Request"), &[], nothing)?;
                return linger(stream);
            }
        };
        let status = respond(&mut output, &head, answer)?;
        log(&format!("{} {}", head.method, head.target), status);
        if head.has_body {
            return linger(stream);
        }
        if head.closes {
            return Ok(());
        }
    }
}

/// Lets the client read the answer: closing with something unread would take it away from him.
fn linger(stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(LINGER_TIMEOUT))?;
    io::copy(&mut stream.take(LINGER_MAX_BYTES), &mut io::sink()).map(drop)
}

/// What comes next on a connection.
enum Next {
    Head(Head),
    Malformed,
    End,
}

/// Reads up to the end of a head.
fn read_head(input: &mut impl Read, pending: &mut Vec<u8>) -> io::Result<Next> {
    let mut buffer = [0; 4096];
    loop {
        match parse_head(pending) {
            Ok(Some((head, length))) => {
                pending.drain(..length);
                return Ok(Next::Head(head));
            }
            Ok(None) if pending.len() < HEAD_MAX_BYTES => {}
            Ok(None) | Err(_) => return Ok(Next::Malformed),
        }
        match input.read(&mut buffer)? {
            0 => return Ok(Next::End),
            count => pending.extend_from_slice(&buffer[..count]),
        }
    }
}

fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = request.parse(bytes)? else {
        return Ok(None);
    };
    let mut head = Head {
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        closes: request.version == Some(0),
        ..Head::default()
    };
    for header in request.headers {
        let value = String::from_utf8_lossy(header.value);
        match header.name.to_ascii_lowercase().as_str() {
            "range" => head.range = Some(value.into_owned()),
            "connection" if value.eq_ignore_ascii_case("close") => head.closes = true,
            "connection" if value.eq_ignore_ascii_case("keep-alive") => head.closes = false,
            "content-length" => head.has_body |= value.trim() != "0",
            "transfer-encoding" => head.has_body = true,
            _ => {}
        }
    }
    Ok(Some((head, length)))
}

/// Answers one request; returns the status.
fn respond(
    output: &mut impl Write,
    head: &Head,
    answer: &(dyn Fn(&Question) -> Result<Answer> + Sync),
) -> io::Result<u16> {
    let error = |code: &str, message: String| {
        let document = json!({"errors": [{"code": code, "message": message}]});
        Content {
            media_type: "application/json".to_owned(),
            digest: None,
            next: None,
            body: Body::Bytes(document.to_string().into_bytes()),
        }
    };
    let (status, content) = if matches!(head.method.as_str(), "GET" | "HEAD") {
        let answered = match question(&head.target) {
            Ok(question) => answer(&question),
            Err(refusal) => Ok(Answer::Refused(refusal)),
        };
        match answered {
            Ok(Answer::Content(content)) => ((200, "OK"), content),
            Ok(Answer::Refused(refusal)) => (refusal.status, error(refusal.code, refusal.message)),
            Err(failed) => {
                tracing::warn!("{}: {failed:#}", head.target);
                (
                    (500, "Internal Server Error"),
                    error("UNKNOWN", "see the server's log".to_owned()),
                )
            }
        }
    } else {
        let message = "this registry can only be read".to_owned();
        ((405, "Method Not Allowed"), error("UNSUPPORTED", message))
    };
    let mut headers = vec![("Content-Type", content.media_type.clone())];
    if let Some(digest) = &content.digest {
        headers.push(("Docker-Content-Digest", digest.to_string()));
        headers.push(("ETag", format!("\"{digest}\"")));
    }
    if let Some(next) = &content.next {
        headers.push(("Link", format!("<{next}>; rel=\"next\"")));
    }
    if status.0 == 405 {
        headers.push(("Allow", "GET, HEAD".to_owned()));
    }
    let size = content.body.size();
    let range = head
        .range
        .as_deref()
        .filter(|_| status.0 == 200 && content.digest.is_some());
    match range.map(|range| parse_range(range, size)) {
        Some(Range::Part(first, last)) => {
            headers.push(("Content-Range", format!("bytes {first}-{last}/{size}")));
            send_part(output, head, &headers, content.body, (first, last))?;
            Ok(206)
        }
        Some(Range::Outside) => {
            headers.push(("Content-Range", format!("bytes */{size}")));
            send(
                output,
                head,
                (416, "Range Not Satisfiable"),
                &headers,
                Body::Bytes(Vec::new()),
            )?;
            Ok(416)
        }
        Some(Range::All) | None => {
            headers.push(("Accept-Ranges", "bytes".to_owned()));
            send(output, head, status, &headers, content.body)?;
            Ok(status.0)
        }
    }
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// From the first to the last byte, both included.
    Part(u64, u64),
    /// Nothing that is there.
    Outside,
    /// All: it is in a form that a server may pass over (RFC 9110, 14.2).
    All,
}

fn parse_range(text: &str, size: u64) -> Range {
    let Some(spec) = text
        .trim()
        .strip_prefix("bytes=")
        .filter(|spec| !spec.contains(','))
    else {
        return Range::All;
    };
    let Some((first, last)) = spec.split_once('-') else {
        return Range::All;
    };
    let number = |text: &str| text.trim().parse::<u64>();
    match (first.trim(), last.trim()) {
        ("", "") => Range::All,
        ("", count) => match number(count) {
            Ok(0) => Range::Outside,
            Ok(_) if size == 0 => Range::Outside,
            Ok(count) => Range::Part(size.saturating_sub(count), size - 1),
            Err(_) => Range::All,
        },
        (first, last) => match (
            number(first),
            if last.is_empty() {
                Ok(u64::MAX)
            } else {
                number(last)
            },
        ) {
            (Ok(first), Ok(last)) if first <= last => {
                if first >= size {
                    Range::Outside
                } else {
                    Range::Part(first, last.min(size - 1))
                }
            }
            _ => Range::All,
        },
    }
}

fn head_text(
    head: &Head,
    (status, reason): (u16, &str),
    headers: &[(&str, String)],
    size: u64,
) -> String {
    let mut text =
        format!("HTTP/1.1 {status} {reason}\r\nDocker-Distribution-Api-Version: registry/2.0\r\n");
    for (name, value) in headers {
        // A line end would begin another header.
        let value = value.replace(['\r', '\n'], " ");
        text.push_str(&[*name, ": ", &value, "\r\n"].concat());
    }
    if head.closes || head.has_body {
        text.push_str("Connection: close\r\n");
    }
    text + &format!("Content-Length: {size}\r\n\r\n")
}

fn send(
    output: &mut impl Write,
    head: &Head,
    status: (u16, &str),
    headers: &[(&str, String)],
    body: Body,
) -> io::Result<()> {
    output.write_all(head_text(head, status, headers, body.size()).as_bytes())?;
    if head.method != "HEAD" {
        let size = body.size();
        write_body(output, body, 0, size)?;
    }
    output.flush()
}

fn send_part(
    output: &mut impl Write,
    head: &Head,
    headers: &[(&str, String)],
    body: Body,
    (first, last): (u64, u64),
) -> io::Result<()> {
    let count = last - first + 1;
    output.write_all(head_text(head, (206, "Partial Content"), headers, count).as_bytes())?;
    if head.method != "HEAD" {
        write_body(output, body, first, count)?;
    }
    output.flush()
}

fn write_body(output: &mut impl Write, body: Body, first: u64, count: u64) -> io::Result<()> {
    let mut window = Window {
        output,
        skip: first,
        left: count,
    };
    match body {
        Body::Bytes(bytes) => window.write_all(&bytes)?,
        Body::File(mut file, _) => copy(&mut file, &mut window)?,
        Body::Stream(write, _) => {
            // Once all that is wanted is written, the writer is stopped by an error of ours.
            if let Err(error) = write(&mut window)
                && window.left > 0
            {
                return Err(io::Error::other(error.to_string()));
            }
        }
    }
    if window.left > 0 {
        // The client must not take this for the whole.
        return Err(io::Error::other(
            "the content is shorter than it was said to be",
        ));
    }
    Ok(())
}

fn copy(file: &mut File, window: &mut Window<'_, impl Write>) -> io::Result<()> {
    file.seek(SeekFrom::Start(window.skip))?;
    window.skip = 0;
    let left = window.left;
    io::copy(&mut file.take(left), window).map(drop)
}

/// Lets through what lies in a range.
struct Window<'a, W> {
    output: &'a mut W,
    skip: u64,
    left: u64,
}

impl<W: Write> Write for Window<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len() as u64;
        if self.skip >= length {
            self.skip -= length;
            return Ok(bytes.len());
        }
        if self.left == 0 {
            return Err(io::Error::other("all that was asked for is written"));
        }
        let start = usize::try_from(self.skip).unwrap_or(bytes.len());
        self.skip = 0;
        let rest = &bytes[start..];
        let wanted = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(rest.len());
        self.output.write_all(&rest[..wanted])?;
        self.left -= wanted as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::digest;
    use proptest::prelude::*;

    #[test]
    fn ranges() {
        let check = |text: &str, want: Range| assert_eq!(parse_range(text, 10), want, "{text}");
        check("bytes=0-", Range::Part(0, 9));
        check("bytes=2-3", Range::Part(2, 3));
        check("bytes=2-99", Range::Part(2, 9));
        check("bytes=-3", Range::Part(7, 9));
        check("bytes=-99", Range::Part(0, 9));
        check("bytes=10-", Range::Outside);
        check("bytes=-0", Range::Outside);
        check("bytes=3-2", Range::All);
        check("bytes=0-1,3-4", Range::All);
        check("bytes=", Range::All);
        check("lines=0-", Range::All);
        assert_eq!(parse_range("bytes=-1", 0), Range::Outside);
    }

    /// What a connection with these requests gets.
    fn answers(requests: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(requests.as_bytes()).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = |question: &Question| {
            let content = |body| {
                Ok(Answer::Content(Content {
                    media_type: "a/b".to_owned(),
                    digest: Some(digest::sha256(b"")),
                    next: None,
                    body,
                }))
            };
            match question.namespace.as_str() {
                "stream" => content(Body::Stream(
                    Box::new(|out| {
                        for _ in 0..5 {
                            out.write_all(b"01")?;
                        }
                        Ok(())
                    }),
                    10,
                )),
                "short" => content(Body::Stream(Box::new(|_| Ok(())), 10)),
                "broken" => Err(anyhow::anyhow!("secret")),
                _ => content(Body::Bytes(b"0123456789".to_vec())),
            }
        };
        let (stream, _) = listener.accept().unwrap();
        drop(connection(&stream, &answer, &|_, _| {}));
        drop(stream);
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn requests_are_answered_one_after_the_other() {
        let text = answers(
            "GET /v2/ HTTP/1.1\r\nRange: bytes=2-3\r\n\r\nHEAD /v2/ HTTP/1.1\r\n\r\nGET /v2/?ns=stream HTTP/1.1\r\nRange: bytes=3-5\r\n\r\n",
        );
        let bodies: Vec<&str> = text.split("\r\n\r\n").collect();
        assert!(
            bodies[0].starts_with("HTTP/1.1 206 Partial Content\r\n"),
            "{text}"
        );
        assert!(bodies[0].contains("Content-Range: bytes 2-3/10"));
        assert!(bodies[1].starts_with("23HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(bodies[1].contains("Content-Length: 10"));
        assert!(bodies[2].starts_with("HTTP/1.1 206"), "{text}");
        assert_eq!(bodies[3], "101");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let first = |requests: &str| {
            answers(requests)
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        assert_eq!(first("nonsense\r\n\r\n"), "HTTP/1.1 400 Bad Request");
        assert_eq!(
            first("GET /v2/a/blobs/x HTTP/1.1\r\n\r\n"),
            "HTTP/1.1 400 Bad Request"
        );
        assert_eq!(first("GET / HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 Not Found");
        assert_eq!(
            first("PUT /v2/ HTTP/1.1\r\nContent-Length: 1\r\n\r\nx"),
            "HTTP/1.1 405 Method Not Allowed"
        );
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(HEAD_MAX_BYTES));
        assert_eq!(first(&long), "HTTP/1.1 400 Bad Request");
        let broken = answers("GET /v2/?ns=broken HTTP/1.1\r\n\r\n");
        assert!(broken.starts_with("HTTP/1.1 500") && !broken.contains("secret"));
        // What is shorter than it was said to be ends with its connection.
        let short = answers("GET /v2/?ns=short HTTP/1.1\r\n\r\nGET /v2/ HTTP/1.1\r\n\r\n");
        assert_eq!(short.matches("HTTP/1.1").count(), 1, "{short}");
    }

    proptest! {
        #[test]
        fn no_head_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(parse_head(&bytes));
            parse_range(&String::from_utf8_lossy(&bytes), 100);
        }

        #[test]
        fn a_window_is_what_was_asked_for(content in proptest::collection::vec(any::<u8>(), 1..200), first in 0usize..200, count in 1usize..200, piece in 1usize..50) {
            let first = first % content.len();
            let count = count.min(content.len() - first);
            let mut out = Vec::new();
            let mut window = Window { output: &mut out, skip: first as u64, left: count as u64 };
            for chunk in content.chunks(piece) {
                if window.write_all(chunk).is_err() {
                    break;
                }
            }
            prop_assert_eq!(&out[..], &content[first..first + count]);
        }
    }
}
