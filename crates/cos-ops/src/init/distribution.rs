//! What differs between distributions, as data: where their tools are, and which packages bring them.
//!
//! Paths are from the root of the image. `{release}` stands for the kernel's release, `{arch}` for
//! the kernel's name of the architecture (`x86_64`), `{efi}` for UEFI's (`x64`), `{grub}` for GRUB's
//! (`x86_64-efi`).

/// Packages that bring what `cos init` runs or copies, by purpose.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packages {
    pub dracut: &'static str,
    pub kernel: &'static str,
    pub grub_mkimage: &'static str,
    pub grub_bios: &'static str,
    pub grub_efi: &'static str,
}

/// A boot loader signed by its distribution.
#[derive(Debug, Clone, Copy)]
pub(super) struct SignedLoader {
    /// shim, the first program firmware runs; the first of these that is there.
    pub shim: &'static [&'static str],
    /// GRUB, which shim runs.
    pub grub: &'static [&'static str],
    /// `MokManager`, which shim runs to enrol keys; may be missing.
    pub mok_manager: &'static [&'static str],
    /// Directory on the EFI system partition where that GRUB looks for its configuration.
    pub vendor_directory: &'static str,
}

/// A distribution, or a family of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Distribution {
    /// `ID` or a word of `ID_LIKE` in os-release.
    pub ids: &'static [&'static str],
    pub packages: Packages,
    /// The program that makes GRUB images.
    pub grub_mkimage: &'static str,
    /// Directory of GRUB's modules, one directory a platform.
    pub grub_modules: &'static str,
    pub signed: SignedLoader,
    /// What the distribution calls an initrd.
    pub initrd: &'static str,
}

/// The first whose name fits the image's `ID` or else its `ID_LIKE` counts.
const DISTRIBUTIONS: &[Distribution] = &[
    Distribution {
        ids: &["ubuntu"],
        packages: Packages {
            kernel: "linux-image-virtual or linux-image-generic",
            ..DEBIAN.packages
        },
        signed: SignedLoader {
            shim: &[
                "usr/lib/shim/shim{efi}.efi.signed.latest",
                "usr/lib/shim/shim{efi}.efi.signed",
            ],
            vendor_directory: "EFI/ubuntu",
            ..DEBIAN.signed
        },
        ..DEBIAN
    },
    DEBIAN,
    Distribution {
        ids: &[
            "opensuse",
            "suse",
            "sles",
            "sl-micro",
            "opensuse-tumbleweed",
            "opensuse-leap",
        ],
        packages: Packages {
            dracut: "dracut",
            kernel: "kernel-default-base or kernel-default",
            grub_mkimage: "grub2",
            grub_bios: "grub2-i386-pc",
            grub_efi: "grub2-x86_64-efi or grub2-arm64-efi",
        },
        grub_mkimage: "grub2-mkimage",
        grub_modules: "usr/share/grub2",
        signed: SignedLoader {
            shim: &["usr/share/efi/{arch}/shim.efi"],
            grub: &["usr/share/efi/{arch}/grub.efi"],
            mok_manager: &["usr/share/efi/{arch}/MokManager.efi"],
            // SUSE's GRUB reads the configuration beside itself.
            vendor_directory: "EFI/BOOT",
        },
        initrd: "boot/initrd-{release}",
    },
    Distribution {
        ids: &["fedora", "rhel", "centos"],
        packages: Packages {
            dracut: "dracut",
            kernel: "kernel-core",
            grub_mkimage: "grub2-tools",
            grub_bios: "grub2-pc-modules",
            grub_efi: "grub2-efi-x64-modules or grub2-efi-aa64-modules",
        },
        grub_mkimage: "grub2-mkimage",
        signed: SignedLoader {
            shim: &[
                "boot/efi/EFI/fedora/shim{efi}.efi",
                "usr/lib/efi/shim/EFI/fedora/shim{efi}.efi",
            ],
            grub: &[
                "boot/efi/EFI/fedora/grub{efi}.efi",
                "usr/lib/efi/grub2/EFI/fedora/grub{efi}.efi",
            ],
            mok_manager: &[
                "boot/efi/EFI/fedora/mm{efi}.efi",
                "usr/lib/efi/shim/EFI/fedora/mm{efi}.efi",
            ],
            vendor_directory: "EFI/fedora",
        },
        initrd: "boot/initramfs-{release}.img",
        ..DEBIAN
    },
];

const DEBIAN: Distribution = Distribution {
    ids: &["debian"],
    packages: Packages {
        dracut: "dracut",
        kernel: "linux-image-amd64 or linux-image-cloud-amd64",
        grub_mkimage: "grub-common",
        grub_bios: "grub-pc-bin",
        grub_efi: "grub-efi-amd64-bin or grub-efi-arm64-bin",
    },
    grub_mkimage: "grub-mkimage",
    grub_modules: "usr/lib/grub",
    signed: SignedLoader {
        shim: &["usr/lib/shim/shim{efi}.efi.signed"],
        grub: &["usr/lib/grub/{grub}-signed/grub{efi}.efi.signed"],
        mok_manager: &[
            "usr/lib/shim/mm{efi}.efi.signed",
            "usr/lib/shim/mm{efi}.efi",
        ],
        vendor_directory: "EFI/debian",
    },
    initrd: "boot/initrd.img-{release}",
};

/// An architecture, by all of its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Architecture {
    /// As OCI and Go name it.
    pub oci: &'static str,
    /// As the kernel and Rust name it.
    pub kernel: &'static str,
    /// As UEFI names it in file names.
    pub efi: &'static str,
    /// GRUB's platform for UEFI.
    pub grub_efi: &'static str,
    /// Whether its machines can have a BIOS.
    pub has_bios: bool,
    /// First file that firmware looks for on removable media.
    pub default_loader: &'static str,
    /// Its serial console.
    pub serial_console: &'static str,
}

const ARCHITECTURES: &[Architecture] = &[
    Architecture {
        oci: "amd64",
        kernel: "x86_64",
        efi: "x64",
        grub_efi: "x86_64-efi",
        has_bios: true,
        default_loader: "BOOTX64.EFI",
        serial_console: "ttyS0,115200",
    },
    Architecture {
        oci: "arm64",
        kernel: "aarch64",
        efi: "aa64",
        grub_efi: "arm64-efi",
        has_bios: false,
        default_loader: "BOOTAA64.EFI",
        serial_console: "ttyAMA0,115200",
    },
];

impl Architecture {
    /// By the name the kernel has for it.
    pub(super) fn find(kernel: &str) -> Option<&'static Self> {
        ARCHITECTURES.iter().find(|known| known.kernel == kernel)
    }

    /// Puts names into a path of the tables above.
    pub(super) fn expand(&self, path: &str) -> String {
        path.replace("{arch}", self.kernel)
            .replace("{efi}", self.efi)
            .replace("{grub}", self.grub_efi)
    }
}

impl Distribution {
    /// By the text of os-release. An unknown distribution is taken for Debian, whose layout most
    /// share where it matters.
    pub(super) fn find(os_release: &str) -> &'static Self {
        let value = |key: &str| {
            os_release
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
                .unwrap_or_default()
                .trim_matches(['"', '\''])
        };
        [value("ID"), value("ID_LIKE")]
            .iter()
            .flat_map(|ids| ids.split_ascii_whitespace())
            .find_map(|id| DISTRIBUTIONS.iter().find(|known| known.ids.contains(&id)))
            .unwrap_or(&DEBIAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_known_by_itself_before_its_kin() {
        let vendor = |text| Distribution::find(text).signed.vendor_directory;
        assert_eq!(vendor("NAME=x\nID=debian\n"), "EFI/debian");
        assert_eq!(vendor("ID=ubuntu\nID_LIKE=debian\n"), "EFI/ubuntu");
        assert_eq!(vendor("ID=pop\nID_LIKE=\"ubuntu debian\"\n"), "EFI/ubuntu");
        assert_eq!(vendor("ID=\"opensuse-tumbleweed\"\n"), "EFI/BOOT");
        assert_eq!(
            vendor("ID=rocky\nID_LIKE=\"rhel centos fedora\"\n"),
            "EFI/fedora"
        );
        assert_eq!(vendor(""), "EFI/debian");
    }

    #[test]
    fn paths_are_completed_for_each_architecture() {
        let arm = Architecture::find("aarch64").unwrap();
        assert_eq!(
            arm.expand(DEBIAN.signed.grub[0]),
            "usr/lib/grub/arm64-efi-signed/grubaa64.efi.signed"
        );
        assert!(Architecture::find("s390x").is_none());
    }
}
