//! The mount table, as proc_pid_mountinfo(5) has it: `… ROOT POINT OPTIONS TAG… - TYPE SOURCE SUPER_OPTIONS`.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// A mount; several may be at one place, of which the last one is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// Number of the device of its file system, `MAJOR:MINOR`.
    pub device: &'a str,
    /// Where it is.
    pub point: Cow<'a, Path>,
    /// Options of this mount, with commas between them.
    pub options: &'a str,
    /// What it shares mounts with, with blanks between them: `shared:9`, `master:9`.
    pub tags: &'a str,
    /// Type of the file system.
    pub kind: &'a str,
    /// Where the file system is kept: a block device, or any text.
    pub source: Cow<'a, Path>,
    /// Options of the file system.
    pub super_options: &'a str,
}

/// Reads a table; lines of another form are left out.
pub fn parse(table: &str) -> impl Iterator<Item = Mount<'_>> {
    table.lines().filter_map(mount)
}

/// Reads the lines about file systems whose type begins with `kind`, a few of what may be thousands.
pub fn parse_kind<'a>(table: &'a str, kind: &'a str) -> impl Iterator<Item = Mount<'a>> {
    let has_kind = move |line: &&str| {
        let mut fields = line.split(' ').skip(6).skip_while(|field| *field != "-");
        fields.nth(1).is_some_and(|other| other.starts_with(kind))
    };
    table.lines().filter(has_kind).filter_map(mount)
}

fn mount(line: &str) -> Option<Mount<'_>> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut mount = mount.splitn(7, ' ').skip(2);
    let device = mount.next()?;
    let (point, options) = (mount.nth(1)?, mount.next()?);
    let mut file_system = file_system.split(' ');
    Some(Mount {
        device,
        point: unescape(point),
        options,
        tags: mount.next().unwrap_or_default(),
        kind: file_system.next()?,
        source: unescape(file_system.next()?),
        super_options: file_system.next().unwrap_or_default(),
    })
}

/// Undoes the octal escapes of blanks and backslashes.
fn unescape(text: &str) -> Cow<'_, Path> {
    if !text.contains('\\') {
        return Path::new(text).into();
    }
    let text = text
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\");
    PathBuf::from(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let table = "36 35 98:0 /sub /a\\040b\\134c rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue\nodd";
        let mounts: Vec<Mount<'_>> = parse(table).collect();
        let expected = Mount {
            device: "98:0",
            point: Path::new("/a b\\c").into(),
            options: "rw,noatime",
            tags: "shared:1 master:2",
            kind: "ext3",
            source: Path::new("/dev/root").into(),
            super_options: "rw,errors=continue",
        };
        assert_eq!(mounts, [expected]);
    }

    #[test]
    fn others_are_left_out() {
        let table = "1 2 0:1 / /sys - sysfs sysfs rw\n3 1 0:2 / /a rw - cgroup2 c rw\n4 1 0:3 / /b rw - cgroup c rw,pids\n";
        let kinds: Vec<&str> = parse_kind(table, "cgroup")
            .map(|mount| mount.kind)
            .collect();
        assert_eq!(kinds, ["cgroup2", "cgroup"]);
    }
}
