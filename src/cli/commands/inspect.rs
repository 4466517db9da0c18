//! Arguments of the commands that show all of an object: inspect, port, diff.

use std::path::PathBuf;

use clap::Args;

use super::{FormatArgs, spec};
use crate::cli::command::{Arguments, Spec};

/// Arguments of `inspect`.
#[derive(Args, Clone, Debug, Default)]
pub struct InspectArgs {
    /// How to print.
    #[command(flatten)]
    pub how: FormatArgs,
    /// Show how much a container takes of the disk
    #[arg(short, long)]
    pub size: bool,
    /// Look for objects of this type only
    #[arg(long = "type", value_name = "string")]
    pub kind: Option<String>,
    /// Names or ids.
    #[arg(hide = true)]
    pub names: Vec<String>,
}

/// Arguments of `container inspect`.
#[derive(Args, Clone, Debug, Default)]
pub struct ContainerInspectArgs {
    /// How to print.
    #[command(flatten)]
    pub how: FormatArgs,
    /// Show how much it takes of the disk
    #[arg(short, long)]
    pub size: bool,
    /// Names or ids.
    #[arg(hide = true)]
    pub names: Vec<String>,
}

/// Arguments of `image inspect`.
#[derive(Args, Clone, Debug, Default)]
pub struct ImageInspectArgs {
    /// How to print.
    #[command(flatten)]
    pub how: FormatArgs,
    /// Show the image for this platform (linux/arm64)
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub platform: String,
    /// Names or ids.
    #[arg(hide = true)]
    pub names: Vec<String>,
}

/// Arguments of `volume inspect`.
#[derive(Args, Clone, Debug, Default)]
pub struct VolumeInspectArgs {
    /// How to print.
    #[command(flatten)]
    pub how: FormatArgs,
    /// Names.
    #[arg(hide = true)]
    pub names: Vec<String>,
}

/// Arguments of `network inspect`.
#[derive(Args, Clone, Debug, Default)]
pub struct NetworkInspectArgs {
    /// How to print.
    #[command(flatten)]
    pub how: FormatArgs,
    /// Show more of networks of a swarm
    #[arg(short, long)]
    pub verbose: bool,
    /// Names or ids.
    #[arg(hide = true)]
    pub names: Vec<String>,
}

/// Arguments of `port`.
#[derive(Args, Clone, Debug, Default)]
pub struct PortArgs {
    /// Name or id.
    #[arg(hide = true)]
    pub container: String,
    /// `80`, `80/udp`.
    #[arg(hide = true)]
    pub port: Option<String>,
}

/// Arguments of `why`.
#[derive(Args, Clone, Debug, Default)]
pub struct WhyArgs {
    /// Name or id.
    #[arg(hide = true)]
    pub container: String,
}

/// Arguments of `explain`; what follows the first word is read as `run` reads it, or as [`ExplainOneArgs`].
#[derive(Args, Clone, Debug, Default)]
pub struct ExplainArgs {
    /// How to print.
    #[command(flatten)]
    pub how: FormatArgs,
    /// A container; or run, its options, an image and a command.
    #[arg(hide = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

/// Arguments of `explain` for a container that exists.
#[derive(Args, Clone, Debug, Default)]
pub struct ExplainOneArgs {
    /// How to print.
    #[command(flatten)]
    pub how: FormatArgs,
    /// Name or id.
    #[arg(hide = true)]
    pub container: String,
}

/// Arguments of `diff`.
#[derive(Args, Clone, Debug, Default)]
pub struct DiffArgs {
    /// Show what has changed: lines of text files, modes, owners, links
    #[arg(long)]
    pub content: bool,
    /// Name or id.
    #[arg(hide = true)]
    pub container: String,
    /// Only what is at or below this path.
    #[arg(hide = true)]
    pub path: Option<PathBuf>,
}

/// `inspect`
pub const INSPECT: Spec = Spec {
    about: "Show everything about objects of any type",
    usage: "[OPTIONS] NAME|ID [NAME|ID...]",
    arguments: Arguments::AtLeast(1),
    ..spec("inspect", InspectArgs::augment_args)
};

/// `container inspect`
pub const CONTAINER_INSPECT: Spec = Spec {
    about: "Show everything about containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    build: ContainerInspectArgs::augment_args,
    ..INSPECT
};

/// `image inspect`
pub const IMAGE_INSPECT: Spec = Spec {
    about: "Show everything about images",
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    build: ImageInspectArgs::augment_args,
    ..INSPECT
};

/// `volume inspect`
pub const VOLUME_INSPECT: Spec = Spec {
    about: "Show everything about volumes",
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    build: VolumeInspectArgs::augment_args,
    ..INSPECT
};

/// `network inspect`
pub const NETWORK_INSPECT: Spec = Spec {
    about: "Show everything about networks",
    usage: "[OPTIONS] NETWORK [NETWORK...]",
    build: NetworkInspectArgs::augment_args,
    ..INSPECT
};

/// `port`
pub const PORT: Spec = Spec {
    about: "Show where the ports of a container are published",
    usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    paths: &["container port", "port"],
    arguments: Arguments::Between(1, 2),
    ..spec("port", PortArgs::augment_args)
};

/// `why`
pub const WHY: Spec = Spec {
    about: "Tell why a container is in its state: what ended it, who, and what may help",
    usage: "CONTAINER",
    paths: &["container why", "why"],
    arguments: Arguments::Exactly(1),
    ..spec("why", WhyArgs::augment_args)
};

/// `explain`
pub const EXPLAIN: Spec = Spec {
    about: "Tell what a container is made of, or what run would make, beside the default",
    usage: "[OPTIONS] CONTAINER | run [OPTIONS] IMAGE [COMMAND] [ARG...]",
    arguments: Arguments::AtLeast(1),
    stops_at_argument: true,
    ..spec("explain", ExplainArgs::augment_args)
};

/// `explain` of one container.
pub const EXPLAIN_ONE: Spec = Spec {
    usage: "[OPTIONS] CONTAINER",
    arguments: Arguments::Exactly(1),
    stops_at_argument: false,
    build: ExplainOneArgs::augment_args,
    ..EXPLAIN
};

/// `diff`
pub const DIFF: Spec = Spec {
    about: "Show which files a container changed",
    usage: "[OPTIONS] CONTAINER [PATH]",
    paths: &["container diff", "diff"],
    arguments: Arguments::Extended(1, 2),
    ..spec("diff", DiffArgs::augment_args)
};
