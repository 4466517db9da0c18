//! Networks and endpoints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::oci::null_default;

/// A container's place in a network: what was asked, and what it got.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointSettings {
    /// Addresses that were asked for.
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Option<EndpointIpam>,
    /// `name:alias`.
    pub links: Option<Vec<String>>,
    /// More names in this network.
    pub aliases: Option<Vec<String>>,
    /// `02:42:ac:11:00:02`; empty while it is not running.
    pub mac_address: String,
    /// Options of the driver.
    pub driver_opts: Option<BTreeMap<String, String>>,
    /// The highest gives the default route.
    pub gw_priority: i64,
    /// The network's id.
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    /// Empty while it is not running.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// Empty while it is not running.
    pub gateway: String,
    /// Empty while it is not running.
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    /// Length of the network's prefix.
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u8,
    /// Empty without IPv6.
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    /// Empty without IPv6.
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    /// Length of the network's prefix.
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u8,
    /// Names that other containers in the network resolve.
    #[serde(rename = "DNSNames")]
    pub dns_names: Option<Vec<String>>,
}

/// Addresses that were asked for; empty means any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointIpam {
    /// IPv4.
    #[serde(
        rename = "IPv4Address",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_default"
    )]
    pub ipv4_address: String,
    /// IPv6.
    #[serde(
        rename = "IPv6Address",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_default"
    )]
    pub ipv6_address: String,
    /// Addresses of the link's scope.
    #[serde(
        rename = "LinkLocalIPs",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub link_local_ips: Vec<String>,
}

/// A network: what is asked for, what was made of it, and what `network inspect` shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// 64 hexadecimal digits; empty in a request.
    pub id: String,
    /// RFC 3339 with nanoseconds; empty in a request.
    pub created: String,
    /// Always `local`.
    pub scope: String,
    /// `bridge`, `host`, `null`, `macvlan`, `ipvlan`; empty means `bridge`.
    pub driver: String,
    /// Whether its containers have IPv4 addresses; absent means yes.
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: Option<bool>,
    /// Whether its containers have IPv6 addresses.
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: bool,
    /// Where addresses come from.
    #[serde(rename = "IPAM")]
    pub ipam: Ipam,
    /// Whether it has no way out.
    pub internal: bool,
    /// Swarm.
    pub attachable: bool,
    /// Swarm.
    pub ingress: bool,
    /// Whose configuration it has.
    pub config_from: ConfigFrom,
    /// Whether it is a configuration for others, which no container can be in.
    pub config_only: bool,
    /// The containers that are in it and run, by id; empty in a request.
    #[serde(deserialize_with = "null_default")]
    pub containers: BTreeMap<String, NetworkContainer>,
    /// Options of the driver.
    #[serde(deserialize_with = "null_default")]
    pub options: BTreeMap<String, String>,
    /// Metadata.
    #[serde(deserialize_with = "null_default")]
    pub labels: BTreeMap<String, String>,
}

/// The network whose configuration another one has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ConfigFrom {
    /// Its name; empty if the other one has its own.
    pub network: String,
}

/// Where the addresses of a network come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ipam {
    /// `default`; empty means that.
    pub driver: String,
    /// Options of the driver.
    pub options: Option<BTreeMap<String, String>>,
    /// One entry per subnet; none for networks without addresses.
    pub config: Option<Vec<IpamConfig>>,
}

/// A subnet of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IpamConfig {
    /// `172.18.0.0/16`; empty in a request means any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subnet: String,
    /// The part that containers get addresses of; empty means all.
    #[serde(rename = "IPRange", skip_serializing_if = "String::is_empty")]
    pub ip_range: String,
    /// Address of the host; empty in a request means the first.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// Addresses that no container gets, by what they are for.
    #[serde(
        rename = "AuxiliaryAddresses",
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_default"
    )]
    pub auxiliary_addresses: BTreeMap<String, String>,
}

/// A container as a network shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkContainer {
    /// Its name.
    pub name: String,
    /// Of its place in the network.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// `02:42:ac:12:00:02`
    pub mac_address: String,
    /// With the length of the prefix; empty without IPv4.
    #[serde(rename = "IPv4Address")]
    pub ipv4_address: String,
    /// With the length of the prefix; empty without IPv6.
    #[serde(rename = "IPv6Address")]
    pub ipv6_address: String,
}
