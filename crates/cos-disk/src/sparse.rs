//! Copying and clearing with holes kept.

use fs_err::File;
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// How much is read or written at once, in bytes.
const CHUNK: usize = 1 << 20;

/// The parts of `file` between `start` and `end` that may hold something other than zeros, in order.
///
/// Where the file system cannot tell, the answer is the whole range.
pub fn data_ranges(file: &File, start: u64, end: u64) -> io::Result<Vec<Range<u64>>> {
    let mut ranges = Vec::new();
    let mut position = start;
    while position < end {
        let data = match seek(file.file(), SeekFrom::Data(position)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => position,
            Err(errno) => return Err(errno.into()),
        };
        if data >= end {
            break;
        }
        let hole = match seek(file.file(), SeekFrom::Hole(data)) {
            Ok(hole) => hole.min(end),
            Err(Errno::NXIO | Errno::INVAL | Errno::OPNOTSUPP) => end,
            Err(errno) => return Err(errno.into()),
        };
        ranges.push(data..hole);
        position = hole;
    }
    Ok(ranges)
}

/// Copies `length` bytes of `source` from position `from` to `offset` of `target`, holes left out.
///
/// The target must read as zeros where the source has holes. Inside the kernel, and shared instead
/// of copied, where the file systems allow. Fails if the source ends before.
pub fn copy_range(
    source: &File,
    from: u64,
    length: u64,
    target: &File,
    offset: u64,
) -> io::Result<()> {
    let end = from
        .checked_add(length)
        .filter(|end| offset.checked_add(*end - from).is_some())
        .ok_or(io::ErrorKind::InvalidInput)?;
    if source.metadata()?.is_file() && source.metadata()?.len() < end {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    for range in data_ranges(source, from, end)? {
        copy_data(
            source,
            range.start,
            range.end,
            target,
            offset + (range.start - from),
        )?;
    }
    Ok(())
}

/// Copies the bytes from `from` to `end` of `source`, every one, to `offset` of `target`.
fn copy_data(
    source: &File,
    mut from: u64,
    end: u64,
    target: &File,
    mut offset: u64,
) -> io::Result<()> {
    while from < end {
        let wanted = usize::try_from(end - from).unwrap_or(usize::MAX);
        let copied = rustix::fs::copy_file_range(
            source.file(),
            Some(&mut from),
            target.file(),
            Some(&mut offset),
            wanted,
        );
        match copied {
            Ok(0) | Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let mut buffer = vec![0; CHUNK.min(usize::try_from(end - from).unwrap_or(CHUNK))];
    while from < end {
        let part = (end - from).min(buffer.len() as u64);
        source
            .file()
            .read_exact_at(&mut buffer[..part as usize], from)?;
        target
            .file()
            .write_all_at(&buffer[..part as usize], offset)?;
        from += part;
        offset += part;
    }
    Ok(())
}

/// The size of a file or a block device, in bytes.
pub fn size_of(file: &File) -> io::Result<u64> {
    Ok(seek(file.file(), SeekFrom::End(0))?)
}

/// Makes `length` bytes of `file` from `offset` read as zeros, without using space where the file
/// system or the device allows.
pub fn clear(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let size = file.metadata()?.len();
    let is_file = file.metadata()?.is_file();
    // Beyond the end of a file there is nothing to clear.
    let length = if is_file {
        length.min(size.saturating_sub(offset))
    } else {
        length
    };
    if length == 0 {
        return Ok(());
    }
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match fallocate(file.file(), flags, offset, length) {
        Ok(()) => return Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::NODEV) => {}
        Err(errno) => return Err(errno.into()),
    }
    let zeros = vec![0; CHUNK];
    let mut done = 0;
    while done < length {
        let part = (length - done).min(CHUNK as u64);
        file.file()
            .write_all_at(&zeros[..part as usize], offset + done)?;
        done += part;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn scratch() -> File {
        File::from_parts(tempfile::tempfile().unwrap(), "scratch")
    }

    #[test]
    fn a_copy_keeps_holes_and_bytes() {
        let (source, target) = (scratch(), scratch());
        source.set_len(64 << 20).unwrap();
        source.file().write_all_at(b"start", 0).unwrap();
        source.file().write_all_at(b"end", (64 << 20) - 3).unwrap();
        target.set_len(65 << 20).unwrap();
        copy_range(&source, 0, 64 << 20, &target, 1 << 20).unwrap();

        let mut found = [0; 5];
        target.file().read_exact_at(&mut found, 1 << 20).unwrap();
        assert_eq!(&found, b"start");
        target
            .file()
            .read_exact_at(&mut found[..3], (65 << 20) - 3)
            .unwrap();
        assert_eq!(&found[..3], b"end");
        assert!(target.metadata().unwrap().blocks() * 512 < 1 << 20);
    }

    #[test]
    fn a_short_source_is_an_error() {
        let (source, target) = (scratch(), scratch());
        source.file().write_all_at(b"12345", 0).unwrap();
        let error = copy_range(&source, 3, 4, &target, 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn clearing_leaves_the_neighbours_and_the_size() {
        let file = scratch();
        file.file().write_all_at(&vec![7; 300_000], 0).unwrap();
        clear(&file, 100, 200_000).unwrap();
        let mut bytes = vec![1; 300_000];
        file.file().read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes[..100].iter().all(|b| *b == 7));
        assert!(bytes[100..200_100].iter().all(|b| *b == 0));
        assert!(bytes[200_100..].iter().all(|b| *b == 7));
        clear(&file, 299_000, 1 << 20).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 300_000);
    }
}
