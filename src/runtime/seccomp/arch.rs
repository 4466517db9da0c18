//! Architectures that a filter tells apart, and the numbers of their system calls.
//!
//! The tables come from the crate syscall-numbers. Only architectures that the machine can run get into the binary: its
//! own, and those whose programs its kernel runs beside.

use anyhow::{Result, bail};

use crate::error;

/// An architecture whose calls a filter can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86.
    X86,
    /// x86-64 with 32-bit pointers; it has the audit number of X86_64 and marks its calls with bit 30.
    X32,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM.
    Arm,
    /// 64-bit RISC-V.
    Riscv64,
}

/// The bit that marks calls of x32 (`__X32_SYSCALL_BIT`).
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// The other names of runtime-spec: right, but never the architecture of a process on a machine of ours.
const FOREIGN: [&str; 15] = [
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
];

impl Architecture {
    /// Returns the architecture of this program.
    pub fn native() -> Architecture {
        if cfg!(target_arch = "aarch64") {
            Architecture::Aarch64
        } else if cfg!(target_arch = "riscv64") {
            Architecture::Riscv64
        } else if cfg!(target_arch = "arm") {
            Architecture::Arm
        } else if cfg!(target_arch = "x86") {
            Architecture::X86
        } else {
            Architecture::X86_64
        }
    }

    /// Returns the architecture that runtime-spec calls `name` (`SCMP_ARCH_X86`); nothing for one that is known to have
    /// no programs on machines of ours.
    pub(super) fn from_name(name: &str, native: Architecture) -> Result<Option<Architecture>> {
        Ok(Some(match name {
            "SCMP_ARCH_NATIVE" => native,
            "SCMP_ARCH_X86_64" => Architecture::X86_64,
            "SCMP_ARCH_X86" => Architecture::X86,
            "SCMP_ARCH_X32" => Architecture::X32,
            "SCMP_ARCH_AARCH64" => Architecture::Aarch64,
            "SCMP_ARCH_ARM" => Architecture::Arm,
            "SCMP_ARCH_RISCV64" => Architecture::Riscv64,
            foreign if FOREIGN.contains(&foreign) => return Ok(None),
            unknown => bail!(error::invalid(format!(
                "unknown seccomp architecture {unknown:?}"
            ))),
        }))
    }

    /// Returns the names, as runtime-spec writes them, of those whose programs a kernel of architecture `native` runs.
    pub(super) fn names_beside(native: Architecture) -> Vec<&'static str> {
        const NAMES: [&str; 6] = [
            "SCMP_ARCH_AARCH64",
            "SCMP_ARCH_ARM",
            "SCMP_ARCH_RISCV64",
            "SCMP_ARCH_X32",
            "SCMP_ARCH_X86",
            "SCMP_ARCH_X86_64",
        ];
        let runs = |name: &&str| {
            Architecture::from_name(name, native)
                .is_ok_and(|found| found.is_some_and(|found| found.runs_on(native)))
        };
        NAMES.into_iter().filter(runs).collect()
    }

    /// Whether a kernel of architecture `native` runs programs of this one.
    pub(super) fn runs_on(self, native: Architecture) -> bool {
        use Architecture::{Aarch64, Arm, X32, X86, X86_64};
        self == native || matches!((native, self), (X86_64, X86 | X32) | (Aarch64, Arm))
    }

    /// What the kernel calls it in `struct seccomp_data` (AUDIT_ARCH_*, include/uapi/linux/audit.h).
    pub(super) fn audit_number(self) -> u32 {
        match self {
            Architecture::X86_64 | Architecture::X32 => 0xc000_003e,
            Architecture::X86 => 0x4000_0003,
            Architecture::Aarch64 => 0xc000_00b7,
            Architecture::Arm => 0x4000_0028,
            Architecture::Riscv64 => 0xc000_00f3,
        }
    }

    /// Whether its calls have arguments of 32 bits, whose upper halves are 0 for the kernel; those of x32 have all 64.
    pub(super) fn has_32_bit_arguments(self) -> bool {
        matches!(self, Architecture::X86 | Architecture::Arm)
    }

    /// Calls `each` with every system call in the order of their numbers, x32 without its mark.
    pub(super) fn for_each_call(self, mut each: impl FnMut(u32, &'static str)) {
        /// Above what any of these architectures has, by a good measure.
        const CALLS_MAX: u32 = 1024;
        let name = self.names();
        for number in 0..CALLS_MAX {
            if let Some(name) = name(number) {
                each(number, name);
            }
        }
    }

    fn names(self) -> fn(u32) -> Option<&'static str> {
        #[cfg(any(test, target_arch = "aarch64"))]
        use syscall_numbers::aarch64;
        #[cfg(any(test, target_arch = "aarch64", target_arch = "arm"))]
        use syscall_numbers::arm;
        #[cfg(any(test, target_arch = "riscv64"))]
        use syscall_numbers::riscv64;
        #[cfg(any(test, target_arch = "x86_64"))]
        use syscall_numbers::x32;
        #[cfg(any(test, target_arch = "x86_64", target_arch = "x86"))]
        use syscall_numbers::x86;
        #[cfg(any(test, target_arch = "x86_64"))]
        use syscall_numbers::x86_64;

        match self {
            #[cfg(any(test, target_arch = "x86_64"))]
            Architecture::X86_64 => |number| x86_64::sys_call_name(number.into()),
            #[cfg(any(test, target_arch = "x86_64"))]
            Architecture::X32 => |number| x32::sys_call_name((number | X32_BIT).into()),
            #[cfg(any(test, target_arch = "x86_64", target_arch = "x86"))]
            Architecture::X86 => |number| x86::sys_call_name(number.into()),
            #[cfg(any(test, target_arch = "aarch64"))]
            Architecture::Aarch64 => |number| aarch64::sys_call_name(number.into()),
            #[cfg(any(test, target_arch = "aarch64", target_arch = "arm"))]
            Architecture::Arm => |number| arm::sys_call_name(number.into()),
            #[cfg(any(test, target_arch = "riscv64"))]
            Architecture::Riscv64 => |number| riscv64::sys_call_name(number.into()),
            #[cfg(not(test))]
            _ => |_| None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_numbers() {
        for (architecture, name, number) in [
            (Architecture::X86_64, "execve", 59),
            (Architecture::X86, "execve", 11),
            (Architecture::X32, "execve", 520),
            (Architecture::Aarch64, "execve", 221),
            (Architecture::Arm, "execve", 11),
            (Architecture::Riscv64, "execve", 221),
            (Architecture::X86_64, "clone3", 435),
            (Architecture::X32, "clone3", 435),
            (Architecture::X86, "socketcall", 102),
        ] {
            let mut found = None;
            architecture.for_each_call(|n, call| {
                if call == name {
                    found = Some(n);
                }
            });
            assert_eq!(found, Some(number), "{architecture:?} {name}");
        }
    }

    #[test]
    fn this_program_s_own_number_is_in_the_native_table() {
        let mut found = None;
        Architecture::native().for_each_call(|n, call| {
            if call == "openat2" {
                found = Some(i64::from(n));
            }
        });
        assert_eq!(found, Some(libc::SYS_openat2));
    }
}
