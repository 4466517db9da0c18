//! `--filter`: values by key, and how they are matched.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use regex::Regex;

use crate::{docker, error};

/// Values by key. Several values of one key mean any of them, except for labels, all of which must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, BTreeSet<String>>);

impl Filters {
    /// Adds a value.
    pub fn add(&mut self, key: &str, value: &str) {
        self.0
            .entry(key.to_owned())
            .or_default()
            .insert(value.to_owned());
    }

    /// Refuses keys that are not in `known`; the error is of kind `Invalid`.
    pub fn check(&self, known: &[&str]) -> Result<()> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) if key.is_empty() => Err(error::invalid("invalid filter")),
            Some(key) => Err(error::invalid(format!("invalid filter '{key}'"))),
            None => Ok(()),
        }
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether a key was given.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Returns the values of a key.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// Returns whether a key was not given, or one of its values fulfils `test`.
    pub fn any(&self, key: &str, test: impl FnMut(&str) -> bool) -> bool {
        !self.has(key) || self.values(key).any(test)
    }

    /// Returns whether one of the values equals `text`, or there are none.
    pub fn equals(&self, key: &str, text: &str) -> bool {
        self.any(key, |value| value == text)
    }

    /// Returns whether one of the values is found in `text` as a regular expression, or there are none; a value that is no
    /// regular expression must equal.
    pub fn matches(&self, key: &str, text: &str) -> bool {
        self.any(key, |value| {
            value == text || Regex::new(value).is_ok_and(|regex| regex.is_match(text))
        })
    }

    /// Returns whether all values `name` or `name=value` of `key` fit the labels.
    pub fn labels(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.values(key).all(|wanted| match wanted.split_once('=') {
            Some((name, value)) => labels.get(name).is_some_and(|label| label == value),
            None => labels.contains_key(wanted),
        })
    }

    /// Returns a value that says yes or no, as `true`, `1`, `false`, `0`; the error is of kind `Invalid`.
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        let mut values = self.values(key);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let Some(flag) = docker::truth(value) else {
            return Err(error::invalid(format!("invalid filter '{key}=[{value}]'")));
        };
        if values.next().is_some() {
            return Err(error::invalid(format!(
                "got more than one value for filter key {key:?}"
            )));
        }
        Ok(Some(flag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(list: &[(&str, &str)]) -> Filters {
        let mut filters = Filters::default();
        for (key, value) in list {
            filters.add(key, value);
        }
        filters
    }

    #[test]
    fn values_of_a_key_are_alternatives_and_labels_are_not() {
        let both = filters(&[
            ("name", "^al"),
            ("name", "beta"),
            ("label", "a"),
            ("label", "b=1"),
        ]);
        assert!(
            both.matches("name", "alpha")
                && both.matches("name", "xbeta")
                && !both.matches("name", "gamma")
        );
        assert!(both.matches("other", "anything"));
        let labels = |list: &[(&str, &str)]| {
            list.iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect()
        };
        assert!(both.labels("label", &labels(&[("a", "x"), ("b", "1")])));
        assert!(!both.labels("label", &labels(&[("a", "x"), ("b", "2")])));
        assert!(!both.labels("label", &labels(&[("b", "1")])));
    }

    #[test]
    fn unknown_keys_and_flags_that_are_none_are_refused() {
        assert_eq!(
            filters(&[("x", "1")])
                .check(&["y"])
                .unwrap_err()
                .to_string(),
            "invalid filter 'x'"
        );
        assert_eq!(filters(&[("d", "true")]).flag("d").unwrap(), Some(true));
        assert_eq!(filters(&[("d", "0")]).flag("d").unwrap(), Some(false));
        assert_eq!(
            filters(&[("d", "x")]).flag("d").unwrap_err().to_string(),
            "invalid filter 'd=[x]'"
        );
        assert_eq!(filters(&[]).flag("d").unwrap(), None);
    }

    #[test]
    fn a_pattern_that_is_none_must_equal() {
        assert!(filters(&[("name", "a[")]).matches("name", "a["));
        assert!(!filters(&[("name", "a[")]).matches("name", "ab"));
    }
}
