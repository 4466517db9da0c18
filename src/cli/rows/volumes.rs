//! Rows of `volume ls`.

use super::{column, joined, text};
use crate::cli::format::{self, List};
use crate::cli::human;
use crate::cli::template::value::{Column, Value};
use crate::docker::system::Volume;

/// The columns and templates of `volume ls`.
pub const LIST: List = List {
    columns: COLUMNS,
    table: r"{{.Driver}}\t{{.Name}}",
    quiet: "{{.Name}}",
    raw: Some([r"name: {{.Name}}\ndriver: {{.Driver}}\n", "name: {{.Name}}"]),
    quiet_wins: false,
};

const COLUMNS: &[Column] = &[
    column("Name", "VOLUME NAME"),
    column("Group", "GROUP"),
    column("Driver", "DRIVER"),
    column("Scope", "SCOPE"),
    column("Availability", "AVAILABILITY"),
    column("Mountpoint", "MOUNTPOINT"),
    column("Labels", "LABELS"),
    column("Links", "LINKS"),
    column("Size", "SIZE"),
    column("Status", "STATUS"),
];

/// How much a volume is used; only `system df` counts it.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Containers that use it.
    pub links: u64,
    /// Bytes.
    pub size: i64,
}

/// Returns the row of a volume.
pub fn row(volume: &Volume, usage: Option<Usage>) -> Value {
    let none = || "N/A".to_owned();
    let labels = volume.labels.clone().unwrap_or_default();
    let values = vec![
        text(&volume.name),
        text(none()),
        text(&volume.driver),
        text(&volume.scope),
        text(none()),
        text(&volume.mountpoint),
        text(joined(&labels)),
        text(usage.map_or_else(none, |usage| usage.links.to_string())),
        text(usage.map_or_else(none, |usage| human::size::bytes_decimal(usage.size))),
        text(none()),
    ];
    format::row(&LIST, "*formatter.volumeContext", Some(labels), values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes() {
        let volume = Volume {
            name: "v1".to_owned(),
            driver: "local".to_owned(),
            scope: "local".to_owned(),
            mountpoint: "/v/v1/_data".to_owned(),
            labels: Some([("a".to_owned(), "b".to_owned())].into()),
            ..Volume::default()
        };
        let check = |asked: &str, quiet: bool, want: &str| {
            let rows = [row(&volume, None)];
            let got = LIST.format(asked, quiet).unwrap().render(COLUMNS, &rows);
            assert_eq!(got.unwrap(), want);
        };
        check("", false, "DRIVER    VOLUME NAME\nlocal     v1\n");
        check("", true, "v1\n");
        check("raw", false, "name: v1\ndriver: local\n\n");
        check(
            "json",
            false,
            "{\"Availability\":\"N/A\",\"Driver\":\"local\",\"Group\":\"N/A\",\"Labels\":\"a=b\",\"Links\":\"N/A\",\"Mountpoint\":\"/v/v1/_data\",\"Name\":\"v1\",\"Scope\":\"local\",\"Size\":\"N/A\",\"Status\":\"N/A\"}\n",
        );
        let usage = Usage {
            links: 2,
            size: 1500,
        };
        let got = LIST
            .format("{{.Links}} {{.Size}} {{.Label \"a\"}}", false)
            .unwrap();
        let got = got.render(COLUMNS, &[row(&volume, Some(usage))]).unwrap();
        assert_eq!(got, "2 1.5kB b\n");
    }
}
