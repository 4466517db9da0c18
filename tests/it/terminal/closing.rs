//! Ends: the terminal is as it was before whatever ends a client, and a terminal that is closed takes no container along.

use rustix::process::Signal;

use crate::sandbox::{Sandbox, Terminal, wait_until};

use super::{is_running, with_shell};

/// Types at a shell until it answers: the client is in raw mode then.
fn settle(terminal: &mut Terminal) {
    terminal.send("echo $((6 * 7))\n");
    terminal.expect("42");
    assert!(terminal.is_raw());
}

#[test]
fn a_client_that_is_asked_to_end_leaves_a_usable_terminal() {
    let sandbox = with_shell();
    let signals = [
        (Signal::TERM, -15),
        (Signal::HUP, -1),
        (Signal::INT, -2),
        (Signal::QUIT, -3),
    ];
    for args in [&["attach", "box"][..], &["exec", "-it", "box", "sh"]] {
        for (signal, code) in signals {
            let mut terminal = sandbox.terminal(args);
            settle(&mut terminal);
            terminal.signal(signal);
            assert_eq!(terminal.wait().0, code, "{args:?}");
            assert!(!terminal.is_raw(), "{args:?} {signal:?}");
        }
    }
    assert!(is_running(&sandbox, "box"));
    // run sends them on; to a program that does not listen they mean nothing, until they have come three times.
    let mut terminal = sandbox.terminal(&["run", "-it", "--name", "new", "busybox", "sh"]);
    settle(&mut terminal);
    for _ in 0..3 {
        terminal.signal(Signal::TERM);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let (code, shown) = terminal.wait();
    assert!(
        code == 1 && shown.contains("forcefully exiting"),
        "{code}: {shown}"
    );
    assert!(!terminal.is_raw());
    assert!(is_running(&sandbox, "new"));
}

#[test]
fn so_does_one_whose_container_is_ended_by_others() {
    let sandbox = Sandbox::new();
    for (end, code) in [
        (&["kill", "box"][..], 137),
        (&["rm", "-f", "box"], 137),
        (&["stop", "-t", "0", "box"], 137),
    ] {
        sandbox.aril(&["rm", "-f", "box"]);
        let mut first = sandbox.terminal(&["run", "-it", "--name", "box", "busybox", "sh"]);
        settle(&mut first);
        let mut second = sandbox.terminal(&["attach", "box"]);
        settle(&mut second);
        let mut third = sandbox.terminal(&["exec", "-it", "box", "sh"]);
        settle(&mut third);
        sandbox.ok(end);
        let ended = [&mut first, &mut second, &mut third].map(|it| (it.wait().0, it.is_raw()));
        assert_eq!(ended, [(code, false); 3], "{end:?}");
    }
}

#[test]
fn a_terminal_that_is_closed_leaves_the_container_running() {
    let sandbox = Sandbox::new();
    for rm in [&[][..], &["--rm"]] {
        let mut args = vec!["run", "-it", "--name", "box"];
        args.extend(rm);
        args.extend(["busybox", "sh"]);
        let mut terminal = sandbox.terminal(&args);
        settle(&mut terminal);
        terminal.close();
        assert!(is_running(&sandbox, "box"));
        // Somebody else goes on where it was.
        let mut terminal = sandbox.terminal(&["attach", "box"]);
        terminal.send("echo still $((40 + 3))\n");
        terminal.expect("still 43");
        terminal.close();
        assert!(is_running(&sandbox, "box"));
        let mut terminal = sandbox.terminal(&[
            "exec",
            "-it",
            "box",
            "sh",
            "-c",
            "echo ready; sleep 4444; exit",
        ]);
        terminal.expect("ready");
        terminal.close();
        assert!(is_running(&sandbox, "box"));
        sandbox.ok(&["rm", "-f", "box"]);
    }
}

#[test]
fn neither_does_one_without_a_terminal_of_its_own() {
    let sandbox = Sandbox::new();
    // The signal of the terminal's end is sent on, and the program may do with it what it likes.
    let script = "trap 'echo got hup' HUP; echo ready; while :; do sleep 0.02; done";
    let mut terminal = sandbox.terminal(&["run", "--name", "box", "busybox", "sh", "-c", script]);
    terminal.expect("ready");
    terminal.signal(Signal::HUP);
    terminal.expect("got hup");
    terminal.signal(Signal::KILL);
    assert_eq!(terminal.wait().0, -9);
    assert!(is_running(&sandbox, "box"));
    wait_until("the log goes on", || {
        sandbox.ok(&["logs", "box"]).contains("got hup")
    });
}

#[test]
fn a_client_that_was_stopped_goes_on() {
    let sandbox = Sandbox::with_box(&[]);
    let script = "echo ready; read line; echo got $line; exit 6";
    let mut terminal = sandbox.terminal(&["exec", "-it", "box", "sh", "-c", script]);
    terminal.expect("ready");
    terminal.signal(Signal::STOP);
    terminal.send("words\n");
    terminal.signal(Signal::CONT);
    terminal.expect("got words");
    assert_eq!(terminal.wait().0, 6);
}

#[test]
fn a_failed_start_leaves_a_usable_terminal() {
    let sandbox = Sandbox::new();
    for (command, code) in [("nosuch", 127), ("/etc/passwd", 126)] {
        let mut terminal = sandbox.terminal(&["run", "--rm", "-it", "busybox", command]);
        assert_eq!(terminal.wait().0, code);
        assert!(!terminal.is_raw());
    }
}
