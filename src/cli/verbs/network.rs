//! `network create`, `ls`, `rm`, `connect`, `disconnect` and `prune`.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{confirmed, each, engine, filters, propose};
use crate::cli::command::{self, Context};
use crate::cli::commands::PruneArgs;
use crate::cli::commands::network::{
    NetworkConnectArgs, NetworkCreateArgs, NetworkDisconnectArgs, NetworkLsArgs, NetworkRmArgs,
};
use crate::cli::face::Failed;
use crate::cli::human::text::natural;
use crate::cli::rows::networks as rows;
use crate::cli::values::List;
use crate::cli::{output, preferences};
use crate::docker::network::{
    ConfigFrom, EndpointIpam, EndpointSettings, Ipam, IpamConfig, Network,
};
use crate::engine::{networks, prune};
use crate::error;
use crate::network::ipam::Subnet;

/// `network create`
pub fn create(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: NetworkCreateArgs = command::arguments(matches)?;
    arguments.refuse_swarm()?;
    let request = Network {
        name: arguments.name.clone(),
        driver: arguments.driver.clone(),
        enable_ipv4: arguments.ipv4,
        enable_ipv6: arguments.ipv6.unwrap_or_default(),
        ipam: Ipam {
            driver: arguments.ipam_driver.clone(),
            options: Some(arguments.ipam_opt.iter().cloned().collect()),
            config: Some(ipam_config(&arguments)?),
        },
        internal: arguments.internal,
        attachable: arguments.attachable,
        options: arguments.opt.iter().cloned().collect(),
        labels: crate::cli::flags::env::labels(&[], &arguments.label)?,
        config_from: ConfigFrom {
            network: arguments.config_from.clone(),
        },
        config_only: arguments.config_only,
        ..Network::default()
    };
    let engine = engine(context)?;
    let network = networks::create(&engine, request).map_err(Failed::engine)?;
    output::out(&format!("{}\n", network.document.id))?;
    Ok(0)
}

/// Puts ranges, gateways and other addresses to the subnets that they are in, in docker's words where they are in none.
fn ipam_config(arguments: &NetworkCreateArgs) -> Result<Vec<IpamConfig>, Failed> {
    let subnets = List::all(&arguments.subnet);
    let (ranges, gateways) = (
        List::all(&arguments.ip_range),
        List::all(&arguments.gateway),
    );
    if subnets.len() < ranges.len() || subnets.len() < gateways.len() {
        let why = "every ip-range or gateway must have a corresponding subnet";
        return Err(error::invalid(why).into());
    }
    let mut configs: Vec<(Subnet, IpamConfig)> = Vec::new();
    for text in subnets {
        let subnet: Subnet = text.parse().map_err(misread)?;
        if configs.iter().any(|(other, _)| other.overlaps(subnet)) {
            let why = "multiple overlapping subnet configuration is not supported";
            return Err(error::invalid(why).into());
        }
        let config = IpamConfig {
            subnet: text,
            ..IpamConfig::default()
        };
        configs.push((subnet, config));
    }
    for range in ranges {
        let parsed: Subnet = range
            .parse()
            .map_err(|_| error::invalid(format!("invalid CIDR address: {range}")))?;
        let config = containing(&mut configs, parsed.address)
            .ok_or_else(|| error::invalid(format!("no matching subnet for range {range}")))?;
        if !config.ip_range.is_empty() {
            let (other, subnet) = (&config.ip_range, &config.subnet);
            let why = format!(
                "cannot configure multiple ranges ({range}, {other}) on the same subnet ({subnet})"
            );
            return Err(error::invalid(why).into());
        }
        config.ip_range = range;
    }
    for gateway in gateways {
        let config = gateway
            .parse()
            .ok()
            .and_then(|address| containing(&mut configs, address));
        let config = config
            .ok_or_else(|| error::invalid(format!("no matching subnet for gateway {gateway}")))?;
        if !config.gateway.is_empty() {
            let (other, subnet) = (&config.gateway, &config.subnet);
            let why = format!(
                "cannot configure multiple gateways ({gateway}, {other}) for the same subnet ({subnet})"
            );
            return Err(error::invalid(why).into());
        }
        config.gateway = gateway;
    }
    for (name, text) in &arguments.aux_address {
        let config = text
            .parse()
            .ok()
            .and_then(|address| containing(&mut configs, address));
        let config = config
            .ok_or_else(|| error::invalid(format!("no matching subnet for aux-address {text}")))?;
        config
            .auxiliary_addresses
            .insert(name.clone(), text.clone());
    }
    Ok(configs.into_iter().map(|(_, config)| config).collect())
}

/// What docker's daemon would have found.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn misread(error: anyhow::Error) -> Failed {
    Failed::engine(error::invalid(format!("invalid network config:\n{error}")))
}

fn containing(
    configs: &mut [(Subnet, IpamConfig)],
    address: std::net::IpAddr,
) -> Option<&mut IpamConfig> {
    let mut configs = configs.iter_mut();
    configs
        .find(|(subnet, _)| subnet.contains(address))
        .map(|(_, config)| config)
}

/// `network ls`
pub fn ls(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: NetworkLsArgs = command::arguments(matches)?;
    let format = &arguments.format;
    let format = preferences::format(context, format, arguments.quiet, "networksFormat");
    let format = rows::LIST.format(&format, arguments.quiet)?;
    let engine = engine(context)?;
    let mut found =
        networks::list(&engine, &filters(&arguments.filter.filter)?).map_err(Failed::engine)?;
    found.sort_by(|one, other| natural(&one.name, &other.name));
    let shown = |network: Network| rows::Network {
        id: network.id,
        name: network.name,
        driver: network.driver,
        scope: network.scope,
        ipv4: network.enable_ipv4 != Some(false),
        ipv6: network.enable_ipv6,
        internal: network.internal,
        labels: network.labels,
        created: network.created,
    };
    let rows: Vec<_> = found
        .into_iter()
        .map(|network| rows::row(&shown(network), arguments.no_trunc))
        .collect();
    output::out(&format.render(rows::LIST.columns, &rows)?)?;
    Ok(0)
}

/// `network rm`
pub fn rm(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: NetworkRmArgs = command::arguments(matches)?;
    let engine = engine(context)?;
    each(&arguments.networks, |name| {
        let removed = networks::remove(&engine, name, arguments.force)?;
        Ok(if removed { name } else { "" }.to_owned())
    })
}

/// `network connect`
pub fn connect(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: NetworkConnectArgs = command::arguments(matches)?;
    let some = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
    let ipam = EndpointIpam {
        ipv4_address: arguments.ip.clone(),
        ipv6_address: arguments.ip6.clone(),
        link_local_ips: List::all(&arguments.link_local_ip),
    };
    let mut options = BTreeMap::new();
    for option in List::all(&arguments.driver_opt) {
        let Some((name, value)) = option.split_once('=') else {
            let why = "invalid key/value pair format in driver options";
            return Err(Failed::from(error::invalid(why)));
        };
        options.insert(name.to_owned(), value.to_owned());
    }
    let settings = EndpointSettings {
        ipam_config: Some(ipam).filter(|ipam| *ipam != EndpointIpam::default()),
        links: some(arguments.link),
        aliases: some(List::all(&arguments.alias)),
        driver_opts: Some(options).filter(|options| !options.is_empty()),
        gw_priority: arguments.gw_priority,
        ..EndpointSettings::default()
    };
    let engine = engine(context)?;
    networks::connect(&engine, &arguments.network, &arguments.container, settings)
        .map_err(Failed::engine)?;
    Ok(0)
}

/// `network disconnect`
pub fn disconnect(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: NetworkDisconnectArgs = command::arguments(matches)?;
    let engine = engine(context)?;
    let (network, container) = (&arguments.network, &arguments.container);
    networks::disconnect(&engine, network, container, arguments.force).map_err(Failed::engine)?;
    Ok(0)
}

/// `network prune`
pub fn prune(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: PruneArgs = command::arguments(matches)?;
    let filters = filters(&arguments.filter)?;
    if arguments.dry_run {
        return propose::networks(context, &filters);
    }
    let warning =
        "WARNING! This will remove all custom networks not used by at least one container.";
    if !arguments.force && !confirmed(warning)? {
        return Ok(0);
    }
    let engine = engine(context)?;
    let removed = prune::networks(&engine, &filters).map_err(Failed::engine)?;
    if !removed.is_empty() {
        output::out(&format!("Deleted Networks:\n{}\n\n", removed.join("\n")))?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::face::Face;

    fn check(subnets: &[&str], range: &[&str], gateways: &[&str], want: Result<&str, &str>) {
        let list =
            |texts: &[&str]| vec![List(texts.iter().map(|text| (*text).to_owned()).collect())];
        let arguments = NetworkCreateArgs {
            subnet: list(subnets),
            ip_range: list(range),
            gateway: list(gateways),
            ..NetworkCreateArgs::default()
        };
        // What docker's client says by itself, it says without a word before it.
        let docker = Face {
            name: "docker",
            hints: false,
        };
        let got = ipam_config(&arguments)
            .map(|configs| serde_json::to_string(&configs).unwrap().replace('"', "'"))
            .map_err(|failed| docker.text(&failed).trim_end().to_owned());
        let want = want.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(got, want);
    }

    #[test]
    fn addresses_go_to_their_subnets() {
        check(&[], &[], &[], Ok("[]"));
        check(
            &["10.1.0.0/16", "fd00::/64"],
            &["10.1.5.0/24"],
            &["fd00::9", "10.1.0.9"],
            Ok(
                "[{'Subnet':'10.1.0.0/16','IPRange':'10.1.5.0/24','Gateway':'10.1.0.9'},{'Subnet':'fd00::/64','Gateway':'fd00::9'}]",
            ),
        );
        check(
            &["10.1.0.0/16", "10.1.2.0/24"],
            &[],
            &[],
            Err("multiple overlapping subnet configuration is not supported"),
        );
        check(
            &[],
            &[],
            &["10.1.0.1"],
            Err("every ip-range or gateway must have a corresponding subnet"),
        );
        check(
            &["10.1.0.0/16"],
            &["10.2.0.0/24"],
            &[],
            Err("no matching subnet for range 10.2.0.0/24"),
        );
        check(
            &["10.1.0.0/16"],
            &[],
            &["10.2.0.1"],
            Err("no matching subnet for gateway 10.2.0.1"),
        );
    }
}
