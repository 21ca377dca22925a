//! The user database of an image, and the keys of its users.
#![no_main]

use cos_accounts::{Database, UserSpec, add_authorized_keys};
use cos_sys::root_path::Root;
use fs_err as fs;
use libfuzzer_sys::fuzz_target;
use std::path::Path;
use tempfile::TempDir;

/// The files by their places in the input; the last part is keys to be added.
const FILES: [&str; 7] = [
    "etc/passwd",
    "etc/shadow",
    "etc/group",
    "etc/gshadow",
    "etc/login.defs",
    "etc/default/useradd",
    "home/a/.ssh/authorized_keys",
];

fn root(parts: &[&[u8]]) -> TempDir {
    // In memory: what is written is synced.
    let temp = TempDir::new_in("/dev/shm").unwrap();
    for (name, bytes) in FILES.iter().zip(parts) {
        let path = temp.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    temp
}

/// Lines of others stay as they are.
fn assert_kept(path: &Path, before: &[u8], names: &[&str]) {
    let after = fs::read(path).unwrap();
    let mut lines = after.split(|&byte| byte == b'\n');
    for line in before.split(|&byte| byte == b'\n') {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        if !line.is_empty() && !names.iter().any(|ours| ours.as_bytes() == name) {
            assert!(lines.any(|kept| kept == line));
        }
    }
}

fn ensure(root: &Root, spec: &UserSpec) {
    let mut database = Database::open(root).unwrap();
    let Ok(outcome) = database.ensure_user(spec) else {
        return;
    };
    database.save().unwrap();
    drop(database);
    // A second time there is nothing to do.
    let mut database = Database::open(root).unwrap();
    let again = database.ensure_user(spec).unwrap();
    assert_eq!((again.uid, again.gid), (outcome.uid, outcome.gid));
    assert!(!again.created && !database.changed());
}

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = data.split_first() else {
        return;
    };
    let parts: [&[u8]; 8] = cos_fuzz::parts(data);
    let temp = root(&parts);
    let root = Root::open(temp.path()).unwrap();
    let spec = UserSpec {
        name: "a".into(),
        groups: vec!["wheel".into()],
        system: form & 1 != 0,
        no_user_group: form & 2 != 0,
        ..UserSpec::default()
    };
    ensure(&root, &spec);
    // `a` is a user and maybe a group; members come to `wheel`.
    for (name, bytes) in FILES.iter().zip(&parts).take(4) {
        assert_kept(&temp.path().join(name), bytes, &["a", "wheel"]);
    }
    let keys = String::from_utf8_lossy(parts[7]);
    let keys: Vec<String> = keys.lines().map(str::to_owned).collect();
    if add_authorized_keys(&root, "a", &keys).is_ok() {
        assert_eq!(add_authorized_keys(&root, "a", &keys).unwrap(), 0);
    }
});
