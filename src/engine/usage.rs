//! How much room things take on disk.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Returns the bytes of all files below `path`, each inode once, nothing followed; what cannot be read counts nothing.
pub fn of_directory(path: &Path) -> u64 {
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    let mut todo = vec![path.to_owned()];
    while let Some(dir) = todo.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                todo.push(entry.path());
            } else if meta.nlink() < 2 || seen.insert((meta.dev(), meta.ino())) {
                bytes += meta.len();
            }
        }
    }
    bytes
}

/// Returns the bytes of a file, or of a directory with all that is in it.
pub fn of_path(path: &Path) -> u64 {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => of_directory(path),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_count_once_and_symlinks_are_not_followed() {
        let dir = std::env::temp_dir().join(format!("aril-usage-{}", crate::store::unique()));
        std::fs::create_dir_all(dir.join("sub")).unwrap();
        std::fs::write(dir.join("sub/a"), [0; 100]).unwrap();
        std::fs::hard_link(dir.join("sub/a"), dir.join("b")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.join("c")).unwrap();
        assert_eq!(of_directory(&dir), 100 + 4);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
