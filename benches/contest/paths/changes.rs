//! A container's changes: committed, listed, and files copied in and out.

use std::fs;
use std::path::Path as Place;

use anyhow::Result;

use super::IMAGE;
use crate::bench::{Bench, Path, settle};
use crate::files::{large_file, many_files, small_files};
use crate::machine::{command, path};

/// A container with files of its own.
const WRITTEN: &str = "written";
const ROUNDS: usize = 5;
const COMMIT_ONE: &str = "commit of one small file";
const COMMIT_SMALL: &str = "commit of 50,000 small files";
const COMMIT_LARGE: &str = "commit of one file of 512 MiB";
const DIFF: &str = "diff with 50,000 new files";
const COPY_OUT: &str = "cp of 512 MiB out";
const COPY_IN: &str = "cp of 512 MiB in";
const IMPORT: &str = "import of a root of 200 MB";
const ROOT_BYTES: usize = 200 << 20;

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    if bench.wants(COMMIT_ONE) {
        write_in_containers(bench, |dir| Ok(fs::write(dir.join("one"), "one\n")?))?;
        commits(bench, COMMIT_ONE, 5.0);
        remove_containers(bench)?;
    }
    if bench.wants_any(&[COMMIT_SMALL, DIFF]) {
        write_in_containers(bench, small_files)?;
        commits(bench, COMMIT_SMALL, 5.0);
        let diff = Path::new(DIFF).goal(5.0).rounds(ROUNDS);
        diff.measure(bench, &bench.engines, &|contender, _| {
            contender.run(&["diff", WRITTEN])
        });
        remove_containers(bench)?;
    }
    if bench.wants_any(&[COMMIT_LARGE, COPY_OUT, COPY_IN]) {
        write_in_containers(bench, large_file)?;
        commits(bench, COMMIT_LARGE, 3.0);
        copies(bench)?;
        remove_containers(bench)?;
    }
    imports(bench)
}

fn copies(bench: &Bench) -> Result<()> {
    let (copy, source, floor) = (
        bench.work.join("copy"),
        bench.work.join("large"),
        bench.work.join("floor-copy"),
    );
    large_file(&bench.work)?;
    settle(&bench.work)?;
    let least = || {
        bench.floor(&["copy", path(&source)?, path(&floor)?])?;
        Ok(fs::remove_file(&floor)?)
    };
    let out = format!("{WRITTEN}:/made/large");
    Path::new(COPY_OUT)
        .goal(1.5)
        .rounds(ROUNDS)
        .settled()
        .floor(&least)
        .after(&|_, _| Ok(fs::remove_file(&copy)?))
        .measure(bench, &bench.engines, &|contender, _| {
            contender.run(&["cp", &out, path(&copy)?])
        });
    Path::new(COPY_IN)
        .goal(1.5)
        .rounds(ROUNDS)
        .settled()
        .floor(&least)
        .measure(bench, &bench.engines, &|contender, round| {
            contender.run(&["cp", path(&source)?, &format!("{WRITTEN}:/copy-{round}")])
        });
    Ok(fs::remove_file(&source)?)
}

/// Makes a container of each contender that has files in its layer, in `/made`.
fn write_in_containers(bench: &Bench, make: fn(&Place) -> Result<()>) -> Result<()> {
    let source = bench.work.join("source");
    fs::create_dir(&source)?;
    make(&source)?;
    let volume = format!("{}:/source:ro", path(&source)?);
    for contender in &bench.engines {
        let options = ["run", "--network", "none", "--name", WRITTEN, "-v", &volume];
        let args = [IMAGE, "cp", "-r", "/source", "/made"];
        contender.run(&[&options[..], &args[..]].concat())?;
    }
    fs::remove_dir_all(&source)?;
    settle(&bench.work)
}

fn remove_containers(bench: &Bench) -> Result<()> {
    bench
        .engines
        .iter()
        .try_for_each(|contender| contender.run(&["rm", WRITTEN]))
}

fn commits(bench: &Bench, name: &str, goal: f64) {
    Path::new(name)
        .goal(goal)
        .rounds(ROUNDS)
        .settled()
        .after(&|contender, round| contender.run(&["rmi", &format!("made:{round}")]))
        .measure(bench, &bench.engines, &|contender, round| {
            contender.run(&["commit", WRITTEN, &format!("made:{round}")])
        });
}

fn imports(bench: &Bench) -> Result<()> {
    if !bench.wants(IMPORT) {
        return Ok(());
    }
    let (source, tar) = (bench.work.join("root"), bench.work.join("root.tar"));
    fs::create_dir(&source)?;
    // As many files as a small Debian has.
    many_files(&source, 7_000, ROOT_BYTES / 7_000)?;
    command("tar", &["-C", path(&source)?, "-cf", path(&tar)?, "."])?;
    let tar = path(&tar)?;
    Path::new(IMPORT)
        .rounds(ROUNDS)
        .after(&|contender, round| contender.run(&["rmi", &format!("imported:{round}")]))
        .measure(bench, &bench.engines, &|contender, round| {
            contender.run(&["import", tar, &format!("imported:{round}")])
        });
    Ok(())
}
