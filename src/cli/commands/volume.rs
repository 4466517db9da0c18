//! Arguments of `volume`.

use clap::Args;

use super::{FilterArgs, PruneArgs, spec};
use crate::cli::command::{Arguments, Spec};
use crate::cli::values;
use crate::error;

/// Arguments of `volume create`.
#[derive(Args, Clone, Debug, Default)]
pub struct VolumeCreateArgs {
    /// Driver; only "local" exists
    #[arg(short, long, value_name = "string", default_value = "local")]
    pub driver: String,
    /// Set metadata (NAME=VALUE)
    #[arg(long, value_name = "list", value_parser = values::label)]
    pub label: Vec<String>,
    /// Set an option of the driver (type=…, o=…, device=…)
    #[arg(short, long, value_name = "map", value_parser = values::pair)]
    pub opt: Vec<(String, String)>,
    /// The name, as old scripts give it.
    #[arg(long = "name", id = "named", hide = true, value_name = "string")]
    pub named: Option<String>,
    /// Of a swarm.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Name; none makes one up.
    #[arg(hide = true)]
    pub name: Option<String>,
}

/// Options of volumes of a swarm, which are parsed and refused.
#[derive(Args, Clone, Debug, Default)]
pub struct ClusterArgs {
    /// Availability in a swarm
    #[arg(long, value_name = "string")]
    pub availability: Option<String>,
    /// Group in a swarm
    #[arg(long, value_name = "string")]
    pub group: Option<String>,
    /// Most bytes in a swarm
    #[arg(long, value_name = "bytes", value_parser = values::bytes)]
    pub limit_bytes: Option<i64>,
    /// Fewest bytes in a swarm
    #[arg(long, value_name = "bytes", value_parser = values::bytes)]
    pub required_bytes: Option<i64>,
    /// Scope in a swarm
    #[arg(long, value_name = "string")]
    pub scope: Option<String>,
    /// Secret of a swarm
    #[arg(long, value_name = "map", value_parser = values::pair)]
    pub secret: Vec<(String, String)>,
    /// Sharing in a swarm
    #[arg(long, value_name = "string")]
    pub sharing: Option<String>,
    /// Topology in a swarm
    #[arg(long, value_name = "list")]
    pub topology_preferred: Vec<String>,
    /// Topology in a swarm
    #[arg(long, value_name = "list")]
    pub topology_required: Vec<String>,
    /// Kind of access in a swarm
    #[arg(long = "type", value_name = "string")]
    pub kind: Option<String>,
}

impl ClusterArgs {
    /// Refuses options that only volumes of a swarm have; the error is of kind `Invalid`.
    pub fn refuse(&self) -> anyhow::Result<()> {
        for (given, option) in [
            (self.availability.is_some(), "availability"),
            (self.group.is_some(), "group"),
            (self.limit_bytes.is_some(), "limit-bytes"),
            (self.required_bytes.is_some(), "required-bytes"),
            (self.scope.is_some(), "scope"),
            (!self.secret.is_empty(), "secret"),
            (self.sharing.is_some(), "sharing"),
            (!self.topology_preferred.is_empty(), "topology-preferred"),
            (!self.topology_required.is_empty(), "topology-required"),
            (self.kind.is_some(), "type"),
        ] {
            if given {
                let why =
                    format!("--{option} is for volumes of a swarm, which this engine has not");
                return Err(error::invalid(why));
            }
        }
        Ok(())
    }
}

/// Arguments of `volume ls`.
#[derive(Args, Clone, Debug, Default)]
pub struct VolumeLsArgs {
    /// Show volumes of a swarm only
    #[arg(long)]
    pub cluster: bool,
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
    /// Print names only
    #[arg(short, long)]
    pub quiet: bool,
}

/// Arguments of `volume rm`.
#[derive(Args, Clone, Debug, Default)]
pub struct VolumeRmArgs {
    /// Do not complain of volumes that are not there
    #[arg(short, long)]
    pub force: bool,
    /// Names.
    #[arg(hide = true)]
    pub volumes: Vec<String>,
}

/// Arguments of `volume prune`.
#[derive(Args, Clone, Debug, Default)]
pub struct VolumePruneArgs {
    /// Remove volumes with a name too
    #[arg(short, long)]
    pub all: bool,
    /// Conditions.
    #[command(flatten)]
    pub prune: PruneArgs,
}

/// `volume create`
pub const CREATE: Spec = Spec {
    about: "Make a volume",
    usage: "[OPTIONS] [VOLUME]",
    arguments: Arguments::AtMost(1),
    ..spec("create", VolumeCreateArgs::augment_args)
};

/// `volume ls`
pub const LS: Spec = Spec {
    aliases: &["list"],
    about: "List volumes",
    paths: &["volume ls", "volume list"],
    ..spec("ls", VolumeLsArgs::augment_args)
};

/// `volume rm`
pub const RM: Spec = Spec {
    aliases: &["remove"],
    about: "Remove volumes",
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    paths: &["volume rm", "volume remove"],
    arguments: Arguments::AtLeast(1),
    ..spec("rm", VolumeRmArgs::augment_args)
};

/// `volume prune`
pub const PRUNE: Spec = Spec {
    about: "Remove anonymous volumes that no container uses",
    ..spec("prune", VolumePruneArgs::augment_args)
};
