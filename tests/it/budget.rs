//! What the everyday commands ask of the kernel, counted: a number that a busy machine does not change.
//!
//! A test that fails here has found that a command does more than it did. If that is meant, the budget is raised, and the
//! commit says what for.

use std::path::Path;

use crate::oci;
use crate::sandbox::Sandbox;

/// Returns how many system calls a command makes, with all processes that it starts.
fn calls(sandbox: &Sandbox, args: &[&str]) -> usize {
    let trace = sandbox.path("trace");
    let mut command = sandbox.command("strace");
    command.args(["-f", "-qq", "-o"]).arg(&trace);
    command.arg(env!("CARGO_BIN_EXE_aril")).args(args);
    sandbox.run(command).ok();
    count(&trace)
}

/// Returns how many system calls strace(1) wrote to a file.
fn count(trace: &Path) -> usize {
    let text = std::fs::read_to_string(trace).unwrap();
    // A call during which another process made one stands on two lines.
    let is_call = |line: &&str| {
        !["<... ", "+++ ", "--- "]
            .iter()
            .any(|mark| line.contains(mark))
    };
    text.lines().filter(is_call).count()
}

#[test]
fn commands_keep_to_their_budgets() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["run", "--rm", "busybox", "true"]);
    sandbox.ok(&["run", "-d", "--name", "web", "busybox", "sleep", "1000"]);
    let mut over = Vec::new();
    for (budget, args) in [
        (60, "--version"),
        (80, "ps"),
        (80, "inspect web"),
        (60, "images"),
        (120, "exec web true"),
        (1700, "run --rm --network none busybox true"),
        (1860, "run --rm busybox true"),
        (1920, "run --rm -p 8080:80 busybox true"),
        (310, "create --name next busybox true"),
        (1570, "start -a next"),
        (200, "rm next"),
    ] {
        let count = calls(&sandbox, &args.split(' ').collect::<Vec<_>>());
        println!("{count:5} of {budget:5}  {args}");
        if count > budget {
            over.push(format!(
                "{args}: {count} system calls, its budget is {budget}"
            ));
        }
    }
    assert!(over.is_empty(), "{over:#?}");
}

#[test]
fn the_runtime_keeps_to_its_budget() {
    const BUDGET: usize = 920;
    let mut sandbox = oci::Sandbox::new("");
    sandbox.args(&["true"]);
    let trace = sandbox.rootfs().with_file_name("trace");
    let strace = ["strace", "-f", "-qq", "-o", trace.to_str().unwrap()];
    sandbox.run_by(&strace, "", "").says("");
    let count = count(&trace);
    println!("{count:5} of {BUDGET:5}  aril-oci run, with the shell that calls it");
    assert!(
        count <= BUDGET,
        "aril-oci run: {count} system calls, its budget is {BUDGET}"
    );
}

#[test]
fn costs_grow_with_what_is_shown_and_with_nothing_else() {
    const MORE: usize = 10;
    const RUN: [&str; 6] = ["run", "--rm", "--network", "none", "busybox", "true"];
    let sandbox = Sandbox::new();
    sandbox.ok(&RUN);
    let (run, list) = (calls(&sandbox, &RUN), calls(&sandbox, &["ps", "-a"]));
    for _ in 0..MORE {
        sandbox.ok(&["create", "busybox", "true"]);
    }
    let (run_later, list_later) = (calls(&sandbox, &RUN), calls(&sandbox, &["ps", "-a"]));
    println!("run {run}, then {run_later}; ps -a {list}, then {list_later}");
    assert!(
        run_later <= run + MORE,
        "a start costs more beside others: {run}, then {run_later}"
    );
    let each = (list_later - list).div_ceil(MORE);
    assert!(
        each <= 11,
        "ps -a makes {each} system calls for each container"
    );
}
