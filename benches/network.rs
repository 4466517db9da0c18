//! What a network costs: at the start of a container, at its end, and for each byte and connection through a published port;
//! by aril, and by docker and podman where they are installed.
//!
//! ```text
//! cargo bench --bench network [-- ROUNDS [WORD]]   needs root; WORD picks the measurements whose names have it
//! ARIL=/usr/local/bin/aril cargo bench …           measures another build
//! ```

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod contest;
mod figures;
mod machine;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use aril::sys::netns;
use contest::{Bench, Contender};
use machine::{command, path};

const ROUNDS: usize = 25;
const IMAGE: &str = "bench-busybox";
const CROWD: usize = 50;
/// What one transfer moves, by blocks of a MiB.
const BLOCKS: usize = 1024;
const ROUND_TRIPS: usize = 5_000;
const CONNECTIONS: usize = 1_000;
/// Of throughput and latency the best of so many counts: others may use the machine.
const TRIES: usize = 3;
/// What a client sends to be sent blocks; anything else comes back.
const GIVE: u8 = b'B';

fn main() -> Result<()> {
    contest::run(ROUNDS, |bench| {
        for line in [
            "link add up0 type veth peer name up1",
            "address add 10.99.0.1/24 dev up0",
            "link set up0 up",
            "link set up1 up",
            "route add default via 10.99.0.2",
        ] {
            command("ip", &line.split(' ').collect::<Vec<_>>())?;
        }
        import(bench)?;
        starts(bench);
        added(bench);
        crowds(bench);
        traffic(bench)
    })
}

/// Gives every contender an image of a busybox root.
fn import(bench: &Bench) -> Result<()> {
    let root = bench.work.join("busybox");
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("rootfs-fixtures/busybox.sh");
    command(path(&recipe)?, &[path(&root)?])?;
    let tar = bench.work.join("busybox.tar");
    command("tar", &["-C", path(&root)?, "-cf", path(&tar)?, "."])?;
    for contender in &bench.contenders {
        contender.run(&["import", "-c", "CMD [\"sh\"]", path(&tar)?, IMAGE])?;
    }
    Ok(())
}

/// Arguments that start a container which waits.
fn start<'a>(name: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["run", "-d", "--name", name];
    args.extend(options);
    args.extend([IMAGE, "sleep", "1000"]);
    args
}

fn starts(bench: &Bench) {
    let ways: [(&str, &[&str]); 3] = [
        ("run -d --network none", &["--network", "none"]),
        ("run -d, on the bridge", &[]),
        ("run -d -p 8080:80", &["-p", "8080:80"]),
    ];
    for (name, options) in ways {
        bench.measure(
            name,
            bench.rounds,
            &|contender, _| contender.run(&start("one", options)),
            &|contender, _| contender.run(&["rm", "-f", "one"]),
        );
    }
}

/// What each step adds to a start, and to a start and an end, one way after the other, so that what disturbs one disturbs all.
fn added(bench: &Bench) {
    const NAME: &str = "what networks add";
    if !bench.wants(NAME) {
        return;
    }
    let ways: [(&str, &[&str]); 4] = [
        ("--network none", &["--network", "none"]),
        ("bridge", &[]),
        ("bridge and a port", &["-p", "8080:80"]),
        (
            "the same and names",
            &["-p", "8080:80", "--network", "front"],
        ),
    ];
    println!(
        "{NAME}, {} rounds: medians of run -d, rm -f, run --rm in ms",
        bench.rounds
    );
    for contender in &bench.contenders {
        if let Err(error) = add(contender, bench.rounds, &ways) {
            println!("  {:8} {error:#}", contender.name);
        }
    }
}

fn add(contender: &Contender, rounds: usize, ways: &[(&str, &[&str])]) -> Result<()> {
    contender.run(&["network", "create", "front"])?;
    let mut times = vec![[const { Vec::new() }; 3]; ways.len()];
    // The first round warms up.
    for round in 0..=rounds {
        for turn in 0..ways.len() {
            let number = (turn + round) % ways.len();
            let options = ways[number].1;
            let whole = [&["run", "--rm"], options, &[IMAGE, "true"]].concat();
            let steps = [start("one", options), vec!["rm", "-f", "one"], whole];
            for (step, times) in steps.iter().zip(&mut times[number]) {
                let began = Instant::now();
                contender.run(step)?;
                if round > 0 {
                    times.push(began.elapsed().as_secs_f64() * 1000.0);
                }
            }
        }
    }
    for ((way, _), times) in ways.iter().zip(&mut times) {
        let [start, end, whole] = times.each_mut().map(|times| median(times));
        let name = contender.name;
        println!("  {name:8} {way:20} {start:8.1} {end:8.1} {whole:8.1}");
    }
    Ok(())
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Starts many containers at once, and removes them at once.
fn crowds(bench: &Bench) {
    const NAME: &str = "at once, a port each";
    if !bench.wants(NAME) {
        return;
    }
    println!("{CROWD} {NAME}: started, removed in ms");
    for contender in &bench.contenders {
        match crowd(contender) {
            Ok((started, removed)) => {
                println!("  {:8} {started:9.0} {removed:9.0}", contender.name);
            }
            Err(error) => println!("  {:8} {error:#}", contender.name),
        }
    }
}

fn crowd(contender: &Contender) -> Result<(f64, f64)> {
    let names: Vec<String> = (0..CROWD).map(|number| format!("crowd{number}")).collect();
    let at_once = |args: &dyn Fn(usize) -> Vec<String>| -> Result<f64> {
        let began = Instant::now();
        let mut children = Vec::new();
        for number in 0..CROWD {
            let args = args(number);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let mut command = contender.command(&args);
            children.push(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
        }
        let mut wrong = 0;
        for mut child in children {
            wrong += usize::from(!child.wait()?.success());
        }
        ensure!(wrong == 0, "{wrong} of {CROWD} have failed");
        Ok(began.elapsed().as_secs_f64() * 1000.0)
    };
    let owned = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect();
    // podman takes no zero for any port.
    let port = |number: usize| format!("{}:80", 9000 + number);
    let started = at_once(&|number| owned(&start(&names[number], &["-p", &port(number)])));
    let removed = at_once(&|number| owned(&["rm", "-f", &names[number]]));
    Ok((started?, removed?))
}

fn traffic(bench: &Bench) -> Result<()> {
    const NAME: &str = "through a published port";
    if !bench.wants(NAME) {
        return Ok(());
    }
    println!("{NAME}, best of {TRIES}: Gbit/s, round trip µs, connection µs");
    for contender in &bench.contenders {
        contender.run(&start("web", &["-p", "8080:80"]))?;
        let measured = measure_traffic(contender);
        contender.run(&["rm", "-f", "web"])?;
        if let Err(error) = measured {
            println!("  {:8} {error:#}", contender.name);
        }
    }
    Ok(())
}

fn measure_traffic(contender: &Contender) -> Result<()> {
    let ask = |format: &str| -> Result<String> {
        let output = contender
            .command(&["inspect", "--format", format, "web"])
            .output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let pid = ask("{{.State.Pid}}")?;
    let own = ask("{{.NetworkSettings.IPAddress}}")?;
    let netns = File::open(format!("/proc/{pid}/ns/net"))
        .with_context(|| format!("its process is {pid:?}"))?;
    let listener = netns::inside(netns.as_fd(), || TcpListener::bind("0.0.0.0:80"))??;
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            std::thread::spawn(move || serve(stream));
        }
    });
    for (way, address) in [
        ("direct", format!("{own}:80")),
        ("by the host's", "10.99.0.1:8080".to_owned()),
        ("by 127.0.0.1", "127.0.0.1:8080".to_owned()),
        ("by ::1", "[::1]:8080".to_owned()),
    ] {
        let to: SocketAddr = address.parse()?;
        if let Err(error) = TcpStream::connect(to) {
            println!("  {:8} {way:16} {error}", contender.name);
            continue;
        }
        let best = |measure: fn(SocketAddr) -> Result<f64>, better: fn(f64, f64) -> f64| {
            let mut best = measure(to)?;
            for _ in 1..TRIES {
                best = better(best, measure(to)?);
            }
            anyhow::Ok(best)
        };
        let bits = best(throughput, f64::max)?;
        let (trip, connection) = (best(round_trip, f64::min)?, best(connection, f64::min)?);
        println!(
            "  {:8} {way:16} {bits:7.1} {trip:8.1} {connection:8.1}",
            contender.name
        );
    }
    Ok(())
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
