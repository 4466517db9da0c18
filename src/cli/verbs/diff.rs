//! `diff`: which paths a container has changed, and with `--content` how.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::Result;
use rustix::fs::FileType;

use super::{engine, volume};
use crate::cli::command::{self, Context};
use crate::cli::commands::inspect::DiffArgs;
use crate::cli::face::Failed;
use crate::cli::output;
use crate::engine::commit;
use crate::image::diff::content::{Content, Detail, Facts};
use crate::image::diff::{Change, ChangeKind};

/// `diff`
pub fn run(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: DiffArgs = command::arguments(matches)?;
    let engine = engine(context)?;
    let container = engine
        .container(&arguments.container)
        .map_err(Failed::engine)?;
    let path = arguments.path.as_deref();
    if arguments.content {
        let mut print = |detail: Detail| output::bytes(&text(&detail));
        commit::diff_content(&engine, &container, path, &mut print).map_err(Failed::engine)?;
        return Ok(0);
    }
    let below = path.map(|path| Path::new("/").join(path));
    let changes = commit::diff(&engine, &container).map_err(Failed::engine)?;
    let wanted = changes.iter().filter(|change| {
        let below = below.as_deref();
        below.is_none_or(|below| change.path.starts_with(below))
    });
    let lines: Vec<u8> = wanted
        .flat_map(|change| [line(change), b"\n".to_vec()].concat())
        .collect();
    output::bytes(&lines)?;
    Ok(0)
}

fn line(change: &Change) -> Vec<u8> {
    let letter = match change.kind {
        ChangeKind::Modified => b"C ",
        ChangeKind::Added => b"A ",
        ChangeKind::Deleted => b"D ",
    };
    [letter, change.path.as_os_str().as_bytes()].concat()
}

/// Returns the line of a change, what is different besides its content, and that. The lines between the differences are
/// passed over by patch(1).
fn text(detail: &Detail) -> Vec<u8> {
    let mut text = line(&detail.change);
    let notes = notes(detail);
    if !notes.is_empty() {
        text.extend([b" (", notes.join(", ").as_bytes(), b")"].concat());
    }
    text.push(b'\n');
    if let Content::Text(lines) = &detail.content {
        text.extend(lines);
    }
    text
}

fn notes(detail: &Detail) -> Vec<String> {
    let mut notes = Vec::new();
    match (&detail.before, &detail.after) {
        (Some(old), Some(new)) => changed(old, new, &mut notes),
        (None, Some(new)) => {
            notes.push(what(new));
            // Those of a link have no effect.
            if new.kind != FileType::Symlink {
                notes.push(format!("mode {:o}", new.mode));
            }
            notes.push(format!("owner {}", owner(new)));
        }
        (Some(old), None) => notes.push(what(old)),
        (None, None) => {}
    }
    let size = |facts: &Option<Facts>| facts.as_ref().map(|facts| volume::total(facts.size));
    let sizes = [size(&detail.before), size(&detail.after)];
    let sizes: Vec<String> = sizes.into_iter().flatten().collect();
    match detail.content {
        Content::Binary => notes.push(format!("binary, {}", sizes.join(" -> "))),
        Content::Large => notes.push(format!("large, {}", sizes.join(" -> "))),
        Content::Same | Content::Text(_) => {}
    }
    notes
}

fn changed(old: &Facts, new: &Facts, notes: &mut Vec<String>) {
    if (old.kind, &old.target) != (new.kind, &new.target) {
        notes.push(format!("{} -> {}", what(old), what(new)));
    }
    if old.mode != new.mode {
        notes.push(format!("mode {:o} -> {:o}", old.mode, new.mode));
    }
    if (old.uid, old.gid) != (new.uid, new.gid) {
        notes.push(format!("owner {} -> {}", owner(old), owner(new)));
    }
}

fn owner(facts: &Facts) -> String {
    format!("{}:{}", facts.uid, facts.gid)
}

fn what(facts: &Facts) -> String {
    match facts.kind {
        FileType::Directory => "directory".to_owned(),
        FileType::Symlink => format!("link to {}", facts.target.display()),
        FileType::RegularFile => "file".to_owned(),
        FileType::Fifo => "pipe".to_owned(),
        FileType::Socket => "socket".to_owned(),
        FileType::BlockDevice | FileType::CharacterDevice => "device".to_owned(),
        FileType::Unknown => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size: u64) -> Facts {
        Facts {
            kind: FileType::RegularFile,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size,
            target: "".into(),
        }
    }

    fn link(target: &str) -> Facts {
        Facts {
            kind: FileType::Symlink,
            target: target.into(),
            ..file(0)
        }
    }

    #[track_caller]
    fn check(before: Option<Facts>, after: Option<Facts>, content: Content, expected: &str) {
        let kind = match (&before, &after) {
            (Some(_), Some(_)) => ChangeKind::Modified,
            (None, _) => ChangeKind::Added,
            (_, None) => ChangeKind::Deleted,
        };
        let change = Change {
            kind,
            path: "/x".into(),
        };
        let text = text(&Detail {
            change,
            before,
            after,
            content,
        });
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn notes_tell_what_lines_cannot() {
        let other = Facts {
            mode: 0o4755,
            uid: 1,
            ..file(12)
        };
        check(
            Some(file(12)),
            Some(other.clone()),
            Content::Same,
            "C /x (mode 644 -> 4755, owner 0:0 -> 1:0)\n",
        );
        check(Some(file(12)), Some(file(12)), Content::Same, "C /x\n");
        check(
            None,
            Some(other),
            Content::Text(b"+a\n".to_vec()),
            "A /x (file, mode 4755, owner 1:0)\n+a\n",
        );
        check(
            Some(file(1000)),
            Some(file(2000)),
            Content::Binary,
            "C /x (binary, 1kB -> 2kB)\n",
        );
        check(
            Some(file(5)),
            None,
            Content::Large,
            "D /x (file, large, 5B)\n",
        );
        check(
            Some(link("a")),
            Some(link("b")),
            Content::Same,
            "C /x (link to a -> link to b)\n",
        );
        check(
            Some(link("a")),
            Some(file(0)),
            Content::Same,
            "C /x (link to a -> file)\n",
        );
    }
}
