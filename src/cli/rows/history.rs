//! Rows of `history`.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{column, text};
use crate::cli::format::{self, List};
use crate::cli::human;
use crate::cli::template::value::{Column, Value};
use crate::docker::image::HistoryItem;

/// The columns and templates of `history`.
pub const LIST: List = List {
    columns: COLUMNS,
    table: r"{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    quiet: "{{.ID}}",
    raw: None,
    quiet_wins: false,
};

/// As [`LIST`], with `--human=false`: its first line says `CREATED AT`.
pub const LIST_EXACT: List = List {
    table: r"{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    ..LIST
};

const COLUMNS: &[Column] = &[
    column("ID", "IMAGE"),
    column("CreatedSince", "CREATED"),
    column("CreatedAt", "CREATED AT"),
    column("CreatedBy", "CREATED BY"),
    column("Size", "SIZE"),
    column("Comment", "COMMENT"),
];

/// The columns of a command.
const CREATED_BY_WIDTH: usize = 45;
/// 2000-01-01: reproducible builds say earlier times, which nobody wants to read.
const EPOCH: i64 = 946_684_800;

/// How the rows of a history are made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What "2 hours ago" counts from.
    pub now: Timestamp,
    /// `--no-trunc`
    pub whole: bool,
    /// `--human`: sizes and times for people.
    pub human: bool,
}

/// Returns the row of a step.
pub fn row(item: &HistoryItem, options: Options) -> Value {
    let created = Timestamp::from_second(item.created).unwrap_or(Timestamp::UNIX_EPOCH);
    let at = rfc3339(created);
    let since = match options.human {
        false => at.clone(),
        true if item.created <= EPOCH => "N/A".to_owned(),
        true => human::time::ago(created, options.now),
    };
    let by = item.created_by.replace('\t', " ");
    let by = if options.whole {
        by
    } else {
        human::text::ellipsis(&by, CREATED_BY_WIDTH)
    };
    let size = if options.human {
        human::size::bytes_short(item.size)
    } else {
        item.size.to_string()
    };
    let id = if options.whole {
        &item.id
    } else {
        human::text::short_id(&item.id)
    };
    let values = [id, &since, &at, &by, &size, &item.comment]
        .map(text)
        .to_vec();
    format::row(&LIST, "*image.historyContext", None, values)
}

/// RFC 3339 in the local zone, `Z` in UTC.
fn rfc3339(time: Timestamp) -> String {
    let zoned = time.to_zoned(TimeZone::system());
    if zoned.offset().is_zero() {
        zoned.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    } else {
        zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &List, human: bool, whole: bool, asked: &str, want: &str) {
        let item = HistoryItem {
            id: "<missing>".to_owned(),
            created: 1_763_633_472,
            created_by: "RUN /bin/sh -c set -x\t&& apt-get update && apt-get install -y x"
                .to_owned(),
            size: 1_980_000,
            comment: "buildkit.dockerfile.v0".to_owned(),
            ..HistoryItem::default()
        };
        let options = Options {
            now: Timestamp::from_second(1_763_633_472 + 100).unwrap(),
            whole,
            human,
        };
        let old = HistoryItem {
            created: 0,
            ..item.clone()
        };
        let rows = [row(&item, options), row(&old, options)];
        let got = list.format(asked, false).unwrap().render(COLUMNS, &rows);
        assert_eq!(got.unwrap(), want);
    }

    #[test]
    fn steps() {
        check(
            &LIST,
            true,
            false,
            "",
            "IMAGE       CREATED              CREATED BY                                      SIZE      COMMENT\n\
             <missing>   About a minute ago   RUN /bin/sh -c set -x && apt-get update && a…   1.98MB    buildkit.dockerfile.v0\n\
             <missing>   N/A                  RUN /bin/sh -c set -x && apt-get update && a…   1.98MB    buildkit.dockerfile.v0\n",
        );
        let at = rfc3339(Timestamp::from_second(1_763_633_472).unwrap());
        let old = rfc3339(Timestamp::UNIX_EPOCH);
        check(
            &LIST_EXACT,
            false,
            true,
            "{{.CreatedSince}} {{.Size}} {{.CreatedBy}}",
            &format!(
                "{at} 1980000 RUN /bin/sh -c set -x && apt-get update && apt-get install -y x\n\
                 {old} 1980000 RUN /bin/sh -c set -x && apt-get update && apt-get install -y x\n"
            ),
        );
    }
}
