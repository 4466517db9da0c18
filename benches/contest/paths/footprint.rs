//! What an engine takes of the machine: memory for each running container, and the disk for its programs.

use std::fs::{self, File};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{Advice, fadvise};

use super::{names, remove, start};
use crate::bench::{Bench, Path};
use crate::contender::{Contender, own};
use crate::figures::Unit;

const CONTAINERS: usize = 20;
/// How often it is looked whether the memory of an engine stands still, and how long is waited in between.
const LOOKS: usize = 10;
const PAUSE: Duration = Duration::from_secs(2);
/// Of the 57 MiB that podman's programs have, 12.
const SIZE_GOAL: f64 = 57.0 / 12.0;

pub(crate) fn measure(bench: &Bench) {
    Path::new("memory for a running container (PSS)")
        .goal(1.0)
        .rounds(1)
        .compare(bench, &bench.engines, Unit::Kibibytes, &|contender, _| {
            memory(contender)
        });
    Path::new("installed programs")
        .goal(SIZE_GOAL)
        .rounds(1)
        .compare(bench, &bench.engines, Unit::Kibibytes, &|contender, _| {
            size(contender)
        });
}

/// The programs of an engine that run beside containers.
fn running(contender: &Contender) -> &'static [&'static str] {
    match contender.name {
        "docker" => &[
            "dockerd",
            "containerd",
            "containerd-shim-runc-v2",
            "docker-proxy",
        ],
        "podman" => &["conmon"],
        _ => &["aril"],
    }
}

/// All programs that an engine is installed with.
fn installed(contender: &Contender) -> Vec<PathBuf> {
    let names: &[&str] = match contender.name {
        "docker" => &[
            "docker",
            "dockerd",
            "docker-proxy",
            "docker-init",
            "tini",
            "containerd",
            "containerd-shim-runc-v2",
            "runc",
        ],
        "podman" => &[
            "podman",
            "conmon",
            "crun",
            "netavark",
            "aardvark-dns",
            "catatonit",
        ],
        _ => return vec![own()],
    };
    names.iter().filter_map(|name| find(name)).collect()
}

/// The proportional memory of all processes of the engine, divided by the containers.
fn memory(contender: &Contender) -> Result<f64> {
    forget(&installed(contender))?;
    let names = names("memory", 0..CONTAINERS);
    for name in &names {
        contender.run(&start(name, &["--network", "none"]))?;
    }
    let sum = settled(running(contender));
    remove(contender, &names)?;
    let sum = sum?;
    ensure!(sum > 0, "nothing of it runs beside its containers");
    Ok(f64::from(sum) / f64::from(u32::try_from(CONTAINERS)?))
}

/// Leaves programs to be read from the disk anew, as after a boot. How much of one its processes map depends on the pieces in
/// which the kernel keeps it, and those of a file that was written a moment ago are large.
fn forget(programs: &[PathBuf]) -> Result<()> {
    for program in programs {
        let context = || format!("forget {}", program.display());
        let file = File::open(program).with_context(context)?;
        file.sync_all().with_context(context)?;
        fadvise(&file, 0, None, Advice::DontNeed).with_context(context)?;
    }
    Ok(())
}

/// Returns the PSS of some programs once it stands still: a while after a start they give back what it needed.
fn settled(programs: &[&str]) -> Result<u32> {
    let mut last = memory_of(programs)?;
    for _ in 0..LOOKS {
        sleep(PAUSE);
        let now = memory_of(programs)?;
        if now.abs_diff(last) * 100 <= last {
            return Ok(now);
        }
        last = now;
    }
    Ok(last)
}

/// Returns the PSS of all processes of some programs, in KiB.
fn memory_of(programs: &[&str]) -> Result<u32> {
    let mut sum = 0;
    for process in fs::read_dir("/proc")?.flatten() {
        // By what they were called: the file that a monitor runs has no place. What has ended cannot be read.
        let Ok(arguments) = fs::read_to_string(process.path().join("cmdline")) else {
            continue;
        };
        let called = arguments.split('\0').next().unwrap_or_default();
        let called = called.rsplit('/').next().unwrap_or_default();
        if !programs.contains(&called) {
            continue;
        }
        let Ok(text) = fs::read_to_string(process.path().join("smaps_rollup")) else {
            continue;
        };
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Pss:"))
            .context("smaps_rollup has no Pss")?;
        sum += line.trim().trim_end_matches(" kB").parse::<u32>()?;
    }
    Ok(sum)
}

fn size(contender: &Contender) -> Result<f64> {
    let mut sum = 0.0;
    for place in installed(contender) {
        sum += f64::from(u32::try_from(fs::metadata(place)?.len() >> 10)?);
    }
    Ok(sum)
}

/// Finds a program where Debian puts such; links are followed by who looks at the size.
fn find(name: &str) -> Option<PathBuf> {
    let places = [
        "/usr/bin",
        "/usr/sbin",
        "/usr/libexec/podman",
        "/usr/lib/podman",
        "/usr/libexec/docker",
    ];
    places
        .iter()
        .map(|place| PathBuf::from(place).join(name))
        .find(|place| place.exists())
}
