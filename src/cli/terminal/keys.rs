//! The keys that detach a terminal.

/// Looks for a sequence of keys; what may be its start is held back until it is decided.
#[derive(Debug)]
pub(super) struct DetachKeys<'a> {
    sequence: &'a [u8],
    matched: usize,
}

impl<'a> DetachKeys<'a> {
    /// Looks for `sequence`; never finds an empty one.
    pub(super) fn new(sequence: &'a [u8]) -> DetachKeys<'a> {
        DetachKeys {
            sequence,
            matched: 0,
        }
    }

    /// Returns what of `bytes` goes on, and whether the sequence is complete.
    pub(super) fn filter(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        if self.sequence.is_empty() {
            return (bytes.to_vec(), false);
        }
        let mut passed = Vec::with_capacity(bytes.len() + self.matched);
        for byte in bytes {
            if *byte != self.sequence[self.matched] {
                passed.extend_from_slice(&self.sequence[..self.matched]);
                self.matched = 0;
            }
            if *byte == self.sequence[self.matched] {
                self.matched += 1;
                if self.matched == self.sequence.len() {
                    return (passed, true);
                }
            } else {
                passed.push(*byte);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut keys = DetachKeys::new(&[16, 17]);
        let mut passed = Vec::new();
        for piece in pieces {
            let (bytes, detach) = keys.filter(piece);
            passed.extend(bytes);
            if detach {
                return (passed, true);
            }
        }
        (passed, false)
    }

    #[test]
    fn detach_keys_are_found_and_nothing_else_is_lost() {
        assert_eq!(keys(&[b"ab\x10\x11"]), (b"ab".to_vec(), true));
        assert_eq!(keys(&[b"\x10", b"\x11"]), (Vec::new(), true));
        assert_eq!(keys(&[b"\x10", b"x\x11"]), (b"\x10x\x11".to_vec(), false));
        assert_eq!(keys(&[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
        assert_eq!(keys(&[b"\x10"]), (Vec::new(), false));
    }
}
