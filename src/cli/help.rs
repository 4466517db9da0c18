//! Help in docker's layout, from the tree of commands and clap's options.

use crate::cli::command::{self, Group, Node, Spec};
use crate::cli::{parse, tree};

/// The narrowest column of names.
const NAME_WIDTH: usize = 11;
/// The narrowest column of texts beside options; below that they stand under them.
const TEXT_WIDTH_MIN: usize = 24;
/// Where texts stand that have no room beside options.
const TEXT_INDENT: usize = 16;

/// Returns the help of a command that was called as `path`, for lines of `width` columns.
pub fn command(spec: &Spec, path: &str, width: usize) -> String {
    let mut out = format!(
        "Usage:  {}\n\n{}\n",
        parse::usage_line(spec, path),
        spec.about
    );
    if !spec.paths.is_empty() {
        let name = path.split(' ').next().unwrap_or_default();
        let paths = spec.paths.iter().map(|path| format!("{name} {path}"));
        let paths: Vec<String> = paths.collect();
        out.extend(["\nAliases:\n  ", &paths.join(", "), "\n"]);
    }
    let options = options(&command::clap_command(spec), width);
    if !options.is_empty() {
        out.extend(["\nOptions:\n", &options]);
    }
    out
}

/// Returns the help of a group that was called as `path`.
pub fn group(group: &Group, path: &str) -> String {
    let about = format!("Commands for {}", group.about.to_lowercase());
    let about = match group.name {
        "system" => "Commands for this engine and machine".to_owned(),
        _ => about,
    };
    let nodes: Vec<&Node> = group.nodes.iter().filter(|node| node.shown()).collect();
    format!(
        "Usage:  {path} COMMAND\n\n{about}\n\nCommands:\n{}\n{}",
        names(&nodes),
        pointer(path)
    )
}

/// Returns the help of the program; `globals` are the options before the command. With `hide_legacy` commands are left out
/// that stand in a group too, but for the common ones.
pub fn root(name: &str, globals: &clap::Command, hide_legacy: bool, width: usize) -> String {
    let shown = || tree::ROOT.iter().filter(|node| node.shown());
    let is_hidden = |node: &&Node| hide_legacy && node.stands_in_a_group();
    let is_group = |node: &&Node| matches!(node, Node::Group(_));
    let is_common = |node: &&Node| tree::COMMON.contains(&node.name());
    let common = tree::COMMON.iter().filter_map(|name| {
        let mut nodes = shown().filter(|node| !is_group(node));
        nodes.find(|node| node.name() == *name)
    });
    let sections: [(&str, Vec<&Node>); 3] = [
        ("Common Commands", common.collect()),
        ("Management Commands", shown().filter(is_group).collect()),
        (
            "Commands",
            shown()
                .filter(|node| !is_group(node) && !is_common(node) && !is_hidden(node))
                .collect(),
        ),
    ];
    let mut out =
        format!("Usage:  {name} [OPTIONS] COMMAND\n\nRuns containers, without a daemon\n");
    for (title, nodes) in sections {
        if !nodes.is_empty() {
            out.extend(["\n", title, ":\n", &names(&nodes)]);
        }
    }
    let options = options(globals, width);
    out.extend(["\nGlobal Options:\n", &options, "\n", &pointer(name)]);
    out
}

fn pointer(path: &str) -> String {
    format!("Run '{path} COMMAND --help' for more information on a command.\n")
}

fn names(nodes: &[&Node]) -> String {
    let longest = nodes.iter().map(|node| node.name().len()).max();
    let width = longest.unwrap_or(0).max(NAME_WIDTH);
    let lines = nodes
        .iter()
        .map(|node| format!("  {:width$} {}\n", node.name(), node.about()));
    lines.collect()
}

/// The options of a command, sorted by name, with their types and what they are without being given.
fn options(command: &clap::Command, width: usize) -> String {
    let mut options: Vec<(String, String)> = command
        .get_arguments()
        .filter(|option| !option.is_positional() && !option.is_hide_set())
        .map(|option| (option.get_long().unwrap_or_default().to_owned(), option))
        .map(|(name, option)| {
            let short = match option.get_short() {
                Some(short) => format!("-{short}, "),
                None => "    ".to_owned(),
            };
            let kind = option
                .get_value_names()
                .and_then(|names| names.first())
                .filter(|kind| kind.chars().any(char::is_lowercase))
                .map(|kind| format!(" {kind}"));
            let kind = kind.unwrap_or_default();
            (format!("  {short}--{name}{kind}"), text(option))
        })
        .collect();
    options.sort_by(|(a, _), (b, _)| {
        a.trim_start_matches(not_name)
            .cmp(b.trim_start_matches(not_name))
    });
    let longest = options
        .iter()
        .map(|(option, _)| option.chars().count())
        .max();
    let indent = longest.unwrap_or(0) + 3;
    let room = width.saturating_sub(indent + 1);
    let lines = options.iter().map(|(option, text)| {
        if room < TEXT_WIDTH_MIN {
            let wrapped = wrap(text, width.saturating_sub(TEXT_INDENT + 1), TEXT_INDENT);
            let blank = " ".repeat(TEXT_INDENT);
            return format!("{option}\n{blank}{wrapped}\n");
        }
        let column = indent - option.chars().count();
        let blank = " ".repeat(column);
        format!("{option}{blank}{}\n", wrap(text, room, indent))
    });
    lines.collect()
}

/// Options sort by their name, not by their letter.
fn not_name(c: char) -> bool {
    !c.is_lowercase() || c == ','
}

fn text(option: &clap::Arg) -> String {
    let help = option
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let defaults = option.get_default_values();
    if option.is_hide_default_value_set() || defaults.is_empty() {
        return help;
    }
    let default = defaults[0].to_string_lossy();
    let is_text = option
        .get_value_names()
        .is_some_and(|names| names.first().is_some_and(|name| name.as_str() == "string"));
    if is_text {
        format!(
            "{help} (default {})",
            super::strconv::quote::quote(&default)
        )
    } else {
        format!("{help} (default {default})")
    }
}

/// Words in lines of `width` columns; all but the first are indented.
fn wrap(text: &str, width: usize, indent: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            used = 0;
        } else if used > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::{lifecycle, transfer};

    #[test]
    fn commands_have_dockers_layout() {
        assert_eq!(
            command(&lifecycle::RM, "docker rm", 60),
            "Usage:  docker rm [OPTIONS] CONTAINER [CONTAINER...]\n\n\
             Remove containers\n\n\
             Aliases:\n  docker container rm, docker container remove, docker rm\n\n\
             Options:\n\
             \x20 -f, --force     Kill it first if it runs\n\
             \x20 -l, --link      Remove the link, not the container\n\
             \x20 -v, --volumes   Remove its anonymous volumes too\n"
        );
        let cp = command(&transfer::CP, "aril cp", 80);
        assert!(cp.starts_with(
            "Usage:  aril cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\taril cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH\n"
        ));
        let wait = command(&lifecycle::WAIT, "docker wait", 80);
        assert!(!wait.contains("Options:"), "{wait}");
    }

    #[test]
    fn texts_are_wrapped_beside_or_under_their_options() {
        let run = &crate::cli::commands::run::RUN;
        let wide = command(run, "docker run", 200);
        assert!(wide.contains(
            "\n      --add-host list                    Put a name and its address (NAME:IP) into /etc/hosts; \"host-gateway\" stands for the host\n"
        ));
        assert!(wide.contains(
            "\n  -h, --hostname string                  Host name; the short id if not given\n"
        ));
        assert!(wide.contains("(default \"missing\")\n") && wide.contains("(default true)\n"));
        assert!(!wide.contains("--net ") && !wide.contains("--dns-opt "));
        let lines = command(run, "docker run", 80);
        let too_long = lines.lines().find(|line| line.chars().count() > 80);
        assert_eq!(too_long, None);
        let narrow = command(run, "docker run", 50);
        assert!(narrow.contains(
            "\n  -h, --hostname string\n                Host name; the short id if not\n"
        ));
    }
}
