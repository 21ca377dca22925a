use super::*;
use crate::scratch::Scratch;
use crate::secret::Secret;
use insta::assert_snapshot;

fn spec(name: &str) -> UserSpec {
    UserSpec {
        name: name.into(),
        no_create_home: true,
        ..UserSpec::default()
    }
}

fn ensure(s: &Scratch, spec: &UserSpec) -> UserOutcome {
    s.edit(|database| database.ensure_user(spec).unwrap())
}

fn refused(s: &Scratch, spec: &UserSpec) -> String {
    s.edit(|database| database.ensure_user(spec).unwrap_err().to_string())
}

#[test]
fn a_new_user_gets_what_is_usual() {
    let s = Scratch::new();
    let outcome = ensure(&s, &spec("bob"));
    assert!(outcome.created && outcome.warnings.is_empty());
    assert_snapshot!(s.changes(), @r"
    passwd +bob:x:1001:1001::/home/bob:/bin/sh
    shadow +bob:!:20500:0:99999:7:::
    group +bob:x:1001:
    gshadow +bob:!::
    ");
    assert!(!ensure(&s, &spec("bob")).created);
}

#[test]
fn a_new_user_gets_what_is_stated() {
    let s = Scratch::new();
    s.write(
        "etc/default/useradd",
        "SHELL=/bin/zsh\nHOME=/var/home/\nINACTIVE=3\n",
    );
    let outcome = ensure(
        &s,
        &UserSpec {
            password: Some(Password::HashOrPlain(Secret::new("$y$j9T$c$d"))),
            gecos: Some("Bob, of the house".into()),
            primary_group: Some("100".into()),
            groups: vec!["sudo".into(), "docker".into(), "sudo".into()],
            lock_passwd: Some(true),
            uid: Some(1500),
            expiredate: Some("2026-03-01".into()),
            ..spec("bob")
        },
    );
    assert_eq!((outcome.uid, outcome.gid), (1500, 100));
    assert_snapshot!(outcome.warnings.join("\n"), @r#"there is no group "docker" for user "bob""#);
    assert_snapshot!(s.changes(), @r"
    passwd +bob:x:1500:100:Bob, of the house:/var/home/bob:/bin/zsh
    shadow +bob:!$y$j9T$c$d:20500:0:99999:7:3:20513:
    group -sudo:x:27:root
    group +sudo:x:27:root,bob
    gshadow -sudo:*::root
    gshadow +sudo:*::root,bob
    ");
}

#[test]
fn services_get_ids_from_above_and_no_home() {
    let s = Scratch::new();
    let outcome = ensure(
        &s,
        &UserSpec {
            system: true,
            no_create_home: false,
            ..spec("daemon")
        },
    );
    assert!(!outcome.home_created && !s.exists("/home/daemon"));
    ensure(
        &s,
        &UserSpec {
            system: true,
            no_user_group: true,
            ..spec("other")
        },
    );
    assert_snapshot!(s.changes(), @r"
    passwd +daemon:x:999:999::/home/daemon:/bin/sh
    passwd +other:x:998:100::/home/other:/bin/sh
    shadow +daemon:!:20500::::::
    shadow +other:!:20500::::::
    group +daemon:x:999:
    gshadow +daemon:!::
    ");
}

#[test]
fn an_existing_user_gets_all_that_is_stated_and_keeps_the_rest() {
    let s = Scratch::new();
    ensure(
        &s,
        &UserSpec {
            shell: Some("/bin/zsh".into()),
            lock_passwd: Some(true),
            groups: vec!["users".into()],
            inactive: Some(-1),
            ..spec("alice")
        },
    );
    assert_snapshot!(s.changes(), @r"
    passwd -alice:x:1000:1000:Alice,,,:/home/alice:/bin/sh
    passwd +alice:x:1000:1000:Alice,,,:/home/alice:/bin/zsh
    shadow -alice:$6$a$b:19000:1:90:7:5:20000:
    shadow +alice:!$6$a$b:20500:1:90:7::20000:
    group -users:x:100:
    group +users:x:100:alice
    gshadow -users:*::
    gshadow +users:*::alice
    ");
    ensure(
        &s,
        &UserSpec {
            lock_passwd: Some(false),
            gecos: Some(String::new()),
            homedir: Some("/srv/alice".into()),
            primary_group: Some("users".into()),
            uid: Some(1234),
            ..spec("alice")
        },
    );
    assert!(
        s.text("etc/passwd")
            .contains("alice:x:1234:100::/srv/alice:/bin/zsh")
    );
    assert!(s.text("etc/shadow").contains("alice:$6$a$b:20500:1:90"));
}

#[test]
fn the_same_again_changes_nothing() {
    let s = Scratch::new();
    let spec = UserSpec {
        password: Some(Password::Plain(Secret::new("hunter2"))),
        lock_passwd: Some(true),
        groups: vec!["sudo".into()],
        ..spec("bob")
    };
    ensure(&s, &spec);
    let first = s.changes();
    assert!(!first.contains("hunter2") && first.contains("bob:!$6$"));
    s.edit(|database| {
        database.today = "20999".into();
        database.ensure_user(&spec).unwrap();
        assert!(!database.changed());
    });
    assert_eq!(s.changes(), first);
}

#[test]
fn no_account_is_opened_by_unlocking_it() {
    let s = Scratch::new();
    let unlock = |name: &str| UserSpec {
        lock_passwd: Some(false),
        ..spec(name)
    };
    ensure(&s, &unlock("bob"));
    ensure(&s, &unlock("root"));
    ensure(&s, &unlock("nobody"));
    let shadow = s.text("etc/shadow");
    assert!(shadow.contains("bob:!:20500") && shadow.contains("root:*:19000"));
    assert!(!shadow.contains("nobody"));
}

#[test]
fn leftovers_of_another_user_say_nothing() {
    let s = Scratch::new();
    s.write("etc/shadow", "bob:$6$old$one:1:::::1:\n");
    ensure(&s, &spec("bob"));
    assert_eq!(s.text("etc/shadow"), "bob:!:20500:0:99999:7:::\n");
}

#[test]
fn what_cannot_be_is_refused_and_nothing_changes() {
    let s = Scratch::new();
    let taken = UserSpec {
        uid: Some(1000),
        ..spec("bob")
    };
    assert_snapshot!(refused(&s, &taken), @r#"uid 1000 of "bob" is already that of "alice""#);
    let no_group = UserSpec {
        primary_group: Some("staff".into()),
        ..spec("bob")
    };
    assert_snapshot!(refused(&s, &no_group), @r#"there is no group "staff""#);
    let injected = UserSpec {
        gecos: Some("x\nroot2::0:0::/:/bin/sh".into()),
        ..spec("bob")
    };
    assert_snapshot!(refused(&s, &injected), @r#"gecos of "bob" must not contain ':' or line breaks"#);
    let specs = [
        UserSpec {
            shell: Some("bash".into()),
            ..spec("bob")
        },
        UserSpec {
            homedir: Some(String::new()),
            ..spec("bob")
        },
        UserSpec {
            groups: vec!["a:b".into()],
            ..spec("bob")
        },
        UserSpec {
            uid: Some(u32::MAX),
            ..spec("bob")
        },
        UserSpec {
            expiredate: Some("2026-02-29".into()),
            ..spec("bob")
        },
        UserSpec {
            expiredate: Some("soon".into()),
            ..spec("bob")
        },
        UserSpec {
            password: Some(Password::Hash(Secret::new("plain"))),
            ..spec("bob")
        },
        spec("-rf"),
        spec("a:b"),
    ];
    for spec in specs {
        refused(&s, &spec);
    }
}

#[test]
fn what_the_image_lacks_is_said() {
    let s = Scratch::new();
    s.write("etc/login.defs", "UID_MIN 1000\nUID_MAX 1000\n");
    assert_snapshot!(refused(&s, &spec("bob")), @"no uid is free from 1000 to 1000");
    s.write("etc/login.defs", "");
    s.write(
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\nbob:x:one:1::/:\n",
    );
    let error = s.edit(|database| database.ensure_user(&spec("bob")).unwrap_err());
    assert_snapshot!(error, @r#"/etc/passwd: line 2: the uid of "bob" is no number"#);
    assert!(error.hint().is_some());
}

#[test]
fn dates_are_days_since_1970() {
    let days = |date| expire_days("x", date).ok();
    // From `date -d DATE +%s`, divided by 86400.
    for (date, expected) in [
        ("1970-01-01", "0"),
        ("2000-02-29", "11016"),
        ("2024-12-31", "20088"),
        ("", ""),
        ("123", "123"),
    ] {
        assert_eq!(days(date).as_deref(), Some(expected), "{date}");
    }
    for date in [
        "2100-02-29",
        "2024-13-01",
        "2024-04-31",
        "2024-00-10",
        "1969-12-31",
        "1-1",
        "2024-1-1-1",
    ] {
        assert_eq!(days(date), None, "{date}");
    }
}
