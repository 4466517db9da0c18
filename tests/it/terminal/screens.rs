//! Programs that fill the screen: an editor, a pager, and what is drawn again and again.

use crate::sandbox::{Sandbox, Terminal, wait_until};

use super::{shell, with_shell};

/// Writes a file with vi, changes it in a second session while the size changes, and leaves a third without saving.
fn edit(sandbox: &Sandbox, args: &[&str]) {
    let start = || -> Terminal {
        let mut terminal = sandbox.terminal(args);
        terminal.send("\n");
        terminal.expect("# ");
        terminal
    };
    let mut terminal = start();
    terminal.send("vi /tmp/letter\n");
    // An empty file has a column of these.
    terminal.expect("~");
    terminal.send("iDear all,\nthis is a line\nthis is anothrr\u{7f}\u{7f}er\u{1b}");
    terminal.expect("this is another");
    terminal.send(":wq\r");
    terminal.expect("# ");
    terminal.send("cat /tmp/letter | tr a-z A-Z\n");
    terminal.expect("DEAR ALL,\r\nTHIS IS A LINE\r\nTHIS IS ANOTHER\r\n");
    terminal.expect("# ");
    terminal.resize((12, 40));
    terminal.send("vi /tmp/letter\n");
    terminal.expect("/tmp/letter");
    // Down, to the end, append, up, delete the line.
    terminal.send("jA indeed\u{1b}");
    terminal.expect("indeed");
    terminal.resize((30, 100));
    terminal.send("kdd");
    terminal.send(":x\r");
    terminal.expect("# ");
    terminal.send("cat /tmp/letter | tr a-z A-Z\n");
    terminal.expect("THIS IS A LINE INDEED\r\nTHIS IS ANOTHER\r\n");
    terminal.expect("# ");
    terminal.send("vi /tmp/letter\n");
    terminal.expect("/tmp/letter");
    terminal.send("dGiall gone\u{1b}");
    terminal.expect("all gone");
    terminal.send(":q!\r");
    terminal.expect("# ");
    terminal.send("md5sum < /tmp/letter; exit\n");
    terminal.wait();
    assert_eq!(sandbox.ok(&["cp", "box:/tmp/letter", "letter"]), "");
    let letter = std::fs::read_to_string(sandbox.path("letter")).unwrap();
    assert_eq!(letter, "this is a line indeed\nthis is another\n");
}

#[test]
fn an_editor_in_exec() {
    edit(&Sandbox::with_box(&[]), &["exec", "-it", "box", "sh"]);
}

#[test]
fn an_editor_in_run() {
    edit(
        &Sandbox::new(),
        &["run", "-it", "--name", "box", "busybox", "sh"],
    );
}

#[test]
fn an_editor_in_attach() {
    edit(&with_shell(), &["attach", "box"]);
}

#[test]
fn a_pager_shows_what_fits() {
    let sandbox = Sandbox::with_box(&[]);
    sandbox.ok(&[
        "exec",
        "box",
        "sh",
        "-c",
        "seq 1 500 | sed 's/.*/line &./' > /tmp/lines",
    ]);
    let mut terminal = sandbox.terminal_of((10, 60), &["exec", "-it", "box", "less", "/tmp/lines"]);
    terminal.expect("line 9.");
    assert!(
        !terminal.shown().contains("line 11."),
        "{}",
        terminal.shown()
    );
    terminal.send(" ");
    terminal.expect("line 18.");
    terminal.send("G");
    terminal.expect("line 500.");
    terminal.expect("(END)");
    terminal.send("q");
    assert_eq!(terminal.wait().0, 0);
}

#[test]
fn top_is_drawn_again_and_ends() {
    let sandbox = Sandbox::with_box(&[]);
    let mut terminal = sandbox.terminal_of((20, 90), &["exec", "-it", "box", "top", "-d", "1"]);
    for _ in 0..2 {
        terminal.expect("PID  PPID USER");
        terminal.expect("sleep 1000");
    }
    terminal.send("q");
    assert_eq!(terminal.wait().0, 0);
    assert!(!terminal.is_raw());
}

#[test]
fn what_a_program_does_to_its_terminal_stays_inside() {
    let sandbox = Sandbox::new();
    let mut terminal = shell(
        &sandbox,
        "stty raw -echo -isig; echo ready; sleep 0.2; exit 9",
    );
    terminal.expect("ready");
    assert_eq!(terminal.wait().0, 9);
    assert!(!terminal.is_raw());
    // Escape sequences pass in both directions: the terminal is asked where its cursor is, and answers.
    let ask =
        r"stty raw -echo; printf '\033[6n'; dd bs=1 count=6 2>/dev/null | od -An -tx1; stty sane";
    let mut terminal = shell(&sandbox, ask);
    terminal.expect("\u{1b}[6n");
    terminal.send("\u{1b}[5;7R");
    terminal.expect("1b 5b 35 3b 37 52");
    wait_until("it ends", || terminal.wait().0 == 0);
}
