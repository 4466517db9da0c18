//! The rows of list commands: plain data → the values of docker's columns.
//!
//! One file per list; each has its [`List`](crate::cli::format::List), what a row is made from, and a function that makes
//! it. Nothing here looks anything up: `now` and what to cut off are arguments.

use std::collections::BTreeMap;

use crate::cli::template::value::{Column, Value};

pub mod containers;
pub mod disk_usage;
pub mod history;
pub mod images;
pub mod networks;
pub mod search;
pub mod stats;
pub mod volumes;

pub(crate) const fn column(name: &'static str, header: &'static str) -> Column {
    Column { name, header }
}

pub(crate) fn text(text: impl AsRef<str>) -> Value {
    Value::string(text.as_ref())
}

/// `k=v,k=v`, sorted.
fn joined(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}
