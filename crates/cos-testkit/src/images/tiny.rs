//! A tree that every tool of cOS takes for a bootable image, and that no machine boots: for tests of
//! what is put where, in a second.

use fs_err as fs;
use std::path::Path;

/// Where the loader's images are.
const LOADER: &str = "usr/lib/cos/boot";

/// Bytes of the kernel, the initrd and everything else.
type Sizes = [usize; 3];

/// Makes the tree in `directory`. `version` is in its files: another version is another image.
pub fn tiny(directory: &Path, version: &str) -> anyhow::Result<()> {
    tree(directory, version, [2 << 20, 3 << 20, 6 << 20])
}

/// Like [`tiny`], of a few hundred kilobytes, for disks that are read again and again.
pub fn tiniest(directory: &Path, version: &str) -> anyhow::Result<()> {
    tree(directory, version, [24 << 10, 40 << 10, 80 << 10])
}

fn tree(directory: &Path, version: &str, sizes: Sizes) -> anyhow::Result<()> {
    let [kernel, initrd, rest] = sizes;
    let mut sector = noise(512, 1);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    let seed = version.bytes().map(u64::from).sum::<u64>();
    let os_release = format!("ID=tiny\nPRETTY_NAME=\"Tiny {version}\"\n");
    let files: [(&str, Vec<u8>); 10] = [
        ("boot/vmlinuz", noise(kernel, seed)),
        ("boot/initrd.img", noise(initrd, seed + 1)),
        ("usr/bin/something", noise(rest, seed + 2)),
        ("usr/lib/os-release", os_release.into_bytes()),
        (
            "etc/cos/bootargs.cfg",
            b"set kernelcmd=\"console=ttyS0\"\n".to_vec(),
        ),
        ("usr/lib/cos/boot/manifest.json", manifest().into_bytes()),
        ("usr/lib/cos/boot/bios/boot.img", sector.clone()),
        ("usr/lib/cos/boot/bios/core.img", noise(40_000, 3)),
        ("usr/lib/cos/boot/bios/eltorito.img", noise(40_000, 4)),
        ("usr/lib/cos/boot/efi/BOOTX64.EFI", noise(300_000, 5)),
    ];
    for (path, bytes) in files {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap_or(directory))?;
        fs::write(path, bytes)?;
    }
    fs::write(directory.join(LOADER).join("bios/boot_hybrid.img"), sector)?;
    Ok(())
}

fn manifest() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!(
        r#"{{"version": 1, "architecture": "{architecture}", "kernelRelease": "6.12.0-tiny",
  "kernel": "boot/vmlinuz", "initrd": "boot/initrd.img",
  "bios": {{"bootSector": "{LOADER}/bios/boot.img", "hybridBootSector": "{LOADER}/bios/boot_hybrid.img",
    "core": "{LOADER}/bios/core.img", "eltorito": "{LOADER}/bios/eltorito.img"}},
  "efi": {{"files": [{{"from": "{LOADER}/efi/BOOTX64.EFI", "to": "EFI/BOOT/BOOTX64.EFI"}}]}}}}
"#
    )
}

/// Bytes that no compression makes less of.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
