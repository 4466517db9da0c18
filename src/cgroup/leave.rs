//! How a process that outlives its caller leaves the caller's cgroup.

use std::path::Path;

use anyhow::Result;

use super::layout::{self, Host};
use super::plan::write_file;
use crate::sys::pseudo;

/// Moves this process, which must have one thread, into the root of every hierarchy in which it is elsewhere.
///
/// Tries all hierarchies and returns the first error: where the root is not ours to enter, in a container without a
/// cgroup namespace, the process stays.
pub fn leave() -> Result<()> {
    let own = pseudo::read_text("/proc/self/cgroup")?;
    let elsewhere: Vec<&str> = controllers_elsewhere(&own).collect();
    // The usual case at a plain root shell, and the mount table need not be read for it.
    if elsewhere.is_empty() {
        return Ok(());
    }
    let host = layout::detect()?;
    let mut result = std::io::Result::Ok(());
    for controllers in elsewhere {
        if let Some(file) = root_file(host, controllers) {
            result = result.and(write_file(&file, "0"));
        }
    }
    Ok(result?)
}

/// Returns the controllers of each hierarchy in /proc/PID/cgroup in which the process is not at the root; empty for v2.
fn controllers_elsewhere(table: &str) -> impl Iterator<Item = &str> {
    let elsewhere = layout::memberships(table).filter(|(_, path)| *path != "/");
    elsewhere.map(|(controllers, _)| controllers)
}

/// Returns the file that takes this process; a thread that moves itself on v1 waits for nobody.
fn root_file(host: &Host, controllers: &str) -> Option<std::path::PathBuf> {
    let file = |mount: &Path, name| Some(mount.join(name));
    if controllers.is_empty() {
        return host
            .unified
            .as_ref()
            .and_then(|unified| file(&unified.mount, "cgroup.procs"));
    }
    let first = controllers.split(',').next()?;
    host.v1_of(first)
        .and_then(|hierarchy| file(&hierarchy.mount, "tasks"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_elsewhere_is_left() {
        for (line, expected) in [
            ("4:memory:/", None),
            ("4:memory:/user.slice", Some("memory")),
            ("3:cpu,cpuacct:/a:b", Some("cpu,cpuacct")),
            ("1:name=systemd:/x", Some("name=systemd")),
            ("0::/user.slice/x.scope", Some("")),
            ("0::/", None),
            ("", None),
        ] {
            assert_eq!(controllers_elsewhere(line).next(), expected, "{line}");
        }
    }
}
