//! Files to measure with: many small ones, and a large one.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::Result;

use crate::noise::{content, noise};

const LARGE_BYTES: usize = 512 << 20;
const SMALL_FILES: usize = 50_000;

pub(crate) fn small_files(dir: &Path) -> Result<()> {
    many_files(dir, SMALL_FILES, 2_000)
}

/// Files of up to twice `bytes`, a hundred to a folder, that compress like programs do.
pub(crate) fn many_files(dir: &Path, files: usize, bytes: usize) -> Result<()> {
    let mut noise = noise();
    for number in 0..files {
        let dir = dir.join(format!("folder{}", number / 100));
        if number % 100 == 0 {
            fs::create_dir(&dir)?;
        }
        let size = usize::try_from(noise())? % (2 * bytes);
        fs::write(dir.join(format!("file{number}")), content(&mut noise, size))?;
    }
    Ok(())
}

pub(crate) fn large_file(dir: &Path) -> Result<()> {
    let mut file = File::create(dir.join("large"))?;
    let mut noise = noise();
    for _ in 0..LARGE_BYTES >> 20 {
        file.write_all(&content(&mut noise, 1 << 20))?;
    }
    Ok(())
}
