//! A small web server for tests: it answers what a function says, over plain HTTP, and remembers what it was asked.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::sandbox::Sandbox;

/// What is sent back.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<String>) -> Reply {
        Reply {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }
}

/// A server on loopback of a sandbox's machine; it ends when this is dropped.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Site {
    /// Starts one; `answer` gets the whole head of a request.
    pub(crate) fn new(sandbox: &Sandbox, answer: impl Fn(&str) -> Reply + Send + 'static) -> Site {
        let listener = sandbox.inside(|| TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let ends = Arc::new(AtomicBool::new(false));
        let (heads, end) = (asked.clone(), ends.clone());
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => one(stream, &heads, &answer),
                    Err(_) => std::thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Site {
            address,
            asked,
            ends,
            thread: Some(thread),
        }
    }

    /// Heads of all requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Answers one request and closes the connection.
fn one(mut stream: TcpStream, heads: &Mutex<Vec<String>>, answer: &impl Fn(&str) -> Reply) {
    stream.set_nonblocking(false).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
        // The beginning of TLS, which is not spoken here.
        if head == [0x16] {
            drop(stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n"));
            return;
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let reply = answer(&head);
    heads.lock().unwrap().push(head.clone());
    let mut text = format!(
        "HTTP/1.1 {} Said\r\nContent-Length: {}\r\nConnection: close\r\n",
        reply.status,
        reply.body.len()
    );
    for (name, value) in &reply.headers {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    if !head.starts_with("HEAD ") {
        text.push_str(&reply.body);
    }
    // A client that has left wants no answer.
    drop(stream.write_all(text.as_bytes()));
}
