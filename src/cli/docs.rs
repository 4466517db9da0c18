//! Hidden commands that print what packagers install: completions for shells, and manual pages.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;

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
    let script = match arguments.shell.as_str() {
        "bash" => BASH,
        "zsh" => ZSH,
        "fish" => FISH,
        other => {
            let why = format!("no completion for {other:?}: bash, zsh and fish have one");
            return Err(error::invalid(why).into());
        }
    };
    output::out(&script.replace("aril", context.face.name))?;
    Ok(0)
}

/// bash takes `:` and `=` for ends of words; what stands before them is not to be repeated.
const BASH: &str = r#"# bash completion for aril
_aril() {
    local -a words=()
    local name files= last
    COMPREPLY=()
    read -ra words <<<"${COMP_LINE:0:COMP_POINT}"
    [[ ${COMP_LINE:COMP_POINT-1:1} == [[:space:]] ]] && words+=("")
    last=${words[${#words[@]}-1]}
    while IFS=$'\t' read -r name _; do
        case $name in
            :files) files=1 ;;
            :nospace) compopt -o nospace 2>/dev/null ;;
            *) COMPREPLY+=("$name") ;;
        esac
    done < <("${words[0]}" __complete -- "${words[@]:1}" 2>/dev/null)
    if [[ -n $files ]]; then
        compopt -o filenames 2>/dev/null
        while IFS= read -r name; do COMPREPLY+=("$name"); done < <(compgen -f -- "${last#*=}")
    fi
    if [[ $last == *[:=]* ]]; then
        local before=${last%"${last##*[:=]}"}
        COMPREPLY=("${COMPREPLY[@]#"$before"}")
    fi
}
complete -F _aril aril
"#;

const ZSH: &str = r#"#compdef aril
_aril() {
    local -a found options
    local line name about files=
    while IFS= read -r line; do
        name=${line%%$'\t'*}
        about=${line#*$'\t'}
        case $name in
            :files) files=1 ;;
            :nospace) options+=(-S '') ;;
            $line) found+=("${name//:/\\:}") ;;
            *) found+=("${name//:/\\:}:$about") ;;
        esac
    done < <("${words[1]}" __complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)
    (( ${#found} )) && _describe aril found "${options[@]}"
    [[ -n $files ]] && _files
    return 0
}
if [[ ${funcstack[1]} == _aril ]]; then _aril "$@"; else compdef _aril aril; fi
"#;

const FISH: &str = r"# fish completion for aril
function __aril_complete
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    set -l found ($words[1] __complete -- $words[2..-1] $last 2>/dev/null)
    string match --invert --regex '^:(files|nospace)$' -- $found
    if contains -- :files $found
        __fish_complete_path $last
    end
end
complete --command aril --no-files --arguments '(__aril_complete)'
";

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
