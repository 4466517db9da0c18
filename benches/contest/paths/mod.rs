//! What is measured, by subject.

mod changes;
mod crowds;
mod curves;
mod footprint;
mod images;
mod lists;
mod logs;
mod network;
mod runtime;
mod starts;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::bench::Bench;
use crate::contender::Contender;
use crate::machine::{command, path};

/// What containers are made from: a root of busybox.
pub(crate) const IMAGE: &str = "bench-busybox";

/// Measures everything that is wanted.
pub(crate) fn all(bench: &Bench) -> Result<()> {
    let root = bench.work.join("busybox");
    if !bench.choice.is_list {
        uplink()?;
        let tar = archive(bench, &root)?;
        for engine in &bench.engines {
            engine.run(&["import", "-c", "CMD [\"sh\"]", path(&tar)?, IMAGE])?;
        }
    }
    starts::measure(bench, &root)?;
    crowds::measure(bench);
    lists::measure(bench)?;
    footprint::measure(bench);
    runtime::measure(bench)?;
    logs::measure(bench);
    network::measure(bench)?;
    changes::measure(bench)?;
    images::measure(bench)?;
    curves::measure(bench)
}

/// A way out, so that networks are set up as on any other machine.
fn uplink() -> Result<()> {
    for line in [
        "link add up0 type veth peer name up1",
        "address add 10.99.0.1/24 dev up0",
        "link set up0 up",
        "link set up1 up",
        "route add default via 10.99.0.2",
    ] {
        command("ip", &line.split(' ').collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Makes a root of busybox, and an archive of it.
fn archive(bench: &Bench, root: &Path) -> Result<PathBuf> {
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("rootfs-fixtures/busybox.sh");
    command(path(&recipe)?, &[path(root)?])?;
    let tar = bench.work.join("busybox.tar");
    command("tar", &["-C", path(root)?, "-cf", path(&tar)?, "."])?;
    Ok(tar)
}

/// Arguments that start a container which waits, and obeys SIGTERM.
fn start<'a>(name: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["run", "-d", "--name", name];
    args.extend(options);
    args.extend([
        IMAGE,
        "sh",
        "-c",
        "trap 'exit 0' TERM; echo ready; sleep 10000 & wait",
    ]);
    args
}

/// Starts such a container, and waits until it obeys.
fn start_ready(contender: &Contender, name: &str, options: &[&str]) -> Result<()> {
    contender.run(&start(name, options))?;
    wait(&|| {
        contender
            .ask(&["logs", name])
            .is_ok_and(|said| said.contains("ready"))
    })
    .with_context(|| format!("{name} does not start"))
}

/// Names of containers, by their numbers.
fn names(kind: &str, numbers: Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{kind}-{number}")).collect()
}

/// Removes containers that may be running, from one engine by few commands.
fn remove(contender: &Contender, names: &[String]) -> Result<()> {
    for names in names.chunks(100) {
        let mut args = vec!["rm", "-f"];
        args.extend(names.iter().map(String::as_str));
        contender.run(&args)?;
    }
    Ok(())
}

/// Removes them from all engines.
fn remove_all(bench: &Bench, names: &[String]) -> Result<()> {
    bench
        .engines
        .iter()
        .try_for_each(|engine| remove(engine, names))
}

/// Waits for something that is a matter of moments.
fn wait(is_so: &dyn Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        ensure!(Instant::now() < deadline, "30 seconds were not enough");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
