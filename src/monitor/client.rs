//! The other side of the control socket: starting a monitor and talking to one.

use std::io::ErrorKind;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::control::{self, ExecRequest, Reply, Request, Size, Streams};
use crate::dirs::Dirs;
use crate::error;

/// The hidden command that a monitor is.
pub const COMMAND: &str = "monitor";

/// The monitor has ended instead of answering: it was killed, or the container's end came first.
#[derive(Debug)]
pub struct Gone;

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the monitor of the container has ended unexpectedly")
    }
}

impl std::error::Error for Gone {}

/// A connection to a monitor.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
}

/// Starts the monitor of container `id`; it waits for [`Request::Start`] on the connection that is returned.
///
/// `program` is this binary, as a file that containers cannot write to.
pub fn spawn(dirs: &Dirs, program: &OwnedFd, id: &str) -> Result<Connection> {
    let (ours, theirs) = pair(SocketType::SEQPACKET)?;
    Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
        .arg0("aril")
        .arg(COMMAND)
        .args([dirs.data(), dirs.run(), Path::new(id)])
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        .spawn()
        .with_context(|| format!("start the monitor of container {id}"))?;
    Ok(Connection { socket: ours })
}

/// Connects to the monitor of container `id`; the error is of kind `Conflict` if none lives.
pub fn connect(dirs: &Dirs, id: &str) -> Result<Connection> {
    let socket = socket()?;
    let connected = short_path(&dirs.control(id))
        .and_then(|(_dir, path)| Ok(rustix::net::connect(&socket, &SocketAddrUnix::new(&path)?)?));
    match connected {
        Ok(()) => Ok(Connection { socket }),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused
            ) =>
        {
            Err(error::conflict(format!("container {id} is not running")))
        }
        Err(error) => {
            Err(error).with_context(|| format!("connect to the monitor of container {id}"))
        }
    }
}

/// Makes the socket on which a monitor takes requests; a socket that a dead monitor has left is replaced.
pub fn listen(path: &Path) -> Result<OwnedFd> {
    let listener = socket()?;
    let bound = short_path(path).and_then(|(_dir, short)| {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        rustix::net::bind(&listener, &SocketAddrUnix::new(&short)?)?;
        Ok(rustix::net::listen(&listener, 64)?)
    });
    bound.with_context(|| format!("listen on {}", path.display()))?;
    rustix::io::ioctl_fionbio(&listener, true).context("make the listener non-blocking")?;
    Ok(listener)
}

fn socket() -> Result<OwnedFd> {
    rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .context("make a socket")
}

/// Returns two connected sockets.
pub fn pair(kind: SocketType) -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
        .context("make a pair of sockets")
}

/// A socket's path has at most 107 bytes; through a descriptor of its directory every path is short.
fn short_path(path: &Path) -> std::io::Result<(OwnedFd, PathBuf)> {
    let dir = path.parent().unwrap_or_else(|| Path::new("/"));
    let dir = rustix::fs::open(
        dir,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let name = path.file_name().unwrap_or_default();
    let short = Path::new("/proc/self/fd")
        .join(dir.as_raw_fd().to_string())
        .join(name);
    Ok((dir, short))
}

impl Connection {
    /// Sends a request; that the monitor has ended meanwhile is [`Gone`].
    pub fn send(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        control::send(self.socket.as_fd(), request, descriptors).map_err(|error| {
            // A connection that it has not taken any more is reset.
            match error
                .downcast_ref::<std::io::Error>()
                .map(std::io::Error::kind)
            {
                Some(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Gone.into(),
                _ => error,
            }
        })
    }

    /// Waits for the next answer; a failure is the error that it carries, and the end of the monitor is one too.
    pub fn receive(&self) -> Result<(Reply, Vec<OwnedFd>)> {
        match control::receive(self.socket.as_fd())? {
            Some((Reply::Failed(failure), _)) => Err(failure.into_error()),
            Some(reply) => Ok(reply),
            None => Err(Gone.into()),
        }
    }

    /// Sends a request and waits until it is done.
    pub fn request(&self, request: &Request) -> Result<()> {
        self.send(request, &[])?;
        self.receive().map(drop)
    }

    /// Starts the container; with `attach`, returns the stream of the client. `again` counts it as its policy's doing.
    ///
    /// A program that cannot be started is a [`control::StartError`].
    pub fn start(&self, attach: Option<Streams>, again: bool) -> Result<Option<OwnedFd>> {
        let streams = attach.map(|_| pair(SocketType::STREAM)).transpose()?;
        let theirs = streams.as_ref().map(|(_, theirs)| theirs.as_fd());
        self.send(&Request::Start { attach, again }, theirs.as_slice())?;
        match self.receive()?.0 {
            Reply::Started { .. } => Ok(streams.map(|(ours, _)| ours)),
            other => bail!("the monitor answered {other:?}"),
        }
    }

    /// Attaches to the running container and returns the client's stream.
    pub fn attach(&self, streams: Streams) -> Result<OwnedFd> {
        let (ours, theirs) = pair(SocketType::STREAM)?;
        self.send(&Request::Attach(streams), &[theirs.as_fd()])?;
        self.receive()?;
        Ok(ours)
    }

    /// Starts another process in the container; `streams` are its standard streams, or none for a terminal, whose master
    /// side is then returned with the session's id.
    pub fn exec(
        &self,
        request: ExecRequest,
        streams: &[BorrowedFd<'_>],
    ) -> Result<(String, Option<OwnedFd>)> {
        self.send(&Request::Exec(Box::new(request)), streams)?;
        match self.receive()? {
            (Reply::ExecStarted { id, .. }, descriptors) => {
                Ok((id, descriptors.into_iter().next()))
            }
            (other, _) => bail!("the monitor answered {other:?}"),
        }
    }

    /// Waits for the end of the run, or of the exec session, that this connection is about.
    pub fn wait(&self) -> Result<i32> {
        match self.receive()?.0 {
            Reply::Exited { code } => Ok(code),
            other => bail!("the monitor answered {other:?}"),
        }
    }

    /// Waits until the monitor has closed the connection: then nothing of the run is left.
    pub fn wait_gone(&self) -> Result<()> {
        while control::receive::<Reply>(self.socket.as_fd())?.is_some() {}
        Ok(())
    }

    /// Tells the container's terminal its size.
    pub fn resize(&self, size: Size) -> Result<()> {
        self.request(&Request::Resize(size))
    }
}

impl std::os::fd::AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
