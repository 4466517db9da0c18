//! Arguments of the commands that change images: tag, rmi, history, image prune.

use clap::{ArgAction, Args};

use super::{PruneArgs, spec};
use crate::cli::command::{Arguments, Spec};
use crate::cli::values;

/// Arguments of `tag`.
#[derive(Args, Clone, Debug, Default)]
pub struct TagArgs {
    /// Name or id.
    #[arg(hide = true)]
    pub source: String,
    /// The name it gets.
    #[arg(hide = true)]
    pub target: String,
}

/// Arguments of `rmi`.
#[derive(Args, Clone, Debug, Default)]
pub struct RmiArgs {
    /// Remove it even if containers or other names need it
    #[arg(short, long)]
    pub force: bool,
    /// Keep parents that have no name
    #[arg(long)]
    pub no_prune: bool,
    /// Remove the image for this platform only (linux/arm64)
    #[arg(long, value_name = "strings", value_parser = values::strings)]
    pub platform: Vec<values::List>,
    /// Names or ids.
    #[arg(hide = true)]
    pub images: Vec<String>,
}

/// Arguments of `history`.
#[derive(Args, Clone, Debug, Default)]
pub struct HistoryArgs {
    /// How to print: "table", "table TEMPLATE", "json" or a template
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub format: String,
    /// Print sizes and times for people
    #[arg(short = 'H', long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_parser = values::truth)]
    pub human: bool,
    /// Do not shorten anything
    #[arg(long)]
    pub no_trunc: bool,
    /// Show the image for this platform (linux/arm64)
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub platform: String,
    /// Print ids only
    #[arg(short, long)]
    pub quiet: bool,
    /// Name or id.
    #[arg(hide = true)]
    pub image: String,
}

/// Arguments of `image prune`.
#[derive(Args, Clone, Debug, Default)]
pub struct ImagePruneArgs {
    /// Remove all images that no container uses, not only those without a name
    #[arg(short, long)]
    pub all: bool,
    /// Conditions.
    #[command(flatten)]
    pub prune: PruneArgs,
}

/// `tag`
pub const TAG: Spec = Spec {
    about: "Give an image another name",
    usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    paths: &["image tag", "tag"],
    arguments: Arguments::Exactly(2),
    ..spec("tag", TagArgs::augment_args)
};

/// `rmi`
pub const RMI: Spec = Spec {
    about: "Remove images",
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    paths: &["image rm", "image remove", "rmi"],
    arguments: Arguments::AtLeast(1),
    ..spec("rmi", RmiArgs::augment_args)
};

/// `image rm`
pub const IMAGE_RM: Spec = Spec {
    name: "rm",
    aliases: &["remove"],
    ..RMI
};

/// `history`
pub const HISTORY: Spec = Spec {
    about: "Show how an image was made",
    usage: "[OPTIONS] IMAGE",
    paths: &["image history", "history"],
    arguments: Arguments::Exactly(1),
    ..spec("history", HistoryArgs::augment_args)
};

/// `image prune`
pub const IMAGE_PRUNE: Spec = Spec {
    about: "Remove images that nothing uses",
    ..spec("prune", ImagePruneArgs::augment_args)
};
