//! The options that `run` and `create` share, and what becomes of them: a request to create a container.
//!
//! What docker's client checks is checked here, with its texts; what its daemon checks is left to the engine, since the
//! API has the same fields: names, references, limits, modes of `--ipc`, signals, capabilities.

#![expect(
    rustdoc::broken_intra_doc_links,
    reason = "help texts of options have brackets for what can be left out"
)]

pub mod cidfile;
pub mod csv;
pub mod devices;
pub mod env;
pub mod health;
pub mod keys;
pub mod mount;
pub mod network;
pub mod ports;
pub mod proxies;
pub mod resources;
pub mod security;
pub mod storage;
pub mod volume;

use std::path::PathBuf;

use anyhow::Result;
use clap::ArgAction;

use crate::cli::values;
use crate::docker::container::{
    Config, ContainerCreate, HostConfig, NetworkingConfig, RestartPolicy,
};
use crate::error;

use env::LookUp;

/// Options of a new container, and the image and command line.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ContainerFlags {
    /// Give the OCI runtime an annotation (NAME=VALUE)
    #[arg(long, value_name = "map", value_parser = values::pair)]
    pub annotation: Vec<(String, String)>,
    /// Connect to stdin, stdout or stderr
    #[arg(short, long, value_name = "list", value_parser = stream)]
    pub attach: Vec<String>,
    /// Write the container's id to this file
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true, value_parser = values::path)]
    pub cidfile: PathBuf,
    /// Devices.
    #[command(flatten)]
    pub devices: devices::DeviceFlags,
    /// NIS domain name
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub domainname: String,
    /// Start this instead of the image's program; "" for none
    #[arg(long, value_name = "string")]
    pub entrypoint: Option<String>,
    /// Set a variable (NAME=VALUE, or NAME for the caller's value)
    #[arg(short, long, value_name = "list", value_parser = env::check)]
    pub env: Vec<String>,
    /// Set the variables that a file has, one per line
    #[arg(long, value_name = "list")]
    pub env_file: Vec<String>,
    /// Add a group, by name or number
    #[arg(long, value_name = "list")]
    pub group_add: Vec<String>,
    /// Health check.
    #[command(flatten)]
    pub health: health::HealthFlags,
    /// Host name; the short id if not given
    #[arg(
        short = 'h',
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub hostname: String,
    /// Run a small init as process 1, which passes signals on and reaps
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = values::truth)]
    pub init: Option<bool>,
    /// Keep stdin open
    #[arg(short, long)]
    pub interactive: bool,
    /// Set metadata (NAME=VALUE)
    #[arg(short, long, value_name = "list", value_parser = values::label)]
    pub label: Vec<String>,
    /// Set the metadata that a file has, one per line
    #[arg(long, value_name = "list")]
    pub label_file: Vec<String>,
    /// Networks.
    #[command(flatten)]
    pub network: network::NetworkFlags,
    /// Limits.
    #[command(flatten)]
    pub resources: resources::ResourceFlags,
    /// What happens when it ends: no, on-failure[:MAX], always, unless-stopped
    #[arg(long, value_name = "string", default_value = "no")]
    pub restart: String,
    /// Remove the container and its anonymous volumes when it ends
    #[arg(long)]
    pub rm: bool,
    /// Isolation.
    #[command(flatten)]
    pub security: security::SecurityFlags,
    /// Signal that asks the program to end
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub stop_signal: String,
    /// Seconds until it is killed after that signal
    #[arg(long, value_name = "int", value_parser = values::int)]
    pub stop_timeout: Option<i64>,
    /// Storage.
    #[command(flatten)]
    pub storage: storage::StorageFlags,
    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// User, by name or number (USER[:GROUP])
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub user: String,
    /// Working directory
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub workdir: String,
    /// The image.
    #[arg(hide = true)]
    pub image: String,
    /// Command and arguments.
    #[arg(hide = true)]
    pub command: Vec<String>,
}

/// What the options do not say: where the caller stands.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// Variables of the caller.
    pub look_up: LookUp<'a>,
    /// Absolute working directory, for relative sources.
    pub directory: &'a std::path::Path,
}

/// Returns the request that the options make.
///
/// Reads the files that they name. Errors are of kind `Invalid` with the texts of docker's client, which prints them with
/// a pointer to the help and exits with 125.
pub fn request(flags: &ContainerFlags, caller: Caller<'_>) -> Result<ContainerCreate> {
    let mut host = HostConfig::default();
    let mut config = config(flags, caller)?;
    storage::apply(&flags.storage, caller.directory, &mut config, &mut host)?;
    let (mut exposed, bindings) = ports::publish(&flags.network.publish)?;
    for argument in &flags.network.expose {
        ports::expose(argument, &mut exposed)?;
    }
    config.exposed_ports = Some(exposed).filter(|exposed| !exposed.is_empty());
    host.port_bindings = bindings;
    host.resources = resources::resources(&flags.resources)?;
    devices::apply(&flags.devices, &mut host.resources)?;
    security::apply(&flags.security, &mut host)?;
    host.restart_policy = restart_policy(&flags.restart)?;
    config.healthcheck = health::healthcheck(&flags.health)?;
    let some = |list: &[String]| Some(list.to_vec()).filter(|list| !list.is_empty());
    host.annotations = flags.annotation.iter().cloned().collect();
    host.auto_remove = flags.rm;
    host.container_id_file = flags.cidfile.to_string_lossy().into_owned();
    host.dns.clone_from(&flags.network.dns);
    host.dns_options.clone_from(&flags.network.dns_options);
    host.dns_search.clone_from(&flags.network.dns_search);
    host.extra_hosts = some(&flags.network.add_host);
    host.group_add = some(&flags.group_add);
    host.init = flags.init;
    host.links = some(&flags.network.link);
    host.network_mode = network::mode(&flags.network);
    host.oom_score_adj = flags.resources.oom_score_adj;
    host.publish_all_ports = flags.network.publish_all;
    host.shm_size = flags.resources.shm_size;
    if flags.rm && !matches!(host.restart_policy.name.as_str(), "" | "no") {
        let both = "cannot specify both --restart and --rm";
        return Err(error::invalid(format!("conflicting options: {both}")));
    }
    let endpoints_config = network::endpoints(&flags.network)?;
    Ok(ContainerCreate {
        config,
        host_config: host,
        networking_config: NetworkingConfig { endpoints_config },
    })
}

fn config(flags: &ContainerFlags, caller: Caller<'_>) -> Result<Config> {
    let attaches = |stream: &str| flags.attach.iter().any(|attached| attached == stream);
    let by_default = flags.attach.is_empty();
    let some = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
    let attach_stdin = attaches("stdin") || flags.interactive;
    Ok(Config {
        hostname: flags.hostname.clone(),
        domainname: flags.domainname.clone(),
        user: flags.user.clone(),
        attach_stdin,
        attach_stdout: attaches("stdout") || by_default,
        attach_stderr: attaches("stderr") || by_default,
        tty: flags.tty,
        open_stdin: flags.interactive,
        // The end of the client's stdin is the end of the program's.
        stdin_once: flags.interactive && attach_stdin,
        env: some(env::environment(
            &flags.env_file,
            &flags.env,
            caller.look_up,
        )?),
        cmd: some(flags.command.clone()),
        image: flags.image.clone(),
        working_dir: flags.workdir.clone(),
        entrypoint: flags.entrypoint.clone().map(|entrypoint| vec![entrypoint]),
        labels: env::labels(&flags.label_file, &flags.label)?,
        stop_signal: flags.stop_signal.clone(),
        stop_timeout: flags.stop_timeout,
        mac_address: flags.network.mac_address.clone(),
        ..Config::default()
    })
}

/// Reads an argument of `--restart`: `always`, `on-failure:3`.
///
/// Whether there is such a policy is the engine's affair. Errors are of kind `Invalid`.
pub fn restart_policy(text: &str) -> Result<RestartPolicy> {
    let refuse = |why: &str| {
        let why = format!("invalid restart policy format: {why}");
        Err(error::invalid(why))
    };
    let (name, count) = match text.split_once(':') {
        Some(("", _)) => return refuse("no policy provided before colon"),
        Some((name, count)) => (name, count),
        None => (text, ""),
    };
    let maximum_retry_count = match count {
        "" => 0,
        count => match count.parse() {
            Ok(count) => count,
            Err(_) => return refuse("maximum retry count must be an integer"),
        },
    };
    Ok(RestartPolicy {
        name: name.to_owned(),
        maximum_retry_count,
    })
}

/// Checks an argument of `--attach`.
pub fn stream(text: &str) -> Result<String> {
    let stream = text.to_lowercase();
    match stream.as_str() {
        "stdin" | "stdout" | "stderr" => Ok(stream),
        _ => Err(error::invalid("valid streams are STDIN, STDOUT and STDERR")),
    }
}

/// Checks an argument of `--pull`.
///
/// Errors are of kind `Invalid`; docker prints them with a pointer to the help and exits with 125.
pub fn pull_policy(text: &str) -> Result<Pull> {
    match text {
        "always" => Ok(Pull::Always),
        "" | "missing" => Ok(Pull::Missing),
        "never" => Ok(Pull::Never),
        _ => {
            let must = r#"must be one of "always", "missing" or "never""#;
            let why = format!("invalid pull option: '{text}': {must}");
            Err(error::invalid(why))
        }
    }
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// Even if it is there.
    Always,
    /// If it is not there.
    Missing,
    /// Not at all.
    Never,
}

/// Refuses what Linux containers cannot have; errors are of kind `Invalid` and print without a pointer to the help.
pub fn refuse_foreign(flags: &ContainerFlags) -> Result<()> {
    let resources = &flags.resources;
    for (given, option) in [
        (resources.cpu_count != 0, "cpu-count"),
        (resources.cpu_percent != 0, "cpu-percent"),
        (resources.io_maxbandwidth != 0, "io-maxbandwidth"),
        (resources.io_maxiops != 0, "io-maxiops"),
    ] {
        if given {
            let daemon =
                "Docker daemon running on windows, but the Docker daemon is running on linux";
            let why = format!("\"--{option}\" is only supported on a {daemon}");
            return Err(error::invalid(why));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
