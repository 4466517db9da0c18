//! Runs the commands of a case: with aril on a machine of its own, or with docker when answers are recorded.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use super::files::{Answer, Case, Line, written};
use super::neutral;
use crate::sandbox::{ARIL, Ran, Sandbox, image};

/// What cases have besides a shell and `docker`: a wait for a condition, since a time is never enough on a busy machine.
const AWAIT: &str = r#"#!/bin/sh
# await CONDITION: until that command succeeds, for a minute at most.
tries=0
until sh -c "$1" >/dev/null 2>&1; do
  tries=$((tries + 1))
  [ $tries -lt 1200 ] || { echo "await: it never came to be: $1" >&2; exit 1; }
  sleep 0.05
done
"#;

/// Stands for an empty line of an output.
const EMPTY: &str = "<empty>";

/// Answers of aril to the commands of a case.
pub(super) fn replay(case: &Case) -> Vec<Answer> {
    println!("### {}", case.name);
    let sandbox = Sandbox::new();
    let bin = fill_bin(&sandbox.home("bin"), OsStr::new(ARIL));
    let work = sandbox.path("");
    let began = now();
    let run = |line: &Line| {
        let mut command = sandbox.command("sh");
        prepare(&mut command, &bin, line, &began);
        answer(line, &sandbox.run(command), &work)
    };
    case.commands.iter().map(run).collect()
}

/// Makes a folder with the commands that cases call; returns it.
fn fill_bin(bin: &Path, engine: &OsStr) -> PathBuf {
    std::fs::create_dir_all(bin).unwrap();
    std::os::unix::fs::symlink(engine, bin.join("docker")).unwrap();
    let wait = bin.join("await");
    std::fs::write(&wait, AWAIT).unwrap();
    std::fs::set_permissions(&wait, PermissionsExt::from_mode(0o755)).unwrap();
    bin.to_owned()
}

/// Seconds since 1970, as `--since` takes them.
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

fn prepare(command: &mut Command, bin: &Path, line: &Line, began: &str) {
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .args(["-c", &line.text])
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .env("NO_COLOR", "1")
        // When the case began, for events.
        .env("BEGAN", began)
        .env("COLUMNS", "300");
}

fn answer(line: &Line, ran: &Ran, work: &Path) -> Answer {
    let folder = work.to_str().unwrap().trim_end_matches('/');
    let mut lines = Vec::new();
    if line.heard {
        for line in neutral::lines(&ran.out, folder) {
            // An empty line of a file would be lost.
            lines.push(if line.is_empty() {
                EMPTY.to_owned()
            } else {
                line
            });
        }
        for line in neutral::lines(&ran.err, folder) {
            lines.push(format!("2> {line}").trim_end().to_owned());
        }
    }
    if ran.code != 0 {
        lines.push(format!("[{}]", ran.code));
    }
    Answer {
        command: line.text.clone(),
        lines,
    }
}

/// The docker whose answers are recorded; there is one, and one case after another has it.
pub(super) struct Docker {
    dir: PathBuf,
    bin: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Docker {
    /// Takes the docker that `program` talks to, which must have nothing but the image `busybox`.
    pub(super) fn lock(program: &OsStr) -> Docker {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let dir = std::env::temp_dir().join(format!("transcripts-{}", std::process::id()));
        let bin = fill_bin(&dir.join("bin"), program);
        let docker = Docker {
            dir,
            bin,
            _alone: alone,
        };
        let there = docker.shell(
            "docker ps -aq; docker volume ls -q; docker network ls -q --filter type=custom;
             docker images -a --format '{{.Repository}}:{{.Tag}}' | grep -vx busybox:latest",
        );
        assert_eq!(
            there.out, "",
            "this docker has something in it, which recording would remove"
        );
        docker
    }

    /// Runs the cases; returns a file of answers. Cases that are `known` with the same commands keep their answers.
    pub(super) fn record(&self, cases: &[Case], known: &HashMap<String, Vec<Answer>>) -> String {
        let mut text = String::new();
        for case in cases {
            if let Some(answers) = known.get(&case.name)
                && case.is_answered_by(answers)
            {
                text += &written(&case.name, answers);
                continue;
            }
            println!("### {}", case.name);
            self.clean();
            let work = self.dir.join("work");
            std::fs::create_dir_all(&work).unwrap();
            let began = now();
            let run = |line: &Line| answer(line, &self.run(line, (&work, &began)), &work);
            let said: Vec<Answer> = case.commands.iter().map(run).collect();
            std::fs::remove_dir_all(&work).unwrap();
            text += &written(&case.name, &said);
        }
        self.clean();
        text.trim_end().to_owned() + "\n"
    }

    /// Runs a command; one that waits for ever ends with 124.
    fn run(&self, line: &Line, (work, began): (&Path, &str)) -> Ran {
        let home = self.dir.join("home");
        std::fs::create_dir_all(&home).unwrap();
        let mut command = Command::new("timeout");
        command.args(["60", "sh"]);
        prepare(&mut command, &self.bin, line, began);
        command
            .current_dir(work)
            .env("HOME", home)
            .stdin(Stdio::null());
        Ran::from(command.output().unwrap())
    }

    fn shell(&self, script: &str) -> Ran {
        let line = Line {
            text: script.to_owned(),
            heard: true,
        };
        self.run(&line, (Path::new("/"), ""))
    }

    /// Leaves nothing in docker but the image.
    fn clean(&self) {
        self.shell(
            "docker rm -f -v $(docker ps -aq); docker volume rm $(docker volume ls -q);
             docker network rm $(docker network ls -q --filter type=custom);
             docker rmi -f $(docker images -a --format '{{.Repository}}:{{.Tag}} {{.ID}}' |
               grep -v '^busybox:latest ' | cut -d' ' -f1 | grep -v '<none>');
             docker image prune -f; docker image inspect busybox",
        );
        if self.shell("docker image inspect busybox").code != 0 {
            let import = format!(
                "tar -C {} -cf - . | docker import -c 'CMD [\"sh\"]' - busybox",
                image::rootfs().display()
            );
            let ran = self.shell(&import);
            assert_eq!(ran.code, 0, "{ran:?}");
        }
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            println!("remove {}: {error}", self.dir.display());
        }
    }
}
