//! Tar archives: what one member says, read from any dialect and written in one.
//!
//! Dialects that are read: v7, ustar, GNU (long names, base-256 numbers, sparse files) and pax (POSIX.1-2017, extended
//! headers, GNU's sparse maps 0.0, 0.1 and 1.0). What is written is ustar, with a pax header only where ustar is too
//! small, and depends on nothing but the tree: two runs give the same bytes.
//!
//! Nothing here creates files: [`crate::image::apply`] turns members into a tree.

mod fields;
pub(crate) mod list;
pub mod pack;
mod pax;
pub mod read;
mod sparse;
pub mod tree;
pub mod write;

/// The size of a header, and the unit that content is padded to.
pub const BLOCK_BYTES: usize = 512;
/// The longest path of a member, in bytes; the kernel takes no longer one in a call.
pub const PATH_MAX_BYTES: usize = 4095;

/// One member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path as the archive has it, any bytes but NUL; a directory's may end in `/`.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permissions with setuid, setgid and sticky, at most 0o7777.
    pub mode: u32,
    /// Owner; never `u32::MAX`, which chown takes as "leave it".
    pub uid: u32,
    /// Group; never `u32::MAX`.
    pub gid: u32,
    /// When the content changed.
    pub mtime: Time,
    /// Extended attributes in the order of the archive, names with their namespace (`user.x`).
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of a regular file as a reader of the file sees them; 0 for everything else.
    pub size: u64,
    /// Where the stored bytes belong in the file; nothing if they are the whole file.
    pub sparse: Option<Vec<Extent>>,
}

impl Entry {
    /// Returns an entry without attributes, owned by root, of 1970.
    pub fn new(path: impl Into<Vec<u8>>, kind: Kind, mode: u32) -> Entry {
        Entry {
            path: path.into(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            xattrs: Vec::new(),
            size: 0,
            sparse: None,
        }
    }
}

/// The kind of a member, with what only that kind has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file; its content follows.
    File,
    /// A directory.
    Directory,
    /// A symbolic link and its target, any bytes but NUL.
    Symlink(Vec<u8>),
    /// Another name for the member of this path.
    HardLink(Vec<u8>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

/// The number of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Of the driver.
    pub major: u32,
    /// Of the device.
    pub minor: u32,
}

/// A point in time; the fraction counts forward also before 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Since 1970.
    pub seconds: i64,
    /// Below 1,000,000,000.
    pub nanoseconds: u32,
}

/// A run of stored bytes of a sparse file; between the runs are holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where the run begins in the file.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}
