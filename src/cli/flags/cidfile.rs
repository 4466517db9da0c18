//! `--cidfile`: a file that gets the id of a new container.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::error;

/// The file, which is made before the container; it goes away again if there is no container.
#[derive(Debug)]
pub struct CidFile {
    path: PathBuf,
    file: File,
    written: bool,
}

impl CidFile {
    /// Makes the file; one that is there is an error of kind `Conflict`.
    pub fn create(path: &Path) -> Result<CidFile> {
        let shown = path.display();
        match File::create_new(path) {
            Ok(file) => Ok(CidFile {
                path: path.to_owned(),
                file,
                written: false,
            }),
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {
                let advice = "make sure the other container isn't running or delete";
                let why = format!("container ID file found, {advice} {shown}");
                Err(error::conflict(why))
            }
            Err(why) => {
                let why = super::env::opened(&shown.to_string(), &why);
                Err(error::invalid(format!(
                    "failed to create the container ID file: {why}"
                )))
            }
        }
    }

    /// Writes the id, without a line end.
    pub fn write(mut self, id: &str) -> Result<()> {
        let shown = self.path.display();
        self.file
            .write_all(id.as_bytes())
            .with_context(|| format!("write the container ID to {shown}"))?;
        self.written = true;
        Ok(())
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if !self.written
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "remove the container ID file");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_kept_only_with_an_id() {
        let path = std::env::temp_dir().join(format!("aril-cid-{}", std::process::id()));
        drop(CidFile::create(&path).unwrap());
        assert!(!path.exists());
        CidFile::create(&path).unwrap().write("abc").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "abc");
        let found = CidFile::create(&path).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            found,
            format!(
                "container ID file found, make sure the other container isn't running or delete {}",
                path.display()
            )
        );
        assert_eq!(
            CidFile::create(Path::new("/nosuch/x"))
                .unwrap_err()
                .to_string(),
            "failed to create the container ID file: open /nosuch/x: no such file or directory"
        );
    }
}
