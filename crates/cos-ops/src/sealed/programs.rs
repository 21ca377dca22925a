//! The signed programs on the EFI system partition of a sealed system.

use super::{SealedError, SealingKeys};
use crate::OpsError;
use crate::build::payload::{Parts, PlacedFile};
use crate::lint::initrd_contains;
use crate::root::boot_files::BootFiles;
use crate::root::convert::Loaded;
use crate::root::snapshot::root_hash;
use cos_boot::{
    BootState, ENROLMENT_DIRECTORY, KernelArguments, LOADER_CONFIGURATION,
    SEALED_ENTRIES_DIRECTORY, SEALED_PROGRAMS_DIRECTORY, SealedEntry, SealedPlan, entry_text,
    loader_configuration, program_name, sealed_command_line, sealed_os_release,
};
use cos_disk::Source;
use cos_efi::{Image, Uki, UkiParts, UkiPolicy, sign};
use cos_store::{FileDigest, PROGRAM, Snapshot};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};

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

/// Everything on the EFI system partition of a new sealed disk: systemd-boot, the system's program, an entry
/// that boots it, another that boots it as recovery system, and the keys to be enrolled. The program goes
/// into `directory`; its digest is returned too.
pub(crate) fn efi_files(
    loaded: &Loaded,
    boot: &BootFiles,
    snapshot: &Snapshot,
    keys: &SealingKeys,
    directory: &Path,
) -> Result<(Vec<PlacedFile>, FileDigest), OpsError> {
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
    let program = system_program(loaded, boot, snapshot, keys, directory)?;
    let name = program_name(&program.digest.0);
    let present = SealedPlan::new(&BootState::first(snapshot.id.clone()), &[], |_| {
        Some(program.digest.0)
    });
    let recovery = SealedPlan::recovery(&snapshot.id, &program.digest.0, &[]);
    for (entry, name) in present.create.iter().chain(&recovery.create) {
        let text = entry_text(&entry_title(entry, snapshot.image_version.as_deref()), name);
        let path = format!("{SEALED_ENTRIES_DIRECTORY}/{entry}");
        files.push(PlacedFile::bytes(path, text.into_bytes()));
    }
    files.push(PlacedFile {
        path: format!("{SEALED_PROGRAMS_DIRECTORY}/{name}"),
        source: Source::Host(program.path),
        size: program.size,
    });
    Ok((files, program.digest))
}

/// The title of an entry in the menu.
pub(crate) fn entry_title(entry: &SealedEntry, version: Option<&str>) -> String {
    let what = if entry.is_recovery() {
        "recovery"
    } else {
        "system"
    };
    let version = version.map(|version| format!(" {version}"));
    format!(
        "cOS {what}{} ({})",
        version.unwrap_or_default(),
        entry.snapshot
    )
}

/// A signed program in a file.
pub(crate) struct SystemProgram {
    pub(crate) path: PathBuf,
    pub(crate) digest: FileDigest,
    pub(crate) size: u64,
}

/// Makes the signed program of a snapshot whose files are in `directory`, and puts it beside them.
pub(crate) fn system_program(
    loaded: &Loaded,
    boot: &BootFiles,
    snapshot: &Snapshot,
    keys: &SealingKeys,
    directory: &Path,
) -> Result<SystemProgram, OpsError> {
    let (lower, _) = names(&boot.manifest.architecture)?;
    let stub = read(
        loaded,
        "systemd-stub",
        &format!("{PROGRAMS}/linux{lower}.efi.stub"),
    )?;
    let system = unified(&stub, boot, snapshot, keys, &Parts::of(directory))?;
    let system = signed(system, keys, "the system")?.into_bytes();
    let path = directory.join(PROGRAM);
    let program = SystemProgram {
        digest: FileDigest(Sha256::digest(&system).into()),
        size: system.len() as u64,
        path: path.clone(),
    };
    fs_err::write(&path, system).map_err(|source| OpsError::Write { path, source })?;
    Ok(program)
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
