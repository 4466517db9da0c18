//! Digests (image-spec descriptor.md, Digests): readers and writers that hash as they go.
//!
//! The type of a digest is `oci_spec::image::Digest`; sha256 is computed, sha256 and sha512 are verified, and nothing else
//! becomes a path.

use std::io::{self, Read, Write};

use anyhow::{Result, bail};
use oci_spec::image::{Digest, DigestAlgorithm};
use sha2::{Digest as _, Sha256, Sha512};

/// Returns the sha256 digest of `bytes`.
pub fn sha256(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::sha256();
    hasher.update(bytes);
    hasher.finish()
}

/// Reads a digest written as `sha256:HEX` or `sha512:HEX`.
pub fn parse(text: &str) -> Result<Digest> {
    let Ok(digest) = text.parse::<Digest>() else {
        bail!("invalid digest {text:?}")
    };
    supported(&digest)?;
    Ok(digest)
}

/// Returns the directory name and the file name of a digest, both safe to join to a path.
pub fn path_parts(digest: &Digest) -> Result<(&str, &str)> {
    supported(digest)?;
    Ok((digest.algorithm().as_ref(), digest.digest()))
}

/// Returns the first 12 hexadecimal digits, which is how people see it.
pub fn short(digest: &Digest) -> &str {
    &digest.digest()[..12]
}

fn supported(digest: &Digest) -> Result<()> {
    match digest.algorithm() {
        DigestAlgorithm::Sha256 | DigestAlgorithm::Sha512 => Ok(()),
        other => bail!("unsupported digest algorithm {:?}", other.as_ref()),
    }
}

/// Computes one digest piece by piece.
#[derive(Clone, Debug)]
pub struct Hasher(Algorithm);

#[derive(Clone, Debug)]
enum Algorithm {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Hasher {
    /// Starts a sha256 digest.
    pub fn sha256() -> Hasher {
        Hasher(Algorithm::Sha256(Sha256::new()))
    }

    /// Starts a digest of the algorithm that `expected` has.
    pub fn like(expected: &Digest) -> Result<Hasher> {
        supported(expected)?;
        Ok(match expected.algorithm() {
            DigestAlgorithm::Sha512 => Hasher(Algorithm::Sha512(Box::new(Sha512::new()))),
            _ => Hasher::sha256(),
        })
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Algorithm::Sha256(hasher) => hasher.update(bytes),
            Algorithm::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// Returns the digest of all that was added.
    pub fn finish(self) -> Digest {
        let text = match self.0 {
            Algorithm::Sha256(hasher) => format!("sha256:{}", hex(&hasher.finalize())),
            Algorithm::Sha512(hasher) => format!("sha512:{}", hex(&hasher.finalize())),
        };
        text.parse()
            .expect("an algorithm and its number of hexadecimal digits are a digest")
    }
}

/// Returns `bytes` as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Hashes and counts what is read through it.
#[derive(Debug)]
pub struct HashingReader<R> {
    inner: R,
    hasher: Hasher,
    count: u64,
}

impl<R: Read> HashingReader<R> {
    /// Wraps `inner`.
    pub fn new(inner: R, hasher: Hasher) -> HashingReader<R> {
        HashingReader {
            inner,
            hasher,
            count: 0,
        }
    }

    /// Returns the digest and the number of all bytes that were read.
    pub fn finish(self) -> (Digest, u64) {
        (self.hasher.finish(), self.count)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.count += count as u64;
        Ok(count)
    }
}

/// Hashes and counts what is written through it.
#[derive(Debug)]
pub struct HashingWriter<W> {
    inner: W,
    hasher: Hasher,
    count: u64,
}

impl<W: Write> HashingWriter<W> {
    /// Wraps `inner`.
    pub fn new(inner: W) -> HashingWriter<W> {
        HashingWriter {
            inner,
            hasher: Hasher::sha256(),
            count: 0,
        }
    }

    /// Returns what was wrapped, and the digest and the number of all bytes that were written.
    pub fn finish(self) -> (W, Digest, u64) {
        (self.inner, self.hasher.finish(), self.count)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn hashing_reader_and_writer_agree() {
        assert_eq!(sha256(b"").as_ref(), EMPTY);
        let mut reader = HashingReader::new(&b"hello"[..], Hasher::sha256());
        let mut writer = HashingWriter::new(Vec::new());
        io::copy(&mut reader, &mut writer).unwrap();
        let (read, count) = reader.finish();
        let (bytes, written, _) = writer.finish();
        assert_eq!((read.clone(), count), (written, 5));
        assert_eq!(read, sha256(&bytes));
    }

    #[test]
    fn only_known_digests_become_paths() {
        assert!(parse(EMPTY).is_ok());
        for bad in [
            "sha256:../../x",
            "sha256:ABC",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            "sha256",
            "",
            "../x:y/../z",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sha512_is_verified() {
        let digest = parse(&format!("sha512:{}", "0".repeat(128))).unwrap();
        assert_eq!(Hasher::like(&digest).unwrap().finish().digest().len(), 128);
    }
}
