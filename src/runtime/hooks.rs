//! Hooks: programs that run at points of a container's life (runtime-spec config.md, POSIX-platform Hooks).
//!
//! A hook gets the container's state on its standard input and the environment of its own configuration, nothing else:
//! not ours, and never the container's (CVE-2025-23266).

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::channel::{Failure, Step, errno_of};
use crate::error::describe;
use crate::oci::runtime::Hook;
use crate::oci::state::State;

/// How much of what a hook says is put into the error when it fails.
const OUTPUT_MAX: u64 = 4096;

/// Runs `hooks` one by one in `directory`, and stops at the first that fails; `kind` is their name in the configuration.
pub(super) fn run(
    hooks: &[Hook],
    kind: &str,
    state: &State,
    directory: &Path,
) -> Result<(), Failure> {
    if hooks.is_empty() {
        return Ok(());
    }
    let state = serde_json::to_vec(state).map_err(|error| Failure::plain(error.to_string()))?;
    for (index, hook) in hooks.iter().enumerate() {
        run_one(hook, &state, directory).map_err(|(errno, text)| {
            let text = format!("error running {kind} hook #{index}: {text}");
            Failure::worded(Step::Hook, errno, text)
        })?;
    }
    Ok(())
}

fn run_one(hook: &Hook, state: &[u8], directory: &Path) -> Result<(), (i32, String)> {
    let failed = |error: &std::io::Error| {
        let errno = errno_of(error);
        (
            errno,
            format!("{}: {}", hook.path.display(), describe(errno)),
        )
    };
    // A file instead of a pipe: a hook may say much, and may leave processes behind that keep its streams open.
    let said = memfd_create("hook", MemfdFlags::CLOEXEC).map_err(|errno| failed(&errno.into()))?;
    let mut said = File::from(said);
    let mut command = Command::new(&hook.path);
    if let Some((name, arguments)) = hook.args.split_first() {
        command.arg0(name).args(arguments);
    }
    let environment = hook.env.iter().filter_map(|entry| entry.split_once('='));
    command
        .env_clear()
        .envs(environment)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(said.try_clone().map_err(|error| failed(&error))?);
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    if let Some(mut input) = child.stdin.take() {
        // A hook need not read its state.
        if let Err(error) = input.write_all(state)
            && error.kind() != std::io::ErrorKind::BrokenPipe
        {
            return Err(failed(&error));
        }
    }
    let limit = hook.timeout.and_then(|seconds| u64::try_from(seconds).ok());
    if let Some(seconds) = limit.filter(|&seconds| seconds > 0)
        && !ends_within(&child, Duration::from_secs(seconds)).map_err(|error| failed(&error))?
    {
        child.kill().map_err(|error| failed(&error))?;
        child.wait().map_err(|error| failed(&error))?;
        let text = format!(
            "{}: hook ran past specified timeout of {seconds} s",
            hook.path.display()
        );
        return Err((libc::ETIMEDOUT, text));
    }
    let status = child.wait().map_err(|error| failed(&error))?;
    if status.success() {
        return Ok(());
    }
    let end = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown end".to_owned(),
    };
    let mut text = Vec::new();
    let read = said
        .rewind()
        .and_then(|()| said.take(OUTPUT_MAX).read_to_end(&mut text));
    read.map_err(|error| failed(&error))?;
    let text = String::from_utf8_lossy(&text);
    Err((
        0,
        format!("{}: {end}, stderr: {}", hook.path.display(), text.trim()),
    ))
}

/// Waits until `child` has ended; returns whether it has within `limit`.
fn ends_within(child: &Child, limit: Duration) -> std::io::Result<bool> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| std::io::Error::from_raw_os_error(libc::ESRCH))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut waiting = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
        match poll(&mut waiting, Some(&left)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::state::Status;

    fn check(args: &[&str], timeout: Option<i64>, expected: Result<(), &str>) {
        let hook = Hook {
            path: "/bin/sh".into(),
            args: args.iter().map(|a| (*a).to_owned()).collect(),
            env: vec!["ONLY=1".into()],
            timeout,
        };
        let state = State {
            oci_version: "1.2.0".into(),
            id: "x".into(),
            status: Status::Creating,
            pid: 7,
            bundle: "/b".into(),
            annotations: std::collections::BTreeMap::default(),
        };
        let result = run(&[hook], "prestart", &state, Path::new("/"));
        assert_eq!(
            result.map_err(|failure| failure.text),
            expected.map_err(str::to_owned)
        );
    }

    #[test]
    fn a_hook_has_the_state_and_its_own_environment() {
        let script = r#"read -r state; case $state in *'"status":"creating","pid":7,'*) ;; *) exit 3;; esac
            [ "$ONLY" = 1 ] && [ -z "$HOME" ] && [ "$PWD" = / ]"#;
        check(&["sh", "-c", script], None, Ok(()));
        check(&["sh", "-c", "exec <&-; exit 0"], None, Ok(()));
    }

    #[test]
    fn a_hook_that_fails_says_why() {
        check(
            &["sh", "-c", "echo broken >&2; exit 4"],
            None,
            Err("error running prestart hook #0: /bin/sh: exit status 4, stderr: broken"),
        );
        check(
            &["sh", "-c", "kill -9 $$"],
            None,
            Err("error running prestart hook #0: /bin/sh: signal 9, stderr: "),
        );
        check(
            &["sh", "-c", "exec sleep 100"],
            Some(1),
            Err("error running prestart hook #0: /bin/sh: hook ran past specified timeout of 1 s"),
        );
    }
}
