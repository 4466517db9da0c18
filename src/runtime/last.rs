//! The last steps of every process of a container, be it the first one or one that joins: from "in the right namespaces,
//! with the right root" to the program.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::process::{Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, Gid, Uid, sched_setaffinity};

use super::capabilities;
use super::channel::{Channel, Failure, Message, OrFail as _, Step};
use super::process::ProcessPlan;
use super::{hooks, program, reaper, terminal};
use crate::oci::runtime::Hook;
use crate::oci::state::State;
use crate::sys::rooted::Root;
use crate::sys::{process as kernel, schedule, seccomp};

/// What the last steps need besides the process itself.
#[derive(Debug)]
pub(super) struct Last<'a> {
    pub(super) process: &'a ProcessPlan,
    /// Who lets the program start.
    pub(super) start: Starter,
    /// How many descriptors from 3 on the program gets.
    pub(super) preserved: u32,
    pub(super) has_terminal: bool,
    /// Name of the session keyring to make; nothing to keep the present one.
    pub(super) keyring: Option<&'a CStr>,
    /// Whether this process stays as the init of the container and the program becomes its child.
    pub(super) init: bool,
    /// Hooks to run when the start is called for, with the state for them.
    pub(super) start_container: Option<(&'a [Hook], State)>,
}

/// Who lets the program start.
#[derive(Debug)]
pub(super) enum Starter {
    /// Nobody has to: it starts as soon as it is ready.
    AtOnce,
    /// The parent, by the channel.
    Parent,
    /// Whoever connects to this socket; errors go there, too.
    Socket(OwnedFd),
}

/// Opens the file that a security label is written to, while /proc is still the host's: a label that went elsewhere would
/// be none (CVE-2019-16884, CVE-2025-52881).
pub(super) fn open_label(process: &ProcessPlan) -> Result<Option<File>, Failure> {
    let Some((file, _)) = &process.label else {
        return Ok(None);
    };
    let path = format!("/proc/thread-self/{file}");
    let open = File::options().write(true).open(&path);
    open.map(Some).or_fail(|| format!("open {path}"))
}

/// Does the last steps; comes back only with a failure.
pub(super) fn become_program(
    last: &Last<'_>,
    label: Option<File>,
    channel: &Channel,
) -> Result<Infallible, Failure> {
    let process = last.process;
    let warn = |text: String| {
        // A parent that does not listen any more is no reason to stop.
        drop(channel.send(&Message::Warning(text), &[]));
    };

    // A session keyring of its own, or it would have the caller's keys. Best effort: the quota of keys may be used up.
    if let Some(name) = last.keyring
        && let Err(error) = schedule::join_session_keyring(name)
    {
        warn(format!("join a new session keyring: {error}"));
    }
    tune(process)?;
    if process.no_new_privileges {
        rustix::thread::set_no_new_privs(true).or_fail(|| "set no_new_privs".to_owned())?;
    }
    if let (Some(mut file), Some((_, label))) = (label, &process.label) {
        file.write_all(label.as_bytes())
            .or_fail(|| format!("unable to apply security label {label:?}"))?;
    }
    terminal::own_streams(process.uid, last.has_terminal);
    let env = environment(process);

    // From here on nothing of the host is open but the channel: the paths of directory and program may lead through
    // /proc/self/fd (CVE-2024-21626).
    close_rest(last, channel)?;
    limit(process, &warn)?;
    let entered = enter_directory(process, true)?;
    capabilities::bound(&process.capabilities)?;
    take_user(process)?;
    capabilities::lower(process.capabilities.effective)?;
    if !entered {
        enter_directory(process, false)?;
    }
    rustix::process::umask(process.umask);
    let program = program::find(&process.name, process.search.as_deref())?;

    channel
        .send(&Message::Ready, &[])
        .or_fail(|| "tell that all is ready".to_owned())?;
    let connected;
    let channel = match &last.start {
        Starter::AtOnce => channel,
        Starter::Parent => {
            channel.wait().or_fail(|| "wait for the start".to_owned())?;
            channel
        }
        Starter::Socket(listener) => {
            connected = accept(listener)?;
            &connected
        }
    };
    let started = start(last, &program, &env, channel, &warn);
    if let (Starter::Socket(_), Err(failure)) = (&last.start, &started) {
        // Whoever started it is not our parent, and listens elsewhere.
        report(channel, failure);
    }
    started
}

/// Tells the other side of the channel about a failure, by the one call that every filter must allow.
pub(super) fn report(channel: &Channel, failure: &Failure) {
    // If nobody listens any more, there is nobody to tell that, either.
    drop(channel.write(&Message::Failed(failure.clone())));
}

/// From the call to start to the program.
fn start(
    last: &Last<'_>,
    program: &CStr,
    env: &[CString],
    channel: &Channel,
    warn: &dyn Fn(String),
) -> Result<Infallible, Failure> {
    let process = last.process;
    // Without no_new_privs a filter needs CAP_SYS_ADMIN, so it comes before the capabilities go; with it as late as can
    // be, so that as few of our own calls as possible pass through it.
    if !process.no_new_privileges && process.filter.is_some() {
        capabilities::raise()?;
        install_filter(process, channel)?;
    }
    let filtered = process.filter.is_some() && !process.no_new_privileges;
    capabilities::apply(&process.capabilities, |text| {
        // A filter may kill for a call that it does not list, and a warning is not worth that.
        if !filtered {
            warn(text);
        }
    })?;
    if process.no_new_privileges {
        install_filter(process, channel)?;
    }
    // They are programs of the container, and no more privileged than the one that it runs.
    if let Some((hooks, state)) = &last.start_container {
        hooks::run(hooks, "startContainer", state, Path::new("/"))?;
    }
    if last.init {
        let code = reaper::run(program, &process.args, env, channel)?;
        crate::sys::clone::exit_now(code);
    }
    execute(program, &process.args, env)
}

/// Replaces this process by the program.
pub(super) fn execute(
    program: &CStr,
    args: &[CString],
    env: &[CString],
) -> Result<Infallible, Failure> {
    let errno = match nix::unistd::execve(program, args, env) {
        Ok(never) => match never {},
        Err(errno) => errno as i32,
    };
    let path = Path::new(std::ffi::OsStr::from_bytes(program.to_bytes()));
    Err(program::explain(path, errno))
}

fn tune(process: &ProcessPlan) -> Result<(), Failure> {
    if let Some(attributes) = process.scheduling {
        schedule::set_scheduling(attributes).or_fail(|| "unable to set scheduler".to_owned())?;
    }
    if let Some((class, level)) = process.io_priority {
        schedule::set_io_priority(class, level)
            .or_fail(|| "unable to set io priority".to_owned())?;
    }
    if let Some((mode, nodes)) = &process.memory_policy {
        schedule::set_memory_policy(*mode, nodes)
            .or_fail(|| "unable to set memory policy".to_owned())?;
    }
    if let Some(domain) = process.personality {
        let persona = nix::sys::personality::Persona::from_bits_retain(domain);
        nix::sys::personality::set(persona).or_fail(|| "unable to set personality".to_owned())?;
    }
    Ok(())
}

/// Lets this process run on `cpus`, or wherever its cgroup allows: the affinity of who calls us is not the container's.
pub(super) fn set_affinity(cpus: Option<&[usize]>) -> Result<(), Failure> {
    let mut set = CpuSet::new();
    match cpus {
        Some(cpus) => cpus.iter().for_each(|&cpu| set.set(cpu)),
        None => (0..CpuSet::MAX_CPU).for_each(|cpu| set.set(cpu)),
    }
    match sched_setaffinity(None, &set) {
        // In a cpuset that shares no CPU with what is online the kernel has the last word.
        Err(rustix::io::Errno::INVAL) if cpus.is_none() => Ok(()),
        result => result.or_fail(|| "set the CPU affinity".to_owned()),
    }
}

/// Returns the environment, with HOME from the container's passwd if it has none, as runc adds it.
fn environment(process: &ProcessPlan) -> Vec<CString> {
    let mut env = process.env.clone();
    if process.lacks_home {
        env.retain(|entry| entry.as_bytes() != b"HOME=");
        let home = home(process.uid).unwrap_or_else(|| "/".to_owned());
        env.extend(CString::new(format!("HOME={home}")));
    }
    env
}

/// Looks up a home directory in /etc/passwd of the present root; whatever is wrong with that file, it has none then.
fn home(uid: u32) -> Option<String> {
    const PASSWD_MAX: u64 = 1 << 20;
    let passwd = Root::open(Path::new("/"))
        .and_then(|root| root.read_file(Path::new("etc/passwd"), PASSWD_MAX))
        .ok()?;
    let uid = uid.to_string();
    passwd.split(|&byte| byte == b'\n').find_map(|line| {
        let line = std::str::from_utf8(line).ok()?;
        let fields: Vec<&str> = line.split(':').collect();
        (fields.len() >= 6 && fields[2] == uid && !fields[5].is_empty())
            .then(|| fields[5].to_owned())
    })
}

fn close_rest(last: &Last<'_>, channel: &Channel) -> Result<(), Failure> {
    let first = 3 + RawFd::try_from(last.preserved).unwrap_or(0);
    let mut keep = vec![channel.as_fd().as_raw_fd()];
    if let Starter::Socket(listener) = &last.start {
        keep.push(listener.as_raw_fd());
    }
    kernel::close_all_from(first, &mut keep).or_fail(|| "close descriptors".to_owned())?;
    for number in 3..first {
        kernel::pass_on(number).or_fail(|| format!("pass on descriptor {number}"))?;
    }
    Ok(())
}

/// Sets the limits. One above what we may give is cut down with a warning, as runc does.
fn limit(process: &ProcessPlan, warn: &dyn Fn(String)) -> Result<(), Failure> {
    for &(resource, wanted) in &process.rlimits {
        let what = || format!("error setting rlimit {resource:?}");
        match setrlimit(resource, wanted) {
            Err(rustix::io::Errno::PERM) => {
                let most = getrlimit(resource).maximum;
                let least = |a: Option<u64>, b: Option<u64>| match (a, b) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                let possible = Rlimit {
                    current: least(wanted.current, most),
                    maximum: least(wanted.maximum, most),
                };
                setrlimit(resource, possible).or_fail(what)?;
                warn(format!(
                    "rlimit {resource:?} is {} instead of the {} asked for: raising it is not permitted",
                    shown(possible.maximum),
                    shown(wanted.maximum)
                ));
            }
            result => result.or_fail(what)?,
        }
    }
    Ok(())
}

fn shown(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}

/// Enters the working directory, as root `first` and then, if that was refused (false), as the user: either may be the
/// one who can. What it leads to must be inside the container.
fn enter_directory(process: &ProcessPlan, first: bool) -> Result<bool, Failure> {
    let shown = process.cwd.to_string_lossy();
    let failure = |errno: i32| {
        let what = format!("chdir to cwd ({shown:?}) set in config.json failed");
        Failure::new(Step::WorkingDirectory, errno, &what)
    };
    match rustix::process::chdir(&*process.cwd) {
        Ok(()) => {}
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) if first => return Ok(false),
        Err(errno) => return Err(failure(errno.raw_os_error())),
    }
    let cwd = rustix::process::getcwd(Vec::new()).map_err(|errno| failure(errno.raw_os_error()))?;
    if cwd.to_bytes().starts_with(b"/") {
        return Ok(true);
    }
    // The kernel shows what cannot be reached from the root as "(unreachable)/…".
    let text = format!(
        "current working directory {shown:?} is outside of container mount namespace root -- possible container \
         breakout detected"
    );
    Err(Failure::worded(Step::WorkingDirectory, 0, text))
}

/// Becomes user and groups of the process; keeps all capabilities in reach.
fn take_user(process: &ProcessPlan) -> Result<(), Failure> {
    rustix::thread::set_keep_capabilities(true).or_fail(|| "keep capabilities".to_owned())?;
    let groups: Vec<Gid> = process
        .groups
        .iter()
        .map(|&group| Gid::from_raw(group))
        .collect();
    match rustix::thread::set_thread_groups(&groups) {
        // In a user namespace that a user without privileges made, groups cannot be changed; there are none to take.
        Err(rustix::io::Errno::PERM) if groups.is_empty() => {}
        result => result.or_fail(|| "unable to setgroups".to_owned())?,
    }
    let gid = Gid::from_raw(process.gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid)
        .or_fail(|| format!("unable to setgid to {}", process.gid))?;
    let uid = Uid::from_raw(process.uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid)
        .or_fail(|| format!("unable to setuid to {}", process.uid))
}

/// Takes the first connection of whoever starts the container.
fn accept(listener: &OwnedFd) -> Result<Channel, Failure> {
    let flags = rustix::net::SocketFlags::CLOEXEC;
    loop {
        let accepted = rustix::io::retry_on_intr(|| rustix::net::accept_with(listener, flags));
        let channel = Channel::from_socket(accepted.or_fail(|| "wait for the start".to_owned())?);
        // One that went away without a word started nothing.
        if channel.wait().is_ok() {
            return Ok(channel);
        }
    }
}

fn install_filter(process: &ProcessPlan, channel: &Channel) -> Result<(), Failure> {
    let Some(filter) = &process.filter else {
        return Ok(());
    };
    let listener = seccomp::install(&filter.program, filter.flags)
        .or_fail(|| "error loading seccomp filter into kernel".to_owned())?;
    if let Some(listener) = listener {
        // The other side fetches it by its number: passing it on would be one more call that the filter must allow.
        let what = || "hand over the seccomp listener".to_owned();
        let message = Message::Listener(listener.as_raw_fd());
        channel.write(&message).or_fail(what)?;
        channel.wait().or_fail(what)?;
    }
    Ok(())
}

/// Returns whether descriptors 3 up to `count` more are open; the first that is not.
pub(super) fn first_closed(count: u32) -> Option<RawFd> {
    let end = 3 + RawFd::try_from(count).unwrap_or(RawFd::MAX - 3);
    (3..end).find(|&number| !kernel::is_open(number))
}
