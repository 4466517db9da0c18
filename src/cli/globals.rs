//! Options before the command: `--config`, `--debug`, `--host`, `--root` and their kind.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cli::command::{Arguments, Globals, Spec};
use crate::cli::commands::spec;
use crate::dirs::Dirs;
use crate::error;

/// Options before the command.
#[derive(Args, Clone, Debug, Default)]
pub struct GlobalArgs {
    /// Folder of the client's config.json
    #[arg(long, value_name = "string")]
    pub config: Option<PathBuf>,
    /// The engine's configuration, in place of /etc/aril/daemon.json or docker's ($ARIL_CONFIG_FILE)
    #[arg(long, value_name = "string")]
    pub config_file: Option<PathBuf>,
    /// Name of a docker context; only "default" exists
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub context: String,
    /// Log what is done to stderr
    #[arg(short = 'D', long)]
    pub debug: bool,
    /// Address of a docker engine; only this machine's can be meant
    #[arg(
        short = 'H',
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub host: String,
    /// What to log: "debug", "info", "warn", "error", "fatal"
    #[arg(short, long, value_name = "string", default_value = "info")]
    pub log_level: String,
    /// Where images, containers and volumes are kept ($ARIL_ROOT)
    #[arg(long, value_name = "string")]
    pub root: Option<PathBuf>,
    /// Where what does not outlive a reboot is kept ($ARIL_RUN)
    #[arg(long, value_name = "string")]
    pub run: Option<PathBuf>,
    /// Use TLS to reach another engine
    #[arg(long, hide = true)]
    pub tls: bool,
    /// Certificate of an authority for TLS
    #[arg(long, value_name = "string", hide = true)]
    pub tlscacert: Option<PathBuf>,
    /// Certificate for TLS
    #[arg(long, value_name = "string", hide = true)]
    pub tlscert: Option<PathBuf>,
    /// Key for TLS
    #[arg(long, value_name = "string", hide = true)]
    pub tlskey: Option<PathBuf>,
    /// Use TLS and check the other engine's certificate
    #[arg(long, hide = true)]
    pub tlsverify: bool,
    /// Print the version
    #[arg(short, long)]
    pub version: bool,
}

/// The program itself, for the walk over its own options.
pub const PROGRAM: Spec = Spec {
    about: "Runs containers, without a daemon",
    usage: "[OPTIONS] COMMAND [ARG...]",
    arguments: Arguments::AtLeast(0),
    stops_at_argument: true,
    ..spec("", GlobalArgs::augment_args)
};

/// The context that is this machine.
pub const DEFAULT_CONTEXT: &str = "default";

/// How to look up a variable.
pub type LookUp<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Returns what the options mean, with the variables that stand for them.
///
/// Errors are of kind `Invalid`: another engine is meant, a level that is none.
pub fn globals(arguments: &GlobalArgs, look_up: LookUp<'_>) -> Result<Globals> {
    let variable = |name: &str| look_up(name).filter(|value| !value.is_empty());
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    if !matches!(
        arguments.log_level.as_str(),
        "" | "trace" | "debug" | "info" | "warn" | "warning" | "error" | "fatal" | "panic"
    ) {
        let level = &arguments.log_level;
        return Err(error::invalid(format!(
            "Unable to parse logging level: {level}"
        )));
    }
    let context = given(&arguments.context);
    let host = given(&arguments.host);
    if context.is_some() && host.is_some() {
        let why = "conflicting options: cannot specify both --host and --context";
        return Err(error::invalid(why));
    }
    let host = host.or_else(|| variable("DOCKER_HOST"));
    // docker's client takes the context of the environment only if nothing names a host.
    let context = context.or_else(|| match host {
        None => variable("DOCKER_CONTEXT"),
        Some(_) => Some(DEFAULT_CONTEXT.to_owned()),
    });
    if let Some(host) = host {
        check_host(&host)?;
    }
    let given_path = |option: &Option<PathBuf>, name: &str| {
        option.clone().or_else(|| variable(name).map(PathBuf::from))
    };
    let root = given_path(&arguments.root, "ARIL_ROOT");
    let path = |given: Option<PathBuf>, default: &str| {
        let path = given.unwrap_or_else(|| PathBuf::from(default));
        if !path.is_absolute() {
            let shown = path.display().to_string();
            let why = format!("the folder {shown:?} is not an absolute path");
            return Err(error::invalid(why));
        }
        Ok(path)
    };
    Ok(Globals {
        config: arguments
            .config
            .clone()
            .or_else(|| variable("DOCKER_CONFIG").map(PathBuf::from)),
        config_file: given_path(&arguments.config_file, "ARIL_CONFIG_FILE"),
        context,
        debug: arguments.debug,
        log_level: arguments.log_level.clone(),
        root_is_default: root.is_none(),
        dirs: Dirs::new(
            path(root, "/var/lib/aril")?,
            path(given_path(&arguments.run, "ARIL_RUN"), "/run/aril")?,
        ),
    })
}

/// A socket of this machine is where docker's engine would be; what is elsewhere must not be run here by mistake.
fn check_host(host: &str) -> Result<()> {
    if host.starts_with("unix://") {
        return Ok(());
    }
    let why = format!("cannot connect to {host}: aril runs containers on this machine only");
    let hint =
        "unset DOCKER_HOST and leave out --host, or use docker's own client for other machines";
    Err(error::with_hint(error::invalid(why), hint))
}
