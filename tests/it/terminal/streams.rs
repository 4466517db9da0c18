//! Bytes: many at once, of several clients, and of those that only watch.

use std::fmt::Write as _;

use crate::sandbox::{Sandbox, wait_until};

use super::{is_running, shell, with_shell};

/// A MiB of lines as somebody might paste them.
fn lines() -> String {
    let mut text = String::new();
    for number in 0.. {
        writeln!(text, "line {number} of what somebody has pasted, with ümläuts and 100 % of its \\ backslashes").unwrap();
        if text.len() > 1 << 20 {
            return text;
        }
    }
    text
}

#[test]
fn a_paste_arrives_whole() {
    let sandbox = Sandbox::with_box(&[]);
    let text = lines();
    // As at a shell, with an echo, line by line; the end is that of the terminal.
    let mut terminal = sandbox.terminal(&[
        "exec",
        "-it",
        "box",
        "sh",
        "-c",
        "echo ready; cat > /tmp/pasted; echo done",
    ]);
    terminal.expect("ready");
    terminal.paste(text.as_bytes());
    terminal.paste(b"\x04");
    terminal.expect("done");
    assert_eq!(terminal.wait().0, 0);
    sandbox.ok(&["cp", "box:/tmp/pasted", "pasted"]);
    assert!(std::fs::read(sandbox.path("pasted")).unwrap() == text.as_bytes());
    // As for an editor: bytes, all but those that detach.
    let bytes: Vec<u8> = (0..1_u32 << 20)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .map(|b| if b == 0x10 { 0x20 } else { b })
        .collect();
    let script = format!(
        "stty raw -echo; echo ready; head -c {} > /tmp/raw; echo done",
        bytes.len()
    );
    for args in [
        &["exec", "-it", "box"][..],
        &["run", "--rm", "-it", "-v", "raw:/tmp", "busybox"],
    ] {
        let mut args = args.to_vec();
        args.extend(["sh", "-c", &script]);
        let mut terminal = sandbox.terminal(&args);
        terminal.expect("ready");
        terminal.paste(&bytes);
        terminal.expect("done");
        assert_eq!(terminal.wait().0, 0);
    }
    sandbox.ok(&["cp", "box:/tmp/raw", "raw"]);
    assert!(std::fs::read(sandbox.path("raw")).unwrap() == bytes);
    let place = sandbox.inspect("raw", "{{.Mountpoint}}");
    assert!(std::fs::read(format!("{place}/raw")).unwrap() == bytes);
}

#[test]
fn a_flood_of_output_arrives_whole() {
    let sandbox = Sandbox::new();
    let mut terminal = shell(&sandbox, "seq 1 100000; echo over");
    terminal.expect("over");
    let (code, shown) = terminal.wait();
    assert_eq!(code, 0);
    let numbers: Vec<u32> = shown.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(
        numbers.iter().copied().eq(1..=100_000),
        "{} lines",
        numbers.len()
    );
}

#[test]
fn two_clients_see_and_type_the_same() {
    let sandbox = with_shell();
    let mut first = sandbox.terminal(&["attach", "box"]);
    first.send("echo first $((1 + 1))\n");
    first.expect("first 2");
    let mut second = sandbox.terminal(&["attach", "box"]);
    second.send("echo second $((2 + 2))\n");
    second.expect("second 4");
    first.expect("second 4");
    first.send("echo third $((3 + 3))\n");
    first.expect("third 6");
    second.expect("third 6");
    // One leaves, the other stays.
    second.send("\u{10}\u{11}");
    assert_eq!(second.wait().0, 1);
    first.send("echo fourth $((4 + 4)); exit 8\n");
    first.expect("fourth 8");
    assert_eq!(first.wait().0, 8);
}

#[test]
fn one_who_only_watches_types_nothing() {
    let sandbox = with_shell();
    let mut watcher = sandbox.terminal(&["attach", "--no-stdin", "box"]);
    let mut typist = sandbox.terminal(&["attach", "box"]);
    // Both are there once both have seen something.
    wait_until("the watcher sees", || {
        typist.send("echo seen $((1 + 1))\n");
        typist.expect("seen 2");
        watcher.look();
        watcher.shown().contains("seen 2")
    });
    watcher.send("echo unheard > /tmp/unheard\n");
    watcher.expect("unheard");
    typist.send("ls /tmp/unheard; echo $((5 * 5))\n");
    typist.expect("No such file");
    typist.expect("25");
    assert!(!watcher.is_raw() && typist.is_raw());
    // It leaves as any program does.
    watcher.send("\u{3}");
    assert!(matches!(watcher.wait().0, -2 | 130));
    assert!(is_running(&sandbox, "box"));
    typist.send("exit 2\n");
    assert_eq!(typist.wait().0, 2);
}

#[test]
fn a_terminal_without_input() {
    let sandbox = Sandbox::new();
    // -t without -i: the program has a terminal of the right size, and nobody types.
    let script = "stty size < /dev/tty; tty; test -t 1 && echo out; read line || echo nothing";
    let mut terminal = sandbox.terminal_of(
        (21, 61),
        &[
            "run", "--rm", "-t", "--name", "box", "busybox", "sh", "-c", script,
        ],
    );
    terminal.expect("/dev/pts/0");
    terminal.expect("out");
    assert!(!terminal.is_raw());
    terminal.send("unheard\n");
    sandbox.ok(&["stop", "-t", "0", "box"]);
    let (code, shown) = terminal.wait();
    assert!(code == 137 && shown.contains("21 61"), "{shown}");
    // Into a pipe it is the same without the keys.
    let ran = sandbox.aril(&[
        "run",
        "--rm",
        "-t",
        "busybox",
        "sh",
        "-c",
        "echo a; echo b >&2",
    ]);
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (0, "a\r\nb\r\n", "")
    );
}

#[test]
fn input_that_is_no_terminal_is_refused_where_one_is_needed() {
    let sandbox = with_shell();
    sandbox.ok(&["create", "-it", "--name", "new", "busybox", "sh"]);
    for args in [
        &["attach", "box"][..],
        &["exec", "-it", "box", "true"],
        &["run", "-it", "busybox", "true"],
    ] {
        let error = sandbox.fails(1, args);
        assert!(
            error.contains("the input device is not a TTY"),
            "{args:?}: {error}"
        );
    }
    // None is needed by those who only watch.
    let mut watcher = sandbox.spawn(&["attach", "--no-stdin", "box"]);
    wait_until("the watcher sees", || {
        let mut typist = sandbox.terminal(&["attach", "box"]);
        typist.send("echo seen $((1 + 1))\n");
        typist.expect("seen 2");
        typist.send("\u{10}\u{11}");
        typist.wait();
        watcher.look().contains("seen 2")
    });
    sandbox.ok(&["rm", "-f", "box"]);
    assert_eq!(watcher.end().code, 137);
}

#[test]
fn bytes_of_pipes_are_not_touched_by_attach_and_start() {
    let sandbox = Sandbox::new();
    let bytes: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
    sandbox.ok(&[
        "create",
        "-i",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "cat; echo over >&2",
    ]);
    let ran = sandbox.feed(&["start", "-ai", "box"], &bytes);
    assert!(
        ran.code == 0 && ran.bytes == bytes,
        "{} came back",
        ran.bytes.len()
    );
    assert_eq!(ran.err, "over\n");
    sandbox.ok(&["start", "box"]);
    let ran = sandbox.feed(&["attach", "box"], &bytes);
    assert!(
        ran.code == 0 && ran.bytes == bytes,
        "{} came back",
        ran.bytes.len()
    );
    assert_eq!(ran.err, "over\n");
}

#[test]
fn a_shell_beside_one_that_is_stopped() {
    let sandbox = Sandbox::new();
    let mut terminal = sandbox.terminal(&[
        "run",
        "-it",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "sh; echo left",
    ]);
    terminal.expect("# ");
    terminal.send("kill -STOP $$\n");
    wait_until("it is stopped", || {
        sandbox.ok(&[
            "exec",
            "box",
            "sh",
            "-c",
            "ps -o stat,comm | grep -c '^T'; true",
        ]) != "0"
    });
    // What is typed meanwhile waits, and others work on.
    terminal.send("echo later $((50 + 5))\n");
    let mut other = sandbox.terminal(&["exec", "-it", "box", "sh"]);
    other.send("echo now $((60 + 6))\n");
    other.expect("now 66");
    assert!(!terminal.shown().contains("later 55"));
    other.send("kill -CONT $(ps -o pid,stat | awk '$2 ~ /^T/ { print $1 }'); exit\n");
    assert_eq!(other.wait().0, 0);
    terminal.expect("later 55");
    terminal.send("exit\n");
    terminal.expect("left");
    assert_eq!(terminal.wait().0, 0);
}
