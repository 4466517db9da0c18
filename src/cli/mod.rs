//! The command line in front of the engine: parses what was typed, and prints what came back.
//!
//! ```text
//! argv ─ face (the name) ─ parse + globals ─ tree ─ parse + Spec ─▶ a command's run(context, matches)
//!                                                                    │ flags: options → docker::ContainerCreate
//!                                                                    ▼
//! stdout ◀─ output ◀─ format, inspector (template) ◀─ rows, human ◀─ what the engine returned
//! stderr ◀─ output ◀─ face ◀─ Failed
//! ```

pub mod command;
pub mod commands;
pub mod complete;
pub mod docs;
pub mod face;
pub mod flags;
pub mod format;
pub mod globals;
pub mod help;
pub mod human;
pub mod inspector;
pub mod interrupt;
pub mod log;
mod oci;
pub mod output;
pub mod parse;
pub mod preferences;
pub mod progress;
mod relay;
pub mod rows;
pub mod strconv;
pub mod template;
pub mod terminal;
pub mod tree;
pub mod values;
pub mod verbs;
pub mod version;

#[cfg(test)]
mod properties;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::Args as _;

use command::{Context, Group, Node, Run, Spec};
use face::{Face, Failed};
use globals::GlobalArgs;
use parse::{Misuse, Parsed};

use crate::engine::settle;
use crate::monitor::client;
use crate::sys::memory;

/// What a call of the program comes to.
enum Outcome {
    /// Text for stdout, and success.
    Help(String),
    /// Help for who asked for none: for stderr, and success.
    Overview(String),
    /// A command, and what it was called with.
    Command(Box<Context>, Run, Box<clap::ArgMatches>),
}

/// Under these names the program is an OCI runtime; the second is that of the one that it can stand in for.
const RUNTIME_NAMES: [&str; 2] = ["aril-oci", "runc"];
/// As the first argument this makes it one under any name.
const RUNTIME_COMMAND: &str = "runtime";

/// Runs the program as it was called; `arguments` begin with the program's name.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    memory::expect_small_blocks();
    let mut arguments: Vec<OsString> = arguments.collect();
    let name = arguments.first().map(Path::new).and_then(Path::file_name);
    if name.is_some_and(|name| {
        RUNTIME_NAMES
            .iter()
            .any(|runtime| name == OsStr::new(runtime))
    }) {
        return oci::main(&arguments);
    }
    if let [_, command, root, run, id] = arguments.as_slice()
        && command == client::COMMAND
    {
        return verbs::monitor::main(root, run, id);
    }
    if arguments
        .get(1)
        .is_some_and(|first| first == RUNTIME_COMMAND)
    {
        arguments.remove(0);
        return oci::main(&arguments);
    }
    ExitCode::from(run(arguments.into_iter()))
}

fn run(mut arguments: impl Iterator<Item = OsString>) -> u8 {
    let face = Face::of(arguments.next().as_deref());
    let arguments: Vec<String> = arguments
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let result = outcome(face, &arguments);
    let hint = |code: u8| {
        if let Some(hint) = parse::dash_hint(&arguments).filter(|_| face.hints && code != 0) {
            output::err(&format!("hint: {hint}\n"));
        }
        code
    };
    match result {
        Err(Stop::Misuse(misuse)) => {
            output::err(&format!("{}\n", misuse.text));
            hint(misuse.code)
        }
        Err(Stop::Unknown(misuse, near)) => {
            output::err(&format!("{}\n", misuse.text));
            if let Some(near) = near.filter(|_| face.hints) {
                output::err(&format!("hint: did you mean {near}?\n"));
            }
            hint(misuse.code)
        }
        Err(Stop::Failed(failed)) => {
            output::err(&face.text(&failed));
            hint(failed.code)
        }
        Ok(Outcome::Help(text)) => {
            let shown = output::out(&text).map(|()| 0).map_err(Failed::from);
            ended(face, shown).unwrap_or_else(|failed| failed.code)
        }
        Ok(Outcome::Overview(text)) => {
            output::err(&text);
            0
        }
        Ok(Outcome::Command(context, run, matches)) => {
            log::to_stderr(context.globals.debug);
            let ran = run(&context, &matches);
            settle::later(&context.globals.dirs);
            ended(face, ran).unwrap_or_else(|failed| hint(failed.code))
        }
    }
}

/// Returns the exit code of a command, or what went wrong, after that is said.
fn ended(face: Face, ran: Result<u8, Failed>) -> Result<u8, Failed> {
    let left = output::left_code();
    if let Err(failed) = &ran
        && !(left.is_some() && failed.is_broken_pipe())
    {
        output::err(&face.text(failed));
    }
    left.map_or(ran, Ok)
}

/// Why no command is reached.
enum Stop {
    Misuse(Misuse),
    /// No command has that name; the one that may be meant.
    Unknown(Misuse, Option<&'static str>),
    Failed(Failed),
}

impl From<Misuse> for Stop {
    fn from(misuse: Misuse) -> Stop {
        Stop::Misuse(misuse)
    }
}

impl From<Failed> for Stop {
    fn from(failed: Failed) -> Stop {
        Stop::Failed(failed)
    }
}

fn outcome(face: Face, arguments: &[String]) -> Result<Outcome, Stop> {
    let name = face.name;
    let (help, matches, rest) = parse::leading(&globals::PROGRAM, name, arguments)?;
    let global: GlobalArgs = command::arguments(&matches)?;
    if help && rest.is_empty() {
        return Ok(Outcome::Help(root_help(name)));
    }
    // As with docker, a command beside it is what is meant.
    if global.version && rest.is_empty() {
        return Ok(Outcome::Help(version::line(face)));
    }
    let variable = |name: &str| std::env::var(name).ok();
    let context = Context {
        face,
        globals: globals::globals(&global, &variable).map_err(Failed::from)?,
        path: name.to_owned(),
    };
    match rest {
        [] => Ok(Outcome::Overview(root_help(name))),
        [first, rest @ ..] if first == "help" => topic(name, rest),
        rest => descend(context, tree::ROOT, None, (rest, help)),
    }
}

fn root_help(name: &str) -> String {
    let globals = command::clap_command(&globals::PROGRAM);
    let hide_legacy = std::env::var("DOCKER_HIDE_LEGACY_COMMANDS").is_ok_and(|it| !it.is_empty());
    help::root(name, &globals, hide_legacy, output::width())
}

/// Finds the command that the first arguments name, and reads the others for it.
fn descend(
    mut context: Context,
    nodes: &'static [Node],
    group: Option<&'static Group>,
    (arguments, help): (&[String], bool),
) -> Result<Outcome, Stop> {
    let asks = |arguments: &[String]| arguments.iter().any(|text| text == "--help");
    let Some((first, rest)) = arguments.split_first() else {
        let text = group.map_or_else(String::new, |group| help::group(group, &context.path));
        return Ok(if help {
            Outcome::Help(text)
        } else {
            Outcome::Overview(text)
        });
    };
    let found = command::find(nodes, first);
    if let Some(group) = group
        && found.is_none()
    {
        // What stands where a command should be is an option, a call for help, or unknown.
        return in_group(group, &context.path, arguments);
    }
    match found {
        None if help || asks(rest) => Ok(Outcome::Help(root_help(&context.path))),
        None | Some(Node::Command(_, None)) => {
            let near = command::nearest(nodes, first);
            Err(Stop::Unknown(unknown(&context.path, first), near))
        }
        Some(Node::Group(group)) => {
            context.path = format!("{} {}", context.path, group.name);
            descend(context, group.nodes, Some(group), (rest, help))
        }
        Some(Node::Command(spec, Some(run)) | Node::Hidden(spec, run)) => {
            context.path = format!("{} {}", context.path, spec.name);
            call(context, spec, *run, (rest, help))
        }
    }
}

fn call(
    context: Context,
    spec: &'static Spec,
    run: Run,
    (arguments, help): (&[String], bool),
) -> Result<Outcome, Stop> {
    let shown = || help::command(spec, &context.path, output::width());
    if help {
        return Ok(Outcome::Help(shown()));
    }
    Ok(match parse::parse(spec, &context.path, arguments)? {
        Parsed::Help => Outcome::Help(shown()),
        Parsed::Matches(matches) => Outcome::Command(Box::new(context), run, Box::new(matches)),
    })
}

/// A group that was called without a command of it.
fn in_group(group: &'static Group, path: &str, arguments: &[String]) -> Result<Outcome, Stop> {
    /// Options of a group: none but the one for help.
    const NONE: Spec = commands::spec("", commands::Names::augment_args);
    let usage = group.usage;
    let spec = Spec {
        usage,
        arguments: command::Arguments::AtLeast(0),
        ..NONE
    };
    if let Parsed::Help = parse::parse(&spec, path, arguments)? {
        return Ok(Outcome::Help(help::group(group, path)));
    }
    let first = arguments.first().map_or("", String::as_str);
    let name = path.split(' ').next().unwrap_or_default();
    let misuse = Misuse {
        text: format!(
            "{name}: unknown command: {path} {first}\n\nUsage:  {}\n\nRun '{path} --help' for more information",
            [path, usage].join(" ").trim_end()
        ),
        code: 1,
    };
    Err(Stop::Unknown(misuse, command::nearest(group.nodes, first)))
}

fn unknown(path: &str, first: &str) -> Misuse {
    Misuse {
        text: format!(
            "{path}: unknown command: {path} {first}\n\nRun '{path} --help' for more information"
        ),
        code: 1,
    }
}

/// `help`, `help COMMAND`
fn topic(name: &str, arguments: &[String]) -> Result<Outcome, Stop> {
    let mut path = name.to_owned();
    let mut nodes = tree::ROOT;
    let mut text = root_help(name);
    for (index, argument) in arguments.iter().enumerate() {
        let topic = arguments[index..].join(" ");
        let unknown = || {
            let why = format!("unknown help topic: {topic}");
            Stop::Failed(crate::error::not_found(why).into())
        };
        match command::find(nodes, argument).ok_or_else(unknown)? {
            Node::Group(group) => {
                path = format!("{path} {}", group.name);
                nodes = group.nodes;
                text = help::group(group, &path);
            }
            Node::Command(spec, _) | Node::Hidden(spec, _) => {
                path = format!("{path} {}", spec.name);
                nodes = &[];
                text = help::command(spec, &path, output::width());
            }
        }
    }
    Ok(Outcome::Help(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKER: Face = Face {
        name: "docker",
        hints: false,
    };

    /// What the arguments come to: `help:`, `overview:` or `run:` and text, or a complaint and its code.
    fn check(line: &str, want: &str) {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
        let got = match outcome(DOCKER, &arguments) {
            Ok(Outcome::Help(text)) => format!("help: {}", first(&text)),
            Ok(Outcome::Overview(text)) => format!("overview: {}", first(&text)),
            Ok(Outcome::Command(context, ..)) => format!("run: {}", context.path),
            Err(Stop::Misuse(misuse) | Stop::Unknown(misuse, _)) => {
                format!("{}: {}", misuse.code, first(&misuse.text))
            }
            Err(Stop::Failed(failed)) => {
                format!("{}: {}", failed.code, first(&DOCKER.text(&failed)))
            }
        };
        assert_eq!(got, want, "{line}");
    }

    #[test]
    fn calls() {
        const ROOT: &str = "Usage:  docker [OPTIONS] COMMAND";
        check("", &format!("overview: {ROOT}"));
        check("-D", &format!("overview: {ROOT}"));
        check("--help", &format!("help: {ROOT}"));
        check("-h", &format!("help: {ROOT}"));
        check("help", &format!("help: {ROOT}"));
        check("--help frob", &format!("help: {ROOT}"));
        check("frob --help", &format!("help: {ROOT}"));
        check("--help version", "help: Usage:  docker version [OPTIONS]");
        check("help version", "help: Usage:  docker version [OPTIONS]");
        check("version --help", "help: Usage:  docker version [OPTIONS]");
        check("help frob x", "1: unknown help topic: frob x");
        check("help version x", "1: unknown help topic: x");
        check("--version", "help: Docker version 28.5.2, build aril-0.1.0");
        check("version", "run: docker version");
        check("-D -l debug version", "run: docker version");
        check("--root /x --run=/y version", "run: docker version");
    }

    #[test]
    fn wrong_calls() {
        check("frob", "1: docker: unknown command: docker frob");
        check(
            "version x",
            "1: docker: 'docker version' accepts no arguments",
        );
        check("version --x", "125: unknown flag: --x");
        check("version -D", "125: unknown shorthand flag: 'D' in -D");
        check("--nosuch version", "125: unknown flag: --nosuch");
        check("-H", "125: flag needs an argument: 'H' in -H");
        check("-l nope version", "1: Unable to parse logging level: nope");
        check(
            "--root x version",
            "1: the folder \"x\" is not an absolute path",
        );
        check("-c other version", "run: docker version");
        check(
            "-c default -H unix:///x version",
            "1: conflicting options: cannot specify both --host and --context",
        );
        check(
            "-H tcp://x:1 version",
            "1: cannot connect to tcp://x:1: aril runs containers on this machine only",
        );
    }

    #[test]
    fn a_group_without_a_command_is_an_overview() {
        static GROUP: Group = Group {
            name: "thing",
            about: "Things",
            usage: "",
            nodes: &[Node::Command(
                &commands::system::VERSION,
                Some(version::run),
            )],
        };
        static NODES: &[Node] = &[Node::Group(&GROUP)];
        let check = |line: &str, want: &str| {
            let context = Context {
                face: DOCKER,
                globals: globals::globals(&GlobalArgs::default(), &|_| None).unwrap(),
                path: "docker".to_owned(),
            };
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let got = match descend(context, NODES, None, (&arguments, false)) {
                Ok(Outcome::Help(text)) => format!("help: {text}"),
                Ok(Outcome::Overview(text)) => format!("overview: {text}"),
                Ok(Outcome::Command(context, ..)) => format!("run: {}", context.path),
                Err(Stop::Misuse(misuse) | Stop::Unknown(misuse, _)) => {
                    format!("{}: {}", misuse.code, misuse.text)
                }
                Err(Stop::Failed(failed)) => format!("{}", failed.code),
            };
            assert_eq!(got, want, "{line}");
        };
        let help = "Usage:  docker thing COMMAND\n\nCommands for things\n\nCommands:\n  version     Show the version\n\nRun 'docker thing COMMAND --help' for more information on a command.\n";
        check("thing", &format!("overview: {help}"));
        check("thing --help", &format!("help: {help}"));
        check("thing frob --help", &format!("help: {help}"));
        check("thing version", "run: docker thing version");
        check(
            "thing frob",
            "1: docker: unknown command: docker thing frob\n\nUsage:  docker thing\n\nRun 'docker thing --help' for more information",
        );
        check(
            "thing -D version",
            "125: unknown shorthand flag: 'D' in -D\n\nUsage:  docker thing\n\nRun 'docker thing --help' for more information",
        );
    }
}
