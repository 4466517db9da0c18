//! The programs that aril is measured beside, installed where they touch nothing: a root of Debian's newest release, and youki
//! from crates.io. Both are made once, below cargo's target directory.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Docker, podman, their runtimes, and what measuring needs.
const PACKAGES: &str = "ca-certificates,containerd,crun,docker.io,docker-cli,docker-registry,busybox-static,e2fsprogs,iproute2,iptables,\
    libseccomp2,netavark,aardvark-dns,nftables,podman,procps,runc,skopeo,strace,util-linux,wrk";
/// Needed here: makes the root.
const DEBOOTSTRAP: &str = "debootstrap";
/// Needed to build youki.
const SECCOMP: &str = "libseccomp-dev";

fn place() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers")
}

/// Returns the root of Debian; `PEERS_ROOT` names one that exists.
pub(crate) fn root() -> Result<PathBuf> {
    if let Some(root) = std::env::var_os("PEERS_ROOT") {
        return Ok(root.into());
    }
    let root = place().join("root");
    if root.exists() {
        return Ok(root);
    }
    println!(
        "installing docker, podman, crun and runc into {}",
        root.display()
    );
    package(DEBOOTSTRAP, Path::new("/usr/sbin/debootstrap"))?;
    let new = place().join("root.new");
    fs::create_dir_all(place())?;
    let include = format!("--include={PACKAGES}");
    run(Command::new(DEBOOTSTRAP)
        .args(["--variant=minbase", &include, "sid"])
        .arg(&new))?;
    fs::rename(new, &root)?;
    Ok(root)
}

/// Returns youki, of the version that crates.io has.
pub(crate) fn youki() -> Result<PathBuf> {
    let program = place().join("youki/bin/youki");
    if program.exists() {
        return Ok(program);
    }
    println!("building youki");
    package(SECCOMP, Path::new("/usr/include/seccomp.h"))?;
    // Outside the project, whose settings would link it statically.
    run(Command::new("cargo")
        .args([
            "install",
            "--quiet",
            "--locked",
            "--features",
            "v1",
            "youki",
            "--root",
        ])
        .arg(place().join("youki"))
        .env("CARGO_TARGET_DIR", place().join("youki/target"))
        .current_dir("/"))?;
    Ok(program)
}

/// Installs a package unless what it has is there.
fn package(name: &str, has: &Path) -> Result<()> {
    if has.exists() {
        return Ok(());
    }
    let install = || run(Command::new("apt-get").args(["install", "-y", "-qq", name]));
    install().or_else(|_| {
        // Lists that are missing, or older than the archive is.
        run(Command::new("apt-get").args(["update", "-qq"]))?;
        install()
    })
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("run {name}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(if output.stderr.is_empty() {
            &output.stdout
        } else {
            &output.stderr
        })
        .into_owned();
        let last = said.lines().last().unwrap_or_default();
        bail!("{name} {}: {}, {last}", words(command), output.status);
    }
    Ok(())
}

fn words(command: &Command) -> String {
    command
        .get_args()
        .collect::<Vec<_>>()
        .join(OsStr::new(" "))
        .display()
        .to_string()
}

/// Builds the program that does only what is necessary, and returns it.
pub(crate) fn floor() -> Result<PathBuf> {
    let program = place().join("floor");
    fs::create_dir_all(place())?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/floor/floor.c");
    // glibc asks the processor about itself before `main`, which no container needs; the kernel's headers are beside its own.
    let headers = format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH);
    run(Command::new("musl-gcc")
        .args(["-idirafter", "/usr/include", "-idirafter", &headers])
        .args(["-O2", "-static", "-o"])
        .args([&program, &source]))?;
    Ok(program)
}
