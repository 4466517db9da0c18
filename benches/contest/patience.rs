//! The end of a program that hangs: it is named, where it would have held up all others.

use std::collections::HashMap;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::machine::succeeded;

/// No path takes as long.
const PATIENCE: Duration = Duration::from_secs(300);

/// When which group of processes is to end. One thread looks at all of them, so that a program that is timed waits for none.
static DEADLINES: LazyLock<Mutex<HashMap<u32, Instant>>> = LazyLock::new(|| {
    thread::spawn(|| {
        loop {
            thread::sleep(Duration::from_secs(1));
            let now = Instant::now();
            let late = |deadlines: &mut HashMap<u32, Instant>| -> Vec<u32> {
                let groups = deadlines.iter().filter(|(_, deadline)| now > **deadline);
                groups.map(|(group, _)| *group).collect()
            };
            for group in with(late) {
                end(group);
            }
        }
    });
    Mutex::default()
});

fn with<T>(act: impl FnOnce(&mut HashMap<u32, Instant>) -> T) -> T {
    act(&mut DEADLINES.lock().unwrap_or_else(PoisonError::into_inner))
}

fn end(group: u32) {
    if let Some(group) = i32::try_from(group).ok().and_then(Pid::from_raw) {
        // It may have ended in this moment.
        let _ended = kill_process_group(group, Signal::KILL);
    }
}

/// Runs a program, whose words are shown only if it fails; it has a process group of its own.
pub(crate) fn check(command: &mut Command) -> Result<()> {
    let child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {}", command.get_program().display()))?;
    let group = child.id();
    let began = Instant::now();
    with(|deadlines| deadlines.insert(group, began + PATIENCE));
    let output = child.wait_with_output();
    with(|deadlines| deadlines.remove(&group));
    let output = output?;
    ensure!(
        began.elapsed() < PATIENCE,
        "{command:?} hangs, and was ended"
    );
    succeeded(command, &output)
}
