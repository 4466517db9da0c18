//! Arguments of the commands that reach into running containers: exec, attach, logs, top, stats.

use clap::{ArgAction, Args};

use super::spec;
use crate::cli::command::{Arguments, Spec};
use crate::cli::flags::env;
use crate::cli::values;

/// Arguments of `exec`.
#[derive(Args, Clone, Debug, Default)]
pub struct ExecArgs {
    /// Run in the background
    #[arg(short, long)]
    pub detach: bool,
    /// Keys that leave the command without ending it (ctrl-p,ctrl-q)
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub detach_keys: String,
    /// Set a variable (NAME=VALUE, or NAME for the caller's value)
    #[arg(short, long, value_name = "list", value_parser = env::check)]
    pub env: Vec<String>,
    /// Set the variables that a file has, one per line
    #[arg(long, value_name = "list")]
    pub env_file: Vec<String>,
    /// Keep stdin open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give all capabilities
    #[arg(long)]
    pub privileged: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// User, by name or number (USER[:GROUP])
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub user: String,
    /// Working directory
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub workdir: String,
    /// Name or id.
    #[arg(hide = true)]
    pub container: String,
    /// Command and arguments.
    #[arg(hide = true)]
    pub command: Vec<String>,
}

/// Arguments of `attach`.
#[derive(Args, Clone, Debug, Default)]
pub struct AttachArgs {
    /// Keys that leave the container without ending it (ctrl-p,ctrl-q)
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub detach_keys: String,
    /// Do not connect stdin
    #[arg(long)]
    pub no_stdin: bool,
    /// Pass signals on to the program
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_parser = values::truth)]
    pub sig_proxy: bool,
    /// Name or id.
    #[arg(hide = true)]
    pub container: String,
}

/// Arguments of `logs`.
#[derive(Args, Clone, Debug, Default)]
pub struct LogsArgs {
    /// Show the attributes of each line too
    #[arg(long)]
    pub details: bool,
    /// Go on until the container stops
    #[arg(short, long)]
    pub follow: bool,
    /// Show lines since a time (2013-01-02T13:23:37Z) or for so long (42m)
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub since: String,
    /// Show so many lines of the end
    #[arg(short = 'n', long, value_name = "string", default_value = "all")]
    pub tail: String,
    /// Show when each line was printed
    #[arg(short, long)]
    pub timestamps: bool,
    /// Show lines before a time or before so long ago
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub until: String,
    /// Name or id.
    #[arg(hide = true)]
    pub container: String,
}

/// Arguments of `top`.
#[derive(Args, Clone, Debug, Default)]
pub struct TopArgs {
    /// Name or id.
    #[arg(hide = true)]
    pub container: String,
    /// As of ps: `aux`, `-o pid,comm`.
    #[arg(hide = true)]
    pub options: Vec<String>,
}

/// Arguments of `stats`.
#[derive(Args, Clone, Debug, Default)]
pub struct StatsArgs {
    /// Show containers that do not run too
    #[arg(short, long)]
    pub all: bool,
    /// How to print: "table", "table TEMPLATE", "json" or a template
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub format: String,
    /// Print once, and do not go on
    #[arg(long)]
    pub no_stream: bool,
    /// Do not shorten ids
    #[arg(long)]
    pub no_trunc: bool,
    /// Names or ids; none means all.
    #[arg(hide = true)]
    pub containers: Vec<String>,
}

/// `exec`
pub const EXEC: Spec = Spec {
    about: "Run a command in a running container",
    usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    paths: &["container exec", "exec"],
    arguments: Arguments::AtLeast(2),
    stops_at_argument: true,
    ..spec("exec", ExecArgs::augment_args)
};

/// `attach`
pub const ATTACH: Spec = Spec {
    about: "Connect to the program of a running container",
    usage: "[OPTIONS] CONTAINER",
    paths: &["container attach", "attach"],
    arguments: Arguments::Exactly(1),
    ..spec("attach", AttachArgs::augment_args)
};

/// `logs`
pub const LOGS: Spec = Spec {
    about: "Show what a container's program printed",
    usage: "[OPTIONS] CONTAINER",
    paths: &["container logs", "logs"],
    arguments: Arguments::Exactly(1),
    ..spec("logs", LogsArgs::augment_args)
};

/// `top`
pub const TOP: Spec = Spec {
    about: "Show the processes of a container",
    usage: "CONTAINER [ps OPTIONS]",
    paths: &["container top", "top"],
    arguments: Arguments::AtLeast(1),
    stops_at_argument: true,
    ..spec("top", TopArgs::augment_args)
};

/// `stats`
pub const STATS: Spec = Spec {
    about: "Show what containers use of the machine, again and again",
    usage: "[OPTIONS] [CONTAINER...]",
    paths: &["container stats", "stats"],
    arguments: Arguments::AtLeast(0),
    ..spec("stats", StatsArgs::augment_args)
};
