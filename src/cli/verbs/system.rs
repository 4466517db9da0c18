//! `info`.

use anyhow::Result;

use super::engine;
use crate::cli::command::{self, Context};
use crate::cli::commands::FormatArgs;
use crate::cli::face::Failed;
use crate::cli::output;
use crate::cli::template::{self, Template};
use crate::cli::{format, human};
use crate::engine::info;

/// `info`
pub fn info(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: FormatArgs = command::arguments(matches)?;
    let engine = engine(context)?;
    let info = info::info(&engine).map_err(Failed::engine)?;
    let text = match arguments.format.as_str() {
        "" => table(&info),
        asked => {
            let asked = if asked == "json" { "{{json .}}" } else { asked };
            let template = Template::parse(asked)
                .map_err(|error| Failed::from(format::parsing_error(error)).code(64))?;
            let document = template::to_value(&info)?;
            let (text, done) = template.execute_as_far_as_it_goes(&document);
            if let Err(error) = done {
                output::out(&format!("{text}\n"))?;
                return Err(Failed::from(anyhow::Error::from(error)));
            }
            format!("{text}\n")
        }
    };
    output::out(&text)?;
    for warning in &info.warnings {
        output::err(&format!("{warning}\n"));
    }
    Ok(0)
}

/// Names and values, as docker's client indents them.
fn table(info: &crate::docker::info::Info) -> String {
    let memory = human::size::bytes_binary(info.mem_total);
    let lines = [
        ("Containers", info.containers.to_string()),
        (" Running", info.containers_running.to_string()),
        (" Paused", info.containers_paused.to_string()),
        (" Stopped", info.containers_stopped.to_string()),
        ("Images", info.images.to_string()),
        ("Server Version", info.server_version.clone()),
        ("Storage Driver", info.driver.clone()),
        ("Logging Driver", info.logging_driver.clone()),
        ("Cgroup Driver", info.cgroup_driver.clone()),
        ("Cgroup Version", info.cgroup_version.clone()),
        ("Swarm", "inactive".to_owned()),
        ("Runtimes", info.default_runtime.clone()),
        ("Default Runtime", info.default_runtime.clone()),
        ("Security Options", info.security_options.join(" ")),
        ("Kernel Version", info.kernel_version.clone()),
        ("Operating System", info.operating_system.clone()),
        ("OSType", info.os_type.clone()),
        ("Architecture", info.architecture.clone()),
        ("CPUs", info.ncpu.to_string()),
        ("Total Memory", memory),
        ("Name", info.name.clone()),
        ("ID", info.id.clone()),
        ("Docker Root Dir", info.docker_root_dir.clone()),
        ("Debug Mode", "false".to_owned()),
        ("Experimental", "false".to_owned()),
    ];
    let mut text = String::from("Client:\n Context:    default\n Debug Mode: false\n\nServer:\n");
    for (name, value) in lines {
        text.push_str(&[" ", name, ": ", &value, "\n"].concat());
    }
    let mut list = |title: &str, items: &[String]| {
        if !items.is_empty() {
            let lines = items.join("\n  ");
            text.push_str(&[" ", title, ":\n  ", &lines, "\n"].concat());
        }
    };
    let registries = &info.registry_config;
    let named = registries
        .index_configs
        .values()
        .filter(|index| !index.secure);
    let mut insecure: Vec<String> = named.map(|index| index.name.clone()).collect();
    insecure.extend(registries.insecure_registry_cidrs.iter().cloned());
    list("Labels", &info.labels);
    list("Insecure Registries", &insecure);
    list("Registry Mirrors", &registries.mirrors);
    text.push_str(" Live Restore Enabled: true\n");
    text
}
