//! Unified kernel images: kernel, initrd and command line in one program, under one signature.
//!
//! Source: UAPI Group Specifications, "Unified Kernel Image"; systemd-stub(7).

use crate::{Image, NewSection, PeError};

/// The sections, in the order in which they are added. The kernel is the last: it may need room behind
/// it.
const OS_RELEASE: &str = ".osrel";
const COMMAND_LINE: &str = ".cmdline";
const RELEASE: &str = ".uname";
const INITRD: &str = ".initrd";
const KERNEL: &str = ".linux";

/// What a unified kernel image is made of.
#[derive(Debug, Clone, Copy)]
pub struct UkiParts<'p> {
    /// systemd's stub for the architecture, without sections of its own for the rest.
    pub stub: &'p [u8],
    /// `os-release`: names and orders the entry in the menu.
    pub os_release: &'p str,
    /// The command line. With Secure Boot, there is no other.
    pub command_line: &'p str,
    /// Release of the kernel.
    pub release: &'p str,
    /// The kernel, itself a UEFI program.
    pub kernel: &'p [u8],
    /// The initrd.
    pub initrd: &'p [u8],
}

/// A unified kernel image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uki(Image);

impl Uki {
    /// Puts an image together. It is not signed.
    pub fn build(parts: &UkiParts<'_>) -> Result<Self, PeError> {
        let stub = Image::parse(parts.stub.to_vec())?;
        // A kernel unpacks itself in place.
        let memory = Image::parse(parts.kernel.to_vec()).map_or(0, |it| it.size_in_memory());
        let section = |name, contents| NewSection {
            name,
            contents,
            memory: 0,
        };
        let image = stub.add_sections(&[
            section(OS_RELEASE, parts.os_release.as_bytes()),
            section(COMMAND_LINE, parts.command_line.as_bytes()),
            section(RELEASE, parts.release.as_bytes()),
            section(INITRD, parts.initrd),
            NewSection {
                memory,
                ..section(KERNEL, parts.kernel)
            },
        ])?;
        Ok(Self(image))
    }

    /// Takes an image for a unified kernel image.
    pub fn from_image(image: Image) -> Result<Self, PeError> {
        for name in [COMMAND_LINE, INITRD, KERNEL] {
            if image.section(name).is_none() {
                return Err(PeError::NoSection(name));
            }
        }
        Ok(Self(image))
    }

    /// The program.
    pub fn image(&self) -> &Image {
        &self.0
    }

    /// The program.
    pub fn into_image(self) -> Image {
        self.0
    }

    /// The command line.
    pub fn command_line(&self) -> String {
        let bytes = self.0.section(COMMAND_LINE).unwrap_or_default();
        String::from_utf8_lossy(bytes)
            .trim_end_matches('\0')
            .to_owned()
    }
}
