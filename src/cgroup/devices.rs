//! Which devices a container may use: rules → v1 writes, rules → an eBPF program for v2 (both pure).
//!
//! Of the rules that name a device the last one decides, for reading, writing and mknod apart (runtime-spec
//! config-linux.md, Device allowlist); without any the device is denied. v1 keeps one default and a list of exceptions
//! from it (kernel security/device_cgroup.c), so not every list of rules can be written there; v2 takes every list.

use anyhow::{Result, bail};

use super::plan::Write;
use crate::error;
use crate::oci::runtime::resources::DeviceRule;
use crate::sys::bpf::Instruction;

/// Bits of an access, as the kernel counts them (include/uapi/linux/bpf.h, BPF_DEVCG_ACC_*).
const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const ALL: u8 = MKNOD | READ | WRITE;

/// A rule for one kind of devices, its texts read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    allow: bool,
    kind: Kind,
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
}

/// The numbers are BPF_DEVCG_DEV_*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Block = 1,
    Char = 2,
}

impl Kind {
    const BOTH: [Kind; 2] = [Kind::Block, Kind::Char];

    fn letter(self) -> char {
        match self {
            Kind::Block => 'b',
            Kind::Char => 'c',
        }
    }
}

impl Rule {
    /// Whether every device that `other` names is named by this rule, accesses apart.
    fn covers(&self, other: &Rule) -> bool {
        let wider = |mine: Option<u32>, theirs: Option<u32>| mine.is_none() || mine == theirs;
        self.kind == other.kind && wider(self.major, other.major) && wider(self.minor, other.minor)
    }

    /// Whether some device is named by both rules.
    fn meets(&self, other: &Rule) -> bool {
        let same = |mine: Option<u32>, theirs: Option<u32>| {
            mine.is_none() || theirs.is_none() || mine == theirs
        };
        self.kind == other.kind && same(self.major, other.major) && same(self.minor, other.minor)
    }

    /// `c 1:3 rwm`
    fn text(&self) -> String {
        let mut text = String::with_capacity(32);
        text.push(self.kind.letter());
        for (before, number) in [(' ', self.major), (':', self.minor)] {
            text.push(before);
            match number {
                Some(number) => text.push_str(&number.to_string()),
                None => text.push('*'),
            }
        }
        text.push(' ');
        for (bit, letter) in [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')] {
            if self.access & bit != 0 {
                text.push(letter);
            }
        }
        text
    }
}

/// Reads the rules' texts; one for both kinds becomes two.
fn read(rules: &[DeviceRule]) -> Result<Vec<Rule>> {
    let mut read = Vec::with_capacity(rules.len());
    for rule in rules {
        let kinds: &[Kind] = match rule.kind.as_str() {
            "" | "a" => &Kind::BOTH,
            "b" => &[Kind::Block],
            "c" | "u" => &[Kind::Char],
            other => bail!(error::invalid(format!("invalid device type {other:?}"))),
        };
        let number = |number: Option<i64>| match number {
            // Go callers write "any" as -1.
            None | Some(-1) => Ok(None),
            Some(number) => u32::try_from(number)
                .map(Some)
                .map_err(|_| error::invalid(format!("invalid device number {number}"))),
        };
        let mut access = 0;
        for letter in rule.access.chars() {
            access |= match letter {
                'r' => READ,
                'w' => WRITE,
                'm' => MKNOD,
                other => bail!(error::invalid(format!("invalid device access {other:?}"))),
            };
        }
        for &kind in kinds {
            read.push(Rule {
                allow: rule.allow,
                kind,
                major: number(rule.major)?,
                minor: number(rule.minor)?,
                access: if access == 0 { ALL } else { access },
            });
        }
    }
    Ok(read)
}

/// Returns what to write on v1, for a cgroup in any state.
///
/// Fails for rules that v1 cannot hold: a part of the devices of an earlier, wider exception treated otherwise.
pub(super) fn plan_v1(rules: &[DeviceRule]) -> Result<Vec<Write>> {
    let mut allow_by_default = false;
    let mut exceptions: Vec<Rule> = Vec::new();
    let mut rest = rules;
    // Only a rule for everything sets the default; what stands before the last of them does not matter.
    if let Some(last) = rules.iter().rposition(is_for_everything) {
        allow_by_default = rules[last].allow;
        rest = &rules[last + 1..];
    }
    for rule in read(rest)? {
        if rule.allow == allow_by_default {
            for exception in &mut exceptions {
                if rule.covers(exception) {
                    exception.access &= !rule.access;
                } else if rule.meets(exception) && rule.access & exception.access != 0 {
                    bail!(error::with_hint(
                        error::invalid(format!(
                            "cgroup v1 cannot make device rule \"{}\" an exception from \"{}\"",
                            rule.text(),
                            exception.text()
                        )),
                        "list the devices one by one, or use a host with cgroup v2",
                    ));
                }
            }
            exceptions.retain(|exception| exception.access != 0);
        } else if let Some(known) = exceptions.iter_mut().find(|known| {
            (known.kind, known.major, known.minor) == (rule.kind, rule.major, rule.minor)
        }) {
            known.access |= rule.access;
        } else {
            exceptions.push(rule);
        }
    }
    let (default, exception) = if allow_by_default {
        ("devices.allow", "devices.deny")
    } else {
        ("devices.deny", "devices.allow")
    };
    let mut writes = vec![Write::new("devices", default, "a")];
    writes.extend(
        exceptions
            .iter()
            .map(|rule| Write::new("devices", exception, rule.text())),
    );
    Ok(writes)
}

/// Returns what systemd is told to allow (systemd.resource-control(5), DeviceAllow=): devices and accesses; nothing if all
/// is allowed. `known` is a /proc/devices, by whose names systemd knows all devices of a driver.
///
/// It has no exceptions from what it allows: those are kept by our own rules, which hold as well.
pub(super) fn systemd_rules(
    rules: &[DeviceRule],
    known: &str,
) -> Result<Option<Vec<(String, String)>>> {
    let mut allowed: Vec<Rule> = Vec::new();
    for rule in read(rules)? {
        if rule.allow {
            allowed.push(rule);
            continue;
        }
        for earlier in &mut allowed {
            if rule.covers(earlier) {
                earlier.access &= !rule.access;
            }
        }
        allowed.retain(|earlier| earlier.access != 0);
    }
    let everything = |kind| {
        let of_kind = |rule: &Rule| rule.kind == kind && rule.access == ALL;
        allowed
            .iter()
            .any(|rule| of_kind(rule) && rule.major.is_none() && rule.minor.is_none())
    };
    if Kind::BOTH.into_iter().all(everything) {
        return Ok(None);
    }
    let specifier = |rule: &Rule| {
        let (directory, section) = match rule.kind {
            Kind::Block => ("block", "Block devices:"),
            Kind::Char => ("char", "Character devices:"),
        };
        match (rule.major, rule.minor) {
            (Some(major), Some(minor)) => Some(format!("/dev/{directory}/{major}:{minor}")),
            (Some(major), None) => {
                driver(known, section, major).map(|d| format!("{directory}-{d}"))
            }
            (None, None) => Some(format!("{directory}-*")),
            (None, Some(_)) => None,
        }
    };
    let access = |rule: &Rule| {
        rule.text()
            .rsplit(' ')
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    Ok(Some(
        allowed
            .iter()
            .filter_map(|rule| Some((specifier(rule)?, access(rule))))
            .collect(),
    ))
}

/// Returns the name of the driver of `major` in a section of a /proc/devices.
fn driver<'a>(known: &'a str, section: &str, major: u32) -> Option<&'a str> {
    let lines = known.lines().skip_while(|line| *line != section).skip(1);
    lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.trim().split_once(' '))
        .find_map(|(number, name)| (number.parse() == Ok(major)).then_some(name))
}

fn is_for_everything(rule: &DeviceRule) -> bool {
    let any = |number: Option<i64>| matches!(number, None | Some(-1));
    matches!(rule.kind.as_str(), "" | "a")
        && any(rule.major)
        && any(rule.minor)
        && (rule.access.is_empty() || ['r', 'w', 'm'].iter().all(|&l| rule.access.contains(l)))
}

/// Returns a program that decides by `rules` (kernel 4.15, BPF_PROG_TYPE_CGROUP_DEVICE).
///
/// The rules are looked at from the last to the first. r3 holds the accesses that no rule has decided on yet: a rule that
/// denies one of them ends the search, one that allows some takes them away, and the search ends when none is left.
pub(super) fn program(rules: &[DeviceRule]) -> Result<Vec<Instruction>> {
    let rules = read(rules)?;
    let mut program = vec![
        // struct bpf_cgroup_dev_ctx: u32 access_type (accesses << 16 | kind), major, minor.
        load(2, 0),
        load(4, 4),
        load(5, 8),
        move_register(3, 2),
        immediate(AND32, 2, 0xffff),
        immediate(SHIFT_RIGHT32, 3, 16),
    ];
    for rule in rules.iter().rev() {
        let mut tests = vec![(2, rule.kind as i32)];
        tests.extend(rule.major.map(|major| (4, major.cast_signed())));
        tests.extend(rule.minor.map(|minor| (5, minor.cast_signed())));
        let decision: [Instruction; 4] = if rule.allow {
            [
                immediate(AND32, 3, i32::from(ALL & !rule.access)),
                jump(JUMP_NOT_EQUAL32, 3, 0, 2),
                immediate(MOVE32, 0, 1),
                exit(),
            ]
        } else {
            [
                jump(JUMP_BITS32, 3, i32::from(rule.access), 1),
                jump(JUMP, 0, 0, 2),
                immediate(MOVE32, 0, 0),
                exit(),
            ]
        };
        let length = tests.len() + decision.len();
        for (done, (register, value)) in tests.into_iter().enumerate() {
            let rest = i16::try_from(length - done - 1)?;
            program.push(jump(JUMP_NOT_EQUAL32, register, value, rest));
        }
        program.extend(decision);
    }
    program.extend([immediate(MOVE32, 0, 0), exit()]);
    Ok(program)
}

// Operations of the eBPF machine (kernel Documentation/bpf/standardization/instruction-set.rst), 32-bit forms.
const LOAD_WORD: u8 = 0x61;
const MOVE32: u8 = 0xb4;
const MOVE32_REGISTER: u8 = 0xbc;
const AND32: u8 = 0x54;
const SHIFT_RIGHT32: u8 = 0x74;
const JUMP: u8 = 0x05;
/// 32-bit comparisons are kernel 5.1.
const JUMP_NOT_EQUAL32: u8 = 0x56;
const JUMP_BITS32: u8 = 0x46;
const EXIT: u8 = 0x95;

fn instruction(code: u8, registers: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers,
        offset,
        immediate,
    }
}

/// Loads the word at `offset` of the context, which r1 points to.
fn load(register: u8, offset: i16) -> Instruction {
    instruction(LOAD_WORD, 1 << 4 | register, offset, 0)
}

fn move_register(to: u8, from: u8) -> Instruction {
    instruction(MOVE32_REGISTER, from << 4 | to, 0, 0)
}

fn immediate(code: u8, register: u8, value: i32) -> Instruction {
    instruction(code, register, 0, value)
}

fn jump(code: u8, register: u8, value: i32, over: i16) -> Instruction {
    instruction(code, register, over, value)
}

fn exit() -> Instruction {
    instruction(EXIT, 0, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Vec<DeviceRule> {
        texts
            .iter()
            .map(|text| {
                let mut fields = text.split(' ');
                let sign = fields.next().unwrap();
                let kind = fields.next().unwrap();
                let mut numbers = fields
                    .next()
                    .unwrap_or("*:*")
                    .split(':')
                    .map(|n| n.parse().ok());
                DeviceRule {
                    allow: sign == "+",
                    kind: kind.to_owned(),
                    major: numbers.next().unwrap(),
                    minor: numbers.next().unwrap(),
                    access: fields.next().unwrap_or("").to_owned(),
                }
            })
            .collect()
    }

    #[test]
    fn systemd_is_told_what_is_allowed() {
        let known = "Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  8 sd\n136 other\n";
        let told = |texts: &[&str]| systemd_rules(&rules(texts), known).unwrap();
        let allowed = |pairs: &[(&str, &str)]| {
            let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
            Some(pairs.iter().map(owned).collect::<Vec<_>>())
        };
        assert_eq!(told(&["+ a"]), None);
        assert_eq!(
            told(&[
                "- a",
                "+ c 1:3 rw",
                "+ c 136:* rwm",
                "+ b *:* m",
                "+ c 99:* r",
                "+ c *:3 r"
            ]),
            allowed(&[
                ("/dev/char/1:3", "rw"),
                ("char-pts", "rwm"),
                ("block-*", "m")
            ])
        );
        assert_eq!(
            told(&["+ b 8:0 rwm", "- b 8:* w", "+ c 1:5 r", "- c 1:5 r"]),
            allowed(&[("/dev/block/8:0", "rm")])
        );
    }

    /// Runs `program` for one access, as the kernel would.
    fn run(program: &[Instruction], kind: Kind, major: u32, minor: u32, access: u8) -> bool {
        let context = [u32::from(access) << 16 | kind as u32, major, minor];
        let mut registers = [0_u32; 11];
        let mut at = 0_usize;
        // Jumps only lead forward, so this ends.
        while at < program.len() {
            let i = program[at];
            let to = usize::from(i.registers & 15);
            let from = usize::from(i.registers >> 4);
            at += 1;
            let mut jump_if = |holds: bool| {
                if holds {
                    at += usize::try_from(i.offset).unwrap();
                }
            };
            match i.code {
                LOAD_WORD => {
                    assert_eq!(from, 1);
                    registers[to] = context[usize::try_from(i.offset / 4).unwrap()];
                }
                MOVE32 => registers[to] = i.immediate.cast_unsigned(),
                MOVE32_REGISTER => registers[to] = registers[from],
                AND32 => registers[to] &= i.immediate.cast_unsigned(),
                SHIFT_RIGHT32 => registers[to] >>= i.immediate,
                JUMP => jump_if(true),
                JUMP_NOT_EQUAL32 => jump_if(registers[to] != i.immediate.cast_unsigned()),
                JUMP_BITS32 => jump_if(registers[to] & i.immediate.cast_unsigned() != 0),
                EXIT => return registers[0] != 0,
                other => panic!("unknown operation {other:#x}"),
            }
        }
        panic!("the program has no end")
    }

    /// What the rules mean, told in another way: each access by the last rule that names it.
    fn expected(rules: &[Rule], kind: Kind, major: u32, minor: u32, access: u8) -> bool {
        [MKNOD, READ, WRITE]
            .iter()
            .filter(|&&bit| access & bit != 0)
            .all(|&bit| {
                rules
                    .iter()
                    .rev()
                    .find(|rule| {
                        rule.kind == kind
                            && rule.major.is_none_or(|m| m == major)
                            && rule.minor.is_none_or(|m| m == minor)
                            && rule.access & bit != 0
                    })
                    .is_some_and(|rule| rule.allow)
            })
    }

    #[test]
    fn the_program_decides_as_the_rules_say() {
        for list in [
            rules(&[]),
            rules(&["- a"]),
            rules(&["+ a"]),
            rules(&["- a", "+ c 1:3 rw", "+ c 1:3 m", "+ b *:* m", "+ c 136:*"]),
            rules(&["+ a", "- c 10:229", "- b 8:* w", "+ b 8:1 w"]),
            rules(&["- a", "+ c *:*", "- c 5:* r", "+ a *:7 r"]),
            DeviceRule::usual(),
        ] {
            let program = program(&list).unwrap();
            let read = read(&list).unwrap();
            for kind in Kind::BOTH {
                for major in [1, 5, 8, 10, 136, 4_000_000_000] {
                    for minor in [0, 1, 3, 7, 229] {
                        for access in 1..=ALL {
                            assert_eq!(
                                run(&program, kind, major, minor, access),
                                expected(&read, kind, major, minor, access),
                                "{list:?}: {kind:?} {major}:{minor} {access}"
                            );
                        }
                    }
                }
            }
        }
    }

    fn check_v1(texts: &[&str], expected: &[&str]) {
        let found: Vec<String> = plan_v1(&rules(texts))
            .unwrap()
            .iter()
            .map(|w| format!("{} {}", w.file.trim_start_matches("devices."), w.value))
            .collect();
        assert_eq!(found, expected, "{texts:?}");
    }

    #[test]
    fn v1_gets_a_default_and_exceptions() {
        check_v1(&[], &["deny a"]);
        check_v1(&["- a"], &["deny a"]);
        check_v1(
            &["+ c 1:3 r", "- a", "+ c 1:3 rw", "+ c 1:3 m"],
            &["deny a", "allow c 1:3 rwm"],
        );
        check_v1(
            &["- a", "+ c 1:3", "- c 1:3 w"],
            &["deny a", "allow c 1:3 rm"],
        );
        check_v1(&["- a", "+ c 1:3", "- c *:*"], &["deny a"]);
        check_v1(&["+ a", "- b 8:*"], &["allow a", "deny b 8:* rwm"]);
        check_v1(
            &["- a", "+ a *:* m"],
            &["deny a", "allow b *:* m", "allow c *:* m"],
        );
    }

    #[test]
    fn what_v1_cannot_hold_is_refused() {
        let error = plan_v1(&rules(&["- a", "+ c *:*", "- c 10:229"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cgroup v1 cannot make device rule \"c 10:229 rwm\" an exception from \"c *:* rwm\""
        );
        // Other accesses do not meet.
        check_v1(
            &["- a", "+ c *:* m", "- c 10:229 rw"],
            &["deny a", "allow c *:* m"],
        );
    }

    #[test]
    fn wrong_rules_are_named() {
        for (text, expected) in [
            ("+ x 1:1", "invalid device type \"x\""),
            ("+ c 1:1 rx", "invalid device access 'x'"),
        ] {
            assert_eq!(program(&rules(&[text])).unwrap_err().to_string(), expected);
        }
    }
}
