//! What may come next on a command line: for the completion scripts of shells, which ask by a hidden command.
//!
//! ```text
//! aril __complete -- run --network ''     one candidate per line, with a tab and what it is, if that is known
//! bridge                                  last, a line :files if names of files fit too, :nospace if the word goes on
//! ```
//!
//! Names of containers, images, networks and volumes are looked up as they are at that moment; whoever may not see them
//! gets none.

use clap::{Arg, ArgAction};

use crate::cli::command::{self, Arguments, Context, Node, Spec};
use crate::cli::commands::{Names, spec};
use crate::cli::face::Failed;
use crate::cli::{globals, output, tree, verbs};
use crate::container::{Container, Phase};
use crate::engine::Engine;
use crate::image::references;

/// `__complete`
pub const COMPLETE: Spec = Spec {
    about: "Print what may come next on a command line",
    usage: "-- [WORD...]",
    arguments: Arguments::AtLeast(0),
    ..spec("__complete", <Names as clap::Args>::augment_args)
};

/// Which values something has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nothing,
    Files,
    AnyContainer,
    Running,
    Paused,
    NotRunning,
    /// A file of a container, or of the host.
    ContainerPath,
    Images,
    Networks,
    Volumes,
    /// A volume, or a directory of the host.
    VolumesAndFiles,
    Capabilities,
    Anything,
    Words(&'static [&'static str]),
}

/// Where on the command line the last word stands.
enum Place {
    /// Where a command is called.
    Commands(&'static [Node]),
    /// Where an option may be, of this command.
    Option(&'static Spec),
    /// Where a value is; the text goes before it.
    Value(Kind, String),
    /// Where nothing can be told.
    Unknown,
}

/// Prints the candidates.
pub fn run(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: Names = command::arguments(matches)?;
    let words: Vec<&str> = arguments.names.iter().map(String::as_str).collect();
    let mut text = String::new();
    for line in candidates(context, &words) {
        text.push_str(&line);
        text.push('\n');
    }
    output::out(&text)?;
    Ok(0)
}

fn candidates(context: &Context, words: &[&str]) -> Vec<String> {
    let last = words.last().copied().unwrap_or_default();
    let line = |name: &str, about: &str| format!("{name}\t{about}");
    let mut lines: Vec<String> = match place(words) {
        Place::Unknown => Vec::new(),
        Place::Commands(nodes) => {
            let shown = nodes.iter().filter(|node| node.shown());
            shown.map(|node| line(node.name(), node.about())).collect()
        }
        Place::Option(spec) => {
            let command = command::clap_command(spec);
            let options = command
                .get_arguments()
                .filter(|option| !option.is_hide_set());
            let all = options.filter_map(|option| {
                let help = option.get_help().map(ToString::to_string);
                Some(line(
                    &format!("--{}", option.get_long()?),
                    &help.unwrap_or_default(),
                ))
            });
            all.chain([line("--help", "Show help")]).collect()
        }
        Place::Value(kind, before) => {
            let engine = verbs::engine(context).ok();
            let names = values(kind, engine.as_ref()).into_iter();
            names.map(|name| format!("{before}{name}")).collect()
        }
    };
    lines.retain(|line| line.starts_with(last));
    lines.sort();
    lines.dedup();
    if let Place::Value(kind, _) = place(words) {
        let names = matches!(kind, Kind::ContainerPath | Kind::VolumesAndFiles);
        if names || kind == Kind::Files {
            lines.push(":files".to_owned());
        }
        if names {
            lines.push(":nospace".to_owned());
        }
    }
    lines
}

/// Walks over the words as the command line itself would.
fn place(words: &[&str]) -> Place {
    let Some((last, before)) = words.split_last() else {
        return Place::Commands(tree::ROOT);
    };
    let mut spec: &'static Spec = &globals::PROGRAM;
    let mut nodes = Some(tree::ROOT);
    let mut path: Vec<&str> = Vec::new();
    let (mut index, mut pending, mut only_arguments) = (0, None, false);
    for word in before {
        if pending.take().is_some() {
            continue;
        }
        if !only_arguments && word.starts_with('-') && word.len() > 1 {
            only_arguments = *word == "--";
            pending = waits_for_value(spec, word);
            continue;
        }
        match nodes.map(|nodes| command::find(nodes, word)) {
            Some(Some(Node::Group(group))) => {
                path.push(group.name);
                nodes = Some(group.nodes);
            }
            Some(Some(Node::Command(found, _) | Node::Hidden(found, _))) => {
                path.push(found.name);
                (spec, nodes) = (found, None);
            }
            Some(None) => return Place::Unknown,
            None => {
                index += 1;
                only_arguments |= spec.stops_at_argument;
            }
        }
    }
    if let Some(option) = pending {
        return Place::Value(of_option(&option), String::new());
    }
    if !only_arguments && last.starts_with('-') {
        return match last
            .strip_prefix("--")
            .and_then(|word| word.split_once('='))
        {
            Some((name, _)) => Place::Value(of_option(name), format!("--{name}=")),
            None => Place::Option(spec),
        };
    }
    match nodes {
        Some(nodes) => Place::Commands(nodes),
        None => Place::Value(of_argument(&path, index), String::new()),
    }
}

/// Returns the long name of the option whose value the next word is, if `word` is one that needs one.
fn waits_for_value(spec: &'static Spec, word: &str) -> Option<String> {
    let command = command::clap_command(spec);
    let needs = |option: &&Arg| {
        matches!(option.get_action(), ArgAction::Set | ArgAction::Append)
            && !option.is_require_equals_set()
    };
    let find =
        |wanted: &dyn Fn(&Arg) -> bool| command.get_arguments().find(|option| wanted(option));
    let name = |option: &Arg| option.get_long().unwrap_or_default().to_owned();
    if let Some(long) = word.strip_prefix("--") {
        // A value after `=` is no longer waited for, and no option is called so.
        let is_called = |option: &Arg| {
            let aliases = option.get_all_aliases().unwrap_or_default();
            option.get_long() == Some(long) || aliases.contains(&long)
        };
        return find(&is_called).filter(needs).map(name);
    }
    let letters = &word[1..];
    for (at, letter) in letters.char_indices() {
        let option = find(&|option| option.get_short() == Some(letter))?;
        if needs(&option) {
            let attached = at + letter.len_utf8() < letters.len();
            return (!attached).then(|| name(option));
        }
    }
    None
}

fn of_option(name: &str) -> Kind {
    match name {
        "network" | "net" => Kind::Networks,
        "volumes-from" | "link" => Kind::AnyContainer,
        "restart" => Kind::Words(&["always", "no", "on-failure", "unless-stopped"]),
        "pull" => Kind::Words(&["always", "missing", "never"]),
        "type" => Kind::Words(&["container", "image", "network", "volume"]),
        "format" => Kind::Words(&["json", "table"]),
        "cap-add" | "cap-drop" => Kind::Capabilities,
        "cgroupns" => Kind::Words(&["host", "private"]),
        "compression-format" => Kind::Words(&["gzip", "zstd"]),
        "ipc" => Kind::Words(&["host", "none", "private", "shareable"]),
        "log-driver" => Kind::Words(&["journald", "json-file", "local", "none", "syslog"]),
        "pid" | "userns" | "uts" => Kind::Words(&["host"]),
        "security-opt" => Kind::Words(&[
            "apparmor=",
            "no-new-privileges",
            "seccomp=",
            "seccomp=unconfined",
            "systempaths=unconfined",
            "writable-cgroups=true",
        ]),
        "signal" | "stop-signal" => {
            Kind::Words(&["HUP", "INT", "KILL", "QUIT", "TERM", "USR1", "USR2"])
        }
        "log-level" => Kind::Words(&["debug", "error", "fatal", "info", "warn"]),
        "cidfile" | "config" | "config-file" | "device" | "env-file" | "file" | "input"
        | "label-file" | "output" | "root" | "run" => Kind::Files,
        "volume" => Kind::VolumesAndFiles,
        _ => Kind::Nothing,
    }
}

fn of_argument(path: &[&str], index: usize) -> Kind {
    // `container ls` is `ls` here as `ps` is.
    let path = match path {
        ["container", "inspect"] => return Kind::AnyContainer,
        ["container", rest @ ..] => rest,
        path => path,
    };
    match (path, index) {
        (["attach" | "exec" | "top"], 0) | (["kill" | "pause" | "stats" | "stop"], _) => {
            Kind::Running
        }
        (["unpause"], _) => Kind::Paused,
        (["start"], _) => Kind::NotRunning,
        (["commit" | "diff" | "explain" | "export" | "logs" | "port" | "rename" | "why"], 0)
        | (["restart" | "rm" | "update" | "wait"], _)
        | (["network", "connect" | "disconnect"], 1) => Kind::AnyContainer,
        (["cp"], _) => Kind::ContainerPath,
        (["create" | "run" | "history"] | ["image", "history"], 0)
        | (
            ["image", "inspect" | "push" | "rm" | "save" | "tag"]
            | ["push" | "rmi" | "save" | "tag"],
            _,
        ) => Kind::Images,
        (["network", "inspect" | "rm"], _) | (["network", "connect" | "disconnect"], 0) => {
            Kind::Networks
        }
        (["volume", "inspect" | "rm"], _) => Kind::Volumes,
        (["inspect"], _) => Kind::Anything,
        (["import"] | ["image", "import"], 0) | (["create" | "run" | "build"], _) => Kind::Files,
        _ => Kind::Nothing,
    }
}

fn values(kind: Kind, engine: Option<&Engine>) -> Vec<String> {
    let names = |wanted: &dyn Fn(&Container) -> bool| -> Vec<String> {
        let all = engine.map(|engine| engine.containers.list().unwrap_or_default());
        let wanted = all
            .into_iter()
            .flatten()
            .filter(|container| wanted(container));
        wanted.map(|container| container.record.name).collect()
    };
    let images = || engine.map(images).unwrap_or_default();
    let networks = || engine.map(networks).unwrap_or_default();
    let volumes = || -> Vec<String> {
        let all = engine.map(|engine| engine.volumes.list().unwrap_or_default());
        all.into_iter()
            .flatten()
            .map(|volume| volume.name)
            .collect()
    };
    match kind {
        Kind::Nothing | Kind::Files => Vec::new(),
        Kind::Words(words) => words.iter().map(|word| (*word).to_owned()).collect(),
        Kind::AnyContainer => names(&|_| true),
        Kind::Running => names(&|container| container.status.phase.needs_monitor()),
        Kind::Paused => names(&|container| container.status.phase == Phase::Paused),
        Kind::NotRunning => names(&|container| !container.status.phase.needs_monitor()),
        Kind::ContainerPath => {
            let names = names(&|_| true).into_iter();
            names.map(|name| name + ":").collect()
        }
        Kind::Images => images(),
        Kind::Networks => networks(),
        Kind::Volumes => volumes(),
        Kind::VolumesAndFiles => volumes().into_iter().map(|name| name + ":").collect(),
        Kind::Capabilities => capabilities(),
        Kind::Anything => [names(&|_| true), images(), networks(), volumes()].concat(),
    }
}

fn capabilities() -> Vec<String> {
    let all = caps::all()
        .into_iter()
        .map(|capability| capability.to_string());
    let names = all.map(|name| name.trim_start_matches("CAP_").to_owned());
    names.chain(["ALL".to_owned()]).collect()
}

fn images(engine: &Engine) -> Vec<String> {
    let table = references::read(&engine.images);
    let records = table.map(|table| table.records).unwrap_or_default();
    let names = records.iter().flat_map(|record| &record.references);
    names
        .flat_map(|reference| {
            let familiar = reference.familiar();
            // `nginx` is meant by `nginx:latest`, and quicker to type.
            let short = familiar.strip_suffix(":latest").map(str::to_owned);
            short.into_iter().chain([familiar])
        })
        .collect()
}

fn networks(engine: &Engine) -> Vec<String> {
    let Ok(networks) = engine.networks() else {
        return Vec::new();
    };
    let all = networks.list().unwrap_or_default().into_iter();
    all.map(|network| network.document.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(line: &str) -> Option<(Kind, String)> {
        let words: Vec<&str> = line.split(' ').collect();
        match place(&words) {
            Place::Value(kind, before) => Some((kind, before)),
            _ => None,
        }
    }

    #[test]
    fn values_are_found_where_they_stand() {
        let check = |line: &str, want: Kind| {
            assert_eq!(kind(line), Some((want, String::new())), "{line}");
        };
        check("stop ", Kind::Running);
        check("container stop a ", Kind::Running);
        check("-D start ", Kind::NotRunning);
        check("rm -f ", Kind::AnyContainer);
        check("run ", Kind::Images);
        check("run --network ", Kind::Networks);
        check("run --net ", Kind::Networks);
        check("run -it --rm -e A=b ", Kind::Images);
        check("run -itv ", Kind::VolumesAndFiles);
        check("create --cap-drop ", Kind::Capabilities);
        check("why ", Kind::AnyContainer);
        check("run --name=x ", Kind::Images);
        check("run busybox ", Kind::Files);
        check("run busybox -", Kind::Files);
        check("exec -u root ", Kind::Running);
        check("cp ", Kind::ContainerPath);
        check("volume rm a ", Kind::Volumes);
        check(
            "inspect --type ",
            Kind::Words(&["container", "image", "network", "volume"]),
        );
        assert_eq!(of_argument(&["network", "connect"], 0), Kind::Networks);
        assert_eq!(of_argument(&["network", "connect"], 1), Kind::AnyContainer);
        let networks = Some((Kind::Networks, "--network=".to_owned()));
        assert_eq!(kind("run --network=b"), networks);
    }

    #[test]
    fn commands_and_options_are_found_where_they_stand() {
        let of = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            match place(&words) {
                Place::Commands(nodes) => format!("{} commands", nodes.len()),
                Place::Option(spec) => format!("options of {:?}", spec.name),
                Place::Value(..) => "value".to_owned(),
                Place::Unknown => "unknown".to_owned(),
            }
        };
        assert_eq!(of("p"), format!("{} commands", tree::ROOT.len()));
        assert_eq!(of("run --net"), "options of \"run\"");
        assert_eq!(of("nosuch "), "unknown");
        assert_eq!(of("run -- -"), "value");
        assert!(of("container ").ends_with("commands"));
    }
}
