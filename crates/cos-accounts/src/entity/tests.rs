use super::*;
use crate::scratch::Scratch;
use insta::assert_snapshot;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as ValueError, MapDeserializer};
use serde::forward_to_deserialize_any;

/// What a YAML parser makes of a plain scalar.
#[derive(Clone, Copy)]
enum Scalar {
    Text(&'static str),
    Number(i64),
}

impl IntoDeserializer<'_, ValueError> for Scalar {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Scalar {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self {
            Self::Text(text) => visitor.visit_str(text),
            Self::Number(number) => visitor.visit_i64(number),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Reads lines of `key: value` as YAML would.
fn parse(document: &'static str) -> Result<Entity, ValueError> {
    let pairs = document
        .lines()
        .filter_map(|line| line.trim().split_once(": "));
    let pairs = pairs.map(|(key, value)| {
        let quoted = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'));
        let number = value.parse().map_or(Scalar::Text(value), Scalar::Number);
        (key, quoted.map_or(number, Scalar::Text))
    });
    Entity::deserialize(MapDeserializer::new(pairs))
}

fn ensure(s: &Scratch, document: &'static str) {
    let entity = parse(document).unwrap();
    s.edit(|database| database.ensure_entity(&entity, None).unwrap());
}

#[test]
fn a_new_user_is_a_line_and_no_open_door() {
    let s = Scratch::new();
    ensure(
        &s,
        r#"kind: user
        username: bob
        password: x
        uid: -1
        gid: ""
        group: users
        info: Bob
        homedir: /home/bob
        shell: /bin/bash
        more: ignored"#,
    );
    ensure(&s, "kind: user\nusername: svc\nuid: \"7\"\ngid: 8");
    assert_snapshot!(s.changes(), @r"
    passwd +bob:x:1001:100:Bob:/home/bob:/bin/bash
    passwd +svc:x:7:8:::
    shadow +bob:!:20500:0:99999:7:::
    shadow +svc:!:20500:0:99999:7:::
    ");
    assert!(!s.exists("/home/bob"));
}

#[test]
fn only_stated_fields_change() {
    let s = Scratch::new();
    ensure(
        &s,
        "kind: user\nusername: alice\nshell: /bin/zsh\ngroup: sudo",
    );
    ensure(
        &s,
        "kind: shadow\nusername: alice\nlast_changed: now\nwarn: 14\nexpire: -1",
    );
    ensure(
        &s,
        "kind: group\ngroup_name: sudo\nusers: alice, root,,alice",
    );
    ensure(&s, "kind: gshadow\nname: users\nadministrators: alice");
    assert_snapshot!(s.changes(), @r"
    passwd -alice:x:1000:1000:Alice,,,:/home/alice:/bin/sh
    passwd +alice:x:1000:27:Alice,,,:/home/alice:/bin/zsh
    shadow -alice:$6$a$b:19000:1:90:7:5:20000:
    shadow +alice:$6$a$b:20500:1:90:14:5::
    group -sudo:x:27:root
    group +sudo:x:27:root,alice
    gshadow -sudo:*::root
    gshadow -users:*::
    gshadow +sudo:*::root,alice
    gshadow +users:*:alice:
    ");
}

#[test]
fn passwords_end_where_nobody_reads_them() {
    let s = Scratch::new();
    ensure(&s, "kind: user\nusername: alice\npassword: hunter2");
    ensure(
        &s,
        "kind: group\ngroup_name: staff\ngid: 50\npassword: hunter2",
    );
    ensure(&s, "kind: shadow\nusername: root\npassword: hunter2");
    let (passwd, group) = (s.text("etc/passwd"), s.text("etc/group"));
    assert!(passwd.contains("alice:x:") && group.contains("staff:x:50:"));
    let secrets = s.text("etc/shadow") + &s.text("etc/gshadow");
    for start in ["alice:$6$", "root:$6$", "staff:$6$"] {
        assert!(secrets.contains(start), "{start}");
    }
    assert!(!secrets.contains("hunter2"));
    let error = parse("kind: shadow\nusername: bob\npassword: 123456");
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("quotes") && !error.contains("123456"),
        "{error}"
    );
}

#[test]
fn a_hash_in_passwd_moves_to_shadow() {
    let s = Scratch::new();
    s.write("etc/passwd", "bob:$6$a$b:7:7:::\ncarol:x:8:8:::\n");
    ensure(&s, "kind: user\nusername: bob\npassword: x");
    ensure(&s, "kind: user\nusername: carol\npassword: x");
    assert_eq!(s.text("etc/passwd"), "bob:x:7:7:::\ncarol:x:8:8:::\n");
    let shadow = s.text("etc/shadow");
    assert!(
        shadow.contains("bob:$6$a$b:") && shadow.contains("carol:!:"),
        "{shadow}"
    );
}

#[test]
fn deleting_takes_the_line_of_that_kind() {
    let s = Scratch::new();
    let user = parse("kind: user\nusername: alice\nuid: 99").unwrap();
    let group = parse("kind: group\ngroup_name: alice").unwrap();
    s.edit(|database| {
        assert!(database.delete_entity(&user, None).unwrap());
        assert!(!database.delete_entity(&user, None).unwrap());
        assert!(
            database
                .delete_entity(&group, Some(Path::new("/etc/group")))
                .unwrap()
        );
    });
    assert_snapshot!(s.changes(), @r"
    passwd -alice:x:1000:1000:Alice,,,:/home/alice:/bin/sh
    group -alice:x:1000:
    ");
}

#[test]
fn another_file_is_changed_instead() {
    let s = Scratch::new();
    let user = parse("kind: user\nusername: bob\npassword: x\nuid: 5\ngid: 6").unwrap();
    let shadow = parse("kind: shadow\nusername: bob\npassword: *").unwrap();
    let path = Path::new("/srv/jail/etc/passwd");
    let secret = Path::new("/srv/jail/etc/shadow");
    s.edit(|database| {
        database.ensure_entity(&user, Some(path)).unwrap();
        database.ensure_entity(&shadow, Some(secret)).unwrap();
    });
    assert_eq!(s.text("srv/jail/etc/passwd"), "bob:x:5:6:::\n");
    assert_eq!(s.text("srv/jail/etc/shadow"), "bob:*:::::::\n");
    let mode = |path| s.root.status(path).unwrap().unwrap().mode;
    assert_eq!((mode(path), mode(secret)), (0o644, 0o600));
    assert_eq!(s.changes(), "");
    s.edit(|database| assert!(database.delete_entity(&user, Some(path)).unwrap()));
    assert_eq!(s.text("srv/jail/etc/passwd"), "");
}

#[test]
fn bad_documents_name_what_is_bad() {
    let s = Scratch::new();
    let refused = |document| {
        let entity = parse(document).unwrap();
        s.edit(|database| {
            database
                .ensure_entity(&entity, None)
                .unwrap_err()
                .to_string()
        })
    };
    assert_snapshot!(
        refused("kind: user\nusername: bob\ninfo: a:b"),
        @r#"info of "bob" must not contain ':' or line breaks"#
    );
    assert_snapshot!(
        refused("kind: shadow\nusername: bob\nwarn: often"),
        @r#"warn of "bob" must be a number of days"#
    );
    assert_snapshot!(
        refused("kind: group\ngroup_name: staff\nusers: a:b"),
        @r#""a:b" is no user name: it must not contain white space, control characters, ':', ',' or '/'"#
    );
    assert_snapshot!(refused("kind: user\nusername: bob\ngroup: none"), @r#"there is no group "none""#);
    refused("kind: gshadow\nname: \"\"");
    assert_eq!(s.changes(), "");
    parse("kind: role\nname: x").unwrap_err();
    parse("kind: user\nusername: x\nuid: 4294967295").unwrap_err();
    parse("kind: user\nusername: x\nuid: abc").unwrap_err();
}
