//! `explain`: what a container is made of, or would be, each beside the default.

use anyhow::Result;

use super::run::request;
use super::{engine, run};
use crate::cli::command::{self, Context};
use crate::cli::commands::inspect::{EXPLAIN_ONE, ExplainArgs, ExplainOneArgs};
use crate::cli::commands::run::{RUN, RunArgs};
use crate::cli::face::Failed;
use crate::cli::inspector::Inspector;
use crate::cli::parse::{self, Parsed};
use crate::cli::{format, help, output};
use crate::engine::explain::{self, Explanation, Item, Section};

/// In a section with more entries than this those that are as by default are only named.
const SHORT: usize = 9;

/// `explain`
pub fn run(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: ExplainArgs = command::arguments(matches)?;
    let words = &arguments.words;
    let explain = match words.split_first() {
        // A container may be called so as well.
        Some((first, rest)) if first == "run" && !rest.is_empty() => explain_run(context, rest)?,
        _ => explain_one(context, words, &arguments.how.format)?,
    };
    let Some((explanation, asked)) = explain else {
        return Ok(0);
    };
    let asked = asked.unwrap_or(arguments.how.format);
    if asked.is_empty() {
        output::out(&text(&explanation))?;
        return Ok(0);
    }
    if asked == "json" {
        output::out(&format!("{}\n", format::compact_json(&explanation)?))?;
        return Ok(0);
    }
    let inspector = Inspector::new(&asked)
        .map_err(|error| Failed::from(format::parsing_error(error)).code(64))?;
    let inspected = inspector.inspect(&[explanation], |_| true)?;
    output::out(&inspected.out)?;
    Failed::all(inspected.errors.into_iter().map(Failed::from).collect())?;
    Ok(0)
}

/// An explanation, and the format that was asked for behind the container; nothing if help was all that was wanted.
type Found = Option<(Explanation, Option<String>)>;

fn explain_run(context: &Context, words: &[String]) -> Result<Found, Failed> {
    let path = format!("{} run", context.path);
    let matches = match parse::parse(&RUN, &path, words) {
        Ok(Parsed::Matches(matches)) => matches,
        Ok(Parsed::Help) => {
            output::out(&help::command(&RUN, &path, output::width()))?;
            return Ok(None);
        }
        Err(misuse) => return Err(misused(&misuse)),
    };
    let arguments: RunArgs = command::arguments(&matches)?;
    let mut request = request(&arguments.container, &arguments.options, "run")?;
    run::tell_proxies(context, &mut request, &arguments.container);
    let engine = engine(context)?;
    let explanation = explain::of_request(&engine, &request).map_err(Failed::engine)?;
    Ok(Some((explanation, None)))
}

fn explain_one(context: &Context, words: &[String], before: &str) -> Result<Found, Failed> {
    let matches = match parse::parse(&EXPLAIN_ONE, &context.path, words) {
        Ok(Parsed::Matches(matches)) => matches,
        Ok(Parsed::Help) => {
            output::out(&help::command(&EXPLAIN_ONE, &context.path, output::width()))?;
            return Ok(None);
        }
        Err(misuse) => return Err(misused(&misuse)),
    };
    let arguments: ExplainOneArgs = command::arguments(&matches)?;
    let engine = engine(context)?;
    let container = engine
        .container(&arguments.container)
        .map_err(Failed::engine)?;
    let explanation = explain::of_container(&engine, &container).map_err(Failed::engine)?;
    let asked = Some(arguments.how.format).filter(|format| before.is_empty() || !format.is_empty());
    Ok(Some((explanation, asked)))
}

fn misused(misuse: &parse::Misuse) -> Failed {
    output::err(&format!("{}\n", misuse.text));
    Failed::silent(misuse.code)
}

fn text(explanation: &Explanation) -> String {
    let what = match explanation.state.as_str() {
        "running" => "is in force",
        "stopped" => "its next start makes",
        _ => "would be made",
    };
    let name = &explanation.name;
    let mut text = format!("{name}: what {what}; * marks what is not the default\n");
    for section in &explanation.sections {
        text.push_str(&section_text(section));
    }
    text
}

fn section_text(section: &Section) -> String {
    let shortened = section.items.len() > SHORT;
    let (shown, same): (Vec<&Item>, Vec<&Item>) = section
        .items
        .iter()
        .partition(|item| item.differs || !shortened);
    let width = shown.iter().map(|item| item.name.chars().count()).max();
    let width = width.unwrap_or(0);
    let mut text = format!("\n{}\n", section.title);
    for item in shown {
        text.push_str(&line(item, width));
    }
    if !same.is_empty() {
        let names: Vec<&str> = same.iter().map(|item| item.name.as_str()).collect();
        text.push_str(&["    as by default: ", &names.join(" "), "\n"].concat());
    }
    text
}

fn line(item: &Item, width: usize) -> String {
    let word = |value: &str| match value {
        "" => "none".to_owned(),
        value => value.to_owned(),
    };
    let name = &item.name;
    let value = word(&item.value);
    if item.differs {
        let default = word(&item.default);
        format!("  * {name:width$}  {value}  (default: {default})\n")
    } else {
        format!("    {name:width$}  {value}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, value: &str, default: &str) -> Item {
        Item {
            name: name.to_owned(),
            value: value.to_owned(),
            default: default.to_owned(),
            differs: value != default,
        }
    }

    #[test]
    fn differences_are_seen_and_long_sections_are_short() {
        let mut section = Section {
            title: "limits".to_owned(),
            items: vec![
                item("memory", "64 bytes", "none"),
                item("pids", "none", "none"),
                item("X", "", "1"),
            ],
        };
        assert_eq!(
            section_text(&section),
            "\nlimits\n  * memory  64 bytes  (default: none)\n    pids    none\n  * X       none  (default: 1)\n"
        );
        section
            .items
            .extend((0..8).map(|number| item(&number.to_string(), "a", "a")));
        let text = section_text(&section);
        assert!(
            text.ends_with("    as by default: pids 0 1 2 3 4 5 6 7\n"),
            "{text}"
        );
    }
}
