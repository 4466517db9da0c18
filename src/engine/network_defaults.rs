//! What daemon.json makes of networks: of new ones, and of the default one, which follows the file.
//!
//! ```text
//! bip fixed-cidr default-gateway (and their IPv6 counterparts)      subnet, range and ways out of the default network
//! icc ip ip-masq mtu host-gateway-ip(s)                            options of the default network
//! default-address-pools default-network-opts                       all new networks
//! iptables ip-forward userland-proxy                               all, the default one and new ones
//! ```

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::Engine;
use super::networks::{containers_of, members};
use crate::docker::network::IpamConfig;
use crate::error;
use crate::network::bridge::{self, Host};
use crate::network::ipam::{self, Base, Subnet};
use crate::network::record::{self, Defaults};
use crate::settings::{AddressPool, Settings};

/// Returns what new networks get according to daemon.json; errors are of kind `Invalid`.
pub(super) fn of(settings: &Settings) -> Result<Defaults> {
    let mut defaults = Defaults::default();
    if !settings.default_address_pools.is_empty() {
        defaults.pools = pools(&settings.default_address_pools)?;
    }
    let ipv4 = Wish {
        address: ("bip", &settings.bip),
        range: ("fixed-cidr", &settings.fixed_cidr),
        way_out: settings.default_gateway.map(|ip| ip.to_string()),
        key: record::WAY_OUT_IPV4,
    };
    let ipv6 = Wish {
        address: ("bip6", &settings.bip6),
        range: ("fixed-cidr-v6", &settings.fixed_cidr_v6),
        way_out: settings.default_gateway_v6.map(|ip| ip.to_string()),
        key: record::WAY_OUT_IPV6,
    };
    let configs = [
        ipv4.config(false)?,
        ipv6.config(true)?.filter(|_| settings.ipv6),
    ];
    let configs: Vec<IpamConfig> = configs.into_iter().flatten().collect();
    defaults.bridge.ipam.config = Some(configs).filter(|configs| !configs.is_empty());
    defaults.bridge.enable_ipv6 = settings.ipv6;
    defaults.bridge.options = options(settings);
    defaults.options.clone_from(&settings.default_network_opts);
    let for_all = defaults.options.entry("bridge".to_owned()).or_default();
    for (name, value) in options_for_all(settings) {
        for_all.insert(name.to_owned(), value.to_owned());
        let of_default = &mut defaults.bridge.options;
        of_default.insert(name.to_owned(), value.to_owned());
    }
    Ok(defaults)
}

/// docker's pools of a family stand where the file has none of it.
fn pools(configured: &[AddressPool]) -> Result<Vec<Base>> {
    let pool = |pool: &AddressPool| {
        let base: Subnet = pool
            .base
            .parse()
            .context("default-address-pools of daemon.json")?;
        let most = if base.is_ipv6() { 128 } else { 32 };
        if !(base.length..=most).contains(&pool.size) {
            let size = pool.size;
            return Err(error::invalid(format!(
                "default-address-pools of daemon.json: {base} has no networks of {size} bits"
            )));
        }
        Ok(Base {
            base,
            size: pool.size,
        })
    };
    let mut pools: Vec<Base> = configured.iter().map(pool).collect::<Result<_>>()?;
    if pools.iter().all(|pool| pool.base.is_ipv6()) {
        pools.extend(ipam::default_pools());
    }
    Ok(pools)
}

/// What the file says of the default network's addresses of one family.
struct Wish<'a> {
    /// The host's address in it, with the subnet's length.
    address: (&'static str, &'a str),
    /// Where containers get theirs from; the subnet itself if there is no `address`.
    range: (&'static str, &'a str),
    /// The address of somebody else who is the way out.
    way_out: Option<String>,
    /// What that is called among reserved addresses.
    key: &'static str,
}

impl Wish<'_> {
    fn config(&self, ipv6: bool) -> Result<Option<IpamConfig>> {
        let parse = |(key, text): (&str, &str)| -> Result<Option<Subnet>> {
            if text.is_empty() {
                return Ok(None);
            }
            let context = || format!("{key} of daemon.json");
            let subnet: Subnet = text.parse().with_context(context)?;
            if subnet.is_ipv6() != ipv6 {
                let family = if ipv6 { "IPv6" } else { "IPv4" };
                return Err(error::invalid(format!("{text} is no network of {family}")))
                    .with_context(context);
            }
            Ok(Some(subnet))
        };
        let (own, range) = (parse(self.address)?, parse(self.range)?);
        if own.is_none() && range.is_none() && self.way_out.is_none() {
            return Ok(None);
        }
        let text = |subnet: Option<Subnet>| subnet.map(|subnet| subnet.to_string());
        let reserved = self.way_out.iter();
        Ok(Some(IpamConfig {
            subnet: text(own.or(range)).unwrap_or_default(),
            ip_range: text(range.filter(|_| own.is_some())).unwrap_or_default(),
            gateway: own
                .and_then(|_| self.address.1.split('/').next())
                .unwrap_or_default()
                .to_owned(),
            auxiliary_addresses: reserved
                .map(|address| (self.key.to_owned(), address.clone()))
                .collect(),
        }))
    }
}

/// Options of the default network.
fn options(settings: &Settings) -> BTreeMap<String, String> {
    let text = |value: bool| value.to_string();
    let mut gateways: Vec<String> = settings
        .host_gateway_ip
        .iter()
        .chain(&settings.host_gateway_ips)
        .map(ToString::to_string)
        .collect();
    gateways.dedup();
    let options = [
        (record::OPTION_ICC, settings.icc.map(text)),
        (record::OPTION_MASQUERADE, settings.ip_masq.map(text)),
        (
            record::OPTION_HOST_BINDING,
            settings.ip.map(|ip| ip.to_string()),
        ),
        (
            record::OPTION_MTU,
            (settings.mtu > 0).then(|| settings.mtu.to_string()),
        ),
        (
            record::OPTION_HOST_GATEWAY,
            Some(gateways.join(",")).filter(|gateways| !gateways.is_empty()),
        ),
    ];
    let given = |(name, value): (&str, Option<String>)| Some((name.to_owned(), value?));
    options.into_iter().filter_map(given).collect()
}

/// Options of all networks with a bridge.
fn options_for_all(settings: &Settings) -> Vec<(&'static str, &'static str)> {
    let mut options = Vec::new();
    if settings.iptables == Some(false) {
        // Without rules nothing but the proxy leads to published ports.
        options.push((record::OPTION_RULES, "false"));
        options.push((record::OPTION_PUBLISH, "proxy"));
    }
    if settings.userland_proxy == Some(true) {
        options.push((record::OPTION_LOOPBACK, "proxy"));
    }
    if settings.ip_forward == Some(false) {
        options.push((record::OPTION_FORWARD, "false"));
    }
    options
}

/// Sees to it that the networks that are always there are there, and that the default one is as daemon.json wants it.
///
/// docker does the latter when its daemon starts, which ends all containers. Here it is done as soon as nobody is in it.
pub(super) fn follow(engine: &Engine) -> Result<()> {
    let networks = engine.networks()?;
    let Some(old) = networks.outdated_default()? else {
        return Ok(());
    };
    if !containers_of(&old, &members(engine)?).is_empty() {
        tracing::warn!(
            "daemon.json has changed; the network {} follows when no container runs in it",
            record::DEFAULT
        );
        return Ok(());
    }
    let taken_down = bridge::remove(&Host::open()?, &old);
    taken_down.context("take down the default network")?;
    networks
        .remake_default(&old)
        .context("make the default network as daemon.json wants it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn defaults(text: &str) -> Result<Defaults> {
        of(&crate::settings::parse(text, Path::new("/d.json")).unwrap())
    }

    #[test]
    fn addresses_of_the_default_network_come_from_the_file() {
        let check = |text: &str, want: &[[&str; 4]]| {
            let configs = defaults(text).unwrap().bridge.ipam.config;
            let shown: Vec<[String; 4]> = configs
                .into_iter()
                .flatten()
                .map(|config| {
                    let mut reserved = config.auxiliary_addresses.into_iter();
                    [
                        config.subnet,
                        config.ip_range,
                        config.gateway,
                        reserved
                            .next()
                            .map(|(name, address)| format!("{name}={address}"))
                            .unwrap_or_default(),
                    ]
                })
                .collect();
            assert_eq!(shown, want, "{text}");
        };
        check("{}", &[]);
        check(
            r#"{"bip": "10.5.0.9/24", "fixed-cidr": "10.5.0.128/25"}"#,
            &[["10.5.0.0/24", "10.5.0.128/25", "10.5.0.9", ""]],
        );
        check(
            r#"{"fixed-cidr": "10.5.0.0/25", "default-gateway": "10.5.0.7"}"#,
            &[["10.5.0.0/25", "", "", "DefaultGatewayIPv4=10.5.0.7"]],
        );
        check(
            r#"{"default-gateway": "172.17.0.7", "fixed-cidr-v6": "fd00:5::/64"}"#,
            &[["", "", "", "DefaultGatewayIPv4=172.17.0.7"]],
        );
        check(
            r#"{"ipv6": true, "fixed-cidr-v6": "fd00:5::/64", "bip6": "fd00:5::9/48"}"#,
            &[["fd00:5::/48", "fd00:5::/64", "fd00:5::9", ""]],
        );
        let error = defaults(r#"{"bip": "fd00::1/64"}"#).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "bip of daemon.json: fd00::1/64 is no network of IPv4"
        );
    }

    #[test]
    fn pools_may_be_of_both_families() {
        let pools = |text: &str| defaults(text).unwrap().pools;
        let ipv6 = r#"{"default-address-pools": [{"base": "fd00:7::/48", "size": 64}]}"#;
        assert_eq!(pools(ipv6).len(), 1 + ipam::default_pools().len());
        let both = r#"{"default-address-pools": [{"base": "fd00:7::/48", "size": 64}, {"base": "10.9.0.0/16", "size": 24}]}"#;
        assert_eq!(pools(both).len(), 2);
        let none = r#"{"default-address-pools": [{"base": "10.9.0.0/16", "size": 8}]}"#;
        assert_eq!(
            defaults(none).unwrap_err().to_string(),
            "default-address-pools of daemon.json: 10.9.0.0/16 has no networks of 8 bits"
        );
    }

    #[test]
    fn switches_become_options() {
        let text = r#"{"iptables": false, "ip-forward": false, "icc": false, "mtu": 1400,
            "host-gateway-ip": "192.0.2.1", "host-gateway-ips": ["192.0.2.1", "2001:db8::1"], "userland-proxy": true}"#;
        let defaults = defaults(text).unwrap();
        let of_default: Vec<String> = defaults
            .bridge
            .options
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            of_default,
            [
                "aril.firewall=false",
                "aril.forward=false",
                "aril.host_gateway=192.0.2.1,2001:db8::1",
                "aril.loopback=proxy",
                "aril.publish=proxy",
                "com.docker.network.bridge.enable_icc=false",
                "com.docker.network.driver.mtu=1400",
            ]
        );
        assert_eq!(defaults.options["bridge"].len(), 4);
    }
}
