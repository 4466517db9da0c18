//! From a container's record to its running program: what is looked up and made, in order.
//!
//! Everything made here is owned by what is returned, or by the kernel through it: dropping it, or the death of this
//! process, leaves only the cgroup, which whoever comes next removes.

use std::fs::File;
use std::io::{ErrorKind, PipeReader, PipeWriter};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::Mode;

use super::control::StartError;
use super::devices;
use super::etc;
use super::network::Networking;
use super::place::{self, Place};
use super::shm;
use super::sources;
use super::stdio::Ends;
use crate::cgroup::Cgroup;
use crate::container::security::{self, SeccompChoice};
use crate::container::spec::{self, Facts, Sharing};
use crate::container::user::{Accounts, User};
use crate::container::{Containers, ExitStatus, Record, seccomp, short};
use crate::dirs::Dirs;
use crate::error;
use crate::image::snapshot::overlay::{self, Upper};
use crate::image::{Images, snapshot};
use crate::network::files::{self, Servers};
use crate::oci::runtime::linux::{Linux, Seccomp};
use crate::oci::runtime::{Process, Spec};
use crate::oci::state::{State, Status};
use crate::runtime::{self, Meanwhile, Prepared};
use crate::sys::rooted::Root;

/// More of etc/passwd or etc/group is not read.
const ACCOUNTS_MAX_BYTES: u64 = 16 << 20;

/// A program that runs.
#[derive(Debug)]
pub struct Run {
    /// Its first process.
    pub process: runtime::Process,
    /// Where its processes live.
    pub place: Place,
    /// Its root filesystem, for what is looked up in it later.
    pub root: Root,
    /// What more of its processes start from.
    pub first: Process,
    state: State,
    linux: Linux,
    filters: PathBuf,
}

impl Run {
    /// Returns what a process that joins needs to know of it.
    pub fn as_running(&self) -> runtime::Running<'_> {
        runtime::Running {
            pidfd: self.process.pidfd.as_fd(),
            state: &self.state,
            linux: &self.linux,
            cgroup: Some(&self.place.cgroup),
            filters: Some(&self.filters),
        }
    }
}

/// Starts the program of a container; on return it runs.
///
/// An error of the program, and not of ours, is a [`StartError`].
///
/// What of the network is prepared or attached on an error is the caller's to take back.
pub fn bring_up(dirs: &Dirs, record: &Record, network: &mut Networking) -> Result<(Run, Ends)> {
    network.prepare(dirs, record)?;
    let rootfs = mount_root(dirs, record)?;
    let root = Root::from_dir(rootfs.try_clone().context("share the root filesystem")?);
    make_working_dir(&root, &record.config.working_dir)?;
    let shm = shared_shm(dirs, &record.host_config.ipc_mode)?;
    let mut facts = facts(dirs, record, &root, network)?;
    // By its descriptor, which stays open until the program has started.
    facts.shm = shm
        .as_ref()
        .map(|tree| PathBuf::from(format!("/proc/self/fd/{}", tree.as_raw_fd())));
    sources::prepare(record)?;
    // By their descriptors too, so that no link in a volume leads out of it.
    let parts = sources::open(&Images::open(dirs), record)?;
    for (destination, part) in &parts {
        let path = PathBuf::from(format!("/proc/self/fd/{}", part.as_raw_fd()));
        facts.sources.insert(destination.clone(), path);
    }
    let bundle = dirs.container(&record.id);
    let mut spec = spec::derive(record, Path::new("rootfs"), &facts)?;
    let resources = spec
        .linux
        .as_ref()
        .and_then(|linux| linux.resources.clone())
        .unwrap_or_default();
    let mut place = Place::make(record, &resources)?;
    let filters = dirs.filters();
    let plan = Plan {
        spec: &spec,
        bundle: &bundle,
        rootfs: rootfs.as_fd(),
        cgroup: &place.cgroup,
        filters: &filters,
    };
    let private = network.is_private();
    let mut attach =
        |prepared: Prepared<'_>| network.attach(dirs, record, prepared.pid.as_raw_nonzero().get());
    let started = start(record, &plan, private.then_some(&mut attach));
    match started {
        Ok((process, ends)) => {
            place.settle();
            let state = State {
                oci_version: spec.oci_version,
                id: record.id.clone(),
                status: Status::Running,
                pid: process.pid.as_raw_nonzero().get(),
                bundle,
                annotations: spec.annotations,
            };
            Ok((
                Run {
                    process,
                    place,
                    root,
                    first: spec.process.take().unwrap_or_default(),
                    state,
                    linux: spec.linux.take().unwrap_or_default(),
                    filters,
                },
                ends,
            ))
        }
        Err(error) => {
            place.clear();
            Err(error)
        }
    }
}

fn mount_root(dirs: &Dirs, record: &Record) -> Result<OwnedFd> {
    let images = Images::open(dirs);
    let image = images.by_id(&record.image)?;
    let lowers = snapshot::lowers(&images, &image)?;
    let dir = dirs.container(&record.id);
    let (upper, work) = (dir.join("upper"), dir.join("work"));
    overlay::mount(
        &lowers,
        Some(Upper {
            upper: &upper,
            work: &work,
            volatile: record.host_config.auto_remove,
        }),
    )
}

/// What a program is started from.
struct Plan<'a> {
    spec: &'a Spec,
    bundle: &'a Path,
    rootfs: BorrowedFd<'a>,
    cgroup: &'a Cgroup,
    filters: &'a Path,
}

fn start(
    record: &Record,
    plan: &Plan<'_>,
    meanwhile: Meanwhile<'_>,
) -> Result<(runtime::Process, Ends)> {
    let config = &record.config;
    let streams = if config.tty {
        None
    } else {
        Some(Streams::new(config.open_stdin)?)
    };
    let stdio = match &streams {
        Some(streams) => runtime::Stdio::Given([
            streams.stdin.0.as_fd(),
            streams.stdout.1.as_fd(),
            streams.stderr.1.as_fd(),
        ]),
        None => runtime::Stdio::Terminal(
            plan.spec
                .process
                .as_ref()
                .and_then(|process| process.console_size),
        ),
    };
    let options = runtime::Options {
        id: &record.id,
        spec: plan.spec,
        bundle: plan.bundle,
        rootfs: runtime::Rootfs::Detached(plan.rootfs),
        stdio,
        cgroup: Some(plan.cgroup),
        start: runtime::Start::AtOnce,
        preserved_fds: 0,
        init: record.host_config.init == Some(true),
        keep_keyring: false,
        no_pivot: false,
        filters: Some(plan.filters),
    };
    let mut process = runtime::create(options, meanwhile).map_err(start_error)?;
    let ends = match streams {
        Some(streams) => streams.into_ends(),
        None => terminal_ends(
            process
                .terminal
                .take()
                .context("the program has no terminal")?,
        )?,
    };
    Ok((process, ends))
}

fn start_error(error: anyhow::Error) -> anyhow::Error {
    // The configuration asks for what cannot be: runc would have refused it.
    if crate::error::is(&error, crate::error::Kind::Invalid) {
        return error.context(
            "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed",
        );
    }
    program_error(
        error,
        "failed to create task for container: failed to create shim task: OCI runtime create failed: \
         runc create failed: unable to start container process: error during container init",
        ExitStatus::not_started,
    )
}

/// Tells errors of the program from ours, and words them as docker does: scripts look for its phrases.
///
/// `status` is what becomes of the system's error.
pub fn program_error(
    error: anyhow::Error,
    before: &str,
    status: fn(Option<i32>) -> ExitStatus,
) -> anyhow::Error {
    match error.downcast_ref::<runtime::Failure>() {
        Some(failure) if failure.step != runtime::Step::Setup => {
            let exit_code = status(Some(failure.errno)).code();
            let start = StartError {
                message: format!("{before}: {failure}"),
                exit_code,
            };
            if failure.hint.is_empty() {
                return start.into();
            }
            error::with_hint(start.into(), &failure.hint)
        }
        _ => error,
    }
}

/// The two sides of the program's standard streams.
struct Streams {
    stdin: (OwnedFd, Option<PipeWriter>),
    stdout: (PipeReader, PipeWriter),
    stderr: (PipeReader, PipeWriter),
}

impl Streams {
    fn new(open_stdin: bool) -> Result<Streams> {
        let pipe = || std::io::pipe().context("make a pipe");
        let stdin = if open_stdin {
            let (reader, writer) = pipe()?;
            (OwnedFd::from(reader), Some(writer))
        } else {
            (
                File::open("/dev/null").context("open /dev/null")?.into(),
                None,
            )
        };
        Ok(Streams {
            stdin,
            stdout: pipe()?,
            stderr: pipe()?,
        })
    }

    fn into_ends(self) -> Ends {
        Ends {
            input: self.stdin.1.map(OwnedFd::from),
            stdout: Some(self.stdout.0.into()),
            stderr: Some(self.stderr.0.into()),
        }
    }
}

/// A terminal is input and output in one.
pub fn terminal_ends(master: OwnedFd) -> Result<Ends> {
    let input = master.try_clone().context("share the terminal")?;
    Ok(Ends {
        input: Some(input),
        stdout: Some(master),
        stderr: None,
    })
}

/// Looks a user up in the container's own files; what is no regular file names nobody, and numbers need no names.
pub fn find_user(root: &Root, wanted: &str, groups: &[String]) -> Result<User> {
    let read = |path: &str| match root.read_file(Path::new(path), ACCOUNTS_MAX_BYTES) {
        Ok(bytes) => Ok(bytes),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound
                    | ErrorKind::NotADirectory
                    | ErrorKind::IsADirectory
                    | ErrorKind::InvalidInput
            ) || error.raw_os_error() == Some(libc::ENXIO) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(error).with_context(|| format!("read /{path} of the container")),
    };
    Accounts::new(&read("etc/passwd")?, &read("etc/group")?).find(wanted, groups)
}

/// Makes the directory in which a container's program begins, if it is missing.
pub fn make_working_dir(root: &Root, dir: &str) -> Result<()> {
    if dir.is_empty() {
        return Ok(());
    }
    root.create_dir_all(Path::new(dir), Mode::from_raw_mode(0o755))
        .map(drop)
        .map_err(|error| match error.kind() {
            ErrorKind::NotADirectory => {
                crate::error::invalid(format!("Cannot mkdir: {dir} is not a directory"))
            }
            _ => anyhow::Error::new(error).context(format!(
                "make the working directory {dir:?} in the container"
            )),
        })
}

fn facts(dirs: &Dirs, record: &Record, root: &Root, networking: &Networking) -> Result<Facts> {
    let mut facts = look(dirs, record, root)?;
    write_files(dirs, record, &facts.hostname, &facts.network, networking)?;
    facts.link_env = networking.link_env();
    Ok(facts)
}

/// Finds out what a start must know, and changes nothing. `root` is where users are looked up.
pub fn look(dirs: &Dirs, record: &Record, root: &Root) -> Result<Facts> {
    let host = &record.host_config;
    let groups = host.group_add.as_deref().unwrap_or_default();
    let network = sharing(dirs, &host.network_mode, "net")?;
    let capabilities = available_capabilities()?;
    let granted = security::capabilities(host, &capabilities);
    let uts = sharing(dirs, &host.uts_mode, "uts")?;
    let hostname = hostname(dirs, record, &uts)?;
    Ok(Facts {
        user: find_user(root, &record.config.user, groups)?,
        files: files_of(dirs, record)?,
        hostname,
        network,
        ipc: sharing(dirs, &host.ipc_mode, "ipc")?,
        pid: sharing(dirs, &host.pid_mode, "pid")?,
        uts,
        private_cgroup: host.cgroupns_mode != "host",
        cgroup: place::path(record)?,
        cgroup2_only: false,
        in_user_namespace: crate::sys::process::in_user_namespace(),
        shallow_read_only: !crate::sys::attributes::work_detached(),
        shm: None,
        devices: devices::of_host(host)?,
        block_devices: devices::limited(&host.resources)?,
        seccomp: filter(record, &granted)?,
        capabilities,
        masked_cpu_paths: masked_cpu_paths(),
        apparmor: security::parse_options(host)?
            .apparmor
            .filter(|name| name != "unconfined")
            .unwrap_or_default(),
        link_env: Vec::new(),
        sources: std::collections::BTreeMap::new(),
        owners: owners(record)?,
    })
}

/// Returns the user and group of the sources whose ids they decide; of those that are not there yet, root will be.
fn owners(record: &Record) -> Result<std::collections::BTreeMap<String, (u32, u32)>> {
    let mut owners = std::collections::BTreeMap::new();
    for mount in &record.mounts {
        if spec::mounts::id_map(record, mount) != Some("") {
            continue;
        }
        match std::fs::metadata(&mount.source) {
            Ok(meta) => {
                owners.insert(mount.destination.clone(), (meta.uid(), meta.gid()));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("look at {}", mount.source)),
        }
    }
    Ok(owners)
}

/// Returns the capabilities that this process can give.
pub fn available_capabilities() -> Result<Vec<String>> {
    let own = caps::read(None, caps::CapSet::Bounding).context("read the bounding set")?;
    let mut own: Vec<caps::Capability> = own.into_iter().collect();
    own.sort_by_key(caps::Capability::index);
    Ok(own.iter().map(ToString::to_string).collect())
}

/// Returns whose namespace the container gets; `kind` is its file in /proc/PID/ns.
fn sharing(dirs: &Dirs, mode: &str, kind: &str) -> Result<Sharing> {
    match mode.strip_prefix("container:") {
        Some(other) => Ok(Sharing::Of(PathBuf::from(format!(
            "/proc/{}/ns/{kind}",
            pid_of(dirs, other, kind)?
        )))),
        None if mode == "host" => Ok(Sharing::Host),
        None => Ok(Sharing::Private),
    }
}

/// Returns the first process of a container that another one wants to share something with.
fn pid_of(dirs: &Dirs, text: &str, kind: &str) -> Result<i32> {
    let containers = Containers::new(dirs);
    let id = containers.resolve(text)?;
    let status = containers.status(&id)?;
    if status.phase.has_processes() && containers.is_monitored(&id)? {
        return Ok(status.pid);
    }
    if kind != "net" {
        let kind = kind.to_uppercase();
        let why = format!("failed to join {kind} namespace: container {id} is not running");
        return Err(error::conflict(why));
    }
    let name = containers.get(&id)?.record.name;
    let phase = status.phase.name();
    Err(error::conflict(format!(
        "cannot join network namespace of a non running container: container {name} is {phase}"
    )))
}

/// Returns the /dev/shm of the container whose ipc namespace is shared.
fn shared_shm(dirs: &Dirs, ipc_mode: &str) -> Result<Option<OwnedFd>> {
    let Some(other) = ipc_mode.strip_prefix("container:") else {
        return Ok(None);
    };
    let pid = pid_of(dirs, other, "ipc")?;
    let donor = Containers::new(dirs).get(other)?.record;
    if !matches!(donor.host_config.ipc_mode.as_str(), "shareable" | "host") {
        let why = "non-shareable IPC (hint: use IpcMode:shareable for the donor container)";
        return Err(crate::error::invalid(format!(
            "failed to join IPC namespace: container {other}: {why}"
        )));
    }
    shm::of_container(pid).map(Some)
}

fn filter(record: &Record, granted: &[String]) -> Result<Option<Seccomp>> {
    let arch = std::env::consts::ARCH;
    match security::parse_options(&record.host_config)?.seccomp {
        SeccompChoice::Unconfined => Ok(None),
        SeccompChoice::Default => Ok(Some(seccomp::default_profile(granted, arch))),
        SeccompChoice::Profile(json) => {
            let kernel = etc::read_host("/proc/sys/kernel/osrelease");
            let conditions = seccomp::Conditions {
                capabilities: granted,
                arch,
                kernel: kernel.trim(),
            };
            seccomp::parse_profile(&json, conditions).context("read the seccomp profile")
        }
    }
}

fn masked_cpu_paths() -> Vec<String> {
    let cpus = Path::new("/sys/devices/system/cpu");
    // All CPUs have it or none.
    if !cpus.join("cpu0/thermal_throttle").exists() {
        return Vec::new();
    }
    let numbers = (0..)
        .map(|number| cpus.join(format!("cpu{number}")))
        .take_while(|path| path.exists());
    numbers
        .map(|path| path.join("thermal_throttle").to_string_lossy().into_owned())
        .collect()
}

fn hostname(dirs: &Dirs, record: &Record, uts: &Sharing) -> Result<String> {
    let own = || {
        Ok(std::fs::read_to_string("/proc/sys/kernel/hostname")
            .context("read the host name")?
            .trim()
            .to_owned())
    };
    let mode = record.host_config.network_mode.as_str();
    if !record.config.hostname.is_empty() {
        return Ok(record.config.hostname.clone());
    }
    if *uts == Sharing::Host || mode == "host" {
        return own();
    }
    match mode.strip_prefix("container:") {
        Some(other) => {
            let containers = Containers::new(dirs);
            let other = containers.get(&containers.resolve(other)?)?.record;
            Ok(if other.config.hostname.is_empty() {
                short(&other.id).to_owned()
            } else {
                other.config.hostname
            })
        }
        None => Ok(short(&record.id).to_owned()),
    }
}

/// Returns the files that tell a container its names and name servers, with their places.
fn files_of(dirs: &Dirs, record: &Record) -> Result<Vec<(PathBuf, &'static str)>> {
    let dir = match record.host_config.network_mode.strip_prefix("container:") {
        // Who shares a network shares its names.
        Some(other) => dirs.container(&Containers::new(dirs).resolve(other)?),
        None => dirs.container(&record.id),
    };
    let names = [
        ("resolv.conf", "/etc/resolv.conf"),
        ("hostname", "/etc/hostname"),
        ("hosts", "/etc/hosts"),
    ];
    Ok(names
        .map(|(name, target)| (dir.join(name), target))
        .to_vec())
}

/// Writes these files, unless they are another container's.
fn write_files(
    dirs: &Dirs,
    record: &Record,
    hostname: &str,
    network: &Sharing,
    networking: &Networking,
) -> Result<()> {
    if record.host_config.network_mode.starts_with("container:") {
        return Ok(());
    }
    let mut extra = networking.extra_hosts(record);
    let hosts = if *network == Sharing::Host {
        let mut text = etc::read_host("/etc/hosts");
        files::append_hosts(&mut text, &extra);
        text
    } else {
        extra.extend(networking.hosts(hostname, &record.config.domainname));
        files::hosts(&extra)
    };
    let whose = if *network == Sharing::Host {
        Servers::Host
    } else if networking.has_resolver() {
        Servers::Own
    } else {
        Servers::Reachable
    };
    etc::write_resolver(dirs, record, whose)?;
    let dir = dirs.container(&record.id);
    for (name, text) in [("hostname", format!("{hostname}\n")), ("hosts", hosts)] {
        etc::write(&dir.join(name), &text)?;
    }
    Ok(())
}
