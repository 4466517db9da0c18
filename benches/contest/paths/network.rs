//! What a network costs: at a start, and for each byte, connection and request through a published port.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use aril::sys::netns;

use super::{IMAGE, start};
use crate::bench::{Bench, Path};
use crate::contender::Contender;
use crate::figures::Unit;

/// What one transfer moves, by blocks of a MiB.
const BLOCKS: usize = 1024;
const ROUND_TRIPS: u32 = 5_000;
const CONNECTIONS: u32 = 1_000;
/// How often each is measured.
const TRIES: usize = 5;
/// What a client sends to be sent blocks; anything but HTTP comes back.
const GIVE: u8 = b'B';

/// Ways to a published port.
const WAYS: [(&str, &str); 3] = [
    ("127.0.0.1", "127.0.0.1"),
    ("::1", "::1"),
    ("the host's address", "10.99.0.1"),
];

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    added(bench)?;
    let names: Vec<String> = WAYS
        .iter()
        .flat_map(|(way, _)| KINDS.map(|(kind, ..)| by(kind, way)))
        .collect();
    let names = names
        .iter()
        .map(String::as_str)
        .chain(BODIES.map(|(name, _)| name));
    if bench.wants_any(&names.collect::<Vec<_>>()) {
        for contender in &bench.engines {
            contender.run(&start("web", &["-p", &format!("{}:80", port(contender))]))?;
            listen(contender)?;
        }
        traffic(bench);
        requests(bench);
        for contender in &bench.engines {
            contender.run(&["rm", "-f", "web"])?;
        }
    }
    Ok(())
}

/// Where the host has a contender's server, so that all can have theirs at the same time.
fn port(contender: &Contender) -> u16 {
    8080 + contender.name.bytes().map(u16::from).sum::<u16>()
}

/// What each step adds to a start and an end.
fn added(bench: &Bench) -> Result<()> {
    let ways: [(&str, &[&str]); 4] = [
        ("without network", &["--network", "none"]),
        ("bridge", &[]),
        ("bridge and a port", &["-p", "8080:80"]),
        ("a port and names", &["-p", "8080:80", "--network", "front"]),
    ];
    let names = ways.map(|(way, _)| format!("run --rm … true: {way}"));
    if !bench.wants_any(&names.each_ref().map(String::as_str)) {
        return Ok(());
    }
    for contender in &bench.engines {
        contender.run(&["network", "create", "front"])?;
    }
    for (name, (_, options)) in names.iter().zip(ways) {
        let args = [&["run", "--rm"], options, &[IMAGE, "true"]].concat();
        Path::new(name).measure(bench, &bench.engines, &|contender, _| contender.run(&args));
    }
    Ok(())
}

/// Serves on port 80 of the container, from this process: what the network costs is measured, and not a server.
fn listen(contender: &Contender) -> Result<()> {
    let pid = contender.ask(&["inspect", "--format", "{{.State.Pid}}", "web"])?;
    let netns = File::open(format!("/proc/{pid}/ns/net"))
        .with_context(|| format!("its process is {pid:?}"))?;
    let listener = netns::inside(netns.as_fd(), || TcpListener::bind("0.0.0.0:80"))??;
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            // It ends when the client does.
            std::thread::spawn(move || serve(stream).is_ok());
        }
    });
    Ok(())
}

type Measure = fn(SocketAddr) -> Result<f64>;

const KINDS: [(&str, Unit, Measure); 3] = [
    ("one stream", Unit::Gigabits, throughput),
    ("round trip of a byte", Unit::Microseconds, round_trip),
    ("connection", Unit::Microseconds, connection),
];

fn by(kind: &str, way: &str) -> String {
    format!("{kind} by {way}")
}

fn traffic(bench: &Bench) {
    for (way, address) in WAYS {
        for (kind, unit, measure) in KINDS {
            Path::new(&by(kind, way)).goal(1.0).rounds(TRIES).compare(
                bench,
                &bench.engines,
                unit,
                &|contender, _| measure(SocketAddr::new(address.parse()?, port(contender))),
            );
        }
    }
}

/// Answers one connection: blocks, HTTP, or what has come.
fn serve(mut stream: TcpStream) -> Result<()> {
    let mut first = [0];
    stream.peek(&mut first)?;
    match first[0] {
        GIVE => {
            let block = vec![7; 1 << 20];
            (0..BLOCKS).try_for_each(|_| stream.write_all(&block))?;
        }
        b'G' => serve_http(stream)?,
        _ => {
            while stream.read(&mut first)? > 0 {
                stream.write_all(&first)?;
            }
        }
    }
    Ok(())
}

fn throughput(to: SocketAddr) -> Result<f64> {
    let mut stream = TcpStream::connect(to)?;
    let began = Instant::now();
    stream.write_all(&[GIVE])?;
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            count => bytes += count,
        }
    }
    ensure!(bytes == BLOCKS << 20, "{bytes} bytes came");
    // Exact enough for a figure with one digit behind the point.
    Ok(f64::from(u32::try_from(bytes >> 20)?) * 8.388_608 / 1000.0 / began.elapsed().as_secs_f64())
}

fn round_trip(to: SocketAddr) -> Result<f64> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    let began = Instant::now();
    for _ in 0..ROUND_TRIPS {
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(ROUND_TRIPS))
}

fn connection(to: SocketAddr) -> Result<f64> {
    let began = Instant::now();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(to)?;
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(CONNECTIONS))
}

/// Names, and the sizes of bodies.
const BODIES: [(&str, usize); 2] = [
    ("HTTP by 127.0.0.1, 100 B", 100),
    ("HTTP by 127.0.0.1, 1 MiB", 1 << 20),
];

/// What wrk reaches, by sixteen connections of two threads.
fn requests(bench: &Bench) {
    for (name, size) in BODIES {
        Path::new(name).goal(1.0).rounds(TRIES).compare(
            bench,
            &bench.engines,
            Unit::Requests,
            &|contender, _| wrk(&format!("http://127.0.0.1:{}/{size}", port(contender))),
        );
    }
}

/// Returns the requests in a second.
fn wrk(url: &str) -> Result<f64> {
    let output = Command::new("wrk")
        .args(["-t2", "-c16", "-d2s", url])
        .output()
        .context("run wrk")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        !said.contains("Non-2xx") && !said.contains("Socket errors"),
        "wrk: {said}"
    );
    let rate = said
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"));
    let rate = rate.with_context(|| format!("wrk: {said}"))?;
    Ok(rate.trim().parse()?)
}

/// Answers requests by as many bytes as their paths say, on one connection until it ends.
fn serve_http(mut stream: TcpStream) -> Result<()> {
    let mut requests = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while requests.read_line(&mut line)? > 0 {
        let path = line.split(' ').nth(1).unwrap_or_default();
        let size: usize = path.trim_start_matches('/').parse()?;
        while line.trim() != "" {
            line.clear();
            requests.read_line(&mut line)?;
        }
        let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + size, b'x');
        stream.write_all(&answer)?;
        line.clear();
    }
    Ok(())
}
