//! A machine of its own for a benchmark: mount, network and pid namespace, and a new file system.
//!
//! They end with the program, however it ends. The file system is ext4 in a sparse file below TMPDIR: figures do not depend on
//! what the host's has been through, and nothing is left.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};

/// Set where the namespaces and the file system are ours: its folder.
const INSIDE: &str = "ARIL_BENCH_INSIDE";
/// Below it are the cgroups of all containers.
pub(crate) const CGROUP: &str = "aril-bench";

/// Names a root whose programs are taken in place of this machine's.
pub(crate) const PEERS: &str = "ARIL_BENCH_PEERS";

/// What is handed on to the inside: names of environment variables and their values.
type Handed = Vec<(&'static str, PathBuf)>;

/// Calls `work` with a folder on the new file system, where everything is its own. Before that `prepare` is called on the
/// machine as it is.
pub(crate) fn run(
    prepare: fn() -> Result<Handed>,
    work: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let Some(dir) = std::env::var_os(INSIDE) else {
        return enter(prepare()?);
    };
    if let Some(peers) = std::env::var_os(PEERS) {
        for folder in ["usr", "etc"] {
            let theirs = Path::new(&peers).join(folder);
            command("mount", &["--rbind", path(&theirs)?, &format!("/{folder}")])?;
        }
    }
    let place = Path::new(&dir).join("work");
    prepare_machine(Path::new(&dir), &place)?;
    work(&place)
}

/// Runs this program again, as the first process of its own namespaces.
fn enter(handed: Handed) -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "needs root");
    // Two at once would disturb each other's figures, and share cgroups. The lock ends with the program.
    let lock = File::create(std::env::temp_dir().join("aril-bench.lock"))?;
    lock.lock()?;
    let dir = std::env::temp_dir().join(format!("aril-bench-{}", std::process::id()));
    fs::create_dir_all(dir.join("work"))?;
    // `cargo bench` adds a flag of its own.
    let args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let status = Command::new("unshare")
        .args(
            "--mount --net --pid --fork --kill-child --mount-proc --propagation private".split(' '),
        )
        .arg(std::env::current_exe()?)
        .args(args)
        .env(INSIDE, &dir)
        .envs(handed)
        .status()
        .context("run unshare")?;
    for hierarchy in fs::read_dir("/sys/fs/cgroup")?.flatten() {
        remove_cgroups(&hierarchy.path().join(CGROUP));
    }
    remove_cgroups(&Path::new("/sys/fs/cgroup").join(CGROUP));
    fs::remove_dir_all(&dir)?;
    ensure!(status.success(), "the measurement ended with {status}");
    Ok(())
}

fn remove_cgroups(cgroup: &Path) {
    let below = fs::read_dir(cgroup).into_iter().flatten().flatten();
    for entry in below.filter(|entry| entry.path().is_dir()) {
        remove_cgroups(&entry.path());
    }
    // Most hierarchies have none.
    drop(fs::remove_dir(cgroup));
}

/// Makes /run, the network and the file system at `work` those of this measurement.
fn prepare_machine(dir: &Path, work: &Path) -> Result<()> {
    let disk = dir.join("disk");
    File::create(&disk)?.set_len(30 << 30)?;
    command("mkfs.ext4", &["-qF", "-E", "nodiscard", path(&disk)?])?;
    // A new file system would write its tables of inodes for minutes, beside what is measured.
    let options = "loop,nodiscard,noinit_itable";
    command("mount", &["-o", options, path(&disk)?, path(work)?])?;
    // Who waits for what to write first is the matter of the disk below; BFQ would leave it idle for more of the same process.
    let device = fs::metadata(work)?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    fs::write(
        format!("/sys/dev/block/{major}:{minor}/queue/scheduler"),
        "none",
    )?;
    command("mount", &["-t", "tmpfs", "tmpfs", "/run"])?;
    // The one of the host would go on showing the host's network.
    let cgroups = work.join("cgroups");
    fs::create_dir(&cgroups)?;
    command("mount", &["--rbind", "/sys/fs/cgroup", path(&cgroups)?])?;
    command("mount", &["-t", "sysfs", "sysfs", "/sys"])?;
    mount_cgroups(&cgroups)?;
    command("ip", &["link", "set", "lo", "up"])
}

/// Mounts the host's hierarchies, which are below `cgroups`, where programs look for them.
///
/// Those of v1 get a directory of ours around them: podman makes folders there for controllers that the host has not, which
/// are files like any others and would stay. The tree of v2 stays out: with it beside v1, crun does not start.
fn mount_cgroups(cgroups: &Path) -> Result<()> {
    let top = Path::new("/sys/fs/cgroup");
    if cgroups.join("cgroup.controllers").exists() {
        return command("mount", &["--rbind", path(cgroups)?, path(top)?]);
    }
    command("mount", &["-t", "tmpfs", "tmpfs", path(top)?])?;
    for entry in fs::read_dir(cgroups)? {
        let entry = entry?;
        let has = |file: &str| entry.path().join(file).exists();
        // A folder of the host that is no hierarchy would take what podman makes in it.
        if has("cgroup.controllers") || !has("cgroup.procs") {
            continue;
        }
        let place = top.join(entry.file_name());
        if entry.file_type()?.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, &place)?;
        } else {
            fs::create_dir(&place)?;
            command("mount", &["--bind", path(&entry.path())?, path(&place)?])?;
        }
    }
    Ok(())
}

pub(crate) fn path(path: &Path) -> Result<&str> {
    path.to_str()
        .context("the temporary folder's name is no text")
}

/// Runs a program, whose words are shown only if it fails.
pub(crate) fn command(program: &str, args: &[&str]) -> Result<()> {
    check(Command::new(program).args(args))
}

pub(crate) fn check(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {}", command.get_program().display()))?;
    succeeded(command, &output)
}

/// Fails with what a program has said, unless it has ended well.
pub(crate) fn succeeded(command: &Command, output: &Output) -> Result<()> {
    ensure!(
        output.status.success(),
        "{command:?}: {}, {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
