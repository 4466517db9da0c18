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
