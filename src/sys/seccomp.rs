//! Installs a filter of system calls in this process.
#![expect(unsafe_code, reason = "seccomp has no safe wrapper in nix or rustix")]

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

/// One instruction of the classic BPF machine (`struct sock_filter`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to pass over if the condition holds.
    pub jump_true: u8,
    /// Instructions to pass over if it does not.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

#[repr(C)]
struct Program {
    length: libc::c_ushort,
    instructions: *const Instruction,
}

/// Makes every later system call of this thread, and of what it becomes, pass through `program`.
///
/// `flags` are SECCOMP_FILTER_FLAG_* bits; with NEW_LISTENER (kernel 5.0) the result is the listener. Fails with `EACCES`
/// without CAP_SYS_ADMIN or no_new_privs, and with `EINVAL` for a program or flag that this kernel does not take.
pub fn install(program: &[Instruction], flags: u64) -> io::Result<Option<OwnedFd>> {
    let program = Program {
        length: libc::c_ushort::try_from(program.len())
            .map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
        instructions: program.as_ptr(),
    };
    // SAFETY: `program` has the layout of struct sock_fprog and points to as many instructions as it says, which outlive
    // the call; the kernel copies and verifies them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    if flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
        return Ok(None);
    }
    let listener =
        RawFd::try_from(result).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: with NEW_LISTENER the call returns a descriptor that it has just made and that nothing else owns.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(listener) }))
}
