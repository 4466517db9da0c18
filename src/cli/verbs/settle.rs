//! The hidden command that writes layers to the disk, after those that have made them.

use crate::cli::command::{Context, Spec};
use crate::cli::commands::{Names, spec};
use crate::cli::face::Failed;
use crate::engine::settle;

/// `settle`
pub const SETTLE: Spec = Spec {
    about: "Write layers to the disk",
    usage: "",
    ..spec(settle::COMMAND, <Names as clap::Args>::augment_args)
};

/// Runs it.
pub fn run(context: &Context, _: &clap::ArgMatches) -> Result<u8, Failed> {
    settle::settle(&context.globals.dirs)?;
    Ok(0)
}
