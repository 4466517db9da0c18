//! Which newer kernel interfaces are to be treated as missing.
//!
//! Every use of an interface that is younger than kernel 5.10 has a fallback, chosen when the call itself says that it
//! does not exist. `ARIL_KERNEL_FALLBACK=mount_setattr,cgroup.kill` makes the named ones "missing" on any kernel, so that
//! tests can show the fallbacks, and users can step around a broken kernel. The variable is read here and nowhere else.

use std::sync::OnceLock;

/// An interface with a fallback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// `mount_setattr` (5.12); else mount(2) with MS_REMOUNT, and no recursive or id-mapped attributes.
    MountSetattr,
    /// CLONE_INTO_CGROUP (5.7, and refused by some sandboxes); else the child moves itself.
    CloneIntoCgroup,
    /// Moving oneself by the `tasks` files of v1 hierarchies; else `cgroup.procs`.
    CgroupTasks,
    /// `cgroup.kill` (5.14); else freeze, kill each, thaw.
    CgroupKill,
    /// `setns` on a pidfd (5.8); else one `setns` per file of /proc/PID/ns.
    SetnsPidfd,
    /// A read-only detached clone of our own binary's mount; else a sealed copy in memory.
    DetachedExe,
    /// overlayfs by fsconfig, with `lowerdir+` (6.8); else by one page of options.
    OverlayPaths,
    /// `quotactl_fd` (5.14); else `quotactl` with the block device of the file system.
    QuotactlFd,
}

const NAMES: [(&str, Interface); 8] = [
    ("mount_setattr", Interface::MountSetattr),
    ("clone_into_cgroup", Interface::CloneIntoCgroup),
    ("cgroup.tasks", Interface::CgroupTasks),
    ("cgroup.kill", Interface::CgroupKill),
    ("setns_pidfd", Interface::SetnsPidfd),
    ("detached_exe", Interface::DetachedExe),
    ("overlay", Interface::OverlayPaths),
    ("quotactl_fd", Interface::QuotactlFd),
];

/// Returns whether the environment says that `interface` must not be used.
pub fn forced_off(interface: Interface) -> bool {
    static OFF: OnceLock<Vec<Interface>> = OnceLock::new();
    OFF.get_or_init(|| match std::env::var("ARIL_KERNEL_FALLBACK") {
        Ok(names) => parse(&names),
        Err(_) => Vec::new(),
    })
    .contains(&interface)
}

/// Unknown names are passed over: a setting may outlive the interface it was for.
fn parse(names: &str) -> Vec<Interface> {
    let known = |name: &str| NAMES.iter().find(|(known, _)| *known == name.trim());
    names
        .split(',')
        .filter_map(known)
        .map(|(_, interface)| *interface)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_separated_by_commas() {
        assert_eq!(
            parse("cgroup.kill, mount_setattr,what"),
            [Interface::CgroupKill, Interface::MountSetattr]
        );
        assert!(parse("").is_empty());
    }
}
