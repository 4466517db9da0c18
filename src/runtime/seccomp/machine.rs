//! The kernel's machine for filters, for tests: takes a program or refuses it as seccomp(2) does, and runs it on a call.
//!
//! It knows the operations that filters consist of, ours and those of libseccomp, and no others.

use crate::sys::seccomp::Instruction;

/// The most instructions that the kernel takes (BPF_MAXINSNS).
const INSTRUCTIONS_MAX: usize = 4096;

/// A call as the kernel shows it to a filter (`struct seccomp_data`); the instruction pointer is always 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) audit: u32,
    pub(crate) number: u32,
    pub(crate) arguments: [u64; 6],
}

/// Whether the kernel would install `program`: known operations, loads inside of the call, jumps inside of the program,
/// and a return at its end (`bpf_check_classic`, `seccomp_check_filter`).
pub(crate) fn check(program: &[Instruction]) -> Result<(), String> {
    if program.is_empty() || program.len() > INSTRUCTIONS_MAX {
        return Err(format!("{} instructions", program.len()));
    }
    for (at, i) in program.iter().enumerate() {
        let inside = |offset: usize| at + 1 + offset < program.len();
        let right = match i.code {
            0x20 => i.operand.is_multiple_of(4) && i.operand < 64,
            0x54 | 0x06 => true,
            0x05 => inside(i.operand as usize),
            0x15 | 0x25 | 0x35 => inside(i.jump_true.into()) && inside(i.jump_false.into()),
            _ => false,
        };
        if !right {
            return Err(format!("instruction {at}: {i:x?}"));
        }
    }
    match program.last() {
        Some(last) if last.code == 0x06 => Ok(()),
        last => Err(format!("the last instruction is {last:x?}")),
    }
}

/// Runs a program that [`check`] has taken; returns SECCOMP_RET_* with its data.
pub(crate) fn run(program: &[Instruction], call: &Call) -> u32 {
    let word = |offset: u32| match offset {
        0 => call.number,
        4 => call.audit,
        16.. => {
            let argument = call.arguments[((offset - 16) / 8) as usize];
            let high = !offset.is_multiple_of(8);
            ((argument >> (32 * u32::from(high))) & 0xffff_ffff) as u32
        }
        _ => 0,
    };
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let i = program[at];
        at += 1;
        let holds = match i.code {
            0x20 => {
                accumulator = word(i.operand);
                continue;
            }
            0x54 => {
                accumulator &= i.operand;
                continue;
            }
            0x05 => {
                at += i.operand as usize;
                continue;
            }
            0x15 => accumulator == i.operand,
            0x25 => accumulator > i.operand,
            0x35 => accumulator >= i.operand,
            _ => return i.operand,
        };
        at += usize::from(if holds { i.jump_true } else { i.jump_false });
    }
}
