//! A client and its container: input, terminal, detaching and attaching, signals.

use rustix::process::Signal;

use crate::sandbox::{Sandbox, wait_until};

#[test]
fn input_reaches_the_program_and_ends() {
    let sandbox = Sandbox::new();
    let input: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let ran = sandbox.feed(&["run", "--rm", "-i", "busybox", "cat"], &input);
    assert_eq!(ran.code, 0);
    assert!(ran.bytes == input, "{} bytes came back", ran.bytes.len());
    // The output goes on after the input has ended.
    let late = "cat > /dev/null; echo after the end";
    sandbox
        .feed(&["run", "--rm", "-i", "busybox", "sh", "-c", late], b"x")
        .says("after the end");
    // Without -i there is no input.
    let ran = sandbox.feed(&["run", "--rm", "busybox", "cat"], b"unheard");
    ran.says("");
}

#[test]
fn a_program_that_leaves_its_input_unread_is_waited_for() {
    let sandbox = Sandbox::new();
    let input = vec![b'x'; 1 << 20];
    let args = ["run", "--rm", "-i", "busybox", "sh", "-c", "exit 5"];
    assert_eq!(sandbox.feed(&args, &input).code, 5);
}

#[test]
fn a_terminal_has_its_size_from_the_first_byte_and_follows_it() {
    let sandbox = Sandbox::new();
    let mut terminal = sandbox.terminal_of(
        (33, 77),
        &[
            "run",
            "--rm",
            "-it",
            "busybox",
            "sh",
            "-c",
            "stty size; exec sh",
        ],
    );
    terminal.expect("33 77");
    assert!(terminal.is_raw());
    terminal.resize((20, 100));
    wait_until("the size has come", || {
        terminal.send("stty size\n");
        terminal.expect("stty size");
        terminal.expect("# ");
        terminal.shown().contains("20 100")
    });
    terminal.send("exit 4\n");
    assert_eq!(terminal.wait().0, 4);
}

#[test]
fn signals_are_sent_on() {
    let sandbox = Sandbox::new();
    let script = "trap 'echo got usr1' USR1; trap 'echo got term; exit 7' TERM; echo ready; \
                  while :; do sleep 0.05; done";
    let mut running = sandbox.spawn(&["run", "--rm", "busybox", "sh", "-c", script]);
    assert!(running.pid() > 0);
    running.expect("ready");
    running.signal(Signal::USR1);
    running.expect("got usr1");
    running.signal(Signal::TERM);
    running.expect("got term");
    assert_eq!(running.end().code, 7);
}

#[test]
fn a_line_at_a_time() {
    let sandbox = Sandbox::new();
    let mut running = sandbox.spawn(&["run", "--rm", "-i", "busybox", "cat"]);
    for line in ["one\n", "two\n"] {
        running.write(line.as_bytes());
        running.expect(line);
    }
    assert!(!running.has_ended());
    assert_eq!(running.end().code, 0);
}

#[test]
fn detached_with_a_terminal_its_shell_stays_alive() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["run", "-d", "-it", "--name", "box", "busybox", "sh"]);
    // The machine is the test's own.
    assert_eq!(sandbox.shell("ip -o link | grep -c ': lo:'"), "1");
    assert!(sandbox.inside(|| sandbox.path("").exists()));
    let mut terminal = sandbox.terminal(&["attach", "box"]);
    terminal.send("echo $((40 + 2))\n");
    terminal.expect("42");
    // ctrl-p ctrl-q
    terminal.send("\u{10}\u{11}");
    let (code, shown) = terminal.wait();
    assert_eq!(code, 1);
    assert!(shown.contains("read escape sequence"), "{shown}");
    assert_eq!(sandbox.inspect("box", "{{.State.Status}}"), "running");
    let mut terminal = sandbox.terminal(&["attach", "box"]);
    terminal.send("exit 6\n");
    assert_eq!(terminal.wait().0, 6);
    assert_eq!(sandbox.inspect("box", "{{.State.Status}}"), "exited");
}
