//! Where a copy goes and what it is called there: `cp`'s rules, as docker has them.
//!
//! Pure. Paths are told apart by their ends: `dir/` must be a directory, and `dir/.` is what is in it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// A path as it was written, cleaned by its letters alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Absolute, without `.` and `..`.
    pub path: PathBuf,
    /// Whether it ends in `/.`, or is `.`: the directory's content is meant.
    pub content: bool,
    /// Whether it must be a directory.
    pub directory: bool,
}

impl Written {
    /// Reads `text`, relative to the absolute `base`.
    pub(super) fn new(text: &Path, base: &Path) -> Written {
        let bytes = text.as_os_str().as_bytes();
        let last = bytes.rsplit(|b| *b == b'/').next().unwrap_or_default();
        let content = last == b".";
        let mut path = PathBuf::from("/");
        for component in base.join(text).components() {
            match component {
                Component::Normal(name) => path.push(name),
                Component::ParentDir => drop(path.pop()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        Written {
            path,
            content,
            directory: content || last.is_empty(),
        }
    }

    /// Returns the last name; empty for the root, and where the content is meant.
    pub(super) fn name(&self) -> &OsStr {
        if self.content {
            return OsStr::new("");
        }
        self.path.file_name().unwrap_or_default()
    }
}

/// What is to be copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct From<'a> {
    /// Its name; empty if it is the content of a directory.
    pub name: &'a OsStr,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// What there is where it goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum There {
    Nothing,
    Directory,
    File,
}

/// Where the copy is unpacked and how it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The directory that gets it.
    pub dir: PathBuf,
    /// Its name there; empty for what is in a directory.
    pub called: Vec<u8>,
}

/// Decides where `from` goes, if `to` leads to `there`; the error is the text that docker's client has for it.
pub(super) fn plan(from: From<'_>, to: &Written, there: There) -> Result<Plan, &'static str> {
    let parent = to.path.parent().unwrap_or(&to.path).to_owned();
    let renamed = |dir: PathBuf| Plan {
        dir,
        called: to.path.file_name().unwrap_or_default().as_bytes().to_vec(),
    };
    match there {
        There::Directory => Ok(Plan {
            dir: to.path.clone(),
            called: from.name.as_bytes().to_vec(),
        }),
        There::File if from.is_dir => Err("cannot copy directory"),
        There::File => Ok(renamed(parent)),
        There::Nothing if from.is_dir || !to.directory => Ok(renamed(parent)),
        There::Nothing => Err("no such directory"),
    }
}

/// Splits an argument of `cp` into a container and a path; a path of the host has a `/` or `.` before any colon, or no
/// colon.
pub fn split_argument(text: &str) -> (Option<&str>, &str) {
    if text.starts_with('/') {
        return (None, text);
    }
    match text.split_once(':') {
        Some((container, path)) if !container.starts_with('.') => {
            (Some(container).filter(|name| !name.is_empty()), path)
        }
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_paths_have_meanings() {
        let check = |text: &str, path: &str, content, directory, name: &str| {
            let written = Written::new(Path::new(text), Path::new("/base"));
            let want = Written {
                path: path.into(),
                content,
                directory,
            };
            assert_eq!(written, want, "{text}");
            assert_eq!(written.name(), name, "{text}");
        };
        check("a/b", "/base/a/b", false, false, "b");
        check("a/b/", "/base/a/b", false, true, "b");
        check("a/b/.", "/base/a/b", true, true, "");
        check(".", "/base", true, true, "");
        check("/", "/", false, true, "");
        check("../x/../y", "/y", false, false, "y");
        check("a/..", "/base", false, false, "base");
        check("", "/base", false, true, "base");
    }

    #[test]
    fn copies_go_where_docker_puts_them() {
        let check = |from: (&str, bool), to: &str, there, want: Result<(&str, &str), &str>| {
            let from = From {
                name: OsStr::new(from.0),
                is_dir: from.1,
            };
            let to = Written::new(Path::new(to), Path::new("/"));
            let got = plan(from, &to, there);
            let want = want.map(|(dir, called)| Plan {
                dir: dir.into(),
                called: called.as_bytes().to_vec(),
            });
            assert_eq!(got, want, "{from:?} {to:?}");
        };
        check(("f", false), "/d", There::Directory, Ok(("/d", "f")));
        check(("f", false), "/d/g", There::File, Ok(("/d", "g")));
        check(("f", false), "/d/g", There::Nothing, Ok(("/d", "g")));
        check(
            ("f", false),
            "/d/g/",
            There::Nothing,
            Err("no such directory"),
        );
        check(("s", true), "/d", There::Directory, Ok(("/d", "s")));
        check(("", true), "/d", There::Directory, Ok(("/d", "")));
        check(("s", true), "/d/n", There::Nothing, Ok(("/d", "n")));
        check(("", true), "/d/n", There::Nothing, Ok(("/d", "n")));
        check(("s", true), "/d/n/", There::Nothing, Ok(("/d", "n")));
        check(
            ("s", true),
            "/d/f",
            There::File,
            Err("cannot copy directory"),
        );
    }

    #[test]
    fn arguments_name_a_container_or_not() {
        for (text, want) in [
            ("web:/x", (Some("web"), "/x")),
            ("web:x", (Some("web"), "x")),
            ("/a:b", (None, "/a:b")),
            ("./a:b", (None, "./a:b")),
            ("ab", (None, "ab")),
            ("-", (None, "-")),
        ] {
            assert_eq!(split_argument(text), want);
        }
    }
}
