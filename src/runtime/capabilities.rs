//! Capability sets: from names to bits, and what a process does to have them.
//!
//! Names that no kernel knows, and capabilities that this process cannot give, are left out with a warning, as runc does:
//! images and orchestrators list what newer kernels have.

use std::str::FromStr as _;

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities,
};

use super::channel::{Failure, OrFail as _};
use crate::error::describe;
use crate::oci::runtime::Capabilities;

/// The five sets of a process; bit n is capability n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sets {
    pub(super) bounding: u64,
    pub(super) effective: u64,
    pub(super) inheritable: u64,
    pub(super) permitted: u64,
    pub(super) ambient: u64,
}

/// Reads the names of all sets; returns the names that are left out, too.
pub(super) fn plan(capabilities: &Capabilities, available: u64) -> (Sets, Vec<String>) {
    let mut left_out: Vec<String> = Vec::new();
    let mut set = |names: &[String]| {
        let mut bits = 0;
        for name in names {
            match caps::Capability::from_str(name) {
                Ok(capability) if available & capability.bitmask() != 0 => {
                    bits |= capability.bitmask();
                }
                _ if left_out.contains(name) => {}
                _ => left_out.push(name.clone()),
            }
        }
        bits
    };
    let sets = Sets {
        bounding: set(&capabilities.bounding),
        effective: set(&capabilities.effective),
        inheritable: set(&capabilities.inheritable),
        permitted: set(&capabilities.permitted),
        ambient: set(&capabilities.ambient),
    };
    (sets, left_out)
}

/// Returns what this process may give to a child in its own user namespace.
pub(super) fn available() -> u64 {
    let own = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted);
    // The first that the kernel does not know is an error.
    (0..64)
        .map(|number| CapabilitySet::from_bits_retain(1 << number))
        .map_while(|bit| Some((bit, capability_is_in_bounding_set(bit).ok()?)))
        .filter(|&(bit, bounding)| bounding && own.contains(bit))
        .fold(0, |available, (bit, _)| available | bit.bits())
}

/// Takes everything out of the bounding set that is not in `sets`.
pub(super) fn bound(sets: &Sets) -> Result<(), Failure> {
    for number in 0..64 {
        let bit = CapabilitySet::from_bits_retain(1 << number);
        if sets.bounding & bit.bits() != 0 {
            continue;
        }
        match remove_capability_from_bounding_set(bit) {
            Ok(()) => {}
            // The kernel knows no more.
            Err(Errno::INVAL) => break,
            // Who may take nothing away need not where there is nothing.
            Err(_) if capability_is_in_bounding_set(bit) == Ok(false) => {}
            Err(errno) => {
                return Err(errno).or_fail(|| "drop capabilities from the bounding set".to_owned());
            }
        }
    }
    Ok(())
}

/// Puts `effective` in force, keeping every capability that this process has within its reach.
pub(super) fn lower(effective: u64) -> Result<(), Failure> {
    let own = capabilities(None).or_fail(|| "read capabilities".to_owned())?;
    set(CapabilitySets {
        effective: CapabilitySet::from_bits_retain(effective & own.permitted.bits()),
        permitted: own.permitted,
        inheritable: CapabilitySet::empty(),
    })
}

/// Puts everything in force that this process has within its reach.
pub(super) fn raise() -> Result<(), Failure> {
    lower(u64::MAX)
}

/// Gives this process the final sets; calls `warn` for ambient capabilities that the kernel refuses.
pub(super) fn apply(sets: &Sets, mut warn: impl FnMut(String)) -> Result<(), Failure> {
    set(CapabilitySets {
        effective: CapabilitySet::from_bits_retain(sets.effective),
        permitted: CapabilitySet::from_bits_retain(sets.permitted),
        inheritable: CapabilitySet::from_bits_retain(sets.inheritable),
    })?;
    match clear_ambient_capability_set() {
        // Before kernel 4.3.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(errno) => {
            return Err(errno).or_fail(|| "clear the ambient capabilities".to_owned());
        }
    }
    for number in 0..64 {
        let bit = CapabilitySet::from_bits_retain(1 << number);
        if sets.ambient & bit.bits() != 0
            && let Err(errno) = configure_capability_in_ambient_set(bit, true)
        {
            let name = bit
                .iter_names()
                .next()
                .map_or_else(|| number.to_string(), |(name, _)| format!("CAP_{name}"));
            warn(format!(
                "can't raise ambient capability {name}: {}",
                describe(errno.raw_os_error())
            ));
        }
    }
    Ok(())
}

fn set(sets: CapabilitySets) -> Result<(), Failure> {
    set_capabilities(None, sets).or_fail(|| "unable to apply caps".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_bits() {
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let asked = Capabilities {
            bounding: names(&["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_TIME_TRAVEL"]),
            effective: names(&["CAP_CHOWN", "CAP_TIME_TRAVEL"]),
            ambient: names(&["CAP_SYS_RESOURCE"]),
            ..Capabilities::default()
        };
        let (sets, left_out) = plan(&asked, !(1 << 24));
        assert_eq!(sets.bounding, 1 | 1 << 21);
        assert_eq!(sets.effective, 1);
        assert_eq!(sets.ambient, 0);
        assert_eq!(left_out, ["CAP_TIME_TRAVEL", "CAP_SYS_RESOURCE"]);
    }
}
