//! Rows of `network ls`.

use std::collections::BTreeMap;

use super::{column, joined, text};
use crate::cli::format::{self, List};
use crate::cli::human;
use crate::cli::template::value::{Column, Value};

/// The columns and templates of `network ls`.
pub const LIST: List = List {
    columns: COLUMNS,
    table: r"{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    quiet: "{{.ID}}",
    raw: Some([
        r"network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n",
        "network_id: {{.ID}}",
    ]),
    quiet_wins: false,
};

const COLUMNS: &[Column] = &[
    column("ID", "NETWORK ID"),
    column("Name", "NAME"),
    column("Driver", "DRIVER"),
    column("Scope", "SCOPE"),
    column("IPv4", "IPV4"),
    column("IPv6", "IPV6"),
    column("Internal", "INTERNAL"),
    column("Labels", "LABELS"),
    column("CreatedAt", "CREATED AT"),
];

/// What a row is made from.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `bridge`, `host`, `null`.
    pub driver: String,
    /// Always `local`.
    pub scope: String,
    /// Whether it has IPv4 addresses.
    pub ipv4: bool,
    /// Whether it has IPv6 addresses.
    pub ipv6: bool,
    /// Whether it has no way out.
    pub internal: bool,
    /// Metadata.
    pub labels: BTreeMap<String, String>,
    /// When it was made, RFC 3339 with nanoseconds.
    pub created: String,
}

/// Returns the row of a network; `whole` is `--no-trunc`.
pub fn row(network: &Network, whole: bool) -> Value {
    let id = if whole {
        &network.id
    } else {
        human::text::short_id(&network.id)
    };
    let values = vec![
        text(id),
        text(&network.name),
        text(&network.driver),
        text(&network.scope),
        text(network.ipv4.to_string()),
        text(network.ipv6.to_string()),
        text(network.internal.to_string()),
        text(joined(&network.labels)),
        text(human::time::go_time(&network.created)),
    ];
    let labels = Some(network.labels.clone());
    format::row(&LIST, "*network.networkContext", labels, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let network = Network {
            id: "4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2".to_owned(),
            name: "bridge".to_owned(),
            driver: "bridge".to_owned(),
            scope: "local".to_owned(),
            ipv4: true,
            created: "2025-11-20T10:11:12.5Z".to_owned(),
            ..Network::default()
        };
        let check = |asked: &str, want: &str| {
            let rows = [row(&network, false)];
            let got = LIST.format(asked, false).unwrap().render(COLUMNS, &rows);
            assert_eq!(got.unwrap(), want);
        };
        check(
            "",
            "NETWORK ID     NAME      DRIVER    SCOPE\n4fa6e0f0c678   bridge    bridge    local\n",
        );
        check(
            "{{.IPv4}} {{.IPv6}} {{.Internal}} {{.Labels}} {{.CreatedAt}}",
            "true false false  2025-11-20 10:11:12.5 +0000 UTC\n",
        );
    }
}
