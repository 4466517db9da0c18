//! aril runs Linux containers from docker images without a daemon.

pub mod cgroup;
pub mod cli;
pub mod container;
pub mod dirs;
pub mod docker;
pub mod engine;
pub mod error;
pub mod event;
pub mod image;
pub mod monitor;
pub mod network;
pub mod oci;
pub mod registry;
pub mod runtime;
pub mod settings;
pub mod store;
pub mod sys;
pub mod volume;
