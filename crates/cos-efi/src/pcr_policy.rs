//! What a TPM will have measured of a unified kernel image, and signatures over it: data that are sealed to a
//! key are unsealed by every system that the key signed, in the phases of boot that it was signed for.
//!
//! ```text
//! sections ──▶ PCR 11 at the start of the kernel ──phase──▶ PCR 11 later
//!                       │                                      │
//!                       └────────── policy digest ─────────────┘ ──PolicyKey──▶ .pcrsig
//! ```
//!
//! Source: systemd, `src/boot/stub.c` and `src/fundamental/uki.h` (what is measured, in which order),
//! systemd-measure(1) (the form of the signatures); TCG, "TPM 2.0 Library", part 3, `TPM2_PolicyPCR` and part 2,
//! `TPML_PCR_SELECTION`.

use crate::policy_key::PolicyKey;
use crate::{Image, KeyError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

/// The register that systemd-stub measures into.
pub const BOOT_PCR: u32 = 11;
/// Name and version that systemd-stub bears.
const MAGIC_SECTION: &str = ".sdmagic";
/// Since this version, the release of the kernel and the generation (`SBAT`) are measured as well.
const MEASURES_MORE: u32 = 254;
/// What is measured, in this order, by every version.
const FIRST: [&str; 4] = [".linux", ".osrel", ".cmdline", ".initrd"];
/// What newer versions measure behind these.
const MORE: [&str; 2] = [".uname", ".sbat"];
/// What every version measures last.
const LAST: &str = ".pcrpkey";

/// A section as it will lie in memory.
#[derive(Debug, Clone, Copy)]
pub struct MeasuredSection<'s> {
    /// Its name, with the dot.
    pub name: &'s str,
    /// Its contents.
    pub contents: &'s [u8],
    /// Bytes it takes in memory; zeros follow the contents.
    pub memory: u64,
}

impl<'s> MeasuredSection<'s> {
    /// A section that takes as much memory as it has contents.
    pub fn new(name: &'s str, contents: &'s [u8]) -> Self {
        Self {
            name,
            contents,
            memory: contents.len() as u64,
        }
    }
}

/// The value of register 11, in the bank of SHA-256, at some point of a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootMeasurement([u8; 32]);

impl BootMeasurement {
    /// After systemd-stub of a `version` has measured what it is given: of these sections, those that it
    /// measures, in its own order.
    pub fn of_sections(version: u32, sections: &[MeasuredSection<'_>]) -> Self {
        let more: &[&str] = if version < MEASURES_MORE { &[] } else { &MORE };
        let mut now = Self([0; 32]);
        for name in FIRST.iter().chain(more).chain([&LAST]) {
            let found = sections.iter().find(|section| section.name == *name);
            // To the stub, a section without contents is none.
            let Some(section) = found.filter(|section| section.memory > 0) else {
                continue;
            };
            now = now.extend(Sha256::new().chain_update(name).chain_update([0]));
            now = now.extend(hash_in_memory(section));
        }
        now
    }

    /// After the word that ends this phase of the boot was measured (systemd-pcrphase(8)).
    #[must_use]
    pub fn then(self, word: &str) -> Self {
        self.extend(Sha256::new().chain_update(word))
    }

    fn extend(self, measured: Sha256) -> Self {
        let hash = Sha256::new()
            .chain_update(self.0)
            .chain_update(measured.finalize());
        Self(hash.finalize().into())
    }

    /// The value.
    pub fn value(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest of the policy that wants this value: `TPM2_PolicyPCR` in a session that began empty.
    pub fn policy_digest(&self) -> [u8; 32] {
        const POLICY_PCR: u32 = 0x17f;
        const SHA_256: u16 = 0x0b;
        let mut selected = [0_u8; 3];
        selected[BOOT_PCR as usize / 8] |= 1 << (BOOT_PCR % 8);
        let hash = Sha256::new()
            .chain_update([0; 32])
            .chain_update(POLICY_PCR.to_be_bytes())
            // One selection, of one bank, in a map of three bytes.
            .chain_update(1_u32.to_be_bytes())
            .chain_update(SHA_256.to_be_bytes())
            .chain_update([3])
            .chain_update(selected)
            .chain_update(Sha256::digest(self.0));
        hash.finalize().into()
    }
}

fn hash_in_memory(section: &MeasuredSection<'_>) -> Sha256 {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut hash = Sha256::new().chain_update(section.contents);
    let mut left = section.memory.saturating_sub(section.contents.len() as u64);
    while left > 0 {
        let now = left.min(ZEROS.len() as u64) as usize;
        hash.update(&ZEROS[..now]);
        left -= now as u64;
    }
    hash
}

/// Signatures over the policies that want one of these measurements, as systemd-measure writes them and systemd
/// reads them.
pub fn sign_measurements(
    key: &PolicyKey,
    measurements: &[BootMeasurement],
) -> Result<String, KeyError> {
    let fingerprint = hex::encode(key.fingerprint());
    let mut entries = Vec::with_capacity(measurements.len());
    for measurement in measurements {
        let policy = measurement.policy_digest();
        let signature = BASE64.encode(key.sign(&policy)?);
        entries.push(format!(
            r#"{{"pcrs":[{BOOT_PCR}],"pkfp":"{fingerprint}","pol":"{}","sig":"{signature}"}}"#,
            hex::encode(policy)
        ));
    }
    Ok(format!("{{\"sha256\":[{}]}}\n", entries.join(",")))
}

/// Major version of systemd that a stub is of; `None` if it is no stub of systemd.
pub(crate) fn stub_version(stub: &Image) -> Option<u32> {
    let magic = String::from_utf8_lossy(stub.section(MAGIC_SECTION)?).into_owned();
    let version = magic.split_once("systemd-stub ")?.1;
    let end = version.find(|c: char| !c.is_ascii_digit())?;
    version[..end].parse().ok()
}
