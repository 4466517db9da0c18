//! What the `inspect` commands print: all objects as one JSON array, or one line per object by a template.
//!
//! What is found is printed even if other objects are missing; the errors of the missing ones come after it.

use anyhow::Result;
use serde::Serialize;

use crate::cli::format;
use crate::cli::template::{self, Template};

/// How an `inspect` command prints.
#[derive(Debug)]
pub enum Inspector {
    /// Without `--format`: indented JSON.
    Indented,
    /// `--format json`: JSON on one line.
    Compact,
    /// A template.
    Template(Template),
}

/// What is printed, and the errors of single objects.
#[derive(Debug, Default)]
pub struct Inspected {
    /// For stdout; ends with a line end.
    pub out: String,
    /// Templates that do not go with an object.
    pub errors: Vec<anyhow::Error>,
}

impl Inspector {
    /// Reads a `--format`, empty for none; a text that is no template is exit code 64.
    pub fn new(asked: &str) -> Result<Inspector, template::Error> {
        Ok(match asked {
            "" => Inspector::Indented,
            "json" => Inspector::Compact,
            text => Inspector::Template(Template::parse(text)?),
        })
    }

    /// Returns what is printed for the objects that were found; `has_json` says of which docker has its daemon's JSON too, in
    /// which templates look up what Go's types do not have.
    pub fn inspect<T: Serialize>(
        &self,
        found: &[T],
        has_json: impl Fn(&T) -> bool,
    ) -> Result<Inspected> {
        let mut inspected = Inspected::default();
        inspected.out = match self {
            Inspector::Indented => format::pretty_json(found)?,
            Inspector::Compact => format::compact_json(found)?,
            Inspector::Template(template) => {
                let mut lines = Vec::new();
                for document in found {
                    let value = template::to_value(document)?;
                    let printed = if has_json(document) {
                        template.inspect(&value)
                    } else {
                        template.execute(&value)
                    };
                    match printed {
                        Ok(line) => lines.push(line),
                        Err(error) => inspected.errors.push(format::parsing_error(error)),
                    }
                }
                lines.join("\n")
            }
        };
        inspected.out.push('\n');
        Ok(inspected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::system::Volume;

    fn check(asked: &str, names: &[&str], want: &str, errors: &[&str]) {
        let volumes: Vec<Volume> = names
            .iter()
            .map(|name| Volume {
                name: (*name).to_owned(),
                ..Volume::default()
            })
            .collect();
        let inspected = Inspector::new(asked)
            .unwrap()
            .inspect(&volumes, |_| false)
            .unwrap();
        let got: Vec<String> = inspected.errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            (inspected.out.as_str(), got),
            (want, errors.iter().map(|e| (*e).to_owned()).collect())
        );
    }

    #[test]
    fn objects_are_one_array_or_a_line_each() {
        check("", &[], "[]\n", &[]);
        check("json", &[], "[]\n", &[]);
        check("{{.Name}}", &[], "\n", &[]);
        check("{{.Name}}", &["a", "b"], "a\nb\n", &[]);
        check("{{json .Labels}}{{.Options}}", &["a"], "nullmap[]\n", &[]);
        check(
            "",
            &["a"],
            "[\n    {\n        \"CreatedAt\": \"\",\n        \"Driver\": \"\",\n        \"Labels\": null,\n        \"Mountpoint\": \"\",\n        \"Name\": \"a\",\n        \"Options\": null,\n        \"Scope\": \"\"\n    }\n]\n",
            &[],
        );
        check(
            "json",
            &["a"],
            "[{\"CreatedAt\":\"\",\"Driver\":\"\",\"Labels\":null,\"Mountpoint\":\"\",\"Name\":\"a\",\"Options\":null,\"Scope\":\"\"}]\n",
            &[],
        );
        check(
            "{{.Nope}}",
            &["a"],
            "\n",
            &[
                "template parsing error: template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type volume.Volume",
            ],
        );
    }
}
