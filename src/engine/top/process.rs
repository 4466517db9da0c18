//! One process as /proc tells of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Clock ticks of `/proc/PID/stat` per second: USER_HZ, the same on every architecture of ours.
pub(super) const TICKS: u64 = 100;

/// What is known of a process.
#[derive(Clone, Debug, Default)]
pub(super) struct Process {
    pub pid: i32,
    pub ppid: i32,
    pub group: i32,
    pub session: i32,
    /// Name of its program, at most 15 bytes.
    pub name: String,
    /// Its arguments with blanks between them; empty for a zombie.
    pub command: String,
    pub state: char,
    /// Effective, as the host numbers it.
    pub uid: u32,
    pub gid: u32,
    pub terminal: i64,
    /// The process group that reads the terminal.
    pub foreground: i64,
    /// Used CPU time, in ticks.
    pub ticks: u64,
    /// When it began, in ticks after the boot.
    pub began: u64,
    pub priority: i64,
    pub nice: i64,
    pub threads: u64,
    pub virtual_bytes: u64,
    pub resident_pages: u64,
    pub locked_kilobytes: u64,
}

/// Reads a process; nothing if it has ended.
pub(super) fn read(pid: i32) -> Option<Process> {
    let dir = PathBuf::from(format!("/proc/{pid}"));
    let text = |name: &str| {
        let bytes = std::fs::read(dir.join(name)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let mut process = parse_stat(&text("stat")?)?;
    parse_status(&text("status")?, &mut process);
    let line = text("cmdline")?;
    process.command = line.trim_end_matches('\0').replace(['\0', '\n'], " ");
    Some(process)
}

/// Reads `/proc/PID/stat`: the name is in brackets, and may have brackets and blanks itself.
fn parse_stat(text: &str) -> Option<Process> {
    let (before, after) = text.rsplit_once(')')?;
    let (pid, name) = before.split_once('(')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    // The state is field 3 of the manual page proc(5).
    let number = |field: usize| fields.get(field - 3)?.parse::<i64>().ok();
    let count = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let small = |field: usize| i32::try_from(number(field)?).ok();
    Some(Process {
        pid: pid.trim().parse().ok()?,
        name: name.to_owned(),
        state: fields.first()?.chars().next()?,
        ppid: small(4)?,
        group: small(5)?,
        session: small(6)?,
        terminal: number(7)?,
        foreground: number(8)?,
        ticks: count(14)?.saturating_add(count(15)?),
        priority: number(18)?,
        nice: number(19)?,
        threads: count(20)?,
        began: count(22)?,
        virtual_bytes: count(23)?,
        resident_pages: count(24)?,
        ..Process::default()
    })
}

fn parse_status(text: &str, process: &mut Process) {
    // Real, effective, saved, of the file system.
    let effective = |line: &str| line.split_whitespace().nth(1)?.parse().ok();
    for line in text.lines() {
        match line.split_once(':') {
            Some(("Uid", ids)) => process.uid = effective(ids).unwrap_or_default(),
            Some(("Gid", ids)) => process.gid = effective(ids).unwrap_or_default(),
            Some(("VmLck", size)) => {
                let number = size.split_whitespace().next();
                process.locked_kilobytes = number.and_then(|n| n.parse().ok()).unwrap_or_default();
            }
            _ => {}
        }
    }
}

/// What all processes share.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// Seconds since 1970 at which the machine began.
    pub boot: u64,
    /// Seconds since 1970.
    pub now: u64,
    pub memory_kilobytes: u64,
    pub page_kilobytes: u64,
    pub users: BTreeMap<u32, String>,
    pub groups: BTreeMap<u32, String>,
}

impl Host {
    /// Reads what this machine tells.
    pub(super) fn read() -> Host {
        let field = |path: &str, name: &str| -> u64 {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok())
                .unwrap_or_default()
        };
        let now = jiff::Timestamp::now().as_second();
        Host {
            boot: field("/proc/stat", "btime"),
            now: u64::try_from(now).unwrap_or_default(),
            memory_kilobytes: field("/proc/meminfo", "MemTotal:"),
            page_kilobytes: rustix::param::page_size() as u64 / 1024,
            users: names(Path::new("/etc/passwd")),
            groups: names(Path::new("/etc/group")),
        }
    }
}

/// Numbers and names of a file of accounts; the first name of a number counts.
fn names(path: &Path) -> BTreeMap<u32, String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut names = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(Ok(number))) =
            (fields.next(), fields.nth(1).map(str::parse::<u32>))
        {
            names.entry(number).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_brackets() {
        let stat = "42 (a) b) (c) S 1 42 42 34816 42 4194560 100 0 0 0 7 3 0 0 20 0 1 0 500 4096000 250 1 2 3";
        let process = parse_stat(stat).unwrap();
        assert_eq!(process.name, "a) b) (c");
        assert_eq!((process.pid, process.ppid, process.ticks), (42, 1, 10));
        assert_eq!((process.began, process.resident_pages), (500, 250));
        assert!(parse_stat("42 (a").is_none());
    }

    #[test]
    fn the_effective_user_counts() {
        let mut process = Process::default();
        parse_status(
            "Name:\tx\nUid:\t0\t1000\t0\t0\nGid:\t0\t7\t0\t0\nVmLck:\t  12 kB\n",
            &mut process,
        );
        assert_eq!(
            (process.uid, process.gid, process.locked_kilobytes),
            (1000, 7, 12)
        );
    }
}
