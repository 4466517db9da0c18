//! Standard streams of a container's process, and its terminal.
//!
//! A terminal is opened in the container's own devpts, and its other side by TIOCGPTPEER on the very descriptor (kernel
//! 4.13): no path in the container is trusted on the way (CVE-2025-52565).

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, statat};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use rustix::termios::{Winsize, tcsetwinsize};

use super::channel::{Failure, OrFail as _};
use super::devices::open_dev;
use crate::oci::runtime::ConsoleSize;
use crate::sys::mount::{attach, clone_tree};
use crate::sys::process::to_standard_stream;
use crate::sys::rooted::Root;

/// What becomes standard input, output and error of a container's process.
#[derive(Clone, Copy, Debug)]
pub enum Stdio<'a> {
    /// Those of this process.
    Inherit,
    /// These three.
    Given([BorrowedFd<'a>; 3]),
    /// A new terminal of this size; its master side comes back in `Process`.
    Terminal(Option<ConsoleSize>),
}

/// Both sides of a new terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    pub(super) master: OwnedFd,
    pub(super) peer: OwnedFd,
}

/// Opens a terminal of `size` in the devpts whose root is `pts`.
pub(super) fn open(pts: BorrowedFd<'_>, size: Option<ConsoleSize>) -> Result<Terminal, Failure> {
    let open = || -> io::Result<Terminal> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let master = rustix::fs::openat(pts, "ptmx", flags, Mode::empty())?;
        check_ptmx(&master)?;
        rustix::pty::unlockpt(&master)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let peer = ioctl_tiocgptpeer(&master, flags)?;
        if let Some(size) = size {
            let cells = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
            let size = Winsize {
                ws_row: cells(size.height),
                ws_col: cells(size.width),
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            tcsetwinsize(&master, size)?;
        }
        Ok(Terminal { master, peer })
    };
    open().or_fail(|| "open a terminal".to_owned())
}

/// The name `ptmx` can be anything in a container that is running already.
fn check_ptmx(master: &OwnedFd) -> io::Result<()> {
    let found = statat(master, "", AtFlags::EMPTY_PATH)?;
    let is_ptmx = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice
        && found.st_rdev == rustix::fs::makedev(5, 2)
        && rustix::fs::fstatfs(master)?.f_type == libc::DEVPTS_SUPER_MAGIC;
    if is_ptmx {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::ENODEV))
    }
}

/// Puts the terminal at /dev/console.
pub(super) fn bind_console(root: &Root, terminal: &Terminal) -> Result<(), Failure> {
    let what = || "put the terminal at /dev/console".to_owned();
    let dev = open_dev(root)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    match rustix::fs::openat(&dev, "console", flags, mode) {
        Ok(_) | Err(rustix::io::Errno::EXIST) => {}
        Err(errno) => return Err(errno).or_fail(what),
    }
    let put = || -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = rustix::fs::openat(&dev, "console", flags, Mode::empty())?;
        let console = clone_tree(terminal.peer.as_fd(), false)?;
        attach(console.as_fd(), target.as_fd())
    };
    put().or_fail(what)
}

/// Makes the terminal the controlling one and the three standard streams of this process, which leads its session.
pub(super) fn control(peer: &OwnedFd) -> Result<(), Failure> {
    rustix::process::ioctl_tiocsctty(peer).or_fail(|| "take over the terminal".to_owned())?;
    redirect([peer.as_fd(); 3])
}

/// Makes `streams` the standard streams of this process.
pub(super) fn redirect(streams: [BorrowedFd<'_>; 3]) -> Result<(), Failure> {
    let redirect = || -> io::Result<()> {
        // One that has the place of another is moved out of the way first.
        let high: RawFd = 3;
        let mut moved = Vec::new();
        for stream in streams {
            moved.push(if stream.as_raw_fd() < high {
                Some(rustix::io::fcntl_dupfd_cloexec(stream, high)?)
            } else {
                None
            });
        }
        for (number, (stream, moved)) in streams.iter().zip(&moved).enumerate() {
            let stream = moved.as_ref().map_or(*stream, |moved| moved.as_fd());
            to_standard_stream(stream, number)?;
        }
        Ok(())
    };
    redirect().or_fail(|| "redirect the standard streams".to_owned())
}

fn is_null(found: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice
        && found.st_rdev == rustix::fs::makedev(1, 3)
}

/// Opens /dev/null of the present root; whatever else the name may be by now is not waited for, and not taken.
fn open_null() -> io::Result<OwnedFd> {
    let flags =
        OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let null = rustix::fs::open("/dev/null", flags, Mode::empty())?;
    if !is_null(&rustix::fs::fstat(&null)?) {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    rustix::fs::fcntl_setfl(&null, OFlags::empty())?;
    Ok(null)
}

/// Gives pipes, sockets and the container's terminal on the standard streams to user `uid`, who may want to open them
/// anew by /dev/stdout. Files and terminals of the host keep their owner; its /dev/null is exchanged for the container's, since
/// a stream that is on a mount of the host cannot be saved by a checkpoint.
pub(super) fn own_streams(uid: u32, has_terminal: bool) {
    let mut null = None;
    for (number, stream) in [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ]
    .into_iter()
    .enumerate()
    {
        let Ok(found) = rustix::fs::fstat(stream) else {
            continue;
        };
        if is_null(&found) {
            let null = null.get_or_insert_with(open_null);
            // Best effort: a container need not have one.
            if let Ok(null) = null
                && let Err(error) = to_standard_stream(null.as_fd(), number)
            {
                tracing::trace!("exchange standard stream {number}: {error}");
            }
            continue;
        }
        let ours = match FileType::from_raw_mode(found.st_mode) {
            FileType::Fifo | FileType::Socket => true,
            FileType::CharacterDevice => has_terminal,
            _ => false,
        };
        if ours && found.st_uid != uid {
            // Best effort, as with runc: pipes of a user namespace's outside cannot be given away.
            if let Err(errno) =
                rustix::fs::fchown(stream, Some(rustix::fs::Uid::from_raw(uid)), None)
            {
                tracing::trace!("give a standard stream to user {uid}: {errno}");
            }
        }
    }
}
