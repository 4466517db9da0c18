//! Reading an archive member by member.
//!
//! The `tar` crate gives the layout of a header; going from one member to the next is done here, because the crate's
//! iterator (0.4.46) cuts pax records at newlines, so that a file capability with a newline byte hides the `size` after it
//! and the archive reads differently than it does for docker; it takes the first of two records where all others take the
//! last; it reads long names of any length into memory; and it believes sizes of members that have no content. Where
//! readers disagree this does what Go's does, since that is what images are made and pulled with, or refuses.
//!
//! ```text
//! member = [x header, records] [L header, name] [K header, target] header, content padded to 512
//! archive = member* [zero block …]                      what follows the first zero block is not looked at
//! ```

use std::io::{self, BufRead, ErrorKind, Read, Seek, SeekFrom};

use anyhow::{Context as _, Result, bail, ensure};
use tar::{GnuExtSparseHeader, Header};

use super::fields::{checksums, device, id, number, unsigned};
use super::pax::{self, Records};
use super::{BLOCK_BYTES, Entry, Extent, Kind, PATH_MAX_BYTES, Time, sparse};

/// How much is read at a time; large enough that a system call costs nothing beside its bytes.
const BUFFER_BYTES: usize = 256 << 10;

/// A reader of archives; as a [`BufRead`] it gives the stored content of the entry that was returned last.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Bytes of the archive before `buffer[start]`.
    position: u64,
    /// Stored bytes of the current entry that were not given out.
    content: u64,
    /// Bytes between the content and the next header.
    padding: u64,
    skip: Option<fn(&mut R, u64) -> io::Result<()>>,
}

impl<R: Read> Reader<R> {
    /// Reads an archive from its start.
    pub fn new(input: R) -> Reader<R> {
        Reader {
            input,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            position: 0,
            content: 0,
            padding: 0,
            skip: None,
        }
    }

    /// Returns the next entry, or nothing at the end of the archive; content that was not read is skipped.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut pending = Pending::default();
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else {
                ensure!(
                    pending == Pending::default(),
                    "the archive ends after an extended header"
                );
                return Ok(None);
            };
            let size = unsigned(&header.as_old().size).context("size of a member")?;
            let kind = header.as_old().linkflag[0];
            if !matches!(kind, b'x' | b'L' | b'K' | b'g' | b'V' | b'M' | b'N') {
                return self.entry(&header, pending, size).map(Some);
            }
            self.content(size)?;
            match kind {
                b'x' => {
                    ensure!(
                        pending.records.is_none(),
                        "a member has two extended headers"
                    );
                    let data = self.small(size, pax::RECORDS_MAX_BYTES)?;
                    pending.records = Some(pax::parse(&data)?);
                }
                b'L' => pending.path = Some(self.long_name(size)?),
                b'K' => pending.link = Some(self.long_name(size)?),
                // Global headers and GNU's volume labels, continuations and old name lists describe no file.
                _ => {}
            }
        }
    }

    /// Returns where the stored content of the current entry begins, or where reading it has come to.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns how many stored bytes of the current entry were not yet read.
    pub fn remaining(&self) -> u64 {
        self.content
    }

    /// Reads on to the end of the input, behind the end of the archive, and returns the input.
    ///
    /// What stands there belongs to the digest of a layer.
    pub fn drain(mut self) -> io::Result<R> {
        loop {
            match self.input.read(&mut self.buffer) {
                Ok(0) => return Ok(self.input),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn entry(&mut self, header: &Header, pending: Pending, size: u64) -> Result<Entry> {
        let records = pending.records.unwrap_or_default();
        let path = (records.sparse.name.clone())
            .or(records.path.clone())
            .or(pending.path)
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let named = || format!("member {:?}", String::from_utf8_lossy(&path));
        let link = || {
            let own = header.link_name_bytes().map(std::borrow::Cow::into_owned);
            let long = records.link.clone().or(pending.link.clone());
            long.or(own).unwrap_or_default()
        };
        let old = header.as_old();
        let kind = match old.linkflag[0] {
            // Archives older than ustar mark a directory by its name alone.
            0 if path.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink(link()),
            b'2' => Kind::Symlink(link()),
            b'3' => Kind::CharDevice(device(header).with_context(named)?),
            b'4' => Kind::BlockDevice(device(header).with_context(named)?),
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => bail!("{}: unhandled tar header type {other}", named()),
        };
        let mtime = match records.mtime {
            Some(time) => time,
            None => Time {
                seconds: number(&old.mtime).with_context(named)?,
                nanoseconds: 0,
            },
        };
        let mode = number(&old.mode).with_context(named)? & 0o7777;
        let mut entry = Entry {
            kind,
            mode: u32::try_from(mode).expect("twelve bits"),
            uid: id(records.uid, &old.uid)
                .context("owner")
                .with_context(named)?,
            gid: id(records.gid, &old.gid)
                .context("group")
                .with_context(named)?,
            mtime,
            size: 0,
            sparse: None,
            xattrs: Vec::new(),
            path: Vec::new(),
        };
        // Links, directories and devices have no content whatever their size field says: some writers put the size of
        // the file there, and who reads it desynchronises.
        if entry.kind == Kind::File {
            self.content(records.size.unwrap_or(size))?;
            let (size, map) = self.sparse(header, &records).with_context(named)?;
            (entry.size, entry.sparse) = (size, map);
        }
        (entry.path, entry.xattrs) = (path, records.xattrs);
        Ok(entry)
    }

    /// Returns the expanded size of the current file and the map of what is stored, if it is a sparse one; for version 1.0
    /// and GNU's old format the map is read off the input.
    fn sparse(&mut self, header: &Header, records: &Records) -> Result<(u64, Option<Vec<Extent>>)> {
        let said = &records.sparse;
        if header.as_old().linkflag[0] == b'S' {
            return self.old_sparse(header);
        }
        let numbers = match (said.major, said.minor, &said.numbers) {
            (Some(1), Some(0), _) => Some(self.sparse_lines()?),
            (None | Some(0), _, numbers) => numbers.clone(),
            (major, minor, _) => {
                let (major, minor) = (major.unwrap_or(0), minor.unwrap_or(0));
                bail!("unsupported sparse format {major}.{minor}")
            }
        };
        let Some(numbers) = numbers else {
            return Ok((self.content, None));
        };
        let size = said.size.context("a sparse file without its size")?;
        let map = sparse::extents(&numbers, size, self.content)?;
        Ok((size, Some(map)))
    }

    fn sparse_lines(&mut self) -> Result<Vec<u64>> {
        let mut lines = sparse::Lines::default();
        loop {
            let mut block = [0; BLOCK_BYTES];
            self.read_exact(&mut block).context("read a sparse map")?;
            if let Some(numbers) = lines.block(&block)? {
                return Ok(numbers);
            }
        }
    }

    fn old_sparse(&mut self, header: &Header) -> Result<(u64, Option<Vec<Extent>>)> {
        let gnu = header.as_gnu().context("a sparse file in no GNU header")?;
        let size = unsigned(&gnu.realsize)?;
        let mut numbers = Vec::new();
        let mut take = |offset: &[u8], length: &[u8]| -> Result<bool> {
            // Unused places are empty, and the last ones.
            let used = offset[0] != 0 || length[0] != 0;
            if used {
                numbers.extend([unsigned(offset)?, unsigned(length)?]);
            }
            Ok(used)
        };
        for place in &gnu.sparse {
            if !take(&place.offset, &place.numbytes)? {
                break;
            }
        }
        let mut more = gnu.isextended[0] != 0;
        // The further headers stand before the content and are not counted in its size.
        let (content, padding) = (self.content, self.padding);
        while more {
            let mut extended = GnuExtSparseHeader::new();
            self.content = BLOCK_BYTES as u64;
            self.read_exact(extended.as_mut_bytes())
                .context("read a sparse header")?;
            for place in &extended.sparse {
                if !take(&place.offset, &place.numbytes)? {
                    break;
                }
            }
            more = extended.isextended[0] != 0;
        }
        (self.content, self.padding) = (content, padding);
        Ok((size, Some(sparse::extents(&numbers, size, content)?)))
    }

    /// Says that `size` bytes of content follow.
    fn content(&mut self, size: u64) -> Result<()> {
        let block = BLOCK_BYTES as u64;
        ensure!(
            size <= u64::MAX >> 2,
            "a member of {size} bytes is too large"
        );
        self.content = size;
        self.padding = size.next_multiple_of(block) - size;
        Ok(())
    }

    /// Returns the next header, or nothing if the archive ends here.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut header = Header::new_old();
        let bytes = header.as_mut_bytes();
        let mut filled = 0;
        while filled < BLOCK_BYTES {
            let available = self.fill()?;
            if available.is_empty() {
                ensure!(filled == 0, "the archive ends inside a header");
                return Ok(None);
            }
            let count = available.len().min(BLOCK_BYTES - filled);
            bytes[filled..filled + count].copy_from_slice(&available[..count]);
            self.advance(count);
            filled += count;
        }
        if bytes.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let wanted = number(&header.as_old().cksum).context("invalid tar header")?;
        let sums = checksums(header.as_bytes());
        // Some old tars added the bytes up as signed ones.
        ensure!(
            sums.contains(&wanted),
            "invalid tar header: its checksum does not match"
        );
        Ok(Some(header))
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>> {
        // GNU tar ends the name with a NUL and counts it.
        let mut name = self.small(size, PATH_MAX_BYTES as u64 + 1)?;
        if let Some(end) = name.iter().position(|b| *b == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    fn small(&mut self, size: u64, max: u64) -> Result<Vec<u8>> {
        ensure!(
            size <= max,
            "an extended header of {size} bytes is too large"
        );
        let mut data = Vec::new();
        self.read_to_end(&mut data).context("read a header")?;
        Ok(data)
    }

    fn skip_rest(&mut self) -> Result<()> {
        let mut left = self.content + self.padding;
        (self.content, self.padding) = (0, 0);
        while left > 0 {
            let buffered = ((self.end - self.start) as u64).min(left);
            if buffered > 0 {
                self.advance(usize::try_from(buffered).expect("not more than is in the buffer"));
                left -= buffered;
            } else if let Some(skip) = self.skip {
                skip(&mut self.input, left).context("skip a member")?;
                self.position += left;
                left = 0;
            } else if self.fill()?.is_empty() {
                bail!("the archive ends inside a member");
            }
        }
        Ok(())
    }

    /// Returns what is buffered, after reading more if that is nothing; empty at the end of the input.
    fn fill(&mut self) -> io::Result<&[u8]> {
        while self.start == self.end {
            match self.input.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => (self.start, self.end) = (0, count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn advance(&mut self, count: usize) {
        self.start += count;
        self.position += count as u64;
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Reads an archive from its start, jumping over content that is not asked for.
    pub fn seekable(input: R) -> Reader<R> {
        let mut reader = Reader::new(input);
        reader.skip = Some(|input, count| {
            // One byte less and a read, since seeking behind the end of a file is no error.
            let jump =
                i64::try_from(count - 1).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
            input.seek(SeekFrom::Current(jump))?;
            input.read_exact(&mut [0])
        });
        reader
    }
}

impl<R: Read> BufRead for Reader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.content == 0 {
            return Ok(&[]);
        }
        let content = usize::try_from(self.content).unwrap_or(usize::MAX);
        let available = self.fill()?;
        if available.is_empty() {
            return Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "the archive ends inside a member",
            ));
        }
        Ok(&available[..available.len().min(content)])
    }

    fn consume(&mut self, count: usize) {
        self.advance(count);
        self.content -= count as u64;
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(out.len());
        out[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

/// What stood before a member and describes it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Pending {
    records: Option<Records>,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}
