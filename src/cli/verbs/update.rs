//! `update`.

use anyhow::Context as _;

use super::{boot, engine};
use crate::cli::command::{self, Context};
use crate::cli::commands::containers::UpdateArgs;
use crate::cli::face::Failed;
use crate::cli::flags::{self, env, mount, ports, resources};
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
    let asked = asked(&arguments, restart_policy)?;
    let engine = engine(context)?;
    let mut warnings = resources::warnings(&arguments.limits);
    let (mut failures, mut waiting) = (Vec::new(), Vec::new());
    for name in &arguments.containers {
        let updated = engine
            .container(name)
            .and_then(|container| update::update(&engine, &container, &asked));
        match updated {
            Ok(updated) => {
                output::out(&format!("{name}\n"))?;
                warnings.extend(updated.warnings);
                if updated.waits {
                    waiting.push(name.as_str());
                }
            }
            Err(error) => failures.push(Failed::engine(error)),
        }
    }
    output::warn(&warnings);
    for name in waiting {
        let what = "its variables and mounts change at its next start";
        output::err(&format!("NOTE: {name} runs; {what}\n"));
    }
    boot::hint(context, &asked.restart_policy);
    Failed::all(failures)?;
    Ok(0)
}

fn asked(arguments: &UpdateArgs, restart_policy: RestartPolicy) -> Result<ContainerUpdate, Failed> {
    let look_up = |name: &str| std::env::var(name).ok();
    let directory = std::env::current_dir().context("find the working directory")?;
    let mut mount_add = arguments.mount_add.clone();
    for mount in &mut mount_add {
        mount::resolve(mount, &directory);
    }
    Ok(ContainerUpdate {
        resources: resources::limits(&arguments.limits),
        restart_policy,
        publish_add: ports::publish(&arguments.publish_add)?.1,
        publish_rm: ports::published(&arguments.publish_rm)?,
        env_add: env::environment(&[], &arguments.env_add, &look_up)?,
        env_rm: arguments.env_rm.clone(),
        mount_add,
        mount_rm: arguments.mount_rm.clone(),
    })
}

/// Returns whether any option was on the command line.
fn given(matches: &clap::ArgMatches) -> bool {
    let typed = |id: &clap::Id| {
        matches.value_source(id.as_str()) == Some(clap::parser::ValueSource::CommandLine)
    };
    matches.ids().any(|id| *id != "containers" && typed(id))
}
