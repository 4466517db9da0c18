//! Texts that are cut to a width, and identifiers that are cut to twelve digits.

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
