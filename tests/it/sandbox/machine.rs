//! A mount and a network namespace, held by descriptors: they go with the last one.

use std::fs::File;
use std::os::fd::AsFd as _;

use nix::mount::MsFlags;
use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

/// The two namespaces, of which no other test knows.
pub(crate) struct Machine {
    mounts: File,
    network: File,
}

impl Machine {
    /// Makes one, with its loopback device up.
    pub(crate) fn new() -> Machine {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_FS)
                .unwrap();
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
            // The one of the host would go on showing the host's devices.
            remount_sys();
            let up = std::process::Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status()
                .expect("these tests need ip: apt-get install iproute2");
            assert!(up.success());
            Machine {
                mounts: File::open("/proc/thread-self/ns/mnt").unwrap(),
                network: File::open("/proc/thread-self/ns/net").unwrap(),
            }
        });
        made.join().unwrap()
    }

    /// Does something on this machine: in a thread of its own, whose children are there too.
    pub(crate) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // A thread that shares its root directory with others cannot change its mount namespace.
                unshare(CloneFlags::CLONE_FS).unwrap();
                setns(self.mounts.as_fd(), CloneFlags::CLONE_NEWNS).unwrap();
                setns(self.network.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
                act()
            });
            match thread.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Whether the namespace that a file of /proc/PID/ns stands for is one of these.
    pub(crate) fn is(&self, namespace: &File) -> bool {
        let inode = |file: &File| rustix::fs::fstat(file).unwrap().st_ino;
        [&self.mounts, &self.network]
            .iter()
            .any(|own| inode(own) == inode(namespace))
    }
}

/// Mounts a /sys of this thread's network namespace over the old one, with the cgroups of the old one.
fn remount_sys() {
    const CGROUPS: &str = "/sys/fs/cgroup";
    let recursive = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let cgroups = open_tree(CWD, CGROUPS, recursive).unwrap();
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    nix::mount::mount(Some("sysfs"), "/sys", Some("sysfs"), flags, None::<&str>).unwrap();
    let from_descriptor = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(cgroups, "", CWD, CGROUPS, from_descriptor).unwrap();
}

/// Returns where this thread sees file systems mounted, in the order of mounting.
pub(crate) fn mount_points() -> Vec<String> {
    let text = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    text.lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(str::to_owned)
        .collect()
}
