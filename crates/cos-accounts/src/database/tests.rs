use crate::scratch::Scratch;
use crate::{AccountsError, Password, Secret};
use insta::assert_snapshot;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

fn hash(value: &str) -> Password {
    Password::Hash(Secret::new(value))
}

#[test]
fn nothing_to_save_writes_nothing() {
    let s = Scratch::new();
    let path = s.temp.path().join("etc/passwd");
    let before = fs_err::metadata(&path).unwrap().ino();
    s.edit(|database| {
        database
            .set_password("alice", &hash("$6$a$b"), false)
            .unwrap();
        assert!(!database.changed());
    });
    assert_eq!(fs_err::metadata(&path).unwrap().ino(), before);
    assert_eq!(s.changes(), "");
}

#[test]
fn a_password_changes_one_line_and_keeps_its_aging() {
    let s = Scratch::new();
    let path = s.temp.path().join("etc/shadow");
    let mode = std::fs::Permissions::from_mode(0o604);
    fs_err::set_permissions(&path, mode).unwrap();
    s.edit(|database| {
        database
            .set_password("alice", &hash("$y$j9T$a$b"), false)
            .unwrap();
    });
    assert_snapshot!(s.changes(), @r"
    shadow -alice:$6$a$b:19000:1:90:7:5:20000:
    shadow +alice:$y$j9T$a$b:20500:1:90:7:5:20000:
    ");
    assert_eq!(fs_err::metadata(&path).unwrap().mode() & 0o777, 0o604);
    s.edit(|database| {
        database
            .set_password("alice", &hash("$y$j9T$a$b"), true)
            .unwrap();
    });
    assert!(s.text("etc/shadow").contains("alice:$y$j9T$a$b:0:1:90"));
    // No line yet, and in the eyes of everybody until now.
    s.write("etc/passwd", "bob:$1$a$b:1001:1001::/home/bob:/bin/sh\n");
    s.edit(|database| {
        database
            .set_password("bob", &hash("$6$c$d"), false)
            .unwrap();
    });
    assert_eq!(s.text("etc/passwd"), "bob:x:1001:1001::/home/bob:/bin/sh\n");
    assert!(
        s.text("etc/shadow")
            .ends_with("bob:$6$c$d:20500:0:99999:7:::\n")
    );
}

#[test]
fn errors_do_not_tell_passwords() {
    let s = Scratch::new();
    s.edit(|database| {
        let secret = Password::HashOrPlain(Secret::new("hunter2"));
        let error = database.set_password("carol", &secret, false).unwrap_err();
        assert!(matches!(error, AccountsError::NoUser { .. }));
        let broken = Password::Plain(Secret::new("hunter2\n"));
        let error = database.set_password("alice", &broken, false).unwrap_err();
        assert!(!format!("{error} {error:?} {broken:?}").contains("hunter2"));
        assert!(!format!("{database:?}").contains("$6$"));
    });
    assert_eq!(s.changes(), "");
}

#[test]
fn a_missing_shadow_is_made_for_few() {
    let s = Scratch::new();
    fs_err::remove_file(s.temp.path().join("etc/shadow")).unwrap();
    fs_err::write(s.temp.path().join("etc/group"), "root:x:0:\n").unwrap();
    s.edit(|database| {
        database.set_password("alice", &hash("*"), false).unwrap();
    });
    let found = fs_err::metadata(s.temp.path().join("etc/shadow")).unwrap();
    assert_eq!(found.mode() & 0o7777, 0o600);
    assert_eq!(s.text("etc/shadow"), "alice:*:20500:0:99999:7:::\n");
}

#[test]
fn a_user_never_refers_to_a_line_that_is_not_there() {
    let s = Scratch::new();
    s.edit(|database| {
        assert!(database.passwd.remove("alice") && database.shadow.remove("alice"));
        let during = database.shadow.bytes_with_removed();
        assert!(during.windows(12).any(|text| text == b"alice:$6$a$b"));
    });
    assert_snapshot!(s.changes(), @r"
    passwd -alice:x:1000:1000:Alice,,,:/home/alice:/bin/sh
    shadow -alice:$6$a$b:19000:1:90:7:5:20000:
    ");
}
