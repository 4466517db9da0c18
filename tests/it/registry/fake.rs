//! A registry in this process that does what it is told, also wrong: refusals, redirects, cuts, lies.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::sandbox::Sandbox;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Returns the first byte that is wanted, if it is not the first of all.
    pub(crate) fn range(&self) -> Option<usize> {
        let text = self.header("range")?.strip_prefix("bytes=")?;
        text.strip_suffix('-')?.parse().ok()
    }
}

/// What is answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The connection ends after so many bytes of the body.
    pub(crate) cut: Option<usize>,
    /// Nothing more comes after so many bytes of the body, until the registry is dropped.
    pub(crate) stall: Option<usize>,
    /// Another length than the body's is said.
    pub(crate) length: Option<usize>,
    /// No length is said: the body ends with the connection.
    pub(crate) endless: bool,
    /// The connection ends without an answer.
    pub(crate) hang_up: bool,
}

impl Answer {
    pub(crate) fn new(status: u16) -> Answer {
        Answer {
            status,
            ..Answer::default()
        }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Answer {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Answer {
        self.body = body.into();
        self
    }
}

/// The registry; it ends when this is dropped.
pub(crate) struct Fake {
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    over: Arc<AtomicBool>,
}

impl Fake {
    /// Starts one on the sandbox' loopback device that answers every request by `answer`.
    pub(crate) fn start(
        sandbox: &Sandbox,
        answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Fake {
        let listener = sandbox.inside(|| TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap().to_string();
        let fake = Fake {
            address,
            seen: Arc::default(),
            over: Arc::default(),
        };
        let (seen, over, answer) = (
            Arc::clone(&fake.seen),
            Arc::clone(&fake.over),
            Arc::new(answer),
        );
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                };
                let (seen, over, answer) =
                    (Arc::clone(&seen), Arc::clone(&over), Arc::clone(&answer));
                std::thread::spawn(move || {
                    stream.set_nonblocking(false).unwrap();
                    // Whoever hangs up in the middle of something is part of the test.
                    if let Err(error) = serve(&stream, &seen, &over, answer.as_ref()) {
                        println!("  registry: {error}");
                    }
                });
            }
        });
        fake
    }

    /// Returns the requests until now.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Returns the requests of a method whose path has `part`.
    pub(crate) fn asked(&self, method: &str, part: &str) -> Vec<Seen> {
        let mut seen = self.seen();
        seen.retain(|seen| seen.method == method && seen.path.contains(part));
        seen
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn serve(
    stream: &TcpStream,
    seen: &Mutex<Vec<Seen>>,
    over: &AtomicBool,
    answer: &(dyn Fn(&Seen) -> Answer + Send + Sync),
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split(' ');
        let mut request = Seen {
            method: words.next().unwrap_or_default().to_owned(),
            path: words.next().unwrap_or_default().to_owned(),
            headers: HashMap::new(),
            body: Vec::new(),
        };
        if !request.path.starts_with('/') {
            // A greeting of TLS.
            let mut stream = stream;
            return stream.write_all(
                b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
            request.headers.insert(name, value);
        }
        let length = request
            .header("content-length")
            .unwrap_or("0")
            .parse()
            .unwrap();
        request.body = vec![0; length];
        reader.read_exact(&mut request.body)?;
        println!("  {} {}", request.method, request.path);
        let answer = answer(&request);
        seen.lock().unwrap().push(request.clone());
        if !send(stream, &request, &answer, over)? {
            return Ok(());
        }
    }
}

/// Returns whether the connection goes on.
fn send(
    mut stream: &TcpStream,
    request: &Seen,
    answer: &Answer,
    over: &AtomicBool,
) -> std::io::Result<bool> {
    if answer.hang_up {
        return Ok(false);
    }
    let length = answer.length.unwrap_or(answer.body.len());
    let mut head = format!("HTTP/1.1 {} X\r\n", answer.status);
    if answer.endless {
        head.push_str("Connection: close\r\n");
    } else {
        write!(head, "Content-Length: {length}\r\n").unwrap();
    }
    for (name, value) in &answer.headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if request.method == "HEAD" {
        return Ok(true);
    }
    let part = answer.cut.or(answer.stall).unwrap_or(answer.body.len());
    stream.write_all(&answer.body[..part.min(answer.body.len())])?;
    if answer.stall.is_some() {
        while !over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(answer.cut.is_none() && answer.stall.is_none() && !answer.endless)
}

/// An image as a registry has it.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Documents and layers by their digests.
    pub(crate) blobs: HashMap<String, Vec<u8>>,
    pub(crate) manifest: Vec<u8>,
    /// From the lowest.
    pub(crate) layers: Vec<String>,
    pub(crate) config: String,
}

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(crate) fn digest(bytes: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

/// Returns bytes that cannot be compressed, always the same ones for `seed`.
pub(crate) fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

impl Image {
    /// Makes one of layers with one file each, `/fileN` with so many bytes of noise.
    pub(crate) fn of(sizes: &[usize]) -> Image {
        let tars: Vec<Vec<u8>> = sizes
            .iter()
            .enumerate()
            .map(|(number, size)| tar(&format!("file{number}"), &noise(number as u64, *size)))
            .collect();
        Image::from_tars(&tars)
    }

    /// Makes one for another platform.
    pub(crate) fn for_platform(architecture: &str, variant: &str) -> Image {
        let tar = tar("platform", format!("{architecture}{variant}").as_bytes());
        Image::build(&[tar], (architecture, variant))
    }

    pub(crate) fn from_tars(tars: &[Vec<u8>]) -> Image {
        Image::build(tars, ("amd64", ""))
    }

    fn build(tars: &[Vec<u8>], (architecture, variant): (&str, &str)) -> Image {
        let mut blobs = HashMap::new();
        let mut layers = Vec::new();
        let mut descriptors = Vec::new();
        let mut diff_ids = Vec::new();
        for tar in tars {
            let blob = gzip(tar);
            let digest = self::digest(&blob);
            descriptors.push(
                serde_json::json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": digest, "size": blob.len()}),
            );
            diff_ids.push(self::digest(tar));
            layers.push(digest.clone());
            blobs.insert(digest, blob);
        }
        let mut config = serde_json::json!({"architecture": architecture, "os": "linux", "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        if !variant.is_empty() {
            config["variant"] = serde_json::json!(variant);
        }
        let config = config.to_string().into_bytes();
        let config_digest = digest(&config);
        let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config.len()},
            "layers": descriptors});
        blobs.insert(config_digest.clone(), config);
        Image {
            blobs,
            manifest: manifest.to_string().into_bytes(),
            layers,
            config: config_digest,
        }
    }

    /// Answers as a good registry that has this image under every name and tag.
    pub(crate) fn answer(&self, request: &Seen) -> Answer {
        if request.path.contains("/manifests/") {
            return Answer::new(200)
                .with("Content-Type", MANIFEST)
                .with("Docker-Content-Digest", digest(&self.manifest))
                .body(self.manifest.clone());
        }
        let name = request.path.rsplit('/').next().unwrap_or_default();
        let name = name.split('?').next().unwrap_or_default();
        match self.blobs.get(name) {
            Some(blob) => ranged(request, blob),
            None => Answer::new(404),
        }
    }
}

/// Answers with the part of a blob that is wanted.
pub(crate) fn ranged(request: &Seen, blob: &[u8]) -> Answer {
    match request.range() {
        Some(from) if from < blob.len() => Answer::new(206)
            .with(
                "Content-Range",
                format!("bytes {from}-{}/{}", blob.len() - 1, blob.len()),
            )
            .body(&blob[from..]),
        Some(_) => Answer::new(416),
        None => Answer::new(200).body(blob),
    }
}

/// Returns an archive of one file.
pub(crate) fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(1_000_000_000);
    header.set_cksum();
    archive.append_data(&mut header, name, content).unwrap();
    archive.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
