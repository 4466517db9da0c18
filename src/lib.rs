//! aril runs Linux containers from docker images without a daemon.

pub mod cli;
pub mod dirs;
pub mod docker;
pub mod error;
pub mod oci;
pub mod store;
pub mod sys;
