//! Which newer kernel calls are to be done without, though this kernel has them.
//!
//! Every use of a call that is newer than the oldest supported kernel (5.10) has a way around it. So that tests can go
//! that way on any kernel, `ARIL_KERNEL_FALLBACK` names, separated by commas, what is to be taken for missing:
//! `overlay` (`lowerdir+`, kernel 6.8).

use std::sync::OnceLock;

/// Returns whether the call of this name is to be taken for missing.
pub fn forced(name: &str) -> bool {
    static NAMES: OnceLock<String> = OnceLock::new();
    NAMES
        .get_or_init(|| std::env::var("ARIL_KERNEL_FALLBACK").unwrap_or_default())
        .split(',')
        .any(|known| known == name)
}
