//! The forms in which a finished disk is handed out.

mod qcow2;

use crate::place::Placement;
use crate::{DiskError, sparse};
use fs_err::File;
use std::fmt;
use std::io;
use std::str::FromStr;

/// A disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFormat {
    /// The bytes of the disk, free space as holes.
    Raw,
    /// QEMU's copy-on-write format, version 3, without compression.
    Qcow2,
}

impl DiskFormat {
    /// Every format there is.
    pub const ALL: [Self; 2] = [Self::Raw, Self::Qcow2];

    /// The name, which is also the usual file name extension.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

impl fmt::Display for DiskFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DiskFormat {
    type Err = DiskError;

    fn from_str(name: &str) -> Result<Self, DiskError> {
        let known = Self::ALL.into_iter().find(|format| format.name() == name);
        known.ok_or_else(|| DiskError::UnknownFormat {
            name: name.to_owned(),
        })
    }
}

/// Writes the raw disk `source` as `format` into the empty file of `target`.
///
/// Holes and blocks of zeros take no space in any format. The same disk gives the same bytes.
pub fn convert(source: &File, format: DiskFormat, target: &Placement) -> Result<(), DiskError> {
    let converted = match format {
        DiskFormat::Raw => copy_raw(source, target.file()),
        DiskFormat::Qcow2 => qcow2::write(source, target.file()),
    };
    converted.map_err(|source| DiskError::Convert {
        format,
        path: target.file().path().into(),
        source,
    })
}

fn copy_raw(source: &File, target: &File) -> io::Result<()> {
    let size = sparse::size_of(source)?;
    target.set_len(size)?;
    sparse::copy_range(source, 0, size, target, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_name() {
        assert_eq!("qcow2".parse::<DiskFormat>().unwrap(), DiskFormat::Qcow2);
        let error = "vdi".parse::<DiskFormat>().unwrap_err();
        assert_eq!(error.hint().as_deref(), Some("known formats: raw, qcow2"));
    }
}
