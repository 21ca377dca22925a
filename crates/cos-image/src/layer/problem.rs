//! Why an entry of a layer is refused.

use crate::limits::Exhausted;
use std::io;

/// What is wrong with one entry of a tar stream.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// The stream failed.
    #[error("cannot read the stream")]
    Read(#[source] io::Error),
    /// The content store failed.
    #[error("cannot keep the file's content")]
    Store(#[source] io::Error),
    /// The operation was cancelled.
    #[error(transparent)]
    Cancelled(#[from] cos_events::Cancelled),
    /// The stream ends inside a header or a file.
    #[error("the archive is cut off here")]
    Truncated,
    /// One block of zeroes, then more: neither an end nor a header.
    #[error("a single block of zeroes stands before more data")]
    LoneZeroBlock,
    /// What other readers of tar do not understand alike.
    #[error("readers of tar do not agree on it: {0}")]
    Ambiguous(&'static str),
    /// Wrong header checksum.
    #[error("the header's checksum is wrong")]
    BadChecksum,
    /// A numeric field that is not a number in range.
    #[error("the {0} is not a number in range")]
    BadNumber(&'static str),
    /// An entry type that no image has.
    #[error("entry type {:?} is not supported", char::from(*.0))]
    UnknownType(u8),
    /// A directory, link or device with content.
    #[error("an entry of this type cannot hold {0} bytes")]
    UnexpectedSize(u64),
    /// PAX and main header disagree on the size: whoever believes the wrong one takes content for headers.
    #[error("the header says {header} bytes, its PAX record {pax}")]
    SizeMismatch {
        /// Size in the main header.
        header: u64,
        /// Size in the PAX record.
        pax: u64,
    },
    /// A PAX header that does not follow POSIX.
    #[error("malformed PAX header: {0}")]
    MalformedPax(&'static str),
    /// A PAX record whose value makes no sense.
    #[error("bad value in PAX record {0}")]
    BadPaxValue(String),
    /// Two PAX records of the same key and different values.
    #[error("PAX record {0} comes twice, with different values")]
    ConflictingPax(String),
    /// A global PAX record that would change every entry.
    #[error("PAX record {0} cannot be global")]
    GlobalPax(String),
    /// Two extension headers of the same kind for one entry.
    #[error("two {0} headers for one entry")]
    DuplicateExtension(&'static str),
    /// An extension header at the end of the archive.
    #[error("an extension header is followed by no entry")]
    DanglingExtension,
    /// An extension header over the limit.
    #[error("an extension header of {size} bytes is over the limit of {limit}")]
    ExtensionTooLarge {
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// An empty path.
    #[error("the path is empty")]
    EmptyPath,
    /// A path with `..` in it.
    #[error("the path has `..` in it, which may lead out of the root")]
    Escapes,
    /// A name over 255 bytes, or with a NUL.
    #[error("a name in the path is over 255 bytes or holds a NUL")]
    BadName,
    /// A path over the limits.
    #[error(
        "the path has {length} bytes and {depth} names, over the limits of {max_length} and {max_depth}"
    )]
    PathTooLong {
        /// Its length in bytes.
        length: usize,
        /// The names along it.
        depth: usize,
        /// Longest path allowed.
        max_length: usize,
        /// Deepest path allowed.
        max_depth: usize,
    },
    /// A hard link to a path with `..` in it.
    #[error("the hard link's target {0} has `..` in it, which may lead out of the root")]
    LinkEscapes(String),
    /// A link to nothing.
    #[error("the link has no target")]
    EmptyLink,
    /// A link target with a NUL, or over the limit.
    #[error("the link's target is too long or holds a NUL")]
    BadLink,
    /// A hard link to its own path.
    #[error("the hard link links to itself")]
    SelfLink,
    /// A whiteout of nothing: `.wh.`, `.wh..` or `.wh...`.
    #[error("the whiteout names nothing")]
    EmptyWhiteout,
    /// A path through a name that is reserved for whiteouts.
    #[error("the path runs through a whiteout")]
    InsideWhiteout,
    /// The root entry is not a directory.
    #[error("the root cannot be anything but a directory")]
    RootNotDirectory,
    /// A user or group number that Linux does not have.
    #[error("owner {0} is out of range")]
    OwnerOutOfRange(i128),
    /// A device number that Linux does not have.
    #[error("device number {major}:{minor} is out of range")]
    DeviceOutOfRange {
        /// Major number.
        major: i64,
        /// Minor number.
        minor: i64,
    },
    /// A sparse file whose map makes no sense.
    #[error("bad sparse file: {0}")]
    Sparse(&'static str),
    /// A file over the limit.
    #[error("a file of {size} bytes is over the limit of {limit}")]
    FileTooLarge {
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// Too many, too large, or misnamed extended attributes.
    #[error("bad extended attributes: {0}")]
    Xattrs(&'static str),
    /// A layer made to decompress to very much.
    #[error("the layer decompresses to more than {limit} bytes, over {ratio} times its size")]
    Expansion {
        /// As many bytes as it may decompress to.
        limit: u64,
        /// Times its size.
        ratio: u64,
    },
    /// A limit that the whole image shares.
    #[error("the image has more than {limit} {what}")]
    Exhausted {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
}

impl From<Exhausted> for EntryError {
    fn from(Exhausted { what, limit }: Exhausted) -> Self {
        Self::Exhausted { what, limit }
    }
}

impl EntryError {
    /// A failed read, or the refusal that a reader below wrapped into it.
    pub(crate) fn read(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(problem) => problem,
            Err(error) => Self::Read(error),
        }
    }
}

/// A problem, and the entry that has it.
#[derive(Debug)]
pub(crate) struct TarError {
    /// `entry etc/passwd`, or where in the stream when the entry has no readable name.
    pub(crate) at: String,
    pub(crate) problem: EntryError,
}
