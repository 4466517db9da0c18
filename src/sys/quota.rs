//! Quotas of projects: what a directory and all below it may take of a file system (ext4 with `prjquota`, xfs with `pquota`).
#![expect(
    unsafe_code,
    reason = "neither nix nor rustix has project quotas by descriptor"
)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStringExt as _;

use super::kernel::{self, Interface};
use super::mountinfo;

/// `struct fsxattr` of linux/fs.h.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    padding: [u8; 8],
}

/// FS_IOC_FSGETXATTR and FS_IOC_FSSETXATTR.
const GET_ATTRIBUTES: libc::Ioctl = libc::_IOR::<Attributes>(b'X' as u32, 31);
const SET_ATTRIBUTES: libc::Ioctl = libc::_IOW::<Attributes>(b'X' as u32, 32);
/// FS_XFLAG_PROJINHERIT: what is made in the directory is of its project.
const INHERITS: u32 = 0x200;
const PROJECT_QUOTA: u32 = 2;
const GET_QUOTA: u32 = 0x80_0007;
const SET_QUOTA: u32 = 0x80_0008;
/// QIF_BLIMITS
const BLOCK_LIMITS: u32 = 1;
/// QIF_DQBLKSIZE
const BLOCK_BYTES: u64 = 1024;

fn attributes(dir: BorrowedFd<'_>) -> io::Result<Attributes> {
    let mut attributes = Attributes::default();
    // SAFETY: the request reads nothing and writes one `struct fsxattr`, whose layout `Attributes` has, before it returns.
    let result = unsafe { libc::ioctl(dir.as_raw_fd(), GET_ATTRIBUTES, &raw mut attributes) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(attributes)
}

/// Returns the project that what is made in a directory belongs to; nothing if that is none.
///
/// Fails with `ENOTTY` or `EOPNOTSUPP` on file systems that know of no projects.
pub fn project(dir: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    let attributes = attributes(dir)?;
    Ok((attributes.flags & INHERITS != 0).then_some(attributes.project))
}

/// Makes a directory, and all that is made in it from now on, part of a project.
pub fn set_project(dir: BorrowedFd<'_>, project: u32) -> io::Result<()> {
    let mut attributes = attributes(dir)?;
    attributes.flags |= INHERITS;
    attributes.project = project;
    // SAFETY: the request reads one `struct fsxattr`, whose layout `Attributes` has, before it returns.
    let result = unsafe { libc::ioctl(dir.as_raw_fd(), SET_ATTRIBUTES, &raw const attributes) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Asks or tells the file system of `file` about the quota of a project.
fn call(
    file: BorrowedFd<'_>,
    command: u32,
    project: u32,
    quota: &mut libc::dqblk,
) -> io::Result<()> {
    if !kernel::forced_off(Interface::QuotactlFd) {
        match call_by_descriptor(file, command, project, quota) {
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {}
            done => return done,
        }
    }
    call_by_device(&device(file)?, command, project, quota)
}

/// Returns the block device of the file system of `file`, as the mount table names it.
fn device(file: BorrowedFd<'_>) -> io::Result<CString> {
    let number = rustix::fs::fstat(file)?.st_dev;
    let number = format!(
        "{}:{}",
        rustix::fs::major(number),
        rustix::fs::minor(number)
    );
    let table = std::fs::read_to_string("/proc/thread-self/mountinfo")?;
    let mount = mountinfo::parse(&table).find(|mount| mount.device == number);
    let source = mount.ok_or(io::ErrorKind::NotFound)?.source;
    Ok(CString::new(
        source.into_owned().into_os_string().into_vec(),
    )?)
}

/// … by the name of its block device.
fn call_by_device(
    device: &CStr,
    command: u32,
    project: u32,
    quota: &mut libc::dqblk,
) -> io::Result<()> {
    let command = (command << 8 | PROJECT_QUOTA).cast_signed();
    // SAFETY: the name is a valid C string; both commands read or write one `struct dqblk`, which `quota` is, before the
    // call returns.
    let result = unsafe {
        libc::quotactl(
            command,
            device.as_ptr(),
            project.cast_signed(),
            std::ptr::from_mut(quota).cast(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// … by a descriptor of any file of it (kernel 5.14).
fn call_by_descriptor(
    file: BorrowedFd<'_>,
    command: u32,
    project: u32,
    quota: &mut libc::dqblk,
) -> io::Result<()> {
    // SAFETY: both commands read or write one `struct dqblk`, which `quota` is, before the call returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            file.as_raw_fd(),
            command << 8 | PROJECT_QUOTA,
            project,
            std::ptr::from_mut(quota),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn no_quota() -> libc::dqblk {
    libc::dqblk {
        dqb_bhardlimit: 0,
        dqb_bsoftlimit: 0,
        dqb_curspace: 0,
        dqb_ihardlimit: 0,
        dqb_isoftlimit: 0,
        dqb_curinodes: 0,
        dqb_btime: 0,
        dqb_itime: 0,
        dqb_valid: 0,
    }
}

/// Returns how many bytes a project may have on the file system of `file`; 0 is no limit, and an unknown project has none.
///
/// Fails with `ESRCH` where quotas of projects are not counted.
pub fn limit(file: BorrowedFd<'_>, project: u32) -> io::Result<u64> {
    let mut quota = no_quota();
    match call(file, GET_QUOTA, project, &mut quota) {
        Ok(()) => Ok(quota.dqb_bhardlimit * BLOCK_BYTES),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(0),
        Err(error) => Err(error),
    }
}

/// Sets how many bytes a project may have on the file system of `file`, in steps of 1024; 0 is no limit.
pub fn set_limit(file: BorrowedFd<'_>, project: u32, bytes: u64) -> io::Result<()> {
    let mut quota = no_quota();
    quota.dqb_bhardlimit = bytes.div_ceil(BLOCK_BYTES);
    quota.dqb_bsoftlimit = quota.dqb_bhardlimit;
    quota.dqb_valid = BLOCK_LIMITS;
    call(file, SET_QUOTA, project, &mut quota)
}
