//! All commands and their places: `ps` and `container ls`, `rmi` and `image rm`.
//!
//! A command without a function that runs it is not there for users: no help, completion or page shows it, and calling it
//! is an unknown command. It stands here so that its arguments are tested, and to say where it will be.

use super::commands::{
    containers, images, inspect, lifecycle, lists, network, processes, registry, run, system,
    transfer, volume,
};
use crate::cli::command::{Group, Node};
use crate::cli::{docs, version};

use Node::{Command, Hidden};

/// The commands that most people need, in the order in which help shows them first.
pub const COMMON: &[&str] = &[
    "run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "search", "version",
    "info",
];

/// The commands that can be called first.
pub static ROOT: &[Node] = &[
    Node::Group(&CONTAINER),
    Node::Group(&IMAGE),
    Node::Group(&NETWORK),
    Node::Group(&SYSTEM),
    Node::Group(&VOLUME),
    Command(&processes::ATTACH, None),
    Command(&containers::COMMIT, None),
    Command(&transfer::CP, None),
    Command(&run::CREATE, None),
    Command(&inspect::DIFF, None),
    Command(&system::EVENTS, None),
    Command(&processes::EXEC, None),
    Command(&transfer::EXPORT, None),
    Command(&images::HISTORY, None),
    Command(&lists::IMAGES, None),
    Command(&transfer::IMPORT, None),
    Command(&system::INFO, None),
    Command(&inspect::INSPECT, None),
    Command(&lifecycle::KILL, None),
    Command(&transfer::LOAD, None),
    Command(&registry::LOGIN, None),
    Command(&registry::LOGOUT, None),
    Command(&processes::LOGS, None),
    Command(&lifecycle::PAUSE, None),
    Command(&inspect::PORT, None),
    Command(&lists::PS, None),
    Command(&registry::PULL, None),
    Command(&registry::PUSH, None),
    Command(&lifecycle::RENAME, None),
    Command(&lifecycle::RESTART, None),
    Command(&lifecycle::RM, None),
    Command(&images::RMI, None),
    Command(&run::RUN, None),
    Command(&transfer::SAVE, None),
    Command(&lists::SEARCH, None),
    Command(&lifecycle::START, None),
    Command(&processes::STATS, None),
    Command(&lifecycle::STOP, None),
    Command(&images::TAG, None),
    Command(&processes::TOP, None),
    Command(&lifecycle::UNPAUSE, None),
    Command(&containers::UPDATE, None),
    Command(&system::VERSION, Some(version::run)),
    Command(&lifecycle::WAIT, None),
    Hidden(&docs::COMPLETION, docs::completion),
    Hidden(&docs::MAN, docs::man),
];

static CONTAINER: Group = Group {
    name: "container",
    about: "Containers",
    nodes: &[
        Command(&processes::ATTACH, None),
        Command(&containers::COMMIT, None),
        Command(&transfer::CP, None),
        Command(&run::CREATE, None),
        Command(&inspect::DIFF, None),
        Command(&processes::EXEC, None),
        Command(&transfer::EXPORT, None),
        Command(&inspect::CONTAINER_INSPECT, None),
        Command(&lifecycle::KILL, None),
        Command(&processes::LOGS, None),
        Command(&lists::CONTAINER_LS, None),
        Command(&lifecycle::PAUSE, None),
        Command(&inspect::PORT, None),
        Command(&containers::CONTAINER_PRUNE, None),
        Command(&lifecycle::RENAME, None),
        Command(&lifecycle::RESTART, None),
        Command(&lifecycle::RM, None),
        Command(&run::RUN, None),
        Command(&lifecycle::START, None),
        Command(&processes::STATS, None),
        Command(&lifecycle::STOP, None),
        Command(&processes::TOP, None),
        Command(&lifecycle::UNPAUSE, None),
        Command(&containers::UPDATE, None),
        Command(&lifecycle::WAIT, None),
    ],
};

static IMAGE: Group = Group {
    name: "image",
    about: "Images",
    nodes: &[
        Command(&images::HISTORY, None),
        Command(&transfer::IMPORT, None),
        Command(&inspect::IMAGE_INSPECT, None),
        Command(&transfer::LOAD, None),
        Command(&lists::IMAGE_LS, None),
        Command(&images::IMAGE_PRUNE, None),
        Command(&registry::PULL, None),
        Command(&registry::PUSH, None),
        Command(&images::IMAGE_RM, None),
        Command(&transfer::SAVE, None),
        Command(&images::TAG, None),
    ],
};

static NETWORK: Group = Group {
    name: "network",
    about: "Networks",
    nodes: &[
        Command(&network::CONNECT, None),
        Command(&network::CREATE, None),
        Command(&network::DISCONNECT, None),
        Command(&inspect::NETWORK_INSPECT, None),
        Command(&network::LS, None),
        Command(&network::PRUNE, None),
        Command(&network::RM, None),
    ],
};

static SYSTEM: Group = Group {
    name: "system",
    about: "This engine and machine",
    nodes: &[
        Command(&system::DF, None),
        Command(&system::EVENTS, None),
        Command(&system::INFO, None),
        Command(&system::PRUNE, None),
    ],
};

static VOLUME: Group = Group {
    name: "volume",
    about: "Volumes",
    nodes: &[
        Command(&volume::CREATE, None),
        Command(&inspect::VOLUME_INSPECT, None),
        Command(&volume::LS, None),
        Command(&volume::PRUNE, None),
        Command(&volume::RM, None),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command::{self, Spec};

    /// Every command with its path below the root.
    fn all() -> Vec<(String, &'static Spec)> {
        let mut found = Vec::new();
        for node in ROOT {
            match node {
                Command(spec, _) | Hidden(spec, _) => found.push((spec.name.to_owned(), *spec)),
                Node::Group(group) => {
                    for node in group.nodes {
                        if let Command(spec, _) | Hidden(spec, _) = node {
                            found.push((format!("{} {}", group.name, spec.name), *spec));
                        }
                    }
                }
            }
        }
        found
    }

    #[test]
    fn every_command_is_sound() {
        for (path, spec) in all() {
            command::clap_command(spec).debug_assert();
            assert!(
                !spec.about.is_empty() && !spec.about.ends_with('.'),
                "{path}"
            );
            for option in command::clap_command(spec).get_arguments() {
                let name = option.get_id();
                if option.is_positional() {
                    continue;
                }
                let help = option.get_help().map(ToString::to_string);
                let help = help.unwrap_or_default();
                assert!(
                    !help.is_empty() && !help.ends_with('.'),
                    "{path} --{name}: {help}"
                );
            }
        }
    }

    #[test]
    fn paths_lead_to_their_commands() {
        let all = all();
        for (path, spec) in &all {
            let mut paths = spec.paths.iter();
            assert!(
                spec.paths.is_empty() || paths.any(|other| other == path),
                "{path} is not among {:?}",
                spec.paths
            );
        }
        for common in COMMON {
            let known = all.iter().any(|(path, _)| path == common);
            assert!(known || *common == "build", "{common}");
        }
    }
}
