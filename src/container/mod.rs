//! The engine's knowledge of a container.

pub mod seccomp;
