//! The boot loader's images: made inside the image, where GRUB's own tools are native, so that media
//! can be put together anywhere by copying.

use super::facts::{Facts, Kernel};
use super::{InitError, Step};
use cos_boot::{
    BiosLoader, DISK_LOADER_DIRECTORY, EfiFile, EfiLoader, LOADER_DIRECTORY, LoaderManifest,
};

/// What the configuration needs, on every platform: partition tables and file systems it is read
/// from, the commands it is made of, and those that help at GRUB's own prompt.
const MODULES: [&str; 26] = [
    "part_gpt",
    "part_msdos",
    "fat",
    "ext2",
    "iso9660",
    "normal",
    "configfile",
    "linux",
    "search",
    "search_fs_uuid",
    "search_fs_file",
    "search_label",
    "probe",
    "regexp",
    "test",
    "true",
    "echo",
    "loadenv",
    "serial",
    "terminal",
    "minicmd",
    "ls",
    "cat",
    "sleep",
    "reboot",
    "halt",
];
const BIOS_MODULES: [&str; 1] = ["biosdisk"];
/// A kernel started by EFI takes the screen over as GRUB leaves it.
const EFI_MODULES: [&str; 1] = ["all_video"];

/// The partition table of a cOS disk: the EFI system partition is the second.
const DISK_PREFIX: &str = "(,gpt2)";

/// Plans the images. Returns the steps and what the manifest says of them.
pub(super) fn plan(
    facts: &Facts,
    kernel: &Kernel,
    initrd: &str,
) -> Result<(Vec<Step>, Vec<String>), InitError> {
    let packages = &facts.distribution.packages;
    let (mut steps, mut warnings) = (Vec::new(), Vec::new());
    let bios = plan_bios(facts, &mut steps);
    let efi = plan_efi(facts, &mut steps);
    if bios.is_none() && efi.is_none() {
        return Err(InitError::NoLoader {
            bios: packages.grub_bios,
            efi: packages.grub_efi,
        });
    }
    if bios.is_none() && facts.architecture.has_bios {
        warnings.push(format!(
            "machines with a BIOS will not boot this image: install {} for them",
            packages.grub_bios
        ));
    }
    if efi.is_none() {
        warnings.push(format!(
            "machines with UEFI will not boot this image: install {} for them",
            packages.grub_efi
        ));
    }
    let manifest = LoaderManifest {
        version: LoaderManifest::VERSION,
        architecture: facts.architecture.oci.to_owned(),
        kernel_release: kernel.release.clone(),
        kernel: kernel.path.clone(),
        initrd: initrd.to_owned(),
        bios,
        efi,
    };
    steps.push(Step::Write {
        path: cos_boot::MANIFEST_PATH.into(),
        mode: 0o644,
        text: manifest.to_json()?,
    });
    Ok((steps, warnings))
}

fn place(name: &str) -> String {
    format!("{LOADER_DIRECTORY}/{name}")
}

fn plan_bios(facts: &Facts, steps: &mut Vec<Step>) -> Option<BiosLoader> {
    if !facts.has_bios_modules {
        return None;
    }
    let loader = BiosLoader {
        boot_sector: place("bios/boot.img"),
        hybrid_boot_sector: place("bios/boot_hybrid.img"),
        core: place("bios/core.img"),
        eltorito: place("bios/eltorito.img"),
    };
    let modules = format!("{}/i386-pc", facts.distribution.grub_modules);
    for (from, to) in [
        ("boot.img", &loader.boot_sector),
        ("boot_hybrid.img", &loader.hybrid_boot_sector),
    ] {
        steps.push(Step::Copy {
            from: format!("{modules}/{from}"),
            to: to.clone(),
        });
    }
    for (format, prefix, output) in [
        (
            "i386-pc",
            format!("{DISK_PREFIX}/{DISK_LOADER_DIRECTORY}"),
            &loader.core,
        ),
        (
            "i386-pc-eltorito",
            format!("/{DISK_LOADER_DIRECTORY}"),
            &loader.eltorito,
        ),
    ] {
        steps.push(Step::GrubImage {
            format,
            prefix,
            output: output.clone(),
            modules: MODULES.iter().chain(&BIOS_MODULES).copied().collect(),
        });
    }
    Some(loader)
}

fn plan_efi(facts: &Facts, steps: &mut Vec<Step>) -> Option<EfiLoader> {
    let architecture = facts.architecture;
    let mut files = Vec::new();
    let mut file = |name: &str| {
        let from = place(&format!("efi/{name}"));
        files.push(EfiFile {
            from: from.clone(),
            to: format!("EFI/BOOT/{name}"),
        });
        from
    };
    if let (Some(shim), Some(grub)) = (&facts.shim, &facts.signed_grub) {
        let mut copy = |from: &str, to| {
            let from = from.to_owned();
            steps.push(Step::Copy { from, to });
        };
        // shim looks for these names beside itself.
        copy(shim, file(architecture.default_loader));
        copy(grub, file(&format!("grub{}.efi", architecture.efi)));
        if let Some(mok_manager) = &facts.mok_manager {
            copy(mok_manager, file(&format!("mm{}.efi", architecture.efi)));
        }
        return Some(EfiLoader {
            files,
            vendor_directory: Some(facts.distribution.signed.vendor_directory.to_owned()),
        });
    }
    if !facts.has_efi_modules {
        return None;
    }
    steps.push(Step::GrubImage {
        format: architecture.grub_efi,
        prefix: format!("/{DISK_LOADER_DIRECTORY}"),
        output: file(architecture.default_loader),
        modules: MODULES.iter().chain(&EFI_MODULES).copied().collect(),
    });
    Some(EfiLoader {
        files,
        vendor_directory: None,
    })
}
