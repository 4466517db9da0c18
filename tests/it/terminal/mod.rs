//! Real terminals: `run`, `exec`, `attach` and `start` as somebody has them who sits in front of one.

mod closing;
mod jobs;
mod keys;
mod screens;
mod sizes;
mod streams;

use crate::sandbox::{Sandbox, Terminal};

/// Shows the bytes that the program gets from its terminal, as they come and without a change, once it has said `ready`.
const SHOW_BYTES: &str = "stty raw -echo; echo ready; od -An -tx1 -v -w1";

/// Returns a machine on which the container `box` has a shell in a terminal.
fn with_shell() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.ok(&["run", "-dit", "--name", "box", "busybox", "sh"]);
    sandbox
}

/// Runs a script in a container that is gone afterwards, in a terminal.
fn shell(sandbox: &Sandbox, script: &str) -> Terminal {
    sandbox.terminal(&["run", "--rm", "-it", "busybox", "sh", "-c", script])
}

fn is_running(sandbox: &Sandbox, name: &str) -> bool {
    sandbox.inspect(name, "{{.State.Status}}") == "running"
}
