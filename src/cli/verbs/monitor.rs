//! The hidden command that a container's monitor is.

use crate::cli::command::{self, Arguments, Context, Spec};
use crate::cli::commands::{Names, spec};
use crate::cli::face::Failed;
use crate::cli::log;
use crate::monitor::{client, supervise};

/// `monitor`
pub const MONITOR: Spec = Spec {
    about: "Watch over one container",
    usage: "CONTAINER",
    arguments: Arguments::Exactly(1),
    ..spec(client::COMMAND, <Names as clap::Args>::augment_args)
};

/// Runs the monitor of the container whose full id is given.
pub fn run(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: Names = command::arguments(matches)?;
    let dirs = &context.globals.dirs;
    let id = arguments.names.first().map_or("", String::as_str);
    log::to_file(&dirs.container(id).join("monitor.log"));
    if let Err(error) = supervise::main(dirs, id) {
        tracing::error!("{error:#}");
        return Err(Failed::silent(1));
    }
    Ok(0)
}
