//! The commands: one struct of arguments and one [`Spec`] each, grouped by noun.
//!
//! Doc comments of fields are the help of options, so they are sentences for users, without a full stop.

#![expect(
    rustdoc::broken_intra_doc_links,
    reason = "help texts of options have brackets for what can be left out"
)]

pub mod containers;
pub mod images;
pub mod inspect;
pub mod lifecycle;
pub mod lists;
pub mod network;
pub mod processes;
pub mod registry;
pub mod run;
pub mod system;
pub mod transfer;
pub mod volume;

use clap::Args;

use crate::cli::command::{Arguments, Spec};
use crate::cli::values::{self, Filter};

/// A spec that says no more than its arguments; the base of all others.
pub(crate) const fn spec(name: &'static str, build: fn(clap::Command) -> clap::Command) -> Spec {
    Spec {
        name,
        aliases: &[],
        about: "",
        usage: "[OPTIONS]",
        paths: &[],
        arguments: Arguments::None,
        stops_at_argument: false,
        build,
    }
}

/// `--filter`, with a letter of its own.
#[derive(Args, Clone, Debug, Default)]
pub struct FilterArgs {
    /// Show only what fulfils a condition (NAME=VALUE)
    #[arg(short, long, value_name = "filter", value_parser = values::filter)]
    pub filter: Vec<Option<Filter>>,
}

/// `--format` of a document, with a letter of its own: all arguments of `info` and `version`.
#[derive(Args, Clone, Debug, Default)]
pub struct FormatArgs {
    /// How to print: "json" or a template
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub format: String,
}

/// Options of every `prune`; `--filter` has no letter of its own.
#[derive(Args, Clone, Debug, Default)]
pub struct PruneArgs {
    /// Show what would be removed and how much room that makes, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Remove only what fulfils a condition (until=TIME, label=NAME)
    #[arg(long, value_name = "filter", value_parser = values::filter)]
    pub filter: Vec<Option<Filter>>,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
}

/// Names of one or more objects.
#[derive(Args, Clone, Debug, Default)]
pub struct Names {
    /// Names or ids.
    #[arg(hide = true)]
    pub names: Vec<String>,
}

/// `prune` of things that have no further options.
pub const PRUNE: Spec = spec("prune", PruneArgs::augment_args);
