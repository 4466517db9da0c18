//! Real terminals: `run`, `exec`, `attach` and `start` as somebody has them who sits in front of one.

mod closing;
mod jobs;
mod keys;
mod screens;
mod sizes;
mod streams;

use crate::sandbox::Sandbox;

/// Shows the bytes that the program gets from its terminal, as they come and without a change, once it has said `ready`.
const SHOW_BYTES: &str = "stty raw -echo; echo ready; od -An -tx1 -v -w1";

/// Returns a machine on which the container `box` sleeps.
fn with_box(options: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    let mut args = vec!["run", "-d", "--name", "box"];
    args.extend(options);
    args.extend(["busybox", "sleep", "1000"]);
    sandbox.ok(&args);
    sandbox
}

/// Returns a machine on which the container `box` has a shell in a terminal.
fn with_shell() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.ok(&["run", "-dit", "--name", "box", "busybox", "sh"]);
    sandbox
}

fn is_running(sandbox: &Sandbox, name: &str) -> bool {
    sandbox.inspect(name, "{{.State.Status}}") == "running"
}
