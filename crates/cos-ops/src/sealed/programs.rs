//! The signed programs on the EFI system partition of a sealed system.

use super::{SealedError, SealingKeys};
use crate::OpsError;
use crate::build::payload::{Parts, PlacedFile};
use crate::lint::initrd_contains;
use crate::root::boot_files::BootFiles;
use crate::root::convert::Loaded;
use crate::root::snapshot::root_hash;
use cos_boot::{
    ENROLMENT_DIRECTORY, KernelArguments, LOADER_CONFIGURATION, SEALED_ENTRIES_DIRECTORY,
    SealedEntry, loader_configuration, sealed_command_line, sealed_os_release,
};
use cos_disk::Source;
use cos_efi::{Image, Uki, UkiParts, UkiPolicy, sign};
use cos_store::Snapshot;
use std::path::Path;

/// Where systemd keeps its loader and stub, from the root of an image.
const PROGRAMS: &str = "usr/lib/systemd/boot/efi";
/// What the dracut module of cOS puts into an initrd that can encrypt data.
const CAN_ENCRYPT: &[u8] = b"usr/lib/cos/encryption";
/// When data are unlocked: before and after systemd says that the initrd was entered, whether the initrd has the
/// unit that does or not. Not later, so that a running system cannot.
const UNLOCKING_PHASES: [&[&str]; 2] = [&[], &["enter-initrd"]];
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
    let stub = read(
        loaded,
        "systemd-stub",
        &format!("{PROGRAMS}/linux{lower}.efi.stub"),
    )?;
    let system = unified(&stub, boot, snapshot, keys, &Parts::of(directory))?;
    let system = signed(system, keys, "the system")?.into_bytes();
    let size = system.len() as u64;
    let path = directory.join("system.efi");
    fs_err::write(&path, system).map_err(|source| OpsError::Write {
        path: path.clone(),
        source,
    })?;
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

fn unified(
    stub: &[u8],
    boot: &BootFiles,
    snapshot: &Snapshot,
    keys: &SealingKeys,
    parts: &Parts,
) -> Result<Image, OpsError> {
    let part = |path: &Path| fs_err::read(path).map_err(OpsError::Inspect);
    let arguments = KernelArguments::new(&snapshot.kernel_arguments)?;
    let initrd = part(&parts.initrd)?;
    if keys.encrypt() {
        let can = initrd_contains(&*initrd, CAN_ENCRYPT)
            .map_err(|error| SealedError::Initrd(std::io::Error::other(error)))?;
        if !can {
            return Err(SealedError::CannotEncrypt.into());
        }
    }
    let parts = UkiParts {
        stub,
        os_release: &sealed_os_release(&boot.title),
        command_line: &sealed_command_line(&root_hash(snapshot)?, &arguments, keys.encrypt()),
        release: &boot.manifest.kernel_release,
        kernel: &part(&parts.kernel)?,
        initrd: &initrd,
        policy: keys.policy.as_ref().map(|key| UkiPolicy {
            key,
            phases: &UNLOCKING_PHASES,
        }),
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
