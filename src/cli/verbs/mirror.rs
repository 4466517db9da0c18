//! `mirror test`.

use std::time::Duration;

use anyhow::Result;

use super::client;
use crate::cli::command::{self, Context};
use crate::cli::commands::registry::MirrorTestArgs;
use crate::cli::face::Failed;
use crate::cli::format::{self, List};
use crate::cli::output;
use crate::cli::rows::{column, text};
use crate::cli::template::value::{Column, Value};
use crate::engine::mirrors::{self, Tested, Verdict};
use crate::engine::registries;
use crate::oci::reference::Reference;

/// The columns and templates of `mirror test`.
pub const LIST: List = List {
    columns: COLUMNS,
    table: r"{{.Address}}\t{{.Answers}}\t{{.Time}}\t{{.Note}}",
    quiet: "{{.Address}}",
    raw: None,
    quiet_wins: false,
};

const COLUMNS: &[Column] = &[
    column("Address", "ADDRESS"),
    column("Answers", "ANSWERS"),
    column("Time", "TIME"),
    column("Note", "NOTE"),
];

/// `mirror test`; exit code 1 if a mirror does not answer.
pub fn test(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: MirrorTestArgs = command::arguments(matches)?;
    let format = LIST.format(&arguments.format, false)?;
    let probe = Reference::parse(&arguments.reference)?.or_latest();
    let engine = client(context);
    let access = registries::access(&engine)?;
    let settings = engine.settings()?;
    for ignored in &settings.ignored {
        output::err(&format!("WARNING: {ignored}\n"));
    }
    let tested = mirrors::test(&engine, &access, &probe).map_err(Failed::engine)?;
    let rows: Vec<Value> = tested.iter().map(row).collect();
    output::out(&format.render(LIST.columns, &rows)?)?;
    if tested.len() == 1 && context.face.hints {
        let file = settings.file.as_deref().map_or_else(
            || "/etc/aril/daemon.json".to_owned(),
            |file| file.display().to_string(),
        );
        output::err(&format!(
            "hint: no mirror of {} is configured; write \"registry-mirrors\": [\"https://…\"] into {file}\n",
            probe.registry
        ));
    }
    let silent = |tested: &Tested| matches!(tested.verdict, Verdict::Silent(_));
    Ok(u8::from(tested.iter().any(silent)))
}

fn row(tested: &Tested) -> Value {
    let registry = if tested.is_registry {
        "the registry itself"
    } else {
        ""
    };
    let note = |why: &str| match registry {
        "" => why.to_owned(),
        registry => format!("{registry}; {why}"),
    };
    let (answers, time, note) = match &tested.verdict {
        Verdict::Answers(time) => ("yes", Some(*time), registry.to_owned()),
        Verdict::AnswersWithout(time, why) => ("yes", Some(*time), note(why)),
        Verdict::Silent(why) => ("no", None, note(why)),
    };
    let time = time.map_or_else(|| "-".to_owned(), milliseconds);
    let values = vec![text(&tested.address), text(answers), text(time), text(note)];
    format::row(&LIST, "*mirror.testContext", None, values)
}

fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_without_the_image_answers() {
        let tested = |address: &str, is_registry, verdict| Tested {
            address: address.to_owned(),
            is_registry,
            verdict,
        };
        let time = Duration::from_micros(12_345);
        let rows = [
            tested("https://a.example.com", false, Verdict::Answers(time)),
            tested(
                "https://b.example.com",
                false,
                Verdict::AnswersWithout(time, "it does not have x".to_owned()),
            ),
            tested(
                "https://c.example.com",
                false,
                Verdict::Silent("no such host".to_owned()),
            ),
            tested("https://registry-1.docker.io", true, Verdict::Answers(time)),
        ];
        let rows: Vec<Value> = rows.iter().map(row).collect();
        let got = LIST
            .format("", false)
            .unwrap()
            .render(COLUMNS, &rows)
            .unwrap();
        assert_eq!(
            got,
            "ADDRESS                        ANSWERS   TIME      NOTE\n\
             https://a.example.com          yes       12 ms     \n\
             https://b.example.com          yes       12 ms     it does not have x\n\
             https://c.example.com          no        -         no such host\n\
             https://registry-1.docker.io   yes       12 ms     the registry itself\n"
        );
    }
}
