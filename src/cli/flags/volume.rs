//! `--volume`: `/ctr`, `name:/ctr[:options]`, `/host:/ctr[:options]`, `./relative:/ctr`.
//!
//! Only the form is checked here: whether names, paths and options are good is the engine's affair, since the API has the
//! same strings.

use std::path::{Component, Path, PathBuf};

use anyhow::Result;

use crate::error;

/// What an argument of `--volume` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Volume {
    /// An anonymous volume on this path.
    Anonymous(String),
    /// A bind or a named volume, in the form of the API.
    Bind(String),
}

/// Reads an argument of `--volume`; a source that begins with a dot is relative to `directory`.
///
/// Errors are of kind `Invalid`.
pub fn parse(text: &str, directory: &Path) -> Result<Volume> {
    let refuse = |why: &str| Err(error::invalid(format!("invalid spec: {text}: {why}")));
    if text.is_empty() {
        return Err(error::invalid("invalid empty volume spec"));
    }
    if text.len() <= 2 || !text.contains(':') {
        return Ok(Volume::Anonymous(text.to_owned()));
    }
    let sections = sections(text);
    if sections.iter().any(String::is_empty) {
        return refuse("empty section between colons");
    }
    if sections.len() > 3 {
        return refuse("too many colons");
    }
    match text.split_once(':') {
        Some((source, rest)) if source.starts_with('.') => {
            let absolute = absolute(directory, source);
            Ok(Volume::Bind(format!("{}:{rest}", absolute.display())))
        }
        _ => Ok(Volume::Bind(text.to_owned())),
    }
}

/// The parts between colons; docker takes a single letter for a Windows drive, so the colon after it divides nothing and
/// its daemon is left to complain.
fn sections(text: &str) -> Vec<String> {
    let mut sections = vec![String::new()];
    for c in text.chars() {
        let section = sections.last_mut().expect("there is always a section");
        let drive = section.chars().count() == 1 && section.chars().all(char::is_alphabetic);
        if c == ':' && !drive {
            sections.push(String::new());
        } else {
            section.push(c);
        }
    }
    sections
}

/// Returns `path` below `directory` without `.` and `..`, by its letters alone (Go's filepath.Abs).
pub fn absolute(directory: &Path, path: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in directory.join(path).components() {
        match component {
            Component::ParentDir => {
                clean.pop();
            }
            Component::Normal(name) => clean.push(name),
            _ => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: &Volume) {
        let got = parse(text, Path::new("/cwd/dir")).unwrap();
        assert_eq!(&got, want, "{text}");
    }

    fn bind(text: &str) -> Volume {
        Volume::Bind(text.to_owned())
    }

    #[test]
    fn forms() {
        check("/anon", &Volume::Anonymous("/anon".to_owned()));
        check("/x", &Volume::Anonymous("/x".to_owned()));
        check("rel", &Volume::Anonymous("rel".to_owned()));
        check("name:/ctr", &bind("name:/ctr"));
        check("/host:/ctr:ro,z", &bind("/host:/ctr:ro,z"));
        check("./rel:/ctr", &bind("/cwd/dir/rel:/ctr"));
        check(".:/ctr:ro", &bind("/cwd/dir:/ctr:ro"));
        check("../../../a/./b:/ctr", &bind("/a/b:/ctr"));
        check("~/x:/ctr", &bind("~/x:/ctr"));
        check("/x:rel", &bind("/x:rel"));
        check("a:b:c:d", &bind("a:b:c:d"));
        check("aa:b:c:d", &bind("aa:b:c:d"));
        check("x:/data", &bind("x:/data"));
        check("bad name:/x", &bind("bad name:/x"));
        check("C:\\x:/ctr", &bind("C:\\x:/ctr"));
    }

    #[test]
    fn bad_forms_are_refused_with_docker_texts() {
        for (text, want) in [
            ("", "invalid empty volume spec"),
            ("/a:", "invalid spec: /a:: empty section between colons"),
            (":/a", "invalid spec: :/a: empty section between colons"),
            (
                "/a::/b",
                "invalid spec: /a::/b: empty section between colons",
            ),
            ("aa:bb:cc:dd", "invalid spec: aa:bb:cc:dd: too many colons"),
        ] {
            let got = parse(text, Path::new("/")).unwrap_err().to_string();
            assert_eq!(got, want, "{text}");
        }
    }
}
