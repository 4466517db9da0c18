//! `top`: the processes of a container, as the host's ps would show them.
//!
//! The usual options of ps are done here from /proc, so that no ps need be installed; with others the host's own ps is
//! run and its lines are picked by their pids, as docker does for all options.

mod columns;
mod process;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use columns::Column;

use super::Engine;
use crate::container::{Container, Phase};
use crate::monitor::removal;
use crate::{cgroup, error, event};

/// What docker asks of ps if the user asks for nothing.
const DEFAULT_OPTIONS: &str = "-ef";

/// Processes as ps shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// Of the columns.
    pub titles: Vec<String>,
    /// One row for each process.
    pub processes: Vec<Vec<String>>,
}

/// Returns the processes of a running container, shown by `options` of ps.
pub fn top(engine: &Engine, container: &Container, options: &[String]) -> Result<Top> {
    let id = &container.record.id;
    match container.status.phase {
        Phase::Restarting => {
            return Err(error::conflict(format!(
                "Container {id} is restarting, wait until the container is running"
            )));
        }
        phase if !phase.has_processes() => {
            return Err(error::conflict(format!("container {id} is not running")));
        }
        _ => {}
    }
    let options = if options.is_empty() {
        DEFAULT_OPTIONS.to_owned()
    } else {
        options.join(" ")
    };
    let words: Vec<&str> = options.split_whitespace().collect();
    let host = cgroup::layout::detect()?;
    let pids = cgroup::open(host, Path::new(&container.status.cgroup))?.pids()?;
    if pids.is_empty() {
        return Err(error::unavailable(format!(
            "container {id} has no cgroup of its own by which its processes could be told"
        )));
    }
    let shown = match plan(&words) {
        Some(columns) => from_proc(&columns, &pids)?,
        None => from_ps(&words, &pids)?,
    };
    let attributes = removal::attributes(&container.record);
    event::record(&engine.dirs, "container", "top", id, attributes);
    Ok(shown)
}

/// Returns the columns that `words` ask for; nothing if they have an option that is not done here.
fn plan(words: &[&str]) -> Option<Vec<Column>> {
    let mut chosen: Option<Vec<Column>> = None;
    let mut bsd = false;
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let dash = word.starts_with('-');
        let letters = word.strip_prefix('-').unwrap_or(word).char_indices();
        for (at, letter) in letters {
            match (letter, dash) {
                // Which processes is decided by the container.
                ('e' | 'A', true) | ('a' | 'x', false) => bsd |= !dash,
                ('f', true) => chosen = Some(columns::FULL.to_vec()),
                ('u', false) => chosen = Some(columns::BY_USER.to_vec()),
                ('o', _) => {
                    let start = at + letter.len_utf8() + usize::from(dash);
                    let list = match &word[start..] {
                        "" => rest.next()?,
                        list => list,
                    };
                    let named = list.split(',').map(columns::find);
                    let named = named.collect::<Option<Vec<Column>>>()?;
                    chosen.get_or_insert_default().extend(named);
                    break;
                }
                _ => return None,
            }
        }
    }
    Some(chosen.unwrap_or_else(|| {
        if bsd {
            columns::SHORT_BSD.to_vec()
        } else {
            columns::SHORT.to_vec()
        }
    }))
}

fn from_proc(columns: &[Column], pids: &[i32]) -> Result<Top> {
    if !columns.iter().any(|column| column.header == "PID") {
        return Err(no_pid());
    }
    let host = process::Host::read();
    let processes = pids.iter().filter_map(|pid| process::read(*pid));
    let row = |process: process::Process| {
        let values = columns.iter().map(|column| column.value(&process, &host));
        values.collect()
    };
    Ok(Top {
        titles: columns.iter().map(|c| c.header.to_owned()).collect(),
        processes: processes.map(row).collect(),
    })
}

fn from_ps(words: &[&str], pids: &[i32]) -> Result<Top> {
    let output = match Command::new("ps").args(words).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let why = format!("ps options {:?} need the host's ps", words.join(" "));
            let hint = "install the package procps, or use -ef, aux or -o with usual columns";
            return Err(error::with_hint(error::unavailable(why), hint));
        }
        output => output.context("run ps")?,
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or_default().to_owned();
        return Err(error::invalid(format!("ps: {said}")));
    }
    pick(&String::from_utf8_lossy(&output.stdout), pids)
}

/// Picks the lines of ps whose process is one of `pids`.
fn pick(text: &str, pids: &[i32]) -> Result<Top> {
    let mut lines = text.lines();
    let titles: Vec<String> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let Some(column) = titles.iter().position(|title| title == "PID") else {
        return Err(no_pid());
    };
    let mut processes = Vec::new();
    for line in lines {
        let mut fields: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let pid = fields.get(column).and_then(|pid| pid.parse().ok());
        if pid.is_none_or(|pid: i32| !pids.contains(&pid)) {
            continue;
        }
        // The last column may have blanks itself.
        if fields.len() > titles.len() {
            let last = fields.split_off(titles.len() - 1).join(" ");
            fields.push(last);
        }
        processes.push(fields);
    }
    Ok(Top { titles, processes })
}

fn no_pid() -> anyhow::Error {
    error::invalid("Couldn't find PID field in ps output")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(options: &str) -> Option<String> {
        let words: Vec<&str> = options.split_whitespace().collect();
        let headers = plan(&words)?.into_iter().map(|column| column.header);
        Some(headers.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn the_usual_options_of_ps_are_understood() {
        let full = "UID PID PPID C STIME TTY TIME CMD";
        let user = "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND";
        for (options, want) in [
            ("-ef", Some(full)),
            ("-e -f", Some(full)),
            ("aux", Some(user)),
            ("-o pid,comm", Some("PID COMMAND")),
            ("-opid,args", Some("PID COMMAND")),
            ("-eo user,pid,cmd", Some("USER PID CMD")),
            ("axo pid -o stat", Some("PID STAT")),
            ("-A", Some("PID TTY TIME CMD")),
            ("ax", Some("PID TTY STAT TIME COMMAND")),
            ("-o", None),
            ("-o wchan", None),
            ("-l", None),
            ("--forest", None),
        ] {
            assert_eq!(headers(options).as_deref(), want, "{options}");
        }
    }

    #[test]
    fn lines_of_ps_are_picked_by_pid() {
        let text = "  PID CMD\n    1 init\n   42 sh -c a  b\n";
        let top = pick(text, &[42]).unwrap();
        assert_eq!(top.titles, ["PID", "CMD"]);
        assert_eq!(top.processes, [["42", "sh -c a b"]]);
        assert!(pick("CMD\nx\n", &[1]).is_err());
    }
}
