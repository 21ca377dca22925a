//! Keys for users who lay traps in their own homes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests fail by panicking"
)]
#![allow(missing_docs, unreachable_pub, dead_code, reason = "a test")]

mod support;

use cos_accounts::{AccountsError, UserSpec, add_authorized_keys};
use fs_err as fs;
use fs_err::os::unix::fs::symlink;
use std::os::unix::fs::MetadataExt as _;
use support::{HostRoot, can_run, chown, set_mode};

/// A key pair of `ssh-keygen` of which nobody has the secret half.
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5Wq6tLQx4bqKyQm1m5E3m2F2b7Q1s0b1yq2Vw8Zk4H";

/// A root with a user, whose uid comes back.
fn scratch() -> (HostRoot, u32) {
    let ours = HostRoot::new();
    let outcome = ours.ensure(&UserSpec {
        name: "bob".into(),
        ..UserSpec::default()
    });
    (ours, outcome.uid)
}

fn add(ours: &HostRoot) -> Result<usize, AccountsError> {
    add_authorized_keys(&ours.root, "bob", &[KEY.to_owned()])
}

fn refused(ours: &HostRoot) {
    let result = add(ours);
    assert!(
        matches!(result, Err(AccountsError::Refused { .. })),
        "{result:?}"
    );
}

#[test]
fn the_files_are_the_users() {
    if !can_run("the_files_are_the_users", &[]) {
        return;
    }
    let (ours, uid) = scratch();
    assert_eq!(add(&ours).unwrap(), 1);
    for (path, mode) in [(".ssh", 0o700), (".ssh/authorized_keys", 0o600)] {
        let found = fs::metadata(ours.path("home/bob").join(path)).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o7777), (uid, mode));
    }
    assert_eq!(add(&ours).unwrap(), 0);
}

#[test]
fn what_root_made_by_mistake_becomes_the_users() {
    if !can_run("what_root_made_by_mistake_becomes_the_users", &[]) {
        return;
    }
    let (ours, uid) = scratch();
    let ssh = ours.path("home/bob/.ssh");
    fs::create_dir(&ssh).unwrap();
    let file = ssh.join("authorized_keys");
    fs::write(&file, "# by root\n").unwrap();
    set_mode(&file, 0o644);
    assert_eq!(add(&ours).unwrap(), 1);
    let found = fs::metadata(&file).unwrap();
    assert_eq!((found.uid(), found.mode() & 0o7777), (uid, 0o600));
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        format!("# by root\n{KEY}\n")
    );
}

#[test]
fn links_to_what_is_not_the_users_are_refused() {
    if !can_run("links_to_what_is_not_the_users_are_refused", &[]) {
        return;
    }
    let (ours, uid) = scratch();
    let before = ours.state();
    let ssh = ours.path("home/bob/.ssh");
    for target in ["/etc", "/etc/skel", "../../etc", "/home/bob/.ssh"] {
        symlink(target, &ssh).unwrap();
        let result = add(&ours);
        assert!(result.is_err(), "{target}: {result:?}");
        fs::remove_file(&ssh).unwrap();
    }
    assert_eq!(ours.state(), before);
    fs::create_dir(&ssh).unwrap();
    chown(&ssh, uid, uid);
    for target in [
        "/etc/shadow",
        "../../../etc/passwd",
        "/etc/nothing",
        "/dev/null",
    ] {
        let file = ssh.join("authorized_keys");
        symlink(target, &file).unwrap();
        refused(&ours);
        fs::remove_file(&file).unwrap();
    }
    assert!(!ours.path("etc/nothing").exists());
    let shadow = fs::metadata(ours.path("etc/shadow")).unwrap();
    assert_eq!(shadow.uid(), 0);
}

#[test]
fn what_belongs_to_others_is_refused() {
    if !can_run("what_belongs_to_others_is_refused", &[]) {
        return;
    }
    let (ours, uid) = scratch();
    let ssh = ours.path("home/bob/.ssh");
    fs::create_dir(&ssh).unwrap();
    chown(&ssh, uid + 1, uid);
    refused(&ours);
    chown(&ssh, uid, uid);
    // A secret of root's that got here: it is not to become readable.
    let file = ssh.join("authorized_keys");
    fs::write(&file, "secret\n").unwrap();
    set_mode(&file, 0o600);
    refused(&ours);
    fs::remove_file(&file).unwrap();
    chown(&ours.path("home/bob"), uid + 1, uid);
    refused(&ours);
    assert_eq!(fs::read_dir(&ssh).unwrap().count(), 0);
}
