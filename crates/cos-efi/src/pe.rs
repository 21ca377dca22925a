//! PE32+ images, as UEFI firmware loads them.
//!
//! Source: Microsoft, "PE Format"; for the digest, "Windows Authenticode Portable Executable Signature
//! Format", in the way firmware computes it (EDK II, `DxeImageVerificationLib`).

use crate::PeError;
use sha2::{Digest as _, Sha256};
use std::ops::Range;

/// Headers that are larger are none.
const MAX_HEADERS: usize = 64 << 10;
/// More sections than any program has.
const MAX_SECTIONS: usize = 96;
const SECTION_HEADER: usize = 40;
/// Number of the data directory that says where certificates are.
const SECURITY: usize = 4;
/// Initialised data that is only read.
const READ_ONLY_DATA: u32 = 0x4000_0040;
/// What fits into the fields of 32 bits with their sign.
const MAX_SIZE: usize = 1 << 31;

/// A PE32+ image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    bytes: Vec<u8>,
    /// Where the COFF header begins.
    coff: usize,
    sections: Vec<Section>,
}

/// A section of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its name, without what it is padded with.
    pub name: String,
    /// Where it lies in memory, bytes from where the image is loaded.
    pub address: u32,
    /// Bytes it takes in memory.
    pub virtual_size: u32,
    /// Where its contents lie in the file.
    pub contents: Range<usize>,
}

/// A section to be added.
#[derive(Debug, Clone, Copy)]
pub struct NewSection<'n> {
    /// At most 8 bytes.
    pub name: &'n str,
    /// Its contents.
    pub contents: &'n [u8],
    /// Bytes it takes in memory, where that is more than its contents.
    pub memory: u32,
}

impl Image {
    /// Takes bytes for an image, once everything that is used of it was checked.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, PeError> {
        let mut image = Self {
            bytes,
            coff: 0,
            sections: Vec::new(),
        };
        if image.slice(0, 2, "DOS header")? != b"MZ" {
            return Err(PeError::Malformed("it does not begin with MZ"));
        }
        let start = image.u32(0x3c, "DOS header")? as usize;
        if start > MAX_HEADERS || image.slice(start, 4, "PE header")? != b"PE\0\0" {
            return Err(PeError::Malformed("it has no PE header"));
        }
        image.coff = start + 4;
        if image.u16(image.optional(), "optional header")? != 0x20b {
            return Err(PeError::Malformed(
                "it is not PE32+, which 64-bit firmware runs",
            ));
        }
        let directories = image.u32(image.optional() + 108, "optional header")? as usize;
        let size = usize::from(image.u16(image.coff + 16, "COFF header")?);
        if directories <= SECURITY || size < 112 + 8 * (SECURITY + 1) {
            return Err(PeError::Malformed("it has no place for certificates"));
        }
        for (field, what) in [(32, "section alignment"), (36, "file alignment")] {
            let alignment = image.u32(image.optional() + field, what)?;
            if !alignment.is_power_of_two() || alignment > 1 << 16 {
                return Err(PeError::Malformed("its alignment is no power of two"));
            }
        }
        image.sections = image.read_sections()?;
        image.check_places()?;
        image.certificates()?;
        Ok(image)
    }

    /// The image's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The image's bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Its sections, in the order of the headers.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// What a section holds, without what it is padded with.
    pub fn section(&self, name: &str) -> Option<&[u8]> {
        let section = self.sections.iter().find(|section| section.name == name)?;
        let held = section.contents.len().min(section.virtual_size as usize);
        Some(&self.bytes[section.contents.start..section.contents.start + held])
    }

    /// Bytes the image takes in memory.
    pub fn size_in_memory(&self) -> u32 {
        self.field32(self.optional() + 56)
    }

    /// What Authenticode signs: SHA-256 of all but the checksum, the place of the certificates and the
    /// certificates.
    pub fn digest(&self) -> [u8; 32] {
        let certificates = self.certificates().unwrap_or(0..0);
        let (checksum, directory) = (self.optional() + 64, self.security_directory());
        let headers = self.headers_size();
        let mut hash = Sha256::new();
        hash.update(&self.bytes[..checksum]);
        hash.update(&self.bytes[checksum + 4..directory]);
        hash.update(&self.bytes[directory + 8..headers]);
        let mut hashed = headers;
        for section in self.in_file_order() {
            hash.update(&self.bytes[section.contents.clone()]);
            hashed += section.contents.len();
        }
        let end = self.bytes.len() - certificates.len();
        if end > hashed {
            hash.update(&self.bytes[hashed..end]);
        }
        hash.finalize().into()
    }

    /// Where the table of certificates lies; empty if there is none. It must be the last of the file.
    pub(crate) fn certificates(&self) -> Result<Range<usize>, PeError> {
        let place = self.security_directory();
        let start = self.u32(place, "data directories")? as usize;
        let size = self.u32(place + 4, "data directories")? as usize;
        let end = start.saturating_add(size);
        match size {
            0 => Ok(self.bytes.len()..self.bytes.len()),
            _ if start >= self.contents_end().max(self.headers_size())
                && end == self.bytes.len() =>
            {
                Ok(start..end)
            }
            _ => Err(PeError::Malformed("its certificates are not its end")),
        }
    }

    /// Replaces the table of certificates.
    pub(crate) fn set_certificates(&mut self, table: &[u8]) -> Result<(), PeError> {
        let old = self.certificates()?;
        self.bytes.truncate(old.start);
        self.pad_to(8);
        let (start, place) = (self.bytes.len(), self.security_directory());
        self.bytes.extend_from_slice(table);
        let start = if table.is_empty() { 0 } else { start };
        self.set32(place, start as u32);
        self.set32(place + 4, table.len() as u32);
        Ok(())
    }

    /// The image without signatures, in the form in which it is signed: certificates begin at a multiple
    /// of 8 bytes.
    pub(crate) fn without_certificates(mut self) -> Result<Self, PeError> {
        self.set_certificates(&[])?;
        self.set32(self.optional() + 64, 0);
        Ok(self)
    }

    /// Adds sections behind those that are there. What lies behind these (symbols, certificates) is left
    /// out: it would be of another image.
    pub fn add_sections(mut self, new: &[NewSection<'_>]) -> Result<Self, PeError> {
        self.set_certificates(&[])?;
        self.bytes
            .truncate(self.contents_end().max(self.headers_size()));
        self.set32(self.coff + 8, 0);
        self.set32(self.coff + 12, 0);
        for section in new {
            self.add_section(section)?;
        }
        self.set32(self.optional() + 64, 0);
        Ok(self)
    }

    fn add_section(&mut self, new: &NewSection<'_>) -> Result<(), PeError> {
        let name = || new.name.to_owned();
        if new.name.len() > 8 || self.section(new.name).is_some() {
            return Err(PeError::Name(name()));
        }
        let alignment = self.field32(self.optional() + 32).max(4096);
        let ends = self.sections.iter().map(Section::memory_end);
        let end = ends.max().unwrap_or(0).max(self.headers_size() as u64);
        let address = end.next_multiple_of(u64::from(alignment));
        let memory = u64::from(new.memory).max(new.contents.len() as u64);
        if address + memory > MAX_SIZE as u64 || self.bytes.len() + new.contents.len() > MAX_SIZE {
            return Err(PeError::TooLarge(name()));
        }
        self.pad_to(self.field32(self.optional() + 36) as usize);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(new.contents);
        self.pad_to(self.field32(self.optional() + 36) as usize);
        let section = Section {
            name: name(),
            address: address as u32,
            virtual_size: memory as u32,
            contents: start..self.bytes.len(),
        };
        self.write_header(&section)?;
        let data = self.field32(self.optional() + 8);
        self.set32(
            self.optional() + 8,
            data.wrapping_add(section.contents.len() as u32),
        );
        let whole = section.memory_end().next_multiple_of(u64::from(alignment));
        self.set32(self.optional() + 56, whole as u32);
        self.sections.push(section);
        Ok(())
    }

    fn write_header(&mut self, section: &Section) -> Result<(), PeError> {
        let place = self.section_table() + SECTION_HEADER * self.sections.len();
        let end = place + SECTION_HEADER;
        let first = self.sections.iter().map(|it| it.contents.start).min();
        let is_free = end <= self.headers_size().min(first.unwrap_or(usize::MAX))
            && self.bytes[place..end].iter().all(|&byte| byte == 0);
        if !is_free || self.sections.len() >= MAX_SECTIONS {
            return Err(PeError::NoRoom(section.name.clone()));
        }
        self.bytes[place..place + section.name.len()].copy_from_slice(section.name.as_bytes());
        self.set32(place + 8, section.virtual_size);
        self.set32(place + 12, section.address);
        self.set32(place + 16, section.contents.len() as u32);
        self.set32(place + 20, section.contents.start as u32);
        self.set32(place + 36, READ_ONLY_DATA);
        let count = (self.sections.len() + 1) as u16;
        self.bytes[self.coff + 2..self.coff + 4].copy_from_slice(&count.to_le_bytes());
        Ok(())
    }

    fn read_sections(&self) -> Result<Vec<Section>, PeError> {
        let count = usize::from(self.u16(self.coff + 2, "COFF header")?);
        if count > MAX_SECTIONS {
            return Err(PeError::Malformed("it has too many sections"));
        }
        let read = |index: usize| {
            let at = self.section_table() + SECTION_HEADER * index;
            let header = self.slice(at, SECTION_HEADER, "section headers")?;
            let name = header[..8].split(|&byte| byte == 0).next();
            let start = self.u32(at + 20, "section headers")? as usize;
            let size = self.u32(at + 16, "section headers")? as usize;
            Ok(Section {
                name: String::from_utf8_lossy(name.unwrap_or_default()).into_owned(),
                virtual_size: self.u32(at + 8, "section headers")?,
                address: self.u32(at + 12, "section headers")?,
                contents: if size == 0 {
                    0..0
                } else {
                    start..start.saturating_add(size)
                },
            })
        };
        (0..count).map(read).collect()
    }

    /// Nothing lies outside the file or in two places at once, so that what is hashed is what is loaded.
    fn check_places(&self) -> Result<(), PeError> {
        let headers = self.u32(self.optional() + 60, "optional header")? as usize;
        let table_end = self.section_table() + SECTION_HEADER * self.sections.len();
        let least = table_end.max(self.security_directory() + 8);
        if headers < least || headers > self.bytes.len() || headers > MAX_HEADERS {
            return Err(PeError::Malformed("the size of its headers is wrong"));
        }
        let mut end = headers;
        for section in self.in_file_order() {
            if section.contents.start < end || section.contents.end > self.bytes.len() {
                return Err(PeError::Section(section.name.clone()));
            }
            end = section.contents.end;
        }
        let mut by_address: Vec<&Section> = self.sections.iter().collect();
        by_address.sort_by_key(|section| section.address);
        for pair in by_address.windows(2) {
            if pair[0].memory_end() > u64::from(pair[1].address) {
                return Err(PeError::Section(pair[1].name.clone()));
            }
        }
        Ok(())
    }

    fn in_file_order(&self) -> Vec<&Section> {
        let mut sections: Vec<&Section> = self.sections.iter().collect();
        sections.retain(|section| !section.contents.is_empty());
        sections.sort_by_key(|section| section.contents.start);
        sections
    }

    /// Where the contents of the last section end.
    fn contents_end(&self) -> usize {
        let ends = self.sections.iter().map(|section| section.contents.end);
        ends.max().unwrap_or(0)
    }

    fn optional(&self) -> usize {
        self.coff + 20
    }

    fn security_directory(&self) -> usize {
        self.optional() + 112 + 8 * SECURITY
    }

    fn section_table(&self) -> usize {
        let size = [self.bytes[self.coff + 16], self.bytes[self.coff + 17]];
        self.optional() + usize::from(u16::from_le_bytes(size))
    }

    fn headers_size(&self) -> usize {
        self.field32(self.optional() + 60) as usize
    }

    fn pad_to(&mut self, alignment: usize) {
        let length = self.bytes.len().next_multiple_of(alignment.max(1));
        self.bytes.resize(length, 0);
    }

    fn slice(&self, at: usize, length: usize, what: &'static str) -> Result<&[u8], PeError> {
        let end = at.checked_add(length);
        end.and_then(|end| self.bytes.get(at..end))
            .ok_or(PeError::Truncated(what))
    }

    fn u16(&self, at: usize, what: &'static str) -> Result<u16, PeError> {
        let bytes = self.slice(at, 2, what)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&self, at: usize, what: &'static str) -> Result<u32, PeError> {
        let bytes = self.slice(at, 4, what)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A field of the headers, whose place was checked.
    fn field32(&self, at: usize) -> u32 {
        self.u32(at, "headers").unwrap_or(0)
    }

    fn set32(&mut self, at: usize, number: u32) {
        self.bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }
}

impl Section {
    fn memory_end(&self) -> u64 {
        let length = match self.virtual_size {
            0 => self.contents.len() as u64,
            size => u64::from(size),
        };
        u64::from(self.address) + length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The headers of an image of one empty section, whose certificates lie where it is said.
    fn image(certificates: [u32; 2]) -> Vec<u8> {
        let mut bytes = vec![0; 512];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        let (coff, optional) = (68, 88);
        put(0, b"MZ");
        put(0x3c, &64_u32.to_le_bytes());
        put(64, b"PE\0\0");
        put(coff + 2, &1_u16.to_le_bytes());
        put(coff + 16, &240_u16.to_le_bytes());
        put(optional, &0x20b_u16.to_le_bytes());
        for (at, number) in [(32, 4096), (36, 512), (60, 512), (108, 16)] {
            put(optional + at, &u32::to_le_bytes(number));
        }
        put(
            optional + 112 + 8 * SECURITY,
            &certificates[0].to_le_bytes(),
        );
        put(
            optional + 116 + 8 * SECURITY,
            &certificates[1].to_le_bytes(),
        );
        bytes
    }

    #[test]
    fn certificates_in_place_of_the_headers_are_refused() {
        assert!(Image::parse(image([0, 0])).is_ok());
        for place in [[0, 512], [504, 8], [512, 8]] {
            assert!(Image::parse(image(place)).is_err(), "{place:?}");
        }
        let mut whole = image([512, 8]);
        whole.extend([0; 8]);
        assert!(Image::parse(whole).is_ok());
    }
}
