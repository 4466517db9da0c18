//! Device programs of cgroup2 directories: load, attach, list, detach (bpf(2), kernel 4.15).
#![expect(unsafe_code, reason = "bpf has no safe wrapper in nix or rustix")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

/// One instruction of the eBPF machine (`struct bpf_insn`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination register in the low four bits, source register in the high ones.
    pub registers: u8,
    /// Offset of a jump, in instructions, or of a memory access, in bytes.
    pub offset: i16,
    /// Immediate operand.
    pub immediate: i32,
}

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// How many programs of one directory are looked at; the kernel allows 64.
const PROGRAMS_MAX: u32 = 64;

/// Loads a program that decides on the access to devices.
///
/// Fails with `EACCES` or `EINVAL` if the verifier refuses the program, and with `EPERM` without CAP_BPF or CAP_SYS_ADMIN.
pub fn load_device_program(program: &[Instruction]) -> io::Result<OwnedFd> {
    /// `union bpf_attr`, the part of BPF_PROG_LOAD that kernel 4.14 has.
    #[repr(C)]
    #[derive(Default)]
    struct Load {
        program_type: u32,
        length: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buffer: u64,
        kernel_version: u32,
        flags: u32,
    }
    let license: &CStr = c"Apache-2.0";
    let load = Load {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        length: u32::try_from(program.len())
            .map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
        instructions: program.as_ptr().addr() as u64,
        license: license.as_ptr().addr() as u64,
        ..Load::default()
    };
    call(BPF_PROG_LOAD, &load).map(owned)
}

/// The part of `union bpf_attr` that BPF_PROG_ATTACH and BPF_PROG_DETACH share.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
}

/// Adds `program` to those that decide for the cgroup2 directory `cgroup`; all of them must allow an access.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attach = Attach {
        target: raw(cgroup),
        program: raw(program),
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
        ..Attach::default()
    };
    call(BPF_PROG_ATTACH, &attach).map(drop)
}

/// Takes `program` away from the cgroup2 directory `cgroup`.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let detach = Attach {
        target: raw(cgroup),
        program: raw(program),
        kind: BPF_CGROUP_DEVICE,
        ..Attach::default()
    };
    call(BPF_PROG_DETACH, &detach).map(drop)
}

/// Returns the programs that are attached to the cgroup2 directory `cgroup` itself.
pub fn device_programs(cgroup: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    /// `union bpf_attr`, BPF_PROG_QUERY as of kernel 4.15.
    #[repr(C)]
    #[derive(Default)]
    struct Query {
        target: u32,
        kind: u32,
        how: u32,
        attach_flags: u32,
        ids: u64,
        count: u32,
        padding: u32,
    }
    #[repr(C)]
    #[derive(Default)]
    struct ById {
        id: u32,
        next: u32,
        flags: u32,
    }
    let mut ids = [0_u32; PROGRAMS_MAX as usize];
    let mut query = Query {
        target: raw(cgroup),
        kind: BPF_CGROUP_DEVICE,
        ids: ids.as_mut_ptr().addr() as u64,
        count: PROGRAMS_MAX,
        ..Query::default()
    };
    call_mut(BPF_PROG_QUERY, &mut query)?;
    ids.iter()
        .take(query.count as usize)
        .map(|&id| {
            let program = ById {
                id,
                ..ById::default()
            };
            call(BPF_PROG_GET_FD_BY_ID, &program).map(owned)
        })
        .collect()
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn call<T>(command: libc::c_int, attributes: &T) -> io::Result<RawFd> {
    // SAFETY: `attributes` is one of the structs of this file: the kernel's layout for the command, plain old data, of the
    // size that is passed. Addresses in it are of slices that the callers borrow over the call; those commands only read.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    number(result)
}

fn call_mut<T>(command: libc::c_int, attributes: &mut T) -> io::Result<RawFd> {
    // SAFETY: as in `call`; the kernel also writes into `attributes`, which is borrowed mutably, and to the addresses in
    // it, which are of arrays that the caller owns, no more elements than `attributes` says.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    };
    number(result)
}

fn number(result: libc::c_long) -> io::Result<RawFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(result).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))
}

fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: the callers pass what BPF_PROG_LOAD or BPF_PROG_GET_FD_BY_ID has just returned: a descriptor that the kernel
    // made, close-on-exec, and that nothing else owns.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
