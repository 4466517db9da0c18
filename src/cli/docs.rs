//! Hidden commands that print what packagers install: completions for shells, and manual pages.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use clap_complete::aot::{Shell, generate};

use crate::cli::command::{self, Arguments, Context, Node, Spec};
use crate::cli::commands::spec;
use crate::cli::face::Failed;
use crate::cli::globals::GlobalArgs;
use crate::cli::{output, tree};
use crate::error;

/// Arguments of `completion`.
#[derive(Args, Clone, Debug, Default)]
pub struct CompletionArgs {
    /// bash, zsh or fish.
    #[arg(hide = true)]
    pub shell: String,
}

/// Arguments of `man`.
#[derive(Args, Clone, Debug, Default)]
pub struct ManArgs {
    /// Write the pages of the program and of all commands into a folder
    #[arg(long, value_name = "string")]
    pub into: Option<PathBuf>,
    /// The command whose page is wanted; none is the program's.
    #[arg(hide = true)]
    pub command: Vec<String>,
}

/// `completion`
pub const COMPLETION: Spec = Spec {
    about: "Print a completion script",
    usage: "bash|zsh|fish",
    arguments: Arguments::Exactly(1),
    ..spec("completion", CompletionArgs::augment_args)
};

/// `man`
pub const MAN: Spec = Spec {
    about: "Print a manual page",
    usage: "[OPTIONS] [COMMAND...]",
    arguments: Arguments::AtLeast(0),
    ..spec("man", ManArgs::augment_args)
};

/// Prints the completion script for a shell.
pub fn completion(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: CompletionArgs = command::arguments(matches)?;
    let shell = match arguments.shell.as_str() {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        other => {
            let why = format!("no completion for {other:?}: bash, zsh and fish have one");
            return Err(error::invalid(why).into());
        }
    };
    let mut script = Vec::new();
    generate(
        shell,
        &mut whole(context.face.name),
        context.face.name,
        &mut script,
    );
    output::out(&String::from_utf8_lossy(&script))?;
    Ok(0)
}

/// Prints the manual page of the program or of a command, or writes all of them.
pub fn man(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: ManArgs = command::arguments(matches)?;
    let mut page = whole(context.face.name);
    let mut title = context.face.name.to_owned();
    if let Some(folder) = &arguments.into {
        write_pages(&page, &title, folder)?;
        return Ok(0);
    }
    for name in &arguments.command {
        let Some(found) = page.find_subcommand(name) else {
            return Err(error::not_found(format!("no manual page: {title} {name}")).into());
        };
        page = found.clone();
        title = format!("{title}-{}", page.get_name());
    }
    output::out(&String::from_utf8_lossy(&render(&page, &title)?))?;
    Ok(0)
}

/// Writes `TITLE.1` of a command and the pages of all commands below it.
fn write_pages(page: &clap::Command, title: &str, folder: &Path) -> Result<()> {
    let path = folder.join(format!("{title}.1"));
    std::fs::write(&path, render(page, title)?)
        .with_context(|| format!("write {}", path.display()))?;
    for below in page.get_subcommands() {
        write_pages(below, &format!("{title}-{}", below.get_name()), folder)?;
    }
    Ok(())
}

fn render(page: &clap::Command, title: &str) -> Result<Vec<u8>> {
    let page = page
        .clone()
        .display_name(title.to_owned())
        .bin_name(title.replace('-', " "));
    let mut roff = Vec::new();
    let man = clap_mangen::Man::new(page).title(title.to_uppercase());
    man.render(&mut roff)
        .with_context(|| format!("make the manual page of {title}"))?;
    Ok(roff)
}

/// The whole tree as one clap command.
fn whole(name: &'static str) -> clap::Command {
    let root = clap::Command::new(name).disable_help_subcommand(true);
    // The arguments bring a description of their own.
    let root = GlobalArgs::augment_args(root)
        .about("Runs containers, without a daemon")
        .disable_version_flag(true);
    with_nodes(root, tree::ROOT)
}

fn with_nodes(parent: clap::Command, nodes: &'static [Node]) -> clap::Command {
    let shown = nodes.iter().filter(|node| node.shown());
    shown.fold(parent, |parent, node| {
        parent.subcommand(match node {
            Node::Command(spec, _) | Node::Hidden(spec, _) => {
                command::clap_command(spec).aliases(spec.aliases)
            }
            Node::Group(group) => {
                let empty = clap::Command::new(group.name)
                    .about(group.about)
                    .disable_help_subcommand(true);
                with_nodes(empty, group.nodes)
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_tree_is_sound() {
        whole("aril").debug_assert();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            generate(shell, &mut whole("docker"), "docker", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("version") && !script.contains("completion bash"));
        }
    }

    #[test]
    fn every_command_has_a_page() {
        let whole = whole("aril");
        let page = String::from_utf8(render(&whole, "aril").unwrap()).unwrap();
        assert!(
            page.contains("without a daemon") && page.contains(r"aril\-container(1)"),
            "{page}"
        );
        let ls = whole.find_subcommand("container").unwrap();
        let ls = ls.find_subcommand("ls").unwrap();
        let page = String::from_utf8(render(ls, "aril-container-ls").unwrap()).unwrap();
        assert!(page.contains("\\fBaril container ls\\fR"), "{page}");
    }
}
