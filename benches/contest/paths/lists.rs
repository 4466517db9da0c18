//! How long a list takes that people ask for all day.

use anyhow::Result;

use super::{IMAGE, names, remove_all};
use crate::bench::{Bench, Path};
use crate::contender::Contender;

const RUNNING: usize = 100;
const ALL: usize = 300;

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    let list = |contender: &Contender, _| contender.run(&["ps"]);
    Path::new("ps, of none")
        .goal(5.0)
        .measure(bench, &bench.engines, &list);
    let running = format!("ps, of {RUNNING} running");
    if bench.wants(&running) {
        let names = names("runs", 0..RUNNING);
        for contender in &bench.engines {
            for name in &names {
                contender.run(&[
                    "run",
                    "-d",
                    "--network",
                    "none",
                    "--name",
                    name,
                    IMAGE,
                    "sleep",
                    "10000",
                ])?;
            }
        }
        Path::new(&running)
            .goal(5.0)
            .measure(bench, &bench.engines, &list);
        remove_all(bench, &names)?;
    }
    let all = format!("ps -a, of {ALL}");
    if bench.wants(&all) {
        let names = names("made", 0..ALL);
        for contender in &bench.engines {
            for name in &names {
                contender.run(&["create", "--network", "none", "--name", name, IMAGE, "true"])?;
            }
        }
        Path::new(&all)
            .goal(5.0)
            .measure(bench, &bench.engines, &|contender, _| {
                contender.run(&["ps", "-a"])
            });
        remove_all(bench, &names)?;
    }
    Ok(())
}
