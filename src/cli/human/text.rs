//! Texts that are cut to a width, identifiers that are cut to twelve digits, and names in the order of the numbers in them.

use std::cmp::Ordering;

use unicode_width::UnicodeWidthChar as _;

use crate::cli::strconv::quote;

/// The columns of the COMMAND column, without its quotes.
const COMMAND_WIDTH: usize = 20;
/// The digits of a short identifier.
const SHORT: usize = 12;

/// Returns the first twelve digits of an identifier, without its algorithm: `sha256:ab…` and `ab…` alike.
pub fn short_id(id: &str) -> &str {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits
        .char_indices()
        .nth(SHORT)
        .map_or(digits, |(end, _)| &digits[..end])
}

/// Returns `text` if it fits into `width` columns, else its start and `…`; wide characters take two columns.
pub fn ellipsis(text: &str, width: usize) -> String {
    let columns = |c: char| c.width().unwrap_or(0).max(1);
    let total: usize = text.chars().map(columns).sum();
    if total <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += columns(c);
        if used + 1 > width {
            break;
        }
        out.push(c);
    }
    if width > 0 {
        out.push('…');
    }
    out
}

/// Compares names as people do: digits that follow one another are a number, so that `n2` comes before `n10`.
pub fn natural(one: &str, other: &str) -> Ordering {
    let (mut a, mut b) = (one, other);
    loop {
        let (number, other_number) = (digits(a), digits(b));
        let order = if number.is_empty() || other_number.is_empty() {
            let next = (a.chars().next(), b.chars().next());
            let width = |c: Option<char>| c.map_or(0, char::len_utf8);
            (a, b) = (&a[width(next.0)..], &b[width(next.1)..]);
            if next == (None, None) {
                return one.cmp(other);
            }
            next.0.cmp(&next.1)
        } else {
            (a, b) = (&a[number.len()..], &b[other_number.len()..]);
            let value = |digits: &str| {
                let digits = digits.trim_start_matches('0').to_owned();
                (digits.len(), digits)
            };
            value(number).cmp(&value(other_number))
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// The digits that a text begins with.
fn digits(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit());
    &text[..end.unwrap_or(text.len())]
}

/// Returns a command line as the COMMAND column shows it: cut, unless all of it is wanted, and quoted.
pub fn command_column(command: &str, whole: bool) -> String {
    if whole {
        quote::quote(command)
    } else {
        quote::quote(&ellipsis(command, COMMAND_WIDTH))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_cut_to_twelve() {
        let id = "0123456789abcdef";
        assert_eq!(short_id(id), "0123456789ab");
        assert_eq!(short_id(&format!("sha256:{id}")), "0123456789ab");
        assert_eq!(short_id("<missing>"), "<missing>");
        assert_eq!(short_id(""), "");
    }

    #[test]
    fn texts_are_cut_by_columns() {
        for (text, width, want) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("ab", 1, "…"),
            ("ab", 0, ""),
            ("世界", 4, "世界"),
            ("世界人", 4, "世…"),
            ("世界人", 5, "世界…"),
            ("aé世", 4, "aé世"),
            ("带VIM的镜像", 8, "带VIM的…"),
        ] {
            assert_eq!(ellipsis(text, width), want, "{text} {width}");
        }
    }

    #[test]
    fn numbers_in_names_count() {
        let order = [
            "", "1a", "a", "a1", "a1b", "a01c", "a2", "a10", "a10b2", "a10b10", "ab", "b", "é",
        ];
        for (place, one) in order.iter().enumerate() {
            for (other_place, other) in order.iter().enumerate() {
                let want = place.cmp(&other_place);
                assert_eq!(natural(one, other), want, "{one:?} {other:?}");
            }
        }
        assert_eq!(natural("a01", "a1"), Ordering::Less);
    }

    #[test]
    fn commands_are_quoted_after_the_cut() {
        for (command, short, whole) in [
            ("sleep 100", r#""sleep 100""#, r#""sleep 100""#),
            (
                "sleep 1000000000000000000",
                r#""sleep 1000000000000…""#,
                r#""sleep 1000000000000000000""#,
            ),
            (
                r#"sh -c 'echo "a b"; sleep 100'"#,
                r#""sh -c 'echo \"a b\"; …""#,
                r#""sh -c 'echo \"a b\"; sleep 100'""#,
            ),
            ("", r#""""#, r#""""#),
        ] {
            assert_eq!(command_column(command, false), short);
            assert_eq!(command_column(command, true), whole);
        }
    }
}
