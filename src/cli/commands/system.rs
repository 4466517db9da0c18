//! Arguments of `system`, info, version and events.

use clap::Args;

use super::{FilterArgs, FormatArgs, PruneArgs, spec};
use crate::cli::command::Spec;

/// Arguments of `events`.
#[derive(Args, Clone, Debug, Default)]
pub struct EventsArgs {
    /// Conditions.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// How to print: "json" or a template
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub format: String,
    /// Begin with what happened after this time
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub since: String,
    /// End at this time
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub until: String,
}

/// Arguments of `system df`.
#[derive(Args, Clone, Debug, Default)]
pub struct DfArgs {
    /// How to print: "table", "table TEMPLATE", "json" or a template
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub format: String,
    /// Show each object
    #[arg(short, long)]
    pub verbose: bool,
}

/// Arguments of `system prune`.
#[derive(Args, Clone, Debug, Default)]
pub struct SystemPruneArgs {
    /// Remove all images that no container uses, not only those without a name
    #[arg(short, long)]
    pub all: bool,
    /// Conditions.
    #[command(flatten)]
    pub prune: PruneArgs,
    /// Remove anonymous volumes too
    #[arg(long)]
    pub volumes: bool,
}

/// Arguments of `system check`.
#[derive(Args, Clone, Debug, Default)]
pub struct CheckArgs {
    /// Read all data and compare it with its digests
    #[arg(long)]
    pub deep: bool,
    /// Set right what can be, and remove what nothing needs
    #[arg(long)]
    pub repair: bool,
}

/// `info`
pub const INFO: Spec = Spec {
    about: "Show what this engine and machine are like",
    paths: &["system info", "info"],
    ..spec("info", FormatArgs::augment_args)
};

/// Arguments of `system boot`: there are none.
#[derive(Args, Clone, Debug, Default)]
pub struct BootArgs {}

/// `system boot`
pub const BOOT: Spec = Spec {
    about: "Start the containers again whose restart policy says so, after the machine has started",
    usage: "",
    ..spec("boot", BootArgs::augment_args)
};

/// `version`
pub const VERSION: Spec = Spec {
    about: "Show the version",
    ..spec("version", FormatArgs::augment_args)
};

/// `events`
pub const EVENTS: Spec = Spec {
    about: "Show what happens, as it happens",
    paths: &["system events", "events"],
    ..spec("events", EventsArgs::augment_args)
};

/// `system df`
pub const DF: Spec = Spec {
    about: "Show what takes how much of the disk",
    ..spec("df", DfArgs::augment_args)
};

/// `system prune`
pub const PRUNE: Spec = Spec {
    about: "Remove everything that nothing uses",
    ..spec("prune", SystemPruneArgs::augment_args)
};

/// `system check`
pub const CHECK: Spec = Spec {
    about: "Look for damage in images, layers, containers and volumes",
    ..spec("check", CheckArgs::augment_args)
};
