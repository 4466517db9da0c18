//! `--format` of list commands, and JSON for people (docker's formatter package).
//!
//! ```text
//! (none), table        the command's own columns, with a first line
//! table TEMPLATE       these columns; the first line is the template over the names of the columns
//! json                 one object per line, sorted, all values text
//! raw                  `name: value` lines, where the command has them
//! TEMPLATE             one line per row; \t and \n are a tab and a line end
//! ```

use std::io::Write as _;
use std::rc::Rc;

use anyhow::Result;
use serde::Serialize;
use serde_json::ser::PrettyFormatter;

use crate::cli::template::value::{Column, Header, Row, Value};
use crate::cli::template::{Error, Template};
use crate::error;

/// What a list command's `--format` knows.
#[derive(Clone, Copy, Debug)]
pub struct List {
    /// The columns, which templates call by their names.
    pub columns: &'static [Column],
    /// The template of the table that is printed without `--format`.
    pub table: &'static str,
    /// The template of `--quiet`.
    pub quiet: &'static str,
    /// The templates of `raw`, without and with `--quiet`, if the command has it.
    pub raw: Option<[&'static str; 2]>,
    /// Whether `--quiet` beats a template of the user.
    pub quiet_wins: bool,
}

const TABLE: &str = "table";
/// The narrowest column, with the blanks after it.
const WIDTH_MIN: usize = 10;
/// The blanks between columns.
const PADDING: usize = 3;

/// A template with what surrounds it.
#[derive(Debug)]
pub struct Format {
    template: Template,
    /// Whether there is a first line, and columns stand below one another.
    table: bool,
}

impl List {
    /// Returns what `--format` and `--quiet` ask for; `asked` is empty without `--format`.
    ///
    /// The error is of kind `Invalid`: `template parsing error: template: :1: unclosed action`.
    pub fn format(&self, asked: &str, quiet: bool) -> Result<Format> {
        let table: String;
        let text = match (asked, self.raw) {
            ("" | TABLE, _) if quiet => self.quiet,
            (asked, _) if quiet && self.quiet_wins && asked != "raw" => self.quiet,
            ("" | TABLE, _) => {
                table = format!("{TABLE} {}", self.table);
                &table
            }
            ("raw", Some([_, quiet_raw])) if quiet => quiet_raw,
            ("raw", Some([raw, _])) => raw,
            (template, _) => template,
        };
        Format::parse(text)
    }
}

impl Format {
    /// Reads a `--format`; `table` alone, `raw` and the empty one are the list's affair.
    pub fn parse(text: &str) -> Result<Format> {
        let (table, text) = match text.strip_prefix(TABLE) {
            Some(rest) => (true, rest),
            None if text == "json" => (false, "{{json .}}"),
            None => (false, text),
        };
        let text = text.trim_matches(' ');
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        let failed = |error| error::invalid(format!("template parsing error: {error}"));
        let template = Template::parse(&text).map_err(failed)?;
        Ok(Format { template, table })
    }

    /// Returns whether the column `name` is printed; one that is costly to find out need not be filled in otherwise.
    pub fn uses(&self, name: &str) -> bool {
        self.template.uses(name)
    }

    /// Returns the rows, each on a line of its own; an empty table has its first line.
    ///
    /// The error is of kind `Invalid`.
    pub fn render(&self, columns: &'static [Column], rows: &[Value]) -> Result<String> {
        let mut body = String::new();
        for row in rows {
            let failed = |error| error::invalid(format!("template parsing error: {error}"));
            body.push_str(&self.template.execute(row).map_err(failed)?);
            body.push('\n');
        }
        if !self.table {
            return Ok(body);
        }
        let header = Value::Header(Rc::new(Header { columns }));
        let first = self.template.header(&header);
        align(&format!("{first}\n{body}"))
    }
}

/// Returns a row of a list command.
pub fn row(
    list: &List,
    type_name: &'static str,
    labels: Option<std::collections::BTreeMap<String, String>>,
    values: Vec<Value>,
) -> Value {
    debug_assert_eq!(list.columns.len(), values.len(), "{type_name}");
    Value::Row(Rc::new(Row {
        type_name,
        columns: list.columns,
        values,
        labels,
        in_json: Vec::new(),
    }))
}

/// Returns a template's error as docker words it, of kind `Invalid`.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err wants"
)]
pub fn parsing_error(error: Error) -> anyhow::Error {
    error::invalid(format!("template parsing error: {error}"))
}

/// Returns `text` with its tab-separated cells in columns: at least ten wide with three blanks, the last one as it is.
pub fn align(text: &str) -> Result<String> {
    align_with(text, WIDTH_MIN, PADDING)
}

/// As [`align`], with cells of at least `width` columns and `padding` blanks after each.
pub fn align_with(text: &str, width: usize, padding: usize) -> Result<String> {
    let mut writer = tabwriter::TabWriter::new(Vec::new())
        .minwidth(width - padding)
        .padding(padding);
    writer.write_all(text.as_bytes())?;
    writer.flush()?;
    let bytes = writer
        .into_inner()
        .map_err(|_| anyhow::anyhow!("align a table"))?;
    Ok(String::from_utf8(bytes)?)
}

/// Returns `document` as JSON for people: four blanks per level, `<`, `>` and `&` as they are, fields in their order.
pub fn pretty_json<T: Serialize + ?Sized>(document: &T) -> Result<String> {
    let mut bytes = Vec::new();
    let formatter = Escaping(PrettyFormatter::with_indent(b"    "));
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    document.serialize(&mut serializer)?;
    Ok(String::from_utf8(bytes)?)
}

/// Returns `document` as JSON on one line, as docker's `json` formats print it.
pub fn compact_json<T: Serialize + ?Sized>(document: &T) -> Result<String> {
    let mut bytes = Vec::new();
    let formatter = Escaping(serde_json::ser::CompactFormatter);
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    document.serialize(&mut serializer)?;
    Ok(String::from_utf8(bytes)?)
}

/// Escapes U+2028 and U+2029 as Go does: JavaScript takes them for line ends.
struct Escaping<F>(F);

macro_rules! forward {
    ($($name:ident($($argument:ident: $kind:ty),*);)*) => {
        $(fn $name<W: ?Sized + std::io::Write>(&mut self, w: &mut W $(, $argument: $kind)*) -> std::io::Result<()> {
            self.0.$name(w $(, $argument)*)
        })*
    };
}

impl<F: serde_json::ser::Formatter> serde_json::ser::Formatter for Escaping<F> {
    forward! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        begin_object_value();
        end_object_value();
    }

    fn write_string_fragment<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> std::io::Result<()> {
        if !fragment.contains(['\u{2028}', '\u{2029}']) {
            return writer.write_all(fragment.as_bytes());
        }
        let escaped = fragment
            .replace('\u{2028}', "\\u2028")
            .replace('\u{2029}', "\\u2029");
        writer.write_all(escaped.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: List = List {
        columns: &[
            Column {
                name: "ID",
                header: "THING ID",
            },
            Column {
                name: "Name",
                header: "NAME",
            },
        ],
        table: "{{.ID}}\\t{{.Name}}",
        quiet: "{{.ID}}",
        raw: Some(["id: {{.ID}}\\nname: {{.Name}}\\n", "id: {{.ID}}"]),
        quiet_wins: false,
    };

    fn rows() -> Vec<Value> {
        let thing = |id: &str, name: &str| {
            let labels = [("a.b-c".to_owned(), "v".to_owned())].into();
            let values = vec![Value::string(id), Value::string(name)];
            row(&LIST, "*thing.Context", Some(labels), values)
        };
        vec![thing("1", "one"), thing("2", "<二>")]
    }

    fn check(asked: &str, quiet: bool, want: &str) {
        let result = LIST
            .format(asked, quiet)
            .and_then(|format| format.render(LIST.columns, &rows()));
        let got = result.unwrap_or_else(|error| error.to_string());
        assert_eq!(got, want, "{asked}");
    }

    #[test]
    fn formats_of_lists() {
        check(
            "",
            false,
            "THING ID   NAME\n1          one\n2          <二>\n",
        );
        check(
            "table",
            false,
            "THING ID   NAME\n1          one\n2          <二>\n",
        );
        check("", true, "1\n2\n");
        check("{{.Name}}", true, "one\n<二>\n");
        check("raw", false, "id: 1\nname: one\n\nid: 2\nname: <二>\n\n");
        check("raw", true, "id: 1\nid: 2\n");
        check("{{.ID}}\\t{{.Name}}\\n", false, "1\tone\n\n2\t<二>\n\n");
        check(
            "table {{.Name}}\\t{{.ID}}\\t{{.Name}}",
            false,
            "NAME      THING ID   NAME\none       1          one\n<二>      2          <二>\n",
        );
        check(
            "json",
            false,
            "{\"ID\":\"1\",\"Name\":\"one\"}\n{\"ID\":\"2\",\"Name\":\"\\u003c二\\u003e\"}\n",
        );
        check("{{json .Name}}", false, "\"one\"\n\"<二>\"\n");
        check("{{.Label \"a.b-c\"}}{{.Label \"x\"}}", false, "v\nv\n");
        check("table {{.Label \"a.b-c\"}}", false, "b c\nv\nv\n");
        check(
            "table {{upper .Name}}\\t{{json .ID}}\\t{{split .Name \"n\"}}\\t{{truncate .Name 1}}",
            false,
            "NAME      THING ID   NAME      NAME\nONE       \"1\"        [o e]     o\n<二>      \"2\"        [<二>]    <\n",
        );
        check("table {{pad .Name 1 0}}", false, " NAME\n one\n <二>\n");
        check("plain", false, "plain\nplain\n");
    }

    #[test]
    fn an_empty_table_has_its_first_line() {
        let format = LIST.format("", false).unwrap();
        assert_eq!(
            format.render(LIST.columns, &[]).unwrap(),
            "THING ID   NAME\n"
        );
        let format = LIST.format("json", false).unwrap();
        assert_eq!(format.render(LIST.columns, &[]).unwrap(), "");
    }

    #[test]
    fn errors_are_dockers() {
        check(
            "{{.Nope",
            false,
            "template parsing error: template: :1: unclosed action",
        );
        check(
            "{{.Nope}}",
            false,
            "template parsing error: template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type *thing.Context",
        );
        check(
            "{{.Label}}",
            false,
            "template parsing error: template: :1:2: executing \"\" at <.Label>: wrong number of args for Label: want 1 got 0",
        );
        check(
            "{{.ID 1}}",
            false,
            "template parsing error: template: :1:2: executing \"\" at <.ID>: wrong number of args for ID: want 0 got 1",
        );
    }

    #[test]
    fn json_for_people() {
        let document = serde_json::json!([{"b": "<&>\u{2028}", "a": [], "c": {}, "d": [1, null]}]);
        let want = "[\n    {\n        \"b\": \"<&>\\u2028\",\n        \"a\": [],\n        \"c\": {},\n        \"d\": [\n            1,\n            null\n        ]\n    }\n]";
        assert_eq!(pretty_json(&document).unwrap(), want);
        assert_eq!(
            compact_json(&document).unwrap(),
            "[{\"b\":\"<&>\\u2028\",\"a\":[],\"c\":{},\"d\":[1,null]}]"
        );
    }
}
