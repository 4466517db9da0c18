//! Compiled profiles, kept in files: a machine has few profiles, and starts many containers with each.
//!
//! ```text
//! FOLDER (0700)/HASH    what compiled it, the text of the profile, flags, instructions
//! ```
//!
//! The hash only finds a file. It counts if it begins with the very text that is asked for, and if the program that wrote it
//! is the one that reads it; so no profile ever gets another one's filter.

use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::{Architecture, Filter, INSTRUCTIONS_MAX, compile};
use crate::oci::runtime::linux::Profile;
use crate::store::{Durability, write_atomic};
use crate::sys::limited;
use crate::sys::seccomp::Instruction;

/// Longer profiles are compiled each time.
const TEXT_MAX: usize = 256 << 10;
/// How many are kept; with one more all make room.
const COUNT_MAX: usize = 64;

/// Compiles `profile` for this machine, or takes what was kept of it in `folder`.
pub(in crate::runtime) fn compiled(profile: &Profile, folder: Option<&Path>) -> Result<Filter> {
    let make = || {
        let profile = profile.read().context("read linux.seccomp")?;
        compile(&profile, Architecture::native())
    };
    let Some(folder) = folder else {
        return make();
    };
    let Some(head) = head(profile.text()) else {
        return make();
    };
    let path = folder.join(name(&head));
    if let Some(filter) = read(&path, &head) {
        return Ok(filter);
    }
    let filter = make()?;
    // The next one compiles it as well.
    if let Err(error) = keep(folder, &path, head, &filter) {
        tracing::debug!("keep a compiled seccomp profile: {error:#}");
    }
    Ok(filter)
}

/// What a file of the profile begins with; nothing if it is not to be kept.
fn head(text: &str) -> Option<Vec<u8>> {
    let program = rustix::fs::stat("/proc/self/exe").ok()?;
    // A program in memory is another one at each start.
    if program.st_nlink == 0 || text.len() > TEXT_MAX {
        return None;
    }
    let mut head = Vec::with_capacity(text.len() + 64);
    for number in [program.st_dev, program.st_ino, text.len() as u64] {
        head.extend(number.to_le_bytes());
    }
    head.extend(program.st_size.to_le_bytes());
    head.extend(program.st_mtime.to_le_bytes());
    head.extend(program.st_mtime_nsec.to_le_bytes());
    head.extend(text.as_bytes());
    Some(head)
}

fn name(head: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    head.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Whatever is wrong with a file, the profile is compiled.
fn read(path: &Path, head: &[u8]) -> Option<Filter> {
    let longest = head.len() + 8 * (1 + INSTRUCTIONS_MAX);
    let bytes = limited::read_to_end(File::open(path).ok()?, longest as u64).ok()??;
    let (flags, program) = bytes.strip_prefix(head)?.split_first_chunk()?;
    let (instructions, []) = program.as_chunks() else {
        return None;
    };
    if instructions.is_empty() {
        return None;
    }
    Some(Filter {
        program: instructions.iter().copied().map(instruction).collect(),
        flags: u64::from_le_bytes(*flags),
    })
}

fn instruction([code, of_code, jump_true, jump_false, k0, k1, k2, k3]: [u8; 8]) -> Instruction {
    Instruction {
        code: u16::from_le_bytes([code, of_code]),
        jump_true,
        jump_false,
        operand: u32::from_le_bytes([k0, k1, k2, k3]),
    }
}

fn keep(folder: &Path, path: &Path, head: Vec<u8>, filter: &Filter) -> Result<()> {
    let made = match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => make_room(folder),
        made => made,
    };
    made.with_context(|| format!("prepare {}", folder.display()))?;
    let mut bytes = head;
    bytes.extend(filter.flags.to_le_bytes());
    for instruction in &filter.program {
        bytes.extend(instruction.code.to_le_bytes());
        bytes.extend([instruction.jump_true, instruction.jump_false]);
        bytes.extend(instruction.operand.to_le_bytes());
    }
    write_atomic(path, &bytes, Durability::Cached)
}

fn make_room(folder: &Path) -> io::Result<()> {
    let kept: Vec<_> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    if kept.len() < COUNT_MAX {
        return Ok(());
    }
    for file in kept {
        match fs::remove_file(file.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn profile(name: &str) -> Profile {
        let text = format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","flags":[],"syscalls":[
                {{"names":["{name}"],"action":"SCMP_ACT_ERRNO","args":[{{"index":0,"value":7,"op":"SCMP_CMP_EQ"}}]}}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("aril-{name}-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        folder
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let files = fs::read_dir(folder).unwrap();
        files.map(|file| file.unwrap().path()).collect()
    }

    #[test]
    fn what_was_compiled_is_kept_and_the_same() {
        let scratch = scratch("filters-kept");
        let folder = scratch.join("filters");
        let first = compiled(&profile("mkdir"), Some(&folder)).unwrap();
        let [file] = files(&folder).try_into().unwrap();
        // The kept one is taken: it is read from the file, which says something else now.
        let mut bytes = fs::read(&file).unwrap();
        let operand = bytes.len() - 4;
        bytes[operand] ^= 1;
        fs::write(&file, &bytes).unwrap();
        let second = compiled(&profile("mkdir"), Some(&folder)).unwrap();
        assert_ne!(first, second);
        bytes[operand] ^= 1;
        fs::write(&file, &bytes).unwrap();
        assert_eq!(compiled(&profile("mkdir"), Some(&folder)).unwrap(), first);
        assert_eq!(compiled(&profile("mkdir"), None).unwrap(), first);
        fs::remove_dir_all(scratch).unwrap();
    }

    #[test]
    fn a_file_of_another_profile_or_a_damaged_one_does_not_count() {
        let scratch = scratch("filters-bad");
        let folder = scratch.as_path();
        let right = compiled(&profile("mkdir"), Some(folder)).unwrap();
        let [file] = files(folder).try_into().unwrap();
        let good = fs::read(&file).unwrap();
        let other = head(profile("rmdir").text()).unwrap();
        let cut = |length: usize| good[..length].to_vec();
        for bad in [
            [&other, &good[other.len()..]].concat(),
            cut(good.len() - 1),
            cut(good.len() / 2),
            cut(head(profile("mkdir").text()).unwrap().len() + 8),
            Vec::new(),
        ] {
            fs::write(&file, bad).unwrap();
            assert_eq!(compiled(&profile("mkdir"), Some(folder)).unwrap(), right);
            // It has been put right.
            assert_eq!(fs::read(&file).unwrap(), good);
        }
        fs::remove_dir_all(scratch).unwrap();
    }

    #[test]
    fn a_folder_does_not_grow_for_ever() {
        let scratch = scratch("filters-room");
        for number in 0..=COUNT_MAX {
            compiled(&profile(&format!("call{number}")), Some(&scratch)).unwrap();
        }
        assert_eq!(files(&scratch).len(), 1);
        fs::remove_dir_all(scratch).unwrap();
    }

    #[test]
    fn a_profile_that_is_wrong_is_refused_each_time() {
        let scratch = scratch("filters-wrong");
        let wrong: Profile =
            serde_json::from_str(r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#).unwrap();
        for _ in 0..2 {
            compiled(&wrong, Some(&scratch)).unwrap_err();
        }
        assert!(files(&scratch).is_empty());
        fs::remove_dir(scratch).unwrap();
    }
}
