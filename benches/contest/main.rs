//! The harness: what people wait for, by aril, by docker and podman, by crun, runc and youki, and by the bare system calls.
//!
//! ```text
//! cargo bench --bench contest [-- OPTIONS [WORD...]]     needs root; WORDs pick the paths whose names have one of them
//!   --list          names the paths
//!   --rounds N      at most so many rounds
//!   --json FILE     writes everything that was measured
//!   --table FILE    writes a table for documents, in Markdown
//!   --svg FILE      draws it
//! ARIL=/usr/local/bin/aril cargo bench …                 measures another build
//! PEERS_ROOT=/srv/sid cargo bench …                      takes the peers of this root of Debian instead of installing them
//! ```
//!
//! The peers are installed below cargo's target directory and run in namespaces and on a file system that end with the
//! program. Those that cannot run are named. Ratios are those of medians; other machines have other figures.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod bench;
mod contender;
mod figures;
#[path = "../files.rs"]
mod files;
#[path = "../machine.rs"]
mod machine;
#[path = "../noise.rs"]
mod noise;
mod paths;
mod patience;
mod peers;
mod report;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bench::{Bench, Choice};
use clap::Parser;
use report::Report;

/// What stands behind `--`.
#[derive(Parser)]
struct Args {
    /// Paths whose names have one of these
    words: Vec<String>,
    /// Names the paths
    #[arg(long)]
    list: bool,
    /// At most so many rounds
    #[arg(long)]
    rounds: Option<usize>,
    /// Writes everything that was measured
    #[arg(long)]
    json: Option<PathBuf>,
    /// Writes a table for documents
    #[arg(long)]
    table: Option<PathBuf>,
    /// Draws the table
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Added by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// Where the namespaces are ours: the programs that were made ready before.
const YOUKI: &str = "ARIL_BENCH_YOUKI";
const FLOOR: &str = "ARIL_BENCH_FLOOR";
/// What could not be made ready, and why.
const LEFT_OUT: &str = "ARIL_BENCH_LEFT_OUT";

fn main() -> Result<()> {
    let args = Args::parse();
    if args.list {
        return measure(&args, Path::new(""), &[], (Vec::new(), Vec::new()));
    }
    machine::run(prepare, |work| {
        let mut left_out: Vec<String> = std::env::var(LEFT_OUT)
            .into_iter()
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let youki = std::env::var_os(YOUKI).map(PathBuf::from);
        let (engines, without) = contender::engines(work);
        let (runtimes, others) = contender::runtimes(work, youki.as_deref());
        left_out.extend(without.into_iter().chain(others));
        measure(&args, work, &left_out, (engines, runtimes))
    })
}

/// Installs the peers and builds the floor, on the machine as it is.
fn prepare() -> Result<Vec<(&'static str, PathBuf)>> {
    let mut ready = vec![(FLOOR, peers::floor()?)];
    let mut left_out = Vec::new();
    for (name, made) in [(machine::PEERS, peers::root()), (YOUKI, peers::youki())] {
        match made {
            Ok(place) => ready.push((name, place)),
            Err(error) => left_out.push(format!("{error:#}")),
        }
    }
    ready.push((LEFT_OUT, left_out.join("\n").into()));
    Ok(ready)
}

type Contenders = Vec<contender::Contender>;

fn measure(
    args: &Args,
    work: &Path,
    left_out: &[String],
    (engines, runtimes): (Contenders, Contenders),
) -> Result<()> {
    let machine = format!(
        "{} processors, Linux {}",
        std::thread::available_parallelism()?,
        fs::read_to_string("/proc/sys/kernel/osrelease")?.trim()
    );
    let versions: Vec<String> = engines
        .iter()
        .chain(&runtimes)
        .map(contender::Contender::version)
        .collect();
    if !args.list {
        println!("{machine}\n{}", versions.join("\n"));
    }
    for reason in left_out {
        println!("left out: {reason}");
    }
    let bench = Bench {
        engines,
        runtimes,
        floor: std::env::var_os(FLOOR).unwrap_or_default().into(),
        work: work.to_owned(),
        rounds: args.rounds,
        choice: Choice {
            words: args.words.clone(),
            is_list: args.list,
        },
        figures: RefCell::default(),
    };
    // What was measured is written down also if the rest fails.
    let done = paths::all(&bench);
    let figures = bench.figures.borrow();
    let report = Report {
        machine: &machine,
        versions: &versions,
        left_out,
        figures: &figures,
    };
    let json = || Ok(serde_json::to_string_pretty(&report.json())? + "\n");
    write(args.json.as_deref(), json)?;
    write(args.table.as_deref(), || Ok(report.table()))?;
    write(args.svg.as_deref(), || Ok(report.svg()))?;
    done
}

fn write(place: Option<&Path>, text: impl FnOnce() -> Result<String>) -> Result<()> {
    let Some(place) = place else { return Ok(()) };
    fs::write(place, text()?).with_context(|| format!("write {}", place.display()))
}
