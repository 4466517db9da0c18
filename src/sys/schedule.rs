//! Scheduling attributes, io priority, memory policy, session keyring: calls that a new process makes about itself.
#![expect(
    unsafe_code,
    reason = "sched_setattr, ioprio_set, set_mempolicy and keyctl have no safe wrapper in nix or rustix"
)]

use std::ffi::CStr;
use std::io;

/// `struct sched_attr`, version 0 (kernel 3.14, include/uapi/linux/sched/types.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedulingAttributes {
    /// Size of this struct; set by [`set_scheduling`].
    pub size: u32,
    /// SCHED_* number.
    pub policy: u32,
    /// SCHED_FLAG_* bits.
    pub flags: u64,
    /// Nice value of SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// Static priority of SCHED_FIFO and SCHED_RR.
    pub priority: u32,
    /// Nanoseconds of SCHED_DEADLINE.
    pub runtime: u64,
    /// Nanoseconds of SCHED_DEADLINE.
    pub deadline: u64,
    /// Nanoseconds of SCHED_DEADLINE.
    pub period: u64,
}

/// SCHED_ATTR_SIZE_VER0.
const ATTRIBUTES_SIZE: u32 = 48;
const _: () = assert!(size_of::<SchedulingAttributes>() == ATTRIBUTES_SIZE as usize);

/// Sets the scheduling policy of this thread.
pub fn set_scheduling(attributes: SchedulingAttributes) -> io::Result<()> {
    let attributes = SchedulingAttributes {
        size: ATTRIBUTES_SIZE,
        ..attributes
    };
    // SAFETY: `attributes` has the kernel's layout and states its own size; the kernel only reads it.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0_u32) };
    done(result)
}

/// Sets the io priority of this thread: `class` is IOPRIO_CLASS_*, `level` 0 (highest) to 7.
pub fn set_io_priority(class: i32, level: i32) -> io::Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    const IOPRIO_CLASS_SHIFT: i32 = 13;
    let priority = class << IOPRIO_CLASS_SHIFT | level;
    // SAFETY: the call takes plain numbers, which the kernel checks.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, priority) };
    done(result)
}

/// Sets the NUMA memory policy of this thread; bit n of `nodes` is node n.
pub fn set_memory_policy(mode: i32, nodes: &[u64]) -> io::Result<()> {
    // The kernel takes the number of bits plus one.
    let bits = if nodes.is_empty() {
        0
    } else {
        nodes.len() * 64 + 1
    };
    let mask = if nodes.is_empty() {
        std::ptr::null()
    } else {
        nodes.as_ptr()
    };
    // SAFETY: `mask` is null with zero bits, or points to as many bits as are passed (the last one counted does not exist
    // by the call's convention); the kernel only reads them.
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) };
    done(result)
}

/// Gives this process a session keyring of its own called `name`.
pub fn join_session_keyring(name: &CStr) -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: `name` is a valid C string that outlives the call; the kernel only reads it.
    let result =
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    done(result)
}

fn done(result: libc::c_long) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
