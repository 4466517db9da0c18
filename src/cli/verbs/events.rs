//! `events`.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::{engine, filters, logs};
use crate::cli::command::{self, Context};
use crate::cli::commands::system::EventsArgs;
use crate::cli::face::Failed;
use crate::cli::template::{self, Template};
use crate::cli::{format, output};
use crate::docker::system::Event;
use crate::engine::events::{self, Span};

/// `events`
pub fn run(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: EventsArgs = command::arguments(matches)?;
    let template = match arguments.format.as_str() {
        "" => None,
        asked => {
            let asked = match asked {
                "json" => "{{json .}}".to_owned(),
                asked => asked.replace("\\t", "\t").replace("\\n", "\n"),
            };
            Some(parse(&asked).map_err(|error| Failed::from(error).code(64))?)
        }
    };
    let span = Span {
        since: logs::told_moment(&arguments.since)?,
        until: logs::told_moment(&arguments.until)?,
    };
    let filters = filters(&arguments.filter.filter)?;
    let engine = engine(context)?;
    let mut each = |event: &Event| {
        let line = match &template {
            None => line(event)?,
            Some(template) => template
                .execute(&template::to_value(event)?)
                .map_err(format::parsing_error)?,
        };
        // Each at once: whoever reads waits for it.
        output::line(&line)
    };
    events::events(&engine, span, &filters, &mut each).map_err(Failed::engine)?;
    Ok(0)
}

/// Reads a template, and tries it on an event that says nothing: mistakes come before the first event.
fn parse(asked: &str) -> Result<Template> {
    let wrong = |error| anyhow::anyhow!("Error parsing format: {error}");
    let parsed = Template::parse(asked).map_err(wrong)?;
    let nothing = template::to_value(&Event::default())?;
    parsed.execute(&nothing).map_err(wrong)?;
    Ok(parsed)
}

/// `TIME TYPE ACTION ID (NAME=VALUE, …)`
fn line(event: &Event) -> Result<String> {
    let time = Timestamp::from_nanosecond(i128::from(event.time_nano))
        .context("read the time of an event")?
        .to_zoned(jiff::tz::TimeZone::system());
    let offset = match time.offset().seconds() {
        0 => "Z".to_owned(),
        _ => time.strftime("%:z").to_string(),
    };
    let mut line = format!(
        "{}.{:09}{offset} {} {} {}",
        time.strftime("%Y-%m-%dT%H:%M:%S"),
        time.subsec_nanosecond(),
        event.kind,
        event.action,
        event.actor.id
    );
    let attributes = event.actor.attributes.iter();
    let list: Vec<String> = attributes
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if !list.is_empty() {
        write!(line, " ({})", list.join(", "))?;
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::system::Actor;

    #[test]
    fn a_line_has_nine_digits_and_sorted_attributes() {
        let mut event = Event {
            kind: "container".to_owned(),
            action: "start".to_owned(),
            actor: Actor {
                id: "abc".to_owned(),
                attributes: [("name", "x"), ("image", "y")]
                    .map(|(k, v)| (k.to_owned(), v.to_owned()))
                    .into(),
            },
            time_nano: 1_700_000_000_000_000_001,
            ..Event::default()
        };
        let got = line(&event).unwrap();
        assert!(
            got.ends_with(" container start abc (image=y, name=x)"),
            "{got}"
        );
        assert!(got.contains(".000000001"), "{got}");
        event.actor.attributes.clear();
        assert!(line(&event).unwrap().ends_with(" container start abc"));
    }
}
