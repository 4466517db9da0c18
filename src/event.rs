//! The journal of events: one JSON line per event, appended by whoever does the thing, read by anybody.
//!
//! A line is written by one `write` to a file opened for appending, so lines of several processes never mix. The file is
//! turned over at [`JOURNAL_MAX_BYTES`]; one older file is kept.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use crate::dirs::Dirs;
use crate::docker::system::{Actor, Event};
use crate::store::FileLock;

/// The size at which the journal is turned over.
const JOURNAL_MAX_BYTES: u64 = 8 << 20;

/// Appends an event that happens now.
///
/// An event that cannot be written is a warning: what it tells of has happened all the same.
pub fn record(
    dirs: &Dirs,
    kind: &str,
    action: &str,
    id: &str,
    attributes: BTreeMap<String, String>,
) {
    let now = Timestamp::now();
    let event = Event {
        kind: kind.to_owned(),
        action: action.to_owned(),
        actor: Actor {
            id: id.to_owned(),
            attributes,
        },
        scope: "local".to_owned(),
        time: now.as_second(),
        time_nano: nanoseconds(now),
    };
    if let Err(error) = append(dirs, &event) {
        tracing::warn!("event {kind} {action} is lost: {error:#}");
    }
}

/// Returns a time as nanoseconds since 1970.
pub fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

fn append(dirs: &Dirs, event: &Event) -> Result<()> {
    let path = dirs.events();
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("open {}", path.display()))?;
    file.write_all(&line)
        .with_context(|| format!("write {}", path.display()))?;
    if file
        .metadata()
        .is_ok_and(|meta| meta.len() > JOURNAL_MAX_BYTES)
    {
        turn_over(dirs)?;
    }
    Ok(())
}

fn turn_over(dirs: &Dirs) -> Result<()> {
    let _lock = FileLock::exclusive(&dirs.lock("events"))?;
    let path = dirs.events();
    // Somebody else may have done it while this waited for the lock.
    if std::fs::metadata(&path).is_ok_and(|meta| meta.len() > JOURNAL_MAX_BYTES) {
        std::fs::rename(&path, older(dirs))
            .with_context(|| format!("turn over {}", path.display()))?;
    }
    Ok(())
}

fn older(dirs: &Dirs) -> PathBuf {
    dirs.events().with_extension("jsonl.1")
}

/// Returns the events from `since` to `until`, both in nanoseconds since 1970 and inclusive, oldest first.
///
/// A line that cannot be read, such as one that a power cut broke off, is passed over.
pub fn read(dirs: &Dirs, since: i64, until: i64) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    for path in [older(dirs), dirs.events()] {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("open {}", path.display())),
        };
        for line in BufReader::new(file).split(b'\n') {
            let line = line.with_context(|| format!("read {}", path.display()))?;
            if let Ok(event) = serde_json::from_slice::<Event>(&line)
                && (since..=until).contains(&event.time_nano)
            {
                events.push(event);
            }
        }
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_back_in_order_and_damage_is_passed_over() {
        let root = std::env::temp_dir().join(format!("aril-event-{}", crate::store::unique()));
        let dirs = Dirs::new(root.join("data"), root.join("run"));
        dirs.create().unwrap();
        let start = nanoseconds(Timestamp::now());
        record(&dirs, "container", "create", "a", BTreeMap::new());
        OpenOptions::new()
            .append(true)
            .open(dirs.events())
            .unwrap()
            .write_all(b"{\"Type\":\n")
            .unwrap();
        record(
            &dirs,
            "container",
            "start",
            "a",
            BTreeMap::from([("name".into(), "x".into())]),
        );
        let actions = |since| -> Vec<String> {
            read(&dirs, since, i64::MAX)
                .unwrap()
                .into_iter()
                .map(|event| event.action)
                .collect()
        };
        assert_eq!(actions(start), ["create", "start"]);
        assert_eq!(actions(nanoseconds(Timestamp::now())), [] as [&str; 0]);
        std::fs::remove_dir_all(root).unwrap();
    }
}
