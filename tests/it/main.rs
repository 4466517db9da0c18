//! Black-box tests: through the built program, on real kernels, as root.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic, and then shows what it has printed"
)]

mod archives;
mod budget;
mod cgroup;
mod check;
mod commit;
mod completion;
mod config;
mod cp;
mod crash;
mod crowd;
mod cves;
mod df;
mod diff;
mod environment;
mod events;
mod exec;
mod explain;
mod failures;
mod foreign;
mod health;
mod hostile;
mod images;
mod inspect;
mod interop;
mod isolation;
mod lifecycle;
mod limits;
mod log_drivers;
mod login;
mod logs;
mod mirror;
mod network;
mod oci;
mod peers;
mod ps;
mod refused;
mod registry;
mod restart;
mod run;
mod sandbox;
mod scripts;
mod search;
mod serve;
mod session;
mod settle;
mod site;
mod soak;
mod stats;
mod terminal;
mod tidy;
mod top;
mod transcripts;
mod tree;
mod update;
mod v2;
mod volumes;
mod why;
