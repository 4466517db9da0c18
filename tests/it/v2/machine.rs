//! A virtual machine of the test's own: Debian's kernel, an initramfs made here, and what it says on its serial lines.
//!
//! ```text
//! ttyS0  the console: the kernel's messages and everything that goes wrong     shown when a test fails
//! ttyS1  the results, a line each                                              returned
//! ```
//!
//! Nothing of it is installed on the host. The kernel's package is fetched once by `apt-get download`, and what is needed
//! of it is kept below cargo's target directory.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Debian's smallest kernel for virtual machines; the name is that of an empty package which needs the newest one.
const KERNEL: &str = "linux-image-cloud-amd64";

/// Modules that containers need and this kernel does not have built in.
const MODULES: [&str; 17] = [
    "overlay",
    "loop",
    "quota_v2",
    "veth",
    "bridge",
    "nf_tables",
    "nft_chain_nat",
    "nft_masq",
    "nft_nat",
    "nft_ct",
    "nft_redir",
    // CRIU asks the kernel for sockets and connections by them.
    "unix_diag",
    "tcp_diag",
    "udp_diag",
    "af_packet_diag",
    "netlink_diag",
    "nf_conntrack_netlink",
];

/// What became of a machine.
pub(crate) struct Outcome {
    /// The lines of `ttyS1`, as far as they are complete.
    pub(crate) results: Vec<String>,
    /// Everything of `ttyS0`.
    pub(crate) console: String,
    /// Whether it switched itself off before the deadline.
    pub(crate) ended: bool,
}

/// Files of the initramfs: path in it, mode, content. Directories come before what is in them.
pub(crate) type Files = Vec<(String, u32, Vec<u8>)>;

/// Boots a machine whose first process is `/init` of `files`, and waits until it switches itself off.
///
/// `files` gets the kernel's modules, and their list, in the order of their needs, as `/modules/order`.
pub(crate) fn boot(mut files: Files, suite: Suite, dir: &Path, deadline: Duration) -> Outcome {
    let kernel = kernel(suite);
    files.extend(modules(&kernel));
    let initramfs = dir.join("initramfs");
    fs::write(&initramfs, archive(&files)).unwrap();
    let (console, results) = (dir.join("console"), dir.join("results"));
    let mut command = Command::new("qemu-system-x86_64");
    // TCG works everywhere, also inside a virtual machine that passes on no virtualisation. By one thread: with one for each
    // processor, a kernel that patches its own code was now and then seen to run half of it on the other.
    command.args(
        "-accel tcg,thread=single -cpu max -smp 2 -m 1024 -nodefaults -no-user-config -no-reboot"
            .split(' '),
    );
    command.args(["-display", "none"]);
    command.arg("-kernel").arg(kernel.join("vmlinuz"));
    command.arg("-initrd").arg(&initramfs);
    command.args([
        "-append",
        // On a busy host the emulated timer is late, which is not the kernel's to panic about.
        "console=ttyS0 panic=-1 loglevel=5 mitigations=off no_timer_check",
    ]);
    for file in [&console, &results] {
        command
            .arg("-serial")
            .arg(format!("file:{}", file.display()));
    }
    let mut machine = command
        .stdin(Stdio::null())
        .spawn()
        .expect("these tests need qemu-system-x86_64: apt-get install qemu-system-x86");
    let ended = wait(&mut machine, deadline);
    let text =
        |file: &Path| String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned();
    let said = text(&results);
    Outcome {
        // The last line may be half a line.
        results: said
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| line.trim_end().to_owned())
            .collect(),
        console: text(&console),
        ended,
    }
}

/// Waits for the machine's end, or brings it about at the deadline; returns whether it came by itself.
fn wait(machine: &mut std::process::Child, deadline: Duration) -> bool {
    let start = Instant::now();
    while start.elapsed() < deadline {
        if let Some(status) = machine.try_wait().unwrap() {
            assert!(status.success(), "qemu ended with {status}");
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    machine.kill().unwrap();
    machine.wait().unwrap();
    false
}

/// Which of Debian's kernels.
#[derive(Clone, Copy)]
pub(crate) enum Suite {
    /// That of this host's own Debian.
    Own,
    /// That of another release, by its code name.
    Other(&'static str),
}

/// Returns the directory with the kernel's `vmlinuz` and `modules/`, which is made if this is the first time.
fn kernel(suite: Suite) -> PathBuf {
    let name = match suite {
        Suite::Own => "kernel".to_owned(),
        Suite::Other(suite) => format!("kernel-{suite}"),
    };
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if cache.exists() {
        return cache;
    }
    let work = cache.with_extension(format!("{}", std::process::id()));
    fs::create_dir_all(&work).unwrap();
    let apt = Apt::new(suite, &work);
    let version = apt.fetch(&work).unwrap_or_else(|_| {
        // Lists that are missing, or older than the archive is.
        apt.output("apt-get", &["update", "-q"], &work).unwrap();
        apt.fetch(&work).unwrap()
    });
    let root = work.join("root");
    for archive in packages(&work) {
        output(Command::new("dpkg-deb").arg("-x").arg(archive).arg(&root)).unwrap();
    }
    // Since Debian 13 below /usr, and compressed.
    let places = ["lib/modules", "usr/lib/modules"].map(|place| root.join(place).join(&version));
    let modules = places.iter().find(|place| place.exists()).unwrap();
    let images = [
        root.join("boot").join(format!("vmlinuz-{version}")),
        modules.join("vmlinuz"),
    ];
    let image = images.iter().find(|image| image.exists()).unwrap();
    fs::rename(image, work.join("vmlinuz")).unwrap();
    fs::rename(modules.join("kernel"), work.join("modules")).unwrap();
    let compressed = ["-name", "*.ko.xz", "-exec", "xz", "--decompress", "{}", "+"];
    output(
        Command::new("find")
            .arg(work.join("modules"))
            .args(compressed),
    )
    .unwrap();
    let kept = fs::create_dir(work.with_extension("done")).map(|()| work.with_extension("done"));
    let kept = kept.unwrap();
    for name in ["vmlinuz", "modules"] {
        fs::rename(work.join(name), kept.join(name)).unwrap();
    }
    fs::remove_dir_all(&work).unwrap();
    // Somebody who was faster has the same.
    if fs::rename(&kept, &cache).is_err() {
        fs::remove_dir_all(&kept).unwrap();
    }
    cache
}

/// Returns the directory with the unpacked packages `names` of this host's Debian and the libraries that they need, which is
/// made, as `cache`, if this is the first time. Their scripts do not run, and what only people read is left out.
pub(crate) fn programs(cache: &str, names: &[&str]) -> PathBuf {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join(cache);
    if cache.exists() {
        return cache;
    }
    let work = cache.with_extension(format!("{}", std::process::id()));
    fs::create_dir_all(&work).unwrap();
    let apt = Apt::new(Suite::Own, &work);
    apt.fetch_with_libraries(names, &work).unwrap_or_else(|_| {
        apt.output("apt-get", &["update", "-q"], &work).unwrap();
        apt.fetch_with_libraries(names, &work).unwrap();
    });
    let root = work.join("root");
    for archive in packages(&work) {
        output(Command::new("dpkg-deb").arg("-x").arg(archive).arg(&root)).unwrap();
    }
    for unneeded in ["doc", "locale", "man"] {
        drop(fs::remove_dir_all(root.join("usr/share").join(unneeded)));
    }
    if fs::rename(&root, &cache).is_err() {
        // Somebody who was faster has the same.
        assert!(cache.exists());
    }
    fs::remove_dir_all(&work).unwrap();
    cache
}

/// Returns the files below `root`, with their directories and links.
pub(crate) fn tree(root: &Path) -> Files {
    let mut files = Vec::new();
    add_tree(root, root, &mut files);
    files
}

fn add_tree(root: &Path, dir: &Path, files: &mut Files) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let mode = metadata.permissions().mode();
        if metadata.is_dir() {
            files.push((name, mode, Vec::new()));
            add_tree(root, &path, files);
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            files.push((name, mode, target.to_str().unwrap().into()));
        } else {
            files.push((name, mode, fs::read(&path).unwrap()));
        }
    }
}

fn packages(work: &Path) -> Vec<PathBuf> {
    let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
    let found = fs::read_dir(work).unwrap();
    found
        .map(|entry| entry.unwrap().path())
        .filter(is_package)
        .collect()
}

/// apt with the lists of one release.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    /// Lists of another release are kept below `work`, and go with it: the host's stay as they are.
    fn new(suite: Suite, work: &Path) -> Apt {
        let Suite::Other(suite) = suite else {
            return Apt {
                options: Vec::new(),
            };
        };
        for place in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(work.join(place)).unwrap();
        }
        let mirror = std::env::var("MIRROR").unwrap_or("http://deb.debian.org/debian".to_owned());
        let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let sources = format!(
            "Types: deb\nURIs: {mirror}\nSuites: {suite}\nComponents: main\nSigned-By: {keys}\n"
        );
        fs::write(work.join("list.sources"), sources).unwrap();
        let at = |name: &str| work.join(name).display().to_string();
        let options = [
            format!("Dir::Etc::SourceList={}", at("list.sources")),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            format!("Dir::State::Lists={}", at("lists")),
            "Dir::State::Status=/dev/null".to_owned(),
            format!("Dir::Cache={}", at("cache")),
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
        ];
        Apt {
            options: options
                .into_iter()
                .flat_map(|option| ["-o".to_owned(), option])
                .collect(),
        }
    }

    fn output(&self, program: &str, args: &[&str], work: &Path) -> Result<String, String> {
        let mut command = Command::new(program);
        output(command.args(&self.options).args(args).current_dir(work))
    }

    /// Returns the packages that `packages` need; names of things that several have are in `<>`.
    fn needs(&self, packages: &[String], work: &Path) -> Result<Vec<String>, String> {
        let mut args = vec!["depends", "--important"];
        args.extend(packages.iter().map(String::as_str));
        let depends = self.output("apt-cache", &args, work)?;
        let name = |line: &str| {
            let (kind, name) = line.trim().split_once(": ")?;
            matches!(kind, "Depends" | "PreDepends").then(|| name.to_owned())
        };
        Ok(depends.lines().filter_map(name).collect())
    }

    fn download(&self, packages: &[String], work: &Path) -> Result<(), String> {
        let mut args = vec!["download", "-q"];
        args.extend(packages.iter().map(String::as_str));
        self.output("apt-get", &args, work).map(drop)
    }

    /// Fetches `names` and the libraries that they need.
    fn fetch_with_libraries(&self, names: &[&str], work: &Path) -> Result<(), String> {
        let mut all: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut known = 0;
        while known < all.len() {
            let needs = self.needs(&all[known..], work)?;
            known = all.len();
            for need in needs {
                if need.starts_with("lib") && !all.contains(&need) {
                    all.push(need);
                }
            }
        }
        self.download(&all, work)
    }

    /// Fetches the kernel's packages; returns the kernel's version.
    fn fetch(&self, work: &Path) -> Result<String, String> {
        let image = self
            .needs(&[KERNEL.to_owned()], work)?
            .into_iter()
            .find(|name| name.starts_with("linux-image-"))
            .ok_or_else(|| format!("the package lists lack {KERNEL}"))?;
        // Since Debian 14 in parts.
        let is_part =
            |name: &String| name.starts_with("linux-binary-") || name.starts_with("linux-modules-");
        let mut packages = self.needs(std::slice::from_ref(&image), work)?;
        packages.retain(is_part);
        packages.push(image.clone());
        self.download(&packages, work)?;
        Ok(image.trim_start_matches("linux-image-").to_owned())
    }
}

/// Runs `command`, and returns what it says.
fn output(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {output:?}"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns [`MODULES`], with those that they need before them.
fn modules(kernel: &Path) -> Files {
    let mut found = Vec::new();
    collect(&kernel.join("modules"), &mut found);
    let mut loaded = BTreeSet::new();
    let mut files = vec![("modules".to_owned(), 0o040_755, Vec::new())];
    let mut order = String::new();
    // Every name is pushed again behind what it needs.
    let mut waiting: Vec<String> = MODULES.iter().rev().map(|&name| name.to_owned()).collect();
    while let Some(name) = waiting.pop() {
        if loaded.contains(&name) {
            continue;
        }
        let path = found
            .iter()
            .find(|path| {
                path.file_stem()
                    .is_some_and(|stem| stem.to_string_lossy().replace('-', "_") == name)
            })
            .unwrap_or_else(|| panic!("the kernel has no module {name}"));
        let content = fs::read(path).unwrap();
        let missing: Vec<String> = needs(&content)
            .into_iter()
            .filter(|need| !loaded.contains(need))
            .collect();
        if missing.is_empty() {
            order.push_str(&name);
            order.push('\n');
            files.push((format!("modules/{name}.ko"), 0o100_644, content));
            loaded.insert(name);
        } else {
            waiting.push(name);
            waiting.extend(missing);
        }
    }
    files.push(("modules/order".to_owned(), 0o100_644, order.into_bytes()));
    files
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "ko") {
            found.push(path);
        }
    }
}

/// Reads which modules a module needs from its `.modinfo`: texts that end in a zero, one of them `depends=A,B`.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let start = module
        .windows(KEY.len())
        .position(|window| window == KEY)
        .unwrap()
        + KEY.len();
    let list: Vec<u8> = module[start..]
        .iter()
        .copied()
        .take_while(|&byte| byte != 0)
        .collect();
    String::from_utf8(list)
        .unwrap()
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

/// Writes a cpio archive as the kernel reads it (Documentation/driver-api/early-userspace/buffer-format.rst).
fn archive(files: &Files) -> Vec<u8> {
    let mut out = Vec::new();
    let trailer = [("TRAILER!!!".to_owned(), 0, Vec::new())];
    for (number, (name, mode, content)) in files.iter().chain(&trailer).enumerate() {
        let fields = [
            number,
            *mode as usize,
            0,
            0,
            1,
            0,
            content.len(),
            0,
            0,
            0,
            0,
            name.len() + 1,
            0,
        ];
        out.extend_from_slice(b"070701");
        for field in fields {
            out.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}
