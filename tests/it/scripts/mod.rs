//! Scripts as people write them for docker, `tests/scripts/`, run unchanged with `docker` a link to the program: what they do.

mod data;
mod jobs;
mod services;

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use crate::sandbox::{ARIL, Ran, Sandbox};

/// A machine on which `docker` is the program under test.
struct Machine(Sandbox);

impl Machine {
    fn new() -> Machine {
        let sandbox = Sandbox::new();
        std::fs::create_dir_all(sandbox.home("bin")).unwrap();
        symlink(ARIL, sandbox.home("bin/docker")).unwrap();
        Machine(sandbox)
    }

    /// Returns a command of this machine, with docker in its PATH.
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = self.0.command(program);
        let path = std::env::var("PATH").unwrap();
        let bin = self.0.home("bin");
        command
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("TMPDIR", self.0.home(""))
            .args(args);
        command
    }

    /// Returns a script as a command.
    fn script(&self, name: &str, args: &[&str]) -> Command {
        self.command(&path_of(name), args)
    }

    /// Runs a script to its end.
    #[track_caller]
    fn run(&self, name: &str, args: &[&str]) -> Ran {
        self.0.run(self.script(name, args))
    }

    /// Runs a script with `input` to its end.
    #[track_caller]
    fn feed(&self, name: &str, args: &[&str], input: &str) -> Ran {
        let mut running = self.0.start(self.script(name, args));
        running.feed_and_end(input.as_bytes())
    }

    /// Runs `docker ARGS`, which must succeed.
    #[track_caller]
    fn docker(&self, args: &[&str]) -> String {
        self.0.run(self.command("docker", args)).ok()
    }

    /// Starts a container that sleeps.
    #[track_caller]
    fn sleeper(&self, name: &str, options: &[&str]) {
        let mut args = vec!["run", "-d", "--name", name];
        args.extend(options);
        args.extend(["busybox", "sleep", "1000"]);
        self.docker(&args);
    }

    /// Makes an image of busybox that runs `script`.
    #[track_caller]
    fn image(&self, name: &str, script: &str) {
        let command = serde_json::to_string(&["sh", "-c", script]).unwrap();
        self.docker(&["create", "--name", "made", "busybox"]);
        let change = format!("CMD {command}");
        self.docker(&[
            "commit",
            "-c",
            &change,
            "-c",
            "ENV MODE=shipped",
            "made",
            name,
        ]);
        self.docker(&["rm", "made"]);
    }

    fn files(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.0.path(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path(name)).unwrap()
    }
}

fn path_of(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let path = folder.join(name);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert!(mode & 0o111 != 0, "{} can be run", path.display());
    path.into_os_string().into_string().unwrap()
}
