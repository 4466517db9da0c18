//! Arguments of `network`.

use clap::{ArgAction, Args};

use super::{FilterArgs, PRUNE as ANY_PRUNE, spec};
use crate::cli::command::{Arguments, Spec};
use crate::cli::values;
use crate::error;

/// Arguments of `network create`.
#[derive(Args, Clone, Debug, Default)]
pub struct NetworkCreateArgs {
    /// Let containers join by hand (swarm)
    #[arg(long)]
    pub attachable: bool,
    /// Addresses that containers do not get (NAME=ADDRESS)
    #[arg(long, value_name = "map", value_parser = values::pair)]
    pub aux_address: Vec<(String, String)>,
    /// Take the configuration of this network, which has no more than one
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub config_from: String,
    /// Make a configuration for other networks only
    #[arg(long)]
    pub config_only: bool,
    /// Driver
    #[arg(short, long, value_name = "string", default_value = "bridge")]
    pub driver: String,
    /// Address of the host in a subnet
    #[arg(long, value_name = "strings", value_parser = values::strings)]
    pub gateway: Vec<values::List>,
    /// Make the network that routes to a swarm
    #[arg(long)]
    pub ingress: bool,
    /// Give it no way out
    #[arg(long)]
    pub internal: bool,
    /// Part of a subnet that containers get addresses of
    #[arg(long, value_name = "strings", value_parser = values::strings)]
    pub ip_range: Vec<values::List>,
    /// Driver of addresses
    #[arg(long, value_name = "string", default_value = "default")]
    pub ipam_driver: String,
    /// Set an option of the driver of addresses (NAME=VALUE)
    #[arg(long, value_name = "map", value_parser = values::pair)]
    pub ipam_opt: Vec<(String, String)>,
    /// Use IPv4 (default true)
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = values::truth)]
    pub ipv4: Option<bool>,
    /// Use IPv6
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = values::truth)]
    pub ipv6: Option<bool>,
    /// Set metadata (NAME=VALUE)
    #[arg(long, value_name = "list", value_parser = values::label)]
    pub label: Vec<String>,
    /// Set an option of the driver (NAME=VALUE)
    #[arg(short, long, value_name = "map", value_parser = values::pair)]
    pub opt: Vec<(String, String)>,
    /// Where the network exists (swarm)
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub scope: String,
    /// Subnet (10.1.0.0/16)
    #[arg(long, value_name = "strings", value_parser = values::strings)]
    pub subnet: Vec<values::List>,
    /// Name.
    #[arg(hide = true)]
    pub name: String,
}

impl NetworkCreateArgs {
    /// Refuses options that only networks of a swarm need; the error is of kind `Invalid`.
    pub fn refuse_swarm(&self) -> anyhow::Result<()> {
        for (given, option) in [
            (self.ingress, "ingress"),
            (!matches!(self.scope.as_str(), "" | "local"), "scope"),
        ] {
            if given {
                let why =
                    format!("--{option} is for networks of a swarm, which this engine has not");
                return Err(error::invalid(why));
            }
        }
        Ok(())
    }
}

/// Arguments of `network connect`.
#[derive(Args, Clone, Debug, Default)]
pub struct NetworkConnectArgs {
    /// Add a name in this network
    #[arg(long, value_name = "strings", value_parser = values::strings)]
    pub alias: Vec<values::List>,
    /// Set an option of the driver (NAME=VALUE)
    #[arg(long, value_name = "strings", value_parser = values::strings)]
    pub driver_opt: Vec<values::List>,
    /// The network with the highest number gives the default route
    #[arg(long, value_name = "int", value_parser = values::int, default_value = "0", hide_default_value = true)]
    pub gw_priority: i64,
    /// IPv4 address
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub ip: String,
    /// IPv6 address
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub ip6: String,
    /// Reach another container by a name (NAME[:ALIAS])
    #[arg(long, value_name = "list", value_parser = crate::cli::flags::network::link)]
    pub link: Vec<String>,
    /// Add an address that is valid on the link only
    #[arg(long, value_name = "strings", value_parser = values::strings)]
    pub link_local_ip: Vec<values::List>,
    /// Name or id.
    #[arg(hide = true)]
    pub network: String,
    /// Name or id.
    #[arg(hide = true)]
    pub container: String,
}

/// Arguments of `network disconnect`.
#[derive(Args, Clone, Debug, Default)]
pub struct NetworkDisconnectArgs {
    /// Disconnect it whatever its state is
    #[arg(short, long)]
    pub force: bool,
    /// Name or id.
    #[arg(hide = true)]
    pub network: String,
    /// Name or id.
    #[arg(hide = true)]
    pub container: String,
}

/// Arguments of `network ls`.
#[derive(Args, Clone, Debug, Default)]
pub struct NetworkLsArgs {
    /// Conditions.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// How to print: "table", "table TEMPLATE", "json" or a template
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub format: String,
    /// Do not shorten ids
    #[arg(long)]
    pub no_trunc: bool,
    /// Print ids only
    #[arg(short, long)]
    pub quiet: bool,
}

/// Arguments of `network rm`.
#[derive(Args, Clone, Debug, Default)]
pub struct NetworkRmArgs {
    /// Do not complain of networks that are not there
    #[arg(short, long)]
    pub force: bool,
    /// Names or ids.
    #[arg(hide = true)]
    pub networks: Vec<String>,
}

/// `network create`
pub const CREATE: Spec = Spec {
    about: "Make a network",
    usage: "[OPTIONS] NETWORK",
    arguments: Arguments::Exactly(1),
    ..spec("create", NetworkCreateArgs::augment_args)
};

/// `network connect`
pub const CONNECT: Spec = Spec {
    about: "Connect a container to a network",
    usage: "[OPTIONS] NETWORK CONTAINER",
    arguments: Arguments::Exactly(2),
    ..spec("connect", NetworkConnectArgs::augment_args)
};

/// `network disconnect`
pub const DISCONNECT: Spec = Spec {
    about: "Disconnect a container from a network",
    usage: "[OPTIONS] NETWORK CONTAINER",
    arguments: Arguments::Exactly(2),
    ..spec("disconnect", NetworkDisconnectArgs::augment_args)
};

/// `network ls`
pub const LS: Spec = Spec {
    aliases: &["list"],
    about: "List networks",
    paths: &["network ls", "network list"],
    ..spec("ls", NetworkLsArgs::augment_args)
};

/// `network rm`
pub const RM: Spec = Spec {
    aliases: &["remove"],
    about: "Remove networks",
    usage: "NETWORK [NETWORK...]",
    paths: &["network rm", "network remove"],
    arguments: Arguments::AtLeast(1),
    ..spec("rm", NetworkRmArgs::augment_args)
};

/// `network prune`
pub const PRUNE: Spec = Spec {
    about: "Remove networks that no container uses",
    ..ANY_PRUNE
};
