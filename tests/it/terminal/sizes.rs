//! Sizes: at the start, and as they change, and what is shown where there is little room.

use crate::registry::server::Server;
use crate::sandbox::{Sandbox, Terminal, wait_until};

use super::with_shell;

/// Says how large its terminal is whenever it is told of a change.
const WATCH: &str = "trap 'echo now $(stty size)' WINCH; echo ready; while :; do sleep 0.02; done";

/// Changes the size several times at once, and then waits until the program has been told of the last one.
fn change(terminal: &mut Terminal) {
    for rows in 20..30 {
        terminal.resize((rows, 70));
    }
    terminal.expect("now 29 70");
    terminal.resize((50, 132));
    terminal.expect("now 50 132");
}

#[test]
fn run_tells_the_program() {
    let sandbox = Sandbox::new();
    let mut terminal = sandbox.terminal(&[
        "run", "--rm", "-it", "--name", "box", "busybox", "sh", "-c", WATCH,
    ]);
    terminal.expect("ready");
    change(&mut terminal);
    sandbox.ok(&["kill", "box"]);
    assert_eq!(terminal.wait().0, 137);
}

#[test]
fn exec_tells_the_program_and_no_other() {
    let sandbox = Sandbox::with_box(&["-t"]);
    let mut first = sandbox.terminal_of((11, 111), &["exec", "-it", "box", "sh", "-c", WATCH]);
    let mut second = sandbox.terminal_of((22, 122), &["exec", "-it", "box", "sh", "-c", WATCH]);
    first.expect("ready");
    second.expect("ready");
    change(&mut first);
    second.look();
    assert!(!second.shown().contains("now"), "{}", second.shown());
    change(&mut second);
}

#[test]
fn attach_brings_its_size_along() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["run", "-dit", "--name", "box", "busybox", "sh", "-c", WATCH]);
    sandbox.wait_for_log("box", "ready");
    let mut terminal = sandbox.terminal_of((17, 71), &["attach", "box"]);
    terminal.expect("now 17 71");
    terminal.resize((18, 72));
    terminal.expect("now 18 72");
    terminal.send("\u{10}\u{11}");
    terminal.wait();
    // The last one who comes or changes decides.
    let mut large = sandbox.terminal_of((60, 200), &["attach", "box"]);
    large.expect("now 60 200");
    let mut small = sandbox.terminal_of((10, 40), &["attach", "box"]);
    small.expect("now 10 40");
    large.expect("now 10 40");
    large.resize((61, 201));
    small.expect("now 61 201");
}

#[test]
fn start_has_it_from_the_beginning() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "create",
        "-it",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "sleep 0.2; stty size; exit 3",
    ]);
    let mut terminal = sandbox.terminal_of((19, 91), &["start", "-ai", "box"]);
    terminal.expect("19 91");
    assert_eq!(terminal.wait().0, 3);
}

#[test]
fn odd_sizes() {
    let sandbox = Sandbox::new();
    for (size, said) in [((2, 3), "2 3"), ((1000, 4000), "1000 4000")] {
        let mut terminal =
            sandbox.terminal_of(size, &["run", "--rm", "-it", "busybox", "stty", "size"]);
        let (code, shown) = terminal.wait();
        assert_eq!((code, shown.trim()), (0, said));
    }
    // One that knows no size, as on a serial line, is no reason to fail.
    let mut terminal =
        sandbox.terminal_of((0, 0), &["run", "--rm", "-it", "busybox", "echo", "hi"]);
    let (code, shown) = terminal.wait();
    assert_eq!((code, shown.trim()), (0, "hi"));
}

/// Returns the longest of the lines that a terminal of `columns` would show.
fn longest(text: &str) -> usize {
    let visible = |line: &str| {
        let mut count = 0;
        let mut escape = false;
        for character in line.chars() {
            match character {
                '\u{1b}' => escape = true,
                'A'..='Z' | 'a'..='z' if escape => escape = false,
                _ if escape => {}
                _ => count += 1,
            }
        }
        count
    };
    // A line that is drawn anew begins by being erased.
    let lines = text.lines().flat_map(|line| line.split("\u{1b}[2K"));
    lines.map(visible).max().unwrap_or(0)
}

#[test]
fn help_fits_into_narrow_terminals() {
    let sandbox = Sandbox::bare();
    for columns in [60, 80, 140] {
        let mut terminal = sandbox.terminal_of((24, columns), &["run", "--help"]);
        let (code, shown) = terminal.wait();
        assert_eq!(code, 0);
        assert!(
            longest(&shown) <= usize::from(columns),
            "{columns}: {shown}"
        );
    }
    // Where there is no room at all, words are not cut.
    let mut terminal = sandbox.terminal_of((24, 10), &["run", "--help"]);
    let (code, shown) = terminal.wait();
    assert!(code == 0 && shown.contains("--interactive"), "{shown}");
}

#[test]
fn progress_fits_into_narrow_terminals() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox);
    let reference = format!("{}/some/image:1", server.address);
    sandbox.ok(&["tag", "busybox", &reference]);
    for columns in [20, 79, 200] {
        let mut terminal = sandbox.terminal_of((24, columns), &["push", &reference]);
        let (code, shown) = terminal.wait();
        assert!(
            code == 0 && shown.contains("Pushed") || shown.contains("already exists"),
            "{shown}"
        );
        sandbox.ok(&["rmi", "-f", &reference, "busybox"]);
        let mut terminal = sandbox.terminal_of((24, columns), &["pull", &reference]);
        let (code, shown) = terminal.wait();
        assert!(code == 0 && shown.contains("Pull complete"), "{shown}");
        // A bar is drawn only where it has room on its line; then no line is wider than the terminal.
        assert_eq!(shown.contains("[="), columns >= 110, "{columns}: {shown}");
        if columns >= 110 {
            assert!(
                longest(&shown) <= usize::from(columns),
                "{columns}: {shown}"
            );
        }
        sandbox.ok(&["tag", &reference, "busybox"]);
    }
}

#[test]
fn tables_are_the_same_at_any_width() {
    let sandbox = with_shell();
    let name = "a".repeat(100);
    sandbox.ok(&["rename", "box", &name]);
    let listed = |columns| {
        let format = "table {{.Names}}\t{{.Image}}\t{{.Command}}\t{{.State}}";
        let mut terminal = sandbox.terminal_of((24, columns), &["ps", "--format", format]);
        let (code, shown) = terminal.wait();
        assert_eq!(code, 0);
        shown
    };
    let wide = listed(300);
    assert_eq!(listed(20), wide);
    assert!(wide.contains(&name), "{wide}");
    // What is drawn again and again begins at the same place.
    let mut terminal = sandbox.terminal_of((10, 30), &["stats"]);
    terminal.expect(&name);
    wait_until("it is drawn again", || {
        terminal.expect("\u{1b}[H");
        true
    });
    terminal.expect(&name);
    terminal.send("\u{3}");
    let (code, _) = terminal.wait();
    assert!(matches!(code, -2 | 130), "{code}");
}
