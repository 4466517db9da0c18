//! The name the program was called by, and what goes to stderr under that name.
//!
//! ```text
//! called as docker                                         called as aril
//! Error response from daemon: No such container: x         aril: No such container: x
//! docker: Error response from daemon: …                    aril: …
//!
//! Run 'docker run --help' for more information
//! ```
//!
//! Scripts match docker's texts, so nothing is added to them: as docker, a hint is printed only if a person reads stderr
//! at a terminal; as aril always.

use std::ffi::OsStr;
use std::io::IsTerminal as _;
use std::path::Path;

use super::output;
use crate::error;

/// Under which name the program answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Face {
    /// `docker` or `aril`.
    pub name: &'static str,
    /// Whether hints are printed.
    pub hints: bool,
}

/// A command that failed: what is said, and the exit code.
///
/// Made from an `anyhow::Error` by `?`, as an error of the command line itself with exit code 1; errors of the engine by
/// [`Failed::engine`].
#[derive(Debug)]
pub struct Failed {
    errors: Vec<Said>,
    /// The command whose help the user is pointed to.
    help: Option<&'static str>,
    /// Exit code.
    pub code: u8,
}

#[derive(Debug)]
struct Said {
    error: anyhow::Error,
    /// Whether docker's daemon would have said it.
    engine: bool,
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Failed {
        Failed::one(error, false)
    }
}

impl Failed {
    fn one(error: anyhow::Error, engine: bool) -> Failed {
        Failed {
            errors: vec![Said { error, engine }],
            help: None,
            code: 1,
        }
    }

    /// Returns the failure of an engine operation, for `map_err`: as docker it prints as the daemon's answer.
    ///
    /// That a name is empty, docker's client finds by itself.
    pub fn engine(error: anyhow::Error) -> Failed {
        let engine = !error::is_by_client(&error);
        Failed::one(error, engine)
    }

    /// Returns a failure that says nothing: what there was to say is printed, or the exit code is a program's.
    pub fn silent(code: u8) -> Failed {
        Failed {
            errors: Vec::new(),
            help: None,
            code,
        }
    }

    /// Returns the failure with another exit code.
    #[must_use]
    pub fn code(mut self, code: u8) -> Failed {
        self.code = code;
        self
    }

    /// Returns the failure of the options of `command` (`run` or `create`): exit code 125, and a pointer to the help.
    #[must_use]
    pub fn options_of(mut self, command: &'static str) -> Failed {
        self.help = Some(command);
        self.code(125)
    }

    /// Returns the failure of `run` between its options and the start of the program, with docker's exit code.
    ///
    /// 127 if the text says that the program or a file is not there, 126 if it may not be executed, else 125: docker
    /// decides by the text too.
    #[must_use]
    pub fn of_run(self) -> Failed {
        let says = |text: &str| {
            let mut errors = self.errors.iter();
            errors.any(|said| error::line(&said.error).contains(text))
        };
        let code = if says("executable file not found") || says("no such file or directory") {
            127
        } else if says("permission denied") || says("is a directory") {
            126
        } else {
            125
        };
        self.options_of("run").code(code)
    }

    /// Returns whether all that went wrong is that nobody reads on.
    pub fn is_broken_pipe(&self) -> bool {
        let mut errors = self.errors.iter();
        errors.all(|said| output::is_broken_pipe(&said.error))
    }

    /// Returns it as one that docker's client finds by itself.
    #[must_use]
    pub fn of_client(mut self) -> Failed {
        for said in &mut self.errors {
            said.engine = false;
        }
        self
    }

    /// Returns it as one of the engine before there was a container; of one that says nothing, only the code stays.
    #[must_use]
    pub fn of_engine(self, command: &'static str) -> Failed {
        if self.errors.is_empty() {
            return self;
        }
        self.options_of(command)
    }

    /// Returns the failures of several objects of one command as one, if there are any: a line each, exit code 1.
    pub fn all(failures: Vec<Failed>) -> Result<(), Failed> {
        if failures.is_empty() {
            return Ok(());
        }
        let errors = failures.into_iter().flat_map(|failed| failed.errors);
        Err(Failed {
            errors: errors.collect(),
            help: None,
            code: 1,
        })
    }
}

impl Face {
    /// Returns the face for a program that was called as `argv0`: docker's if its last part is `docker`.
    pub fn of(argv0: Option<&OsStr>) -> Face {
        let called = argv0.and_then(|argv0| Path::new(argv0).file_name());
        let docker = called == Some(OsStr::new("docker"));
        Face {
            name: if docker { "docker" } else { "aril" },
            hints: !docker || std::io::stderr().is_terminal(),
        }
    }

    /// Returns whether the program was called as docker.
    pub fn is_docker(&self) -> bool {
        self.name == "docker"
    }

    /// Returns what stderr gets for a failure, with its line ends; empty if there is nothing to say.
    pub fn text(&self, failed: &Failed) -> String {
        let mut text = String::new();
        for said in &failed.errors {
            text.push_str(&self.line(said, failed.help.is_some()));
            text.push('\n');
        }
        if let Some(command) = failed.help.filter(|_| self.is_docker()) {
            let help = format!("\nRun 'docker {command} --help' for more information\n");
            text.push_str(&help);
        }
        let hints = failed.errors.iter().map(|said| error::hint(&said.error));
        for hint in hints.flatten().filter(|_| self.hints) {
            text.push_str("hint: ");
            text.push_str(hint);
            text.push('\n');
        }
        text
    }

    fn line(&self, said: &Said, named: bool) -> String {
        let line = error::line(&said.error);
        if !self.is_docker() {
            // docker's client begins some texts of its own so.
            let line = line.strip_prefix("Error: ").unwrap_or(&line);
            return format!("{}: {line}", self.name);
        }
        let name = if named { "docker: " } else { "" };
        let daemon = if said.engine {
            "Error response from daemon: "
        } else {
            ""
        };
        format!("{name}{daemon}{line}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKER: Face = Face {
        name: "docker",
        hints: false,
    };
    const ARIL: Face = Face {
        name: "aril",
        hints: true,
    };

    fn missing(name: &str) -> anyhow::Error {
        let error = error::not_found(format!("No such container: {name}"));
        error::with_hint(error, "aril ps -a lists all containers")
    }

    #[test]
    fn the_face_is_the_name_of_the_program() {
        for (argv0, name) in [
            ("docker", "docker"),
            ("/usr/bin/docker", "docker"),
            ("./docker", "docker"),
            ("aril", "aril"),
            ("/opt/docker/aril", "aril"),
            ("docker.old", "aril"),
            ("", "aril"),
        ] {
            assert_eq!(Face::of(Some(OsStr::new(argv0))).name, name, "{argv0}");
        }
        assert_eq!(Face::of(None).name, "aril");
    }

    #[test]
    fn engine_errors_are_the_daemons_answers() {
        let failed = Failed::engine(missing("x"));
        assert_eq!(
            DOCKER.text(&failed),
            "Error response from daemon: No such container: x\n"
        );
        assert_eq!(
            ARIL.text(&failed),
            "aril: No such container: x\nhint: aril ps -a lists all containers\n"
        );
        assert_eq!(failed.code, 1);
        let client = Failed::from(anyhow::anyhow!("Error: No such object: x"));
        assert_eq!(DOCKER.text(&client), "Error: No such object: x\n");
        assert_eq!(ARIL.text(&client), "aril: No such object: x\n");
    }

    #[test]
    fn run_has_codes_and_a_pointer_to_its_help() {
        let check = |message: &'static str, code: u8| {
            let failed = Failed::engine(anyhow::anyhow!(message)).of_run();
            assert_eq!(failed.code, code, "{message}");
            let want = format!(
                "docker: Error response from daemon: {message}\n\nRun 'docker run --help' for more information\n"
            );
            assert_eq!(DOCKER.text(&failed), want);
            assert_eq!(ARIL.text(&failed), format!("aril: {message}\n"));
        };
        check("exec: \"x\": executable file not found in $PATH", 127);
        check("stat /x: no such file or directory", 127);
        check("exec: \"/etc\": is a directory: permission denied", 126);
        check("Minimum memory limit allowed is 6MB", 125);
        let options = Failed::from(anyhow::anyhow!("invalid publish")).options_of("create");
        assert_eq!(
            DOCKER.text(&options),
            "docker: invalid publish\n\nRun 'docker create --help' for more information\n"
        );
        assert_eq!(options.code, 125);
    }

    #[test]
    fn several_errors_are_a_line_each() {
        let failures = vec![Failed::engine(missing("a")), Failed::engine(missing("b"))];
        let failed = Failed::all(failures).unwrap_err();
        assert_eq!(
            DOCKER.text(&failed),
            "Error response from daemon: No such container: a\nError response from daemon: No such container: b\n"
        );
        assert!(Failed::all(Vec::new()).is_ok());
        assert_eq!(DOCKER.text(&Failed::silent(7)), "");
    }
}
