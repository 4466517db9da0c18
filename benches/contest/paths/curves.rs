//! How costs grow with what there is: containers, layers, files, bytes. By aril alone.

use std::fs;
use std::io::Write as _;
use std::path::Path as Place;

use anyhow::{Context as _, Result};

use super::{IMAGE, names, remove};
use crate::bench::{Bench, Path, settle};
use crate::contender::Contender;
use crate::files::many_files;
use crate::machine::{command, path};

const EXISTING: [usize; 3] = [0, 100, 1_000];
const RUNNING: [usize; 4] = [1, 10, 100, 500];
const LAYERS: [usize; 3] = [1, 10, 100];
const FILES: [usize; 4] = [1_000, 10_000, 100_000, 500_000];
const MEBIBYTES: [usize; 3] = [1, 32, 1024];
const ROUNDS: usize = 7;

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    let own = &bench.engines[..bench.engines.len().min(1)];
    existing(bench, own)?;
    running(bench, own)?;
    layers(bench, own)?;
    images(bench, own)?;
    commits(bench, own)
}

fn run(contender: &Contender, image: &str) -> Result<()> {
    contender.run(&["run", "--rm", "--network", "none", image, "true"])
}

/// Makes containers until there are so many, and measures with them.
fn growing(
    bench: &Bench,
    own: &[Contender],
    (kind, counts): (&str, &[usize]),
    make: &dyn Fn(&Contender, &str) -> Result<()>,
) -> Result<()> {
    let mut made = Vec::new();
    for count in counts {
        let (start, list) = (
            format!("growth: run --rm, {count} {kind}"),
            format!("growth: ps -a, {count} {kind}"),
        );
        if !bench.wants_any(&[&start, &list]) {
            continue;
        }
        let more = names("grown", made.len()..*count);
        for (own, name) in own
            .iter()
            .flat_map(|own| more.iter().map(move |name| (own, name)))
        {
            make(own, name)?;
        }
        made.extend(more);
        Path::new(&start)
            .rounds(ROUNDS)
            .measure(bench, own, &|own, _| run(own, IMAGE));
        Path::new(&list)
            .rounds(ROUNDS)
            .measure(bench, own, &|own, _| own.run(&["ps", "-a"]));
    }
    own.iter().try_for_each(|own| remove(own, &made))
}

fn existing(bench: &Bench, own: &[Contender]) -> Result<()> {
    growing(bench, own, ("containers", &EXISTING), &|own, name| {
        own.run(&["create", "--network", "none", "--name", name, IMAGE, "true"])
    })
}

fn running(bench: &Bench, own: &[Contender]) -> Result<()> {
    growing(bench, own, ("running", &RUNNING), &|own, name| {
        own.run(&[
            "run",
            "-d",
            "--network",
            "none",
            "--name",
            name,
            IMAGE,
            "sleep",
            "100000",
        ])
    })
}

/// Images whose layers have one file each.
fn layers(bench: &Bench, own: &[Contender]) -> Result<()> {
    for count in LAYERS {
        let name = format!("growth: run --rm, {count} layers");
        if !bench.wants(&name) {
            continue;
        }
        let image = format!("layers-{count}");
        let mut from = IMAGE.to_owned();
        for layer in 1..count {
            for own in own {
                own.run(&[
                    "run",
                    "--network",
                    "none",
                    "--name",
                    "layer",
                    &from,
                    "touch",
                    &format!("/file-{layer}"),
                ])?;
                own.run(&["commit", "layer", &image])?;
                own.run(&["rm", "layer"])?;
            }
            from.clone_from(&image);
        }
        Path::new(&name)
            .rounds(ROUNDS)
            .measure(bench, own, &|own, _| run(own, &from));
    }
    Ok(())
}

/// Images of many files: imported, and started.
fn images(bench: &Bench, own: &[Contender]) -> Result<()> {
    for count in FILES {
        let (import, start) = (
            format!("growth: import, {count} files"),
            format!("growth: run --rm, {count} files"),
        );
        if !bench.wants_any(&[&import, &start]) {
            continue;
        }
        let (root, tar) = (bench.work.join("grown"), bench.work.join("grown.tar"));
        command(
            "cp",
            &["-a", path(&bench.work.join("busybox"))?, path(&root)?],
        )?;
        many_files(&root, count, 500)?;
        command("tar", &["-C", path(&root)?, "-cf", path(&tar)?, "."])?;
        fs::remove_dir_all(&root)?;
        let image = format!("files-{count}");
        Path::new(&import).rounds(1).measure(bench, own, &|own, _| {
            own.run(&["import", path(&tar)?, &image])
        });
        Path::new(&start)
            .rounds(ROUNDS)
            .measure(bench, own, &|own, _| run(own, &image));
        fs::remove_file(&tar)?;
    }
    Ok(())
}

/// Commits of many files, and of many bytes.
fn commits(bench: &Bench, own: &[Contender]) -> Result<()> {
    for count in FILES {
        commit(
            bench,
            own,
            &format!("growth: commit, {count} files"),
            &|dir| many_files(dir, count, 500),
        )?;
    }
    for count in MEBIBYTES {
        commit(
            bench,
            own,
            &format!("growth: commit, {count} MiB"),
            &|dir| {
                let mut file = fs::File::create(dir.join("bytes"))?;
                let mut noise = crate::noise::noise();
                for _ in 0..count {
                    file.write_all(&crate::noise::content(&mut noise, 1 << 20))?;
                }
                Ok(())
            },
        )?;
    }
    Ok(())
}

fn commit(
    bench: &Bench,
    own: &[Contender],
    name: &str,
    make: &dyn Fn(&Place) -> Result<()>,
) -> Result<()> {
    if !bench.wants(name) {
        return Ok(());
    }
    let own = own.first().context("nobody to measure")?;
    let source = bench.work.join("grown");
    fs::create_dir(&source)?;
    make(&source)?;
    let volume = format!("{}:/source:ro", path(&source)?);
    own.run(&[
        "run",
        "--network",
        "none",
        "--name",
        "grown",
        "-v",
        &volume,
        IMAGE,
        "cp",
        "-r",
        "/source",
        "/made",
    ])?;
    fs::remove_dir_all(&source)?;
    settle(&bench.work)?;
    Path::new(name)
        .rounds(1)
        .measure(bench, std::slice::from_ref(own), &|own, round| {
            own.run(&["commit", "grown", &format!("grown:{round}")])
        });
    own.run(&["rm", "grown"])
}
