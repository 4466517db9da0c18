//! The rows of list commands: plain data → the values of docker's columns.
//!
//! One file per list; each has its [`List`](crate::cli::format::List), what a row is made from, and a function that makes
//! it. Nothing here looks anything up: `now` and what to cut off are arguments.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::cli::human;
use crate::cli::template::value::{Column, Value};

pub mod containers;
pub mod disk_usage;
pub mod history;
pub mod images;
pub mod networks;
pub mod search;
pub mod stats;
pub mod volumes;

/// How the rows of containers and images are made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What "2 hours ago" counts from.
    pub now: Timestamp,
    /// Whether nothing is cut off (`--no-trunc`).
    pub whole: bool,
    /// Whether the column `CreatedAt` is looked at.
    pub created_at: bool,
}

pub(crate) const fn column(name: &'static str, header: &'static str) -> Column {
    Column { name, header }
}

pub(crate) fn text(text: impl AsRef<str>) -> Value {
    Value::string(text.as_ref())
}

/// A time in the local zone, if anybody looks at it: to know that zone, all of the system are looked through.
fn local_time(time: Timestamp, is_shown: bool) -> Value {
    let shown = Some(time).filter(|_| is_shown);
    text(shown.map(human::time::local_time).unwrap_or_default())
}

/// `k=v,k=v`, sorted.
fn joined(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}
