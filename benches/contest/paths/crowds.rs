//! Many containers: one after the other, some at a time, all at once.

use std::process::{Child, Stdio};

use anyhow::{Result, ensure};

use super::{IMAGE, start};
use crate::bench::{Bench, Path};
use crate::contender::Contender;

const ROW: usize = 100;
const CROWD: usize = 50;
const AT_A_TIME: usize = 8;

pub(crate) fn measure(bench: &Bench) {
    Path::new(&format!("{ROW} run --rm --network none in a row"))
        .goal(15.0)
        .rounds(3)
        .measure(bench, &bench.engines, &|contender, _| {
            (0..ROW).try_for_each(|_| {
                contender.run(&["run", "--rm", "--network", "none", IMAGE, "true"])
            })
        });
    Path::new(&format!(
        "{CROWD} run --rm on the bridge, {AT_A_TIME} at a time"
    ))
    .goal(10.0)
    .rounds(3)
    .measure(bench, &bench.engines, &|contender, _| {
        at_a_time(contender, AT_A_TIME, &|_| {
            ["run", "--rm", IMAGE, "true"].map(str::to_owned).to_vec()
        })
    });
    // podman takes no zero for any port.
    let begin = |number: usize| -> Vec<String> {
        let port = format!("{}:80", 9000 + number);
        start(&format!("crowd{number}"), &["-p", &port])
            .into_iter()
            .map(str::to_owned)
            .collect()
    };
    let remove = |number: usize| vec!["rm".to_owned(), "-f".to_owned(), format!("crowd{number}")];
    let started = |contender: &Contender, _| at_a_time(contender, CROWD, &begin);
    let removed = |contender: &Contender, _| at_a_time(contender, CROWD, &remove);
    Path::new(&format!("{CROWD} run -d with a port each, at once"))
        .rounds(3)
        .after(&removed)
        .measure(bench, &bench.engines, &started);
    Path::new(&format!("{CROWD} rm -f at once"))
        .rounds(3)
        .before(&started)
        .measure(bench, &bench.engines, &removed);
}

/// Runs the commands of all numbers, so many of them at a time.
fn at_a_time(
    contender: &Contender,
    count: usize,
    args: &dyn Fn(usize) -> Vec<String>,
) -> Result<()> {
    let spawn = |number| -> Result<Child> {
        let args = args(number);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut command = contender.command(&args);
        Ok(command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?)
    };
    let mut running = std::collections::VecDeque::new();
    let (mut begun, mut wrong) = (0, 0);
    while begun < CROWD || !running.is_empty() {
        if begun < CROWD && running.len() < count {
            running.push_back(spawn(begun)?);
            begun += 1;
        } else if let Some(mut child) = running.pop_front() {
            wrong += usize::from(!child.wait()?.success());
        }
    }
    ensure!(wrong == 0, "{wrong} of {CROWD} have failed");
    Ok(())
}
