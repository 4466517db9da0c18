//! Keys that become signals: in the container's terminal, where there is one, and for the client, where there is none.

use crate::sandbox::{Sandbox, Terminal, wait_until};

use super::{is_running, shell, with_shell};

const CTRL_C: &str = "\u{3}";
const CTRL_D: &str = "\u{4}";
const CTRL_Z: &str = "\u{1a}";
const CTRL_BACKSLASH: &str = "\u{1c}";

/// Has the signal that it gets in its own words.
const TRAPS: &str = "for s in INT QUIT TSTP; do trap \"echo got $s\" $s; done; trap 'echo bye; exit 7' TERM; \
                     echo ready; while :; do sleep 0.02; done";

/// Stops, resumes and ends programs of an interactive shell.
fn control_jobs(terminal: &mut Terminal) {
    terminal.expect("# ");
    // What it says comes from the foreground: a key before that is the shell's.
    let job = "trap 'echo back $((4 + 4))' CONT; echo job $((1 + 1)); while :; do sleep 0.02; done";
    terminal.send(&format!("sh -c {job:?}\n").replace('$', "\\$"));
    terminal.expect("job 2");
    terminal.send(CTRL_Z);
    terminal.expect("Stopped");
    terminal.expect("# ");
    terminal.send("bg\n");
    terminal.expect("back 8");
    terminal.send("jobs\n");
    terminal.expect("Running");
    terminal.expect("# ");
    // The shell hands the terminal over, and then tells the job to go on.
    terminal.send("fg\n");
    terminal.expect("back 8");
    terminal.send(CTRL_C);
    terminal.expect("# ");
    terminal.send("jobs; echo none left $((2 + 2))\n");
    terminal.expect("none left 4");
    terminal.expect("# ");
    terminal.send("sleep 2222\n");
    // Until the program is there the shell gets the keys, and ignores them.
    wait_until("it is ended by a key", || {
        terminal.send(CTRL_BACKSLASH);
        terminal.look();
        terminal.shown().contains("Quit")
    });
    terminal.send(CTRL_C);
    terminal.send("\n echo so $((5 + 5))\n");
    terminal.expect("so 10");
    terminal.expect("# ");
    // The end of the input is the shell's end.
    terminal.send(CTRL_D);
}

#[test]
fn of_a_shell_of_run() {
    let sandbox = Sandbox::new();
    let mut terminal = sandbox.terminal(&["run", "--rm", "-it", "busybox", "sh"]);
    control_jobs(&mut terminal);
    let (code, shown) = terminal.wait();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("job control turned off"), "{shown}");
}

#[test]
fn of_a_shell_of_exec() {
    let sandbox = Sandbox::with_box(&[]);
    let mut terminal = sandbox.terminal(&["exec", "-it", "box", "sh"]);
    control_jobs(&mut terminal);
    let (code, shown) = terminal.wait();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("job control turned off"), "{shown}");
    assert!(is_running(&sandbox, "box"));
}

#[test]
fn of_a_shell_that_was_started_before() {
    let sandbox = with_shell();
    let mut terminal = sandbox.terminal(&["attach", "box"]);
    terminal.send("\n");
    control_jobs(&mut terminal);
    assert_eq!(terminal.wait().0, 0);
    let mut terminal = sandbox.terminal(&["start", "-ai", "box"]);
    control_jobs(&mut terminal);
    assert_eq!(terminal.wait().0, 0);
}

#[test]
fn a_program_in_a_terminal_gets_them_from_it() {
    let sandbox = Sandbox::new();
    let mut terminal = shell(&sandbox, TRAPS);
    terminal.expect("ready");
    for (key, said) in [
        (CTRL_C, "got INT"),
        (CTRL_BACKSLASH, "got QUIT"),
        (CTRL_Z, "got TSTP"),
    ] {
        terminal.send(key);
        terminal.expect(said);
    }
    terminal.signal(rustix::process::Signal::TERM);
    terminal.expect("bye");
    assert_eq!(terminal.wait().0, 7);
    // With an init even those that do not care.
    let run = [
        "run",
        "--rm",
        "--init",
        "-it",
        "busybox",
        "sh",
        "-c",
        "echo ready; exec sleep 1000",
    ];
    for (key, code) in [(CTRL_C, 130), (CTRL_BACKSLASH, 131)] {
        let mut terminal = sandbox.terminal(&run);
        terminal.expect("ready");
        terminal.send(key);
        assert_eq!(terminal.wait().0, code);
    }
}

#[test]
fn the_end_of_input_is_one() {
    let sandbox = Sandbox::new();
    let mut terminal = shell(&sandbox, "cat; echo over; exit 4");
    terminal.send("words\n");
    terminal.expect("words\r\nwords\r\n");
    terminal.send(CTRL_D);
    terminal.expect("over");
    assert_eq!(terminal.wait().0, 4);
    // Without a terminal in the container it is the client's.
    let mut terminal = sandbox.terminal(&[
        "run",
        "--rm",
        "-i",
        "busybox",
        "sh",
        "-c",
        "cat; echo over; exit 5",
    ]);
    terminal.send("words\n");
    terminal.expect("words\r\nwords\r\n");
    assert!(!terminal.is_raw());
    terminal.send(CTRL_D);
    terminal.expect("over");
    assert_eq!(terminal.wait().0, 5);
}

#[test]
fn without_a_terminal_they_are_sent_on() {
    let sandbox = Sandbox::new();
    let mut terminal = sandbox.terminal(&["run", "--rm", "busybox", "sh", "-c", TRAPS]);
    terminal.expect("ready");
    assert!(!terminal.is_raw());
    for (key, said) in [
        (CTRL_C, "got INT"),
        (CTRL_BACKSLASH, "got QUIT"),
        (CTRL_Z, "got TSTP"),
    ] {
        terminal.send(key);
        terminal.expect(said);
    }
    terminal.signal(rustix::process::Signal::TERM);
    assert_eq!(terminal.wait().0, 7);
    // Also with -t alone, which takes no keys, and from another client.
    let mut terminal =
        sandbox.terminal(&["run", "-t", "--name", "box", "busybox", "sh", "-c", TRAPS]);
    terminal.expect("ready");
    terminal.send(CTRL_C);
    terminal.expect("got INT");
    let mut other = sandbox.terminal(&["attach", "--no-stdin", "box"]);
    sandbox.ok(&["stop", "box"]);
    assert_eq!((terminal.wait().0, other.wait().0), (7, 7));
}

#[test]
fn unless_that_is_not_wanted() {
    let sandbox = Sandbox::new();
    let args = [
        "run",
        "--sig-proxy=false",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        TRAPS,
    ];
    let mut terminal = sandbox.terminal(&args);
    terminal.expect("ready");
    terminal.send(CTRL_C);
    assert!(matches!(terminal.wait().0, -2 | 130));
    assert!(is_running(&sandbox, "box"));
    let mut terminal = sandbox.terminal(&["attach", "--sig-proxy=false", "box"]);
    wait_for_clients(&sandbox, "box", 2);
    terminal.send(CTRL_C);
    assert!(matches!(terminal.wait().0, -2 | 130));
    assert!(is_running(&sandbox, "box"));
    // With it, by contrast.
    let mut terminal = sandbox.terminal(&["attach", "box"]);
    wait_for_clients(&sandbox, "box", 3);
    terminal.send(CTRL_C);
    terminal.expect("got INT");
    assert!(!sandbox.ok(&["logs", "box"]).contains("got INT\ngot INT"));
}

/// Waits until there has been an attached client for the `count`th time.
fn wait_for_clients(sandbox: &Sandbox, name: &str, count: usize) {
    let container = format!("container={name}");
    let args = [
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "-f",
        "event=attach",
        "-f",
        &container,
    ];
    wait_until("the client is attached", || {
        sandbox.ok(&args).lines().count() >= count
    });
}

#[test]
fn exec_without_a_terminal_ends_alone() {
    let sandbox = Sandbox::with_box(&[]);
    let mut terminal =
        sandbox.terminal(&["exec", "box", "sh", "-c", "echo ready; exec sleep 3333"]);
    terminal.expect("ready");
    terminal.send(CTRL_C);
    assert!(matches!(terminal.wait().0, -2 | 130));
    // As with docker, whose exec sends nothing on.
    assert!(sandbox.ok(&["exec", "box", "ps"]).contains("sleep 3333"));
}

#[test]
fn three_times_is_enough() {
    let sandbox = Sandbox::new();
    let deaf = "trap '' INT TERM; echo ready; while :; do sleep 0.02; done";
    let mut terminal = sandbox.terminal(&["run", "--name", "box", "busybox", "sh", "-c", deaf]);
    terminal.expect("ready");
    for _ in 0..3 {
        // One that has not been taken yet would hide the next.
        let taken = terminal.shown().matches("^C").count();
        terminal.send(CTRL_C);
        wait_until("it is echoed", || {
            terminal.look();
            terminal.shown().matches("^C").count() > taken
        });
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let (code, shown) = terminal.wait();
    assert!(
        code == 1 && shown.contains("forcefully exiting"),
        "{code}: {shown}"
    );
    assert!(is_running(&sandbox, "box"));
}
