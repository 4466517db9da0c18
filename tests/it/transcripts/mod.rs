//! What docker answered to command lines, and whether aril answers the same: recorded cases, replayed without docker.
//!
//! `tests/transcripts/NAME.case` holds cases, `NAME.expected` what docker said, and `NAME.differs` where aril says something
//! else on purpose, and why (`files.rs` has their formats). Each file is one test, each case starts on an empty machine.
//!
//! What is new or has other commands is recorded instead if `ARIL_TRANSCRIPTS_DOCKER` names docker's program; see
//! CONTRIBUTING.md. Everything in that docker is removed.

mod files;
mod neutral;
mod play;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use files::{Answer, Case, Difference};
use play::{Docker, replay};

/// Names docker's program when answers are to be recorded.
const RECORD: &str = "ARIL_TRANSCRIPTS_DOCKER";

/// Cases that there are at least: a file that is no longer read would otherwise go unnoticed.
const CASES: usize = 540;

macro_rules! files {
    ($($name:ident)*) => {
        const FILES: &[&str] = &[$(stringify!($name)),*];
        $(#[test] fn $name() { check(stringify!($name)); })*
    };
}

files! {
    basics
    build_images
    exec
    lifecycle
    lists
    logs
    mounts
    options
    templates
    images
    refusals
    networks
    connections
    contexts
    volumes
    states
    restarts
    usage
    usage_groups
    events
    copies
    updates
    inspects
    flags
    archives
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

fn read(name: &str, suffix: &str) -> Option<String> {
    std::fs::read_to_string(folder().join(format!("{name}.{suffix}"))).ok()
}

fn cases(name: &str) -> Vec<Case> {
    files::cases(&read(name, "case").unwrap())
}

/// Replays the cases of a file, or records them.
fn check(name: &str) {
    let cases = cases(name);
    if let Some(program) = std::env::var_os(RECORD) {
        let known = files::answers(&read(name, "expected").unwrap_or_default());
        let recorded = Docker::lock(&program).record(&cases, &known);
        std::fs::write(folder().join(format!("{name}.expected")), recorded).unwrap();
        return;
    }
    let recorded = files::answers(&read(name, "expected").unwrap());
    let differences = files::differences(&read(name, "differs").unwrap_or_default());
    let mut wrong = String::new();
    for difference in &differences {
        if !cases.iter().any(|case| case.name == difference.case) {
            writeln!(wrong, "{name}.differs names no case: {}", difference.case).unwrap();
        }
    }
    for case in &cases {
        let expected = recorded.get(&case.name).unwrap_or_else(|| {
            panic!(
                "{name}.expected lacks {:?}: record it, with {RECORD}",
                case.name
            )
        });
        let differences: Vec<&Difference> = differences
            .iter()
            .filter(|difference| difference.case == case.name)
            .collect();
        let found = compare(case, expected, &differences, &replay(case));
        if !found.is_empty() {
            write!(wrong, "### {}\n{found}", case.name).unwrap();
        }
    }
    assert!(
        wrong.is_empty(),
        "{name}: `-` is what docker says, `+` what aril says\n\n{wrong}"
    );
}

/// Returns what is wrong about what was said in a case, nothing if all is well.
fn compare(
    case: &Case,
    recorded: &[Answer],
    differences: &[&Difference],
    said: &[Answer],
) -> String {
    let mut wrong = String::new();
    if !case.is_answered_by(recorded) {
        return "its commands are not those that were recorded: record it again\n".to_owned();
    }
    let mut unused: Vec<&Difference> = differences.to_vec();
    for (docker, aril) in recorded.iter().zip(said) {
        let on_purpose = unused
            .iter()
            .position(|it| it.answer.command == docker.command)
            .map(|at| unused.remove(at));
        let expected = on_purpose.map_or(docker, |it| &it.answer);
        if on_purpose.is_some() && aril.lines == docker.lines {
            let stale = "differs no longer: take it out of the file of differences";
            writeln!(wrong, "$ {}\n{stale}", docker.command).unwrap();
        } else if aril.lines != expected.lines {
            write!(wrong, "$ {}\n{}", docker.command, diff(expected, aril)).unwrap();
        }
        if on_purpose.is_some_and(|it| it.why.is_empty()) {
            writeln!(wrong, "$ {}\nsays no reason", docker.command).unwrap();
        }
    }
    for difference in unused {
        let command = &difference.answer.command;
        writeln!(wrong, "$ {command}\nis a difference of no command").unwrap();
    }
    wrong
}

/// Lines of two answers, with what they have in common at both ends shown once.
fn diff(expected: &Answer, said: &Answer) -> String {
    let (old, new) = (&expected.lines, &said.lines);
    let shortest = old.len().min(new.len());
    let same = |pairs: &mut dyn Iterator<Item = (&String, &String)>| {
        pairs.take_while(|(a, b)| a == b).count()
    };
    let head = same(&mut old.iter().zip(new));
    let tail = same(&mut old.iter().rev().zip(new.iter().rev())).min(shortest - head);
    let mut text = String::new();
    let mut show = |mark: &str, lines: &[String]| {
        for line in lines {
            writeln!(text, "{mark}{line}").unwrap();
        }
    };
    show(" ", &old[..head]);
    show("-", &old[head..old.len() - tail]);
    show("+", &new[head..new.len() - tail]);
    show(" ", &new[new.len() - tail..]);
    text
}

#[test]
fn every_file_is_a_test_and_says_enough() {
    let mut there = BTreeSet::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_some_and(|suffix| suffix == "case") {
            there.insert(name);
        } else {
            assert!(
                path.with_extension("case").exists(),
                "{} is beside no case",
                path.display()
            );
        }
    }
    let tested: BTreeSet<String> = FILES.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(there, tested);
    let mut names = BTreeSet::new();
    let mut commands = 0;
    let mut different = BTreeSet::new();
    for file in FILES {
        for case in cases(file) {
            commands += case.commands.len();
            assert!(!case.commands.is_empty(), "{file}: {} is empty", case.name);
            let name = (*file, case.name);
            assert!(!names.contains(&name), "twice: {name:?}");
            names.insert(name);
        }
        for difference in files::differences(&read(file, "differs").unwrap_or_default()) {
            different.insert((*file, difference.case));
        }
    }
    println!(
        "{} cases of {commands} commands, {} with a difference",
        names.len(),
        different.len()
    );
    assert!(names.len() >= CASES, "only {} cases", names.len());
    // What is different on purpose is the exception.
    assert!(different.len() * 100 <= names.len() * 10);
}
