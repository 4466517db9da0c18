//! Long work that ends early and leaves things clean when the user wants it to.
//!
//! A thread waits for the signals that ask for an end and tells the work. Work that has not ended after a moment is not
//! waited for: this process dies of the signal, and what it leaves is what the next command finds and tidies up.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Timespec;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::cli::face::Failed;
use crate::registry::http::Cancel;
use crate::sys::signal::default_signals;

/// How long the work has to end by itself.
const GRACE: Duration = Duration::from_millis(800);

/// Does `work`, which `cancel` ends; a signal makes this process fail with a shell's exit code for it, and without a word.
pub fn guard<T>(cancel: &Cancel, work: impl FnOnce() -> Result<T>) -> Result<T, Failed> {
    let mut ending = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        ending.add(signal);
    }
    // Threads that are started from here on inherit the mask, so the signals come to the descriptor.
    let before = ending
        .thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)
        .context("block signals")?;
    let signals = SignalFd::with_flags(&ending, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .context("watch for signals")?;
    let (over, end) = pipe_with(PipeFlags::CLOEXEC).context("make a pipe")?;
    let caught = AtomicI32::new(0);
    let result = std::thread::scope(|scope| {
        let (caught, ending) = (&caught, &ending);
        scope.spawn(move || {
            if let Err(error) = watch(&signals, &over, cancel, (caught, ending)) {
                tracing::warn!("{error:#}");
            }
        });
        let result = work();
        // The other end of the pipe sees this.
        drop(end);
        result
    });
    before.thread_set_mask().context("unblock signals")?;
    match caught.load(Ordering::Relaxed) {
        0 => result.map_err(Failed::engine),
        number => Err(Failed::silent(
            128 + u8::try_from(number).unwrap_or_default(),
        )),
    }
}

fn watch(
    signals: &SignalFd,
    over: &std::os::fd::OwnedFd,
    cancel: &Cancel,
    (caught, ending): (&AtomicI32, &SigSet),
) -> Result<()> {
    let grace = Timespec {
        tv_sec: 0,
        tv_nsec: i64::try_from(GRACE.as_nanos()).unwrap_or_default(),
    };
    let mut limit = None;
    loop {
        let mut fds = [
            PollFd::new(over, PollFlags::IN),
            PollFd::new(signals, PollFlags::IN),
        ];
        let ready =
            rustix::io::retry_on_intr(|| poll(&mut fds, limit)).context("wait for signals")?;
        if !fds[0].revents().is_empty() {
            return Ok(());
        }
        let read = signals.read_signal().context("read signals")?;
        let number = read.map(|info| i32::try_from(info.ssi_signo).unwrap_or_default());
        let again = caught.load(Ordering::Relaxed);
        if ready == 0 || (number.is_some() && again != 0) {
            // What a shell starts in the background ignores SIGINT, and would go on.
            default_signals();
            ending.thread_unblock().context("unblock signals")?;
            let signal = Signal::try_from(again).unwrap_or(Signal::SIGINT);
            raise(signal).context("end this process")?;
        }
        if let Some(number) = number {
            caught.store(number, Ordering::Relaxed);
            limit = Some(&grace);
            cancel.cancel();
        }
    }
}
