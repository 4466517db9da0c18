//! Decisions about system calls → a program of the classic BPF machine (kernel Documentation/userspace-api/seccomp_filter.rst).
//!
//! Pure. The calls of an architecture are cut into ranges of numbers with the same decision, and a balanced tree of
//! comparisons finds the range: about eight steps for docker's profile. Short paths also make the kernel's own table of
//! always-allowed calls cheap, which it fills by running the program once per call when the filter is installed (5.11).

use super::arch::{Architecture, X32_BIT};
use crate::sys::seccomp::Instruction;

/// What happens to a call; `Return` values are SECCOMP_RET_* with their data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Return(u32),
    /// The first alternative whose conditions hold decides, then the last value.
    ByArguments(Vec<Alternative>, u32),
}

/// Conditions, all of which must hold, and what happens then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Alternative {
    pub(super) conditions: Vec<Condition>,
    pub(super) returned: u32,
}

/// A comparison of one argument with 64-bit values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    /// 0 to 5.
    pub(super) argument: u32,
    pub(super) comparison: Comparison,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal(u64),
    NotEqual(u64),
    Less(u64),
    LessOrEqual(u64),
    Greater(u64),
    GreaterOrEqual(u64),
    /// The bits of the mask have this value.
    MaskedEqual {
        mask: u64,
        value: u64,
    },
}

impl Comparison {
    /// The upper half of what it compares with becomes 0, as that of every argument of 32 bits is.
    pub(super) fn lower_half(self) -> Comparison {
        let low = |value: u64| value & 0xffff_ffff;
        match self {
            Comparison::Equal(value) => Comparison::Equal(low(value)),
            Comparison::NotEqual(value) => Comparison::NotEqual(low(value)),
            Comparison::Less(value) => Comparison::Less(low(value)),
            Comparison::LessOrEqual(value) => Comparison::LessOrEqual(low(value)),
            Comparison::Greater(value) => Comparison::Greater(low(value)),
            Comparison::GreaterOrEqual(value) => Comparison::GreaterOrEqual(low(value)),
            Comparison::MaskedEqual { mask, value } => Comparison::MaskedEqual {
                mask: low(mask),
                value: low(value),
            },
        }
    }
}

/// Calls from number `first` up to the next range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u32,
    pub(super) decision: Decision,
}

// Operations (include/uapi/linux/bpf_common.h).
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

/// SECCOMP_RET_ERRNO with ENOSYS.
pub(super) const NO_SUCH_CALL: u32 = 0x0005_0000 | libc::ENOSYS.cast_unsigned();

// Where in struct seccomp_data.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Returns a program for calls of `architectures`, each with its ranges from 0 on in rising order; calls of any other
/// architecture get `foreign`.
pub(super) fn assemble(
    architectures: &[(Architecture, Vec<Range>)],
    foreign: u32,
) -> Vec<Instruction> {
    let mut program = vec![load(ARCHITECTURE)];
    let of = |wanted| architectures.iter().find(|(known, _)| *known == wanted);
    for (architecture, ranges) in architectures {
        let mut section = vec![load(NUMBER)];
        match architecture {
            // It has its place in the section of x86-64, whose audit number it shares.
            Architecture::X32 => continue,
            Architecture::X86_64 => {
                let mut calls = tree(ranges, 0);
                match of(Architecture::X32) {
                    Some((_, x32)) => calls = branch(X32_BIT, calls, tree(x32, X32_BIT)),
                    // What the kernel says where x32 is not built in, which is nearly everywhere. A tracer that skips
                    // a call sets its number to -1, and so comes here, too.
                    None => calls = branch(X32_BIT, calls, vec![returns(NO_SUCH_CALL)]),
                }
                section.extend(calls);
            }
            _ => section.extend(tree(ranges, 0)),
        }
        // Sections are passed over by a long jump: their length does not fit in a conditional one.
        program.push(jump(JUMP_EQUAL, architecture.audit_number(), 1, 0));
        program.push(jump_over(section.len()));
        program.extend(section);
    }
    program.push(returns(foreign));
    program
}

/// Code that finds the range of the number in the accumulator; every path ends in a return.
fn tree(ranges: &[Range], mark: u32) -> Vec<Instruction> {
    if let [range] = ranges {
        return decide(&range.decision);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    branch(high[0].first | mark, tree(low, mark), tree(high, mark))
}

/// Code that goes on with `high` for numbers from `bound` on, else with `low`.
fn branch(bound: u32, low: Vec<Instruction>, high: Vec<Instruction>) -> Vec<Instruction> {
    let mut code = match u8::try_from(low.len()) {
        Ok(length) => vec![jump(JUMP_GREATER_OR_EQUAL, bound, length, 0)],
        Err(_) => vec![
            jump(JUMP_GREATER_OR_EQUAL, bound, 0, 1),
            jump_over(low.len()),
        ],
    };
    code.extend(low);
    code.extend(high);
    code
}

fn decide(decision: &Decision) -> Vec<Instruction> {
    match decision {
        Decision::Return(value) => vec![returns(*value)],
        Decision::ByArguments(alternatives, otherwise) => {
            let mut code = Vec::new();
            for alternative in alternatives {
                code.extend(test_all(alternative));
            }
            code.push(returns(*otherwise));
            code
        }
    }
}

/// Where a jump of a test leads before the code is laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    /// The instruction behind.
    On,
    /// The next condition, since this one holds.
    Holds,
    /// Behind the whole alternative, since this condition does not hold.
    Fails,
}

struct Step {
    instruction: Instruction,
    if_true: To,
    if_false: To,
}

/// Code that returns if all conditions hold, and else goes on behind itself.
fn test_all(alternative: &Alternative) -> Vec<Instruction> {
    let conditions: Vec<Vec<Step>> = alternative.conditions.iter().map(test).collect();
    let length = conditions.iter().map(Vec::len).sum::<usize>() + 1;
    let mut code = Vec::with_capacity(length);
    for steps in conditions {
        let end = code.len() + steps.len();
        for step in steps {
            let offset = |to| {
                let target = match to {
                    To::On => code.len() + 1,
                    To::Holds => end,
                    To::Fails => length,
                };
                u8::try_from(target - code.len() - 1).expect("six conditions of six steps fit")
            };
            code.push(Instruction {
                jump_true: offset(step.if_true),
                jump_false: offset(step.if_false),
                ..step.instruction
            });
        }
    }
    code.push(returns(alternative.returned));
    code
}

/// The steps of one comparison: the high half decides, or else the low half does.
fn test(condition: &Condition) -> Vec<Step> {
    use To::{Fails, Holds, On};
    let halves = |value: u64| ((value >> 32) as u32, (value & 0xffff_ffff) as u32);
    let plain = |instruction| Step {
        instruction,
        if_true: On,
        if_false: On,
    };
    let low = ARGUMENTS + condition.argument * 8;
    let load_high = || plain(load(low + 4));
    let load_low = || plain(load(low));
    let check = |code, operand, if_true, if_false| Step {
        instruction: jump(code, operand, 0, 0),
        if_true,
        if_false,
    };
    let ordered = |value: u64, above: To, below: To, at_bound: u16| {
        let (value_high, value_low) = halves(value);
        vec![
            load_high(),
            check(JUMP_GREATER, value_high, above, On),
            check(JUMP_EQUAL, value_high, On, below),
            load_low(),
            check(at_bound, value_low, above, below),
        ]
    };
    match condition.comparison {
        Comparison::Equal(value) => {
            let (value_high, value_low) = halves(value);
            vec![
                load_high(),
                check(JUMP_EQUAL, value_high, On, Fails),
                load_low(),
                check(JUMP_EQUAL, value_low, On, Fails),
            ]
        }
        Comparison::NotEqual(value) => {
            let (value_high, value_low) = halves(value);
            vec![
                load_high(),
                check(JUMP_EQUAL, value_high, On, Holds),
                load_low(),
                check(JUMP_EQUAL, value_low, Fails, On),
            ]
        }
        Comparison::MaskedEqual { mask, value } => {
            let (mask_high, mask_low) = halves(mask);
            let (value_high, value_low) = halves(value);
            vec![
                load_high(),
                plain(operate(AND, mask_high)),
                check(JUMP_EQUAL, value_high, On, Fails),
                load_low(),
                plain(operate(AND, mask_low)),
                check(JUMP_EQUAL, value_low, On, Fails),
            ]
        }
        Comparison::Greater(value) => ordered(value, Holds, Fails, JUMP_GREATER),
        Comparison::GreaterOrEqual(value) => ordered(value, Holds, Fails, JUMP_GREATER_OR_EQUAL),
        Comparison::Less(value) => ordered(value, Fails, Holds, JUMP_GREATER_OR_EQUAL),
        Comparison::LessOrEqual(value) => ordered(value, Fails, Holds, JUMP_GREATER),
    }
}

fn operate(code: u16, operand: u32) -> Instruction {
    Instruction {
        code,
        jump_true: 0,
        jump_false: 0,
        operand,
    }
}

fn load(offset: u32) -> Instruction {
    operate(LOAD, offset)
}

fn returns(value: u32) -> Instruction {
    operate(RETURN, value)
}

fn jump(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction {
        code,
        jump_true,
        jump_false,
        operand,
    }
}

fn jump_over(instructions: usize) -> Instruction {
    // A program with a longer jump has more instructions than the kernel takes, and is refused for that.
    operate(JUMP, u32::try_from(instructions).unwrap_or(u32::MAX))
}
