//! Containers on a host with cgroup v2 alone, which most hosts are: in a virtual machine, whatever this host is.
//!
//! `checks.sh` is what runs there, a function per check; `init.sh` makes a host of the machine. One boot serves all.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

mod machine;

use machine::{Files, Outcome, Suite};

/// Two emulated processors that have to share this machine with other tests.
const DEADLINE: Duration = Duration::from_secs(900);

const INIT: &str = include_str!("init.sh");
const CHECKS: &str = include_str!("checks.sh");

#[test]
fn containers_run_on_cgroup_v2() {
    check(Suite::Own);
}

/// The other end of the kernels that Debian has: new interfaces are there, and some old ones not any more.
#[test]
fn containers_run_on_a_newer_kernel() {
    check(Suite::Other("trixie"));
}

fn check(suite: Suite) {
    // Two emulated machines at once would make each other miss their deadlines.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let name = match suite {
        Suite::Own => "own",
        Suite::Other(suite) => suite,
    };
    let dir = std::env::temp_dir().join(format!("aril-v2-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let outcome = machine::boot(files(&dir), suite, &dir, DEADLINE);
    drop(one);
    fs::remove_dir_all(&dir).unwrap();
    let expected: Vec<String> = names().map(|name| format!("ok {name}")).collect();
    let Outcome {
        results,
        console,
        ended,
    } = outcome;
    let wrong: Vec<&String> = expected
        .iter()
        .filter(|line| !results.contains(line))
        .collect();
    assert!(
        ended && wrong.is_empty() && results.len() == expected.len(),
        "the machine ended by itself: {ended}; not said: {wrong:?}; said: {results:?}\n{console}"
    );
}

/// Returns the checks, as the machine finds them.
fn names() -> impl Iterator<Item = &'static str> {
    CHECKS
        .lines()
        .filter_map(|line| line.strip_prefix("check_")?.strip_suffix("() {"))
}

/// Returns what the machine boots into: a busybox, aril, and the scripts.
fn files(dir: &Path) -> Files {
    let program = |path: &Path| fs::read(path).unwrap();
    // Only a backtrace would need the symbols, and they are most of the file.
    let stripped = dir.join("aril");
    let status = std::process::Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(env!("CARGO_BIN_EXE_aril"))
        .status()
        .expect("these tests need strip: apt-get install binutils");
    assert!(status.success());
    let mut files = vec![("bin".to_owned(), 0o040_755, Vec::new())];
    let disk = dir.join("disk");
    let status = std::process::Command::new("mkfs.ext4")
        .args([
            "-q",
            "-O",
            "project,quota",
            "-E",
            "quotatype=prjquota",
            "-I",
            "256",
        ])
        .arg(&disk)
        .arg("32M")
        .status()
        .expect("these tests need mkfs.ext4: apt-get install e2fsprogs");
    assert!(status.success());
    for (name, mode, content) in [
        ("disk", 0o100_600, program(&disk)),
        ("bin/busybox", 0o100_755, program(crate::oci::busybox())),
        ("bin/aril", 0o100_755, program(&stripped)),
        ("bin/aril-oci", 0o120_777, b"aril".to_vec()),
        ("init", 0o100_755, INIT.into()),
        ("checks", 0o100_644, CHECKS.into()),
        (
            "rootfs",
            0o100_755,
            include_bytes!("../../../rootfs-fixtures/busybox.sh").to_vec(),
        ),
    ] {
        files.push((name.to_owned(), mode, content));
    }
    files
}
