//! Layers come to the disk by themselves, so that a reboot does not cost making them again.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use crate::sandbox::{Sandbox, wait_until};

/// The only layer there is.
fn layer(sandbox: &Sandbox) -> PathBuf {
    let mut entries = std::fs::read_dir(sandbox.root().join("layers")).unwrap();
    entries.next().unwrap().unwrap().path()
}

fn meta(sandbox: &Sandbox) -> serde_json::Value {
    let text = std::fs::read_to_string(layer(sandbox).join("meta.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Tells a directory from one that was made again.
fn inode(sandbox: &Sandbox) -> u64 {
    std::fs::metadata(layer(sandbox).join("root"))
        .unwrap()
        .ino()
}

#[test]
fn what_was_made_is_kept_over_a_reboot() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["save", "-o", "busybox.tar", "busybox"]);
    sandbox.ok(&["rmi", "busybox"]);
    sandbox.ok(&["load", "-i", "busybox.tar"]);
    let on_disk = || meta(&sandbox)["synced"] == true;
    wait_until("the layer is on the disk", on_disk);
    let before = inode(&sandbox);
    sandbox.write("boot", "ffffffff-ffff-4fff-bfff-ffffffffffff\n");
    sandbox.shell("mount --bind boot /proc/sys/kernel/random/boot_id");
    let run = ["run", "--rm", "--network", "none", "busybox", "echo", "hi"];
    assert_eq!(sandbox.ok(&run), "hi");
    assert_eq!(inode(&sandbox), before);
    // What was not on the disk when the power went is not trusted, and is on it soon after it was made again.
    let mut lost = meta(&sandbox);
    lost["synced"] = false.into();
    std::fs::write(layer(&sandbox).join("meta.json"), lost.to_string()).unwrap();
    sandbox.write("boot", "eeeeeeee-eeee-4eee-beee-eeeeeeeeeeee\n");
    assert_eq!(sandbox.ok(&run), "hi");
    assert_ne!(inode(&sandbox), before);
    wait_until("the layer is on the disk again", on_disk);
    sandbox.shell("umount /proc/sys/kernel/random/boot_id");
}
