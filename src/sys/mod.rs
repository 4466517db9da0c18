//! Kernel calls made safe: the only place with `unsafe`.
//!
//! One wrapper is one call: safe types in and out, no policy, no logging, no retry beyond what the call demands. What nix
//! and rustix already wrap is called from where it is needed; here is what both lack, and what several parts share.

#[cfg(target_env = "musl")]
mod allocator;
pub mod attributes;
pub mod bpf;
pub mod clone;
pub mod datagram;
pub mod fdpass;
pub mod kernel;
pub mod limited;
pub mod memory;
pub mod mount;
pub mod mountinfo;
pub mod netlink;
pub mod netns;
pub mod notify;
pub mod process;
pub mod pseudo;
pub mod quota;
pub mod rooted;
pub mod schedule;
pub mod seccomp;
pub mod signal;
pub mod thread;
