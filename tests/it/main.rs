//! Black-box tests: through the built program, on real kernels, as root.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod cgroup;
mod oci;
