//! A container from its start to its end, and each step of it.

use std::fs;
use std::path::Path as Place;

use anyhow::Result;

use super::{IMAGE, start, start_ready};
use crate::bench::{Bench, Path};
use crate::contender::Contender;
use crate::machine::{command, path};

const NO_NETWORK: [&str; 2] = ["--network", "none"];
/// The bridge of the floor program.
const BRIDGE: &str = "floor0";

pub(crate) fn measure(bench: &Bench, root: &Place) -> Result<()> {
    whole(bench, root)?;
    exec(bench)?;
    steps(bench);
    ends(bench);
    Ok(())
}

fn whole(bench: &Bench, root: &Place) -> Result<()> {
    let work = bench.work.join("floor");
    if !bench.choice.is_list {
        fs::create_dir(&work)?;
        for line in [
            format!("link add {BRIDGE} type bridge"),
            format!("address add 10.100.0.1/16 dev {BRIDGE}"),
            format!("link set {BRIDGE} up"),
        ] {
            command("ip", &line.split(' ').collect::<Vec<_>>())?;
        }
    }
    let run = |options: &'static [&str]| {
        move |contender: &Contender, _| {
            let mut args = vec!["run", "--rm"];
            args.extend(options);
            args.extend([IMAGE, "true"]);
            contender.run(&args)
        }
    };
    Path::new("run --rm --network none … true")
        .goal(10.0)
        .floor(&|| bench.floor(&["start", path(root)?, path(&work)?]))
        .measure(bench, &bench.engines, &run(&NO_NETWORK));
    Path::new("run --rm … true, on the bridge")
        .goal(20.0)
        .floor(&|| bench.floor(&["start", path(root)?, path(&work)?, BRIDGE]))
        .measure(bench, &bench.engines, &run(&[]));
    Path::new("run -d --network none … sleep")
        .goal(10.0)
        .settled()
        .after(&|contender, _| contender.run(&["rm", "-f", "one"]))
        .measure(bench, &bench.engines, &|contender, _| {
            contender.run(&start("one", &NO_NETWORK))
        });
    Ok(())
}

fn exec(bench: &Bench) -> Result<()> {
    const NAME: &str = "exec … true";
    if !bench.wants(NAME) {
        return Ok(());
    }
    for contender in &bench.engines {
        start_ready(contender, "waits", &NO_NETWORK)?;
    }
    let own = bench
        .engines
        .first()
        .map(|own| own.ask(&["inspect", "-f", "{{.State.Pid}}", "waits"]))
        .transpose()?;
    let pid = own.unwrap_or_default();
    Path::new(NAME)
        .goal(15.0)
        .floor(&|| bench.floor(&["exec", &pid]))
        .measure(bench, &bench.engines, &|contender, _| {
            contender.run(&["exec", "waits", "true"])
        });
    for contender in &bench.engines {
        contender.run(&["rm", "-f", "waits"])?;
    }
    Ok(())
}

/// create, start -a, rm: each alone.
fn steps(bench: &Bench) {
    let create = |contender: &Contender, _| {
        contender.run(&[
            "create",
            "--network",
            "none",
            "--name",
            "step",
            IMAGE,
            "true",
        ])
    };
    let begin = |contender: &Contender, _| contender.run(&["start", "-a", "step"]);
    let remove = |contender: &Contender, _| contender.run(&["rm", "step"]);
    Path::new("create")
        .goal(5.0)
        .settled()
        .after(&remove)
        .measure(bench, &bench.engines, &create);
    Path::new("start -a")
        .goal(10.0)
        .settled()
        .before(&create)
        .after(&remove)
        .measure(bench, &bench.engines, &begin);
    let ended = |contender: &Contender, round| {
        create(contender, round).and_then(|()| begin(contender, round))
    };
    Path::new("rm")
        .goal(5.0)
        .settled()
        .before(&ended)
        .measure(bench, &bench.engines, &remove);
}

/// The ends of a running container.
fn ends(bench: &Bench) {
    let begin = |contender: &Contender, _| start_ready(contender, "ends", &[]);
    let remove = |contender: &Contender, _| contender.run(&["rm", "-f", "ends"]);
    Path::new("stop of what obeys")
        .goal(8.0)
        .settled()
        .before(&begin)
        .after(&remove)
        .measure(bench, &bench.engines, &|contender, _| {
            contender.run(&["stop", "ends"])
        });
    Path::new("rm -f of what runs, on the bridge")
        .goal(10.0)
        .settled()
        .before(&begin)
        .measure(bench, &bench.engines, &remove);
}
