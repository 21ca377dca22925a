//! Other people's programs: where they are, and which Debian package brings them.

use crate::lock::Lock;
use crate::{paths, process};
use anyhow::Context;
use fs_err as fs;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Which Debian package brings a program, for messages and for `xtask`'s installer.
const PACKAGES: &[(&str, &str)] = &[
    ("bsdtar", "libarchive-tools"),
    ("buildah", "buildah"),
    ("cert-to-efi-hash-list", "efitools"),
    ("cert-to-efi-sig-list", "efitools"),
    ("cryptsetup", "cryptsetup-bin"),
    ("debugfs", "e2fsprogs"),
    ("docker-registry", "docker-registry"),
    ("dump.erofs", "erofs-utils"),
    ("e2fsck", "e2fsprogs"),
    ("fsck.erofs", "erofs-utils"),
    ("fsck.fat", "dosfstools"),
    ("fsfreeze", "util-linux"),
    ("getfattr", "attr"),
    ("git", "git"),
    ("grub-emu", "grub-emu"),
    ("grub-fstest", "grub-common"),
    ("grub-mkimage", "grub-common"),
    ("grub-script-check", "grub-common"),
    ("hash-to-efi-sig-list", "efitools"),
    ("htpasswd", "apache2-utils"),
    ("isoinfo", "genisoimage"),
    ("jq", "jq"),
    ("mcopy", "mtools"),
    ("mdir", "mtools"),
    ("mke2fs", "e2fsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("mkfs.erofs", "erofs-utils"),
    ("mkfs.xfs", "xfsprogs"),
    ("mksquashfs", "squashfs-tools"),
    ("mmdebstrap", "mmdebstrap"),
    ("losetup", "mount"),
    ("modprobe", "kmod"),
    ("mount", "mount"),
    ("objcopy", "binutils"),
    ("openssl", "openssl"),
    ("python3", "python3"),
    ("qemu-img", "qemu-utils"),
    ("qemu-storage-daemon", "qemu-system-common"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("sbsign", "sbsigntool"),
    ("sbverify", "sbsigntool"),
    ("setfattr", "attr"),
    ("sfdisk", "fdisk"),
    ("sgdisk", "gdisk"),
    ("skopeo", "skopeo"),
    ("ssh-keygen", "openssh-client"),
    ("strace", "strace"),
    ("swtpm", "swtpm"),
    ("systemd-analyze", "systemd"),
    ("tar", "tar"),
    ("time", "time"),
    ("tpm2_nvread", "tpm2-tools"),
    ("tpm2_rc_decode", "tpm2-tools"),
    ("tune2fs", "e2fsprogs"),
    ("umoci", "umoci"),
    ("umount", "mount"),
    ("useradd", "passwd"),
    ("veritysetup", "cryptsetup-bin"),
    ("xorriso", "xorriso"),
];

/// Directories searched after `PATH`: where Debian keeps what only root is thought to need.
const SBIN: &[&str] = &["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Finds a program: first among this work tree's own tools, then on `PATH`, then in `sbin`.
pub fn find_tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(paths::tools().join("bin"))
        .chain(std::env::split_paths(&path))
        .chain(SBIN.iter().map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| is_program(file))
}

/// Finds a program or fails with the package that would bring it.
pub fn need_tool(name: &str) -> anyhow::Result<PathBuf> {
    find_tool(name).with_context(|| missing(name))
}

/// Fails the calling test when one of these programs is missing: for tests that `cargo xtask test`
/// has installed everything for.
///
/// # Panics
///
/// When a program is missing, with the packages that bring them.
pub fn need_tools(names: &[&str]) {
    let gone: Vec<String> = names
        .iter()
        .filter(|name| find_tool(name).is_none())
        .map(|name| missing(name))
        .collect();
    assert!(gone.is_empty(), "{}", gone.join("; "));
}

/// What to say about a program that is not there, for a skip's reason or an error.
pub fn missing(name: &str) -> String {
    match package_of(name) {
        Some(package) => format!("{name} is not installed (Debian package {package})"),
        None => format!("{name} is not installed"),
    }
}

/// The system's own `python3`, which is there with its whole library, whatever else `PATH` leads to.
pub fn debian_python() -> anyhow::Result<PathBuf> {
    let program = PathBuf::from("/usr/bin/python3");
    if is_program(&program) {
        Ok(program)
    } else {
        need_tool("python3")
    }
}

/// The Debian package that brings a program.
pub fn package_of(name: &str) -> Option<&'static str> {
    PACKAGES
        .iter()
        .find(|(tool, _)| *tool == name)
        .map(|(_, package)| *package)
}

/// The Debian packages of every program that tests use, sorted, each once.
pub fn packages() -> Vec<&'static str> {
    let packages: BTreeSet<&str> = PACKAGES.iter().map(|(_, package)| *package).collect();
    packages.into_iter().collect()
}

/// `fsck.erofs` of erofs-utils 1.8 or newer: Debian 12's 1.5 does not know zstd.
///
/// From the host when it is new enough, else from Debian 13's package, fetched once by mmdebstrap.
/// `None` when neither can be had.
pub fn fsck_erofs() -> Option<PathBuf> {
    erofs_tool("fsck.erofs")
}

/// `mkfs.erofs`, found like [`fsck_erofs`].
pub fn mkfs_erofs() -> Option<PathBuf> {
    erofs_tool("mkfs.erofs")
}

/// `dump.erofs`, found like [`fsck_erofs`].
pub fn dump_erofs() -> Option<PathBuf> {
    erofs_tool("dump.erofs")
}

/// `cosign`, of Debian 13: from the host, else fetched like [`fsck_erofs`].
pub fn cosign() -> Option<PathBuf> {
    find_tool("cosign").or_else(|| fetched("cosign"))
}

/// Whether Debian 13's packages could be fetched: tried once in a process.
static FETCHED: OnceLock<bool> = OnceLock::new();

fn erofs_tool(name: &str) -> Option<PathBuf> {
    if let Some(tool) = find_tool(name).filter(|tool| erofs_is_recent(tool)) {
        return Some(tool);
    }
    fetched(name)
}

fn fetched(name: &str) -> Option<PathBuf> {
    let fetched = *FETCHED.get_or_init(|| match fetch_debian_13() {
        Ok(()) => true,
        Err(error) => {
            eprintln!("{name} of Debian 13 is not to be had: {error:#}");
            false
        }
    });
    fetched
        .then(|| paths::tools().join("bin").join(name))
        .filter(|tool| is_program(tool))
}

/// Unpacks Debian 13's erofs-utils and cosign with their libraries under `target/tools`, and writes a wrapper
/// for each program that starts it with that root's own loader and libraries: no chroot, no root.
fn fetch_debian_13() -> anyhow::Result<()> {
    let tools = paths::tools();
    let _lock = Lock::wait(&tools.join("debian-13.lock"))?;
    let root = tools.join("debian-13");
    let bin = tools.join("bin");
    let programs = ["fsck.erofs", "mkfs.erofs", "dump.erofs", "cosign"];
    if programs.iter().all(|name| is_program(&bin.join(name))) {
        return Ok(());
    }
    let mmdebstrap = need_tool("mmdebstrap")?;
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::create_dir_all(&bin)?;
    process::logged(
        Command::new(mmdebstrap)
            .args([
                "--variant=extract",
                "--include=erofs-utils,cosign",
                "trixie",
            ])
            .arg(&root),
        &tools.join("debian-13.log"),
    )?;
    let (loader, libraries) = loader_of(&root)?;
    for name in programs {
        let wrapper = bin.join(name);
        let script = format!(
            "#!/bin/sh\nexec '{}' --library-path '{}' '{}' \"$@\"\n",
            loader.display(),
            libraries.display(),
            root.join("usr/bin").join(name).display()
        );
        fs::write(&wrapper, script)?;
        fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// The dynamic loader and the library directory of an unpacked Debian root.
fn loader_of(root: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    for entry in fs::read_dir(root.join("usr/lib"))? {
        let libraries = entry?.path();
        if !libraries.join("libc.so.6").exists() {
            continue;
        }
        for file in fs::read_dir(&libraries)? {
            let file = file?;
            if file.file_name().to_string_lossy().starts_with("ld-linux") {
                return Ok((file.path(), libraries));
            }
        }
    }
    anyhow::bail!("no dynamic loader under {}", root.display())
}

fn erofs_is_recent(tool: &Path) -> bool {
    let said = process::text(Command::new(tool).arg("--version")).unwrap_or_default();
    version_in(&said).is_some_and(|version| version >= (1, 8))
}

/// The first `major.minor` in a program's version output.
fn version_in(said: &str) -> Option<(u32, u32)> {
    said.split_whitespace().find_map(|word| {
        let mut parts = word.trim_start_matches('v').split(['.', '-', '+']);
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}

fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_and_missing_ones_named_with_their_package() {
        assert!(find_tool("sh").is_some_and(|sh| sh.is_absolute()));
        assert!(find_tool("cos-no-such-program").is_none());
        assert_eq!(
            missing("sgdisk"),
            "sgdisk is not installed (Debian package gdisk)"
        );
    }

    #[test]
    fn versions_of_erofs_utils_compare() {
        assert_eq!(
            version_in("fsck.erofs (erofs-utils) 1.8.6\navailable decompressors"),
            Some((1, 8))
        );
        assert_eq!(version_in("fsck.erofs 1.5"), Some((1, 5)));
        assert_eq!(version_in("mkfs.erofs v1.10-gabc"), Some((1, 10)));
        assert_eq!(version_in("no number"), None);
    }
}
