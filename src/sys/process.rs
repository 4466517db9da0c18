//! Descriptors over an exec, the loopback interface, our own binary as a file that nobody can write.
#![expect(
    unsafe_code,
    reason = "close_range, dup2 and F_SETFD by number, and SIOCSIFFLAGS have no safe wrapper"
)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};

use crate::sys::kernel::{self, Interface};
use crate::sys::mount::{MountAttributes, clone_tree, set_attributes};

/// SIOCSIFFLAGS, in the type of an ioctl, which libc's constant is not everywhere.
const SET_FLAGS: libc::Ioctl = 0x8914;

/// Marks every descriptor from `first` on close-on-exec (kernel 5.11), so that an exec passes on only lower ones.
pub fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    let first =
        libc::c_uint::try_from(first).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: setting FD_CLOEXEC closes nothing now; no descriptor of this process changes its owner or its meaning.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Closes every descriptor from `first` on but those in `keep` (kernel 5.9).
///
/// Only for a process that ends in an exec or in [`crate::sys::clone::exit_now`]: whatever still owns one of those
/// descriptors must not be used or dropped any more. Marking them close-on-exec would not do where the path of the program
/// or of its working directory may lead through /proc/self/fd (CVE-2024-21626).
pub fn close_all_from(first: RawFd, keep: &mut [RawFd]) -> io::Result<()> {
    keep.sort_unstable();
    let mut next = first;
    for &mut kept in keep {
        if kept >= next {
            if kept > next {
                close_range(next, kept - 1)?;
            }
            next = kept + 1;
        }
    }
    close_range(next, RawFd::MAX)
}

fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    // SAFETY: this takes descriptors away from their owners; the callers of `close_all_from` promise that those are never
    // used again. The call itself takes numbers only.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Returns whether this process is in another user namespace than the host's first, whose number is part of the kernel's
/// interface (USER_NS_INIT_INO).
pub fn in_user_namespace() -> bool {
    const FIRST: u64 = 0xefff_fffd;
    rustix::fs::stat("/proc/self/ns/user").is_ok_and(|found| found.st_ino != FIRST)
}

/// Closes a descriptor in a child of [`crate::sys::clone::clone`] that has it only as a copy of its parent's: the owner, a
/// value that the child never touches again, lives on in the parent.
pub fn abandon(copy: BorrowedFd<'_>) {
    // SAFETY: in this process nothing uses the number any more; the caller promises that for its copy of the owner.
    unsafe { libc::close(copy.as_raw_fd()) };
}

/// Makes `source` standard stream `number` (0, 1 or 2), which an exec passes on.
pub fn to_standard_stream(source: BorrowedFd<'_>, number: usize) -> io::Result<()> {
    let target = match number {
        0..=2 => RawFd::try_from(number).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?,
        _ => return Err(io::Error::from_raw_os_error(libc::EBADF)),
    };
    // SAFETY: the source is open (borrowed). The target is a standard stream, which the standard library, too, takes to be
    // open always and owned by nobody.
    match unsafe { libc::dup2(source.as_raw_fd(), target) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Returns whether this process was started with a descriptor of this number: open, and not close-on-exec.
pub fn is_inherited(number: RawFd) -> bool {
    // SAFETY: F_GETFD only reads a flag; an unused number is EBADF.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    flags != -1 && flags & libc::FD_CLOEXEC == 0
}

/// Returns whether this process has a descriptor with this number.
pub fn is_open(number: RawFd) -> bool {
    // SAFETY: F_GETFD only reads a flag; an unused number is EBADF.
    unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
}

/// Lets an exec pass on the descriptor `number`, which is known by its number alone.
pub fn pass_on(number: RawFd) -> io::Result<()> {
    // SAFETY: this changes no file and no owner, only whether the descriptor outlives an exec.
    match unsafe { libc::fcntl(number, libc::F_SETFD, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Brings up the loopback interface of this process's network namespace.
pub fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: all bytes zero are a valid ifreq: an empty name, and a union of plain numbers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l'.cast_signed();
    request.ifr_name[1] = b'o'.cast_signed();
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING)
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the socket is open and `request` is a whole ifreq with a name that ends in zero; the kernel only reads it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SET_FLAGS, &raw const request) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Returns whether the file that this process runs is on a read-only mount, or sealed in memory.
pub fn runs_sealed() -> io::Result<bool> {
    let exe = rustix::fs::open(
        "/proc/self/exe",
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mount = rustix::fs::fstatvfs(&exe)?;
    if mount.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        return Ok(true);
    }
    // Only a memfd can be sealed; looking at its seals needs more than an O_PATH handle.
    let Ok(exe) = File::open("/proc/self/exe") else {
        return Ok(false);
    };
    Ok(rustix::fs::fcntl_get_seals(&exe).is_ok_and(|seals| seals.contains(SealFlags::WRITE)))
}

/// Returns our own binary as a file to execute that no process can write, even through /proc/PID/exe (CVE-2019-5736).
///
/// It is a detached, read-only clone of the binary's mount; where that cannot be made (kernel 5.12, CAP_SYS_ADMIN), a
/// sealed copy in memory, which costs as much memory as the binary is long. Execute it by `execveat` with AT_EMPTY_PATH
/// or as /proc/self/fd/N.
pub fn sealed_exe() -> io::Result<OwnedFd> {
    if !kernel::forced_off(Interface::DetachedExe)
        && let Ok(exe) = read_only_exe()
    {
        return Ok(exe);
    }
    let copy = rustix::fs::memfd_create("aril", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(copy);
    io::copy(&mut File::open("/proc/self/exe")?, &mut file)?;
    rustix::fs::fcntl_add_seals(
        &file,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    Ok(file.into())
}

fn read_only_exe() -> io::Result<OwnedFd> {
    let exe = rustix::fs::open(
        "/proc/self/exe",
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let clone = clone_tree(exe.as_fd(), false)?;
    let read_only = MountAttributes {
        set: libc::MOUNT_ATTR_RDONLY,
        ..MountAttributes::default()
    };
    set_attributes(clone.as_fd(), read_only, false)?;
    Ok(clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_copy_cannot_be_written() {
        let exe = sealed_exe().unwrap();
        let path = format!("/proc/self/fd/{}", exe.as_raw_fd());
        assert!(
            std::fs::OpenOptions::new().write(true).open(&path).is_err(),
            "the sealed binary was opened for writing"
        );
        assert_eq!(
            std::fs::metadata(&path).unwrap().len(),
            std::fs::metadata("/proc/self/exe").unwrap().len()
        );
    }
}
