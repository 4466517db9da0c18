//! `aril system check`.

use std::path::PathBuf;

use crate::sandbox::{Sandbox, wait_until};

/// The only layer of busybox.
fn layer(sandbox: &Sandbox) -> PathBuf {
    let mut entries = std::fs::read_dir(sandbox.root().join("layers")).unwrap();
    entries.next().unwrap().unwrap().path()
}

/// A machine whose busybox came from elsewhere, so that its layer can be made again from what was received.
fn sandbox_with_blob() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.ok(&["save", "-o", "busybox.tar", "busybox"]);
    sandbox.ok(&["rmi", "busybox"]);
    sandbox.ok(&["load", "-i", "busybox.tar"]);
    // What writes it to the disk must not come between what these tests do to it.
    wait_until("the layer is on the disk", || {
        let meta = std::fs::read_to_string(layer(&sandbox).join("meta.json")).unwrap();
        meta.contains("\"synced\":true")
    });
    sandbox
}

#[test]
fn a_sound_store_is_said_to_be_sound() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["run", "--name", "cc", "-v", "data:/data", "busybox", "true"]);
    let text = sandbox.ok(&["system", "check", "--deep"]);
    assert!(
        text.starts_with(
            "Checked 1 image, 1 layer, 1 container, 1 volume, all data compared: no damage"
        ),
        "{text}"
    );
}

#[test]
fn altered_data_is_found_and_healed() {
    let sandbox = sandbox_with_blob();
    let file = layer(&sandbox).join("root/etc/passwd");
    let before = std::fs::read(&file).unwrap();
    std::fs::write(&file, "intruder::0:0::/:/bin/sh\n").unwrap();
    // At a glance all is well.
    sandbox.ok(&["system", "check"]);
    let ran = sandbox.aril(&["system", "check", "--deep"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.out
            .contains("its directory has been altered (aril system check --repair"),
        "{ran:?}"
    );
    // Not under the feet of a container.
    sandbox.ok(&["run", "-d", "--name", "cc", "busybox", "sleep", "1000"]);
    let ran = sandbox.aril(&["system", "check", "--deep", "--repair"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("a running container uses it"), "{ran:?}");
    sandbox.ok(&["rm", "-f", "cc"]);
    let text = sandbox.ok(&["system", "check", "--deep", "--repair"]);
    assert!(
        text.contains("repaired: layer sha256:") && text.contains("unpacked again"),
        "{text}"
    );
    assert_eq!(std::fs::read(&file).unwrap(), before);
    sandbox.ok(&["system", "check", "--deep"]);
}

#[test]
fn what_was_made_here_is_never_thrown_away() {
    let sandbox = Sandbox::new();
    let file = layer(&sandbox).join("root/etc/passwd");
    std::fs::write(&file, "altered\n").unwrap();
    let ran = sandbox.aril(&["system", "check", "--deep", "--repair"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.out.contains("it was committed or imported here"),
        "{ran:?}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "altered\n");
}

#[test]
fn a_layer_that_is_gone_is_unpacked_again() {
    let sandbox = sandbox_with_blob();
    std::fs::remove_dir_all(layer(&sandbox)).unwrap();
    assert_eq!(sandbox.aril(&["system", "check"]).code, 1);
    let text = sandbox.ok(&["system", "check", "--repair"]);
    assert!(text.contains("is not unpacked (unpacked again)"), "{text}");
    assert_eq!(sandbox.ok(&["run", "--rm", "busybox", "echo", "hi"]), "hi");
}

#[test]
fn containers_and_names_are_set_right() {
    let sandbox = Sandbox::new();
    let id = sandbox.ok(&["create", "--name", "broken", "busybox", "true"]);
    sandbox.ok(&["create", "--name", "whole", "busybox", "true"]);
    std::fs::write(
        sandbox
            .root()
            .join("containers")
            .join(&id)
            .join("record.json"),
        "{\"id\":",
    )
    .unwrap();
    std::fs::remove_file(sandbox.root().join("names/whole")).unwrap();
    std::os::unix::fs::symlink("../containers/gone", sandbox.root().join("names/gone")).unwrap();
    let ran = sandbox.aril(&["system", "check"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    for line in [
        "container whole: its name does not lead to it",
        "name gone: it leads to no container",
        "its record cannot be read",
    ] {
        assert!(ran.out.contains(line), "{ran:?}");
    }
    let text = sandbox.ok(&["system", "check", "--repair"]);
    assert!(text.contains("put aside as "), "{text}");
    sandbox.ok(&["system", "check", "--deep"]);
    assert_eq!(sandbox.ok(&["ps", "-a", "--format", "{{.Names}}"]), "whole");
    assert_eq!(sandbox.inspect("whole", "{{.Name}}"), "/whole");
    sandbox.ok(&["create", "--name", "broken", "busybox", "true"]);
    // Nothing was thrown away.
    assert_eq!(
        std::fs::read_dir(sandbox.root().join("damaged"))
            .unwrap()
            .count(),
        1
    );
}

#[test]
fn garbage_is_no_damage() {
    let sandbox = Sandbox::new();
    let orphan = sandbox.root().join("layers").join("0".repeat(64));
    std::fs::create_dir_all(orphan.join("root")).unwrap();
    std::fs::write(orphan.join("root/file"), [0; 2000]).unwrap();
    std::fs::create_dir(sandbox.root().join("trash/old")).unwrap();
    let ran = sandbox.aril(&["system", "check"]);
    assert!(
        ran.out
            .contains("There is also 2 that nothing needs any more, 2kB"),
        "{ran:?}"
    );
    let text = sandbox.aril(&["system", "check", "--repair"]).out;
    assert!(
        text.contains("Removed 2 that nothing needs any more, 2kB"),
        "{text}"
    );
    assert!(!orphan.exists());
    sandbox.ok(&["system", "check"]);
}
