//! Seccomp profiles (runtime-spec config-linux.md, Seccomp) → programs that the kernel installs. Pure.
//!
//! The meaning is that of runc with libseccomp, where the spec leaves room:
//! - Rules whose action is the default one are passed over. Of the others for one call, the first without conditions
//!   decides, and those with conditions count only if there is none; of them the first that matches.
//! - A rule with two conditions on the same argument is read as one rule per condition.
//! - Processes of 32 bits have arguments of 32 bits, which are compared with the lower halves of the values. A masked
//!   comparison masks both sides.
//! - Calls with higher numbers than the profile knows for an architecture fail with ENOSYS, unless the default action lets
//!   calls pass: programs fall back on ENOSYS, but give up on the profile's EPERM.
//! - Calls of an architecture that is not listed kill the process.

use std::collections::HashMap;

use anyhow::{Result, bail};

mod arch;
mod cache;
#[cfg(test)]
mod differential;
#[cfg(any(test, fuzzing))]
pub(crate) mod machine;
mod multiplex;
mod program;

pub use arch::Architecture;
pub(super) use cache::compiled;
use program::{Alternative, Comparison, Condition, Decision, NO_SUCH_CALL, Range, assemble};

use crate::error;
use crate::oci::runtime::linux::{Seccomp, SeccompArgument, SeccompRule};
use crate::sys::seccomp::Instruction;

/// The most instructions that the kernel takes (BPF_MAXINSNS).
const INSTRUCTIONS_MAX: usize = 4096;

/// A compiled profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// What `sys::seccomp::install` takes.
    pub program: Vec<Instruction>,
    /// SECCOMP_FILTER_FLAG_* bits.
    pub flags: u64,
}

impl Filter {
    /// Returns whether the filter hands calls to a listener.
    pub fn notifies(&self) -> bool {
        self.flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0
    }
}

/// Returns the names of the architectures that profiles can tell apart on this machine (`SCMP_ARCH_X86_64`).
pub fn architecture_names() -> Vec<&'static str> {
    Architecture::names_beside(Architecture::native())
}

/// Compiles `profile` for processes of `native` and of the listed architectures that run beside it.
pub fn compile(profile: &Seccomp, native: Architecture) -> Result<Filter> {
    let default = action(
        &profile.default_action,
        profile.default_errno_ret.unwrap_or(EPERM),
    )?;
    if default == libc::SECCOMP_RET_USER_NOTIF {
        bail!(error::invalid(
            "SCMP_ACT_NOTIFY cannot be used as default action"
        ));
    }
    let mut flags = flags(profile.flags.as_deref())?;
    let names = profile.syscalls.iter().map(|rule| rule.names.len());
    let mut rules: HashMap<&str, Rules> = HashMap::with_capacity(names.sum());
    for rule in &profile.syscalls {
        let returned = action(&rule.action, rule.errno_ret.unwrap_or(EPERM))?;
        if returned == libc::SECCOMP_RET_USER_NOTIF {
            // The listener's descriptor is reported under the filter, when nobody answers for its calls yet; what comes
            // after the report has an agent.
            if rule.names.iter().any(|name| name == "write") {
                bail!(error::invalid(
                    "SCMP_ACT_NOTIFY cannot be used for the write syscall"
                ));
            }
            flags |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        }
        let alternatives = alternatives(rule, returned)?;
        for name in &rule.names {
            let known = rules.entry(name).or_default();
            if returned == default {
                continue;
            }
            if rule.args.is_empty() {
                known.otherwise.get_or_insert(returned);
            } else {
                known.alternatives.extend(alternatives.iter().cloned());
            }
        }
    }
    let mut sections = Vec::new();
    for architecture in architectures(profile, native)? {
        sections.push((architecture, ranges(architecture, &rules, default)));
    }
    let program = assemble(&sections, libc::SECCOMP_RET_KILL_PROCESS);
    if program.len() > INSTRUCTIONS_MAX {
        bail!(error::invalid(format!(
            "the seccomp profile needs {} instructions, the kernel takes {INSTRUCTIONS_MAX}",
            program.len()
        )));
    }
    Ok(Filter { program, flags })
}

/// What the profile says of one call; a rule with the default action leaves it empty, but known.
#[derive(Default)]
struct Rules {
    alternatives: Vec<Alternative>,
    otherwise: Option<u32>,
}

impl Rules {
    /// Returns the rules that count, with the one without conditions as one of none.
    fn alternatives(&self) -> Vec<Alternative> {
        match self.otherwise {
            None => self.alternatives.clone(),
            Some(returned) => vec![Alternative {
                conditions: Vec::new(),
                returned,
            }],
        }
    }
}

const EPERM: u32 = libc::EPERM.cast_unsigned();

/// The native architecture first, then those listed that run here, each once.
fn architectures(profile: &Seccomp, native: Architecture) -> Result<Vec<Architecture>> {
    let mut architectures = vec![native];
    for name in &profile.architectures {
        if let Some(listed) = Architecture::from_name(name, native)?
            && listed.runs_on(native)
            && !architectures.contains(&listed)
        {
            architectures.push(listed);
        }
    }
    Ok(architectures)
}

/// Cuts the numbers of an architecture into ranges with one decision each.
fn ranges(architecture: Architecture, rules: &HashMap<&str, Rules>, default: u32) -> Vec<Range> {
    let mut ranges = vec![Range {
        first: 0,
        decision: Decision::Return(default),
    }];
    let mut push = |first: u32, decision: Decision| match ranges.last_mut() {
        Some(last) if last.decision == decision => {}
        Some(last) if last.first == first => last.decision = decision,
        _ => ranges.push(Range { first, decision }),
    };
    // The number behind the last one looked at: what lies between has no name, and gets the default.
    let mut next = 0;
    let mut known = 0;
    architecture.for_each_call(|number, name| {
        if number > next {
            push(next, Decision::Return(default));
        }
        next = number + 1;
        let decision = decide(architecture, name, rules, default);
        if decision.is_some() {
            known = next;
        }
        let decision = decision.unwrap_or(Decision::Return(default));
        push(number, decision);
    });
    if known > 0 && !is_permissive(default) && default != NO_SUCH_CALL {
        ranges.retain(|range| range.first < known);
        ranges.push(Range {
            first: known,
            decision: Decision::Return(NO_SUCH_CALL),
        });
    } else {
        // Numbers above the table's last.
        let above = Decision::Return(default);
        if ranges.last().is_none_or(|last| last.decision != above) {
            ranges.push(Range {
                first: next,
                decision: above,
            });
        }
    }
    ranges
}

/// Returns what the rules say of a call; nothing if there is none for it.
fn decide(
    architecture: Architecture,
    name: &str,
    rules: &HashMap<&str, Rules>,
    default: u32,
) -> Option<Decision> {
    let own = rules.get(name);
    if let Some(returned) = own.and_then(|own| own.otherwise) {
        return Some(Decision::Return(returned));
    }
    let mut alternatives: Vec<Alternative> = Vec::new();
    alternatives.extend(own.into_iter().flat_map(|own| own.alternatives.clone()));
    if architecture == Architecture::X86 {
        for &(call, number) in multiplex::carried_by(name) {
            let of_call = rules.get(call).map(Rules::alternatives).unwrap_or_default();
            alternatives.extend(of_call.iter().map(|it| multiplex::carried(it, number)));
        }
    }
    if architecture.has_32_bit_arguments() {
        for condition in alternatives.iter_mut().flat_map(|it| &mut it.conditions) {
            condition.comparison = condition.comparison.lower_half();
        }
    }
    match own {
        None if alternatives.is_empty() => None,
        _ if alternatives.is_empty() => Some(Decision::Return(default)),
        _ => Some(Decision::ByArguments(alternatives, default)),
    }
}

fn is_permissive(returned: u32) -> bool {
    [
        libc::SECCOMP_RET_ALLOW,
        libc::SECCOMP_RET_LOG,
        libc::SECCOMP_RET_TRACE,
    ]
    .contains(&(returned & libc::SECCOMP_RET_ACTION_FULL))
}

/// Reads an action; `errno` is used by those that carry a number.
fn action(name: &str, errno: u32) -> Result<u32> {
    let data = errno & libc::SECCOMP_RET_DATA;
    if data != errno || (name == "SCMP_ACT_ERRNO" && errno > 4095) {
        bail!(error::invalid(format!(
            "invalid seccomp error number {errno}"
        )));
    }
    Ok(match name {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => libc::SECCOMP_RET_KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => libc::SECCOMP_RET_KILL_PROCESS,
        "SCMP_ACT_TRAP" => libc::SECCOMP_RET_TRAP,
        "SCMP_ACT_ERRNO" => libc::SECCOMP_RET_ERRNO | data,
        "SCMP_ACT_TRACE" => libc::SECCOMP_RET_TRACE | data,
        "SCMP_ACT_LOG" => libc::SECCOMP_RET_LOG,
        "SCMP_ACT_ALLOW" => libc::SECCOMP_RET_ALLOW,
        "SCMP_ACT_NOTIFY" => libc::SECCOMP_RET_USER_NOTIF,
        unknown => bail!(error::invalid(format!(
            "unknown seccomp action {unknown:?}"
        ))),
    })
}

/// Reads the flags. Without any, speculation is left as the kernel has it by default, as runc does since 1.2: the filter
/// must not slow the program down; an empty list asks for just that.
fn flags(names: Option<&[String]>) -> Result<u64> {
    let Some(names) = names else {
        return Ok(libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW);
    };
    let mut flags = 0;
    for name in names {
        flags |= match name.as_str() {
            // The one thread that installs the filter is the whole process.
            "SECCOMP_FILTER_FLAG_TSYNC" => 0,
            "SECCOMP_FILTER_FLAG_LOG" => libc::SECCOMP_FILTER_FLAG_LOG,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => {
                libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
            }
            unknown => bail!(error::invalid(format!("unknown seccomp flag {unknown:?}"))),
        };
    }
    Ok(flags)
}

/// The conditions of a rule: together, or one by one if some argument has two.
fn alternatives(rule: &SeccompRule, returned: u32) -> Result<Vec<Alternative>> {
    let conditions: Vec<Condition> = rule.args.iter().map(condition).collect::<Result<_>>()?;
    let arguments = |condition: &Condition| 1_u32 << condition.argument;
    let distinct = conditions.iter().map(arguments).fold(0, |a, b| a | b);
    let alternative = |conditions| Alternative {
        conditions,
        returned,
    };
    if distinct.count_ones() as usize == conditions.len() {
        return Ok(vec![alternative(conditions)]);
    }
    Ok(conditions
        .into_iter()
        .map(|c| alternative(vec![c]))
        .collect())
}

fn condition(argument: &SeccompArgument) -> Result<Condition> {
    if argument.index > 5 {
        bail!(error::invalid(format!(
            "seccomp condition on argument {}: system calls have 6, counted from 0",
            argument.index
        )));
    }
    let value = argument.value;
    let comparison = match argument.op.as_str() {
        "SCMP_CMP_EQ" => Comparison::Equal(value),
        "SCMP_CMP_NE" => Comparison::NotEqual(value),
        "SCMP_CMP_LT" => Comparison::Less(value),
        "SCMP_CMP_LE" => Comparison::LessOrEqual(value),
        "SCMP_CMP_GT" => Comparison::Greater(value),
        "SCMP_CMP_GE" => Comparison::GreaterOrEqual(value),
        "SCMP_CMP_MASKED_EQ" => Comparison::MaskedEqual {
            mask: value,
            value: argument.value_two & value,
        },
        unknown => bail!(error::invalid(format!(
            "unknown seccomp comparison {unknown:?}"
        ))),
    };
    Ok(Condition {
        argument: argument.index,
        comparison,
    })
}

#[cfg(test)]
mod tests {
    use super::machine::{Call, run};
    use super::*;

    const X86_64: u32 = 0xc000_003e;
    const I386: u32 = 0x4000_0003;
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const DENY: u32 = libc::SECCOMP_RET_ERRNO | EPERM;

    fn filter(json: &str) -> Filter {
        compile(&serde_json::from_str(json).unwrap(), Architecture::X86_64).unwrap()
    }

    fn check(filter: &Filter, audit: u32, number: u32, arguments: &[u64], expected: u32) {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        let call = Call {
            audit,
            number,
            arguments: all,
        };
        machine::check(&filter.program).unwrap();
        let found = run(&filter.program, &call);
        assert_eq!(
            found, expected,
            "{audit:#x} {number} {arguments:x?}: {found:#x}, expected {expected:#x}"
        );
    }

    #[test]
    fn calls_are_told_by_number_and_architecture() {
        let f = filter(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86","SCMP_ARCH_X32","SCMP_ARCH_AARCH64"],
                "syscalls":[{"names":["read","write","execve","nosuchcall"],"action":"SCMP_ACT_ALLOW"},
                            {"names":["mseal"],"action":"SCMP_ACT_ERRNO"},
                            {"names":["reboot"],"action":"SCMP_ACT_KILL_PROCESS"},
                            {"names":["acct"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}"#,
        );
        for (number, expected) in [
            (0, ALLOW),
            (1, ALLOW),
            (2, DENY),
            (59, ALLOW),
            (163, libc::SECCOMP_RET_ERRNO + 38),
            (169, libc::SECCOMP_RET_KILL_PROCESS),
            // The last call that the profile knows, then newer ones.
            (462, DENY),
            (463, NO_SUCH_CALL),
            (0x3fff_ffff, NO_SUCH_CALL),
            // x32: read, execve of x86-64, execve, newer calls, -1.
            (X32, ALLOW),
            (X32 + 59, DENY),
            (X32 + 520, ALLOW),
            (X32 + 519, DENY),
            (X32 + 521, NO_SUCH_CALL),
            (u32::MAX, NO_SUCH_CALL),
        ] {
            check(&f, X86_64, number, &[], expected);
        }
        // 32-bit: 3 is read, 11 is execve.
        check(&f, I386, 3, &[], ALLOW);
        check(&f, I386, 0, &[], DENY);
        check(&f, I386, 11, &[], ALLOW);
        check(&f, I386, 500, &[], NO_SUCH_CALL);
        check(&f, 0xc000_00b7, 3, &[], libc::SECCOMP_RET_KILL_PROCESS);
    }
    const X32: u32 = 0x4000_0000;

    #[test]
    fn architectures_that_are_not_listed_are_kept_out() {
        let f = filter(
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO"}]}"#,
        );
        check(&f, X86_64, 0, &[], DENY);
        check(&f, X86_64, 9999, &[], ALLOW);
        check(&f, X86_64, X32 | 1, &[], NO_SUCH_CALL);
        check(&f, I386, 1, &[], libc::SECCOMP_RET_KILL_PROCESS);
    }

    /// Each comparison against its meaning, at and around bounds in both halves.
    #[test]
    fn arguments_are_compared_with_64_bits() {
        type Holds = fn(u64, u64) -> bool;
        let values = [
            0,
            1,
            7,
            8,
            0xffff_ffff,
            0x1_0000_0000,
            0x1_0000_0007,
            u64::MAX,
        ];
        let operators: [(&str, Holds); 6] = [
            ("EQ", |a, v| a == v),
            ("NE", |a, v| a != v),
            ("LT", |a, v| a < v),
            ("LE", |a, v| a <= v),
            ("GT", |a, v| a > v),
            ("GE", |a, v| a >= v),
        ];
        for value in values {
            for (operator, holds) in operators {
                let f = filter(&format!(
                    r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"names":["prctl"],"action":"SCMP_ACT_ALLOW",
                        "args":[{{"index":3,"value":{value},"op":"SCMP_CMP_{operator}"}}]}}]}}"#
                ));
                for argument in values {
                    let expected = if holds(argument, value) { ALLOW } else { DENY };
                    check(&f, X86_64, 157, &[9, 9, 9, argument], expected);
                }
            }
        }
        let f = filter(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["clone"],"action":"SCMP_ACT_ALLOW",
                "args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#,
        );
        check(&f, X86_64, 56, &[0x11], ALLOW);
        check(&f, X86_64, 56, &[0x1_0000_0011], ALLOW);
        check(&f, X86_64, 56, &[0x1000_0011], DENY);
    }

    #[test]
    fn conditions_are_joined_unless_they_share_an_argument() {
        let f = filter(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
                {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[
                    {"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":1,"value":2,"op":"SCMP_CMP_EQ"}]},
                {"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[
                    {"index":0,"value":0,"op":"SCMP_CMP_EQ"},{"index":0,"value":8,"op":"SCMP_CMP_EQ"}]}]}"#,
        );
        check(&f, X86_64, 41, &[1, 2], ALLOW);
        check(&f, X86_64, 41, &[1, 3], DENY);
        check(&f, X86_64, 41, &[0, 2], DENY);
        check(&f, X86_64, 135, &[0], ALLOW);
        check(&f, X86_64, 135, &[8], ALLOW);
        check(&f, X86_64, 135, &[9], DENY);
    }

    #[test]
    fn a_rule_without_conditions_decides_alone() {
        let f = filter(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
                {"names":["ioctl"],"action":"SCMP_ACT_KILL_PROCESS","args":[{"index":1,"value":21522,"op":"SCMP_CMP_EQ"}]},
                {"names":["ioctl"],"action":"SCMP_ACT_ALLOW"}]}"#,
        );
        check(&f, X86_64, 16, &[0, 21522], ALLOW);
        check(&f, X86_64, 16, &[0, 1], ALLOW);
    }

    #[test]
    fn programs_of_32_bits_have_lower_halves() {
        let f = filter(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],"syscalls":[
                {"names":["kill"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":18446744073709551615,"op":"SCMP_CMP_EQ"}]}]}"#,
        );
        check(&f, X86_64, 62, &[u64::MAX], ALLOW);
        check(&f, X86_64, 62, &[0xffff_ffff], DENY);
        check(&f, I386, 37, &[0xffff_ffff], ALLOW);
        check(&f, I386, 37, &[0], DENY);
    }

    #[test]
    fn calls_by_way_of_another_are_the_same_calls() {
        let f = filter(
            r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"syscalls":[
                {"names":["connect","accept","shmat"],"action":"SCMP_ACT_ERRNO"},
                {"names":["socket"],"action":"SCMP_ACT_TRAP","args":[
                    {"index":0,"value":38,"op":"SCMP_CMP_EQ"},{"index":2,"value":7,"op":"SCMP_CMP_EQ"}]}]}"#,
        );
        check(&f, I386, 362, &[], DENY);
        for (number, arguments, expected) in [
            (102, [3, 0, 0], DENY),
            (102, [5, 0, 0], DENY),
            (102, [1, 0, 0], ALLOW),
            (102, [1, 0, 7], libc::SECCOMP_RET_TRAP),
            (102, [2, 0, 0], ALLOW),
            (117, [21, 0, 0], DENY),
            (117, [22, 0, 0], ALLOW),
        ] {
            check(&f, I386, number, &arguments, expected);
        }
        // What is said of the carrier itself goes first.
        let f = filter(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],"syscalls":[
                {"names":["socketcall"],"action":"SCMP_ACT_ALLOW"},{"names":["bind"],"action":"SCMP_ACT_TRAP"}]}"#,
        );
        check(&f, I386, 102, &[2], ALLOW);
    }

    #[test]
    fn flags_and_listeners() {
        let flags = |json: &str| filter(json).flags;
        let allow = r#"{"defaultAction":"SCMP_ACT_ALLOW""#;
        assert_eq!(
            flags(&format!("{allow}}}")),
            libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW
        );
        assert_eq!(flags(&format!(r#"{allow},"flags":[]}}"#)), 0);
        assert_eq!(
            flags(&format!(
                r#"{allow},"flags":["SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_TSYNC"]}}"#
            )),
            libc::SECCOMP_FILTER_FLAG_LOG
        );
        assert!(
            filter(&format!(
                r#"{allow},"syscalls":[{{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}}]}}"#
            ))
            .notifies()
        );
    }

    #[test]
    fn wrong_profiles_are_named() {
        for (json, text) in [
            (
                r#"{"defaultAction":"SCMP_ACT_NOPE"}"#,
                "unknown seccomp action \"SCMP_ACT_NOPE\"",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#,
                "SCMP_ACT_NOTIFY cannot be used as default action",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_Z80"]}"#,
                "unknown seccomp architecture \"SCMP_ARCH_Z80\"",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["X"]}"#,
                "unknown seccomp flag \"X\"",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":5000}]}"#,
                "invalid seccomp error number 5000",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["write"],"action":"SCMP_ACT_NOTIFY"}]}"#,
                "SCMP_ACT_NOTIFY cannot be used for the write syscall",
            ),
        ] {
            let error =
                compile(&serde_json::from_str(json).unwrap(), Architecture::X86_64).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
    }

    /// A filter of other architectures is laid out as well, though it cannot run here.
    #[test]
    fn other_machines() {
        let profile = r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_ARM"],
            "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#;
        let profile = serde_json::from_str(profile).unwrap();
        let f = compile(&profile, Architecture::Aarch64).unwrap();
        check(&f, 0xc000_00b7, 63, &[], ALLOW);
        check(&f, 0xc000_00b7, 3, &[], DENY);
        check(&f, 0x4000_0028, 3, &[], ALLOW);
        let f = compile(&profile, Architecture::Riscv64).unwrap();
        check(&f, 0xc000_00f3, 63, &[], ALLOW);
        check(&f, 0x4000_0028, 3, &[], libc::SECCOMP_RET_KILL_PROCESS);
    }

    use proptest::prelude::*;

    const NAMES: [(&str, u32); 6] = [
        ("read", 0),
        ("write", 1),
        ("open", 2),
        ("mmap", 9),
        ("kill", 62),
        ("mkdir", 83),
    ];
    pub(super) const ACTIONS: [&str; 6] = [
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_LOG",
        "SCMP_ACT_TRAP",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_TRACE",
    ];
    /// In the order of their numbers in libseccomp's `enum scmp_compare`, which begin with 1.
    pub(super) const COMPARISONS: [&str; 7] = [
        "SCMP_CMP_NE",
        "SCMP_CMP_LT",
        "SCMP_CMP_LE",
        "SCMP_CMP_EQ",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_MASKED_EQ",
    ];
    pub(super) const VALUES: [u64; 7] = [0, 1, 2, 0xffff_ffff, 1 << 32, (1 << 32) + 1, u64::MAX];

    /// Rules for calls of `names`.
    pub(super) fn rule(names: &[&str]) -> impl Strategy<Value = SeccompRule> + use<> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let name = prop::sample::select(names);
        let value = || prop::sample::select(VALUES.to_vec());
        let comparison = prop::sample::select(COMPARISONS.to_vec());
        let argument =
            (0_u32..6, comparison, value(), value()).prop_map(|(index, op, value, two)| {
                SeccompArgument {
                    index,
                    value,
                    value_two: two,
                    op: op.to_owned(),
                }
            });
        let action = prop::sample::select(ACTIONS.to_vec());
        let (names, args) = (
            prop::collection::vec(name, 1..3),
            prop::collection::vec(argument, 0..3),
        );
        (names, action, args, 1_u32..100).prop_map(|(names, action, args, errno)| SeccompRule {
            names,
            action: action.to_owned(),
            errno_ret: (action == "SCMP_ACT_ERRNO").then_some(errno),
            args,
        })
    }

    /// What the head of this file says of a call, without any program.
    fn meant(profile: &Seccomp, name: &str, number: u32, arguments: [u64; 6]) -> u32 {
        let default = action(&profile.default_action, EPERM).unwrap();
        let holds = |it: &SeccompArgument| {
            let (given, value) = (arguments[it.index as usize], it.value);
            match it.op.as_str() {
                "SCMP_CMP_EQ" => given == value,
                "SCMP_CMP_NE" => given != value,
                "SCMP_CMP_LT" => given < value,
                "SCMP_CMP_LE" => given <= value,
                "SCMP_CMP_GT" => given > value,
                "SCMP_CMP_GE" => given >= value,
                _ => given & value == it.value_two & value,
            }
        };
        let (mut otherwise, mut matching) = (None, None);
        let mut known = 0;
        for rule in &profile.syscalls {
            for name in &rule.names {
                let number = NAMES.iter().find(|(known, _)| known == name).unwrap().1;
                known = known.max(number + 1);
            }
            let returned = action(&rule.action, rule.errno_ret.unwrap_or(EPERM)).unwrap();
            if returned == default || !rule.names.iter().any(|known| known == name) {
                continue;
            }
            let mut indices: Vec<u32> = rule.args.iter().map(|it| it.index).collect();
            indices.sort_unstable();
            indices.dedup();
            let matches = if indices.len() == rule.args.len() {
                rule.args.iter().all(holds)
            } else {
                rule.args.iter().any(holds)
            };
            match (rule.args.is_empty(), matches) {
                (true, _) => otherwise = otherwise.or(Some(returned)),
                (false, true) => matching = matching.or(Some(returned)),
                (false, false) => {}
            }
        }
        let hidden = known > 0 && number >= known && !is_permissive(default);
        let rest = if hidden { NO_SUCH_CALL } else { default };
        otherwise.or(matching).unwrap_or(rest)
    }

    proptest! {
        #[test]
        fn programs_do_what_profiles_mean(
            default in prop::sample::select(ACTIONS.to_vec()),
            syscalls in prop::collection::vec(rule(&NAMES.map(|(name, _)| name)), 0..6),
            calls in prop::collection::vec((0_usize..6, prop::array::uniform6(prop::sample::select(VALUES.to_vec()))), 20),
        ) {
            let profile = Seccomp { default_action: default.to_owned(), syscalls, ..Seccomp::default() };
            let filter = compile(&profile, Architecture::X86_64).unwrap();
            prop_assert_eq!(machine::check(&filter.program), Ok(()));
            for (which, arguments) in calls {
                let (name, number) = NAMES[which];
                let call = Call { audit: 0xc000_003e, number, arguments };
                let found = run(&filter.program, &call);
                let expected = meant(&profile, name, number, arguments);
                prop_assert_eq!(found, expected, "{} {:x?} of {:?}", name, arguments, profile);
            }
        }
    }
}
