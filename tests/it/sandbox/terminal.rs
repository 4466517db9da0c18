//! A command in a terminal, as a user has it.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::PATIENCE;
use super::child::find;
use super::machine::Machine;

/// A command whose standard streams are a terminal, which is its controlling terminal too; killed when this is dropped.
pub(crate) struct Terminal {
    child: Child,
    master: OwnedFd,
    /// Keeps the terminal from hanging up when the command has closed it, and tells its mode.
    slave: Option<OwnedFd>,
    output: Vec<u8>,
    seen: usize,
}

fn winsize((rows, columns): (u16, u16)) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

impl Terminal {
    #[track_caller]
    pub(crate) fn start(machine: &Machine, command: &Command, size: (u16, u16)) -> Terminal {
        // Closed on exec from birth: commands of other tests, started at the same time, must not keep it open.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
        tcsetwinsize(&slave, winsize(size)).unwrap();
        // util-linux' setsid makes it the controlling terminal, and so the one whose changes of size are signalled.
        let mut inside = Command::new("setsid");
        inside
            .arg("--ctty")
            // Whoever runs the tests in the background makes them ignore what ctrl-C sends.
            .args(["env", "--default-signal"])
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear()
            .current_dir(command.get_current_dir().unwrap())
            .stdin(Stdio::from(slave.try_clone().unwrap()))
            .stdout(Stdio::from(slave.try_clone().unwrap()))
            .stderr(Stdio::from(slave.try_clone().unwrap()));
        for (name, value) in command.get_envs() {
            inside.env(name, value.unwrap());
        }
        println!("$ (terminal) {command:?}");
        let child = machine.inside(|| inside.spawn()).unwrap();
        Terminal {
            child,
            master,
            slave: Some(slave),
            output: Vec::new(),
            seen: 0,
        }
    }

    /// Types.
    pub(crate) fn send(&mut self, keys: &str) {
        println!("  (terminal) type {keys:?}");
        let mut bytes = keys.as_bytes();
        while !bytes.is_empty() {
            let count = rustix::io::retry_on_intr(|| rustix::io::write(&self.master, bytes));
            bytes = &bytes[count.unwrap()..];
        }
    }

    /// Sends much, and takes what is shown meanwhile, as a terminal does.
    #[track_caller]
    pub(crate) fn paste(&mut self, bytes: &[u8]) {
        println!("  (terminal) paste {} bytes", bytes.len());
        let deadline = Instant::now() + PATIENCE;
        let mut left = bytes;
        rustix::io::ioctl_fionbio(&self.master, true).unwrap();
        while !left.is_empty() {
            assert!(Instant::now() < deadline, "{} are not taken", left.len());
            let mut fds = [PollFd::new(&self.master, PollFlags::IN | PollFlags::OUT)];
            rustix::io::retry_on_intr(|| poll(&mut fds, None)).unwrap();
            let events = fds[0].revents();
            if events.contains(PollFlags::IN) {
                self.read(deadline);
            }
            if events.contains(PollFlags::OUT) {
                match rustix::io::write(&self.master, &left[..left.len().min(4096)]) {
                    Ok(count) => left = &left[count..],
                    Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                    Err(errno) => panic!("write to the terminal: {errno}"),
                }
            }
        }
        rustix::io::ioctl_fionbio(&self.master, false).unwrap();
    }

    /// Takes what has been shown, without waiting for more.
    pub(crate) fn look(&mut self) {
        let now = Instant::now();
        let mut before = usize::MAX;
        while self.output.len() != before {
            before = self.output.len();
            self.read(now);
        }
    }

    /// Sends the command a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        println!("  (terminal) signal {signal:?}");
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)
            .unwrap();
    }

    /// Closes the terminal, as the end of its window or its connection does; returns how the command ended.
    #[track_caller]
    pub(crate) fn close(mut self) -> std::process::ExitStatus {
        println!("  (terminal) is closed, after {:?}", self.shown());
        // Both are of this test alone, so no other descriptor keeps the terminal.
        self.slave = None;
        let (other, _) = std::io::pipe().unwrap();
        drop(std::mem::replace(&mut self.master, other.into()));
        let mut ended = None;
        super::wait_until("the command has seen that its terminal is gone", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }

    /// Waits until `text` is shown, after what earlier calls have found.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = find(&self.output[self.seen..], text.as_bytes()) {
                self.seen += at + text.len();
                return;
            }
            let open = Instant::now() < deadline && self.read(deadline);
            assert!(open, "{text:?} is never shown: {:?}", self.shown());
        }
    }

    /// Changes the size.
    pub(crate) fn resize(&self, size: (u16, u16)) {
        println!("  (terminal) is {size:?}");
        tcsetwinsize(&self.master, winsize(size)).unwrap();
    }

    /// Whether the terminal is in raw mode.
    pub(crate) fn is_raw(&self) -> bool {
        let mode = tcgetattr(&self.master).unwrap();
        !mode.local_modes.contains(LocalModes::ICANON)
    }

    /// Returns what was shown so far.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.output).replace('\r', "")
    }

    /// Waits until the command has ended; returns its exit code (-N after signal N) and all that was shown.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> (i32, String) {
        use std::os::unix::process::ExitStatusExt as _;
        let deadline = Instant::now() + PATIENCE;
        self.slave = None;
        while self.read(deadline) {
            assert!(
                Instant::now() < deadline,
                "the command does not end: {:?}",
                self.shown()
            );
        }
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the command does not end");
            std::thread::sleep(std::time::Duration::from_millis(2));
        };
        let shown = self.shown();
        println!("  (terminal) {shown:?}, {status}");
        let code = status.code();
        (
            code.unwrap_or_else(|| -status.signal().unwrap_or_default()),
            shown,
        )
    }

    /// Takes what was written, and waits for it; false once nobody has the terminal open any more.
    fn read(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap();
        let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(1) => {}
            Ok(_) | Err(rustix::io::Errno::INTR) => return true,
            Err(errno) => panic!("poll: {errno}"),
        }
        let mut buffer = [0; 4096];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.master, &mut buffer[..])) {
            Ok(0) | Err(rustix::io::Errno::IO) => false,
            Ok(count) => {
                self.output.extend_from_slice(&buffer[..count]);
                true
            }
            Err(errno) => panic!("read the terminal: {errno}"),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            println!(
                "  (terminal) killed at the end of the test, after {:?}",
                self.shown()
            );
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}
