//! `port`.

use std::num::IntErrorKind;

use anyhow::Result;

use super::engine;
use crate::cli::command::{self, Context};
use crate::cli::commands::inspect::PortArgs;
use crate::cli::face::Failed;
use crate::cli::output;
use crate::error;
use crate::network::holder::written;
use crate::network::ports;

/// `port`
pub fn run(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: PortArgs = command::arguments(matches)?;
    let engine = engine(context)?;
    let name = &arguments.container;
    let container = engine.container(name).map_err(Failed::engine)?;
    let mut published = Vec::new();
    for (port, hosts) in &container.status.network.ports {
        let Some((number, protocol)) = ports::parse(port) else {
            continue;
        };
        for host in hosts.iter().flatten() {
            let address = host.host_ip.parse();
            let public = host.host_port.parse();
            if let (Ok(address), Ok(public)) = (address, public) {
                published.push((number, protocol, written(address, public)));
            }
        }
    }
    published.sort();
    let mut lines = Vec::new();
    match arguments.port.as_deref().filter(|port| !port.is_empty()) {
        None => {
            for (number, protocol, place) in published {
                lines.push(format!("{number}/{} -> {place}\n", protocol.name()));
            }
        }
        Some(asked) => {
            let none = || {
                let why = format!("Error: No public port '{asked}' published for {name}");
                Failed::from(error::not_found(why))
            };
            let number = asked.split('/').next().unwrap_or_default();
            number.parse::<u16>().map_err(|error| {
                let why = match error.kind() {
                    IntErrorKind::PosOverflow => "value out of range",
                    _ => "invalid syntax",
                };
                let why = format!("strconv.ParseUint: parsing {number:?}: {why}");
                Failed::from(error::invalid(format!(
                    "Error: invalid port ({number}): {why}"
                )))
            })?;
            let (wanted, by) = ports::parse(asked).ok_or_else(none)?;
            for (number, protocol, place) in published {
                if (number, protocol) == (wanted, by) {
                    lines.push(format!("{place}\n"));
                }
            }
            if lines.is_empty() {
                return Err(none());
            }
        }
    }
    output::out(&lines.concat())?;
    Ok(0)
}
