//! aril runs Linux containers from docker images without a daemon.

pub mod cgroup;
pub mod cli;
pub mod container;
pub mod dirs;
pub mod docker;
pub mod error;
pub mod oci;
pub mod runtime;
pub mod store;
pub mod sys;
