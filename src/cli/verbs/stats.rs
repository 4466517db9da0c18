//! `stats`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::engine;
use crate::cli::command::{self, Context};
use crate::cli::commands::processes::StatsArgs;
use crate::cli::face::Failed;
use crate::cli::format::Format;
use crate::cli::rows::stats::{self as rows, Subject, Usage};
use crate::cli::{output, preferences};
use crate::container::Container;
use crate::engine::Engine;
use crate::engine::list::{self, ListOptions};
use crate::engine::stats::{self, Sample};
use crate::error;

/// How often usage is looked at; CPU time needs two looks.
const PERIOD: Duration = Duration::from_secs(1);
// Moves to the first line, ends a line, and clears what is left below: the table stays in its place.
const HOME: &str = "\x1b[H";
const END_OF_LINE: &str = " \x1b[K\n";
const CLEAR: &str = "\x1b[J";

/// `stats`
pub fn run(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: StatsArgs = command::arguments(matches)?;
    let format = preferences::format(context, &arguments.format, false, "statsFormat");
    let format = rows::LIST.format(&format, false)?;
    let engine = engine(context)?;
    let subjects = subjects(&engine, &arguments).map_err(Failed::engine)?;
    let mut last = look(&engine, &subjects).map_err(Failed::engine)?;
    if arguments.no_stream {
        // What does not run has nothing to compare.
        if last.values().any(Option::is_some) {
            std::thread::sleep(PERIOD);
        }
        let now = look(&engine, &subjects).map_err(Failed::engine)?;
        output::out(&table(&format, &subjects, (&last, &now), &arguments)?)?;
        return Ok(0);
    }
    loop {
        let began = Instant::now();
        let subjects = self::subjects(&engine, &arguments).map_err(Failed::engine)?;
        let now = look(&engine, &subjects).map_err(Failed::engine)?;
        let text = table(&format, &subjects, (&last, &now), &arguments)?;
        let mut screen = String::from(HOME);
        for line in text.lines() {
            screen.push_str(line);
            screen.push_str(END_OF_LINE);
        }
        screen.push_str(CLEAR);
        if !output::screen(&screen)? {
            return Ok(0);
        }
        last = now;
        // Those that were named and are gone do not come back.
        if subjects.is_empty() && !arguments.containers.is_empty() {
            return Ok(0);
        }
        std::thread::sleep(PERIOD.saturating_sub(began.elapsed()));
    }
}

type Samples = BTreeMap<String, Option<Sample>>;

/// Returns the containers to show, each as the user named it.
fn subjects(engine: &Engine, arguments: &StatsArgs) -> Result<Vec<(String, Container)>> {
    if arguments.containers.is_empty() {
        let options = ListOptions {
            all: arguments.all,
            ..ListOptions::default()
        };
        let mut subjects = Vec::new();
        for Container { record, .. } in list::list(engine, &options)? {
            match engine.containers.get(&record.id) {
                Ok(container) => subjects.push((record.id, container)),
                Err(error) if error::is(&error, error::Kind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        return Ok(subjects);
    }
    let names = arguments.containers.iter();
    names
        .map(|name| Ok((name.clone(), engine.container(name)?)))
        .collect()
}

fn look(engine: &Engine, subjects: &[(String, Container)]) -> Result<Samples> {
    let one = |(_, container): &(String, Container)| {
        let sample = stats::sample(engine, container)?;
        Ok((container.record.id.clone(), sample))
    };
    subjects.iter().map(one).collect()
}

fn table(
    format: &Format,
    subjects: &[(String, Container)],
    (last, now): (&Samples, &Samples),
    arguments: &StatsArgs,
) -> Result<String> {
    let row = |(name, container): &(String, Container)| {
        let id = &container.record.id;
        let sample = now.get(id).copied().flatten().unwrap_or_default();
        let before = last.get(id).copied().flatten().unwrap_or(sample);
        let subject = Subject {
            container: name.clone(),
            name: container.record.name.clone(),
            id: id.clone(),
        };
        rows::row(&subject, Some(&usage(&before, &sample)), arguments.no_trunc)
    };
    let rows: Vec<_> = subjects.iter().map(row).collect();
    format.render(rows::LIST.columns, &rows)
}

fn usage(before: &Sample, now: &Sample) -> Usage {
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    Usage {
        cpu_percent: now.cpu_percent(before),
        memory: signed(now.memory),
        memory_limit: signed(now.memory_limit),
        network_received: signed(now.received),
        network_sent: signed(now.sent),
        block_read: signed(now.read),
        block_written: signed(now.written),
        pids: now.pids,
    }
}
