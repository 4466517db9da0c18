//! Black-box tests: through the built program, on real kernels, as root.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic, and then shows what it has printed"
)]

mod cgroup;
mod completion;
mod cp;
mod events;
mod foreign;
mod health;
mod interop;
mod lifecycle;
mod oci;
mod peers;
mod refused;
mod registry;
mod restart;
mod run;
mod sandbox;
mod session;
mod stats;
mod tidy;
mod top;
mod tree;
mod update;
mod v2;
