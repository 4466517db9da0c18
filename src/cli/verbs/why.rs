//! `why`.

use jiff::Timestamp;

use super::engine;
use crate::cli::command::{self, Context};
use crate::cli::commands::inspect::WhyArgs;
use crate::cli::face::Failed;
use crate::cli::human::time::{ago, duration};
use crate::cli::output;
use crate::engine::why::{self, Why};

/// `why`
pub fn run(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: WhyArgs = command::arguments(matches)?;
    let engine = engine(context)?;
    let container = engine
        .container(&arguments.container)
        .map_err(Failed::engine)?;
    let why = why::why(&engine, &container).map_err(Failed::engine)?;
    output::out(&text(&container.record.name, &why, Timestamp::now()))?;
    Ok(0)
}

fn text(name: &str, why: &Why, now: Timestamp) -> String {
    let since = (why.since).map(|since| format!(", {}", ago(since, now).to_lowercase()));
    let ran = (why.ran).map(|ran| format!(", after {}", duration(ran).to_lowercase()));
    let times = [since, ran].map(Option::unwrap_or_default).concat();
    let mut lines = vec![format!("{name} {}{times}\n", why.state)];
    lines.extend(why.causes.iter().map(|cause| format!("why:  {cause}\n")));
    lines.extend(why.hints.iter().map(|hint| format!("hint: {hint}\n")));
    if !why.log.is_empty() {
        lines.push("log:  its last lines\n".to_owned());
    }
    lines.extend(why.log.iter().map(|line| format!("      {line}\n")));
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_comes_first_and_the_log_last() {
        let now: Timestamp = "2024-05-01T12:00:00Z".parse().unwrap();
        let why = Why {
            state: "exited with 1".to_owned(),
            causes: vec!["one".to_owned(), "two".to_owned()],
            hints: vec!["do".to_owned()],
            since: Some("2024-05-01T11:00:00Z".parse().unwrap()),
            ran: Some(3_000_000_000),
            log: vec!["oh".to_owned()],
        };
        assert_eq!(
            text("box", &why, now),
            "box exited with 1, about an hour ago, after 3 seconds\nwhy:  one\nwhy:  two\nhint: do\nlog:  its last lines\n      oh\n"
        );
    }
}
