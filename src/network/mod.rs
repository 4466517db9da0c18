//! Networks of containers: addresses, interfaces, rules, published ports, names, and the files that tell a container of them.

pub mod bridge;
pub mod dns;
pub mod endpoint;
pub mod events;
pub mod files;
pub mod firewall;
mod firewalld;
pub mod foreign;
pub mod holder;
mod interface;
pub mod ipam;
pub mod lease;
pub mod netlink;
pub mod ports;
pub mod proxy;
pub mod record;
mod request;
