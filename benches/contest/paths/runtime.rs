//! What callers of an OCI runtime wait for: run, create with start and delete, exec.
//!
//! All have the same bundle. Each is measured back to back, and with the machine left alone before: an idle one moves
//! processes into cgroups by another, slower way. Each has a name of its own, since cgroups are named after containers.

use std::fs::{self, File};
use std::path::{Path as Place, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::bench::{Bench, Path, Step};
use crate::contender::Contender;
use crate::machine::{check, path};

/// How long the machine is left alone before a start that counts as spaced.
const PAUSE: Duration = Duration::from_millis(300);
const COUNT: &str = "OCI run of true: system calls";

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    let paths = [RUN, RUN_FILTERED, STEPS, EXEC]
        .into_iter()
        .flat_map(spaced);
    let paths: Vec<String> = paths.chain([COUNT.to_owned()]).collect();
    if !bench.wants_any(&paths.iter().map(String::as_str).collect::<Vec<_>>()) {
        return Ok(());
    }
    let own = bench.runtimes.first().context("aril-oci is missing")?;
    let work = bench.work.join("bundles");
    fs::create_dir(&work)?;
    let plain = bundle(bench, &work, "plain", &["true"], None)?;
    let filtered = bundle(bench, &work, "filtered", &["true"], Some(filter()?))?;
    let waiting = bundle(bench, &work, "waiting", &["sleep", "10000"], None)?;
    let (plain_path, waiting) = (path(&plain)?, path(&waiting)?);
    let root = plain.join("rootfs");
    let root = path(&root)?;
    let floor = || bench.floor(&["bundle", root]);
    let floor_filtered = || bench.floor(&["bundle", root, "filter"]);
    let run = |bundle| {
        move |contender: &Contender, _: usize| {
            contender.run(&["run", "--bundle", bundle, contender.name])
        }
    };
    twice(bench, RUN, &run(plain_path), &floor);
    twice(bench, RUN_FILTERED, &run(path(&filtered)?), &floor_filtered);
    let steps = |contender: &Contender, _: usize| {
        contender.leave(&["create", "--bundle", plain_path, contender.name])?;
        contender.leave(&["start", contender.name])?;
        contender.run(&["delete", "--force", contender.name])
    };
    twice(bench, STEPS, &steps, &floor);
    if spaced(EXEC).iter().any(|name| bench.wants(name)) {
        for contender in &bench.runtimes {
            // Who cannot is named by the row, where its exec fails.
            drop(contender.leave(&["run", "--detach", "--bundle", waiting, contender.name]));
        }
        let state: Value = serde_json::from_str(&own.ask(&["state", own.name])?)?;
        let pid = state["pid"].to_string();
        let exec =
            |contender: &Contender, _: usize| contender.run(&["exec", contender.name, "true"]);
        twice(bench, EXEC, &exec, &|| bench.floor(&["exec", &pid]));
        for contender in &bench.runtimes {
            drop(contender.run(&["delete", "--force", contender.name]));
        }
    }
    count(bench, &work, &plain)
}

const RUN: &str = "OCI run of true";
const RUN_FILTERED: &str = "OCI run, docker's seccomp filter";
const STEPS: &str = "OCI create, start, delete --force";
const EXEC: &str = "OCI exec of true";

/// The names of a path's two ways.
fn spaced(name: &str) -> [String; 2] {
    [
        format!("{name}, back to back"),
        format!("{name}, {} ms apart", PAUSE.as_millis()),
    ]
}

fn twice(bench: &Bench, name: &str, step: Step<'_>, floor: &dyn Fn() -> Result<()>) {
    for (name, pause) in spaced(name).iter().zip([Duration::ZERO, PAUSE]) {
        Path::new(name)
            .goal(2.0)
            .pause(pause)
            .floor(floor)
            .measure(bench, &bench.runtimes, step);
    }
}

fn filter() -> Result<Value> {
    let profile = aril::container::seccomp::default_profile(&[], std::env::consts::ARCH);
    Ok(serde_json::to_value(profile)?)
}

/// Makes a bundle of what `spec` writes, without a terminal.
fn bundle(
    bench: &Bench,
    work: &Place,
    name: &str,
    args: &[&str],
    seccomp: Option<Value>,
) -> Result<PathBuf> {
    let bundle = work.join(name);
    let root = bundle.join("rootfs");
    fs::create_dir(&bundle)?;
    let busybox = bench.work.join("busybox");
    check(Command::new("cp").arg("-a").args([&busybox, &root]))?;
    for place in ["proc", "sys", "dev"] {
        fs::create_dir_all(root.join(place))?;
    }
    let own = bench.runtimes.first().context("aril-oci is missing")?;
    check(own.command(&["spec"]).current_dir(&bundle))?;
    let config = bundle.join("config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&config)?)?;
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(args);
    // Others know the version before the newest.
    spec["ociVersion"] = json!("1.0.2");
    if let Some(seccomp) = seccomp {
        spec["linux"]["seccomp"] = seccomp;
    }
    fs::write(config, spec.to_string())?;
    Ok(bundle)
}

/// Counts the system calls of a run.
fn count(bench: &Bench, work: &Place, bundle: &Place) -> Result<()> {
    if !bench.wants(COUNT) {
        return Ok(());
    }
    println!("{COUNT}");
    let trace = work.join("trace");
    for contender in &bench.runtimes {
        let status = traced(contender, work, bundle, &trace)?;
        let calls = fs::read_to_string(&trace)?.lines().count();
        println!("  {:10} {calls:10}  ({status})", contender.name);
    }
    Ok(())
}

fn traced(
    contender: &Contender,
    work: &Place,
    bundle: &Place,
    trace: &Place,
) -> Result<std::process::ExitStatus> {
    let run = contender.command(&["run", "--bundle", path(bundle)?, contender.name]);
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-o"])
        .arg(trace)
        .arg(run.get_program())
        .args(run.get_args());
    strace
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(work.join("said"))?);
    strace.status().context("run strace")
}
