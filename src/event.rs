//! The journal of events: one JSON line per event, appended by whoever does the thing, read by anybody.
//!
//! A line is written by one `write` to a file opened for appending, so lines of several processes never mix. The file is
//! turned over at `JOURNAL_MAX_BYTES`; one older file is kept.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use rustix::fs::inotify;

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
        ..Event::default()
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

/// Reads the journal from its beginning, and what is appended later.
///
/// A descriptor that polls as readable when there may be more.
#[derive(Debug)]
pub struct Follower {
    dirs: Dirs,
    notify: OwnedFd,
    /// The journal that is read at present, with its number.
    current: Option<(BufReader<File>, u64)>,
    /// A line whose end has not been written yet.
    partial: Vec<u8>,
    /// Whether the older journal has been read.
    begun: bool,
}

impl Follower {
    /// Begins to watch; nothing that is appended from now on is missed.
    pub fn new(dirs: &Dirs) -> Result<Follower> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let notify = inotify::init(flags).context("watch the journal of events")?;
        let path = dirs.data();
        // Only the journal's own directory, where little else changes.
        let changes = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&notify, path, changes)
            .with_context(|| format!("watch {}", path.display()))?;
        Ok(Follower {
            dirs: dirs.clone(),
            notify,
            current: None,
            partial: Vec::new(),
            begun: false,
        })
    }

    /// Returns the events that were not read yet, oldest first.
    ///
    /// A line that cannot be read, such as one that a power cut broke off, is passed over.
    pub fn read(&mut self) -> Result<Vec<Event>> {
        let mut buffer = [0; 4096];
        while rustix::io::read(&self.notify, &mut buffer[..]).is_ok_and(|count| count > 0) {}
        let mut events = Vec::new();
        if !self.begun {
            self.begun = true;
            if let Some((mut file, _)) = open(&older(&self.dirs))? {
                self.take(&mut file, &mut events)?;
                self.partial.clear();
            }
        }
        let mut newest = open(&self.dirs.events())?;
        // What was turned over meanwhile is read to its end first.
        if let Some((mut file, number)) = self.current.take() {
            self.take(&mut file, &mut events)?;
            if newest.as_ref().is_none_or(|(_, new)| *new == number) {
                newest = Some((file, number));
            } else {
                self.partial.clear();
            }
        }
        if let Some((mut file, number)) = newest {
            self.take(&mut file, &mut events)?;
            self.current = Some((file, number));
        }
        Ok(events)
    }

    fn take(&mut self, file: &mut BufReader<File>, events: &mut Vec<Event>) -> Result<()> {
        loop {
            let count = file
                .read_until(b'\n', &mut self.partial)
                .context("read the journal of events")?;
            if count == 0 || !self.partial.ends_with(b"\n") {
                return Ok(());
            }
            if let Ok(event) = serde_json::from_slice::<Event>(&self.partial) {
                events.push(event);
            }
            self.partial.clear();
        }
    }
}

impl AsFd for Follower {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.notify.as_fd()
    }
}

/// Opens a journal; nothing if there is none.
fn open(path: &Path) -> Result<Option<(BufReader<File>, u64)>> {
    let opened = File::open(path).and_then(|file| {
        let number = file.metadata()?.ino();
        Ok((BufReader::new(file), number))
    });
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("open {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_back_in_order_and_damage_is_passed_over() {
        let root = std::env::temp_dir().join(format!("aril-event-{}", crate::store::unique()));
        let dirs = Dirs::new(root.join("data"), root.join("run"));
        dirs.create().unwrap();
        let actions = |follower: &mut Follower| -> Vec<String> {
            let events = follower.read().unwrap().into_iter();
            events.map(|event| event.action).collect()
        };
        let mut follower = Follower::new(&dirs).unwrap();
        assert_eq!(actions(&mut follower), [] as [&str; 0]);
        record(&dirs, "container", "create", "a", BTreeMap::new());
        let append = |text: &[u8]| {
            let mut options = OpenOptions::new();
            let mut file = options.append(true).open(dirs.events()).unwrap();
            file.write_all(text).unwrap();
        };
        append(b"{\"Type\":\n");
        record(&dirs, "container", "start", "a", BTreeMap::new());
        assert_eq!(actions(&mut follower), ["create", "start"]);
        assert_eq!(actions(&mut follower), [] as [&str; 0]);
        // Half a line, its other half, and a journal that is turned over.
        append(b"{\"Type\":\"container\",");
        assert_eq!(actions(&mut follower), [] as [&str; 0]);
        append(b"\"Action\":\"die\"}\n");
        assert_eq!(actions(&mut follower), ["die"]);
        record(&dirs, "container", "oom", "a", BTreeMap::new());
        std::fs::rename(dirs.events(), older(&dirs)).unwrap();
        record(&dirs, "container", "stop", "a", BTreeMap::new());
        assert_eq!(actions(&mut follower), ["oom", "stop"]);
        let all = actions(&mut Follower::new(&dirs).unwrap());
        assert_eq!(all, ["create", "start", "die", "oom", "stop"]);
        std::fs::remove_dir_all(root).unwrap();
    }
}
