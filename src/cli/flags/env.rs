//! `--env`, `--env-file`, `--label` and `--label-file`.
//!
//! Lines of a file are taken as they are: no quotes, no expansion, comments at the start of a line only.

use std::collections::BTreeMap;
use std::io::{self, Read as _};

use anyhow::Result;

use crate::error;

/// The longest line of a file; docker has the same limit.
const LINE_MAX: usize = 64 * 1024;
/// The largest file of variables or labels.
const FILE_MAX: u64 = 16 << 20;

/// How to look up a variable of the caller.
pub type LookUp<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Checks an argument of `--env`: it has a name.
pub fn check(text: &str) -> Result<String> {
    if text.is_empty() || text.starts_with('=') {
        return Err(error::invalid(format!(
            "invalid environment variable: {text}"
        )));
    }
    Ok(text.to_owned())
}

/// Returns the variables of the files and then those of the arguments, so that arguments win.
///
/// `NAME` alone takes the caller's value; without one, an argument stays as it is, which removes the image's variable,
/// and a line of a file is left out.
pub fn environment(
    files: &[String],
    arguments: &[String],
    look_up: LookUp<'_>,
) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for file in files {
        for line in read(file)? {
            if line.contains('=') {
                all.push(line);
            } else if let Some(value) = look_up(&line) {
                all.push(format!("{line}={value}"));
            }
        }
    }
    let mut given: Vec<String> = Vec::new();
    for argument in arguments {
        let named = !argument.contains('=');
        let variable = match named.then(|| look_up(argument)).flatten() {
            Some(value) => format!("{argument}={value}"),
            None => argument.clone(),
        };
        let name = |text: &str| text.split('=').next().map(str::to_owned);
        // The last argument of a name counts.
        match given
            .iter_mut()
            .find(|other| name(other) == name(&variable))
        {
            Some(other) => *other = variable,
            None => given.push(variable),
        }
    }
    all.extend(given);
    Ok(all)
}

/// Returns the labels of the files and of the arguments, which win; `NAME` alone is empty, and no label in a file.
pub fn labels(files: &[String], arguments: &[String]) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    let mut add = |text: &str| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        all.insert(key.to_owned(), value.to_owned());
    };
    for file in files {
        let lines = read(file)?;
        lines
            .iter()
            .filter(|line| line.contains('='))
            .for_each(|line| add(line));
    }
    for argument in arguments {
        add(argument);
    }
    Ok(all)
}

/// The lines of a file that say something.
fn read(path: &str) -> Result<Vec<String>> {
    let file = std::fs::File::open(path).map_err(|why| error::invalid(opened(path, &why)))?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut bytes).map_err(|why| {
        error::invalid(format!(
            "invalid env file ({path}): read {path}: {}",
            error::text(&why)
        ))
    })?;
    parse(&bytes).map_err(|why| error::invalid(format!("invalid env file ({path}): {why}")))
}

/// What Go says of a file that cannot be opened.
pub(super) fn opened(path: &str, why: &io::Error) -> String {
    format!("open {path}: {}", error::text(why))
}

fn parse(bytes: &[u8]) -> Result<Vec<String>, String> {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let mut lines = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > LINE_MAX {
            return Err("bufio.Scanner: token too long".to_owned());
        }
        let Ok(text) = std::str::from_utf8(line) else {
            let number = index + 1;
            let bytes: Vec<String> = line.iter().map(ToString::to_string).collect();
            let bytes = bytes.join(" ");
            return Err(format!("invalid utf8 bytes at line {number}: [{bytes}]"));
        };
        let text = text.trim_start();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let key = text.split('=').next().unwrap_or_default();
        if key.is_empty() {
            return Err(format!("no variable name on line '{text}'"));
        }
        if key.contains([' ', '\t']) {
            return Err(format!("variable '{key}' contains whitespaces"));
        }
        lines.push(text.to_owned());
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_up(name: &str) -> Option<String> {
        (name == "HOST").then(|| "here".to_owned())
    }

    fn environment_of(files: &[String], arguments: &[&str]) -> Vec<String> {
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        environment(files, &arguments, &look_up).unwrap()
    }

    #[test]
    fn lines_are_taken_as_they_are() {
        let text = "\u{feff}# comment\nX=1\n  Y=a b \nZ\r\n\nQ=\"q\" # no comment\nE=\n#=x\n";
        assert_eq!(
            parse(text.as_bytes()).unwrap(),
            ["X=1", "Y=a b ", "Z", "Q=\"q\" # no comment", "E="]
        );
        for (text, want) in [
            (&b"A B=1"[..], "variable 'A B' contains whitespaces"),
            (b"A =1", "variable 'A ' contains whitespaces"),
            (b"=1", "no variable name on line '=1'"),
            (b"A=1\n\xff\xfe", "invalid utf8 bytes at line 2: [255 254]"),
        ] {
            assert_eq!(parse(text).unwrap_err(), want);
        }
        let long = format!("A={}", "x".repeat(LINE_MAX));
        assert_eq!(
            parse(long.as_bytes()).unwrap_err(),
            "bufio.Scanner: token too long"
        );
    }

    #[test]
    fn names_alone_take_the_callers_value() {
        assert_eq!(
            environment_of(&[], &["A=1", "HOST", "NOT", "B=x=y"]),
            ["A=1", "HOST=here", "NOT", "B=x=y"]
        );
        // The last one of a name counts.
        assert_eq!(
            environment_of(&[], &["HOST", "A=1", "A=2", "NOT", "HOST=", "NOT=x"]),
            ["HOST=", "A=2", "NOT=x"]
        );
        let dir = std::env::temp_dir().join(format!("aril-env-{}", std::process::id()));
        std::fs::write(&dir, "HOST\nNOT\nC=3\n").unwrap();
        let file = dir.to_str().unwrap().to_owned();
        let got = environment_of(std::slice::from_ref(&file), &["C=4"]);
        let labels = labels(&[file], &["k=v".to_owned(), "alone".to_owned()]).unwrap();
        std::fs::remove_file(&dir).unwrap();
        assert_eq!(got, ["HOST=here", "C=3", "C=4"]);
        assert_eq!(
            labels.into_iter().collect::<Vec<_>>(),
            [("C", "3"), ("alone", ""), ("k", "v")].map(|(k, v)| (k.to_owned(), v.to_owned()))
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = environment(&["/nosuch".to_owned()], &[], &look_up).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "open /nosuch: no such file or directory"
        );
        assert_eq!(
            check("=x").unwrap_err().to_string(),
            "invalid environment variable: =x"
        );
        assert!(check("A").is_ok() && check("A=").is_ok() && check("").is_err());
    }
}
