use super::*;
use crate::scratch::Scratch;
use fs_err::os::unix::fs::symlink;

const ED25519: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5Wq6tLQx4bqKyQm1m5E3m2F2b7Q1s0b1yq2Vw8Zk4H";
const OTHER: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK5Wq6tLQx4bqKyQm1m5E3m2F2b7Q1s0b1yq2Vw8Zk4H";
const FILE: &str = "home/me/.ssh/authorized_keys";

/// A root where the user `me` is who runs this.
fn scratch() -> Scratch {
    let s = Scratch::new();
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    s.write(
        "etc/passwd",
        &format!("me:x:{uid}:{gid}::/home/me:/bin/sh\n"),
    );
    fs_err::create_dir_all(s.temp.path().join("home/me")).unwrap();
    s
}

fn add(s: &Scratch, keys: &[&str]) -> Result<usize, AccountsError> {
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    add_authorized_keys(&s.root, "me", &keys)
}

fn mode(s: &Scratch, path: &str) -> u32 {
    s.root.status(Path::new(path)).unwrap().unwrap().mode
}

#[test]
fn a_key_is_added_once() {
    let s = scratch();
    let commented = format!("{ED25519} me@home");
    assert_eq!(add(&s, &[&commented, "", "# note", ED25519]).unwrap(), 1);
    assert_eq!(s.text(FILE), format!("{commented}\n"));
    assert_eq!((mode(&s, "/home/me/.ssh"), mode(&s, FILE)), (0o700, 0o600));
    let optioned = format!("no-pty {ED25519}");
    assert_eq!(add(&s, &[&optioned]).unwrap(), 0);
    s.write(FILE, &format!("# mine\n#{OTHER}\n{ED25519}"));
    assert_eq!(add(&s, &[OTHER, ED25519]).unwrap(), 1);
    assert_eq!(
        s.text(FILE),
        format!("# mine\n#{OTHER}\n{ED25519}\n{OTHER}\n")
    );
    assert_eq!(add(&s, &[]).unwrap(), 0);
}

#[test]
fn a_file_that_sshd_would_not_read_is_put_right() {
    use std::os::unix::fs::PermissionsExt as _;
    let s = scratch();
    add(&s, &[ED25519]).unwrap();
    let open = std::fs::Permissions::from_mode(0o666);
    fs_err::set_permissions(s.temp.path().join(FILE), open).unwrap();
    assert_eq!(add(&s, &[ED25519]).unwrap(), 0);
    assert_eq!(mode(&s, FILE), 0o600);
    assert_eq!(s.text(FILE), format!("{ED25519}\n"));
}

#[test]
fn one_bad_line_adds_nothing() {
    let s = scratch();
    let injected = format!("{ED25519}\n{OTHER}");
    for bad in ["ssh-rsa AAAA", "github:me", injected.as_str()] {
        add(&s, &[OTHER, bad]).unwrap_err();
    }
    assert!(!s.exists("/home/me/.ssh"));
}

#[test]
fn links_of_the_user_to_the_user_are_followed_inside_the_root() {
    let s = scratch();
    let top = s.temp.path();
    fs_err::create_dir_all(top.join("home/me/dotfiles/ssh")).unwrap();
    symlink("/home/me/dotfiles/ssh", top.join("home/me/.ssh")).unwrap();
    s.write("home/me/dotfiles/keys", "# keys\n");
    symlink("../keys", top.join("home/me/dotfiles/ssh/authorized_keys")).unwrap();
    assert_eq!(add(&s, &[ED25519]).unwrap(), 1);
    assert_eq!(
        s.text("home/me/dotfiles/keys"),
        format!("# keys\n{ED25519}\n")
    );
}

#[test]
fn links_to_nothing_and_other_things_are_refused() {
    let s = scratch();
    let ssh = s.temp.path().join("home/me/.ssh");
    symlink("/srv/nowhere", &ssh).unwrap();
    assert!(matches!(
        add(&s, &[ED25519]),
        Err(AccountsError::Refused { .. })
    ));
    fs_err::remove_file(&ssh).unwrap();
    s.write("home/me/.ssh", "a file");
    assert!(matches!(
        add(&s, &[ED25519]),
        Err(AccountsError::Refused { .. })
    ));
    fs_err::remove_file(&ssh).unwrap();
    fs_err::create_dir(&ssh).unwrap();
    symlink("/srv/nowhere/keys", ssh.join("authorized_keys")).unwrap();
    assert!(matches!(
        add(&s, &[ED25519]),
        Err(AccountsError::Refused { .. })
    ));
    assert!(!s.exists("/srv"));
}

#[test]
fn without_user_or_home_it_says_so() {
    let s = scratch();
    let keys = [ED25519.to_owned()];
    let error = add_authorized_keys(&s.root, "nobody", &keys).unwrap_err();
    assert!(matches!(error, AccountsError::NoUser { .. }));
    fs_err::remove_dir(s.temp.path().join("home/me")).unwrap();
    let error = add(&s, &[ED25519]).unwrap_err().to_string();
    assert!(
        error.contains("/home/me") && error.contains("not there"),
        "{error}"
    );
}
