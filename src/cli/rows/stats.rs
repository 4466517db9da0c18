//! Rows of `stats`.

use super::{column, text};
use crate::cli::format::{self, List};
use crate::cli::human;
use crate::cli::template::value::{Column, Value};

/// The columns and templates of `stats`.
pub const LIST: List = List {
    columns: COLUMNS,
    table: r"{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
    quiet: "{{.ID}}",
    raw: None,
    quiet_wins: false,
};

const COLUMNS: &[Column] = &[
    column("Container", "CONTAINER"),
    column("Name", "NAME"),
    column("ID", "CONTAINER ID"),
    column("CPUPerc", "CPU %"),
    column("MemUsage", "MEM USAGE / LIMIT"),
    column("MemPerc", "MEM %"),
    column("NetIO", "NET I/O"),
    column("BlockIO", "BLOCK I/O"),
    column("PIDs", "PIDS"),
];

const NONE: &str = "--";

/// Which container a row is about.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// As the user wrote it; the id if the user named none.
    pub container: String,
    /// Without the leading `/`.
    pub name: String,
    /// 64 hexadecimal digits.
    pub id: String,
}

/// What a container uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Of one CPU, in percent: two busy CPUs are 200.
    pub cpu_percent: f64,
    /// Bytes.
    pub memory: i64,
    /// Bytes; all memory of the machine if there is no limit.
    pub memory_limit: i64,
    /// Bytes that came in by the network.
    pub network_received: i64,
    /// Bytes that went out by the network.
    pub network_sent: i64,
    /// Bytes read from block devices.
    pub block_read: i64,
    /// Bytes written to block devices.
    pub block_written: i64,
    /// Tasks.
    pub pids: u64,
}

/// Returns the row of a container; `None` if there is nothing to say of it, `whole` is `--no-trunc`.
pub fn row(subject: &Subject, usage: Option<&Usage>, whole: bool) -> Value {
    let id = if whole {
        &subject.id
    } else {
        human::text::short_id(&subject.id)
    };
    let name = if subject.name.is_empty() {
        NONE
    } else {
        &subject.name
    };
    let pair = |a: i64, b: i64| {
        format!(
            "{} / {}",
            human::size::bytes_short(a),
            human::size::bytes_short(b)
        )
    };
    let mut values = vec![text(&subject.container), text(name), text(id)];
    match usage {
        None => values.extend([NONE, "-- / --", NONE, NONE, NONE, NONE].map(text)),
        Some(usage) => values.extend(
            [
                percent(usage.cpu_percent),
                format!(
                    "{} / {}",
                    human::size::bytes_binary(usage.memory),
                    human::size::bytes_binary(usage.memory_limit)
                ),
                percent(share(usage.memory, usage.memory_limit)),
                pair(usage.network_received, usage.network_sent),
                pair(usage.block_read, usage.block_written),
                usage.pids.to_string(),
            ]
            .map(text),
        ),
    }
    format::row(&LIST, "*container.statsContext", None, values)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "two decimals of a percentage are printed"
)]
fn share(part: i64, whole: i64) -> f64 {
    match whole {
        0 => 0.0,
        whole => part as f64 / whole as f64 * 100.0,
    }
}

fn percent(value: f64) -> String {
    format!("{value:.2}%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage() {
        let subject = Subject {
            container: "web".to_owned(),
            name: "web".to_owned(),
            id: "4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2".to_owned(),
        };
        let usage = Usage {
            cpu_percent: 12.345,
            memory: 16 << 20,
            memory_limit: 64 << 20,
            network_received: 1_500,
            network_sent: 0,
            block_read: 999_999,
            block_written: 4096,
            pids: 3,
        };
        let rows = [
            row(&subject, Some(&usage), false),
            row(&Subject::default(), None, false),
        ];
        let got = LIST
            .format("", false)
            .unwrap()
            .render(COLUMNS, &rows)
            .unwrap();
        assert_eq!(
            got,
            "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O      BLOCK I/O     PIDS\n\
             4fa6e0f0c678   web       12.35%    16MiB / 64MiB       25.00%    1.5kB / 0B   1MB / 4.1kB   3\n               \
             --        --        -- / --             --        --           --            --\n"
        );
    }
}
