//! JSON records on disk: one directory per object, one lock per object, every write a rename.
//!
//! A reader takes no lock and sees either the old or the new document. A writer holds the object's lock for the whole
//! read-modify-write. An object exists when its directory stands under its final name; it ends by one rename into the
//! trash. A lock file is never deleted while somebody may wait for it, except with its object.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::marker::PhantomData;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error;
use crate::sys::limited;

/// The largest record that is read; a larger file is not one of ours.
const RECORD_MAX_BYTES: u64 = 16 << 20;

/// A lock on a file, held until it is dropped.
///
/// An open-file-description lock (kernel 3.15): it belongs to the descriptor, whoever has a copy of it, ends with the last
/// copy, and can be asked for without being taken. The descriptor is close-on-exec, so no program inherits the lock.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

impl FileLock {
    /// Waits for the exclusive lock on `path`, which is created if it is missing.
    pub fn exclusive(path: &Path) -> Result<FileLock> {
        FileLock::wait(path, libc::F_WRLCK)
    }

    /// Waits for a shared lock on `path`, which is created if it is missing.
    pub fn shared(path: &Path) -> Result<FileLock> {
        FileLock::wait(path, libc::F_RDLCK)
    }

    /// Returns the exclusive lock on `path`, or nothing if somebody holds it.
    pub fn try_exclusive(path: &Path) -> Result<Option<FileLock>> {
        loop {
            let file = open_lock(path)?;
            match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))) {
                // The file may have left with its object meanwhile: then the lock is on nothing.
                Ok(_) if !same_file(&file, path) => {}
                Ok(_) => return Ok(Some(FileLock { _file: file })),
                Err(Errno::EAGAIN | Errno::EACCES) => return Ok(None),
                Err(errno) => {
                    return Err(errno).with_context(|| format!("lock {}", path.display()));
                }
            }
        }
    }

    /// Returns whether somebody holds a lock on `path`, without taking it; nobody does if the file is missing.
    pub fn is_held(path: &Path) -> Result<bool> {
        let file = match open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => {
                return Err(error).with_context(|| format!("open the lock {}", path.display()));
            }
        };
        let mut lock = whole_file(libc::F_WRLCK);
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock))
            .with_context(|| format!("query the lock {}", path.display()))?;
        Ok(i32::from(lock.l_type) != libc::F_UNLCK)
    }

    fn wait(path: &Path, kind: i32) -> Result<FileLock> {
        loop {
            let file = open_lock(path)?;
            loop {
                match fcntl(&file, FcntlArg::F_OFD_SETLKW(&whole_file(kind))) {
                    Err(Errno::EINTR) => {}
                    Err(errno) => {
                        return Err(errno).with_context(|| format!("lock {}", path.display()));
                    }
                    Ok(_) => break,
                }
            }
            // As above, while this waited.
            if same_file(&file, path) {
                return Ok(FileLock { _file: file });
            }
        }
    }
}

fn whole_file(kind: i32) -> libc::flock {
    let kind = i16::try_from(kind).expect("lock kinds are small");
    libc::flock {
        l_type: kind,
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

fn same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(held), Ok(named)) => held.ino() == named.ino() && held.dev() == named.dev(),
        _ => false,
    }
}

fn open_lock(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("open the lock {}", path.display()))
}

/// How far a write goes before it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The document and its name survive a power cut once the write has returned.
    Synced,
    /// The document is complete for every reader, and may be lost by a power cut.
    Cached,
}

/// Replaces the file at `path` by `bytes`: readers see the old or the new content, never a mixture.
pub fn write_atomic(path: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    let temporary = temporary_beside(path);
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        if durability == Durability::Synced {
            file.sync_all()?;
        }
        std::fs::rename(&temporary, path)?;
        if durability == Durability::Synced {
            File::open(parent(path))?.sync_all()?;
        }
        Ok(())
    };
    write()
        .inspect_err(|_| drop(std::fs::remove_file(&temporary)))
        .with_context(|| format!("write {}", path.display()))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or_else(|| Path::new("/"))
}

fn temporary_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    parent(path).join(format!(".{name}.{}.tmp", unique()))
}

/// Returns a name that no other call, thread or process on this machine returns while it runs.
pub fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!(
        "{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// What the names of drafts begin with, in the directory for work in progress.
pub const DRAFT_PREFIX: &str = "draft-";

/// A directory in which an object is made, until it gets its name by one rename.
///
/// Its maker holds its lock, so one whose lock can be taken was left by a process that died. What has not been renamed is
/// removed when this is dropped.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    _lock: File,
}

impl Draft {
    /// Makes an empty one in `tmp`.
    pub fn new(tmp: &Path) -> Result<Draft> {
        loop {
            let path = tmp.join(format!("{DRAFT_PREFIX}{}", unique()));
            match std::fs::create_dir(&path) {
                // Left by a process that had our process's id.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => made.with_context(|| format!("create {}", path.display()))?,
            }
            // Between the two calls somebody may have taken it for a dead one.
            if let Some(lock) = try_lock_directory(&path)? {
                return Ok(Draft { path, _lock: lock });
            }
        }
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!("remove {}: {error}", self.path.display());
            }
            _ => {}
        }
    }
}

/// Takes the lock of a directory in progress; nothing if somebody has it, or if the directory is gone.
pub fn try_lock_directory(path: &Path) -> Result<Option<File>> {
    let context = || format!("lock {}", path.display());
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.with_context(context)?,
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        other => other.with_context(context)?,
    }
    let held = file.metadata().with_context(context)?;
    let same = std::fs::symlink_metadata(path).is_ok_and(|named| named.ino() == held.ino());
    Ok(same.then_some(file))
}

/// Returns 64 random hexadecimal digits, for the name of an object that has none.
pub fn random_id() -> Result<String> {
    let mut bytes = [0; 32];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .context("make a random id")?;
    Ok(crate::oci::digest::hex(&bytes))
}

/// Returns what tells this boot of the machine from all others.
pub fn boot_id() -> String {
    let path = "/proc/sys/kernel/random/boot_id";
    std::fs::read_to_string(path)
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// Reads a JSON document; the error is of kind `NotFound` if the file is missing.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = read_limited(path)?;
    serde_json::from_slice(&bytes).with_context(|| format!("read {}", path.display()))
}

fn read_limited(path: &Path) -> Result<Vec<u8>> {
    let file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(error::not_found(format!(
                "open {}: no such file",
                path.display()
            )));
        }
        Err(error) => return Err(error).with_context(|| format!("open {}", path.display())),
    };
    let bytes = limited::read_to_end(file, RECORD_MAX_BYTES)
        .with_context(|| format!("read {}", path.display()))?;
    bytes.with_context(|| {
        format!(
            "read {}: larger than {RECORD_MAX_BYTES} bytes",
            path.display()
        )
    })
}

/// Opens a file to be read by one call; musl, by which std opens, makes a second one for `CLOEXEC`.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// Writes `value` as JSON by [`write_atomic`].
pub fn write_json<T: Serialize>(path: &Path, value: &T, durability: Durability) -> Result<()> {
    let mut bytes =
        serde_json::to_vec(value).with_context(|| format!("encode {}", path.display()))?;
    bytes.push(b'\n');
    write_atomic(path, &bytes, durability)
}

/// A folder of objects, each a directory `ROOT/KEY/` with the document `FILE` in it.
#[derive(Debug)]
pub struct Records<T> {
    root: PathBuf,
    file: &'static str,
    document: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Records<T> {
    /// Returns the objects below `root` whose document is called `file`.
    pub fn new(root: PathBuf, file: &'static str) -> Records<T> {
        Records {
            root,
            file,
            document: PhantomData,
        }
    }

    /// Returns the directory of an object.
    pub fn dir(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Returns whether an object of this key exists.
    pub fn contains(&self, key: &str) -> bool {
        self.dir(key).join(self.file).exists()
    }

    /// Reads one document; the error is of kind `NotFound` if there is no such object.
    pub fn read(&self, key: &str) -> Result<T> {
        self.read_as(key)
    }

    /// Reads of one document what `U` has of it.
    pub fn read_as<U: DeserializeOwned>(&self, key: &str) -> Result<U> {
        read_json(&self.dir(key).join(self.file))
    }

    /// Writes the document of an object whose directory exists and which nobody else can know yet.
    pub fn insert(&self, key: &str, document: &T, durability: Durability) -> Result<()> {
        write_json(&self.dir(key).join(self.file), document, durability)
    }

    /// Waits for the lock of one object; the error is of kind `NotFound` if there is no such object.
    pub fn lock(&self, key: &str) -> Result<FileLock> {
        let dir = self.dir(key);
        FileLock::exclusive(&dir.join("lock")).map_err(|error| {
            if dir.is_dir() {
                error
            } else {
                error::not_found(format!("open {}: no such directory", dir.display()))
            }
        })
    }

    /// Changes one document under its lock and returns what `change` returned; an error of `change` leaves it as it was.
    pub fn update<R>(
        &self,
        key: &str,
        durability: Durability,
        change: impl FnOnce(&mut T) -> Result<R>,
    ) -> Result<R> {
        let _lock = self.lock(key)?;
        let mut document = self.read(key)?;
        let result = change(&mut document)?;
        self.insert(key, &document, durability)?;
        Ok(result)
    }

    /// Returns the keys of all objects, sorted; names that begin with a dot are not objects.
    pub fn keys(&self) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        let entries = match std::fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(keys),
            Err(error) => {
                return Err(error).with_context(|| format!("list {}", self.root.display()));
            }
        };
        for entry in entries {
            let entry = entry.with_context(|| format!("list {}", self.root.display()))?;
            if let Ok(name) = entry.file_name().into_string()
                && !name.starts_with('.')
            {
                keys.push(name);
            }
        }
        keys.sort_unstable();
        Ok(keys)
    }

    /// Reads all documents, one after the other, and returns them with their keys; one that vanished meanwhile is left out,
    /// a damaged one is left out with a warning, so that damage stays local.
    pub fn list(&self) -> Result<impl Iterator<Item = (String, T)>> {
        self.list_as()
    }

    /// Reads as [`Records::list`] does what `U` has of all documents.
    pub fn list_as<U: DeserializeOwned>(&self) -> Result<impl Iterator<Item = (String, U)>> {
        let document = |key: String| match self.read_as(&key) {
            Ok(document) => Some((key, document)),
            Err(error) if error::is(&error, error::Kind::NotFound) => None,
            Err(error) => {
                tracing::warn!("skipped a damaged record: {}", error::line(&error));
                None
            }
        };
        Ok(self.keys()?.into_iter().filter_map(document))
    }

    /// Ends an object: moves its directory into `trash` and returns where it is now. The caller holds its lock, and
    /// deletes what was returned when no lock is held.
    pub fn remove(&self, key: &str, trash: &Path) -> Result<PathBuf> {
        discard(&self.dir(key), trash)
    }
}

/// Moves `path` into the directory `trash` of the same file system and returns its new place.
pub fn discard(path: &Path, trash: &Path) -> Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let place = trash.join(format!("{}-{name}", unique()));
    std::fs::rename(path, &place)
        .with_context(|| format!("move {} to the trash", path.display()))?;
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    type Doc = BTreeMap<String, u32>;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("aril-store-{name}-{}", unique()));
        std::fs::create_dir_all(dir.join("trash")).unwrap();
        std::fs::create_dir_all(dir.join("r")).unwrap();
        dir
    }

    #[test]
    fn a_record_is_read_changed_and_removed() {
        let dir = scratch("life");
        let records: Records<Doc> = Records::new(dir.join("r"), "doc.json");
        assert!(error::is(
            &records.read("a").unwrap_err(),
            error::Kind::NotFound
        ));
        std::fs::create_dir(records.dir("a")).unwrap();
        records
            .insert("a", &Doc::from([("n".into(), 1)]), Durability::Synced)
            .unwrap();
        records
            .update("a", Durability::Cached, |doc| {
                *doc.entry("n".into()).or_default() += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!(records.read("a").unwrap()["n"], 2);
        assert_eq!(records.keys().unwrap(), ["a"]);
        records.remove("a", &dir.join("trash")).unwrap();
        assert!(!records.contains("a"));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_failed_change_leaves_the_document() {
        let dir = scratch("fail");
        let records: Records<Doc> = Records::new(dir.join("r"), "doc.json");
        std::fs::create_dir(records.dir("a")).unwrap();
        records
            .insert("a", &Doc::from([("n".into(), 1)]), Durability::Cached)
            .unwrap();
        let failed = records.update("a", Durability::Cached, |doc| {
            doc.clear();
            anyhow::bail!("no") as Result<()>
        });
        assert!(failed.is_err());
        assert_eq!(records.read("a").unwrap()["n"], 1);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn concurrent_changes_are_all_kept() {
        let dir = scratch("race");
        let records: Records<Doc> = Records::new(dir.join("r"), "doc.json");
        std::fs::create_dir(records.dir("a")).unwrap();
        records
            .insert("a", &Doc::new(), Durability::Cached)
            .unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let records = &records;
                scope.spawn(move || {
                    for round in 0..25 {
                        records
                            .update("a", Durability::Cached, |doc| {
                                doc.insert(format!("{thread}-{round}"), 1);
                                Ok(())
                            })
                            .unwrap();
                    }
                });
            }
        });
        assert_eq!(records.read("a").unwrap().len(), 100);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_lock_is_seen_without_being_taken() {
        let dir = scratch("lock");
        let path = dir.join("lock");
        assert!(!FileLock::is_held(&path).unwrap());
        let held = FileLock::try_exclusive(&path).unwrap().unwrap();
        assert!(FileLock::is_held(&path).unwrap());
        assert!(FileLock::try_exclusive(&path).unwrap().is_none());
        drop(held);
        assert!(!FileLock::is_held(&path).unwrap());
        let shared = [
            FileLock::shared(&path).unwrap(),
            FileLock::shared(&path).unwrap(),
        ];
        assert!(FileLock::try_exclusive(&path).unwrap().is_none());
        drop(shared);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_damaged_record_does_not_hide_the_others() {
        let dir = scratch("damage");
        let records: Records<Doc> = Records::new(dir.join("r"), "doc.json");
        for key in ["a", "b"] {
            std::fs::create_dir(records.dir(key)).unwrap();
        }
        records
            .insert("a", &Doc::new(), Durability::Cached)
            .unwrap();
        std::fs::write(records.dir("b").join("doc.json"), b"{\"n\":").unwrap();
        assert_eq!(records.list().unwrap().count(), 1);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
