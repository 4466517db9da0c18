//! Black-box tests: through the built program, on real kernels, as root.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic, and then shows what it has printed"
)]

mod cgroup;
mod check;
mod completion;
mod config;
mod cp;
mod df;
mod events;
mod foreign;
mod health;
mod interop;
mod lifecycle;
mod login;
mod logs;
mod mirror;
mod network;
mod oci;
mod peers;
mod registry;
mod restart;
mod run;
mod sandbox;
mod search;
mod serve;
mod session;
mod site;
mod stats;
mod tidy;
mod top;
mod tree;
mod update;
mod v2;
