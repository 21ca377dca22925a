//! The tools that tests rely on do what tests rely on them for.

use cos_testkit::tools;
use std::process::Command;

/// Debian 12's erofs-utils knows no zstd: those found must write and check it.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test of other people's programs"
)]
fn erofs_utils_know_zstd_and_find_damage() -> anyhow::Result<()> {
    let (Some(mkfs), Some(fsck)) = (tools::mkfs_erofs(), tools::fsck_erofs()) else {
        cos_testkit::skip(
            "erofs_utils_know_zstd_and_find_damage",
            &tools::missing("fsck.erofs"),
        );
        return Ok(());
    };
    let dir = cos_testkit::temp_dir()?;
    let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
    fs_err::create_dir(&tree)?;
    fs_err::write(tree.join("file"), "compress me, ".repeat(40_000))?;
    cos_testkit::process::output(Command::new(mkfs).arg("-zzstd").arg(&image).arg(&tree))?;
    let check = || cos_testkit::process::succeeds(Command::new(&fsck).arg("--extract").arg(&image));
    assert!(check(), "fsck.erofs does not accept what mkfs.erofs wrote");

    let mut bytes = fs_err::read(&image)?;
    // The magic number of the superblock, at byte 1024.
    bytes[1024] ^= 1;
    fs_err::write(&image, bytes)?;
    assert!(!check(), "fsck.erofs accepts a damaged superblock");
    Ok(())
}
