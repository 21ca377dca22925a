//! The signed programs on the EFI system partition of a sealed system.

use super::{SealedError, SealingKeys};
use crate::OpsError;
use crate::build::payload::{Parts, PlacedFile};
use crate::root::boot_files::BootFiles;
use crate::root::convert::Loaded;
use crate::root::snapshot::root_hash;
use cos_boot::{
    ENROLMENT_DIRECTORY, KernelArguments, LOADER_CONFIGURATION, SEALED_ENTRIES_DIRECTORY,
    SealedEntry, loader_configuration, sealed_command_line, sealed_os_release,
};
use cos_disk::Source;
use cos_efi::{Image, Uki, UkiParts, sign};
use cos_store::Snapshot;
use std::path::{Path, PathBuf};

/// Where systemd keeps its loader and stub, from the root of an image.
const PROGRAMS: &str = "usr/lib/systemd/boot/efi";
/// File of the signed program of a system, where it is made.
const SYSTEM_PROGRAM: &str = "system.efi";
/// Seconds the menu waits.
const MENU_TIMEOUT: u32 = 2;

/// UEFI's names of an architecture: in lower case, and in the name of what boots from a medium.
fn names(architecture: &str) -> Result<(&'static str, &'static str), SealedError> {
    match architecture {
        "amd64" | "x86_64" => Ok(("x64", "X64")),
        "arm64" | "aarch64" => Ok(("aa64", "AA64")),
        other => Err(SealedError::Architecture(other.to_owned())),
    }
}

/// Everything on the EFI system partition of a new sealed disk: systemd-boot, the system as an entry, the
/// same one as recovery system, and the keys to be enrolled. Large files go into `directory`.
pub(crate) fn efi_files(
    loaded: &Loaded,
    boot: &BootFiles,
    snapshot: &Snapshot,
    keys: &SealingKeys,
    directory: &Path,
) -> Result<Vec<PlacedFile>, OpsError> {
    let (lower, upper) = names(&boot.manifest.architecture)?;
    let program_path = format!("{PROGRAMS}/systemd-boot{lower}.efi");
    let program = read(loaded, "systemd-boot", &program_path)?;
    let program = Image::parse(program).map_err(|source| SealedError::Program {
        path: program_path,
        source,
    })?;
    let program = signed(program, keys, "systemd-boot")?.into_bytes();
    let mut files = vec![
        PlacedFile::bytes(format!("EFI/BOOT/BOOT{upper}.EFI"), program),
        PlacedFile::bytes(
            LOADER_CONFIGURATION.to_owned(),
            loader_configuration(MENU_TIMEOUT).into_bytes(),
        ),
    ];
    for (database, update) in &keys.updates {
        let path = format!("{ENROLMENT_DIRECTORY}/{}.auth", database.name());
        files.push(PlacedFile::bytes(path, update.clone()));
    }
    let path = system_program(loaded, boot, snapshot, keys, directory)?;
    let size = fs_err::metadata(&path).map_err(OpsError::Inspect)?.len();
    for generation in [1, 0] {
        let entry = SealedEntry {
            generation,
            snapshot: snapshot.id.clone(),
        };
        files.push(PlacedFile {
            path: format!("{SEALED_ENTRIES_DIRECTORY}/{entry}"),
            source: Source::Host(path.clone()),
            size,
        });
    }
    Ok(files)
}

/// Writes the signed program of a snapshot, whose large files lie in `directory`, beside them.
pub(crate) fn system_program(
    loaded: &Loaded,
    boot: &BootFiles,
    snapshot: &Snapshot,
    keys: &SealingKeys,
    directory: &Path,
) -> Result<PathBuf, OpsError> {
    let (lower, _) = names(&boot.manifest.architecture)?;
    let stub = format!("{PROGRAMS}/linux{lower}.efi.stub");
    let stub = read(loaded, "systemd-stub", &stub)?;
    let system = unified(&stub, boot, snapshot, &Parts::of(directory))?;
    let system = signed(system, keys, "the system")?.into_bytes();
    let path = directory.join(SYSTEM_PROGRAM);
    fs_err::write(&path, system).map_err(|source| OpsError::Write {
        path: path.clone(),
        source,
    })?;
    Ok(path)
}

fn unified(
    stub: &[u8],
    boot: &BootFiles,
    snapshot: &Snapshot,
    parts: &Parts,
) -> Result<Image, OpsError> {
    let part = |path: &Path| fs_err::read(path).map_err(OpsError::Inspect);
    let arguments = KernelArguments::new(&snapshot.kernel_arguments)?;
    let parts = UkiParts {
        stub,
        os_release: &sealed_os_release(&boot.title),
        command_line: &sealed_command_line(&root_hash(snapshot)?, &arguments),
        release: &boot.manifest.kernel_release,
        kernel: &part(&parts.kernel)?,
        initrd: &part(&parts.initrd)?,
    };
    let uki = Uki::build(&parts).map_err(SealedError::Unified)?;
    Ok(uki.into_image())
}

fn read(loaded: &Loaded, what: &'static str, path: &str) -> Result<Vec<u8>, OpsError> {
    Ok(BootFiles::loader_file(
        &loaded.image.tree,
        &loaded.spool,
        what,
        path,
    )?)
}

fn signed(image: Image, keys: &SealingKeys, what: &str) -> Result<Image, SealedError> {
    sign(image, &keys.programs).map_err(|source| SealedError::Sign {
        what: what.to_owned(),
        source,
    })
}
