//! The busybox image: imported once per build of the program, into a store that each sandbox gets a copy of.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::ARIL;

/// Puts a store with the image `busybox` into the empty folder `root`.
pub(crate) fn copy_store(root: &Path) {
    static STORE: OnceLock<PathBuf> = OnceLock::new();
    let store = STORE.get_or_init(|| make(&cache()));
    let copied = Command::new("cp")
        .args(["-a", "--reflink=auto", "--"])
        .arg(store.join("root/."))
        .arg(root)
        .status()
        .unwrap();
    assert!(copied.success(), "copy {}", store.display());
}

/// Returns the folder of busybox' root file system, which is everybody's and must not be changed.
pub(crate) fn rootfs() -> PathBuf {
    static ROOTFS: OnceLock<PathBuf> = OnceLock::new();
    ROOTFS
        .get_or_init(|| {
            make(&cache());
            cache().join("busybox")
        })
        .clone()
}

/// The folder is another one for each build of the program.
fn cache() -> PathBuf {
    let program = std::fs::metadata(ARIL).unwrap();
    let build = format!("{:x}-{:x}", program.size(), program.mtime_nsec());
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("busybox")
        .join(build)
}

fn make(cache: &Path) -> PathBuf {
    let all = cache.parent().unwrap();
    std::fs::create_dir_all(all).unwrap();
    let lock = File::create(all.join("lock")).unwrap();
    lock.lock().unwrap();
    if cache.exists() {
        return cache.to_owned();
    }
    // Those of earlier builds, and what a killed run has left.
    for entry in std::fs::read_dir(all).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
    let draft = all.join("draft");
    std::fs::create_dir(&draft).unwrap();
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("rootfs-fixtures/busybox.sh");
    run(Command::new(recipe).arg(draft.join("busybox")));
    let tar = draft.join("busybox.tar");
    run(Command::new("tar")
        .arg("-C")
        .arg(draft.join("busybox"))
        .arg("-cf")
        .arg(&tar)
        .arg("."));
    run(Command::new(ARIL)
        .env("ARIL_ROOT", draft.join("root"))
        .env("ARIL_RUN", draft.join("run"))
        .args(["import", "-c", "CMD [\"sh\"]"])
        .arg(&tar)
        .arg("busybox"));
    std::fs::rename(&draft, cache).unwrap();
    cache.to_owned()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}
