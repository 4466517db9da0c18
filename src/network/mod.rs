//! The network of containers: their files, their names, their published ports.

pub mod dns;
pub mod events;
pub mod files;
pub mod proxy;
