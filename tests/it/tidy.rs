//! What the repository promises about itself: order of dependency, heads and sizes of files, no forgotten file, changelog.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The modules from the kernel up to the command line: each may use those of the lines above its own, and none beside it.
const LEVELS: &[&[&str]] = &[
    &["sys", "error", "dirs"],
    &["oci"],
    &["docker"],
    &["store"],
    &["event", "settings"],
    &[
        "build",
        "cgroup",
        "container",
        "image",
        "network",
        "registry",
        "runtime",
        "volume",
    ],
    &["monitor"],
    &["engine"],
    &["api"],
    &["cli"],
];

/// What a module may use although it stands beside it.
const EXCEPTIONS: &[(&str, &str)] = &[
    // A runtime starts its processes in their cgroups.
    ("runtime", "cgroup"),
    // And moves devices of the host into their networks, by the network part's netlink.
    ("runtime", "network"),
];

/// A file that is longer holds more than one subject. Tests do not count: a table of cases may be long.
const MAX_LINES: usize = 700;

/// Files that are longer, and why.
const LONG_FILES: &[(&str, &str)] = &[(
    "src/image/apply/torture.rs",
    "a table of hostile archives, all of it tests",
)];

const MANIFEST: &str = include_str!("../../Cargo.toml");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the Rust files below `folder`, by their paths from the root of the repository, and their texts.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap();
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((name.to_str().unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

fn all_sources() -> Vec<(String, String)> {
    ["src", "tests", "benches", "examples"]
        .into_iter()
        .flat_map(sources)
        .collect()
}

#[track_caller]
fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Returns the code of a text: no comments.
fn code(text: &str) -> String {
    let line = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Returns the first names after each `crate::` of a text, those in braces too.
fn used_modules(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let mut depth = 0;
        let mut name = String::new();
        for character in rest.chars() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => {
                    names.insert(std::mem::take(&mut name));
                }
                c if c.is_ascii_alphanumeric() || c == '_' => {
                    if depth <= 1 {
                        name.push(c);
                    }
                    continue;
                }
                ' ' | '\n' if depth == 1 => continue,
                _ => {}
            }
            // The path goes on, or has ended: its first name is known.
            if !name.is_empty() {
                names.insert(std::mem::take(&mut name));
                if depth == 0 {
                    break;
                }
                name.clear();
            }
            if depth <= 0 {
                break;
            }
        }
    }
    names
}

#[test]
fn used_modules_are_found() {
    let check = |code: &str, expected: &[&str]| {
        let found = used_modules(code);
        for name in expected {
            assert!(found.contains(*name), "{code}: {found:?}");
        }
    };
    check("use crate::error;", &["error"]);
    check(
        "use crate::{cgroup, error, event, store};",
        &["cgroup", "error", "event", "store"],
    );
    check(
        "use crate::{\n    oci::digest::Digest,\n    sys,\n};",
        &["oci", "sys"],
    );
    check(
        "let x = crate::signal::parse(1); crate::dirs::y()",
        &["signal", "dirs"],
    );
}

#[test]
fn modules_use_what_stands_above_them() {
    let level = |module: &str| LEVELS.iter().position(|level| level.contains(&module));
    let mut wrong = Vec::new();
    for (name, text) in sources("src") {
        let module = name.split('/').nth(1).unwrap().trim_end_matches(".rs");
        if matches!(module, "lib" | "main") {
            continue;
        }
        let Some(own) = level(module) else {
            wrong.push(format!(
                "{name}: {module} has no place in the table of this test"
            ));
            continue;
        };
        for used in used_modules(&code(&text)) {
            let allowed = EXCEPTIONS.contains(&(module, used.as_str()));
            if used != module && !allowed && level(&used).is_some_and(|used| used >= own) {
                wrong.push(format!("{name}: {module} must not use {used}"));
            }
        }
    }
    report(&wrong);
}

#[test]
fn every_module_has_a_place_in_the_table() {
    let library = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let wrong: Vec<String> = library
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .filter(|module| !LEVELS.concat().contains(module))
        .map(|module| format!("src/lib.rs: {module} has no place in the table of this test"))
        .collect();
    report(&wrong);
}

#[test]
fn files_say_what_they_own() {
    let wrong: Vec<String> = all_sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(name, _)| format!("{name}: does not open with //!"))
        .collect();
    report(&wrong);
}

#[test]
fn files_hold_one_subject() {
    let mut wrong = Vec::new();
    for (name, text) in all_sources() {
        let lines = text
            .split("#[cfg(test)]\nmod ")
            .next()
            .unwrap()
            .lines()
            .count();
        let excused =
            name.ends_with("/tests.rs") || LONG_FILES.iter().any(|(file, _)| *file == name);
        if lines > MAX_LINES && !excused {
            wrong.push(format!("{name}: {lines} lines without its tests"));
        }
        if lines <= MAX_LINES && LONG_FILES.iter().any(|(file, _)| *file == name) {
            wrong.push(format!("{name}: is short enough without an excuse"));
        }
    }
    report(&wrong);
}

#[test]
fn no_file_is_forgotten() {
    let mut wrong = Vec::new();
    let all: Vec<(String, String)> = ["src", "tests"].into_iter().flat_map(sources).collect();
    for (name, _) in &all {
        let path = Path::new(name);
        let (folder, stem) = (path.parent().unwrap(), path.file_stem().unwrap());
        let stem = stem.to_str().unwrap();
        if matches!(stem, "lib" | "main") {
            continue;
        }
        let (module, parents) = if stem == "mod" {
            let above = folder.parent().unwrap();
            (folder.file_name().unwrap().to_str().unwrap(), above)
        } else {
            (stem, folder)
        };
        let declared = ["mod.rs", "lib.rs", "main.rs"].iter().any(|parent| {
            let parent = parents.join(parent);
            let text = all.iter().find(|(name, _)| Path::new(name) == parent);
            text.is_some_and(|(_, text)| text.contains(&format!("mod {module};")))
        });
        let beside = parents.with_extension("rs");
        // Programs of their own are named where cargo looks.
        let declared = declared
            || MANIFEST.contains(&format!("path = \"{name}\""))
            || all.iter().any(|(name, text)| {
                Path::new(name) == beside && text.contains(&format!("mod {module};"))
            });
        if !declared {
            wrong.push(format!(
                "{name}: is no module of anything, so it is never built"
            ));
        }
    }
    report(&wrong);
}

#[test]
fn what_is_to_be_done_has_a_number() {
    let mut wrong = Vec::new();
    for (name, text) in all_sources() {
        // In two halves, or this file would accuse itself.
        for word in [
            concat!("TO", "DO"),
            concat!("FIX", "ME"),
            concat!("XX", "X:"),
        ] {
            for (number, line) in text.lines().enumerate() {
                if line.contains(word) && !line.contains('#') {
                    wrong.push(format!("{name}:{}: {word} without a number", number + 1));
                }
            }
        }
    }
    report(&wrong);
}

#[test]
fn the_changelog_has_a_section_for_what_comes_next() {
    let text = std::fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    let first = text.lines().find(|line| line.starts_with("## "));
    assert!(
        first.is_some_and(|line| line.contains("Unreleased")),
        "CHANGELOG.md: the first section is {first:?}, not Unreleased"
    );
}

#[test]
fn dependencies_have_reasons() {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut wrong = Vec::new();
    let mut section = "";
    let mut explained = false;
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]") && line.contains('=') {
            if !explained {
                wrong.push(format!("Cargo.toml: no reason for {line}"));
            }
            // One reason may be that of a group.
            continue;
        }
        explained = line.starts_with('#');
    }
    report(&wrong);
}
