//! What an image has: looked at once, before anything is planned.

use super::InitError;
use super::distribution::{Architecture, Distribution};
use std::cmp::Ordering;
use std::io;
use std::path::Path;

/// Where programs are, from the root of the image.
const PROGRAM_DIRECTORIES: [&str; 6] = [
    "usr/local/sbin",
    "usr/local/bin",
    "usr/sbin",
    "usr/bin",
    "sbin",
    "bin",
];

/// A kernel whose modules are in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kernel {
    /// `6.12.48+deb13-cloud-amd64`
    pub release: String,
    /// From the root of the image.
    pub path: String,
}

/// What an image has.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing that is there or not"
)]
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub distribution: &'static Distribution,
    pub architecture: &'static Architecture,
    /// Newest first.
    pub kernels: Vec<Kernel>,
    /// Whether cos-init is where dracut finds it.
    pub has_cos_init: bool,
    /// Whether `cos` is where units and the initrd look for it.
    pub has_cos: bool,
    pub has_dracut: bool,
    pub has_zstd: bool,
    pub has_grub_mkimage: bool,
    /// Whether GRUB's modules for a BIOS are there, and those for UEFI.
    pub has_bios_modules: bool,
    pub has_efi_modules: bool,
    /// The signed shim, GRUB and `MokManager` that are there, from the root of the image.
    pub shim: Option<String>,
    pub signed_grub: Option<String>,
    pub mok_manager: Option<String>,
    /// Whether systemd mounts something at /tmp.
    pub has_tmp_mount: bool,
    /// Configuration of the image's own that is left as it is.
    pub kept: Vec<&'static str>,
}

impl Facts {
    /// Looks at the image at `root`; `machine` is the kernel's name of its architecture.
    pub(super) fn probe(
        root: &Path,
        machine: &str,
        keepable: &[&'static str],
    ) -> Result<Self, InitError> {
        let architecture = Architecture::find(machine)
            .ok_or_else(|| InitError::Architecture(machine.to_owned()))?;
        let distribution = Distribution::find(&os_release(root)?);
        let exists = |path: &str| fs_err::metadata(root.join(path)).is_ok();
        let program = |name: &str| {
            PROGRAM_DIRECTORIES
                .iter()
                .any(|directory| exists(&format!("{directory}/{name}")))
        };
        let first = |paths: &[&str]| {
            paths
                .iter()
                .map(|path| architecture.expand(path))
                .find(|path| exists(path))
        };
        let modules = |platform: &str| {
            exists(&format!(
                "{}/{platform}/moddep.lst",
                distribution.grub_modules
            ))
        };
        Ok(Self {
            distribution,
            architecture,
            kernels: kernels(root)?,
            has_cos: exists("usr/bin/cos"),
            has_cos_init: program("cos-init"),
            has_dracut: program("dracut"),
            has_zstd: program("zstd"),
            has_grub_mkimage: program(distribution.grub_mkimage),
            has_bios_modules: architecture.has_bios && modules("i386-pc"),
            has_efi_modules: modules(architecture.grub_efi),
            shim: first(distribution.signed.shim),
            signed_grub: first(distribution.signed.grub),
            mok_manager: first(distribution.signed.mok_manager),
            has_tmp_mount: ["usr/lib", "etc"]
                .iter()
                .any(|place| exists(&format!("{place}/systemd/system/tmp.mount"))),
            kept: keepable
                .iter()
                .copied()
                .filter(|path| exists(path))
                .collect(),
        })
    }
}

fn os_release(root: &Path) -> Result<String, InitError> {
    for path in ["etc/os-release", "usr/lib/os-release"] {
        match fs_err::read_to_string(root.join(path)) {
            Ok(text) => return Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(InitError::Read { source }),
        }
    }
    Ok(String::new())
}

/// Every kernel that has both modules and an image, newest first.
fn kernels(root: &Path) -> Result<Vec<Kernel>, InitError> {
    let entries = match fs_err::read_dir(root.join("usr/lib/modules")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(InitError::Read { source }),
    };
    let mut kernels = Vec::new();
    for entry in entries {
        let name = entry
            .map_err(|source| InitError::Read { source })?
            .file_name();
        let Some(release) = name.to_str() else {
            continue;
        };
        let places = [
            format!("boot/vmlinuz-{release}"),
            format!("boot/Image-{release}"),
            format!("usr/lib/modules/{release}/vmlinuz"),
            format!("usr/lib/modules/{release}/Image"),
        ];
        let is_file =
            |path: &String| fs_err::metadata(root.join(path)).is_ok_and(|meta| meta.is_file());
        if let Some(path) = places.into_iter().find(is_file) {
            kernels.push(Kernel {
                release: release.to_owned(),
                path,
            });
        }
    }
    kernels.sort_by(|a, b| compare_releases(&b.release, &a.release));
    Ok(kernels)
}

/// Compares releases as people do: runs of digits by their value.
fn compare_releases(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let digits = |text: &[u8]| text.iter().take_while(|c| c.is_ascii_digit()).count();
        let (in_a, in_b) = (digits(a), digits(b));
        if in_a > 0 && in_b > 0 {
            let value = |text: &[u8]| {
                text.iter().fold(0u64, |sum, digit| {
                    sum.saturating_mul(10)
                        .saturating_add(u64::from(digit - b'0'))
                })
            };
            match value(&a[..in_a]).cmp(&value(&b[..in_b])) {
                Ordering::Equal => (a, b) = (&a[in_a..], &b[in_b..]),
                unequal => return unequal,
            }
            continue;
        }
        match (a.split_first(), b.split_first()) {
            (Some((x, rest_a)), Some((y, rest_b))) if x == y => (a, b) = (rest_a, rest_b),
            (x, y) => return x.map(|(c, _)| c).cmp(&y.map(|(c, _)| c)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_value() {
        for (older, newer) in [
            ("6.1.0-9-amd64", "6.1.0-10-amd64"),
            ("6.9.1", "6.12"),
            ("6.12", "6.12.1"),
            ("6.12.1-cloud", "6.12.2-amd64"),
        ] {
            assert_eq!(
                compare_releases(older, newer),
                Ordering::Less,
                "{older} {newer}"
            );
            assert_eq!(compare_releases(newer, older), Ordering::Greater);
        }
        assert_eq!(compare_releases("6.1", "6.1"), Ordering::Equal);
    }

    #[test]
    fn kernels_have_modules_and_an_image() {
        let root = tempfile::tempdir().unwrap();
        for release in ["6.1.0-9", "6.1.0-10", "6.1.0-11"] {
            fs_err::create_dir_all(root.path().join("usr/lib/modules").join(release)).unwrap();
        }
        fs_err::create_dir(root.path().join("boot")).unwrap();
        fs_err::write(root.path().join("boot/vmlinuz-6.1.0-9"), "").unwrap();
        fs_err::write(root.path().join("usr/lib/modules/6.1.0-10/vmlinuz"), "").unwrap();
        let found = kernels(root.path()).unwrap();
        let paths: Vec<_> = found.iter().map(|kernel| kernel.path.as_str()).collect();
        assert_eq!(
            paths,
            ["usr/lib/modules/6.1.0-10/vmlinuz", "boot/vmlinuz-6.1.0-9"]
        );
    }
}
