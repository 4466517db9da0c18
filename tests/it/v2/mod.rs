//! Containers on a host with cgroup v2 alone, which most hosts are: in a virtual machine, whatever this host is.
//!
//! `checks.sh`, or `systemd.sh` where systemd makes the cgroups, or `criu.sh` where there is CRIU, is what runs there, a function per check; `init.sh` makes
//! a host of the machine. One boot serves all.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

mod machine;

use machine::{Files, Outcome, Suite};

/// Two emulated processors that have to share this machine with other tests.
const DEADLINE: Duration = Duration::from_secs(900);

const INIT: &str = include_str!("init.sh");
const TOOLS: &str = include_str!("tools.sh");
const CHECKS: &str = include_str!("checks.sh");
const SYSTEMD_CHECKS: &str = include_str!("systemd.sh");
const CRIU_CHECKS: &str = include_str!("criu.sh");

/// A bus to which everybody may say everything: who is allowed what is not what is tested.
const BUS: &str = r#"<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>"#;

/// A host: its kernel, and what it has beside it.
struct Host {
    name: &'static str,
    kernel: Suite,
    beside: Beside,
}

/// What a host has beside a busybox.
enum Beside {
    Nothing,
    /// systemd, which makes it a host.
    Systemd,
    /// CRIU, which saves containers.
    Criu,
}

#[test]
fn containers_run_on_cgroup_v2() {
    check(&Host {
        name: "own",
        kernel: Suite::Own,
        beside: Beside::Nothing,
    });
}

/// The other end of the kernels that Debian has: new interfaces are there, and some old ones not any more.
#[test]
fn containers_run_on_a_newer_kernel() {
    check(&Host {
        name: "trixie",
        kernel: Suite::Other("trixie"),
        beside: Beside::Nothing,
    });
}

/// The oldest kernel that is supported, which lacks most of what has a fallback.
#[test]
fn containers_run_on_the_oldest_kernel() {
    check(&Host {
        name: "bullseye",
        kernel: Suite::Other("bullseye"),
        beside: Beside::Nothing,
    });
}

#[test]
fn systemd_makes_cgroups() {
    check(&Host {
        name: "systemd",
        kernel: Suite::Own,
        beside: Beside::Systemd,
    });
}

#[test]
fn containers_are_saved_and_restored() {
    check(&Host {
        name: "criu",
        kernel: Suite::Own,
        beside: Beside::Criu,
    });
}

fn check(host: &Host) {
    // Two emulated machines at once would make each other miss their deadlines.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = std::env::temp_dir().join(format!("aril-v2-{}-{}", host.name, std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let (checks, more) = match host.beside {
        Beside::Nothing => (CHECKS, Files::new()),
        Beside::Systemd => (SYSTEMD_CHECKS, systemd()),
        Beside::Criu => (CRIU_CHECKS, criu()),
    };
    let mut files = files(&dir, checks);
    files.extend(more);
    let outcome = machine::boot(files, host.kernel, &dir, DEADLINE);
    drop(one);
    fs::remove_dir_all(&dir).unwrap();
    let expected: Vec<String> = names(checks).map(|name| format!("ok {name}")).collect();
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
fn names(checks: &'static str) -> impl Iterator<Item = &'static str> {
    checks
        .lines()
        .filter_map(|line| line.strip_prefix("check_")?.strip_suffix("() {"))
}

/// Returns programs of this host's Debian, with their libraries.
fn programs(cache: &str, names: &[&str]) -> Files {
    let mut files = machine::tree(&machine::programs(cache, names));
    // busybox has a directory for its programs already.
    files.retain(|(name, mode, _)| name != "bin" || mode & 0o170_000 != 0o040_000);
    files
}

/// Returns CRIU, and what it keeps temporary file systems by.
fn criu() -> Files {
    programs("criu", &["criu", "tar", "gzip"])
}

/// Returns Debian's systemd and message bus, with two services and nothing else to start.
fn systemd() -> Files {
    let mut files = programs("systemd", &["systemd", "dbus-daemon"]);
    let service = |requires: &str, command: &str, more: &str| {
        format!("[Unit]\nDefaultDependencies=no\n{requires}\n[Service]\nType=simple\nExecStart={command}\n{more}").into_bytes()
    };
    let bus = "/usr/bin/dbus-daemon --config-file=/etc/bus.conf --address=systemd: --nofork --nopidfile --systemd-activation";
    let socket =
        "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/dbus/system_bus_socket\n";
    let after_bus = "Requires=dbus.service\nAfter=dbus.service";
    let units = [
        ("dbus.socket", socket.into()),
        (
            "dbus.service",
            service("Requires=dbus.socket\nAfter=dbus.socket", bus, ""),
        ),
        (
            "checks.service",
            service(
                after_bus,
                "/init checks",
                "Delegate=yes\nStandardOutput=null\n",
            ),
        ),
    ];
    for (name, content) in units {
        files.push((format!("etc/systemd/system/{name}"), 0o100_644, content));
    }
    for (name, content) in [
        ("etc/bus.conf", BUS),
        ("etc/machine-id", "00000000000000000000000000000001\n"),
        // The bus asks who its clients are.
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        ("etc/group", "root:x:0:\n"),
    ] {
        files.push((name.to_owned(), 0o100_644, content.into()));
    }
    files
}

/// Returns what the machine boots into: a busybox, aril, and the scripts.
fn files(dir: &Path, checks: &str) -> Files {
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
        ("tools", 0o100_644, TOOLS.into()),
        ("checks", 0o100_644, checks.into()),
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
