//! Users made and changed, judged by the programs that everybody makes and changes users with.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests fail by panicking; the oracles are looked up along the tester's PATH"
)]
#![allow(missing_docs, unreachable_pub, reason = "a test")]

mod support;

use cos_accounts::{Database, Entity, GroupEntity, Password, Secret, UserSpec};
use fs_err as fs;
use std::path::Path;
use std::process::Command;
use support::{HostRoot, can_mount, can_run, chown, set_mode};

const HASH: &str = "$6$saltsaltsaltsalt$abc";

fn spec(name: &str) -> UserSpec {
    UserSpec {
        name: name.into(),
        ..UserSpec::default()
    }
}

/// Does the same to two roots, once with the program and once here.
fn compare(test: &str, commands: &[(&str, &[&str])], specs: &[UserSpec]) {
    let programs: Vec<&str> = commands.iter().map(|(program, _)| *program).collect();
    if !can_run(test, &programs) || !can_mount(test) {
        return;
    }
    let (theirs, ours) = (HostRoot::new(), HostRoot::new());
    for (program, arguments) in commands {
        theirs.run(program, arguments);
    }
    for spec in specs {
        let outcome = ours.ensure(spec);
        assert_eq!(outcome.warnings, Vec::<String>::new());
    }
    assert_eq!(ours.state(), theirs.state());
}

#[test]
fn new_users_are_as_useradd_makes_them() {
    let commands: [(&str, &[&str]); 3] = [
        ("useradd", &["-m", "bob"]),
        (
            "useradd",
            &[
                "-m",
                "-c",
                "Carol, of the house",
                "-s",
                "/bin/bash",
                "-u",
                "1500",
                "-G",
                "users,adm",
                "-p",
                HASH,
                "-e",
                "2030-02-28",
                "-f",
                "10",
                "carol",
            ],
        ),
        (
            "useradd",
            &["-m", "-g", "users", "-d", "/home/deep/dave", "dave"],
        ),
    ];
    let specs = [
        spec("bob"),
        UserSpec {
            gecos: Some("Carol, of the house".into()),
            shell: Some("/bin/bash".into()),
            uid: Some(1500),
            groups: vec!["users".into(), "adm".into()],
            password: Some(Password::HashOrPlain(Secret::new(HASH))),
            expiredate: Some("2030-02-28".into()),
            inactive: Some(10),
            ..spec("carol")
        },
        UserSpec {
            primary_group: Some("users".into()),
            homedir: Some("/home/deep/dave".into()),
            ..spec("dave")
        },
    ];
    compare("new_users_are_as_useradd_makes_them", &commands, &specs);
}

#[test]
fn services_are_as_useradd_makes_them() {
    let commands: [(&str, &[&str]); 3] = [
        ("useradd", &["-r", "first"]),
        (
            "useradd",
            &["-r", "-N", "-s", "/usr/sbin/nologin", "second"],
        ),
        ("useradd", &["-r", "-m", "-d", "/home/third", "third"]),
    ];
    let system = |name| UserSpec {
        system: true,
        ..spec(name)
    };
    let specs = [
        system("first"),
        UserSpec {
            no_user_group: true,
            shell: Some("/usr/sbin/nologin".into()),
            ..system("second")
        },
        UserSpec {
            homedir: Some("/home/third".into()),
            ..system("third")
        },
    ];
    compare("services_are_as_useradd_makes_them", &commands, &specs);
}

const MOVE: [&str; 9] = [
    "-u",
    "1777",
    "-g",
    "users",
    "-d",
    "/home/else",
    "-e",
    "2031-12-31",
    "bob",
];

#[test]
fn changed_users_are_as_usermod_makes_them() {
    let commands: [(&str, &[&str]); 4] = [
        ("useradd", &["-M", "-p", HASH, "bob"]),
        (
            "usermod",
            &[
                "-c",
                "Bob",
                "-s",
                "/bin/bash",
                "-a",
                "-G",
                "users",
                "-L",
                "bob",
            ],
        ),
        ("usermod", &MOVE),
        ("usermod", &["-U", "bob"]),
    ];
    let bob = UserSpec {
        no_create_home: true,
        ..spec("bob")
    };
    let specs = [
        UserSpec {
            password: Some(Password::Hash(Secret::new(HASH))),
            ..bob.clone()
        },
        UserSpec {
            gecos: Some("Bob".into()),
            shell: Some("/bin/bash".into()),
            groups: vec!["users".into()],
            lock_passwd: Some(true),
            ..bob.clone()
        },
        UserSpec {
            uid: Some(1777),
            primary_group: Some("users".into()),
            homedir: Some("/home/else".into()),
            expiredate: Some("2031-12-31".into()),
            ..bob.clone()
        },
        UserSpec {
            lock_passwd: Some(false),
            ..bob
        },
    ];
    compare("changed_users_are_as_usermod_makes_them", &commands, &specs);
}

#[test]
fn groups_and_expired_passwords_are_as_the_programs_make_them() {
    if !can_run(
        "groups_and_expired_passwords",
        &["useradd", "groupadd", "chage"],
    ) || !can_mount("groups_and_expired_passwords")
    {
        return;
    }
    let (theirs, ours) = (HostRoot::new(), HostRoot::new());
    theirs.run("useradd", &["-M", "-N", "bob"]);
    theirs.run("groupadd", &["staff-a"]);
    theirs.run("groupadd", &["-g", "4242", "staff-b"]);
    theirs.run("usermod", &["-a", "-G", "staff-b", "-p", HASH, "bob"]);
    theirs.run("chage", &["-d", "0", "bob"]);
    let group = |name: &str, gid, users| {
        Entity::Group(GroupEntity {
            group_name: name.into(),
            gid,
            users,
            password: None,
        })
    };
    ours.ensure(&UserSpec {
        no_create_home: true,
        no_user_group: true,
        ..spec("bob")
    });
    ours.edit(|database| {
        database
            .ensure_entity(&group("staff-a", None, None), None)
            .unwrap();
        let second = group("staff-b", Some(4242), Some("bob".into()));
        database.ensure_entity(&second, None).unwrap();
        let password = Password::Hash(Secret::new(HASH));
        database.set_password("bob", &password, true).unwrap();
    });
    assert_eq!(ours.state(), theirs.state());
}

#[test]
fn pwck_and_grpck_find_nothing_wrong() {
    if !can_run("pwck_and_grpck_find_nothing_wrong", &["pwck", "grpck"]) {
        return;
    }
    let ours = HostRoot::new();
    let before = ours.complaints();
    for number in 0..20 {
        ours.ensure(&UserSpec {
            groups: vec!["users".into(), "adm".into()],
            system: number % 3 == 0,
            password: Some(Password::Hash(Secret::new("$y$j9T$abc$def"))),
            lock_passwd: (number % 2 == 0).then_some(true),
            ..spec(&format!("user{number}"))
        });
    }
    assert_eq!(ours.complaints(), before);
    let text = ours.text("etc/passwd").replace("user7:x:", "user7:x:x:");
    fs::write(ours.path("etc/passwd"), text).unwrap();
    assert_ne!(
        ours.complaints(),
        before,
        "the oracle must notice something"
    );
}

#[test]
fn hashes_verify_under_the_c_library() {
    if !can_run("hashes_verify_under_the_c_library", &["perl"]) {
        return;
    }
    for (method, start) in [("SHA512", "$6$"), ("YESCRYPT", "$y$")] {
        let ours = HostRoot::new();
        fs::write(
            ours.path("etc/login.defs"),
            format!("ENCRYPT_METHOD {method}\n"),
        )
        .unwrap();
        for password in ["hunter2", "Grüße, \"1:2\" $y$", &"long".repeat(30)] {
            let plain = Password::Plain(Secret::new(password));
            ours.ensure(&UserSpec {
                password: Some(plain),
                no_create_home: true,
                ..spec("bob")
            });
            let shadow = ours.text("etc/shadow");
            let line = shadow
                .lines()
                .find(|line| line.starts_with("bob:"))
                .unwrap();
            let hash = line.split(':').nth(1).unwrap();
            assert!(hash.starts_with(start), "{hash}");
            assert_eq!(crypt("perl", password, hash), hash);
            assert_ne!(crypt("perl", "hunter3", hash), hash);
            if Command::new("python3")
                .args(["-c", "import crypt"])
                .status()
                .is_ok_and(|it| it.success())
            {
                assert_eq!(crypt("python3", password, hash), hash);
            }
        }
    }
}

/// `crypt(3)`, as a language that calls the C library has it.
fn crypt(language: &str, password: &str, hash: &str) -> String {
    let program = match language {
        "perl" => ["-e", "print crypt($ARGV[0], $ARGV[1])"],
        _ => [
            "-c",
            "import sys, crypt; sys.stdout.write(crypt.crypt(sys.argv[1], sys.argv[2]))",
        ],
    };
    let output = Command::new(language)
        .args(program)
        .args([password, hash])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn other_programs_see_the_lock() {
    const TRY: &str =
        "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)";
    if !can_run("other_programs_see_the_lock", &["python3"]) {
        return;
    }
    let ours = HostRoot::new();
    let path = ours.path("etc/.pwd.lock");
    let free = || {
        let output = Command::new("python3")
            .args(["-c", TRY])
            .arg(&path)
            .output()
            .unwrap();
        output.status.success()
    };
    let database = Database::open(&ours.root).unwrap();
    assert!(!free());
    drop(database);
    assert!(free());
}

#[test]
fn a_home_that_survived_says_who_lived_there() {
    if !can_run("a_home_that_survived_says_who_lived_there", &[]) {
        return;
    }
    let ours = HostRoot::new();
    let home = ours.path("home/bob");
    fs::create_dir(&home).unwrap();
    chown(&home, 1044, 1055);
    let outcome = ours.ensure(&spec("bob"));
    assert_eq!(
        (outcome.uid, outcome.gid, outcome.home_created),
        (1044, 1055, false)
    );
    assert!(outcome.warnings.is_empty() && !home.join(".profile").exists());
    // Taken by now; and root's is nobody's.
    fs::create_dir(ours.path("home/carol")).unwrap();
    chown(&ours.path("home/carol"), 1044, 1055);
    fs::create_dir(ours.path("home/dave")).unwrap();
    let carol = ours.ensure(&spec("carol"));
    assert_eq!((carol.uid, carol.warnings.len()), (1045, 1));
    let dave = ours.ensure(&spec("dave"));
    assert_eq!((dave.uid, dave.warnings.len()), (1046, 1));
}

#[test]
fn homes_stay_inside_the_root() {
    if !can_run("homes_stay_inside_the_root", &[]) {
        return;
    }
    let ours = HostRoot::new();
    fs::remove_dir(ours.path("home")).unwrap();
    fs_err::os::unix::fs::symlink("/../../../../var/home", ours.path("home")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        ours.path("etc/skel/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    set_mode(&ours.path("etc/skel/.profile"), 0o4755);
    let outcome = ours.ensure(&spec("bob"));
    assert!(outcome.home_created);
    assert!(
        outcome.warnings[0].contains("/etc/skel/pipe"),
        "{:?}",
        outcome.warnings
    );
    let file = outcome.home.join(".profile");
    let status = ours.root.status(&file).unwrap().unwrap();
    assert_eq!((status.owner, status.mode), (outcome.uid, 0o755));
    assert!(ours.path("var/home/bob/.config/deep/file").exists());
    let link = fs::read_link(ours.path("var/home/bob/.link")).unwrap();
    assert_eq!(link, Path::new("/etc/shadow"));
    // Gone, it is made again for a person, and for nobody else.
    fs::remove_dir_all(ours.path("var/home/bob")).unwrap();
    assert!(ours.ensure(&spec("bob")).home_created);
    assert!(!ours.ensure(&spec("nobody")).home_created);
}

#[test]
fn half_a_home_is_still_the_users() {
    if !can_run("half_a_home_is_still_the_users", &[]) {
        return;
    }
    let ours = HostRoot::new();
    let file = fs::File::create(ours.path("etc/skel/huge")).unwrap();
    file.set_len(65 << 20).unwrap();
    ours.edit(|database| {
        let error = database.ensure_user(&spec("bob")).unwrap_err().to_string();
        assert!(
            error.contains("/etc/skel") && error.contains("64 MiB"),
            "{error}"
        );
    });
    let again = ours.ensure(&spec("bob"));
    assert!(!again.created && !again.home_created && again.warnings.is_empty());
    let status = ours.root.status(&again.home).unwrap().unwrap();
    assert_eq!((status.owner, status.mode), (again.uid, 0o755));
}
