//! The stream of a container without terminal: standard output and standard error in frames.

use anyhow::Result;

/// The head of a frame; see [`crate::monitor::control`].
const HEADER_BYTES: usize = 8;

/// Takes frames apart that arrive in any pieces.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: Vec<u8>,
    left: usize,
    stderr: bool,
}

impl Frames {
    /// Takes the next bytes of the stream; `each` gets what is in the frames, and whether it is standard error.
    pub(super) fn take(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(bool, &[u8]) -> Result<()>,
    ) -> Result<()> {
        while !bytes.is_empty() {
            if self.left == 0 {
                let missing = HEADER_BYTES - self.header.len();
                let (part, rest) = bytes.split_at(missing.min(bytes.len()));
                self.header.extend_from_slice(part);
                bytes = rest;
                if self.header.len() < HEADER_BYTES {
                    return Ok(());
                }
                let length = [
                    self.header[4],
                    self.header[5],
                    self.header[6],
                    self.header[7],
                ];
                self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or_default();
                self.stderr = self.header[0] == 2;
                self.header.clear();
            }
            let (part, rest) = bytes.split_at(self.left.min(bytes.len()));
            if !part.is_empty() {
                each(self.stderr, part)?;
            }
            self.left -= part.len();
            bytes = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_apart_whatever_the_pieces() {
        let stream = b"\x01\0\0\0\0\0\0\x03one\x02\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\x04two!";
        for size in 1..stream.len() {
            let mut frames = Frames::default();
            let (mut out, mut err) = (Vec::new(), Vec::new());
            for piece in stream.chunks(size) {
                let each = |stderr, bytes: &[u8]| {
                    if stderr { &mut err } else { &mut out }.extend_from_slice(bytes);
                    Ok(())
                };
                frames.take(piece, each).unwrap();
            }
            assert_eq!(
                (out.as_slice(), err.as_slice()),
                (&b"one"[..], &b"two!"[..]),
                "pieces of {size}"
            );
        }
    }
}
