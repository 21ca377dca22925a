//! Deploying what somebody sealed: the statement beside the image is held against what is made of it here, and
//! on a sealed machine nothing boots but the program published with it.

use super::{Firmware, Published, SealedError, Statement};
use crate::OpsError;
use crate::root::convert::CompressionChoice;
use crate::root::snapshot::renew_id;
use crate::trust::{Gate, Trusted};
use cos_boot::{KernelArguments, sealed_command_line};
use cos_efi::{Image, Uki, verify};
use cos_events::{Monitor, warn};
use cos_image::Options;
use cos_store::{FileDigest, PROGRAM, ROOT_IMAGE, Snapshot};
use cos_verity::RootHash;
use sha2::{Digest as _, Sha256};
use std::path::Path;

/// Sections of a program are padded to less than this, bytes.
const MAX_PADDING: usize = 4096;

/// What seals an image; the newest first, as one image may be sealed with several keys.
pub(crate) struct Seals(Vec<Published>);

impl Seals {
    /// Those beside an image that the policy lets pass. None is an error.
    pub(crate) fn find(
        image: &Trusted,
        options: &Options,
        gate: &Gate,
        monitor: &dyn Monitor,
    ) -> Result<Self, OpsError> {
        Published::of(image, options, gate, monitor).map(Self)
    }

    /// The same for a machine that boots what is not sealed too: there, who can write to the registry could
    /// as well remove what seals an image.
    pub(crate) fn find_any(
        image: &Trusted,
        options: &Options,
        gate: &Gate,
        monitor: &dyn Monitor,
    ) -> Result<Option<Self>, OpsError> {
        match Self::find(image, options, gate, monitor) {
            Ok(found) => Ok(Some(found)),
            Err(OpsError::Sealed(SealedError::NotSealed { .. })) => Ok(None),
            Err(error @ OpsError::Cancelled(_)) => Err(error),
            Err(error) => {
                let error = crate::error::chain(&error);
                warn(
                    monitor,
                    format!("what seals the image is not used: {error}"),
                );
                Ok(None)
            }
        }
    }

    /// Fetches the program that this machine's firmware runs into `directory`, before anything else is
    /// fetched. It encrypts data where those of this machine are `encrypted`, and not elsewhere: data that are
    /// there would be lost.
    pub(crate) fn fetch_program(
        self,
        directory: &Path,
        encrypted: bool,
        monitor: &dyn Monitor,
    ) -> Result<Option<Seal>, OpsError> {
        let path = directory.join(PROGRAM);
        let mut refusal = None;
        for published in self.0 {
            if published.statement.encrypted != encrypted {
                refusal = refusal.or(Some(SealedError::Encryption { encrypted }));
                continue;
            }
            published.save_program(&path, monitor)?;
            match check_program(&path, &published.statement, &Firmware::default()) {
                Ok(()) => {
                    return Ok(Some(Seal {
                        published,
                        boots: true,
                    }));
                }
                Err(error) => refusal = refusal.or(Some(error)),
            }
            fs_err::remove_file(&path).map_err(|source| OpsError::Write {
                path: path.clone(),
                source,
            })?;
        }
        refusal.map_or(Ok(None), |error| Err(error.into()))
    }

    /// The newest, for its statement alone.
    pub(crate) fn newest(self) -> Option<Seal> {
        let published = self.0.into_iter().next()?;
        Some(Seal {
            published,
            boots: false,
        })
    }
}

/// What seals the snapshot that is made.
pub(crate) struct Seal {
    published: Published,
    /// Its program is there, and is what boots the snapshot.
    boots: bool,
}

impl Seal {
    /// Whether its program boots the snapshot.
    pub(crate) fn boots(&self) -> bool {
        self.boots
    }

    /// How the root image was compressed.
    pub(crate) fn compression(&self, otherwise: CompressionChoice) -> CompressionChoice {
        // It was read when the statement was.
        let stated = self.published.statement.compression();
        stated.unwrap_or(otherwise)
    }

    /// Holds the files of a snapshot against the statement. A root image that came out otherwise makes way
    /// for the published one, where there is one.
    pub(crate) fn hold(
        &self,
        snapshot: &mut Snapshot,
        directory: &Path,
        monitor: &dyn Monitor,
    ) -> Result<(), OpsError> {
        let statement = &self.published.statement;
        for (what, made, stated) in [
            ("kernel", &snapshot.kernel, &statement.kernel),
            ("initrd", &snapshot.initrd, &statement.initrd),
        ] {
            if made != stated {
                return Err(SealedError::Differs { what }.into());
            }
        }
        let made = (&snapshot.root_hash, snapshot.size, snapshot.hash_offset);
        if made == (&statement.root_hash, statement.size, statement.hash_offset) {
            return Ok(());
        }
        self.replace_root(directory, monitor)?;
        snapshot.root_hash.clone_from(&statement.root_hash);
        snapshot.format.clone_from(&statement.format);
        (snapshot.size, snapshot.hash_offset) = (statement.size, statement.hash_offset);
        snapshot.modified_locally = false;
        renew_id(snapshot)
    }

    fn replace_root(&self, directory: &Path, monitor: &dyn Monitor) -> Result<(), OpsError> {
        if !self.published.has_root() {
            return Err(SealedError::Differs { what: "root image" }.into());
        }
        warn(
            monitor,
            "the root image made here is not the sealed one, which is fetched instead".to_owned(),
        );
        let path = directory.join(ROOT_IMAGE);
        fs_err::remove_file(&path).map_err(|source| OpsError::Write {
            path: path.clone(),
            source,
        })?;
        self.published.save_root(&path, monitor)
    }

    /// Makes a snapshot one that boots by the program.
    pub(crate) fn adopt(&self, snapshot: &mut Snapshot) -> Result<(), OpsError> {
        let statement = &self.published.statement;
        let arguments = &statement.kernel_arguments;
        snapshot.kernel_arguments.clone_from(arguments);
        snapshot.machine_arguments = String::new();
        snapshot.program = Some(statement.program.digest);
        renew_id(snapshot)
    }
}

/// Whether a program is one that this machine's firmware runs, and that boots what was stated.
fn check_program(
    path: &Path,
    statement: &Statement,
    firmware: &Firmware,
) -> Result<(), SealedError> {
    let bytes = fs_err::read(path).map_err(|source| SealedError::Loader {
        path: path.to_owned(),
        source,
    })?;
    let broken = |source| SealedError::Program {
        path: PROGRAM.to_owned(),
        source,
    };
    let image = Image::parse(bytes).map_err(broken)?;
    // A machine that was never given keys runs anything; what it boots is still judged by the policy.
    if let Some(db) = firmware.database("db")?.filter(|db| !db.is_empty()) {
        let dbx = firmware.database("dbx")?;
        verify(&image, &db, dbx.as_deref()).map_err(SealedError::Refused)?;
    }
    let program = Uki::from_image(image).map_err(broken)?;
    let contradiction = |what| SealedError::Differs { what };
    let root_hash: RootHash = statement
        .root_hash
        .parse()
        .map_err(|_| contradiction("root hash"))?;
    let arguments = KernelArguments::new(&statement.kernel_arguments)
        .map_err(|_| contradiction("command line"))?;
    if program.command_line() != sealed_command_line(&root_hash, &arguments, statement.encrypted) {
        return Err(contradiction("command line"));
    }
    for (what, section, stated) in [
        ("kernel", ".linux", &statement.kernel),
        ("initrd", ".initrd", &statement.initrd),
    ] {
        let contents = program.image().section(section).unwrap_or_default();
        if !holds(contents, stated) {
            return Err(contradiction(what));
        }
    }
    Ok(())
}

/// Whether a section holds a file, padded with zeros.
fn holds(section: &[u8], file: &FileDigest) -> bool {
    let padding = section.iter().rev().take(MAX_PADDING);
    let padding = padding.take_while(|&&byte| byte == 0).count();
    let (begin, zeros) = section.split_at(section.len() - padding);
    let mut hasher = Sha256::new_with_prefix(begin);
    // Where the file ends is written nowhere, and it may end in zeros of its own.
    (0..=zeros.len()).any(|_| {
        let found: [u8; 32] = hasher.clone().finalize().into();
        hasher.update([0]);
        found == file.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_padded_file_is_found_and_another_is_not() {
        let file = FileDigest(Sha256::digest(b"kernel\0").into());
        for section in [
            &b"kernel\0"[..],
            b"kernel\0\0",
            &[b"kernel".as_slice(), &[0; 512]].concat(),
        ] {
            assert!(holds(section, &file));
        }
        let long = [b"kernel".as_slice(), &[0; 2 * MAX_PADDING]].concat();
        for section in [&b"kernel"[..], b"", b"kernel\0x", &long] {
            assert!(!holds(section, &file));
        }
    }
}
