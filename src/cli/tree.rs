//! All commands and their places: `ps` and `container ls`, `rmi` and `image rm`.
//!
//! A command without a function that runs it is not there for users: no help, completion or page shows it, and calling it
//! is an unknown command. It stands here so that its arguments are tested, and to say where it will be.

use super::commands::{
    containers, images, inspect, lifecycle, lists, network, processes, registry, run, system,
    transfer, volume,
};
use crate::cli::command::{Group, Node};
use crate::cli::verbs::foreign;
use crate::cli::{complete, docs, verbs, version};

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
    Node::Group(&MANIFEST),
    Node::Group(&MIRROR),
    Node::Group(&NETWORK),
    Node::Group(&REGISTRY),
    Node::Group(&SYSTEM),
    Node::Group(&VOLUME),
    Command(&processes::ATTACH, Some(verbs::exec::attach)),
    Command(&containers::COMMIT, Some(verbs::commit::run)),
    Command(&transfer::CP, Some(verbs::copy::run)),
    Command(&run::CREATE, Some(verbs::run::create)),
    Command(&inspect::DIFF, Some(verbs::diff::run)),
    Command(&system::EVENTS, Some(verbs::events::run)),
    Command(&processes::EXEC, Some(verbs::exec::exec)),
    Command(&inspect::EXPLAIN, Some(verbs::explain::run)),
    Command(&transfer::EXPORT, Some(verbs::transfer::export)),
    Command(&images::HISTORY, Some(verbs::list::history)),
    Command(&lists::IMAGES, Some(verbs::list::images)),
    Command(&transfer::IMPORT, Some(verbs::transfer::import)),
    Command(&system::INFO, Some(verbs::system::info)),
    Command(&inspect::INSPECT, Some(verbs::inspect::any)),
    Command(&lifecycle::KILL, Some(verbs::lifecycle::kill)),
    Command(&transfer::LOAD, Some(verbs::transfer::load)),
    Command(&registry::LOGIN, Some(verbs::login::login)),
    Command(&registry::LOGOUT, Some(verbs::login::logout)),
    Command(&processes::LOGS, Some(verbs::logs::run)),
    Command(&lifecycle::PAUSE, Some(verbs::lifecycle::pause)),
    Command(&inspect::PORT, Some(verbs::port::run)),
    Command(&lists::PS, Some(verbs::list::ps)),
    Command(&registry::PULL, Some(verbs::pull::pull)),
    Command(&registry::PUSH, Some(verbs::push::push)),
    Command(&lifecycle::RENAME, Some(verbs::lifecycle::rename)),
    Command(&lifecycle::RESTART, Some(verbs::lifecycle::restart)),
    Command(&lifecycle::RM, Some(verbs::lifecycle::rm)),
    Command(&images::RMI, Some(verbs::images::rmi)),
    Command(&run::RUN, Some(verbs::run::run)),
    Command(&transfer::SAVE, Some(verbs::transfer::save)),
    Command(&lists::SEARCH, Some(verbs::search::run)),
    Command(&lifecycle::START, Some(verbs::lifecycle::start)),
    Command(&processes::STATS, Some(verbs::stats::run)),
    Command(&lifecycle::STOP, Some(verbs::lifecycle::stop)),
    Command(&images::TAG, Some(verbs::images::tag)),
    Command(&processes::TOP, Some(verbs::top::run)),
    Command(&lifecycle::UNPAUSE, Some(verbs::lifecycle::unpause)),
    Command(&containers::UPDATE, Some(verbs::update::run)),
    Command(&system::VERSION, Some(version::run)),
    Command(&lifecycle::WAIT, Some(verbs::lifecycle::wait)),
    Command(&inspect::WHY, Some(verbs::why::run)),
    Hidden(&complete::COMPLETE, complete::run),
    Hidden(&foreign::CHECKPOINT, foreign::checkpoint),
    Hidden(&foreign::CONFIG, foreign::of_swarm),
    Hidden(&foreign::CONTEXT, foreign::context),
    Hidden(&foreign::NODE, foreign::of_swarm),
    Hidden(&foreign::PLUGIN, foreign::plugin),
    Hidden(&foreign::SECRET, foreign::of_swarm),
    Hidden(&foreign::SERVICE, foreign::of_swarm),
    Hidden(&foreign::STACK, foreign::of_swarm),
    Hidden(&foreign::SWARM, foreign::swarm),
    Hidden(&docs::COMPLETION, docs::completion),
    Hidden(&docs::MAN, docs::man),
    Hidden(&verbs::settle::SETTLE, verbs::settle::run),
];

static CONTAINER: Group = Group {
    name: "container",
    about: "Containers",
    usage: "",
    nodes: &[
        Command(&processes::ATTACH, Some(verbs::exec::attach)),
        Command(&containers::COMMIT, Some(verbs::commit::run)),
        Command(&transfer::CP, Some(verbs::copy::run)),
        Command(&run::CREATE, Some(verbs::run::create)),
        Command(&inspect::DIFF, Some(verbs::diff::run)),
        Command(&processes::EXEC, Some(verbs::exec::exec)),
        Command(&transfer::EXPORT, Some(verbs::transfer::export)),
        Command(
            &inspect::CONTAINER_INSPECT,
            Some(verbs::inspect::containers),
        ),
        Command(&lifecycle::KILL, Some(verbs::lifecycle::kill)),
        Command(&processes::LOGS, Some(verbs::logs::run)),
        Command(&lists::CONTAINER_LS, Some(verbs::list::ps)),
        Command(&lifecycle::PAUSE, Some(verbs::lifecycle::pause)),
        Command(&inspect::PORT, Some(verbs::port::run)),
        Command(&containers::CONTAINER_PRUNE, Some(verbs::prune::containers)),
        Command(&lifecycle::RENAME, Some(verbs::lifecycle::rename)),
        Command(&lifecycle::RESTART, Some(verbs::lifecycle::restart)),
        Command(&lifecycle::RM, Some(verbs::lifecycle::rm)),
        Command(&run::RUN, Some(verbs::run::run)),
        Command(&lifecycle::START, Some(verbs::lifecycle::start)),
        Command(&processes::STATS, Some(verbs::stats::run)),
        Command(&lifecycle::STOP, Some(verbs::lifecycle::stop)),
        Command(&processes::TOP, Some(verbs::top::run)),
        Command(&lifecycle::UNPAUSE, Some(verbs::lifecycle::unpause)),
        Command(&containers::UPDATE, Some(verbs::update::run)),
        Command(&lifecycle::WAIT, Some(verbs::lifecycle::wait)),
        Command(&inspect::WHY, Some(verbs::why::run)),
    ],
};

static IMAGE: Group = Group {
    name: "image",
    about: "Images",
    usage: "",
    nodes: &[
        Command(&images::HISTORY, Some(verbs::list::history)),
        Command(&transfer::IMPORT, Some(verbs::transfer::import)),
        Command(&inspect::IMAGE_INSPECT, Some(verbs::inspect::images)),
        Command(&transfer::LOAD, Some(verbs::transfer::load)),
        Command(&lists::IMAGE_LS, Some(verbs::list::images)),
        Command(&images::IMAGE_PRUNE, Some(verbs::images::prune)),
        Command(&registry::PULL, Some(verbs::pull::pull)),
        Command(&registry::PUSH, Some(verbs::push::push)),
        Command(&images::IMAGE_RM, Some(verbs::images::rmi)),
        Command(&transfer::SAVE, Some(verbs::transfer::save)),
        Command(&images::TAG, Some(verbs::images::tag)),
    ],
};

static MANIFEST: Group = Group {
    name: "manifest",
    about: "Manifests in registries",
    usage: "COMMAND",
    nodes: &[Command(
        &registry::MANIFEST_INSPECT,
        Some(verbs::manifest::inspect),
    )],
};

static MIRROR: Group = Group {
    name: "mirror",
    about: "Mirrors of registries",
    usage: "",
    nodes: &[Command(&registry::MIRROR_TEST, Some(verbs::mirror::test))],
};

static REGISTRY: Group = Group {
    name: "registry",
    about: "This machine as a registry",
    usage: "",
    nodes: &[Command(&registry::SERVE, Some(verbs::serve::run))],
};

static NETWORK: Group = Group {
    name: "network",
    about: "Networks",
    usage: "",
    nodes: &[
        Command(&network::CONNECT, Some(verbs::network::connect)),
        Command(&network::CREATE, Some(verbs::network::create)),
        Command(&network::DISCONNECT, Some(verbs::network::disconnect)),
        Command(&inspect::NETWORK_INSPECT, Some(verbs::inspect::networks)),
        Command(&network::LS, Some(verbs::network::ls)),
        Command(&network::PRUNE, Some(verbs::network::prune)),
        Command(&network::RM, Some(verbs::network::rm)),
    ],
};

static SYSTEM: Group = Group {
    name: "system",
    about: "This engine and machine",
    usage: "",
    nodes: &[
        Command(&system::BOOT, Some(verbs::boot::run)),
        Command(&system::EVENTS, Some(verbs::events::run)),
        Command(&system::CHECK, Some(verbs::check::run)),
        Command(&system::DF, Some(verbs::disk_usage::run)),
        Command(&system::INFO, Some(verbs::system::info)),
        Command(&system::PRUNE, Some(verbs::prune::system)),
    ],
};

static VOLUME: Group = Group {
    name: "volume",
    about: "Volumes",
    usage: "COMMAND",
    nodes: &[
        Command(&volume::CREATE, Some(verbs::volume::create)),
        Command(&inspect::VOLUME_INSPECT, Some(verbs::inspect::volumes)),
        Command(&volume::LS, Some(verbs::volume::ls)),
        Command(&volume::PRUNE, Some(verbs::volume::prune)),
        Command(&volume::RM, Some(verbs::volume::rm)),
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
