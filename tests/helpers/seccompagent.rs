//! Answers the system calls that containers' filters hand to it: runc's helper of that name, for its tests.
//!
//! ```text
//! seccompagent [-socketfile=SOCKET] [-pid-file FILE]
//! ```
//!
//! A directory is made under a name that ends in the container's metadata; changes of modes fail; all else is done by the
//! kernel. Runs until it is killed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use aril::sys::fdpass;
use aril::sys::notify::{self, Answer, Notification};
use aril::sys::rooted::Root;
use rustix::fs::Mode;

/// The longest document that comes with a listener, and the longest path.
const DOCUMENT_MAX: usize = 64 << 10;
const PATH_MAX: usize = 4096;

fn main() -> Result<()> {
    let mut socket = PathBuf::from("/run/seccomp-agent.socket");
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let arg = arg.trim_start_matches('-').to_owned();
        let (name, value) = match arg.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (arg, args.next()),
        };
        let value = value.with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "socketfile" => socket = value.into(),
            "pid-file" => std::fs::write(&value, std::process::id().to_string())
                .with_context(|| format!("write {value}"))?,
            _ => bail!("usage: seccompagent [-socketfile=SOCKET] [-pid-file FILE]"),
        }
    }
    match std::fs::remove_file(&socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("remove {}", socket.display()));
        }
        _ => {}
    }
    let connections =
        UnixListener::bind(&socket).with_context(|| format!("listen at {}", socket.display()))?;
    loop {
        let (stream, _) = connections.accept().context("accept a connection")?;
        std::thread::spawn(move || {
            // A container that has ended is an error to answer, and of no interest any more.
            if let Err(error) = serve(&stream) {
                drop(error);
            }
        });
    }
}

/// Takes the listener of a container, and answers its calls until nobody makes any.
fn serve(stream: &UnixStream) -> Result<()> {
    let received = fdpass::receive(stream.as_fd(), DOCUMENT_MAX)?;
    let (document, descriptors) = received.context("nothing came")?;
    let document: serde_json::Value = serde_json::from_slice(&document)?;
    let metadata = document["metadata"].as_str().unwrap_or_default().to_owned();
    let listener = descriptors.into_iter().next().context("no listener came")?;
    loop {
        let call = match notify::receive(listener.as_fd()) {
            // Its caller was killed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            call => call?,
        };
        let answer = decide(&listener, &call, &metadata);
        match notify::answer(listener.as_fd(), call.id, answer) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
}

/// Newer machines have neither call.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: (i64, i64) = (libc::SYS_chmod, libc::SYS_mkdir);
#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS: (i64, i64) = (-1, -1);

fn decide(listener: &OwnedFd, call: &Notification, suffix: &str) -> Answer {
    let (chmod, mkdir) = OLD_CALLS;
    let number = i64::from(call.number);
    if [chmod, libc::SYS_fchmod, libc::SYS_fchmodat].contains(&number) {
        Answer::Fails(libc::ENOMEDIUM)
    } else if number == mkdir {
        match make_directory(listener, call, suffix) {
            Ok(()) => Answer::Done,
            Err(_) => Answer::Fails(libc::ENOSYS),
        }
    } else {
        Answer::Continue
    }
}

/// Makes the directory that the call asks for in the caller's root, with `suffix` at the end of its name.
fn make_directory(listener: &OwnedFd, call: &Notification, suffix: &str) -> Result<()> {
    let memory = File::open(format!("/proc/{}/mem", call.pid))?;
    let mut name = vec![0; PATH_MAX];
    let length = memory.read_at(&mut name, call.arguments[0])?;
    name.truncate(length);
    let end = name.iter().position(|&byte| byte == 0);
    name.truncate(end.context("the path does not end")?);
    name.extend(format!("-{suffix}").bytes());
    let name = PathBuf::from(std::ffi::OsString::from_vec(name));
    let from = if name.is_absolute() { "root" } else { "cwd" };
    let root = Root::open(Path::new(&format!("/proc/{}/{from}", call.pid)))?;
    // Only while the call waits is the process the one that made it.
    if !notify::is_pending(listener.as_fd(), call.id) {
        bail!("nobody waits any more");
    }
    let parent = root.handle(name.parent().unwrap_or(Path::new("")))?;
    let mode = Mode::from_raw_mode(u32::try_from(call.arguments[1])?);
    let last = name.file_name().context("the path has no name")?;
    Ok(rustix::fs::mkdirat(&parent, last, mode)?)
}
