//! Completion in shells, as a person with the tab key has it.

use crate::sandbox::{ARIL, Sandbox};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "--name", "web", "busybox"]);
    sandbox.ok(&["create", "--name", "worker", "busybox"]);
    sandbox.ok(&["run", "-d", "--name", "walker", "busybox", "sleep", "1000"]);
    sandbox.ok(&["tag", "busybox", "example.com/team/app:1.0"]);
    sandbox.ok(&["volume", "create", "data"]);
    sandbox
}

fn candidates(sandbox: &Sandbox, words: &[&str]) -> String {
    let lines = sandbox.ok(&[&["__complete", "--"], words].concat());
    let names: Vec<&str> = lines
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    names.join(" ")
}

#[test]
fn names_of_objects_come_by_what_they_are_wanted_for() {
    let sandbox = sandbox();
    let check = |words: &[&str], want: &str| {
        assert_eq!(candidates(&sandbox, words), want, "{words:?}");
    };
    check(&["stop", ""], "walker");
    check(&["start", "w"], "web worker");
    check(&["rm", "-f", "wo"], "worker");
    check(&["container", "logs", "we"], "web");
    check(&["run", "--network", ""], "bridge host none");
    check(&["run", "--rm", "-it", "ex"], "example.com/team/app:1.0");
    check(&["rmi", "b"], "busybox busybox:latest");
    check(&["volume", "rm", ""], "data");
    check(&["inspect", "d"], "data");
    check(&["cp", "web"], "web: :files :nospace");
    check(&["run", "-v", "d"], "data: :files :nospace");
    check(
        &["run", "--cap-add", "NET_"],
        "NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW",
    );
    check(&["run", "--ipc", "s"], "shareable");
    check(&["network", "connect", "b"], "bridge");
    check(&["network", "connect", "bridge", "we"], "web");
    check(&["update", "--restart", "u"], "unless-stopped");
    check(&["sto"], "stop");
    check(&["volume", "c"], "create");
    check(&["run", "--cpuset-c"], "--cpuset-cpus");
    check(&["run", "--pull=n"], "--pull=never");
}

/// Writes the script of a shell, with the program under test in its path.
fn script(sandbox: &Sandbox, shell: &str) -> String {
    let bin = sandbox.path("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::os::unix::fs::symlink(ARIL, bin.join("aril")).unwrap();
    let text = sandbox.ok(&["completion", shell]);
    let file = sandbox.write(&format!("completion.{shell}"), text);
    format!("export PATH={}:$PATH; . {file}", bin.display())
}

#[test]
fn bash_completes() {
    let sandbox = sandbox();
    let load = script(&sandbox, "bash");
    let check = |line: &str, want: &str| {
        let ask = format!(
            "{load}; COMP_LINE={line:?}; COMP_POINT=${{#COMP_LINE}}; _aril; printf '%s ' \"${{COMPREPLY[@]}}\""
        );
        let mut command = sandbox.command("bash");
        command.args(["-c", &ask]);
        assert_eq!(sandbox.run(command).ok().trim_end(), want, "{line}");
    };
    check("aril start w", "web worker");
    check("aril run example.com/team/app:", "1.0");
    check("aril run --network=", "bridge host none");
    check("aril cp web:/etc com", "completion.bash");
}

#[test]
fn fish_completes() {
    let sandbox = sandbox();
    let load = script(&sandbox, "fish");
    let check = |line: &str, want: &str| {
        let mut command = sandbox.command("fish");
        command.args([
            "--no-config",
            "-c",
            &format!("{load}; complete --do-complete {line:?}"),
        ]);
        let said = sandbox.run(command).ok();
        let names: Vec<&str> = said
            .lines()
            .filter_map(|line| line.split('\t').next())
            .collect();
        assert_eq!(names.join(" "), want, "{line}");
    };
    check("aril start w", "web worker");
    check("aril volume rm ", "data");
    check("aril network connect b", "bridge");
    check("aril rmi example", "example.com/team/app:1.0");
}

#[test]
fn zsh_takes_the_script() {
    let sandbox = sandbox();
    let load = script(&sandbox, "zsh");
    // What the completion system would get, without a terminal to type at.
    let check = |line: &str, want: &str| {
        let current = line.split(' ').count();
        let ask = format!(
            "autoload -Uz compinit; compinit -D -u; {load}; words=({line}); CURRENT={current}; \
             _describe() {{ print -l -- ${{(P)2}} }}; _aril"
        );
        let mut command = sandbox.command("zsh");
        command.args(["-f", "-c", &ask]);
        assert_eq!(sandbox.run(command).ok(), want, "{line}");
    };
    check("aril start w", "web\nworker");
    check("aril network rm b", "bridge");
    check("aril volume inspect d", "data");
    check("aril history example", "example.com/team/app:1.0");
}
