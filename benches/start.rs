//! What people wait for: start, exec, list, commit, diff, cp, import; by aril, and by docker and podman where they are installed.
//!
//! ```text
//! cargo bench --bench start [-- ROUNDS [WORD]]     needs root; WORD picks the measurements whose names have it
//! ARIL=/usr/local/bin/aril cargo bench …           measures another build
//! ```

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod contest;
mod figures;
mod files;
mod machine;
mod noise;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use contest::{Bench, Step};
use files::{large_file, many_files, small_files};
use machine::{command, path};

/// Rounds of what takes milliseconds; a fifth of them for what takes seconds.
const ROUNDS: usize = 25;
const CONTAINERS: usize = 100;
const ROOT_BYTES: usize = 200 << 20;
const IMAGE: &str = "bench-busybox";
/// A container with files of its own.
const WRITTEN: &str = "written";

const NOTHING: Step<'_> = &|_, _| Ok(());

fn main() -> Result<()> {
    contest::run(ROUNDS, |bench| {
        let root = make_root(&bench.work)?;
        for contender in &bench.contenders {
            contender.run(&["import", "-c", "CMD [\"sh\"]", path(&root)?, IMAGE])?;
        }
        starts(bench);
        running(bench)?;
        lists(bench)?;
        small_ones(bench)?;
        large_one(bench)?;
        imports(bench)
    })
}

/// Makes an archive of a busybox root.
fn make_root(work: &Path) -> Result<PathBuf> {
    let root = work.join("busybox");
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("rootfs-fixtures/busybox.sh");
    command(path(&recipe)?, &[path(&root)?])?;
    let tar = work.join("busybox.tar");
    command("tar", &["-C", path(&root)?, "-cf", path(&tar)?, "."])?;
    Ok(tar)
}

/// Rounds of what takes seconds.
fn few(bench: &Bench) -> usize {
    bench.rounds.div_ceil(5)
}

fn starts(bench: &Bench) {
    let run = |options: &'static [&str]| {
        move |contender: &contest::Contender, _| {
            let mut args = vec!["run", "--rm"];
            args.extend(options);
            args.extend([IMAGE, "true"]);
            contender.run(&args)
        }
    };
    let rounds = bench.rounds;
    bench.measure(
        "run --rm --network none … true",
        rounds,
        &run(&["--network", "none"]),
        NOTHING,
    );
    bench.measure("run --rm … true, on the bridge", rounds, &run(&[]), NOTHING);
    let name = |round: usize| format!("detached-{round}");
    bench.measure(
        "run -d --network none … sleep",
        rounds,
        &|contender, round| {
            contender.run(&[
                "run",
                "-d",
                "--network",
                "none",
                "--name",
                &name(round),
                IMAGE,
                "sleep",
                "1000",
            ])
        },
        &|contender, round| contender.run(&["rm", "-f", &name(round)]),
    );
}

fn running(bench: &Bench) -> Result<()> {
    const NAME: &str = "exec … true";
    if !bench.wants(NAME) {
        return Ok(());
    }
    for contender in &bench.contenders {
        contender.run(&[
            "run",
            "-d",
            "--network",
            "none",
            "--name",
            "waits",
            IMAGE,
            "sleep",
            "10000",
        ])?;
    }
    bench.measure(
        NAME,
        bench.rounds,
        &|contender, _| contender.run(&["exec", "waits", "true"]),
        NOTHING,
    );
    for contender in &bench.contenders {
        contender.run(&["rm", "-f", "waits"])?;
    }
    Ok(())
}

fn lists(bench: &Bench) -> Result<()> {
    let name = format!("ps -a, of {CONTAINERS} containers");
    if !bench.wants(&name) {
        return Ok(());
    }
    let names: Vec<String> = (0..CONTAINERS)
        .map(|number| format!("listed-{number}"))
        .collect();
    for contender in &bench.contenders {
        for name in &names {
            contender.run(&["create", "--network", "none", "--name", name, IMAGE, "true"])?;
        }
    }
    bench.measure(
        &name,
        bench.rounds,
        &|contender, _| contender.run(&["ps", "-a"]),
        NOTHING,
    );
    for contender in &bench.contenders {
        let mut args = vec!["rm"];
        args.extend(names.iter().map(String::as_str));
        contender.run(&args)?;
    }
    Ok(())
}

/// What is done with a container's files: 50,000 small ones …
fn small_ones(bench: &Bench) -> Result<()> {
    const COMMIT_SMALL: &str = "commit of 50,000 small files";
    const DIFF: &str = "diff with 50,000 new files";
    if bench.wants(COMMIT_SMALL) || bench.wants(DIFF) {
        write_in_containers(bench, small_files)?;
        commits(bench, COMMIT_SMALL);
        bench.measure(
            DIFF,
            few(bench),
            &|contender, _| contender.run(&["diff", WRITTEN]),
            NOTHING,
        );
        remove_containers(bench)?;
    }
    Ok(())
}

/// … and one large one.
fn large_one(bench: &Bench) -> Result<()> {
    const COMMIT_LARGE: &str = "commit of one file of 512 MiB";
    const COPY_OUT: &str = "cp of 512 MiB out";
    const COPY_IN: &str = "cp of 512 MiB in";
    if [COMMIT_LARGE, COPY_OUT, COPY_IN]
        .iter()
        .any(|name| bench.wants(name))
    {
        write_in_containers(bench, large_file)?;
        commits(bench, COMMIT_LARGE);
        let (copy, source) = (bench.work.join("copy"), bench.work.join("large"));
        let out = format!("{WRITTEN}:/made/large");
        bench.measure(
            COPY_OUT,
            few(bench),
            &|contender, _| contender.run(&["cp", &out, path(&copy)?]),
            &|_, _| Ok(fs::remove_file(&copy)?),
        );
        large_file(&bench.work)?;
        command("sync", &[])?;
        bench.measure(
            COPY_IN,
            few(bench),
            &|contender, round| {
                contender.run(&["cp", path(&source)?, &format!("{WRITTEN}:/copy-{round}")])
            },
            NOTHING,
        );
        fs::remove_file(&source)?;
        remove_containers(bench)?;
    }
    Ok(())
}

/// Makes a container of each contender that has files in its layer, in `/made`.
fn write_in_containers(bench: &Bench, make: fn(&Path) -> Result<()>) -> Result<()> {
    let source = bench.work.join("source");
    fs::create_dir(&source)?;
    make(&source)?;
    let volume = format!("{}:/source:ro", path(&source)?);
    for contender in &bench.contenders {
        let options = ["run", "--network", "none", "--name", WRITTEN, "-v", &volume];
        let args = [IMAGE, "cp", "-r", "/source", "/made"];
        contender.run(&[&options[..], &args[..]].concat())?;
    }
    fs::remove_dir_all(&source)?;
    command("sync", &[])
}

fn remove_containers(bench: &Bench) -> Result<()> {
    for contender in &bench.contenders {
        contender.run(&["rm", WRITTEN])?;
    }
    Ok(())
}

fn commits(bench: &Bench, name: &str) {
    bench.measure(
        name,
        few(bench),
        &|contender, round| contender.run(&["commit", WRITTEN, &format!("made:{round}")]),
        &|contender, round| contender.run(&["rmi", &format!("made:{round}")]),
    );
}

fn imports(bench: &Bench) -> Result<()> {
    const NAME: &str = "import of a root of 200 MB";
    if !bench.wants(NAME) {
        return Ok(());
    }
    let (source, tar) = (bench.work.join("root"), bench.work.join("root.tar"));
    fs::create_dir(&source)?;
    // As many files as a small Debian has.
    many_files(&source, 7_000, ROOT_BYTES / 7_000)?;
    command("tar", &["-C", path(&source)?, "-cf", path(&tar)?, "."])?;
    let tar = path(&tar)?;
    bench.measure(
        NAME,
        few(bench),
        &|contender, round| contender.run(&["import", tar, &format!("imported:{round}")]),
        &|contender, round| contender.run(&["rmi", &format!("imported:{round}")]),
    );
    Ok(())
}
