//! runtime
pub mod seccomp;
