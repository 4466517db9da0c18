//! Our compiler beside libseccomp: random profiles, random calls, the same decisions. Tests alone.
//!
//! libseccomp is asked as runc asks it, by `tests/helpers/libseccomp.c`, which is built here and linked statically or not
//! as the C compiler finds it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::machine::{Call, check, run};
use super::tests::{ACTIONS, COMPARISONS, VALUES, rule};
use super::{Architecture, NO_SUCH_CALL, action, compile, is_permissive};
use crate::oci::runtime::linux::{Seccomp, SeccompArgument};
use crate::sys::seccomp::Instruction;

const NAMES: [&str; 11] = [
    "read",
    "write",
    "open",
    "mmap",
    "kill",
    "mkdir",
    "clone",
    "prctl",
    "ipc",
    "socketcall",
    "openat2",
];

/// The helper, which answers one profile after the other.
struct Libseccomp {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Libseccomp {
    fn start() -> Libseccomp {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/helpers/libseccomp.c");
        let program = std::env::temp_dir().join(format!("aril-libseccomp-{}", std::process::id()));
        let built = Command::new("cc")
            .args(["-O1", "-Wall", "-Werror", "-o"])
            .arg(&program)
            .arg(source)
            .arg("-lseccomp")
            .status();
        assert!(
            built
                .expect("this test needs cc: apt-get install gcc")
                .success(),
            "this test needs libseccomp: apt-get install libseccomp-dev"
        );
        let mut process = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::fs::remove_file(&program).unwrap();
        Libseccomp {
            questions: process.stdin.take().unwrap(),
            answers: BufReader::new(process.stdout.take().unwrap()),
            process,
        }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.questions, "{line}").unwrap();
    }

    /// Returns its program for `profile`; nothing if it refuses one of the rules.
    fn compile(&mut self, profile: &Seccomp) -> Option<Vec<Instruction>> {
        let otherwise = default(profile);
        self.say(&format!(
            "filter {otherwise} {}",
            libc::SECCOMP_RET_KILL_PROCESS
        ));
        for name in &profile.architectures {
            let name = name.trim_start_matches("SCMP_ARCH_").to_lowercase();
            self.say(&format!("arch {name}"));
        }
        for rule in &profile.syscalls {
            let returned = action(&rule.action, rule.errno_ret.unwrap_or(super::EPERM)).unwrap();
            // As runc does; libseccomp refuses such rules.
            if returned == otherwise {
                continue;
            }
            for name in &rule.names {
                for conditions in alternatives(&rule.args) {
                    let count = conditions.len();
                    let conditions: String = conditions.iter().map(condition).collect();
                    self.say(&format!("rule {returned} {name} {count}{conditions}"));
                }
            }
        }
        self.say("end");
        let mut length = String::new();
        self.answers.read_line(&mut length).unwrap();
        let length: usize = length
            .trim()
            .parse()
            .expect("the helper has said why on stderr");
        let mut bytes = vec![0; length];
        self.answers.read_exact(&mut bytes).unwrap();
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        let instruction = |bytes: &[u8]| Instruction {
            code: u16::from_le_bytes([bytes[0], bytes[1]]),
            jump_true: bytes[2],
            jump_false: bytes[3],
            operand: number(&bytes[4..]),
        };
        (length > 0).then(|| bytes.chunks(8).map(instruction).collect())
    }
}

impl Drop for Libseccomp {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn condition(condition: &SeccompArgument) -> String {
    let SeccompArgument {
        index,
        value,
        value_two,
        op,
    } = condition;
    let operator = COMPARISONS.iter().position(|known| known == op).unwrap() + 1;
    format!(" {index} {operator} {value} {value_two}")
}

fn default(profile: &Seccomp) -> u32 {
    action(&profile.default_action, super::EPERM).unwrap()
}

/// runc's reading of several conditions: one by one if two are on the same argument.
fn alternatives(conditions: &[SeccompArgument]) -> Vec<&[SeccompArgument]> {
    let is_repeated = |one: &SeccompArgument| {
        conditions
            .iter()
            .filter(|other| other.index == one.index)
            .count()
            > 1
    };
    if conditions.iter().any(is_repeated) {
        conditions.chunks(1).collect()
    } else {
        vec![conditions]
    }
}

/// Calls of `architecture` to try: all that have one of `NAMES`, with their number as the kernel shows it.
fn calls(architecture: Architecture) -> Vec<(u32, u32, &'static str)> {
    let mut calls = Vec::new();
    architecture.for_each_call(|number, name| {
        if NAMES.contains(&name) {
            calls.push((architecture.audit_number(), number, name));
        }
    });
    calls
}

/// Whether libseccomp does what a profile says of `name`, and as we read it.
///
/// Up to 2.6 it takes the wrong way through a tree of conditions if several rules for one call compare the same argument,
/// and has no program for calls by way of `socketcall` behind which others come.
fn is_comparable(profile: &Seccomp, name: &str) -> bool {
    let rules = profile.syscalls.iter();
    let of_name = rules.filter(|rule| rule.names.iter().any(|known| known == name));
    of_name.flat_map(|rule| alternatives(&rule.args)).count() <= 1
}

#[test]
fn libseccomp_decides_the_same() {
    let mut libseccomp = Libseccomp::start();
    let mut all = calls(Architecture::X86_64);
    all.extend(calls(Architecture::X86));
    let arguments = prop::array::uniform6(prop::sample::select(VALUES.to_vec()));
    let profiles = (
        prop::sample::select(ACTIONS.to_vec()),
        prop::collection::vec(rule(&NAMES), 0..6),
        prop::sample::select(vec![vec![], vec!["SCMP_ARCH_X86".to_owned()]]),
        prop::collection::vec((prop::sample::select(all), arguments), 60),
    );
    let mut compared = 0;
    let mut runner = TestRunner::deterministic();
    for _ in 0..3000 {
        let (default, mut syscalls, architectures, calls) =
            profiles.new_tree(&mut runner).unwrap().current();
        for condition in syscalls.iter_mut().flat_map(|rule| &mut rule.args) {
            // On 32 bits it masks only one side.
            condition.value_two &= condition.value;
        }
        let profile = Seccomp {
            default_action: default.to_owned(),
            architectures,
            syscalls,
            ..Seccomp::default()
        };
        // It refuses two rules for one call that differ in nothing but their action.
        let Some(theirs) = libseccomp.compile(&profile) else {
            continue;
        };
        assert_eq!(check(&theirs), Ok(()));
        let ours = compile(&profile, Architecture::X86_64).unwrap().program;
        for ((audit, number, name), mut arguments) in calls {
            if !is_comparable(&profile, name) {
                continue;
            }
            // The kernel has no more of them.
            if audit == Architecture::X86.audit_number() {
                arguments = arguments.map(|argument| argument & 0xffff_ffff);
            }
            let call = Call {
                audit,
                number,
                arguments,
            };
            let (ours, theirs) = (run(&ours, &call), run(&theirs, &call));
            // What runc puts before the program of libseccomp.
            let is_hidden =
                ours == NO_SUCH_CALL && theirs == self::default(&profile) && !is_permissive(theirs);
            compared += 1;
            assert!(
                is_hidden || ours == theirs,
                "{name} {call:x?}: {ours:#x}, by libseccomp {theirs:#x}: {}",
                serde_json::to_string(&profile).unwrap()
            );
        }
    }
    assert!(compared > 50_000, "{compared} calls compared");
}
