//! `aril run` and `create`: exit codes, texts, and what each option does to the program that runs.

use crate::sandbox::{Sandbox, wait_until};

/// Checks what `run --rm OPTIONS busybox sh -c SCRIPT` says.
#[track_caller]
fn check(sandbox: &Sandbox, options: &[&str], script: &str, expected: &str) {
    let mut args = vec!["run", "--rm"];
    args.extend(options);
    args.extend(["busybox", "sh", "-c", script]);
    sandbox.aril(&args).says(expected);
}

#[test]
fn output_and_exit_code_are_the_programs() {
    let sandbox = Sandbox::new();
    let run = |script: &str| sandbox.aril(&["run", "--rm", "busybox", "sh", "-c", script]);
    run("echo hello").says("hello");
    let ran = run("echo out; echo oh >&2; exit 3");
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (3, "out\n", "oh\n")
    );
    assert_eq!(run("exit 255").code, 255);
    assert_eq!(run("kill -TERM $$").code, 0, "process 1 ignores it");
    let ran = sandbox.aril(&[
        "run",
        "--rm",
        "--init",
        "busybox",
        "sh",
        "-c",
        "kill -TERM $$",
    ]);
    assert_eq!(ran.code, 143);
    // Output is not text to us.
    let ran = run(r"printf '\377\000\200'");
    assert_eq!(ran.bytes, [0xff, 0, 0x80]);
}

#[test]
fn a_program_that_cannot_run_is_126_and_one_that_is_missing_127() {
    let sandbox = Sandbox::new();
    let check = |code: i32, program: &[&str], text: &str| {
        let mut args = vec!["run", "--rm", "busybox"];
        args.extend(program);
        let error = sandbox.fails(code, &args);
        assert!(error.contains(text), "{error}");
        assert!(!error.contains("panicked"), "{error}");
    };
    check(
        127,
        &["nosuch"],
        r#"exec: "nosuch": executable file not found in $PATH"#,
    );
    check(127, &["/bin/nosuch"], "no such file or directory");
    check(126, &["/etc/passwd"], "permission denied");
    check(126, &["/etc"], "is a directory");
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
    // Without --rm the container is left, with what went wrong, and who wants its id is told it.
    let ran = sandbox.aril(&["run", "-d", "--name", "wrong", "busybox", "nosuch"]);
    assert_eq!((ran.code, ran.out.len()), (127, 65), "{ran:?}");
    assert_eq!(
        sandbox.inspect("wrong", "{{.State.Status}} {{.State.ExitCode}}"),
        "created 127"
    );
    assert!(
        sandbox
            .inspect("wrong", "{{.State.Error}}")
            .contains("executable file not found")
    );
}

#[test]
fn what_is_wrong_with_a_request_is_125() {
    let sandbox = Sandbox::new();
    let check = |args: &[&str], text: &str| {
        let mut all = vec!["run", "--rm"];
        all.extend(args);
        let error = sandbox.fails(125, &all);
        assert!(error.contains(text), "{args:?}: {error}");
    };
    check(&["--nosuch", "busybox"], "unknown flag: --nosuch");
    check(
        &["-m", "x", "busybox"],
        "invalid argument \"x\" for \"-m, --memory\" flag",
    );
    check(
        &["-m", "1m", "busybox"],
        "Minimum memory limit allowed is 6MB",
    );
    check(
        &["--cpus", "1000", "busybox"],
        "ange of CPUs is from 0.01 to",
    );
    check(&["--cpuset-cpus", "999", "busybox"], "999");
    check(&["-v", "relative:/x/../..", "busybox"], "invalid");
    check(
        &["-v", "/nosuch", "-v", "x:relative", "busybox"],
        "relative",
    );
    check(
        &[
            "--mount",
            "type=bind,source=/nosuch/dir,target=/x",
            "busybox",
        ],
        "bind source path does not exist: /nosuch/dir",
    );
    check(
        &["--network", "container:nosuch", "busybox"],
        "No such container: nosuch",
    );
    check(
        &["--volumes-from", "nosuch", "busybox"],
        "No such container: nosuch",
    );
    check(
        &["--name", "a b", "busybox"],
        "Invalid container name (a b)",
    );
    check(&["-u", "nosuch", "busybox", "true"], "nosuch");
    check(&["-w", "relative", "busybox"], "relative");
    check(&["--cap-add", "NOSUCH", "busybox"], "NOSUCH");
    check(&["--security-opt", "nosuch", "busybox"], "nosuch");
    check(&["--env-file", "nosuch", "busybox"], "nosuch");
    check(&["--ulimit", "nosuch=1", "busybox"], "nosuch");
    check(&["--pull", "sometimes", "busybox"], "sometimes");
    check(
        &["--pull", "never", "nosuch:image"],
        "No such image: nosuch:image",
    );
    check(&["Upper/Case"], "invalid reference format");
    check(
        &["--sysctl", "kernel.nosuch=1", "busybox", "true"],
        "kernel.nosuch",
    );
    check(&["--log-driver", "nosuch", "busybox", "true"], "nosuch");
    let error = sandbox.fails(1, &["run"]);
    assert!(error.contains("requires at least 1 argument"), "{error}");
    // None of them has left a container, a volume or a draft.
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "");
    assert_eq!(
        sandbox.shell("ls $ARIL_ROOT/tmp $ARIL_ROOT/trash | grep -v :"),
        ""
    );
    // Unless the text names a file that is not there, as docker has it.
    let missing = ["run", "--rm", "--device", "/dev/nosuch", "busybox", "true"];
    let error = sandbox.fails(127, &missing);
    assert!(error.contains("/dev/nosuch"), "{error}");
}

#[test]
fn names_are_unique() {
    let sandbox = Sandbox::new();
    let id = sandbox.ok(&["run", "-d", "--name", "web", "busybox", "sleep", "1000"]);
    let error = sandbox.fails(125, &["run", "--name", "web", "busybox", "true"]);
    assert!(
        error.contains(&format!(
            "Conflict. The container name \"/web\" is already in use by container \"{id}\". You have to remove \
             (or rename) that container to be able to reuse that name."
        )),
        "{error}"
    );
    assert_eq!(sandbox.ok(&["ps", "-aq", "--no-trunc"]), id);
}

#[test]
fn rm_removes_the_container_at_its_end() {
    let sandbox = Sandbox::new();
    let id = sandbox.ok(&[
        "run", "-d", "--rm", "-v", "/data", "busybox", "sleep", "0.2",
    ]);
    wait_until("it is removed", || sandbox.ok(&["ps", "-aq"]).is_empty());
    wait_until("its volume too", || {
        sandbox.ok(&["volume", "ls", "-q"]).is_empty()
    });
    assert!(!sandbox.root().join("containers").join(&id).exists());
    wait_until("its run folder too", || {
        !sandbox.run_dir().join(&id).exists()
    });
}

#[test]
fn environment_is_that_of_image_and_options() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("env", "# a comment\nFROM_FILE=a b\nOF_CALLER\nBOTH=file\n");
    let mut command = sandbox.aril_command(&[
        "run",
        "--rm",
        "-e",
        "ONE=1",
        "-e",
        "OF_CALLER2",
        "-e",
        "UNSET",
        "--env",
        "BOTH=flag",
        "-e",
        "EMPTY=",
        "--env-file",
        &file,
        "busybox",
        "env",
    ]);
    command
        .env("OF_CALLER", "file says")
        .env("OF_CALLER2", "flag says")
        .env("SECRET", "must not leak");
    let ran = sandbox.run(command).ok();
    let mut lines: Vec<&str> = ran
        .lines()
        .filter(|line| !line.starts_with("HOSTNAME="))
        .collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "BOTH=flag",
            "EMPTY=",
            "FROM_FILE=a b",
            "HOME=/root",
            "OF_CALLER2=flag says",
            "OF_CALLER=file says",
            "ONE=1",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ]
    );
    check(&sandbox, &["-t", "-e", "TERM=vt100"], "echo $TERM", "vt100");
    check(&sandbox, &["-t"], "echo $TERM", "xterm");
}

#[test]
fn user_group_and_directory() {
    let sandbox = Sandbox::new();
    check(&sandbox, &[], "id -u; id -g; pwd", "0\n0\n/");
    check(
        &sandbox,
        &["-u", "app"],
        "id -u; id -g; echo $HOME; pwd",
        "1000\n1000\n/home/app\n/",
    );
    check(
        &sandbox,
        &["-u", "1000"],
        "id -u; id -g; echo $HOME",
        "1000\n1000\n/home/app",
    );
    check(
        &sandbox,
        &["-u", "4321"],
        "id -u; id -g; echo $HOME",
        "4321\n0\n/",
    );
    check(&sandbox, &["-u", "4321:17"], "id -u; id -g", "4321\n17");
    check(&sandbox, &["-u", "root:app"], "id -u; id -g", "0\n1000");
    check(
        &sandbox,
        &["-u", "app", "--group-add", "7", "--group-add", "root"],
        "id -G | tr ' ' '\\n' | sort -n | tr '\\n' ' '",
        "0 7 1000",
    );
    // A directory that is not there is made.
    check(
        &sandbox,
        &["-w", "/new/place"],
        "pwd; ls -ld . | cut -c1-10",
        "/new/place\ndrwxr-xr-x",
    );
    check(&sandbox, &["--workdir=/tmp"], "pwd", "/tmp");
}

#[test]
fn names_of_the_machine() {
    let sandbox = Sandbox::new();
    check(
        &sandbox,
        &["-h", "web.example.com"],
        "hostname; cat /etc/hostname; echo $HOSTNAME",
        "web.example.com\nweb.example.com\nweb.example.com",
    );
    check(
        &sandbox,
        &["--hostname", "web", "--domainname", "example.com"],
        "hostname; cat /proc/sys/kernel/domainname",
        "web\nexample.com",
    );
    check(
        &sandbox,
        &["--add-host", "db:10.1.2.3", "--add-host=web=10.1.2.4"],
        "grep -F 10.1.2 /etc/hosts",
        "10.1.2.3\tdb\n10.1.2.4\tweb",
    );
    check(
        &sandbox,
        &[
            "--network",
            "none",
            "--dns",
            "10.9.9.9",
            "--dns-search",
            "example.com",
            "--dns-option",
            "ndots:3",
        ],
        "grep -E '^[a-z]' /etc/resolv.conf",
        "nameserver 10.9.9.9\nsearch example.com\noptions ndots:3",
    );
    let id = sandbox.ok(&["run", "-d", "--name", "box", "busybox", "hostname"]);
    sandbox.wait_for_log("box", &id[..12]);
    // The files are of the container, and may be written to.
    check(
        &sandbox,
        &[],
        "echo 10.0.0.1 x >> /etc/hosts && tail -n 1 /etc/hosts",
        "10.0.0.1 x",
    );
}

#[test]
fn entrypoint_and_command() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "--name", "base", "busybox"]);
    sandbox.ok(&[
        "commit",
        "-c",
        r#"ENTRYPOINT ["echo", "entry"]"#,
        "-c",
        r#"CMD ["cmd"]"#,
        "base",
        "both",
    ]);
    let says = |args: &[&str], expected: &str| {
        let mut all = vec!["run", "--rm"];
        all.extend(args);
        sandbox.aril(&all).says(expected);
    };
    says(&["both"], "entry cmd");
    says(&["both", "other", "words"], "entry other words");
    says(&["--entrypoint", "basename", "both", "/a/b"], "b");
    says(&["--entrypoint", "", "both", "echo", "bare"], "bare");
    // Another entry point does not get the image's arguments.
    says(&["--entrypoint", "echo", "both"], "");
    let error = sandbox.fails(125, &["run", "--rm", "--entrypoint", "", "both"]);
    assert!(
        error.to_lowercase().contains("no command specified"),
        "{error}"
    );
}

#[test]
fn labels_come_from_options_files_and_images() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("labels", "from.file=1\n# no\nbare\n");
    sandbox.ok(&[
        "create",
        "--name",
        "box",
        "-l",
        "one=1",
        "--label",
        "two",
        "--label-file",
        &file,
        "busybox",
    ]);
    assert_eq!(
        sandbox.inspect("box", "{{json .Config.Labels}}"),
        r#"{"from.file":"1","one":"1","two":""}"#
    );
}

#[test]
fn a_cidfile_holds_the_id_and_is_never_overwritten() {
    let sandbox = Sandbox::new();
    let id = sandbox.ok(&["create", "--cidfile", "id", "busybox"]);
    assert_eq!(std::fs::read_to_string(sandbox.path("id")).unwrap(), id);
    let error = sandbox.fails(125, &["run", "--rm", "--cidfile", "id", "busybox", "true"]);
    assert!(error.contains("container ID file found"), "{error}");
    assert_eq!(std::fs::read_to_string(sandbox.path("id")).unwrap(), id);
    // One that could not be made leaves no file.
    sandbox.fails(
        125,
        &["run", "--cidfile", "other", "--pull", "never", "nosuch"],
    );
    assert!(!sandbox.path("other").exists());
}

#[test]
fn streams_are_attached_as_asked() {
    let sandbox = Sandbox::new();
    let script = "cat; echo out; echo err >&2";
    let run = |options: &[&str]| {
        let mut args = vec!["run", "--rm"];
        args.extend(options);
        args.extend(["busybox", "sh", "-c", script]);
        let ran = sandbox.feed(&args, b"in\n");
        assert_eq!(ran.code, 0);
        (ran.out, ran.err)
    };
    let pair = |out: &str, err: &str| (out.to_owned(), err.to_owned());
    assert_eq!(run(&[]), pair("out\n", "err\n"));
    assert_eq!(run(&["-i"]), pair("in\nout\n", "err\n"));
    assert_eq!(run(&["-a", "stdout"]), pair("out\n", ""));
    assert_eq!(run(&["-a", "stderr"]), pair("", "err\n"));
    assert_eq!(
        run(&["-i", "-a", "stdin", "-a", "stdout", "-a", "stderr"]),
        pair("in\nout\n", "err\n")
    );
}

#[test]
fn a_terminal_is_asked_for_where_there_is_none() {
    let sandbox = Sandbox::new();
    let error = sandbox.fails(1, &["run", "--rm", "-it", "busybox", "true"]);
    assert!(error.contains("the input device is not a TTY"), "{error}");
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
    check(
        &sandbox,
        &["-t"],
        "tty; test -t 0 && test -t 1 && test -t 2 && echo all",
        "/dev/pts/0\r\nall",
    );
}

#[test]
fn init_reaps_and_forwards() {
    let sandbox = Sandbox::new();
    check(
        &sandbox,
        &["--init"],
        "test $$ != 1 && cat /proc/1/comm",
        "docker-init",
    );
    let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let mut running = sandbox.spawn(&["run", "--rm", "--init", "busybox", "sh", "-c", script]);
    running.expect("ready");
    running.signal(rustix::process::Signal::TERM);
    let ran = running.end();
    assert_eq!((ran.code, ran.out.as_str()), (3, "ready\nbye\n"));
    // A child that loses its parent does not stay a zombie.
    check(
        &sandbox,
        &["--init"],
        "(sleep 0.1 &) ; sleep 0.5; grep -l '^State:.Z' /proc/[0-9]*/status | wc -l",
        "0",
    );
}

#[test]
fn the_platform_may_be_named() {
    let sandbox = Sandbox::new();
    sandbox
        .aril(&[
            "run",
            "--rm",
            "--platform",
            "linux/amd64",
            "busybox",
            "echo",
            "fits",
        ])
        .says("fits");
}

#[test]
fn resources_that_the_kernel_keeps_per_process() {
    let sandbox = Sandbox::new();
    check(
        &sandbox,
        &["--ulimit", "nofile=100:200", "--ulimit", "core=0"],
        "ulimit -n; ulimit -Hn; ulimit -c",
        "100\n200\n0",
    );
    check(
        &sandbox,
        &["--oom-score-adj", "321"],
        "cat /proc/self/oom_score_adj",
        "321",
    );
    check(
        &sandbox,
        &["--shm-size", "3m"],
        "df -k /dev/shm | tail -n 1 | awk '{print $2}'",
        "3072",
    );
    check(
        &sandbox,
        &[],
        "df -k /dev/shm | tail -n 1 | awk '{print $2}'",
        "65536",
    );
    check(
        &sandbox,
        &[
            "--sysctl",
            "net.ipv4.ip_forward=1",
            "--sysctl",
            "kernel.msgmax=9999",
        ],
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax",
        "1\n9999",
    );
}

#[test]
fn a_detached_run_prints_the_id_and_returns() {
    let sandbox = Sandbox::new();
    let id = sandbox.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    assert_eq!(id.len(), 64);
    assert_eq!(
        sandbox.inspect("box", "{{.Id}} {{.State.Running}}"),
        format!("{id} true")
    );
    let error = sandbox.fails(1, &["run", "-d", "-a", "stdout", "busybox", "true"]);
    assert!(
        error.contains("cannot specify both --attach and --detach"),
        "{error}"
    );
}

#[test]
fn quiet_detach_keys_and_signal_proxy_are_taken() {
    let sandbox = Sandbox::new();
    check(&sandbox, &["-q"], "echo x", "x");
    check(&sandbox, &["--detach-keys", "ctrl-a,b"], "echo x", "x");
    let error = sandbox.fails(
        1,
        &[
            "run",
            "--rm",
            "--detach-keys",
            "nosuch-key",
            "busybox",
            "true",
        ],
    );
    assert!(
        error.contains("nosuch-key") || error.contains("detach"),
        "{error}"
    );
    // Without proxying, the signal is the client's own.
    let mut running = sandbox.spawn(&[
        "run",
        "--name",
        "box",
        "--sig-proxy=false",
        "busybox",
        "sh",
        "-c",
        "echo ready; sleep 1000",
    ]);
    running.expect("ready");
    running.signal(rustix::process::Signal::TERM);
    assert_ne!(running.end().code, 0);
    assert_eq!(sandbox.inspect("box", "{{.State.Status}}"), "running");
}

#[test]
fn an_image_of_another_platform_is_refused_when_one_is_asked_for() {
    let sandbox = Sandbox::new();
    let run = |platform: &str| {
        sandbox.aril(&[
            "run",
            "--rm",
            "--pull",
            "never",
            "--platform",
            platform,
            "busybox",
            "echo",
            "hi",
        ])
    };
    run("linux/s390x").fails(
        125,
        "image with reference busybox was found but its platform (linux/amd64) does not match the specified platform (linux/s390x)",
    );
    run("linux/amd64").says("hi");
}
