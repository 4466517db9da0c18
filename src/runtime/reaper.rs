//! The init of a container that asks for one (`--init`): starts the program as its child, passes signals on to it, reaps
//! what is orphaned, and ends with the program's status.
//!
//! It is this very process, which has nothing left of the host but its memory: no binary has to be put into the container,
//! and none of ours is executed there. The process is not dumpable, so /proc/1/exe and its memory are closed to the
//! container; its name and command line are those of docker's init.

use std::ffi::{CStr, CString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;

use rustix::process::{Pid, WaitOptions, wait};

use super::channel::{Channel, Failure, OrFail as _};
use super::last::{execute, report};
use crate::sys::clone::fork;
use crate::sys::process::close_all_from;
use crate::sys::signal;

/// As `ps` shows it: the path under which docker mounts its init.
const NAME: &CStr = c"docker-init";
const PATH: &[u8] = b"/sbin/docker-init";

/// Runs `program` as a child until it ends; returns the exit status for this process: the program's, or 128 and the
/// number of the signal that killed it.
pub(super) fn run(
    program: &CStr,
    args: &[CString],
    env: &[CString],
    channel: &Channel,
) -> Result<i32, Failure> {
    signal::block_signals().or_fail(|| "block signals".to_owned())?;
    // Neither is worth a container: they are for whoever looks at it.
    let named = rustix::thread::set_name(NAME).map_err(io::Error::from);
    if let Err(error) = named.and(set_command_line(args)) {
        tracing::trace!("set name and command line of the init: {error}");
    }
    let child = fork(|| {
        let failed = lead_and_execute(program, args, env);
        if let Err(failure) = &failed {
            report(channel, failure);
        }
        127
    })
    .or_fail(|| "fork the program of the init".to_owned())?;
    // The other side waits for the end of the channel, of which the child now has the only copy.
    close_all_from(3, &mut []).or_fail(|| "close descriptors".to_owned())?;
    loop {
        let received = signal::wait_for_signal().or_fail(|| "wait for signals".to_owned())?;
        if received == libc::SIGCHLD {
            if let Some(code) = reap(child) {
                return Ok(code);
            }
        } else if let Err(error) = signal::send_to_child(child, received) {
            tracing::trace!("pass on signal {received}: {error}");
        }
    }
}

/// The child's part: a process group of its own, in the foreground of the terminal if there is one, so that what the
/// terminal sends reaches the program once and not its init.
fn lead_and_execute(
    program: &CStr,
    args: &[CString],
    env: &[CString],
) -> Result<std::convert::Infallible, Failure> {
    let what = || "lead a process group".to_owned();
    rustix::process::setpgid(None, None).or_fail(what)?;
    // Signals are still blocked, or this would stop a process that is not in the foreground yet.
    match rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid()) {
        Ok(())
        | Err(rustix::io::Errno::NOTTY | rustix::io::Errno::BADF | rustix::io::Errno::NXIO) => {}
        Err(errno) => return Err(errno).or_fail(|| "take the foreground".to_owned()),
    }
    signal::unblock_signals().or_fail(|| "unblock signals".to_owned())?;
    execute(program, args, env)
}

/// Takes the status of every child that has ended; returns the exit status once `program` is among them.
fn reap(program: Pid) -> Option<i32> {
    let mut code = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == program {
            code = status
                .exit_status()
                .or_else(|| status.terminating_signal().map(|signal| 128 + signal));
        }
    }
    code
}

/// Overwrites the command line that `ps` shows, and the environment behind it, which is that of our caller.
fn set_command_line(args: &[CString]) -> io::Result<()> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (start, end, limit) =
        areas(&stat).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    let mut words: Vec<&[u8]> = vec![PATH, b"--"];
    words.extend(args.iter().map(|arg| arg.to_bytes()));
    let line = command_line(&words, end - start, limit - start);
    let memory: File = OpenOptions::new().write(true).open("/proc/self/mem")?;
    memory.write_all_at(&line, start as u64)
}

/// Start and end of the arguments and end of the environment in memory (proc_pid_stat(5), fields 48, 49 and 51).
fn areas(stat: &str) -> Option<(usize, usize, usize)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<usize>().ok();
    let (start, end, limit) = (number(48)?, number(49)?, number(51)?);
    (start < end && end <= limit).then_some((start, end, limit))
}

/// Fills `all` bytes. If the words fit in the `own` bytes of the arguments they are laid out as the kernel shows them;
/// else they go on into the environment as one text, which it shows if the last byte of the arguments is not zero.
fn command_line(words: &[&[u8]], own: usize, all: usize) -> Vec<u8> {
    let mut line = words.join(&0);
    if line.len() >= own {
        line = words.join(&b' ');
        line.truncate(all - 1);
    }
    line.resize(all, 0);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_command_lines_use_the_room_of_the_environment() {
        let words: [&[u8]; 2] = [b"init", b"sleep"];
        assert_eq!(command_line(&words, 12, 14), b"init\0sleep\0\0\0\0");
        assert_eq!(command_line(&words, 10, 14), b"init sleep\0\0\0\0");
        assert_eq!(command_line(&words, 3, 8), b"init sl\0");
    }

    #[test]
    fn this_process_has_its_areas() {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let (start, end, limit) = areas(&stat).unwrap();
        assert!(start < end && end <= limit);
    }
}
