//! Decompression of archives and layers: what it is shows in its first bytes, never in a media type or a file name.
//!
//! No program is started for it (a container's or a user's PATH must not choose one), and each decoder has a limit of
//! memory. Reading goes on to the end of the input, over members that were joined, so that what stands there is hashed.

use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use flate2::bufread::GzDecoder;

/// How much is read and passed on at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// How many chunks may wait between two threads.
const CHUNKS_WAITING: usize = 4;
/// The longest run of bytes that tells a format.
const MAGIC_BYTES: usize = 6;
/// The largest window of zstd, as a power of two: 128 MiB, which is zstd's own limit.
const ZSTD_WINDOW_LOG: u32 = 27;
/// The most memory for a dictionary of xz, in KiB; its highest preset takes 64 MiB.
const XZ_MEMORY_KIB: u32 = 256 << 10;

/// How something is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// The .xz format.
    Xz,
    /// bzip2.
    Bzip2,
}

/// Returns how something is compressed that begins with `start`.
pub fn sniff(start: &[u8]) -> Compression {
    match start {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        // A frame, or a skippable frame before it.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Compression::Bzip2,
        _ => Compression::None,
    }
}

/// Returns how `input` is compressed, and a reader of what it holds.
pub fn decompress<'a>(
    input: impl Read + Send + 'a,
) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    decompress_buffered(BufReader::with_capacity(CHUNK_BYTES, input))
}

/// As [`decompress`], of what is in a buffer already: it is not copied into another.
pub(crate) fn decompress_buffered<'a>(
    mut input: impl BufRead + Send + 'a,
) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let mut start = Vec::with_capacity(MAGIC_BYTES);
    (&mut input)
        .take(MAGIC_BYTES as u64)
        .read_to_end(&mut start)?;
    let compression = sniff(&start);
    let input = Cursor::new(start).chain(input);
    let reader: Box<dyn Read + Send + 'a> = match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(Gunzip::new(input)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(
            input,
            true,
            XZ_MEMORY_KIB,
        )),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
    };
    Ok((compression, reader))
}

/// Members of gzip, one after another (`pigz -i`, eStargz and `cat` make them), and NULs after the last one, which tapes
/// and some registries add and gzip ignores.
struct Gunzip<R: BufRead> {
    /// Nothing once the end was reached.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Gunzip<R> {
    fn new(input: R) -> Gunzip<R> {
        Gunzip {
            member: Some(GzDecoder::new(input)),
        }
    }
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(member) = &mut self.member else {
                return Ok(0);
            };
            let count = member.read(out)?;
            if count > 0 || out.is_empty() {
                return Ok(count);
            }
            let mut input = self.member.take().expect("looked at above").into_inner();
            if next_member(&mut input)? {
                self.member = Some(GzDecoder::new(input));
            }
        }
    }
}

/// Returns whether another member follows, after passing over NULs.
fn next_member(input: &mut impl BufRead) -> io::Result<bool> {
    let mut padded = false;
    loop {
        let available = input.fill_buf()?;
        let zeros = available.iter().take_while(|b| **b == 0).count();
        let end = available.is_empty();
        let rest = available.len() - zeros;
        input.consume(zeros);
        padded |= zeros > 0;
        if end {
            return Ok(false);
        }
        if rest > 0 && padded {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "something follows the end of the gzip stream",
            ));
        }
        if rest > 0 {
            return Ok(true);
        }
    }
}

/// Reads `input` on a thread of its own, ahead of `work`, which gets what was read.
///
/// Pays where both sides compute: one inflates while the other hashes and writes. On a machine with one processor there is
/// no thread.
pub(crate) fn ahead<T>(
    input: impl Read + Send,
    work: impl FnOnce(&mut (dyn BufRead + Send)) -> T,
) -> T {
    if std::thread::available_parallelism().is_ok_and(|count| count.get() == 1) {
        return work(&mut BufReader::with_capacity(CHUNK_BYTES, input));
    }
    std::thread::scope(|scope| {
        let (full, filled) = sync_channel(CHUNKS_WAITING);
        let (empty, emptied) = channel();
        scope.spawn(move || fill(input, &full, &emptied));
        let mut ahead = Ahead {
            filled,
            empty,
            chunk: Vec::new(),
            start: 0,
        };
        // Dropped before the scope waits for the thread, which ends when nobody takes its chunks.
        work(&mut ahead)
    })
}

fn fill(mut input: impl Read, full: &SyncSender<io::Result<Vec<u8>>>, emptied: &Receiver<Vec<u8>>) {
    loop {
        let mut chunk = emptied.try_recv().unwrap_or_default();
        chunk.resize(CHUNK_BYTES, 0);
        let result = read_full(&mut input, &mut chunk).map(|count| {
            chunk.truncate(count);
            chunk
        });
        let end = match &result {
            Ok(chunk) => chunk.len() < CHUNK_BYTES,
            Err(_) => true,
        };
        if full.send(result).is_err() || end {
            return;
        }
    }
}

fn read_full(input: &mut impl Read, chunk: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < chunk.len() {
        match input.read(&mut chunk[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

struct Ahead {
    filled: Receiver<io::Result<Vec<u8>>>,
    empty: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    start: usize,
}

impl BufRead for Ahead {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.chunk.len()
            && let Ok(next) = self.filled.recv()
        {
            let used = std::mem::replace(&mut self.chunk, next?);
            self.start = 0;
            // The reader may be done and gone.
            drop(self.empty.send(used));
        }
        Ok(&self.chunk[self.start..])
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
    }
}

impl Read for Ahead {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let rest = self.fill_buf()?;
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn check(input: &[u8], compression: Compression, expected: &[u8]) {
        let (found, mut reader) = decompress(input).unwrap();
        let mut out = Vec::new();
        reader.read_to_end(&mut out).unwrap();
        assert_eq!(found, compression);
        assert!(out == expected);
    }

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        let data = b"some content ".repeat(50_000);
        check(&data, Compression::None, &data);
        check(b"", Compression::None, b"");
        check(b"x", Compression::None, b"x");
        check(&gzip(&data), Compression::Gzip, &data);
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(&data).unwrap();
        check(&encoder.finish().unwrap(), Compression::Bzip2, &data);
        let zstd = zstd::encode_all(&data[..], 1).unwrap();
        check(&zstd, Compression::Zstd, &data);
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3], &zstd[..]].concat();
        check(&skippable, Compression::Zstd, &data);
        check(
            &[&zstd[..], &zstd].concat(),
            Compression::Zstd,
            &data.repeat(2),
        );
    }

    #[test]
    fn xz_is_read() {
        let xz = std::process::Command::new("sh")
            .args(["-c", "yes line | head -c 300000 | xz -c"])
            .output()
            .unwrap();
        assert!(xz.status.success() && !xz.stdout.is_empty(), "needs xz");
        let expected: Vec<u8> = b"line\n".iter().copied().cycle().take(300_000).collect();
        check(&xz.stdout, Compression::Xz, &expected);
    }

    #[test]
    fn members_are_joined_and_padding_is_passed_over() {
        let data = b"x".repeat(1000);
        let joined = [gzip(&data), gzip(b""), gzip(b"end"), vec![0; 70_000]].concat();
        check(&joined, Compression::Gzip, &[&data[..], b"end"].concat());
        for bad in [
            [gzip(&data), b"rubbish".to_vec()].concat(),
            [gzip(&data), vec![0; 3], gzip(&data)].concat(),
            gzip(&data)[..20].to_vec(),
        ] {
            let mut out = Vec::new();
            let (_, mut reader) = decompress(&bad[..]).unwrap();
            assert!(reader.read_to_end(&mut out).is_err());
        }
    }

    #[test]
    fn reading_ahead_changes_nothing() {
        let data: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[1]).collect();
        let mut out = Vec::new();
        ahead(&data[..], |reader| reader.read_to_end(&mut out)).unwrap();
        assert!(out == data);
        // Whoever stops early does not hang, and errors arrive.
        ahead(io::repeat(1), |reader| reader.read(&mut [0; 10])).unwrap();
        let (_, broken) = decompress(&[0x1f, 0x8b, 1][..]).unwrap();
        assert!(ahead(broken, |reader| reader.read_to_end(&mut Vec::new())).is_err());
    }
}
