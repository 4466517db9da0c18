//! Words of a Dockerfile's line: quotes, escapes and variables.

use anyhow::{Result, bail};

/// Cuts a line into words at blanks outside quotes; quotes and escapes stay in the words.
pub(super) fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_default();
        word.push(c);
        match (quote, c) {
            (None | Some('"'), '\\') => word.extend(chars.next()),
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    words.extend(word);
    words
}

/// Returns what a word stands for: without its quotes and escapes, with the values of its variables.
///
/// `env` has entries `NAME=VALUE`, of which the last of a name counts.
pub(super) fn expand(word: &str, env: &[String]) -> Result<String> {
    let mut expansion = Expansion {
        chars: word.chars().peekable(),
        env,
    };
    expansion.until(None)
}

struct Expansion<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    env: &'a [String],
}

impl Expansion<'_> {
    /// Expands up to `end`, which is taken too, or to the end of the word.
    fn until(&mut self, end: Option<char>) -> Result<String> {
        let mut out = String::new();
        while let Some(c) = self.chars.next() {
            match c {
                c if Some(c) == end => return Ok(out),
                '\'' => self.single(&mut out)?,
                '"' => self.double(&mut out)?,
                '\\' => out.extend(self.chars.next()),
                '$' => out.push_str(&self.variable()?),
                c => out.push(c),
            }
        }
        if end.is_some() {
            bail!("syntax error: missing '}}'");
        }
        Ok(out)
    }

    fn single(&mut self, out: &mut String) -> Result<()> {
        for c in self.chars.by_ref() {
            if c == '\'' {
                return Ok(());
            }
            out.push(c);
        }
        bail!("unexpected end of statement while looking for matching single-quote")
    }

    fn double(&mut self, out: &mut String) -> Result<()> {
        while let Some(c) = self.chars.next() {
            match c {
                '"' => return Ok(()),
                '$' => out.push_str(&self.variable()?),
                // Only these lose their backslash inside quotes.
                '\\' => match self.chars.next() {
                    Some(c @ ('"' | '$' | '\\')) => out.push(c),
                    Some(c) => out.extend(['\\', c]),
                    None => out.push('\\'),
                },
                c => out.push(c),
            }
        }
        bail!("unexpected end of statement while looking for matching double-quote")
    }

    fn variable(&mut self) -> Result<String> {
        if self.chars.peek() != Some(&'{') {
            let name = self.name();
            return Ok(match name.as_str() {
                // A lone dollar is one.
                "" => "$".to_owned(),
                name => self.value(name).unwrap_or_default(),
            });
        }
        self.chars.next();
        let name = self.name();
        if name.is_empty() {
            bail!("bad substitution");
        }
        let value = self.value(&name);
        match self.chars.next() {
            Some('}') => Ok(value.unwrap_or_default()),
            Some(':') => {
                let operator = self.chars.next();
                self.operator(operator, &name, value.filter(|value| !value.is_empty()))
            }
            operator => self.operator(operator, &name, value),
        }
    }

    fn operator(
        &mut self,
        operator: Option<char>,
        name: &str,
        value: Option<String>,
    ) -> Result<String> {
        let Some(operator @ ('-' | '+' | '?')) = operator else {
            bail!("unsupported modifier in the substitution of {name:?}");
        };
        let word = self.until(Some('}'))?;
        match (operator, value) {
            ('-', value) => Ok(value.unwrap_or(word)),
            ('+', value) => Ok(value.map(|_| word).unwrap_or_default()),
            (_, Some(value)) => Ok(value),
            (_, None) if word.is_empty() => bail!("{name}: not allowed to be unset"),
            (_, None) => bail!("{name}: {word}"),
        }
    }

    /// A name of letters, digits and underscores, or one digit.
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.chars.peek().copied() {
            if !(c.is_ascii_alphanumeric() || c == '_') {
                break;
            }
            name.push(c);
            self.chars.next();
            if name.len() == 1 && c.is_ascii_digit() {
                break;
            }
        }
        name
    }

    fn value(&self, name: &str) -> Option<String> {
        let mut entries = self.env.iter().rev();
        entries.find_map(|entry| {
            let (known, value) = entry.split_once('=').unwrap_or((entry, ""));
            (known == name).then(|| value.to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_outside_quotes() {
        let check = |line: &str, words: &[&str]| assert_eq!(split(line), words, "{line}");
        check("", &[]);
        check("  a  b\tc ", &["a", "b", "c"]);
        check(
            "a=\"x y\" b='p q' c=1\\ 2",
            &["a=\"x y\"", "b='p q'", "c=1\\ 2"],
        );
        check("a=\"x\\\" y\"", &["a=\"x\\\" y\""]);
        check("'a\\' b", &["'a\\'", "b"]);
    }

    #[test]
    fn variables_quotes_and_escapes() {
        let env = ["A=1".to_owned(), "E=".to_owned(), "A=2".to_owned()];
        let check = |word: &str, expected: &str| {
            assert_eq!(expand(word, &env).unwrap(), expected, "{word}");
        };
        check("plain", "plain");
        check("$A-${A}x$Ax", "2-2x");
        check("'$A' \"$A\" \\$A \"\\$A \\n\"", "$A 2 $A $A \\n");
        check("${N:-d} ${E:-d} ${E-d} ${A:-d}", "d d  2");
        check("${N:+s} ${E:+s} ${E+s} ${A:+s}", "  s s");
        check("${N:-${A}}", "2");
        check("${A:?no}$", "2$");
        check("$1x", "x");
        for bad in ["${A", "${}", "${A%x}", "${N:?gone}", "'x", "\"x", "${N:-x"] {
            assert!(expand(bad, &env).is_err(), "{bad}");
        }
        assert_eq!(
            expand("${N:?gone}", &env).unwrap_err().to_string(),
            "N: gone"
        );
    }
}
