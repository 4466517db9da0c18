//! The columns that ps has: their names, headers, and what they say of a process.

use super::process::{Host, Process, TICKS};

/// A column by its name in `ps -o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub header: &'static str,
    pub show: Show,
}

/// What a column says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    Pid,
    Parent,
    Group,
    Session,
    Threads,
    User,
    UserNumber,
    GroupName,
    GroupNumber,
    Name,
    Command,
    State,
    LongState,
    Terminal,
    Percent,
    WholePercent,
    Memory,
    Virtual,
    Resident,
    Nice,
    Priority,
    Time,
    ShortTime,
    Elapsed,
    ElapsedSeconds,
    Began,
}

const COLUMNS: &[(&str, &str, Show)] = &[
    ("%cpu", "%CPU", Show::Percent),
    ("%mem", "%MEM", Show::Memory),
    ("args", "COMMAND", Show::Command),
    ("bsdtime", "TIME", Show::ShortTime),
    ("c", "C", Show::WholePercent),
    ("cmd", "CMD", Show::Command),
    ("comm", "COMMAND", Show::Name),
    ("command", "COMMAND", Show::Command),
    ("cputime", "TIME", Show::Time),
    ("egid", "EGID", Show::GroupNumber),
    ("egroup", "EGROUP", Show::GroupName),
    ("etime", "ELAPSED", Show::Elapsed),
    ("etimes", "ELAPSED", Show::ElapsedSeconds),
    ("euid", "EUID", Show::UserNumber),
    ("euser", "EUSER", Show::User),
    ("gid", "GID", Show::GroupNumber),
    ("group", "GROUP", Show::GroupName),
    ("ni", "NI", Show::Nice),
    ("nice", "NI", Show::Nice),
    ("nlwp", "NLWP", Show::Threads),
    ("pcpu", "%CPU", Show::Percent),
    ("pgid", "PGID", Show::Group),
    ("pid", "PID", Show::Pid),
    ("pmem", "%MEM", Show::Memory),
    ("ppid", "PPID", Show::Parent),
    ("pri", "PRI", Show::Priority),
    ("rss", "RSS", Show::Resident),
    ("rssize", "RSS", Show::Resident),
    ("s", "S", Show::State),
    ("sess", "SESS", Show::Session),
    ("sid", "SID", Show::Session),
    ("start_time", "START", Show::Began),
    ("stat", "STAT", Show::LongState),
    ("state", "S", Show::State),
    ("stime", "STIME", Show::Began),
    ("thcount", "THCNT", Show::Threads),
    ("time", "TIME", Show::Time),
    ("tname", "TTY", Show::Terminal),
    ("tt", "TT", Show::Terminal),
    ("tty", "TT", Show::Terminal),
    ("ucmd", "CMD", Show::Name),
    ("ucomm", "COMMAND", Show::Name),
    ("uid", "UID", Show::UserNumber),
    ("uname", "USER", Show::User),
    ("user", "USER", Show::User),
    ("vsize", "VSZ", Show::Virtual),
    ("vsz", "VSZ", Show::Virtual),
];

/// `-f`
pub(super) const FULL: &[Column] = &[
    column("UID", Show::User),
    column("PID", Show::Pid),
    column("PPID", Show::Parent),
    column("C", Show::WholePercent),
    column("STIME", Show::Began),
    column("TTY", Show::Terminal),
    column("TIME", Show::Time),
    column("CMD", Show::Command),
];

/// `u`
pub(super) const BY_USER: &[Column] = &[
    column("USER", Show::User),
    column("PID", Show::Pid),
    column("%CPU", Show::Percent),
    column("%MEM", Show::Memory),
    column("VSZ", Show::Virtual),
    column("RSS", Show::Resident),
    column("TTY", Show::Terminal),
    column("STAT", Show::LongState),
    column("START", Show::Began),
    column("TIME", Show::ShortTime),
    column("COMMAND", Show::Command),
];

/// Without a format.
pub(super) const SHORT: &[Column] = &[
    column("PID", Show::Pid),
    column("TTY", Show::Terminal),
    column("TIME", Show::Time),
    column("CMD", Show::Name),
];

/// `ax` without a format.
pub(super) const SHORT_BSD: &[Column] = &[
    column("PID", Show::Pid),
    column("TTY", Show::Terminal),
    column("STAT", Show::LongState),
    column("TIME", Show::ShortTime),
    column("COMMAND", Show::Command),
];

const fn column(header: &'static str, show: Show) -> Column {
    Column { header, show }
}

/// Returns the column of this name.
pub(super) fn find(name: &str) -> Option<Column> {
    let (_, header, show) = COLUMNS.iter().find(|(known, ..)| *known == name)?;
    Some(column(header, *show))
}

impl Column {
    /// Returns what the column says of `process`.
    pub(super) fn value(self, process: &Process, host: &Host) -> String {
        match self.show {
            Show::Pid => process.pid.to_string(),
            Show::Parent => process.ppid.to_string(),
            Show::Group => process.group.to_string(),
            Show::Session => process.session.to_string(),
            Show::Threads => process.threads.to_string(),
            Show::User => account(host.users.get(&process.uid), process.uid),
            Show::UserNumber => process.uid.to_string(),
            Show::GroupName => account(host.groups.get(&process.gid), process.gid),
            Show::GroupNumber => process.gid.to_string(),
            Show::Name if process.state == 'Z' => format!("{} <defunct>", process.name),
            Show::Name => process.name.clone(),
            Show::Command => command(process),
            Show::State => process.state.to_string(),
            Show::LongState => long_state(process),
            Show::Terminal => terminal(process.terminal),
            Show::Percent => {
                let thousandth = thousandths(process, host);
                format!("{}.{}", thousandth / 10, thousandth % 10)
            }
            Show::WholePercent => (thousandths(process, host) / 10).min(99).to_string(),
            Show::Memory => {
                let resident = process.resident_pages * host.page_kilobytes * 1000;
                let thousandth = (resident / host.memory_kilobytes.max(1)).min(999);
                format!("{}.{}", thousandth / 10, thousandth % 10)
            }
            Show::Virtual => (process.virtual_bytes / 1024).to_string(),
            Show::Resident => (process.resident_pages * host.page_kilobytes).to_string(),
            Show::Nice => process.nice.to_string(),
            Show::Priority => (39 - process.priority).to_string(),
            Show::Time => clock(process.ticks / TICKS),
            Show::ShortTime => {
                let seconds = process.ticks / TICKS;
                format!("{}:{:02}", seconds / 60, seconds % 60)
            }
            Show::Elapsed => elapsed(age(process, host)),
            Show::ElapsedSeconds => age(process, host).to_string(),
            Show::Began => began(host.boot + process.began / TICKS, host.now),
        }
    }
}

/// A name that is too long for its column is shown as the number.
fn account(name: Option<&String>, number: u32) -> String {
    match name.filter(|name| name.len() <= 8) {
        Some(name) => name.clone(),
        None => number.to_string(),
    }
}

fn command(process: &Process) -> String {
    match (process.command.is_empty(), process.state) {
        (true, 'Z') => format!("[{}] <defunct>", process.name),
        (true, _) => format!("[{}]", process.name),
        (false, _) => process.command.clone(),
    }
}

fn long_state(process: &Process) -> String {
    let mut text = process.state.to_string();
    if process.nice < 0 {
        text.push('<');
    }
    if process.nice > 0 {
        text.push('N');
    }
    if process.locked_kilobytes > 0 {
        text.push('L');
    }
    if process.session == process.pid {
        text.push('s');
    }
    if process.threads > 1 {
        text.push('l');
    }
    if process.foreground == i64::from(process.group) {
        text.push('+');
    }
    text
}

/// Names the terminal by its device number: `pts/3`, `tty1`, `?` for none.
fn terminal(device: i64) -> String {
    let (major, minor) = (
        (device >> 8) & 0xfff,
        (device & 0xff) | ((device >> 12) & 0xfff00),
    );
    match major {
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        5 if minor == 1 => "console".to_owned(),
        _ => "?".to_owned(),
    }
}

fn age(process: &Process, host: &Host) -> u64 {
    host.now.saturating_sub(host.boot + process.began / TICKS)
}

/// Used CPU time for the time that it has lived.
fn thousandths(process: &Process, host: &Host) -> u64 {
    match age(process, host) {
        0 => 0,
        seconds => (process.ticks * 1000 / TICKS / seconds).min(9999),
    }
}

/// `[DD-]HH:MM:SS`
fn clock(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let text = format!("{:02}:{:02}:{:02}", hours % 24, minutes % 60, seconds % 60);
    if days == 0 {
        text
    } else {
        format!("{days}-{text}")
    }
}

/// `[[DD-]HH:]MM:SS`
fn elapsed(seconds: u64) -> String {
    let text = clock(seconds);
    match text.strip_prefix("00:") {
        Some(short) => short.to_owned(),
        None => text,
    }
}

/// The time of today, else the day of this year, else the year.
fn began(then: u64, now: u64) -> String {
    let zoned = |second: u64| {
        let time = jiff::Timestamp::from_second(i64::try_from(second).unwrap_or_default());
        time.unwrap_or_default()
            .to_zoned(jiff::tz::TimeZone::system())
    };
    let (then, now) = (zoned(then), zoned(now));
    let format = if then.year() != now.year() {
        "%Y"
    } else if then.day_of_year() != now.day_of_year() {
        "%b%d"
    } else {
        "%H:%M"
    };
    then.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted() {
        assert!(COLUMNS.is_sorted_by_key(|(name, ..)| name));
        assert_eq!(find("comm"), Some(column("COMMAND", Show::Name)));
        assert_eq!(find("nosuch"), None);
    }

    #[test]
    fn times() {
        assert_eq!(clock(3_661), "01:01:01");
        assert_eq!(clock(90_061), "1-01:01:01");
        assert_eq!(elapsed(61), "01:01");
        assert_eq!(elapsed(3_600), "01:00:00");
    }

    #[test]
    fn terminals_have_names() {
        for (device, want) in [
            (0, "?"),
            (34816, "pts/0"),
            (34819, "pts/3"),
            (1025, "tty1"),
            (1281, "console"),
        ] {
            assert_eq!(terminal(device), want, "{device}");
        }
    }

    #[test]
    fn a_process_is_shown_as_ps_shows_it() {
        let host = Host {
            boot: 1000,
            now: 1100,
            memory_kilobytes: 1000,
            page_kilobytes: 4,
            users: [(0, "root".to_owned()), (1, "averylongname".to_owned())].into(),
            ..Host::default()
        };
        let process = Process {
            pid: 7,
            session: 7,
            group: 7,
            foreground: -1,
            state: 'S',
            name: "sleep".to_owned(),
            command: "sleep 100".to_owned(),
            ticks: 1000,
            resident_pages: 10,
            priority: 20,
            threads: 1,
            ..Process::default()
        };
        for (name, want) in [
            ("user", "root"),
            ("pcpu", "10.0"),
            ("c", "10"),
            ("pmem", "4.0"),
            ("rss", "40"),
            ("time", "00:00:10"),
            ("bsdtime", "0:10"),
            ("etime", "01:40"),
            ("stat", "Ss"),
            ("pri", "19"),
            ("cmd", "sleep 100"),
            ("comm", "sleep"),
            ("tty", "?"),
        ] {
            let got = find(name).unwrap().value(&process, &host);
            assert_eq!(got, want, "{name}");
        }
        let other = Process { uid: 1, ..process };
        assert_eq!(find("user").unwrap().value(&other, &host), "1");
    }
}
