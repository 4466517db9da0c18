//! Lines: written by a container nobody looks at, by one whose output is shown, and read back.

use anyhow::{Context as _, Result, ensure};
use std::process::Stdio;

use super::IMAGE;
use crate::bench::{Bench, Path};
use crate::contender::Contender;

/// A line of 60 bytes.
const PROGRAM: &str =
    "yes 2026-01-01T00:00:00Z GET /a/page/of/some/length 200 17 ms | head -n 1000000";
const LINES: usize = 1_000_000;
/// Nothing is to be thrown away; docker keeps everything unless it is told otherwise.
const OPTIONS: [&str; 4] = ["--network", "none", "--log-opt", "max-size=1g"];

pub(crate) fn measure(bench: &Bench) {
    let remove = |contender: &Contender, _| contender.run(&["rm", "-f", "lines"]);
    let run = |options: &'static [&'static str]| -> Vec<&'static str> {
        [
            &["run", "--name", "lines"],
            &OPTIONS[..],
            options,
            &[IMAGE, "sh", "-c", PROGRAM],
        ]
        .concat()
    };
    let detached = |contender: &Contender, _| {
        contender.run(&run(&["-d"]))?;
        contender.run(&["wait", "lines"])
    };
    let rounds = 5;
    Path::new("1,000,000 lines written, detached")
        .goal(1.0)
        .rounds(rounds)
        .after(&remove)
        .measure(bench, &bench.engines, &detached);
    Path::new("1,000,000 lines written, attached")
        .goal(1.0)
        .rounds(rounds)
        .after(&remove)
        .measure(bench, &bench.engines, &|contender, _| {
            counted(contender, &run(&[]))
        });
    Path::new("1,000,000 lines read back")
        .goal(8.0)
        .rounds(rounds)
        .before(&detached)
        .after(&remove)
        .measure(bench, &bench.engines, &|contender, _| {
            counted(contender, &["logs", "lines"])
        });
}

/// Reads what a command prints; all lines have to come.
#[expect(
    clippy::naive_bytecount,
    reason = "the compiler makes vector instructions of it"
)]
fn counted(contender: &Contender, args: &[&str]) -> Result<()> {
    let mut child = contender.command(args).stdout(Stdio::piped()).spawn()?;
    let mut output = child.stdout.take().context("no output")?;
    let mut buffer = vec![0; 1 << 18];
    let mut lines = 0;
    loop {
        let size = std::io::Read::read(&mut output, &mut buffer)?;
        if size == 0 {
            break;
        }
        lines += buffer[..size].iter().filter(|byte| **byte == b'\n').count();
    }
    ensure!(child.wait()?.success(), "{args:?} has failed");
    ensure!(lines == LINES, "{lines} lines came");
    Ok(())
}
