//! Arguments of the commands that start and end containers.

use clap::Args;

use super::{Names, spec};
use crate::cli::command::{Arguments, Spec};
use crate::cli::values;

const CONTAINERS: &str = "[OPTIONS] CONTAINER [CONTAINER...]";

/// Arguments of `start`.
#[derive(Args, Clone, Debug, Default)]
pub struct StartArgs {
    /// Show what the program prints, and pass signals on to it
    #[arg(short, long)]
    pub attach: bool,
    /// Go on from this checkpoint
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub checkpoint: String,
    /// Directory of the checkpoint
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub checkpoint_dir: String,
    /// Keys that leave the container without ending it (ctrl-p,ctrl-q)
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub detach_keys: String,
    /// Connect stdin
    #[arg(short, long)]
    pub interactive: bool,
    /// Names or ids.
    #[arg(hide = true)]
    pub containers: Vec<String>,
}

/// Arguments of `stop` and `restart`.
#[derive(Args, Clone, Debug, Default)]
pub struct StopArgs {
    /// Signal that asks the program to end
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub signal: String,
    /// Seconds until it is killed after that signal; -1 for never
    #[arg(short, long, value_name = "int", value_parser = values::int)]
    pub timeout: Option<i64>,
    /// The same under its old name.
    #[arg(long, hide = true, value_name = "int", value_parser = values::int)]
    pub time: Option<i64>,
    /// Names or ids.
    #[arg(hide = true)]
    pub containers: Vec<String>,
}

/// Arguments of `kill`.
#[derive(Args, Clone, Debug, Default)]
pub struct KillArgs {
    /// Signal to send; SIGKILL if not given
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub signal: String,
    /// Names or ids.
    #[arg(hide = true)]
    pub containers: Vec<String>,
}

/// Arguments of `rm`.
#[derive(Args, Clone, Debug, Default)]
pub struct RmArgs {
    /// Kill it first if it runs
    #[arg(short, long)]
    pub force: bool,
    /// Remove the link, not the container
    #[arg(short, long)]
    pub link: bool,
    /// Remove its anonymous volumes too
    #[arg(short, long)]
    pub volumes: bool,
    /// Names or ids.
    #[arg(hide = true)]
    pub containers: Vec<String>,
}

/// Arguments of `rename`.
#[derive(Args, Clone, Debug, Default)]
pub struct RenameArgs {
    /// Name or id.
    #[arg(hide = true)]
    pub container: String,
    /// The name it gets.
    #[arg(hide = true)]
    pub name: String,
}

/// `start`
pub const START: Spec = Spec {
    about: "Start stopped containers",
    usage: CONTAINERS,
    paths: &["container start", "start"],
    arguments: Arguments::AtLeast(1),
    ..spec("start", StartArgs::augment_args)
};

/// `stop`
pub const STOP: Spec = Spec {
    about: "Ask the programs of containers to end, and kill those that do not",
    usage: CONTAINERS,
    paths: &["container stop", "stop"],
    arguments: Arguments::AtLeast(1),
    ..spec("stop", StopArgs::augment_args)
};

/// `restart`
pub const RESTART: Spec = Spec {
    about: "Stop containers and start them again",
    paths: &["container restart", "restart"],
    name: "restart",
    ..STOP
};

/// `kill`
pub const KILL: Spec = Spec {
    about: "Send a signal to the programs of containers",
    usage: CONTAINERS,
    paths: &["container kill", "kill"],
    arguments: Arguments::AtLeast(1),
    ..spec("kill", KillArgs::augment_args)
};

/// `pause`
pub const PAUSE: Spec = Spec {
    about: "Freeze all processes of containers",
    usage: "CONTAINER [CONTAINER...]",
    paths: &["container pause", "pause"],
    arguments: Arguments::AtLeast(1),
    ..spec("pause", Names::augment_args)
};

/// `unpause`
pub const UNPAUSE: Spec = Spec {
    about: "Let frozen containers go on",
    paths: &["container unpause", "unpause"],
    name: "unpause",
    ..PAUSE
};

/// `wait`
pub const WAIT: Spec = Spec {
    about: "Wait until containers stop, and print their exit codes",
    paths: &["container wait", "wait"],
    name: "wait",
    ..PAUSE
};

/// `rm`
pub const RM: Spec = Spec {
    aliases: &["remove"],
    about: "Remove containers",
    usage: CONTAINERS,
    paths: &["container rm", "container remove", "rm"],
    arguments: Arguments::AtLeast(1),
    ..spec("rm", RmArgs::augment_args)
};

/// `rename`
pub const RENAME: Spec = Spec {
    about: "Give a container another name",
    usage: "CONTAINER NEW_NAME",
    paths: &["container rename", "rename"],
    arguments: Arguments::Exactly(2),
    ..spec("rename", RenameArgs::augment_args)
};
