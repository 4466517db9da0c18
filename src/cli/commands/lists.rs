//! Arguments of the commands that list: ps, images, search.

use clap::Args;

use super::{FilterArgs, spec};
use crate::cli::command::{Arguments, Spec};
use crate::cli::values;

/// Arguments of `ps`.
#[derive(Args, Clone, Debug, Default)]
pub struct PsArgs {
    /// Show containers that do not run too
    #[arg(short, long)]
    pub all: bool,
    /// Conditions.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// How to print: "table", "table TEMPLATE", "json" or a template
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub format: String,
    /// Show the last containers that were made, running or not
    #[arg(short = 'n', long, value_name = "int", value_parser = values::int, default_value = "-1")]
    pub last: i64,
    /// Show the last container that was made, running or not
    #[arg(short, long)]
    pub latest: bool,
    /// Do not shorten anything
    #[arg(long)]
    pub no_trunc: bool,
    /// Print ids only
    #[arg(short, long)]
    pub quiet: bool,
    /// Show how much containers take of the disk
    #[arg(short, long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = values::truth)]
    pub size: Option<bool>,
}

/// Arguments of `images`.
#[derive(Args, Clone, Debug, Default)]
pub struct ImagesArgs {
    /// Show images that only others are made from too
    #[arg(short, long)]
    pub all: bool,
    /// Show digests
    #[arg(long)]
    pub digests: bool,
    /// Conditions.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// How to print: "table", "table TEMPLATE", "json" or a template
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub format: String,
    /// Do not shorten anything
    #[arg(long)]
    pub no_trunc: bool,
    /// Print ids only
    #[arg(short, long)]
    pub quiet: bool,
    /// Show the platforms of each image as a tree
    #[arg(long)]
    pub tree: bool,
    /// Name, with or without a tag.
    #[arg(hide = true)]
    pub reference: Option<String>,
}

/// Arguments of `search`.
#[derive(Args, Clone, Debug, Default)]
pub struct SearchArgs {
    /// Conditions.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// How to print: "table", "table TEMPLATE", "json" or a template
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub format: String,
    /// Most answers
    #[arg(long, value_name = "int", value_parser = values::int, default_value = "0", hide_default_value = true)]
    pub limit: i64,
    /// Do not shorten anything
    #[arg(long)]
    pub no_trunc: bool,
    /// What to look for.
    #[arg(hide = true)]
    pub term: String,
}

const LS_PATHS: &[&str] = &["container ls", "container list", "container ps", "ps"];
const IMAGES_PATHS: &[&str] = &["image ls", "image list", "images"];

/// `ps`
pub const PS: Spec = Spec {
    about: "List containers",
    paths: LS_PATHS,
    ..spec("ps", PsArgs::augment_args)
};

/// `container ls`
pub const CONTAINER_LS: Spec = Spec {
    name: "ls",
    aliases: &["ps", "list"],
    ..PS
};

/// `images`
pub const IMAGES: Spec = Spec {
    about: "List images",
    usage: "[OPTIONS] [REPOSITORY[:TAG]]",
    paths: IMAGES_PATHS,
    arguments: Arguments::AtMost(1),
    ..spec("images", ImagesArgs::augment_args)
};

/// `image ls`
pub const IMAGE_LS: Spec = Spec {
    name: "ls",
    aliases: &["list"],
    ..IMAGES
};

/// `search`
pub const SEARCH: Spec = Spec {
    about: "Look for images on Docker Hub",
    usage: "[OPTIONS] TERM",
    arguments: Arguments::Exactly(1),
    ..spec("search", SearchArgs::augment_args)
};
