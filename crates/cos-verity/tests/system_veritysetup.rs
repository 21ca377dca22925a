//! What this crate writes is what `veritysetup` writes and accepts.
#![expect(clippy::unwrap_used, reason = "a test's helpers are tests")]

use cos_verity::{BLOCK_SIZE, HashingWriter, SALT, Verity};
use std::io::Write;
use std::path::Path;
use std::process::Output;

fn veritysetup(arguments: &[&str]) -> Option<Output> {
    #[expect(clippy::disallowed_methods, reason = "the oracle is found on PATH")]
    let mut command = std::process::Command::new("veritysetup");
    command.args(arguments).output().ok()
}

fn image(blocks: usize) -> (Vec<u8>, Vec<u8>, Verity) {
    let data: Vec<u8> = (0..blocks * BLOCK_SIZE).map(|i| (i / 4097) as u8).collect();
    let mut writer = HashingWriter::new(Vec::new(), 2).unwrap();
    writer.write_all(&data).unwrap();
    let (image, verity) = writer.finish().unwrap();
    (data, image, verity)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn veritysetup_accepts_and_would_write_the_same() {
    if veritysetup(&["--version"]).is_none() {
        cos_testkit::skip(
            "veritysetup_accepts_and_would_write_the_same",
            "no veritysetup",
        );
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for blocks in [1, 2, 128, 129, 128 * 128 + 1] {
        let (data, image, verity) = image(blocks);
        let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
        fs_err::write(&ours, &image).unwrap();
        fs_err::write(&theirs, &data).unwrap();
        let offset = format!("--hash-offset={}", verity.hash_offset);
        let root = verity.root_hash.to_string();

        let checked = veritysetup(&["verify", &offset, path(&ours), path(&ours), &root]).unwrap();
        assert!(checked.status.success(), "{blocks} blocks: {checked:?}");

        let salt = format!("--salt={}", hex::encode(SALT));
        let blocks_option = format!("--data-blocks={blocks}");
        let uuid = "--uuid=00000000-0000-0000-0000-000000000001";
        let arguments = [
            "format",
            uuid,
            &salt,
            &offset,
            &blocks_option,
            "--hash=sha256",
            path(&theirs),
            path(&theirs),
        ];
        let made = veritysetup(&arguments).unwrap();
        assert!(made.status.success(), "{blocks} blocks: {made:?}");
        assert!(String::from_utf8(made.stdout).unwrap().contains(&root));
        let mut expected = fs_err::read(&theirs).unwrap();
        let at = verity.hash_offset as usize;
        // The UUID is the only thing that may differ.
        expected[at + 16..at + 32].copy_from_slice(&image[at + 16..at + 32]);
        assert!(expected == image, "{blocks} blocks: bytes differ");
    }
}

#[test]
fn veritysetup_accepts_a_sidecar_and_refuses_a_changed_byte() {
    if veritysetup(&["--version"]).is_none() {
        let name = "veritysetup_accepts_a_sidecar_and_refuses_a_changed_byte";
        cos_testkit::skip(name, "no veritysetup");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (image, sidecar) = (dir.path().join("root.img"), dir.path().join("root.verity"));
    let mut data = vec![7; 200 * BLOCK_SIZE];
    let mut writer = HashingWriter::new(Vec::new(), 1).unwrap();
    writer.write_all(&data).unwrap();
    let mut tree = Vec::new();
    let (_, verity) = writer.finish_detached(&mut tree).unwrap();
    fs_err::write(&sidecar, tree).unwrap();
    let root = verity.root_hash.to_string();
    for (change, accepted) in [(0, true), (1, false)] {
        data[150 * BLOCK_SIZE] ^= change;
        fs_err::write(&image, &data).unwrap();
        let checked = veritysetup(&["verify", path(&image), path(&sidecar), &root]).unwrap();
        assert_eq!(checked.status.success(), accepted, "{checked:?}");
    }
}
