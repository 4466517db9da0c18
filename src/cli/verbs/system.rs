//! `info`.

use anyhow::Result;

use super::engine;
use crate::cli::command::{self, Context};
use crate::cli::commands::FormatArgs;
use crate::cli::face::Failed;
use crate::cli::output;
use crate::cli::template::{self, Template};
use crate::cli::{format, human, version};
use crate::docker::info::{ClientInfo, Info};
use crate::engine::info;

/// `info`
pub fn info(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: FormatArgs = command::arguments(matches)?;
    let engine = engine(context)?;
    let mut info = info::info(&engine).map_err(Failed::engine)?;
    info.client_info = Some(version::client_info(context.globals.debug));
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
fn table(info: &Info) -> String {
    let proxies = [
        ("HTTP Proxy", info.http_proxy.clone()),
        ("HTTPS Proxy", info.https_proxy.clone()),
        ("No Proxy", info.no_proxy.clone()),
    ];
    [
        client(info.client_info.as_ref()),
        "\nServer:\n".to_owned(),
        engine_lines(info),
        security(&info.security_options),
        machine_lines(info),
        lines(proxies.into_iter().filter(|(_, value)| !value.is_empty())),
        list("Labels", &info.labels),
        lines([("Experimental", info.experimental_build.to_string())]),
        list("Insecure Registries", &insecure(info)),
        list("Registry Mirrors", &info.registry_config.mirrors),
        lines([(
            "Live Restore Enabled",
            info.live_restore_enabled.to_string(),
        )]),
    ]
    .concat()
}

fn engine_lines(info: &Info) -> String {
    let status = info.driver_status.iter();
    let storage: String = status
        .map(|[name, value]| ["  ", name, ": ", value, "\n"].concat())
        .collect();
    let runtimes: Vec<&str> = info.runtimes.keys().map(String::as_str).collect();
    [
        lines([
            ("Containers", info.containers.to_string()),
            (" Running", info.containers_running.to_string()),
            (" Paused", info.containers_paused.to_string()),
            (" Stopped", info.containers_stopped.to_string()),
            ("Images", info.images.to_string()),
            ("Server Version", info.server_version.clone()),
            ("Storage Driver", info.driver.clone()),
        ]),
        storage,
        lines([
            ("Logging Driver", info.logging_driver.clone()),
            ("Cgroup Driver", info.cgroup_driver.clone()),
            ("Cgroup Version", info.cgroup_version.clone()),
        ]),
        " Plugins:\n".to_owned(),
        lines([
            (" Volume", info.plugins.volume.join(" ")),
            (" Network", info.plugins.network.join(" ")),
            (" Log", info.plugins.log.join(" ")),
            ("Swarm", info.swarm.local_node_state.clone()),
            ("Runtimes", runtimes.join(" ")),
            ("Default Runtime", info.default_runtime.clone()),
            ("Init Binary", info.init_binary.clone()),
        ]),
    ]
    .concat()
}

fn machine_lines(info: &Info) -> String {
    let memory = human::size::bytes_binary(info.mem_total);
    lines([
        ("Kernel Version", info.kernel_version.clone()),
        ("Operating System", info.operating_system.clone()),
        ("OSType", info.os_type.clone()),
        ("Architecture", info.architecture.clone()),
        ("CPUs", info.ncpu.to_string()),
        ("Total Memory", memory),
        ("Name", info.name.clone()),
        ("ID", info.id.clone()),
        ("Docker Root Dir", info.docker_root_dir.clone()),
        ("Debug Mode", info.debug.to_string()),
    ])
}

fn lines<'a>(lines: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let lines = lines.into_iter();
    lines
        .map(|(name, value)| [" ", name, ": ", &value, "\n"].concat())
        .collect()
}

fn client(client: Option<&ClientInfo>) -> String {
    let Some(client) = client else {
        return String::new();
    };
    format!(
        "Client:\n Version:    {}\n Context:    {}\n Debug Mode: {}\n",
        client.version, client.context, client.debug
    )
}

/// `name=seccomp,profile=builtin` in two lines.
fn security(options: &[String]) -> String {
    let line = |(at, part): (usize, &str)| match (at, part.split_once('=')) {
        (0, Some(("name", name))) => format!("  {name}\n"),
        (_, Some(("profile", profile))) => format!("   Profile: {profile}\n"),
        (_, Some((key, value))) => format!("   {key}: {value}\n"),
        (_, None) => format!("  {part}\n"),
    };
    let options = options
        .iter()
        .flat_map(|option| option.split(',').enumerate());
    [" Security Options:\n".to_owned()]
        .into_iter()
        .chain(options.map(line))
        .collect()
}

fn insecure(info: &Info) -> Vec<String> {
    let registries = &info.registry_config;
    let named = registries
        .index_configs
        .values()
        .filter(|index| !index.secure);
    let names = named.map(|index| index.name.clone());
    names
        .chain(registries.insecure_registry_cidrs.iter().cloned())
        .collect()
}

/// A line per item below the title; nothing if there are none.
fn list(title: &str, items: &[String]) -> String {
    if items.is_empty() {
        return String::new();
    }
    format!(" {title}:\n  {}\n", items.join("\n  "))
}
