//! What a network costs: at the start of a container, at its end, and for each byte and connection through a published port.
//!
//! ```text
//! cargo bench --bench network [-- ROUNDS]      needs root
//! ARIL=/usr/local/bin/aril cargo bench …       measures another build
//! ```
//!
//! Everything happens in mount, network and pid namespaces of its own, which end with the program. Starts beside docker's and
//! podman's are in the bench `start`; the bytes go through the same kernel whoever publishes the port.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use aril::sys::netns;

/// Set where the namespaces are ours: its folder.
const INSIDE: &str = "ARIL_BENCH_INSIDE";
const ROUNDS: usize = 25;
const CROWD: usize = 50;
/// What one transfer moves, by blocks of a MiB.
const BLOCKS: usize = 1024;
const ROUND_TRIPS: usize = 5_000;
const CONNECTIONS: usize = 1_000;
/// What a client sends to be sent blocks; anything else comes back.
const GIVE: u8 = b'B';

fn main() -> Result<()> {
    match std::env::var_os(INSIDE) {
        Some(dir) => measure(Path::new(&dir)),
        None => enter(),
    }
}

/// Runs this program again, as the first process of its own namespaces.
fn enter() -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "needs root");
    let dir = std::env::temp_dir().join(format!("aril-bench-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    // `cargo bench` adds a flag of its own.
    let args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let status = Command::new("unshare")
        .args(
            "--mount --net --pid --fork --kill-child --mount-proc --propagation private".split(' '),
        )
        .arg(std::env::current_exe()?)
        .args(args)
        .env(INSIDE, &dir)
        .status()
        .context("run unshare")?;
    fs::remove_dir_all(&dir)?;
    ensure!(status.success(), "the measurement ended with {status}");
    Ok(())
}

fn measure(dir: &Path) -> Result<()> {
    let rounds = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(ROUNDS);
    let engine = Engine::new(dir)?;
    println!(
        "{} processors, kernel {}, {rounds} rounds: min, median, max in ms",
        std::thread::available_parallelism()?,
        fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
    );
    starts(&engine, rounds)?;
    crowd(&engine)?;
    traffic(&engine)
}

/// The program, with a store that has busybox, on a machine with a way out.
struct Engine {
    program: PathBuf,
    dir: PathBuf,
}

impl Engine {
    fn new(dir: &Path) -> Result<Engine> {
        for command in [
            "ip link set lo up",
            "ip link add up0 type veth peer name up1",
            "ip address add 10.99.0.1/24 dev up0",
            "ip link set up0 up",
            "ip link set up1 up",
            "ip route add default via 10.99.0.2",
        ] {
            let mut words = command.split(' ');
            check(Command::new(words.next().unwrap_or_default()).args(words))?;
        }
        let program = std::env::var_os("ARIL").unwrap_or_else(|| env!("CARGO_BIN_EXE_aril").into());
        let engine = Engine {
            program: program.into(),
            dir: dir.to_owned(),
        };
        let root = dir.join("busybox");
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("rootfs-fixtures/busybox.sh");
        check(Command::new(recipe).arg(&root))?;
        let tar = dir.join("busybox.tar");
        check(
            Command::new("tar")
                .arg("-C")
                .arg(&root)
                .arg("-cf")
                .arg(&tar)
                .arg("."),
        )?;
        engine.run(&["import", &tar.to_string_lossy(), "busybox"])?;
        Ok(engine)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env("ARIL_ROOT", self.dir.join("root"))
            .env("ARIL_RUN", self.dir.join("run"));
        command
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        check(&mut self.command(args))
    }
}

/// Runs a program, whose words are shown only if it fails; returns its output.
fn check(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {}", command.get_program().display()))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}", error.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn starts(engine: &Engine, rounds: usize) -> Result<()> {
    let contenders: [(&str, &[&str]); 4] = [
        ("without a network", &["--network", "none"]),
        ("on the bridge", &[]),
        ("… with a port", &["-p", "8080:80"]),
        (
            "… with a name server",
            &["-p", "8080:80", "--network", "front"],
        ),
    ];
    engine.run(&["network", "create", "front"])?;
    let mut starts = vec![Vec::new(); contenders.len()];
    let mut ends = starts.clone();
    // The first round warms up.
    for round in 0..=rounds {
        for turn in 0..contenders.len() {
            let number = (turn + round) % contenders.len();
            let mut args = vec!["run", "-d", "--name", "one"];
            args.extend(contenders[number].1);
            args.extend(["busybox", "sleep", "1000"]);
            let began = Instant::now();
            engine.run(&args)?;
            let started = began.elapsed();
            let began = Instant::now();
            engine.run(&["rm", "-f", "one"])?;
            if round > 0 {
                starts[number].push(started.as_secs_f64() * 1000.0);
                ends[number].push(began.elapsed().as_secs_f64() * 1000.0);
            }
        }
    }
    for (what, times) in [("run -d", starts), ("rm -f", ends)] {
        for ((name, _), mut times) in contenders.iter().zip(times) {
            times.sort_unstable_by(f64::total_cmp);
            if let (Some(min), Some(max)) = (times.first(), times.last()) {
                let median = times[times.len() / 2];
                println!("  {what:7} {name:22} {min:8.1} {median:8.1} {max:8.1}");
            }
        }
    }
    Ok(())
}

/// Starts many containers at once, and removes them at once.
fn crowd(engine: &Engine) -> Result<()> {
    let names: Vec<String> = (0..CROWD).map(|number| format!("crowd{number}")).collect();
    let at_once = |before: &[&str], after: &[&str]| -> Result<f64> {
        let began = Instant::now();
        let mut children = Vec::new();
        for name in &names {
            let args = [before, &[name.as_str()], after].concat();
            let mut command = engine.command(&args);
            children.push(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
        }
        for mut child in children {
            let status = child.wait()?;
            ensure!(status.success(), "one of the crowd: {status}");
        }
        Ok(began.elapsed().as_secs_f64() * 1000.0)
    };
    let started = at_once(
        &["run", "-d", "-p", "0:80", "--name"],
        &["busybox", "sleep", "1000"],
    )?;
    let removed = at_once(&["rm", "-f"], &[])?;
    println!("  {CROWD} at once with a port each: started {started:.0}, removed {removed:.0}");
    Ok(())
}

fn traffic(engine: &Engine) -> Result<()> {
    engine.run(&[
        "run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sleep", "1000",
    ])?;
    let pid = engine.run(&["inspect", "--format", "{{.State.Pid}}", "web"])?;
    let own = engine.run(&[
        "inspect",
        "--format",
        "{{.NetworkSettings.IPAddress}}",
        "web",
    ])?;
    let netns = File::open(format!("/proc/{pid}/ns/net"))?;
    let listener = netns::inside(netns.as_fd(), || TcpListener::bind("0.0.0.0:80"))??;
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            std::thread::spawn(move || serve(stream));
        }
    });
    println!("  way               Gbit/s   round trip µs   connection µs");
    for (way, address) in [
        ("direct", format!("{own}:80")),
        ("by the host's", "10.99.0.1:8080".to_owned()),
        ("by 127.0.0.1", "127.0.0.1:8080".to_owned()),
    ] {
        let to: SocketAddr = address.parse()?;
        let (bits, trip, connection) = (throughput(to)?, round_trip(to)?, connection(to)?);
        println!("  {way:16} {bits:7.1} {trip:15.1} {connection:15.1}");
    }
    engine.run(&["rm", "-f", "web"]).map(drop)
}

/// Ends when the client does.
fn serve(mut stream: TcpStream) {
    let mut byte = [0];
    while stream.read(&mut byte).is_ok_and(|count| count > 0) {
        if byte[0] == GIVE {
            let block = vec![7; 1 << 20];
            let mut blocks = 0..BLOCKS;
            while blocks.next().is_some() && stream.write_all(&block).is_ok() {}
            return;
        }
        if stream.write_all(&byte).is_err() {
            return;
        }
    }
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
    per(ROUND_TRIPS, began)
}

fn connection(to: SocketAddr) -> Result<f64> {
    let began = Instant::now();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(to)?;
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
    }
    per(CONNECTIONS, began)
}

/// Microseconds for one of so many.
fn per(count: usize, began: Instant) -> Result<f64> {
    let count = u32::try_from(count)?;
    Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(count))
}
