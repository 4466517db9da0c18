//! Which addresses networks and containers get. Pure: what is taken is an argument.
//!
//! The lowest free address comes first, as with docker, so that the first container of the default network is 172.17.0.2
//! again and again. Networks take docker's pools in docker's order, and go on with smaller ones where docker gives up.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use anyhow::Result;

use crate::error;

/// A network: its first address and the length of the prefix that all its addresses share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subnet {
    /// The address with all bits after the prefix zero.
    pub address: IpAddr,
    /// Bits.
    pub length: u8,
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Subnet {
    type Err = anyhow::Error;

    /// Reads `10.1.0.0/16`; bits after the prefix are cut off, as docker does. Errors are of kind `Invalid`.
    fn from_str(text: &str) -> Result<Subnet> {
        let invalid = || {
            error::invalid(format!(
                "invalid subnet {text}: invalid CIDR block notation"
            ))
        };
        let (address, length) = text.split_once('/').ok_or_else(invalid)?;
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length = length.parse().ok().filter(|_| digits);
        let length: u8 = length.ok_or_else(invalid)?;
        if length > bits(address) {
            return Err(invalid());
        }
        Ok(Subnet::new(address, length))
    }
}

impl Subnet {
    /// Returns the network of `length` bits that `address` is in.
    pub fn new(address: IpAddr, length: u8) -> Subnet {
        let whole = Subnet { address, length };
        Subnet {
            address: from_value(value(address) & !whole.host_bits(), address),
            length,
        }
    }

    /// All bits after the prefix.
    fn host_bits(self) -> u128 {
        let count = u32::from(bits(self.address) - self.length);
        u128::MAX.checked_shr(128 - count).unwrap_or_default()
    }

    fn first(self) -> u128 {
        value(self.address)
    }

    fn last(self) -> u128 {
        value(self.address) | self.host_bits()
    }

    /// Returns whether an address is in it.
    pub fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && (self.first()..=self.last()).contains(&value(address))
    }

    /// Returns whether both have an address in common.
    pub fn overlaps(self, other: Subnet) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// Returns whether it has IPv6 addresses.
    pub fn is_ipv6(self) -> bool {
        self.address.is_ipv6()
    }

    /// Returns the first and the last address that a host can have.
    ///
    /// In IPv4 the network's own and the broadcast address are none, if there are more than two.
    fn hosts(self) -> (u128, u128) {
        let (first, last) = (self.first(), self.last());
        match last - first {
            0 | 1 => (first, last),
            _ if self.is_ipv6() => (first + 1, last),
            _ => (first + 1, last - 1),
        }
    }

    /// Returns whether a host can have this address.
    pub fn has_host(self, address: IpAddr) -> bool {
        let (first, last) = self.hosts();
        self.contains(address) && (first..=last).contains(&value(address))
    }

    /// Returns the address that the host gets if nobody chose one: the first.
    pub fn default_gateway(self) -> IpAddr {
        from_value(self.hosts().0, self.address)
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn value(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// Returns the address of this value, of the same family as `like`.
fn from_value(value: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from(u32::try_from(value).unwrap_or(u32::MAX)).into(),
        IpAddr::V6(_) => Ipv6Addr::from(value).into(),
    }
}

/// Where the containers of a network get their addresses from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// All addresses of the network.
    pub subnet: Subnet,
    /// The part that is given to those who ask for none; nothing is all.
    pub range: Option<Subnet>,
    /// Addresses that no container gets: the gateway's, and those that the user has reserved.
    pub reserved: Vec<IpAddr>,
}

impl Pool {
    /// Returns the lowest address that is not in `taken`; nothing if there is none.
    pub fn lowest_free(&self, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
        let (first, last) = self.subnet.hosts();
        let (first, last) = match self.range {
            Some(range) => (first.max(range.first()), last.min(range.last())),
            None => (first, last),
        };
        let mut candidates = first..=last;
        candidates.find_map(|candidate| {
            let address = from_value(candidate, self.subnet.address);
            (!taken.contains(&address) && !self.reserved.contains(&address)).then_some(address)
        })
    }

    /// Refuses an address that somebody asks for and cannot have; `Invalid`, or `Conflict` if it is taken.
    pub fn check(&self, wanted: IpAddr, taken: &BTreeSet<IpAddr>) -> Result<()> {
        if !self.subnet.has_host(wanted) {
            return Err(error::invalid(format!(
                "no configured subnet or ip-range contain the IP address {wanted}"
            )));
        }
        if taken.contains(&wanted) || self.reserved.contains(&wanted) {
            return Err(error::conflict("Address already in use"));
        }
        Ok(())
    }
}

/// A pool that networks take their subnets from: one network, cut into parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// The whole.
    pub base: Subnet,
    /// Length of the prefix of a part.
    pub size: u8,
}

/// Returns docker's pools in docker's order, then what it does not have: 10.0.0.0/8 and 100.64.0.0/10 in /24.
pub fn default_pools() -> Vec<Base> {
    let pool = |a, b, length, size| Base {
        base: Subnet::new(IpAddr::from([a, b, 0, 0]), length),
        size,
    };
    vec![
        pool(172, 17, 16, 16),
        pool(172, 18, 16, 16),
        pool(172, 19, 16, 16),
        pool(172, 20, 14, 16),
        pool(172, 24, 14, 16),
        pool(172, 28, 14, 16),
        pool(192, 168, 16, 20),
        // From the middle: the ends of 10.0.0.0/8 are where companies and VPNs are.
        pool(10, 128, 9, 24),
        pool(100, 64, 10, 24),
    ]
}

/// Returns the first part of the pools that overlaps nothing of `taken`.
pub fn free_subnet(pools: &[Base], taken: &[Subnet]) -> Option<Subnet> {
    pools.iter().find_map(|pool| {
        let step = Subnet::new(pool.base.address, pool.size).host_bits() + 1;
        let mut first = pool.base.first();
        while first <= pool.base.last() {
            let candidate = Subnet::new(from_value(first, pool.base.address), pool.size);
            match taken
                .iter()
                .filter(|other| other.overlaps(candidate))
                .map(|other| other.last())
                .max()
            {
                None => return Some(candidate),
                // Over all of what is in the way at once, to the next multiple.
                Some(last) => {
                    let next = first + step;
                    let behind = (last + 1 - pool.base.first()).next_multiple_of(step);
                    first = next.max(pool.base.first() + behind);
                }
            }
        }
        None
    })
}

/// Returns a network of unique local addresses (RFC 4193) for the network whose id is `id`.
pub fn unique_local(id: &str) -> Subnet {
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    for (at, octet) in octets[1..8].iter_mut().enumerate() {
        let digits = id.get(2 * at..2 * at + 2).unwrap_or("0");
        *octet = u8::from_str_radix(digits, 16).unwrap_or_default();
    }
    Subnet::new(IpAddr::from(octets), 64)
}

/// Returns the address of the link layer for an IPv4 address: who gets the address again is found under it at once.
pub fn mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn pool(text: &str) -> Pool {
        let subnet = subnet(text);
        Pool {
            subnet,
            range: None,
            reserved: vec![subnet.default_gateway()],
        }
    }

    #[test]
    fn subnets_are_read_and_written() {
        for (text, want) in [
            ("10.1.2.3/16", "10.1.0.0/16"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("10.0.0.1/32", "10.0.0.1/32"),
            ("fd00::1/64", "fd00::/64"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(subnet(text).to_string(), want);
        }
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "a/8",
            "10.0.0.0/+8",
            "::/129",
        ] {
            let error = text.parse::<Subnet>().unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("invalid subnet {text}: invalid CIDR block notation")
            );
        }
    }

    #[test]
    fn the_lowest_free_address_comes_first() {
        let check = |pool: &Pool, taken: &[&str], want: Option<&str>| {
            let taken = taken.iter().map(|text| address(text)).collect();
            assert_eq!(pool.lowest_free(&taken), want.map(address), "{pool:?}");
        };
        let whole = pool("172.17.0.0/16");
        check(&whole, &[], Some("172.17.0.2"));
        check(&whole, &["172.17.0.2", "172.17.0.4"], Some("172.17.0.3"));
        check(&pool("10.0.0.0/30"), &["10.0.0.2"], None);
        check(&pool("10.0.0.0/31"), &[], Some("10.0.0.1"));
        check(&pool("fd00::/64"), &[], Some("fd00::2"));
        let part = Pool {
            range: Some(subnet("172.17.5.0/24")),
            ..whole
        };
        check(&part, &[], Some("172.17.5.0"));
    }

    #[test]
    fn addresses_that_are_asked_for_are_checked() {
        let check = |wanted: &str, taken: &[&str], want: &str| {
            let taken = taken.iter().map(|text| address(text)).collect();
            let error = pool("10.0.0.0/24")
                .check(address(wanted), &taken)
                .unwrap_err();
            assert_eq!(error.to_string(), want);
        };
        let outside = |wanted: &str| {
            format!("no configured subnet or ip-range contain the IP address {wanted}")
        };
        for wanted in ["10.0.1.1", "10.0.0.0", "10.0.0.255", "::1"] {
            check(wanted, &[], &outside(wanted));
        }
        check("10.0.0.1", &[], "Address already in use");
        check("10.0.0.9", &["10.0.0.9"], "Address already in use");
        pool("10.0.0.0/24")
            .check(address("10.0.0.9"), &BTreeSet::new())
            .unwrap();
    }

    #[test]
    fn networks_take_dockers_pools_and_go_on() {
        let pools = default_pools();
        let mut taken = Vec::new();
        let mut got = Vec::new();
        for _ in 0..400 {
            let next = free_subnet(&pools, &taken).unwrap();
            got.push(next.to_string());
            taken.push(next);
        }
        assert_eq!(got[0], "172.17.0.0/16");
        assert_eq!(got[14], "172.31.0.0/16");
        assert_eq!(got[15], "192.168.0.0/20");
        assert_eq!(got[30], "192.168.240.0/20");
        assert_eq!(got[31], "10.128.0.0/24");
        // A route to half of everything is in the way of what is below it alone.
        let wide = [
            subnet("172.16.0.0/12"),
            subnet("192.168.0.0/16"),
            subnet("10.128.0.0/9"),
        ];
        assert_eq!(free_subnet(&pools, &wide), Some(subnet("100.64.0.0/24")));
        assert_eq!(free_subnet(&pools, &[subnet("0.0.0.0/0")]), None);
    }

    #[test]
    fn local_networks_and_link_addresses_follow_from_what_they_belong_to() {
        let id = "4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2";
        assert_eq!(unique_local(id).to_string(), "fd4f:a6e0:f0c6:7862::/64");
        assert_eq!(mac(Ipv4Addr::new(172, 17, 0, 2)), [2, 0x42, 172, 17, 0, 2]);
    }

    proptest! {
        /// No address twice, none lost: all are given out, in order, and what is given back is given again.
        #[test]
        fn addresses_are_given_once_and_all_of_them(
            length in 24_u8..=32,
            steps in proptest::collection::vec(any::<(bool, usize)>(), 1..200),
        ) {
            let pool = pool(&format!("10.9.8.0/{length}"));
            let mut taken = BTreeSet::new();
            let hosts = match length {
                32 => 0,
                31 => 1,
                length => (1_usize << (32 - length)) - 3,
            };
            for (give_back, which) in steps {
                if give_back && !taken.is_empty() {
                    let which = *taken.iter().nth(which % taken.len()).unwrap();
                    taken.remove(&which);
                    continue;
                }
                let Some(address) = pool.lowest_free(&taken) else {
                    prop_assert_eq!(taken.len(), hosts);
                    continue;
                };
                prop_assert!(pool.subnet.contains(address));
                prop_assert!(!pool.reserved.contains(&address));
                pool.check(address, &taken).unwrap();
                prop_assert!(taken.insert(address));
                prop_assert!(taken.len() <= hosts);
            }
        }

        /// Subnets never overlap one that is taken, whatever that is.
        #[test]
        fn subnets_do_not_overlap(taken in proptest::collection::vec((any::<u32>(), 4_u8..=32), 0..40)) {
            let taken: Vec<Subnet> = taken
                .into_iter()
                .map(|(address, length)| Subnet::new(Ipv4Addr::from(address).into(), length))
                .collect();
            if let Some(found) = free_subnet(&default_pools(), &taken) {
                prop_assert!(taken.iter().all(|other| !other.overlaps(found)));
            }
        }
    }
}
