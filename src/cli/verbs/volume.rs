//! `volume create`, `ls`, `rm` and `prune`.

use anyhow::Result;

use super::prune::report;
use super::{confirmed, each, engine, filters, propose};
use crate::cli::command::{self, Context};
use crate::cli::commands::volume::{VolumeCreateArgs, VolumeLsArgs, VolumePruneArgs, VolumeRmArgs};
use crate::cli::face::Failed;
use crate::cli::human::size::bytes_decimal;
use crate::cli::human::text::natural;
use crate::cli::rows::volumes as rows;
use crate::cli::{output, preferences};
use crate::docker::system::VolumeCreate;
use crate::engine::{prune, volumes};
use crate::error;

/// `volume create`
pub fn create(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: VolumeCreateArgs = command::arguments(matches)?;
    arguments.cluster.refuse()?;
    if arguments.named.is_some() && arguments.name.is_some() {
        return Err(Failed::from(error::invalid(
            "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
        )));
    }
    let engine = engine(context)?;
    let request = VolumeCreate {
        name: (arguments.named.or(arguments.name)).unwrap_or_default(),
        driver: arguments.driver,
        driver_opts: Some(arguments.opt.into_iter().collect()),
        labels: Some(crate::cli::flags::env::labels(&[], &arguments.label)?)
            .filter(|labels| !labels.is_empty()),
    };
    let volume = volumes::create(&engine, &request).map_err(Failed::engine)?;
    output::out(&format!("{}\n", volume.name))?;
    Ok(0)
}

/// `volume ls`
pub fn ls(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: VolumeLsArgs = command::arguments(matches)?;
    if arguments.cluster {
        return Err(Failed::from(error::invalid(
            "--cluster is for volumes of a swarm, which this engine has not",
        )));
    }
    let format = &arguments.format;
    let format = preferences::format(context, format, arguments.quiet, "volumesFormat");
    let format = rows::LIST.format(&format, arguments.quiet)?;
    let engine = engine(context)?;
    let mut found =
        volumes::list(&engine, &filters(&arguments.filter.filter)?).map_err(Failed::engine)?;
    found.sort_by(|one, other| natural(&one.name, &other.name));
    let rows: Vec<_> = found.iter().map(|volume| rows::row(volume, None)).collect();
    output::out(&format.render(rows::LIST.columns, &rows)?)?;
    Ok(0)
}

/// `volume rm`
pub fn rm(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: VolumeRmArgs = command::arguments(matches)?;
    let engine = engine(context)?;
    each(&arguments.volumes, |name| {
        volumes::remove(&engine, name, arguments.force)?;
        Ok(name.to_owned())
    })
}

/// `volume prune`
pub fn prune(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: VolumePruneArgs = command::arguments(matches)?;
    let mut filters = filters(&arguments.prune.filter)?;
    if arguments.all && filters.has("all") {
        let why = "conflicting options: cannot specify both --all and --filter all=1";
        return Err(Failed::from(error::invalid(why)));
    }
    if arguments.all {
        filters.add("all", "true");
    }
    if arguments.prune.dry_run {
        return propose::volumes(context, &filters);
    }
    let warning = if arguments.all {
        "WARNING! This will remove all local volumes not used by at least one container."
    } else {
        "WARNING! This will remove anonymous local volumes not used by at least one container."
    };
    if !arguments.prune.force && !confirmed(warning)? {
        return Ok(0);
    }
    let engine = engine(context)?;
    let pruned = prune::volumes(&engine, &filters).map_err(Failed::engine)?;
    output::out(&report("Deleted Volumes:", &pruned.removed, pruned.bytes))?;
    Ok(0)
}

/// Returns bytes as totals show them.
pub fn total(bytes: u64) -> String {
    bytes_decimal(i64::try_from(bytes).unwrap_or(i64::MAX))
}
