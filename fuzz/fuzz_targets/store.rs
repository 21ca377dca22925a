//! COS_STATE as a power cut, or somebody else, may leave it: what boots, what was tried, what failed.
#![no_main]

use cos_boot::SnapshotId;
use cos_store::Store;
use fs_err as fs;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

const ID: &str = "ID";

/// The files by their places in the input.
const FILES: [&str; 7] = [
    "cos/boot.env",
    "cos/attempt.env",
    "cos/failures/ID.json",
    "cos/snapshots/ID/snapshot.yaml",
    "cos/snapshots/ID/root.img",
    "cos/staged",
    "cos/version-floor",
];

/// A block as GRUB has it, around the fuzzer's lines.
fn block(lines: &[u8]) -> Vec<u8> {
    let mut block = [b"# GRUB Environment Block\n", lines].concat();
    block.resize(1024, b'#');
    block
}

fuzz_target!(|data: &[u8]| {
    let parts: [&[u8]; FILES.len()] = cos_fuzz::parts(data);
    let id: SnapshotId = "0123456789ab".parse().unwrap();
    let temp = TempDir::new_in("/dev/shm").unwrap();
    for (name, bytes) in FILES.iter().zip(parts) {
        let path = temp.path().join(name.replace(ID, id.as_str()));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let bytes = if name.ends_with(".env") {
            block(bytes)
        } else {
            bytes.to_vec()
        };
        fs::write(path, bytes).unwrap();
    }
    let store = Store::new(temp.path());
    match store.state() {
        Ok(state) => {
            let attempts = store.attempts(&state);
            // What a machine says about itself, it can say again.
            let _ = state.clone().with_attempts(&attempts);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Some(failure) = store.failure(&id) {
        store.note_failure(&id, &failure).unwrap();
        assert!(store.failure(&id).unwrap().journal.len() <= 60);
    }
    let _ = store.staged();
    if let Ok(Some(floor)) = store.floor() {
        store.set_floor(&floor).unwrap();
        assert_eq!(store.floor().unwrap(), Some(floor));
    }
    if let Err(error) = store.is_whole(&id) {
        assert!(!error.to_string().is_empty());
    }
    for installed in store.list().unwrap() {
        store.bytes(&installed.id);
    }
    if let Err(error) = store.metadata(&id) {
        assert!(!error.to_string().is_empty());
    }
});
