//! Keys: those that detach, and those that are for the program although they could begin such a sequence.

use crate::sandbox::Sandbox;

use super::{SHOW_BYTES, is_running, with_shell};

const DETACH: &str = "\u{10}\u{11}";

#[test]
fn run_detaches_and_the_program_goes_on() {
    let sandbox = Sandbox::new();
    let mut terminal = sandbox.terminal(&["run", "-it", "--name", "box", "busybox", "sh"]);
    terminal.expect("# ");
    assert!(terminal.is_raw());
    terminal.send(DETACH);
    let (code, shown) = terminal.wait();
    assert!(code == 0 && !shown.contains("escape"), "{shown}");
    assert!(!terminal.is_raw());
    assert!(is_running(&sandbox, "box"));
    // With --rm it is removed at its end, and not at that of the client.
    let mut terminal = sandbox.terminal(&["run", "--rm", "-it", "--name", "gone", "busybox", "sh"]);
    terminal.expect("# ");
    terminal.send(DETACH);
    assert_eq!(terminal.wait().0, 0);
    assert!(is_running(&sandbox, "gone"));
    let mut terminal = sandbox.terminal(&["attach", "gone"]);
    terminal.send("exit 5\n");
    assert_eq!(terminal.wait().0, 5);
    crate::sandbox::wait_until("it is removed", || {
        sandbox.aril(&["inspect", "gone"]).code == 1
    });
}

#[test]
fn attach_start_and_exec_detach_too() {
    let sandbox = with_shell();
    sandbox.ok(&["create", "-it", "--name", "new", "busybox", "sh"]);
    let leaves = |args: &[&str], code: i32| {
        let mut terminal = sandbox.terminal(args);
        terminal.send("echo $((6 * 7))\n");
        terminal.expect("42");
        terminal.send(DETACH);
        let (ended, shown) = terminal.wait();
        assert_eq!(
            (ended, shown.contains("read escape sequence")),
            (code, code == 1),
            "{args:?}: {shown}"
        );
        assert!(!terminal.is_raw());
    };
    leaves(&["attach", "box"], 1);
    leaves(&["start", "-ai", "new"], 0);
    leaves(&["exec", "-it", "box", "sh"], 1);
    assert!(is_running(&sandbox, "box") && is_running(&sandbox, "new"));
}

#[test]
fn other_keys() {
    let sandbox = with_shell();
    let leaves = |args: &[&str], keys: &str| {
        let mut terminal = sandbox.terminal(args);
        // It has been read once it is answered.
        terminal.send("echo $((6 * 7))\n");
        terminal.expect("42");
        terminal.send(keys);
        terminal.wait();
    };
    leaves(&["attach", "--detach-keys", "ctrl-a,d", "box"], "\u{1}d");
    leaves(&["attach", "--detach-keys", "ctrl-@", "box"], "\0");
    leaves(
        &["attach", "--detach-keys=ctrl-],ctrl-\\,ctrl-_", "box"],
        "\u{1d}\u{1c}\u{1f}",
    );
    leaves(
        &["exec", "--detach-keys", "x,y,z", "-it", "box", "sh"],
        "xyz",
    );
    leaves(
        &[
            "run",
            "--detach-keys=ctrl-z",
            "-it",
            "--name",
            "new",
            "busybox",
            "sh",
        ],
        "\u{1a}",
    );
    assert!(is_running(&sandbox, "box") && is_running(&sandbox, "new"));
    for wrong in ["ctrl-ä", "ctrl-", "xy", ","] {
        let mut terminal = sandbox.terminal(&["attach", "--detach-keys", wrong, "box"]);
        let (code, shown) = terminal.wait();
        assert!(code != 0 && shown.contains(wrong), "{wrong}: {shown}");
    }
}

#[test]
fn the_default_keys_are_the_programs_where_others_are_given() {
    let sandbox = Sandbox::new();
    let keys = "ctrl-a,ctrl-b";
    let args = [
        "run",
        "-it",
        "--name",
        "box",
        "--detach-keys",
        keys,
        "busybox",
        "sh",
        "-c",
        SHOW_BYTES,
    ];
    let mut terminal = sandbox.terminal(&args);
    terminal.expect("ready");
    terminal.send(DETACH);
    terminal.expect(" 10");
    terminal.expect(" 11");
    // The first key twice: one of them is the program's.
    terminal.send("\u{1}\u{1}\u{2}");
    assert_eq!(terminal.wait().0, 0);
    sandbox.wait_for_log("box", " 01");
    assert_eq!(sandbox.ok(&["logs", "box"]).matches(" 01").count(), 1);
}

#[test]
fn the_start_of_a_sequence_is_passed_on_once_it_is_none() {
    let sandbox = Sandbox::with_box(&[]);
    let mut terminal = sandbox.terminal(&["exec", "-it", "box", "sh", "-c", SHOW_BYTES]);
    terminal.expect("ready");
    for (keys, bytes) in [
        ("\u{10}x", " 10\n 78"),
        ("\u{10}\u{10}y", " 10\n 10\n 79"),
        ("\u{11}\u{10}\u{3}", " 11\n 10\n 03"),
        ("ä\u{1b}[A", " c3\n a4\n 1b\n 5b\n 41"),
        ("\0\u{7f}", " 00\n 7f"),
    ] {
        terminal.send(keys);
        // The container's terminal is raw, so that a line ends without going back.
        terminal.expect(bytes);
    }
    // One by one, with time between them.
    terminal.send("\u{10}");
    let nothing = sandbox.ok(&["exec", "box", "echo", "time passes"]);
    assert_eq!(nothing, "time passes");
    terminal.send("\u{11}");
    assert_eq!(terminal.wait().0, 1);
}

#[test]
fn the_callers_configuration_may_say_which() {
    let sandbox = with_shell();
    std::fs::create_dir_all(sandbox.home(".docker")).unwrap();
    std::fs::write(
        sandbox.home(".docker/config.json"),
        r#"{"detachKeys": "ctrl-e,e"}"#,
    )
    .unwrap();
    let leaves = |args: &[&str], keys: &str| {
        let mut terminal = sandbox.terminal(args);
        terminal.send("echo $((6 * 7))\n");
        terminal.expect("42");
        terminal.send(keys);
        terminal.wait();
    };
    leaves(&["attach", "box"], "\u{5}e");
    leaves(&["exec", "-it", "box", "sh"], "\u{5}e");
    leaves(&["run", "-it", "--name", "new", "busybox", "sh"], "\u{5}e");
    // An option is stronger.
    leaves(&["attach", "--detach-keys", "ctrl-p,ctrl-q", "box"], DETACH);
    assert!(is_running(&sandbox, "box") && is_running(&sandbox, "new"));
}
