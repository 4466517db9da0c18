//! The program of a process: where it is found, and why it cannot be executed.
//!
//! What is wrong is said in runc's words, which docker and scripts look for. The kernel's own answer to an exec is often
//! the least of the story (ENOENT for a script whose interpreter is missing), so the file is looked into.

use std::ffi::CString;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, FileType, StatVfsMountFlags, accessat, stat};

use super::channel::{Failure, Step, errno_of};
use crate::error::describe;

/// Where programs are looked for if the environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns the path of program `name`, looked up in the directories of `search` (a PATH) unless it has a slash.
///
/// Looks as the user and with the capabilities that are in force now, in the root and working directory of now.
pub(super) fn find(name: &str, search: Option<&str>) -> Result<CString, Failure> {
    let fail = |errno: i32, text: &str| {
        Failure::worded(Step::Program, errno, format!("exec: {name:?}: {text}"))
    };
    let denied = |path: &Path, errno: i32| Failure {
        hint: obstacle(path).unwrap_or_default(),
        ..fail(errno, &describe(errno))
    };
    if name.contains('/') {
        return match check(Path::new(name)) {
            Ok(()) => Ok(c_string(name.as_bytes())),
            Err(errno @ (libc::ENOENT | libc::ENOTDIR)) => {
                Err(fail(errno, &format!("stat {name}: {}", describe(errno))))
            }
            // As runc says it.
            Err(libc::EISDIR) => Err(fail(libc::EISDIR, "is a directory: permission denied")),
            Err(errno) => Err(denied(Path::new(name), errno)),
        };
    }
    if name.is_empty() {
        return Err(fail(libc::ENOENT, "executable file not found in $PATH"));
    }
    let mut refused = None;
    for directory in search.unwrap_or(DEFAULT_PATH).split(':') {
        // An empty entry means the working directory, which must not decide what runs.
        if directory.is_empty() {
            continue;
        }
        let path = Path::new(directory).join(name);
        match check(&path) {
            Ok(()) if path.is_absolute() => return Ok(c_string(path.as_os_str().as_bytes())),
            Ok(()) => {
                return Err(fail(
                    libc::ENOENT,
                    "cannot run executable found relative to current directory",
                ));
            }
            Err(libc::EACCES) => refused = refused.or(Some(path)),
            Err(_) => {}
        }
    }
    if let Some(path) = refused {
        return Err(denied(&path, libc::EACCES));
    }
    Err(fail(libc::ENOENT, "executable file not found in $PATH"))
}

fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).expect("arguments and environment were checked for NUL")
}

/// Whether `path` is a file that may be executed; the error number if not.
fn check(path: &Path) -> Result<(), i32> {
    let found = stat(path).map_err(rustix::io::Errno::raw_os_error)?;
    if FileType::from_raw_mode(found.st_mode).is_dir() {
        return Err(libc::EISDIR);
    }
    // The effective ids and capabilities count, not the real ones; noexec mounts refuse here as well.
    match accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        Ok(()) if found.st_mode & 0o111 != 0 => Ok(()),
        Ok(()) => Err(libc::EACCES),
        Err(errno) => Err(errno.raw_os_error()),
    }
}

/// Returns what keeps a file that is there from being executed, in words that follow "hint:".
fn obstacle(path: &Path) -> Option<String> {
    let shown = path.display();
    let found = match stat(path) {
        Ok(found) => found,
        Err(errno) => {
            let errno = errno.raw_os_error();
            return (errno == libc::EACCES).then(|| {
                format!("a directory on the way to {shown} is closed to the user: see --user")
            });
        }
    };
    let on = rustix::fs::statvfs(path);
    if on.is_ok_and(|on| on.f_flag.contains(StatVfsMountFlags::NOEXEC)) {
        return Some(format!(
            "{shown} is on a mount with noexec; without it: --tmpfs PATH:exec, or another mount of the host"
        ));
    }
    let mode = found.st_mode & 0o7777;
    if mode & 0o111 == 0 {
        return Some(format!(
            "{shown} is not executable, its mode is {mode:o}: chmod +x, or name its interpreter before it"
        ));
    }
    let (user, group) = (found.st_uid, found.st_gid);
    let why = format!("{shown} has mode {mode:o} and belongs to {user}:{group}");
    Some(format!(
        "{why}, and the user may not execute it: see --user"
    ))
}

/// Returns the failure of an exec of `path` that the kernel refused with `errno`, with what the file itself tells.
pub(super) fn explain(path: &Path, errno: i32) -> Failure {
    let mut text = format!("exec {}: {}", path.display(), describe(errno));
    if let Some(reason) = reason(path, errno) {
        text = format!("{text} ({reason})");
    }
    Failure::worded(Step::Program, errno, text)
}

fn reason(path: &Path, errno: i32) -> Option<String> {
    let mut head = Vec::new();
    let file = File::open(path).map_err(|error| errno_of(&error)).ok()?;
    file.take(4096).read_to_end(&mut head).ok()?;
    match errno {
        libc::ENOENT | libc::EACCES | libc::ELOOP | libc::ENOTDIR => {
            let (kind, interpreter) = interpreter(&head)?;
            let shown = interpreter.display();
            if interpreter.as_os_str().as_bytes().ends_with(b"\r") {
                return Some(format!(
                    "its {kind} is {:?}: the script has the line ends of Windows",
                    interpreter.to_string_lossy()
                ));
            }
            match check(&interpreter) {
                Ok(()) => None,
                Err(errno) => Some(format!("its {kind} {shown}: {}", describe(errno))),
            }
        }
        libc::ENOEXEC if head.is_empty() => Some("the file is empty".to_owned()),
        libc::ENOEXEC => match machine(&head) {
            Some(machine) => Some(format!(
                "the program is for {machine}, this host is {}",
                std::env::consts::ARCH
            )),
            None if !head.starts_with(b"\x7fELF") && !head.starts_with(b"#!") => {
                Some("neither a program nor a script that begins with #!".to_owned())
            }
            None => None,
        },
        _ => None,
    }
}

/// The interpreter that the kernel starts for a script or a dynamically linked program.
fn interpreter(head: &[u8]) -> Option<(&'static str, PathBuf)> {
    let path = |bytes: &[u8]| Path::new(std::ffi::OsStr::from_bytes(bytes)).to_owned();
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|&byte| byte == b'\n').next()?;
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let word = line.split(blank).find(|word| !word.is_empty())?;
        return Some(("interpreter", path(word)));
    }
    // Little-endian ELF of 64 or 32 bits: program headers of 56 or 32 bytes, PT_INTERP is 3.
    let wide = match head.get(..6)? {
        b"\x7fELF\x02\x01" => true,
        b"\x7fELF\x01\x01" => false,
        _ => return None,
    };
    let number = |at: usize, length: usize| -> Option<usize> {
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(head.get(at..at + length)?);
        usize::try_from(u64::from_le_bytes(bytes)).ok()
    };
    let (first, count, length) = if wide {
        (number(32, 8)?, number(56, 2)?, 56)
    } else {
        (number(28, 4)?, number(44, 2)?, 32)
    };
    for index in 0..count {
        let header = first.checked_add(index * length)?;
        if number(header, 4)? == 3 {
            let (start, bytes) = if wide {
                (number(header + 8, 8)?, number(header + 32, 8)?)
            } else {
                (number(header + 4, 4)?, number(header + 16, 4)?)
            };
            let end = start.checked_add(bytes)?;
            let name = head.get(start..end)?.split(|&byte| byte == 0).next()?;
            return Some(("dynamic loader", path(name)));
        }
    }
    None
}

/// The machine of an ELF file (e_machine) that is not this host's.
fn machine(head: &[u8]) -> Option<String> {
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    let number: [u8; 2] = head.get(18..20)?.try_into().ok()?;
    // Some machines write their numbers the other way round, and say so.
    let number = match head.get(5)? {
        2 => u16::from_be_bytes(number),
        _ => u16::from_le_bytes(number),
    };
    let name = match number {
        3 => "x86",
        8 => "mips",
        20 => "powerpc",
        21 => "powerpc64",
        22 => "s390x",
        40 => "arm",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv64",
        258 => "loongarch64",
        other => return Some(format!("machine {other}")),
    };
    (name != std::env::consts::ARCH).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_runc_says() {
        let text = |name: &str, search: Option<&str>| find(name, search).unwrap_err().text;
        assert_eq!(
            find("sh", None)
                .unwrap()
                .to_str()
                .unwrap()
                .split('/')
                .next_back(),
            Some("sh")
        );
        assert_eq!(
            text("nosuchprogram", None),
            "exec: \"nosuchprogram\": executable file not found in $PATH"
        );
        assert_eq!(
            text("/nosuchprogram", None),
            "exec: \"/nosuchprogram\": stat /nosuchprogram: no such file or directory"
        );
        assert_eq!(
            text("/etc", None),
            "exec: \"/etc\": is a directory: permission denied"
        );
        assert_eq!(
            text("/etc/passwd", None),
            "exec: \"/etc/passwd\": permission denied"
        );
        assert_eq!(
            text("passwd", Some("/nowhere::/etc")),
            "exec: \"passwd\": permission denied"
        );
        assert_eq!(
            text("", Some("/bin")),
            "exec: \"\": executable file not found in $PATH"
        );
        assert_eq!(find("/etc", None).unwrap_err().errno, libc::EISDIR);
    }

    #[test]
    fn what_is_in_the_way_of_a_file_is_told() {
        let hint = |name: &str| find(name, None).unwrap_err().hint;
        assert_eq!(
            hint("/etc/passwd"),
            "/etc/passwd is not executable, its mode is 644: chmod +x, or name its interpreter before it"
        );
        assert_eq!(hint("/nosuchprogram"), "");
        assert_eq!(hint("/etc"), "");
    }

    fn check_reason(content: &[u8], errno: i32, expected: Option<&str>) {
        let path = std::env::temp_dir().join(format!("aril-program-{}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        let found = reason(&path, errno);
        std::fs::remove_file(path).unwrap();
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn files_tell_why_they_cannot_be_executed() {
        check_reason(
            b"#!/no/such sh\n",
            libc::ENOENT,
            Some("its interpreter /no/such: no such file or directory"),
        );
        check_reason(
            b"#!/bin/sh\r\nx",
            libc::ENOENT,
            Some("its interpreter is \"/bin/sh\\r\": the script has the line ends of Windows"),
        );
        check_reason(b"", libc::ENOEXEC, Some("the file is empty"));
        check_reason(
            b"echo hello\n",
            libc::ENOEXEC,
            Some("neither a program nor a script that begins with #!"),
        );
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(64, 0);
        elf[5] = 2;
        elf[19] = 22;
        let text = format!(
            "the program is for s390x, this host is {}",
            std::env::consts::ARCH
        );
        check_reason(&elf, libc::ENOEXEC, Some(&text));
        // A program of 32 bits: one header at 52, whose 8 bytes at 84 are the loader's name.
        let mut elf = b"\x7fELF\x01\x01\x01".to_vec();
        elf.resize(84, 0);
        (elf[28], elf[44], elf[52], elf[56], elf[68]) = (52, 1, 3, 84, 8);
        elf.extend(b"/no/ld1\0");
        let text = "its dynamic loader /no/ld1: no such file or directory";
        check_reason(&elf, libc::ENOENT, Some(text));
    }
}
