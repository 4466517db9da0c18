//! `aril logs`, and the files behind it.

use crate::sandbox::{Sandbox, wait_until};

fn ended(sandbox: &Sandbox, options: &[&str], script: &str) {
    let mut args = vec!["run", "-d", "--name", "box"];
    args.extend(options);
    args.extend(["busybox", "sh", "-c", script]);
    sandbox.ok(&args);
    sandbox.ok(&["wait", "box"]);
}

#[test]
fn streams_stay_apart_and_in_order() {
    let sandbox = Sandbox::new();
    ended(&sandbox, &[], "echo one; echo two >&2; printf three");
    let ran = sandbox.aril(&["logs", "box"]);
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (0, "one\nthree", "two\n")
    );
    let path = sandbox.inspect("box", "{{.LogPath}}");
    let lines = crate::sandbox::lines(&path);
    let parsed: Vec<serde_json::Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(parsed.len(), 3);
    let of = |stream: &str| {
        parsed
            .iter()
            .filter(|line| line["stream"] == stream)
            .map(|line| line["log"].as_str().unwrap())
            .collect::<String>()
    };
    assert_eq!(
        (of("stdout"), of("stderr")),
        ("one\nthree".to_owned(), "two\n".to_owned())
    );
}

#[test]
fn tail_and_times() {
    let sandbox = Sandbox::new();
    ended(
        &sandbox,
        &[],
        "for n in 1 2 3 4 5; do echo $n; sleep 0.01; done",
    );
    let says = |options: &[&str]| {
        let mut args = vec!["logs"];
        args.extend(options);
        args.push("box");
        sandbox.ok(&args)
    };
    assert_eq!(says(&["--tail", "2"]), "4\n5");
    assert_eq!(says(&["-n", "0"]), "");
    assert_eq!(says(&["-n", "all"]), "1\n2\n3\n4\n5");
    assert_eq!(says(&["--since", "1h"]), "1\n2\n3\n4\n5");
    assert_eq!(says(&["--until", "1h"]), "");
    assert_eq!(
        says(&["--since", "2001-01-01T00:00:00Z", "--until", "2001-01-02"]),
        ""
    );
    let stamped = says(&["-t", "-n", "1"]);
    let (time, rest) = stamped.split_once(' ').unwrap();
    assert_eq!(rest, "5");
    assert!(
        time.ends_with('Z') && time.len() == "2006-01-02T15:04:05.000000000Z".len(),
        "{time}"
    );
    // From the stamp of a line on, that line included, and whatever was read at the same moment.
    let all = says(&["-t"]);
    let later = all.lines().filter_map(|line| line.split_once(' '));
    let later: Vec<&str> = later
        .filter_map(|(stamp, text)| (stamp >= time).then_some(text))
        .collect();
    assert_eq!(says(&["--since", time]), later.join("\n"));
    let error = sandbox.fails(1, &["logs", "nosuch"]);
    assert!(error.contains("No such container: nosuch"), "{error}");
}

#[test]
fn following_ends_with_the_container() {
    let sandbox = Sandbox::new();
    let script = "echo first; while [ ! -e /go ]; do sleep 0.02; done; echo second; echo third >&2";
    sandbox.ok(&["run", "-d", "--name", "box", "busybox", "sh", "-c", script]);
    let mut following = sandbox.spawn(&["logs", "-f", "box"]);
    following.expect("first");
    assert!(!following.has_ended());
    sandbox.ok(&["exec", "box", "touch", "/go"]);
    following.expect("second");
    let ran = following.end();
    assert_eq!((ran.code, ran.err.as_str()), (0, "third\n"));
    // Of one that has ended, it ends at once.
    sandbox.ok(&["logs", "--follow", "box"]);
}

#[test]
fn they_outlive_a_restart_and_go_with_the_container() {
    let sandbox = Sandbox::new();
    ended(&sandbox, &[], "echo run");
    sandbox.ok(&["start", "box"]);
    sandbox.ok(&["wait", "box"]);
    assert_eq!(sandbox.ok(&["logs", "box"]), "run\nrun");
    let path = sandbox.inspect("box", "{{.LogPath}}");
    sandbox.ok(&["rm", "box"]);
    assert!(!std::path::Path::new(&path).exists());
}

#[test]
fn files_are_turned_over() {
    let sandbox = Sandbox::new();
    ended(
        &sandbox,
        &["--log-opt", "max-size=10k", "--log-opt", "max-file=3"],
        "n=0; while [ $n -lt 1000 ]; do n=$((n + 1)); echo line $n of a thousand; done",
    );
    let path = sandbox.inspect("box", "{{.LogPath}}");
    let size = |path: &str| std::fs::metadata(path).map_or(0, |meta| meta.len());
    for file in [path.clone(), format!("{path}.1"), format!("{path}.2")] {
        assert!(
            size(&file) > 0 && size(&file) <= 11_000,
            "{file} has {}",
            size(&file)
        );
    }
    assert_eq!(size(&format!("{path}.3")), 0);
    let said = sandbox.ok(&["logs", "box"]);
    assert!(said.ends_with("line 1000 of a thousand"), "{said}");
    let numbers: Vec<u32> = said
        .lines()
        .map(|line| line.split(' ').nth(1).unwrap().parse().unwrap())
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "no line is lost or twice"
    );
}

#[test]
fn none_is_kept_on_request() {
    let sandbox = Sandbox::new();
    ended(&sandbox, &["--log-driver", "none"], "echo unheard");
    let error = sandbox.fails(1, &["logs", "box"]);
    assert!(
        error.contains("configured logging driver does not support reading"),
        "{error}"
    );
}

#[test]
fn long_lines_and_odd_bytes_come_back_whole() {
    let sandbox = Sandbox::new();
    ended(
        &sandbox,
        &[],
        r#"head -c 100000 /dev/zero | tr '\0' x; echo; printf 'a\033[1mb<&>"\\ \n'"#,
    );
    let said = sandbox.aril(&["logs", "box"]).out;
    assert_eq!(said.len(), 100_001 + "a\u{1b}[1mb<&>\"\\ \n".len());
    assert!(said.ends_with("a\u{1b}[1mb<&>\"\\ \n"));
}

#[test]
fn of_a_terminal_they_are_as_shown() {
    let sandbox = Sandbox::new();
    ended(&sandbox, &["-t"], "echo out; echo err >&2");
    assert_eq!(sandbox.aril(&["logs", "box"]).out, "out\r\nerr\r\n");
}

#[test]
fn a_reader_that_leaves_is_no_harm() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "while :; do echo x; sleep 0.01; done",
    ]);
    sandbox.shell(&format!("{} logs -f box | head -n 3", crate::sandbox::ARIL));
    let count = || sandbox.ok(&["logs", "box"]).len();
    let before = count();
    wait_until("it goes on", || count() > before);
}
