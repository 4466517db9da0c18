//! Networks of containers, and the files that tell a container its names and name servers.

pub mod files;
