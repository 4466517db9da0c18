//! `system check`.

use anyhow::Result;

use super::{engine, volume};
use crate::cli::command::{self, Context};
use crate::cli::commands::system::CheckArgs;
use crate::cli::face::Failed;
use crate::cli::output;
use crate::engine::check::{self, CheckOptions, Leftovers, Outcome, Report};

/// `system check`; exit code 1 if something is wrong and stays so.
pub fn run(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: CheckArgs = command::arguments(matches)?;
    let engine = engine(context)?;
    let options = CheckOptions {
        deep: arguments.deep,
        repair: arguments.repair,
    };
    let report = check::check(&engine, options).map_err(Failed::engine)?;
    output::out(&text(&report, options))?;
    Ok(u8::from(!report.is_sound()))
}

fn text(report: &Report, options: CheckOptions) -> String {
    let mut text = String::new();
    for problem in &report.problems {
        let (mark, more) = match &problem.outcome {
            Outcome::Repairable => ("damaged", "aril system check --repair sets it right"),
            Outcome::Repaired(done) => ("repaired", done.as_str()),
            Outcome::Stays(why) => ("damaged", why.as_str()),
        };
        let line = format!("{mark}: {}: {} ({more})\n", problem.subject, problem.what);
        text.push_str(&line);
    }
    let count = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    };
    let looked = [
        count(report.images, "image"),
        count(report.layers, "layer"),
        count(report.containers, "container"),
        count(report.volumes, "volume"),
    ];
    let how = if options.deep {
        ", all data compared"
    } else {
        ""
    };
    let verdict = match (report.problems.len(), report.is_sound()) {
        (0, _) => "no damage".to_owned(),
        (number, true) => format!("{} repaired", count(number, "problem")),
        (number, false) => count(number, "problem"),
    };
    let line = format!("Checked {}{how}: {verdict}\n", looked.join(", "));
    text.push_str(&line);
    text.push_str(&leftovers(report.leftovers));
    text
}

fn leftovers(found: Leftovers) -> String {
    if found.count == 0 {
        return String::new();
    }
    let what = format!(
        "{} that nothing needs any more, {}",
        found.count,
        volume::total(found.bytes)
    );
    if found.collected {
        format!("Removed {what}\n")
    } else {
        format!("There is also {what}: the next removal takes it, and so does --repair\n")
    }
}
