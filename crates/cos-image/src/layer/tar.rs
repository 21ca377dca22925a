//! The members of a tar stream: headers with their extensions resolved, and their content.
//!
//! Strict where two readers could disagree on what is header and what is content. What this reader
//! does not do is judge paths; that is [`super::entry`]'s part.

use super::header::{BLOCK, Header, gnu_sparse_extension};
use super::pax::{self, Pax};
use super::problem::{EntryError, TarError};
use super::sparse::{MapReader, SparseMap};
use crate::limits::Limits;
use cos_tree::{Xattrs, display};
use std::io::{self, BufRead};

/// A tar stream.
pub(crate) trait Input: BufRead {
    /// Moves on by `length` bytes. May go past the end.
    fn skip(&mut self, length: u64) -> io::Result<()>;
}

/// Reads and drops `length` bytes of a stream that cannot seek.
pub(crate) fn skip_by_reading<R: BufRead>(input: &mut R, mut length: u64) -> io::Result<()> {
    while length > 0 {
        let available = input.fill_buf()?.len();
        if available == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let step = available.min(usize::try_from(length).unwrap_or(usize::MAX));
        input.consume(step);
        length -= step as u64;
    }
    Ok(())
}

/// What an entry's type flag says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberKind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// One entry, its extension headers applied.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: MemberKind,
    pub(crate) link: Vec<u8>,
    pub(crate) permissions: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: i64,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) xattrs: Xattrs,
    /// Bytes of content in the stream.
    pub(crate) stored: u64,
    /// Where they belong, when the file has holes.
    pub(crate) sparse: Option<SparseMap>,
    /// Position of the content in the stream.
    pub(crate) offset: u64,
}

impl Member {
    /// Size of the file, holes included.
    pub(crate) fn size(&self) -> u64 {
        self.sparse.as_ref().map_or(self.stored, |map| map.size)
    }
}

/// Extension headers seen in front of an entry.
#[derive(Default)]
struct Pending {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Option<Pax>,
}

/// Reads members one after the other.
pub(crate) struct TarReader<'l, R> {
    input: R,
    limits: &'l Limits,
    position: u64,
    /// Content and padding of the current member that was not read yet.
    content_left: u64,
    padding_left: u64,
    /// What to call the place when something is wrong.
    at: Option<Vec<u8>>,
}

impl<'l, R: Input> TarReader<'l, R> {
    pub(crate) fn new(input: R, limits: &'l Limits) -> Self {
        Self {
            input,
            limits,
            position: 0,
            content_left: 0,
            padding_left: 0,
            at: None,
        }
    }

    /// The stream, at the end of what was read.
    pub(crate) fn into_input(self) -> R {
        self.input
    }

    /// Names the place of a problem.
    pub(crate) fn locate(&self, problem: EntryError) -> TarError {
        let at = match &self.at {
            Some(path) => format!("entry {}", display(path)),
            None => format!("header at byte {}", self.position),
        };
        TarError { at, problem }
    }

    /// The next member, or `None` at the end of the archive. What was not read of the one before is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, TarError> {
        self.next_member().map_err(|problem| self.locate(problem))
    }

    /// Gives the rest of the current member's content to `sink`, piece by piece, `length` bytes at most.
    pub(crate) fn content(
        &mut self,
        length: u64,
        mut sink: impl FnMut(&[u8]) -> Result<(), EntryError>,
    ) -> Result<(), EntryError> {
        let mut left = length.min(self.content_left);
        while left > 0 {
            let chunk = self.input.fill_buf().map_err(EntryError::read)?;
            if chunk.is_empty() {
                return Err(EntryError::Truncated);
            }
            let step = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            sink(&chunk[..step])?;
            self.input.consume(step);
            self.position += step as u64;
            self.content_left -= step as u64;
            left -= step as u64;
        }
        Ok(())
    }

    fn next_member(&mut self) -> Result<Option<Member>, EntryError> {
        self.skip(self.content_left)?;
        self.content_left = 0;
        self.at = None;
        if !self.skip_padding()? {
            return Ok(None);
        }
        let mut pending = Pending::default();
        let mut extended = false;
        let mut block = [0; BLOCK];
        loop {
            if !self.header_block(&mut block)? {
                return if extended {
                    Err(EntryError::DanglingExtension)
                } else {
                    Ok(None)
                };
            }
            let header = Header::new(&block)?;
            extended = true;
            match header.type_flag() {
                b'L' => set_once(&mut pending.long_name, "GNU long name", || {
                    self.long(header)
                })?,
                b'K' => set_once(&mut pending.long_link, "GNU long link", || {
                    self.long(header)
                })?,
                b'x' => set_once(&mut pending.pax, "PAX", || {
                    let data = self.extension(header)?;
                    Pax::parse(&data, self.limits)
                })?,
                b'g' => {
                    let data = self.extension(header)?;
                    pax::check_global(&data)?;
                }
                _ => return self.member(header, pending).map(Some),
            }
        }
    }

    /// Reads a header block. `false` at the end: two blocks of zeroes, or a stream that ends between members.
    fn header_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, EntryError> {
        if !self.block(block)? {
            return Ok(false);
        }
        if block.iter().any(|&b| b != 0) {
            return Ok(true);
        }
        if self.block(block)? && block.iter().any(|&b| b != 0) {
            return Err(EntryError::LoneZeroBlock);
        }
        Ok(false)
    }

    /// Reads one block; `false` if the stream ended in front of it.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, EntryError> {
        let mut filled = 0;
        while filled < BLOCK {
            let chunk = self.input.fill_buf().map_err(EntryError::read)?;
            if chunk.is_empty() {
                // An archive of no bytes at all is none.
                return if filled == 0 && self.position > 0 {
                    Ok(false)
                } else {
                    Err(EntryError::Truncated)
                };
            }
            let step = chunk.len().min(BLOCK - filled);
            block[filled..filled + step].copy_from_slice(&chunk[..step]);
            self.input.consume(step);
            filled += step;
        }
        self.position += BLOCK as u64;
        Ok(true)
    }

    /// Skips what fills the last block of a member's content. `false` where the stream ends in it: some
    /// writers (`umoci insert`) end right behind the last member, and nobody minds.
    fn skip_padding(&mut self) -> Result<bool, EntryError> {
        while self.padding_left > 0 {
            let available = self.input.fill_buf().map_err(EntryError::read)?.len() as u64;
            if available == 0 {
                return Ok(false);
            }
            let step = available.min(self.padding_left);
            self.input.consume(step as usize);
            self.position += step;
            self.padding_left -= step;
        }
        Ok(true)
    }

    fn skip(&mut self, length: u64) -> Result<(), EntryError> {
        self.input
            .skip(length)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => EntryError::Truncated,
                _ => EntryError::read(error),
            })?;
        self.position += length;
        Ok(())
    }

    /// The content of an extension header.
    fn extension(&mut self, header: Header<'_>) -> Result<Vec<u8>, EntryError> {
        let size = header.size()?;
        let limit = self.limits.header_size;
        if size > limit {
            return Err(EntryError::ExtensionTooLarge { size, limit });
        }
        let mut data = Vec::with_capacity(size as usize);
        self.content_left = size;
        self.content(size, |chunk| {
            data.extend_from_slice(chunk);
            Ok(())
        })?;
        self.zeroes(padding(size))?;
        Ok(data)
    }

    /// What fills the last block of an extension header, where some readers read on.
    fn zeroes(&mut self, length: u64) -> Result<(), EntryError> {
        let mut clean = true;
        self.content_left = length;
        self.content(length, |chunk| {
            clean &= chunk.iter().all(|&b| b == 0);
            Ok(())
        })?;
        if clean {
            Ok(())
        } else {
            Err(EntryError::Ambiguous(
                "an extension header longer than it says",
            ))
        }
    }

    /// A GNU long name: ends with NULs, has none inside.
    fn long(&mut self, header: Header<'_>) -> Result<Vec<u8>, EntryError> {
        let mut name = self.extension(header)?;
        while name.last() == Some(&0) {
            name.pop();
        }
        if name.contains(&0) {
            return Err(EntryError::BadName);
        }
        Ok(name)
    }

    fn member(&mut self, header: Header<'_>, pending: Pending) -> Result<Member, EntryError> {
        let pax = pending.pax.unwrap_or_default();
        let path = pax.sparse.name.clone().or_else(|| pax.path.clone());
        let path = one_of(path, pending.long_name)?.unwrap_or_else(|| header.name());
        self.at = Some(path.clone());
        if pending.long_link.is_some() && header.link_name().is_empty() {
            return Err(EntryError::Ambiguous("a long link target in front of none"));
        }
        let link = one_of(pax.link_path.clone(), pending.long_link)?;
        let link = link.unwrap_or_else(|| header.link_name());
        let stored = stored_size(header, &pax)?;
        let kind = kind(header, &path, stored)?;
        if kind != MemberKind::File && stored != 0 {
            return Err(EntryError::UnexpectedSize(stored));
        }
        let (major, minor) = device(header, &pax, kind)?;
        let mut member = Member {
            kind,
            link,
            permissions: (header.mode()? & 0o7777).cast_unsigned() as u16,
            uid: owner(pax.uid, header.uid())?,
            gid: owner(pax.gid, header.gid())?,
            mtime: match pax.mtime {
                Some(mtime) => mtime,
                None => header.mtime()?,
            },
            major,
            minor,
            stored,
            sparse: None,
            offset: 0,
            xattrs: Xattrs::new(),
            path,
        };
        match (header.type_flag(), pax.sparse.is_present()) {
            (b'S', false) if pax.size.is_none() => self.gnu_sparse(header, &mut member)?,
            (b'0', true) if header.is_ustar() => self.pax_sparse(&pax, &mut member)?,
            (b'S', _) | (_, true) => {
                return Err(EntryError::Sparse(
                    "it is partly in GNU's way and partly in PAX",
                ));
            }
            (_, false) => {}
        }
        member.xattrs = pax.xattrs;
        member.offset = self.position;
        self.content_left = member.stored;
        self.padding_left = padding(member.stored);
        let limit = self.limits.file_size;
        let size = member.size().max(member.stored);
        if size > limit {
            return Err(EntryError::FileTooLarge { size, limit });
        }
        Ok(member)
    }

    fn gnu_sparse(&mut self, header: Header<'_>, member: &mut Member) -> Result<(), EntryError> {
        let (mut segments, size, mut extended) = header.gnu_sparse()?;
        let mut block = [0; BLOCK];
        while extended {
            if !self.block(&mut block)? {
                return Err(EntryError::Truncated);
            }
            let (more, next) = gnu_sparse_extension(&block)?;
            segments.extend(more);
            if segments.len() > self.limits.sparse_segments {
                return Err(EntryError::Sparse("it has too many segments"));
            }
            extended = next;
        }
        member.sparse = Some(SparseMap::new(segments, size, member.stored, self.limits)?);
        Ok(())
    }

    fn pax_sparse(&mut self, pax: &Pax, member: &mut Member) -> Result<(), EntryError> {
        let sparse = &pax.sparse;
        let size = match (sparse.real_size, sparse.size) {
            (Some(real), Some(size)) if real != size => {
                return Err(EntryError::Sparse("it has two sizes"));
            }
            (Some(size), _) | (None, Some(size)) => size,
            (None, None) => return Err(EntryError::Sparse("it has no size")),
        };
        let segments = if sparse.map_in_data()? {
            self.map_in_data(member)?
        } else {
            sparse.listed(self.limits)?
        };
        member.sparse = Some(SparseMap::new(segments, size, member.stored, self.limits)?);
        Ok(())
    }

    /// Reads the map of format 1.0, whole blocks that count as stored content.
    fn map_in_data(&mut self, member: &mut Member) -> Result<Vec<(u64, u64)>, EntryError> {
        let mut reader = MapReader::default();
        let mut block = [0; BLOCK];
        loop {
            member.stored = member
                .stored
                .checked_sub(BLOCK as u64)
                .ok_or(EntryError::Sparse("its map is longer than its content"))?;
            if !self.block(&mut block)? {
                return Err(EntryError::Truncated);
            }
            if let Some(segments) = reader.take(&block, self.limits)? {
                return Ok(segments);
            }
        }
    }
}

fn set_once<T>(
    slot: &mut Option<T>,
    what: &'static str,
    read: impl FnOnce() -> Result<T, EntryError>,
) -> Result<(), EntryError> {
    if slot.is_some() {
        return Err(EntryError::DuplicateExtension(what));
    }
    *slot = Some(read()?);
    Ok(())
}

/// A name from a PAX record or from a GNU header: where both are, each is the right one to somebody.
fn one_of(pax: Option<Vec<u8>>, gnu: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, EntryError> {
    match (pax, gnu) {
        (Some(pax), Some(gnu)) if pax != gnu => Err(EntryError::Ambiguous(
            "a name in PAX and another in GNU's way",
        )),
        (pax, gnu) => Ok(pax.or(gnu)),
    }
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

/// Bytes of content in the stream. A main header may leave the size to the PAX record only by
/// saying 0, or the most it can say.
fn stored_size(header: Header<'_>, pax: &Pax) -> Result<u64, EntryError> {
    const LARGEST_OCTAL: u64 = 0o777_7777_7777;
    let said = header.size()?;
    match pax.size {
        Some(size) if said != size && said != 0 && said != LARGEST_OCTAL => {
            Err(EntryError::SizeMismatch {
                header: said,
                pax: size,
            })
        }
        Some(size) => Ok(size),
        None => Ok(said),
    }
}

fn kind(header: Header<'_>, path: &[u8], stored: u64) -> Result<MemberKind, EntryError> {
    match header.type_flag() {
        b'0' | 0 | b'7' | b'S' => {
            let slashes = (path.ends_with(b"/"), header.name().ends_with(b"/"));
            match (header.type_flag(), slashes) {
                (_, (false, false)) => Ok(MemberKind::File),
                // v7 and BSD write a directory as an empty file with a slash at its end.
                (0, (true, true)) if stored == 0 && path.iter().any(|&b| b != b'/') => {
                    Ok(MemberKind::Directory)
                }
                _ => Err(EntryError::Ambiguous("a file whose name ends in a slash")),
            }
        }
        b'1' => Ok(MemberKind::HardLink),
        b'2' => Ok(MemberKind::Symlink),
        b'3' => Ok(MemberKind::CharDevice),
        b'4' => Ok(MemberKind::BlockDevice),
        b'5' => Ok(MemberKind::Directory),
        b'6' => Ok(MemberKind::Fifo),
        other => Err(EntryError::UnknownType(other)),
    }
}

/// A user or group number; the greatest means "nobody at all" to the kernel.
fn owner(pax: Option<u64>, header: Result<i64, EntryError>) -> Result<u32, EntryError> {
    let number = match pax {
        Some(number) => i128::from(number),
        None => i128::from(header?),
    };
    match u32::try_from(number) {
        Ok(number) if number != u32::MAX => Ok(number),
        _ => Err(EntryError::OwnerOutOfRange(number)),
    }
}

/// Device numbers in the kernel's range (`linux/kdev_t.h`: 12 and 20 bits); zero for what is no device.
fn device(header: Header<'_>, pax: &Pax, kind: MemberKind) -> Result<(u32, u32), EntryError> {
    let (major, minor) = header.device()?;
    if !matches!(kind, MemberKind::CharDevice | MemberKind::BlockDevice) {
        return Ok((0, 0));
    }
    let differs = |record: Option<u64>, number: i64| {
        record.is_some_and(|record| i64::try_from(record) != Ok(number))
    };
    if differs(pax.major, major) || differs(pax.minor, minor) {
        return Err(EntryError::Ambiguous(
            "device numbers in PAX and others in the header",
        ));
    }
    if (0..1 << 12).contains(&major) && (0..1 << 20).contains(&minor) {
        Ok((major.cast_unsigned() as u32, minor.cast_unsigned() as u32))
    } else {
        Err(EntryError::DeviceOutOfRange { major, minor })
    }
}
