//! `aril exec`.

use crate::sandbox::{Sandbox, wait_until};

#[test]
fn output_input_and_exit_code_are_the_programs() {
    let sandbox = Sandbox::with_box(&[]);
    sandbox.aril(&["exec", "box", "echo", "hi"]).says("hi");
    let ran = sandbox.aril(&["exec", "box", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (7, "out\n", "err\n")
    );
    let input: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let ran = sandbox.feed(&["exec", "-i", "box", "cat"], &input);
    assert!(ran.bytes == input, "{} bytes", ran.bytes.len());
    sandbox.feed(&["exec", "box", "cat"], b"unheard").says("");
    assert_eq!(
        sandbox
            .aril(&["exec", "box", "sh", "-c", "kill -KILL $$"])
            .code,
        137
    );
}

#[test]
fn what_cannot_run_says_why() {
    let sandbox = Sandbox::with_box(&[]);
    let check = |code: i32, args: &[&str], text: &str| {
        let mut all = vec!["exec"];
        all.extend(args);
        let ran = sandbox.aril(&all);
        let said = format!("{}{}", ran.out, ran.err);
        assert_eq!(ran.code, code, "{args:?}: {said}");
        assert!(said.contains(text), "{args:?}: {said}");
    };
    check(
        127,
        &["box", "nosuch"],
        "executable file not found in $PATH",
    );
    check(127, &["box", "/bin/nosuch"], "no such file or directory");
    check(126, &["box", "/etc/passwd"], "permission denied");
    check(1, &["nosuch", "true"], "No such container: nosuch");
    check(1, &["box"], "requires at least 2 arguments");
    check(125, &["--nosuch", "box", "true"], "unknown flag: --nosuch");
    let ran = sandbox.aril(&["exec", "-u", "nosuch", "box", "true"]);
    assert_ne!(ran.code, 0);
    assert!(format!("{}{}", ran.out, ran.err).contains("nosuch"));
    sandbox.ok(&["stop", "-t", "0", "box"]);
    check(1, &["box", "true"], "is not running");
}

#[test]
fn options() {
    let sandbox = Sandbox::with_box(&["-e", "OF_RUN=1", "-w", "/tmp", "-u", "app"]);
    let check = |options: &[&str], script: &str, expected: &str| {
        let mut args = vec!["exec"];
        args.extend(options);
        args.extend(["box", "sh", "-c", script]);
        sandbox.aril(&args).says(expected);
    };
    check(&[], "echo $OF_RUN; pwd; id -u", "1\n/tmp\n1000");
    check(
        &["-e", "A=1", "--env", "OF_RUN=2"],
        "echo $A $OF_RUN",
        "1 2",
    );
    check(&["-w", "/etc"], "pwd", "/etc");
    check(&["-u", "0"], "id -u; echo $HOME", "0\n/root");
    check(&["--user", "1000:7"], "id -u; id -g", "1000\n7");
    let file = sandbox.write("env", "FROM_FILE=yes\n");
    check(&["--env-file", &file], "echo $FROM_FILE", "yes");
    // All capabilities, and only for this process.
    check(
        &["--privileged", "-u", "0"],
        "grep CapEff /proc/self/status | cut -f2 | sed 's/^0*//' | cut -c1",
        "1",
    );
    check(
        &["-u", "0"],
        "grep CapEff /proc/self/status | cut -f2",
        "00000000a80425fb",
    );
}

#[test]
fn it_is_in_the_containers_namespaces_cgroup_and_limits() {
    let sandbox = Sandbox::with_box(&[
        "--ulimit",
        "nofile=77:88",
        "--cap-drop",
        "CHOWN",
        "-m",
        "64m",
    ]);
    for namespace in ["pid", "mnt", "net", "ipc", "uts", "cgroup"] {
        let script = format!(
            "test $(readlink /proc/1/ns/{namespace}) = $(readlink /proc/self/ns/{namespace}) && echo same"
        );
        sandbox
            .aril(&["exec", "box", "sh", "-c", &script])
            .says("same");
    }
    sandbox
        .aril(&[
            "exec",
            "box",
            "sh",
            "-c",
            "ulimit -n; cat /proc/self/cgroup | sed 's/.*://' | sort -u",
        ])
        .says("77\n/");
    let ran = sandbox.ok(&[
        "exec",
        "box",
        "sh",
        "-c",
        "grep -h CapBnd /proc/1/status /proc/self/status | sort -u | wc -l",
    ]);
    assert_eq!(ran, "1");
    let ran = sandbox.ok(&[
        "exec",
        "box",
        "sh",
        "-c",
        "grep -h Seccomp: /proc/1/status /proc/self/status | sort -u",
    ]);
    assert_eq!(ran, "Seccomp:\t2");
}

#[test]
fn in_the_background() {
    let sandbox = Sandbox::with_box(&[]);
    sandbox
        .aril(&[
            "exec",
            "-d",
            "box",
            "sh",
            "-c",
            "echo here > /tmp/file; sleep 1000",
        ])
        .says("");
    wait_until("the file is there", || {
        sandbox.aril(&["exec", "box", "cat", "/tmp/file"]).out == "here\n"
    });
    // The container's end is its end.
    sandbox.ok(&["rm", "-f", "box"]);
}

#[test]
fn in_a_terminal() {
    let sandbox = Sandbox::with_box(&[]);
    let mut terminal = sandbox.terminal_of((31, 99), &["exec", "-it", "box", "sh"]);
    terminal.send("stty size; tty\n");
    terminal.expect("31 99");
    terminal.expect("/dev/pts/");
    terminal.resize((10, 50));
    wait_until("the size has come", || {
        terminal.send("stty size\n");
        terminal.expect("stty size");
        terminal.expect("# ");
        terminal.shown().contains("10 50")
    });
    // ctrl-c ends what runs, and not the shell
    terminal.send("sleep 1000\n");
    terminal.expect("sleep 1000");
    wait_until("it sleeps", || {
        sandbox
            .ok(&["exec", "box", "ps"])
            .matches("sleep 1000")
            .count()
            >= 2
    });
    terminal.send("\u{3}");
    terminal.expect("# ");
    terminal.send("exit 5\n");
    assert_eq!(terminal.wait().0, 5);
    let error = sandbox.fails(1, &["exec", "-it", "box", "true"]);
    assert!(error.contains("the input device is not a TTY"), "{error}");
}

#[test]
fn detaching_leaves_the_program_running() {
    let sandbox = Sandbox::with_box(&[]);
    let mut terminal =
        sandbox.terminal(&["exec", "-it", "box", "sh", "-c", "echo ready; sleep 1234"]);
    terminal.expect("ready");
    terminal.send("\u{10}\u{11}");
    terminal.wait();
    assert!(sandbox.ok(&["exec", "box", "ps"]).contains("sleep 1234"));
}

#[test]
fn a_client_that_is_killed_leaves_the_container_well() {
    let sandbox = Sandbox::with_box(&[]);
    let mut running = sandbox.spawn(&["exec", "-i", "box", "cat"]);
    running.write(b"x\n");
    running.expect("x");
    running.signal(rustix::process::Signal::KILL);
    assert_eq!(running.end().code, -9);
    sandbox
        .aril(&["exec", "box", "echo", "still"])
        .says("still");
}

#[test]
fn not_while_it_is_paused() {
    let sandbox = Sandbox::with_box(&[]);
    sandbox.ok(&["pause", "box"]);
    let error = sandbox.fails(1, &["exec", "box", "true"]);
    assert!(
        error.contains("is paused, unpause the container before exec"),
        "{error}"
    );
    sandbox.ok(&["unpause", "box"]);
    sandbox.ok(&["exec", "box", "true"]);
}

#[test]
fn many_at_once() {
    let sandbox = Sandbox::with_box(&[]);
    let mut all: Vec<_> = (0..20)
        .map(|n| {
            let script = format!("sleep 0.1; echo {n}; exit {n}");
            (n, sandbox.spawn(&["exec", "box", "sh", "-c", &script]))
        })
        .collect();
    for (n, running) in all.drain(..) {
        let ran = running.end();
        assert_eq!((ran.code, ran.out), (n, format!("{n}\n")));
    }
}

#[test]
fn the_real_cause_is_told_beside_dockers_words() {
    let sandbox = Sandbox::with_box(&["--tmpfs", "/mem"]);
    let files = "
printf '#!/bin/sh\\r\\necho x\\n' > /crlf; printf '#!/no/such\\n' > /lost; echo 'echo x' > /plain; mkdir /dir
chmod +x /crlf /lost; printf '#!/bin/sh\\n' > /mem/noexec; chmod +x /mem/noexec
printf '#!/bin/sh\\n' > /private; chmod 700 /private";
    sandbox.ok(&["exec", "box", "sh", "-c", files]);
    let exec = "OCI runtime exec failed: exec failed: unable to start container process: exec";
    for (options, program, code, text, hint) in [
        (
            &[][..],
            "/crlf",
            127,
            " /crlf: no such file or directory (its interpreter is \"/bin/sh\\r\"",
            "",
        ),
        (
            &[],
            "/lost",
            127,
            " /lost: no such file or directory (its interpreter /no/such: ",
            "",
        ),
        (
            &[],
            "/plain",
            126,
            ": \"/plain\": permission denied",
            "/plain is not executable, its mode is 644: chmod +x",
        ),
        (
            &[],
            "/dir",
            126,
            ": \"/dir\": is a directory: permission denied",
            "",
        ),
        (
            &[],
            "/mem/noexec",
            126,
            ": \"/mem/noexec\": permission denied",
            "/mem/noexec is on a mount with noexec",
        ),
        (
            &["-u", "1000"],
            "/private",
            126,
            ": \"/private\": permission denied",
            "/private has mode 700 and belongs to 0:0",
        ),
        (
            &[],
            "nosuch",
            127,
            ": \"nosuch\": executable file not found in $PATH",
            "",
        ),
    ] {
        let ran = sandbox.aril(&[&["exec"], options, &["box", program]].concat());
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.out.starts_with(&format!("{exec}{text}")), "{ran:?}");
        match hint {
            "" => assert_eq!(ran.err, "", "{ran:?}"),
            hint => assert!(ran.err.starts_with(&format!("hint: {hint}")), "{ran:?}"),
        }
    }
    let ran = sandbox.aril(&["exec", "-w", "tmp", "box", "pwd"]);
    assert_eq!(ran.code, 128);
    assert_eq!(
        ran.out,
        "OCI runtime exec failed: exec failed: Cwd must be an absolute path\r\n"
    );
}

#[test]
fn the_cause_of_a_start_that_was_refused_is_told_later_too() {
    let sandbox = Sandbox::new();
    // A start says it as well, and whoever asks later.
    let ran = sandbox.aril(&["run", "--name", "bad", "busybox", "/etc/passwd"]);
    assert_eq!(ran.code, 126);
    let hint = "hint: /etc/passwd is not executable, its mode is 644: chmod +x";
    assert!(ran.err.contains(hint), "{ran:?}");
    let why = sandbox.ok(&["why", "bad"]);
    assert!(
        why.contains(hint) && why.contains("permission denied"),
        "{why}"
    );
}
