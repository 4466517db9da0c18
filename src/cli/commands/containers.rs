//! Arguments of the commands that change a container or make an image of it: update, commit, container prune.

use clap::{ArgAction, Args};

use super::{PRUNE, spec};
use crate::cli::command::{Arguments, Spec};
use crate::cli::flags::resources::LimitFlags;
use crate::cli::flags::{env, mount};
use crate::cli::values;
use crate::docker::container::Mount;

/// Arguments of `update`.
#[derive(Args, Clone, Debug, Default)]
pub struct UpdateArgs {
    /// Limits.
    #[command(flatten)]
    pub limits: LimitFlags,
    /// What happens when it ends: no, on-failure[:MAX], always, unless-stopped
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub restart: String,
    /// Set a variable from the next start on (NAME=VALUE, or NAME for the caller's value)
    #[arg(long, value_name = "list", value_parser = env::check)]
    pub env_add: Vec<String>,
    /// Remove a variable from the next start on
    #[arg(long, value_name = "list")]
    pub env_rm: Vec<String>,
    /// Mount something from the next start on, as with --mount of run
    #[arg(long, value_name = "mount", value_parser = mount::parse)]
    pub mount_add: Vec<Mount>,
    /// Do not mount anything at this place from the next start on
    #[arg(long, value_name = "list")]
    pub mount_rm: Vec<String>,
    /// Publish a port, at once if the container runs ([ADDRESS:][PORT:]PORT[/PROTOCOL])
    #[arg(long, value_name = "port")]
    pub publish_add: Vec<String>,
    /// Publish a port no more, at once if the container runs (PORT[/PROTOCOL], or as with --publish-add for one place of it)
    #[arg(long, value_name = "port")]
    pub publish_rm: Vec<String>,
    /// Names or ids.
    #[arg(hide = true)]
    pub containers: Vec<String>,
}

/// Arguments of `commit`.
#[derive(Args, Clone, Debug, Default)]
pub struct CommitArgs {
    /// Who made the image
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub author: String,
    /// Change the image by an instruction of a Dockerfile
    #[arg(short, long, value_name = "list")]
    pub change: Vec<String>,
    /// What to say of the image
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub message: String,
    /// Do not freeze the container meanwhile
    #[arg(long)]
    pub no_pause: bool,
    /// Freeze the container meanwhile
    #[arg(short, long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_parser = values::truth)]
    pub pause: bool,
    /// Name or id.
    #[arg(hide = true)]
    pub container: String,
    /// Name of the image, with or without a tag.
    #[arg(hide = true)]
    pub reference: Option<String>,
}

/// `update`
pub const UPDATE: Spec = Spec {
    about: "Change limits and restart policy of containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    paths: &["container update", "update"],
    arguments: Arguments::AtLeast(1),
    ..spec("update", UpdateArgs::augment_args)
};

/// `commit`
pub const COMMIT: Spec = Spec {
    about: "Make an image from what a container changed",
    usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    paths: &["container commit", "commit"],
    arguments: Arguments::Between(1, 2),
    ..spec("commit", CommitArgs::augment_args)
};

/// `container prune`
pub const CONTAINER_PRUNE: Spec = Spec {
    about: "Remove all containers that do not run",
    ..PRUNE
};
