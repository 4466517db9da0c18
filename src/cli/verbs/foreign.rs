//! What docker has for several machines, and this engine has not: contexts, swarms and plugins, answered in docker's words.
//!
//! Scripts and editors ask for these to find out what they talk to, so the answers are those of a docker engine that has
//! only its default context, no plugins, and is in no swarm.

use anyhow::Result;
use serde_json::json;

use crate::cli::command::{self, Arguments, Context, Spec};
use crate::cli::commands::{Names, spec};
use crate::cli::face::Failed;
use crate::cli::format::{self, List};
use crate::cli::globals::DEFAULT_CONTEXT;
use crate::cli::human::text::ellipsis;
use crate::cli::template::value::{Column, Value};
use crate::cli::{output, preferences};
use crate::oci::digest::sha256;
use crate::{cli::inspector::Inspector, error};

/// What docker says of checkpoints where they are not turned on.
pub const ONLY_EXPERIMENTAL: &str =
    "is only supported on a Docker daemon with experimental features enabled";
const DEFAULT: &str = DEFAULT_CONTEXT;
const DESCRIPTION: &str = "Current DOCKER_HOST based configuration";
/// An error in a table is cut after so many columns.
const ERROR_WIDTH: usize = 45;
/// Where clients look for an engine that nobody has told them about.
const ENDPOINT: &str = "unix:///var/run/docker.sock";

const fn foreign(name: &'static str, about: &'static str) -> Spec {
    Spec {
        about,
        usage: "COMMAND",
        arguments: Arguments::AtLeast(0),
        stops_at_argument: true,
        ..spec(name, <Names as clap::Args>::augment_args)
    }
}

/// `context`
pub const CONTEXT: Spec = foreign("context", "Contexts, of which there is one");
/// `checkpoint`
pub const CHECKPOINT: Spec = foreign("checkpoint", "Checkpoints, which need CRIU");
/// `plugin`
pub const PLUGIN: Spec = foreign("plugin", "Plugins, of which there are none");
/// `swarm`
pub const SWARM: Spec = foreign("swarm", "Swarms, in which this machine is not");
/// `node`
pub const NODE: Spec = foreign("node", "Nodes of a swarm");
/// `service`
pub const SERVICE: Spec = foreign("service", "Services of a swarm");
/// `stack`
pub const STACK: Spec = foreign("stack", "Stacks of a swarm");
/// `secret`
pub const SECRET: Spec = foreign("secret", "Secrets of a swarm");
/// `config`
pub const CONFIG: Spec = foreign("config", "Configurations of a swarm");

const CONTEXTS: List = List {
    columns: &[
        Column {
            name: "Current",
            // Nothing, so that the mark of the current one stays away from the header.
            header: "",
        },
        Column {
            name: "Description",
            header: "DESCRIPTION",
        },
        Column {
            name: "DockerEndpoint",
            header: "DOCKER ENDPOINT",
        },
        Column {
            name: "Error",
            header: "ERROR",
        },
        Column {
            name: "Name",
            header: "NAME",
        },
    ],
    table: r"{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
    quiet: "{{.Name}}",
    raw: None,
    quiet_wins: false,
};

const PLUGINS: List = List {
    columns: &[
        Column {
            name: "ID",
            header: "ID",
        },
        Column {
            name: "Name",
            header: "NAME",
        },
        Column {
            name: "Description",
            header: "DESCRIPTION",
        },
        Column {
            name: "Enabled",
            header: "ENABLED",
        },
    ],
    table: r"{{.ID}}\t{{.Name}}\t{{.Description}}\t{{.Enabled}}",
    quiet: "{{.ID}}",
    raw: None,
    quiet_wins: false,
};

fn words(matches: &clap::ArgMatches) -> Result<(String, Vec<String>), Failed> {
    let arguments: Names = command::arguments(matches)?;
    let mut words = arguments.names.into_iter();
    Ok((words.next().unwrap_or_default(), words.collect()))
}

/// Takes `--quiet`, `--format` and arguments out of the words after a command.
fn options(words: &[String]) -> Result<(bool, String, Vec<String>), Failed> {
    let (mut quiet, mut asked, mut rest) = (false, String::new(), Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-q" | "--quiet" => quiet = true,
            "-f" | "--format" => asked = words.next().cloned().unwrap_or_default(),
            "--no-trunc" => {}
            other => match other.strip_prefix("--format=") {
                Some(format) => format.clone_into(&mut asked),
                None if other.starts_with('-') => {
                    let why = format!("unknown flag: {other}");
                    return Err(Failed::from(error::invalid(why)).code(125));
                }
                None => rest.push(other.to_owned()),
            },
        }
    }
    Ok((quiet, asked, rest))
}

/// `context`
pub fn context(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let (command, words) = words(matches)?;
    let (quiet, asked, names) = options(&words)?;
    match (command.as_str(), names.as_slice()) {
        ("", _) => overview(context),
        ("ls" | "list", []) => {
            let format = CONTEXTS.format(&asked, quiet)?;
            let other = preferences::current_context(context);
            let mut rows = vec![row(other.is_none(), [DESCRIPTION, ENDPOINT, "", DEFAULT])];
            if let Some(name) = &other {
                let why = ellipsis(&not_found(context, name), ERROR_WIDTH);
                rows.push(row(true, ["", "", &why, name]));
                rows.sort_by_key(|(name, _)| name.clone());
            }
            let rows: Vec<_> = rows.into_iter().map(|(_, row)| row).collect();
            output::out(&format.render(CONTEXTS.columns, &rows)?)?;
            Ok(0)
        }
        ("show", []) => {
            let current = preferences::current_context(context);
            let name = current.as_deref().unwrap_or(DEFAULT);
            done(output::out(&format!("{name}\n")))
        }
        ("use", [name]) if name == DEFAULT => {
            preferences::use_default_context(context)?;
            output::out("default\n")?;
            output::err("Current context is now \"default\"\n");
            Ok(0)
        }
        ("use", [name]) => Err(missing(context, name)),
        ("inspect", names) => inspect(context, &asked, names),
        ("rm" | "remove", [name, ..]) if name == DEFAULT => {
            refuse("context \"default\" cannot be removed".to_owned())
        }
        ("rm" | "remove", [name, ..]) => refuse(format!("context {name:?} does not exist")),
        _ => refuse(
            "there is no context but \"default\": aril runs containers on this machine".to_owned(),
        ),
    }
}

/// Returns the row of a context, and its name.
fn row(is_current: bool, texts: [&str; 4]) -> (String, Value) {
    let values = [Value::Bool(is_current)].into_iter();
    let values = values.chain(texts.map(Value::string)).collect();
    let row = format::row(&CONTEXTS, "*formatter.clientContextContext", None, values);
    (texts[3].to_owned(), row)
}

/// What a group prints that is called without a command of it.
fn overview(context: &Context) -> Result<u8, Failed> {
    done(output::out(&format!("Usage:  {} COMMAND\n", context.path)))
}

fn done(printed: Result<()>) -> Result<u8, Failed> {
    Ok(printed.map(|()| 0)?)
}

fn refuse(why: String) -> Result<u8, Failed> {
    Err(Failed::from(error::invalid(why)))
}

/// The error for a context whose engine would be asked.
pub(super) fn unresolved(context: &Context, name: &str) -> Failed {
    let why = not_found(context, name);
    let why = format!("Failed to initialize: unable to resolve docker endpoint: {why}");
    let hint = match &context.globals.context {
        Some(_) => "aril has no contexts: it runs containers on this machine itself".to_owned(),
        None => format!("{} context use default", context.face.name),
    };
    Failed::from(error::with_hint(error::not_found(why), hint))
}

fn missing(context: &Context, name: &str) -> Failed {
    Failed::from(error::not_found(not_found(context, name)))
}

/// Names the file that docker's client would look for.
fn not_found(context: &Context, name: &str) -> String {
    let home = std::env::var("HOME").unwrap_or_default();
    let default = std::path::Path::new(&home).join(".docker");
    let folder = context.globals.config.clone().unwrap_or(default);
    let digest = sha256(name.as_bytes());
    let path = folder
        .join("contexts/meta")
        .join(digest.digest())
        .join("meta.json");
    let path = path.display();
    format!("context {name:?}: context not found: open {path}: no such file or directory")
}

fn inspect(context: &Context, asked: &str, names: &[String]) -> Result<u8, Failed> {
    let document = json!({
        "Name": DEFAULT,
        "Metadata": {},
        "Endpoints": {"docker": {"Host": ENDPOINT, "SkipTLSVerify": false}},
        "TLSMaterial": {},
        "Storage": {"MetadataPath": "<IN MEMORY>", "TLSPath": "<IN MEMORY>"},
    });
    let inspector = Inspector::new(asked)
        .map_err(|error| Failed::from(format::parsing_error(error)).code(64))?;
    let (known, unknown): (Vec<&String>, Vec<&String>) =
        names.iter().partition(|name| *name == DEFAULT);
    let count = if names.is_empty() { 1 } else { known.len() };
    let inspected = inspector.inspect(&vec![document; count], |_| true)?;
    output::out(&inspected.out)?;
    let mut failures: Vec<Failed> = unknown.iter().map(|name| missing(context, name)).collect();
    failures.extend(inspected.errors.into_iter().map(Failed::from));
    Failed::all(failures)?;
    Ok(0)
}

/// `checkpoint`
pub fn checkpoint(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let (command, _) = words(matches)?;
    let what = [context.path.as_str(), &command].join(" ");
    refuse(format!("{} {ONLY_EXPERIMENTAL}", what.trim_end()))
}

/// `plugin`
pub fn plugin(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let (command, words) = words(matches)?;
    if command.is_empty() {
        return overview(context);
    }
    if !matches!(command.as_str(), "ls" | "list") {
        return refuse("aril has no plugins".to_owned());
    }
    let (quiet, asked, _) = options(&words)?;
    let format = PLUGINS.format(&asked, quiet)?;
    done(
        format
            .render(PLUGINS.columns, &[])
            .and_then(|text| output::out(&text)),
    )
}

/// `swarm`
pub fn swarm(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let (command, _) = words(matches)?;
    let why = match command.as_str() {
        "" => return overview(context),
        "init" | "join" => "aril has no swarms: it runs containers on this machine",
        "leave" => "This node is not part of a swarm",
        _ => return of_swarm(context, matches),
    };
    Err(Failed::engine(error::unavailable(why)))
}

/// `node`, `service`, `stack`, `secret`, `config`
pub fn of_swarm(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let (command, _) = words(matches)?;
    if command.is_empty() {
        return overview(context);
    }
    Err(Failed::engine(error::no_swarm()))
}
