//! Maps of sparse files (GNU tar manual, Sparse Formats): which runs of a file are stored.

use anyhow::{Context as _, Result, bail};

use super::Extent;

/// The most runs that a map may have.
const EXTENTS_MAX: usize = 1 << 20;
/// The longest number in a map of version 1.0, in digits.
const DIGITS_MAX: usize = 20;

/// The numbers of a map of version 1.0, which stand before the content, one per line: the count of runs, then the offset
/// and the length of each.
#[derive(Debug, Default)]
pub(super) struct Lines {
    numbers: Vec<u64>,
    partial: Vec<u8>,
}

impl Lines {
    /// Takes one block of the map; returns the numbers after the count once all are there.
    pub(super) fn block(&mut self, block: &[u8]) -> Result<Option<Vec<u64>>> {
        for byte in block {
            if *byte != b'\n' {
                if self.partial.len() >= DIGITS_MAX {
                    bail!("a number of the sparse map is too long");
                }
                self.partial.push(*byte);
                continue;
            }
            let number = super::pax::decimal(&self.partial).context("malformed sparse map")?;
            self.partial.clear();
            self.numbers.push(number);
            let count = usize::try_from(self.numbers[0]).unwrap_or(usize::MAX);
            if count > EXTENTS_MAX {
                bail!("a sparse map of {count} runs is too large");
            }
            if self.numbers.len() > 2 * count {
                self.numbers.remove(0);
                // What is left of this block is padding.
                return Ok(Some(std::mem::take(&mut self.numbers)));
            }
        }
        Ok(None)
    }
}

/// Makes a map of `numbers`, offsets and lengths in turn, for a file of `size` bytes with `stored` bytes in the archive.
///
/// The runs must ascend without overlap, end within the file, and be as long together as what is stored.
pub(super) fn extents(numbers: &[u64], size: u64, stored: u64) -> Result<Vec<Extent>> {
    if !numbers.len().is_multiple_of(2) {
        bail!("a sparse map has an offset without a length");
    }
    if numbers.len() > 2 * EXTENTS_MAX {
        bail!("a sparse map of {} runs is too large", numbers.len() / 2);
    }
    let mut map = Vec::with_capacity(numbers.len() / 2);
    let (mut end, mut sum) = (0, 0u64);
    for pair in numbers.chunks_exact(2) {
        let (offset, length) = (pair[0], pair[1]);
        if offset < end {
            bail!("the runs of a sparse map overlap");
        }
        let next = offset.checked_add(length).filter(|next| *next <= size);
        end = next.context("a sparse map reaches beyond the file")?;
        sum = sum.saturating_add(length);
        // A run of no bytes only says where the file ends.
        if length > 0 {
            map.push(Extent { offset, length });
        }
    }
    if sum != stored {
        bail!("a sparse map of {sum} bytes does not fit the {stored} bytes that are stored");
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_must_fit() {
        let ok = extents(&[0, 2, 10, 3, 20, 0], 20, 5).unwrap();
        assert_eq!(ok.len(), 2);
        for (numbers, size, stored) in [
            (&[0, 2, 1, 1][..], 10, 3),
            (&[0, 11], 10, 11),
            (&[u64::MAX, 2], 10, 2),
            (&[0, 2], 10, 3),
            (&[0], 10, 0),
            (&[5, 1, 0, 1], 10, 2),
        ] {
            assert!(extents(numbers, size, stored).is_err(), "{numbers:?}");
        }
    }

    #[test]
    fn lines_may_cross_blocks() {
        let mut lines = Lines::default();
        assert_eq!(lines.block(b"2\n0\n1").unwrap(), None);
        assert_eq!(lines.block(b"0\n30\n").unwrap(), None);
        let numbers = lines.block(b"5\n\0\0\0").unwrap().unwrap();
        assert_eq!(numbers, [0, 10, 30, 5]);
        assert!(Lines::default().block(b"x\n").is_err());
        assert!(Lines::default().block(b"99999999\n").is_err());
        assert!(Lines::default().block(&[b'1'; 512]).is_err());
        assert_eq!(Lines::default().block(b"0\n").unwrap(), Some(vec![]));
    }
}
