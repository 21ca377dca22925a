use super::*;
use insta::assert_snapshot;
use proptest::prelude::*;

fn text(table: &Table) -> String {
    String::from_utf8_lossy(&table.bytes()).into_owned()
}

#[test]
fn only_the_account_asked_for_changes() {
    let file = b"# users\nroot:x:0:0:root:/root:/bin/sh\nbroken\n\n:x:1\nshort:x:7\nroot:x:9:9:::\n+::::::\n";
    let mut table = Table::parse(Kind::Passwd, file);
    assert!(table.set("root", passwd::SHELL, "/bin/sh"));
    assert!(!table.changed());
    assert!(table.set("root", passwd::SHELL, "/bin/bash"));
    assert!(table.set("short", passwd::HOME, "/"));
    assert!(!table.set("broken", passwd::HOME, "/"));
    assert!(!table.set("# users", passwd::HOME, "/"));
    table.append(&["new", "x", "1000", "1000", "", "/home/new", "/bin/sh"]);
    assert_snapshot!(text(&table), @r"
    # users
    root:x:0:0:root:/root:/bin/bash
    broken

    :x:1
    short:x:7:::/:
    root:x:9:9:::
    new:x:1000:1000::/home/new:/bin/sh
    +::::::
    ");
}

#[test]
fn a_missing_newline_at_the_end_is_put_there() {
    let mut table = Table::parse(Kind::Group, b"root:x:0:");
    table.append(&["a", "x", "1", ""]);
    assert_eq!(text(&table), "root:x:0:\na:x:1:\n");
    let mut empty = Table::parse(Kind::Group, b"");
    empty.append(&["a", "x", "1", ""]);
    assert_eq!(text(&empty), "a:x:1:\n");
}

#[test]
fn what_is_removed_is_kept_until_nothing_refers_to_it() {
    let mut table = Table::parse(Kind::Shadow, b"a:1\nb:2\na:3");
    assert!(table.remove("a"));
    assert!(!table.remove("a"));
    assert_eq!(text(&table), "b:2");
    assert_eq!(table.bytes_with_removed(), b"b:2\na:3\na:1\n");
    table.written();
    assert!(!table.changed() && !table.has_removed());
}

#[test]
fn ids_are_numbers_that_the_kernel_takes() {
    let table = Table::parse(
        Kind::Passwd,
        b"a:x:4294967294:0\nb:x:4294967295:0\nc:x:-1:0\nd:x::0\ne:x:\xff:0",
    );
    let ids: Vec<_> = table.rows().map(|row| row.id(passwd::UID)).collect();
    assert_eq!(ids, [Some(4_294_967_294), None, None, None, None]);
}

#[test]
fn a_long_line_and_many_users_are_kept() {
    let mut file = vec![b'x'; 1 << 20];
    file.push(b'\n');
    for user in 0..100_000 {
        file.extend(format!("u{user}:x:{user}:{user}::/:/bin/sh\n").into_bytes());
    }
    let mut table = Table::parse(Kind::Passwd, &file);
    assert_eq!(table.bytes(), file);
    assert_eq!(table.rows().count(), 100_000);
    assert!(table.set("u99999", passwd::GECOS, "last"));
    assert!(
        table
            .bytes()
            .ends_with(b"u99999:x:99999:99999:last:/:/bin/sh\n")
    );
    assert!(!format!("{table:?}").contains("u99999"));
}

proptest! {
    #[test]
    fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let table = Table::parse(Kind::Shadow, &bytes);
        prop_assert_eq!(table.bytes(), bytes);
    }

    #[test]
    fn other_lines_survive_an_edit(lines in proptest::collection::vec("[a-c#+:]{0,6}", 0..20)) {
        let mut table = Table::parse(Kind::Group, lines.join("\n").as_bytes());
        let others = |table: &Table| -> Vec<Vec<u8>> {
            let lines = table.bytes();
            let lines = lines.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
            lines.filter(|line| !line.starts_with(b"a:") && !line.is_empty()).collect()
        };
        let before = others(&table);
        if !table.set("a", group::GID, "5") {
            table.append(&["a", "x", "5", ""]);
        }
        prop_assert_eq!(table.find("a").and_then(|row| row.id(group::GID)), Some(5));
        prop_assert_eq!(others(&table), before.clone());
        prop_assert!(table.remove("a"));
        prop_assert_eq!(others(&table), before);
    }
}
