//! What a monitor sheds of its caller before it does anything else: descriptors, session, mask, limits, priority, cgroup.
//!
//! There is no daemon whose clean state containers could inherit, so none of the caller's may leak in. Limits are those of
//! process 1, which any service of this machine would start with.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit};

use crate::{cgroup, sys};

/// Names of limits in /proc/PID/limits.
const LIMITS: [(&str, Resource); 16] = [
    ("Max cpu time", Resource::Cpu),
    ("Max file size", Resource::Fsize),
    ("Max data size", Resource::Data),
    ("Max stack size", Resource::Stack),
    ("Max core file size", Resource::Core),
    ("Max resident set", Resource::Rss),
    ("Max processes", Resource::Nproc),
    ("Max open files", Resource::Nofile),
    ("Max locked memory", Resource::Memlock),
    ("Max address space", Resource::As),
    ("Max file locks", Resource::Locks),
    ("Max pending signals", Resource::Sigpending),
    ("Max msgqueue size", Resource::Msgqueue),
    ("Max nice priority", Resource::Nice),
    ("Max realtime priority", Resource::Rtprio),
    ("Max realtime timeout", Resource::Rttime),
];

/// Sheds it all, and returns the socket that came as standard input.
///
/// Must come before anything else is opened.
pub fn scrub() -> Result<OwnedFd> {
    sys::process::close_all_from(3, &mut []).context("close inherited descriptors")?;
    let socket =
        rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3).context("take the first socket")?;
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .context("open /dev/null")?;
    rustix::stdio::dup2_stdin(null.as_fd()).context("replace standard input")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    quietly(
        "session",
        rustix::process::setsid().map(drop).map_err(Into::into),
    );
    reset_limits();
    quietly(
        "priority",
        rustix::process::setpriority_process(None, 0).map_err(Into::into),
    );
    quietly(
        "oom_score_adj",
        std::fs::write("/proc/self/oom_score_adj", "0").map_err(Into::into),
    );
    quietly("cgroup", cgroup::leave::leave());
    Ok(socket)
}

/// What the caller must not decide but this process may not change stays as it is, as with any program.
fn quietly(what: &str, done: Result<()>) {
    if let Err(error) = done {
        tracing::debug!("reset {what}: {error:#}");
    }
}

fn reset_limits() {
    let Ok(limits) = sys::pseudo::read_text("/proc/1/limits") else {
        return;
    };
    for (resource, wanted) in parse_limits(&limits) {
        let own = rustix::process::getrlimit(resource);
        if own == wanted || rustix::process::setrlimit(resource, wanted).is_ok() {
            continue;
        }
        // Without CAP_SYS_RESOURCE a hard limit can only sink.
        let hard = lower(own.maximum, wanted.maximum);
        let reachable = Rlimit {
            current: lower(wanted.current, hard),
            maximum: hard,
        };
        quietly(
            "limits",
            rustix::process::setrlimit(resource, reachable).map_err(Into::into),
        );
    }
}

/// None is unlimited.
fn lower(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn parse_limits(text: &str) -> Vec<(Resource, Rlimit)> {
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let value = |word: &str| {
        if word == "unlimited" {
            Some(None)
        } else {
            word.parse().ok().map(Some)
        }
    };
    LIMITS
        .iter()
        .filter_map(|(name, resource)| {
            let mut words = line(name)?.split_whitespace();
            let (current, maximum) = (value(words.next()?)?, value(words.next()?)?);
            Some((*resource, Rlimit { current, maximum }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_from_their_table() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max cpu time              unlimited            unlimited            seconds   \n\
                    Max open files            1024                 524288               files     \n";
        let limits = parse_limits(text);
        assert_eq!(limits.len(), 2);
        assert_eq!(
            limits[0].1,
            Rlimit {
                current: None,
                maximum: None
            }
        );
        assert_eq!(
            limits[1].1,
            Rlimit {
                current: Some(1024),
                maximum: Some(524_288)
            }
        );
    }

    #[test]
    fn the_lower_limit_counts() {
        assert_eq!(lower(None, Some(5)), Some(5));
        assert_eq!(lower(Some(3), Some(5)), Some(3));
        assert_eq!(lower(None, None), None);
    }
}
