//! Unified kernel images: kernel, initrd and command line in one program, under one signature.
//!
//! Source: UAPI Group Specifications, "Unified Kernel Image"; systemd-stub(7).

use crate::pcr_policy::stub_version;
use crate::{
    BootMeasurement, EfiError, Image, MeasuredSection, NewSection, PeError, PolicyKey,
    sign_measurements,
};

/// The sections, in the order in which they are added. The kernel is the last: it may need room behind
/// it.
const OS_RELEASE: &str = ".osrel";
const COMMAND_LINE: &str = ".cmdline";
const RELEASE: &str = ".uname";
const INITRD: &str = ".initrd";
const POLICY_KEY: &str = ".pcrpkey";
const POLICY_SIGNATURES: &str = ".pcrsig";
const KERNEL: &str = ".linux";
/// A section of the stub's own that newer ones measure.
const GENERATION: &str = ".sbat";

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
    /// Who vouches to a TPM for what it measures of the image, if anybody does.
    pub policy: Option<UkiPolicy<'p>>,
}

/// How far a TPM trusts an image.
#[derive(Debug, Clone, Copy)]
pub struct UkiPolicy<'p> {
    /// Signs.
    pub key: &'p PolicyKey,
    /// The phases in which data are unsealed: the words (systemd-pcrphase(8)) that were measured by then. None at
    /// all is the start of the kernel.
    pub phases: &'p [&'p [&'p str]],
}

/// A unified kernel image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uki(Image);

impl Uki {
    /// Puts an image together. It is not signed.
    pub fn build(parts: &UkiParts<'_>) -> Result<Self, EfiError> {
        let stub = Image::parse(parts.stub.to_vec())?;
        // A kernel unpacks itself in place.
        let memory = Image::parse(parts.kernel.to_vec()).map_or(0, |it| it.size_in_memory());
        let section = |name, contents| NewSection {
            name,
            contents,
            memory: 0,
        };
        let mut sections = vec![
            section(OS_RELEASE, parts.os_release.as_bytes()),
            section(COMMAND_LINE, parts.command_line.as_bytes()),
            section(RELEASE, parts.release.as_bytes()),
            section(INITRD, parts.initrd),
            NewSection {
                memory,
                ..section(KERNEL, parts.kernel)
            },
        ];
        let signatures;
        if let Some(policy) = &parts.policy {
            let before_kernel = sections.len() - 1;
            let key = section(POLICY_KEY, policy.key.public_pem().as_bytes());
            sections.insert(before_kernel, key);
            signatures = signatures_of(&stub, &sections, policy)?;
            let signatures = section(POLICY_SIGNATURES, signatures.as_bytes());
            sections.insert(before_kernel + 1, signatures);
        }
        Ok(Self(stub.add_sections(&sections)?))
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

/// Signatures over what will be measured of these sections, which are added to the stub.
fn signatures_of(
    stub: &Image,
    sections: &[NewSection<'_>],
    policy: &UkiPolicy<'_>,
) -> Result<String, EfiError> {
    let version = stub_version(stub).ok_or(PeError::NotSystemdStub)?;
    let mut measured: Vec<MeasuredSection<'_>> = sections
        .iter()
        .map(|section| MeasuredSection {
            name: section.name,
            contents: section.contents,
            memory: u64::from(section.memory).max(section.contents.len() as u64),
        })
        .collect();
    let generation = stub.sections().iter().find(|it| it.name == GENERATION);
    if let (Some(section), Some(contents)) = (generation, stub.section(GENERATION)) {
        measured.push(MeasuredSection {
            name: GENERATION,
            contents,
            memory: u64::from(section.virtual_size),
        });
    }
    let start = BootMeasurement::of_sections(version, &measured);
    let phases = policy.phases.iter();
    let measurements: Vec<BootMeasurement> = phases
        .map(|words| words.iter().fold(start, |now, word| now.then(word)))
        .collect();
    Ok(sign_measurements(policy.key, &measurements)?)
}
