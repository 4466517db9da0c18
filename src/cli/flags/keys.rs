//! `--detach-keys`: the keys that leave a container without ending it.

use anyhow::Result;

use crate::error;

/// What leaves a container if nobody says otherwise: ctrl-p ctrl-q.
pub const DEFAULT: [u8; 2] = [16, 17];

const DELETE: u8 = 127;

/// Reads a sequence of keys, each a character or `ctrl-` and one of `a`–`z @ [ \ ] ^ _`: `ctrl-p,ctrl-q`, `x`.
///
/// Returns the bytes that a terminal sends. Errors are of kind `Invalid`.
pub fn parse(text: &str) -> Result<Vec<u8>> {
    text.split(',')
        .map(|key| match key.as_bytes() {
            [byte] => Ok(*byte),
            b"DEL" => Ok(DELETE),
            [b'c', b't', b'r', b'l', b'-', letter] => {
                control(*letter).ok_or_else(|| refuse(text, key))
            }
            _ => Err(refuse(text, key)),
        })
        .collect()
}

fn control(letter: u8) -> Option<u8> {
    match letter {
        b'a'..=b'z' => Some(letter - b'a' + 1),
        b'@' | b'['..=b'_' => Some(letter - b'@'),
        _ => None,
    }
}

fn refuse(text: &str, key: &str) -> anyhow::Error {
    let message = format!("Invalid detach keys ({text}) provided: Unknown character: '{key}'");
    let hint = "keys are characters or ctrl-LETTER with commas between them: ctrl-p,ctrl-q";
    error::with_hint(error::invalid(message), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_bytes_of_a_terminal() {
        for (text, want) in [
            ("ctrl-p,ctrl-q", &DEFAULT[..]),
            ("a", b"a"),
            ("ctrl-@", &[0]),
            ("ctrl-a,x,ctrl-z", &[1, b'x', 26]),
            ("ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", &[27, 28, 29, 30, 31]),
            ("DEL", &[127]),
        ] {
            assert_eq!(parse(text).unwrap(), want, "{text}");
        }
        for text in ["", "ctrl-", "ctrl-A", "ab", "a,,b", "ctrl-p,é", "ctrl-1"] {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().starts_with(&format!(
                "Invalid detach keys ({text}) provided: Unknown character: '"
            )));
        }
    }
}
