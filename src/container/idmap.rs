//! `idmap`: whose files a bind mount shows as whose, `idmap=uids=0-1000-1#1-5000-10;gids=0-1000-1`.
//!
//! Each range is the first id in the file system, the first id that it shows as, and how many; it works both ways, so what
//! the container makes is stored under the ids of the file system. Ids without a range belong to nobody. Without ranges,
//! the owner of the source and the user that the program runs as change places, and all others stay who they are. Pure.

use anyhow::Result;

use crate::error;
use crate::oci::runtime::linux::IdMapping;

/// Ranges that the kernel takes (UID_GID_MAP_MAX_EXTENTS).
const RANGES_MAX: usize = 340;
/// The word for it, alone or before its ranges.
const WORD: &str = "idmap";

/// Whose ids become whose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap {
    /// Of users.
    pub uids: Vec<IdMapping>,
    /// Of groups.
    pub gids: Vec<IdMapping>,
}

/// Returns the ranges of the option among `words` of a mount, empty for none; nothing if it is not there.
pub fn asked<'a>(words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    words.into_iter().find_map(|word| {
        let rest = word.strip_prefix(WORD)?;
        if rest.is_empty() {
            return Some("");
        }
        rest.strip_prefix('=')
    })
}

/// Reads ranges; the error is of kind `Invalid`.
pub fn parse(text: &str) -> Result<IdMap> {
    let refuse = |why: &str| {
        let form = "idmap=uids=FROM-TO-COUNT[#...];gids=FROM-TO-COUNT[#...]";
        error::invalid(format!("invalid id map {text:?}: {why}; it is {form}"))
    };
    let mut map = IdMap::default();
    for part in text.split(';') {
        let (list, ranges) = match part.split_once('=') {
            Some(("uids", ranges)) => (&mut map.uids, ranges),
            Some(("gids", ranges)) => (&mut map.gids, ranges),
            _ => return Err(refuse("there are uids and gids")),
        };
        if !list.is_empty() {
            return Err(refuse("each stands there once"));
        }
        for range in ranges.split('#') {
            // As podman has it, ids of the container's user namespace; here that is the host's.
            let range = range.strip_prefix('@').unwrap_or(range);
            let numbers: Vec<u32> = range
                .split('-')
                .map(str::parse)
                .collect::<Result<_, _>>()
                .map_err(|_| refuse("a range has three numbers"))?;
            let [container_id, host_id, size] = numbers[..] else {
                return Err(refuse("a range has three numbers"));
            };
            let fits = |first: u32| size > 0 && first.checked_add(size - 1).is_some();
            if !fits(container_id) || !fits(host_id) {
                return Err(refuse("a range must not be empty or too long"));
            }
            list.push(IdMapping {
                container_id,
                host_id,
                size,
            });
        }
        if list.len() > RANGES_MAX {
            return Err(refuse("there are too many ranges"));
        }
    }
    for list in [&mut map.uids, &mut map.gids] {
        if list.is_empty() {
            *list = exchange(0, 0);
        }
    }
    Ok(map)
}

/// Returns the map in which the owner of a source and the container's user change places; each is a user and a group.
pub fn between(owner: (u32, u32), user: (u32, u32)) -> IdMap {
    IdMap {
        uids: exchange(owner.0, user.0),
        gids: exchange(owner.1, user.1),
    }
}

/// Returns ranges for all ids in which `a` and `b` stand for each other.
fn exchange(a: u32, b: u32) -> Vec<IdMapping> {
    // The last number is no id.
    const END: u32 = u32::MAX;
    let (low, high) = (a.min(b), a.max(b));
    let same = |from: u32, end: u32| IdMapping {
        container_id: from,
        host_id: from,
        size: end.saturating_sub(from),
    };
    let one = |from: u32, to: u32| IdMapping {
        container_id: from,
        host_id: to,
        size: 1,
    };
    if low == high {
        return vec![same(0, END)];
    }
    let all = [
        same(0, low),
        one(low, high),
        same(low + 1, high),
        one(high, low),
        same(high.saturating_add(1), END),
    ];
    all.into_iter().filter(|range| range.size > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(list: &[IdMapping]) -> Vec<(u32, u32, u32)> {
        let range = |range: &IdMapping| (range.container_id, range.host_id, range.size);
        list.iter().map(range).collect()
    }

    #[test]
    fn ranges_are_read() {
        let map = parse("uids=0-1-10#10-11-10;gids=@0-100-10").unwrap();
        assert_eq!(ranges(&map.uids), [(0, 1, 10), (10, 11, 10)]);
        assert_eq!(ranges(&map.gids), [(0, 100, 10)]);
        // What is not told stays.
        let map = parse("uids=5-6-1").unwrap();
        assert_eq!(ranges(&map.gids), [(0, 0, u32::MAX)]);
        for wrong in [
            "",
            "uids=",
            "uids=1-2",
            "uids=1-2-0",
            "uids=4294967295-0-2",
            "uids=1-2-3-4",
            "ids=1-2-3",
            "uids=0-1-1;uids=0-1-1",
            "uids=a-b-c",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn owner_and_user_change_places() {
        let map = between((1000, 100), (0, 100));
        assert_eq!(
            ranges(&map.uids),
            [
                (0, 1000, 1),
                (1, 1, 999),
                (1000, 0, 1),
                (1001, 1001, u32::MAX - 1001)
            ]
        );
        assert_eq!(ranges(&map.gids), [(0, 0, u32::MAX)]);
        assert_eq!(
            ranges(&exchange(5, 6)),
            [(0, 0, 5), (5, 6, 1), (6, 5, 1), (7, 7, u32::MAX - 7)]
        );
    }

    #[test]
    fn the_option_is_found_among_others() {
        assert_eq!(asked(["ro", "idmap"]), Some(""));
        assert_eq!(asked(["idmap=uids=0-1-1"]), Some("uids=0-1-1"));
        assert_eq!(asked(["idmapped", "ro"]), None);
    }
}
