//! Rows of `search`.

use std::rc::Rc;

use super::{column, text};
use crate::cli::format::List;
use crate::cli::human;
use crate::cli::template::value::{Column, Row, Value};
use crate::registry::search::Found;

/// The columns and templates of `search`.
pub const LIST: List = List {
    columns: COLUMNS,
    table: r"{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
    quiet: "{{.Name}}",
    raw: None,
    quiet_wins: false,
};

const COLUMNS: &[Column] = &[
    column("Name", "NAME"),
    column("Description", "DESCRIPTION"),
    column("StarCount", "STARS"),
    column("IsOfficial", "OFFICIAL"),
];

/// The columns of a description.
const DESCRIPTION_WIDTH: usize = 45;

/// Returns the row of an answer; `whole` is `--no-trunc`.
pub fn row(found: &Found, whole: bool) -> Value {
    let description = found.description.as_deref().unwrap_or_default();
    let description = description.replace(['\n', '\r'], " ");
    let description = if whole {
        description
    } else {
        human::text::ellipsis(&description, DESCRIPTION_WIDTH)
    };
    let official = if found.is_official { "[OK]" } else { "" };
    Value::Row(Rc::new(Row {
        type_name: "*registry.searchContext",
        columns: COLUMNS,
        values: vec![
            text(&found.name),
            text(description),
            text(found.star_count.to_string()),
            text(official),
        ],
        labels: None,
        in_json: vec![("IsOfficial", text(found.is_official.to_string()))],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let official = Found {
            name: "httpd".to_owned(),
            description: Some(
                "The Apache HTTP\nServer Project, which is a long description".to_owned(),
            ),
            star_count: 4000,
            is_official: true,
            is_automated: false,
        };
        let other = Found {
            name: "me/httpd".to_owned(),
            ..Found::default()
        };
        let check = |asked: &str, want: &str| {
            let rows = [row(&official, false), row(&other, false)];
            let got = LIST.format(asked, false).unwrap().render(COLUMNS, &rows);
            assert_eq!(got.unwrap(), want);
        };
        check(
            "",
            "NAME       DESCRIPTION                                     STARS     OFFICIAL\n\
             httpd      The Apache HTTP Server Project, which is a l…   4000      [OK]\n\
             me/httpd                                                   0         \n",
        );
        check(
            "{{json .}}",
            "{\"Description\":\"The Apache HTTP Server Project, which is a l…\",\"IsOfficial\":\"true\",\"Name\":\"httpd\",\"StarCount\":\"4000\"}\n\
             {\"Description\":\"\",\"IsOfficial\":\"false\",\"Name\":\"me/httpd\",\"StarCount\":\"0\"}\n",
        );
    }
}
