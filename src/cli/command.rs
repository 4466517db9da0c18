//! What a command is: its name, help and arguments, and the function that runs it; and the tree that they stand in.
//!
//! A clap command is built only for the command that is called, since building all of them takes longer than most
//! commands run.

use std::path::PathBuf;

use crate::cli::face::{Face, Failed};
use crate::dirs::Dirs;

/// A command, without what it does.
#[derive(Debug)]
pub struct Spec {
    /// `ls`
    pub name: &'static str,
    /// Other names in the same place: `list`.
    pub aliases: &'static [&'static str],
    /// One line, without a full stop.
    pub about: &'static str,
    /// What follows the name in the usage line: `[OPTIONS] CONTAINER [CONTAINER...]`.
    pub usage: &'static str,
    /// All ways to call it, if there are several: `container ls`, `ps`.
    pub paths: &'static [&'static str],
    /// How many arguments there are besides the options.
    pub arguments: Arguments,
    /// Whether options end at the first argument, because the rest is a command line of its own.
    pub stops_at_argument: bool,
    /// Adds the options and arguments: `Args::augment_args`.
    pub build: fn(clap::Command) -> clap::Command,
}

/// How many arguments a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arguments {
    /// None.
    None,
    /// This many.
    Exactly(usize),
    /// This many or more.
    AtLeast(usize),
    /// This many or fewer.
    AtMost(usize),
    /// From the first to the second number.
    Between(usize, usize),
    /// From the first to the second number, where docker takes exactly the first, and errors say so.
    Extended(usize, usize),
}

impl Arguments {
    /// Returns what docker says of `count` arguments, if they are the wrong number: `requires at least 1 argument`.
    pub fn refusal(self, count: usize) -> Option<String> {
        let some = |count: usize| match count {
            1 => "1 argument".to_owned(),
            count => format!("{count} arguments"),
        };
        match self {
            Arguments::None if count > 0 => Some("accepts no arguments".to_owned()),
            Arguments::Exactly(wanted) if count != wanted => {
                Some(format!("requires {}", some(wanted)))
            }
            Arguments::Extended(wanted, most) if !(wanted..=most).contains(&count) => {
                Some(format!("requires {}", some(wanted)))
            }
            Arguments::AtLeast(least) if count < least => {
                Some(format!("requires at least {}", some(least)))
            }
            Arguments::AtMost(most) if count > most => {
                Some(format!("requires at most {}", some(most)))
            }
            Arguments::Between(least, most) if !(least..=most).contains(&count) => Some(format!(
                "requires at least {least} and at most {}",
                some(most)
            )),
            _ => None,
        }
    }

    /// Returns the verb of docker's last line: "See" for commands with any number of arguments, else "Run".
    pub fn pointer(self) -> &'static str {
        match self {
            Arguments::AtLeast(_) => "See",
            _ => "Run",
        }
    }
}

/// What a command gets besides its arguments.
#[derive(Clone, Debug)]
pub struct Context {
    /// The name to answer under.
    pub face: Face,
    /// Options before the command.
    pub globals: Globals,
    /// The command as it was called, with the program's name: `docker container ls`.
    pub path: String,
}

/// Options before the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Globals {
    /// Folder of the client's `config.json`; `None` means `$DOCKER_CONFIG` or `~/.docker`.
    pub config: Option<PathBuf>,
    /// The engine's daemon.json; `None` means the first of its default places that exists.
    pub config_file: Option<PathBuf>,
    /// The context that an option or a variable names; nothing if the client's configuration may say it.
    pub context: Option<String>,
    /// Whether the log goes to stderr.
    pub debug: bool,
    /// What to log: `debug`, `info`, `warn`, `error` or `fatal`.
    pub log_level: String,
    /// Whether nothing was said of where state is kept, so that daemon.json may say it.
    pub root_is_default: bool,
    /// Where state is kept and runs.
    pub dirs: Dirs,
}

/// Runs a command with what clap made of its arguments; returns its exit code.
pub type Run = fn(&Context, &clap::ArgMatches) -> Result<u8, Failed>;

/// A place in the tree of commands.
#[derive(Debug)]
pub enum Node {
    /// A command, and what runs it; without that it is in the tree for its arguments' sake only, and nobody can call it.
    Command(&'static Spec, Option<Run>),
    /// A command for the program's own use, which no help shows.
    Hidden(&'static Spec, Run),
    /// Commands with a name in common.
    Group(&'static Group),
}

/// Commands with a name in common.
#[derive(Debug)]
pub struct Group {
    /// `container`
    pub name: &'static str,
    /// One line, without a full stop.
    pub about: &'static str,
    /// What its usage ends with where no command is named: `COMMAND`, or as docker has it for most, nothing.
    pub usage: &'static str,
    /// The commands.
    pub nodes: &'static [Node],
}

impl Node {
    /// Returns the name in its place.
    pub fn name(&self) -> &'static str {
        match self {
            Node::Command(spec, _) | Node::Hidden(spec, _) => spec.name,
            Node::Group(group) => group.name,
        }
    }

    /// Returns the line that help says of it.
    pub fn about(&self) -> &'static str {
        match self {
            Node::Command(spec, _) | Node::Hidden(spec, _) => spec.about,
            Node::Group(group) => group.about,
        }
    }

    /// Returns whether it can be called.
    pub fn runs(&self) -> bool {
        match self {
            Node::Command(_, run) => run.is_some(),
            Node::Hidden(..) => true,
            Node::Group(group) => group.nodes.iter().any(Node::runs),
        }
    }

    /// Returns whether help shows it.
    pub fn shown(&self) -> bool {
        self.runs() && !matches!(self, Node::Hidden(..))
    }

    /// Returns whether it is a command that stands in a group too: `stop`, `container stop`.
    pub fn stands_in_a_group(&self) -> bool {
        match self {
            Node::Command(spec, _) => !spec.paths.is_empty(),
            Node::Hidden(..) | Node::Group(_) => false,
        }
    }

    fn is_called(&self, name: &str) -> bool {
        match self {
            Node::Command(spec, _) | Node::Hidden(spec, _) => {
                spec.name == name || spec.aliases.contains(&name)
            }
            Node::Group(group) => group.name == name,
        }
    }
}

/// Returns the node of `nodes` that can be called by `name`.
pub fn find(nodes: &'static [Node], name: &str) -> Option<&'static Node> {
    nodes
        .iter()
        .find(|node| node.runs() && node.is_called(name))
}

/// Returns the name that somebody who typed `name` may have meant: one with at most two letters other, more or fewer.
pub fn nearest(nodes: &'static [Node], name: &str) -> Option<&'static str> {
    const FAR: usize = 3;
    let shown = nodes.iter().filter(|node| node.shown()).map(Node::name);
    let near = shown.map(|other| (distance(name, other), other));
    let (far, other) = near.min()?;
    (far < FAR && far < name.chars().count()).then_some(other)
}

/// How many letters must be changed, added or taken away (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Returns the clap command of `spec`: its options and arguments, and nothing that clap would print.
pub fn clap_command(spec: &Spec) -> clap::Command {
    let command = clap::Command::new(spec.name)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true);
    // What the arguments say of themselves is for readers of the code.
    (spec.build)(command).about(spec.about)
}

/// Returns the arguments of a command, of the type that its spec was built from.
pub fn arguments<A: clap::FromArgMatches>(matches: &clap::ArgMatches) -> Result<A, Failed> {
    Ok(A::from_arg_matches(matches).map_err(anyhow::Error::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_has_a_near_name() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "ps"), 2);
        let root = crate::cli::tree::ROOT;
        assert_eq!(nearest(root, "verson"), Some("version"));
        assert_eq!(nearest(root, "verisons"), None);
        assert_eq!(nearest(root, "x"), None);
    }

    #[test]
    fn refusals_are_dockers() {
        for (arguments, count, want) in [
            (Arguments::None, 0, None),
            (Arguments::None, 1, Some("accepts no arguments")),
            (Arguments::Exactly(1), 0, Some("requires 1 argument")),
            (Arguments::Exactly(2), 1, Some("requires 2 arguments")),
            (Arguments::Exactly(2), 2, None),
            (Arguments::Extended(1, 2), 0, Some("requires 1 argument")),
            (Arguments::Extended(1, 2), 2, None),
            (Arguments::Extended(1, 2), 3, Some("requires 1 argument")),
            (
                Arguments::AtLeast(1),
                0,
                Some("requires at least 1 argument"),
            ),
            (
                Arguments::AtLeast(2),
                1,
                Some("requires at least 2 arguments"),
            ),
            (Arguments::AtLeast(1), 9, None),
            (Arguments::AtMost(1), 2, Some("requires at most 1 argument")),
            (
                Arguments::Between(1, 2),
                0,
                Some("requires at least 1 and at most 2 arguments"),
            ),
            (
                Arguments::Between(1, 2),
                3,
                Some("requires at least 1 and at most 2 arguments"),
            ),
        ] {
            let got = arguments.refusal(count);
            assert_eq!(got.as_deref(), want, "{arguments:?} {count}");
        }
    }
}
