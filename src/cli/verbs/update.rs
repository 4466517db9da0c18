//! `update`.

use super::{boot, engine, warn};
use crate::cli::command::{self, Context};
use crate::cli::commands::containers::UpdateArgs;
use crate::cli::face::Failed;
use crate::cli::flags::{self, resources};
use crate::cli::output;
use crate::docker::container::{ContainerUpdate, RestartPolicy};
use crate::engine::update;
use crate::error;

/// `update`
pub fn run(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: UpdateArgs = command::arguments(matches)?;
    if !given(matches) {
        let why = "you must provide one or more flags when using this command";
        return Err(Failed::from(error::invalid(why)));
    }
    let restart_policy = match arguments.restart.as_str() {
        "" => RestartPolicy::default(),
        text => flags::restart_policy(text)?,
    };
    let asked = ContainerUpdate {
        resources: resources::limits(&arguments.limits),
        restart_policy,
    };
    let engine = engine(context)?;
    let (mut warnings, mut failures) = (Vec::new(), Vec::new());
    for name in &arguments.containers {
        let updated = engine
            .container(name)
            .and_then(|container| update::update(&engine, &container, &asked));
        match updated {
            Ok(more) => {
                output::out(&format!("{name}\n"))?;
                warnings.extend(more);
            }
            Err(error) => failures.push(Failed::engine(error)),
        }
    }
    warn(&warnings);
    boot::hint(context, &asked.restart_policy);
    Failed::all(failures)?;
    Ok(0)
}

/// Returns whether any option was on the command line.
fn given(matches: &clap::ArgMatches) -> bool {
    let typed = |id: &clap::Id| {
        matches.value_source(id.as_str()) == Some(clap::parser::ValueSource::CommandLine)
    };
    matches.ids().any(|id| *id != "containers" && typed(id))
}
