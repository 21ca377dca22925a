//! `users`, `authorized_keys`, `ensure_entities`, `delete_entities`, judged by id(1), getent(1) and
//! crypt(3).

use crate::scratch::{KEY, Scratch, have, scratch};
use crate::server::{Server, answer};
use fs_err as fs;
use insta::assert_snapshot;
use std::process::Command;

fn with_judges(test: &str) -> Option<Scratch> {
    if !have(test, &["id", "getent", "perl"]) {
        return None;
    }
    let scratch = scratch(test)?;
    scratch.programs(&["id", "getent"]);
    Some(scratch)
}

/// The second field of /etc/shadow.
fn hash(scratch: &Scratch, user: &str) -> String {
    let line = scratch.inside("getent", &["shadow", user]);
    line.split(':').nth(1).unwrap().to_owned()
}

/// Whether the C library takes a password for the one of a hash.
fn fits(password: &str, hash: &str) -> bool {
    let output = Command::new("perl")
        .args(["-e", "print crypt($ARGV[0], $ARGV[1])", password, hash])
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout == hash.as_bytes()
}

#[test]
fn new_users() {
    let Some(scratch) = with_judges("new_users") else {
        return;
    };
    scratch.put("etc/skel/.profile", "umask 022\n");
    scratch.put("etc/default/useradd", "SHELL=/bin/bash\nHOME=/var/home\n");
    let summary = scratch.step(&format!(
        "users:
  bob: {{}}
  alice:
    gecos: Alice of the lab
    passwd: 'correct horse'
    homedir: /srv/alice
    groups: [adm, users, nogroup-such]
    shell: /bin/zsh
    uid: 2001
    ssh_authorized_keys: ['{KEY}']
  daemon-of-ours: {{name: svc, system: true, no_create_home: true, primary_group: daemon, shell: /usr/sbin/nologin}}
  zoe: {{no_user_group: true, lock_passwd: true, passwd: $6$saltsaltsaltsalt$abc, no_log_init: true}}"
    ));
    assert_eq!(summary.steps[0].warnings.len(), 1, "{summary}");
    assert!(summary.steps[0].warnings[0].contains("nogroup-such"));
    assert_eq!(
        scratch.inside("id", &["alice"]),
        "uid=2001(alice) gid=2001(alice) groups=2001(alice),4(adm),100(users)"
    );
    assert_snapshot!(scratch.inside("getent", &["passwd", "alice", "bob", "svc", "zoe"]), @r"
    alice:x:2001:2001:Alice of the lab:/srv/alice:/bin/zsh
    bob:x:2002:2002::/var/home/bob:/bin/bash
    svc:x:999:1::/var/home/svc:/usr/sbin/nologin
    zoe:x:2003:100::/var/home/zoe:/bin/bash
");
    assert_eq!(scratch.inside("id", &["-gn", "zoe"]), "users");
    let found = hash(&scratch, "alice");
    assert!(
        fits("correct horse", &found) && !fits("wrong", &found),
        "{found}"
    );
    assert!(
        found.starts_with("$y$") || found.starts_with("$6$"),
        "{found}"
    );
    assert_eq!(hash(&scratch, "bob"), "!");
    assert_eq!(hash(&scratch, "zoe"), "!$6$saltsaltsaltsalt$abc");
    assert_eq!(scratch.metadata("etc/shadow"), "0640 0:0", "as it was");
    assert_eq!(
        scratch.metadata("var/home/bob").split(' ').next(),
        Some("0755")
    );
    assert_eq!(scratch.text("var/home/bob/.profile"), "umask 022\n");
    assert_eq!(
        scratch.text("srv/alice/.ssh/authorized_keys"),
        format!("{KEY}\n")
    );
    assert_eq!(scratch.metadata("srv/alice/.ssh"), "0700 2001:2001");
    assert_eq!(
        scratch.metadata("srv/alice/.ssh/authorized_keys"),
        "0600 2001:2001"
    );
    assert!(!scratch.exists("home/svc") && !scratch.exists("var/home/svc"));
}

#[test]
fn numbers_are_given_in_the_order_of_names() {
    let Some(scratch) = with_judges("numbers_are_given_in_the_order_of_names") else {
        return;
    };
    // The home of somebody whose /etc is gone.
    fs::create_dir(scratch.at("home/mid")).unwrap();
    std::os::unix::fs::chown(scratch.at("home/mid"), Some(1234), Some(1234)).unwrap();
    scratch.step("users: {zed: {}, mid: {}, ann: {}}");
    let uid = |name: &str| scratch.inside("id", &["-u", name]);
    assert_eq!((uid("ann"), uid("mid")), ("1000".into(), "1234".into()));
    assert_eq!(
        uid("zed"),
        "1235",
        "behind the highest, as useradd(8) counts"
    );
}

#[test]
fn existing_users_get_every_field() {
    let Some(scratch) = with_judges("existing_users_get_every_field") else {
        return;
    };
    scratch.step("users: {bob: {passwd: first, gecos: Old, shell: /bin/sh}}");
    let old = hash(&scratch, "bob");
    scratch.step("users: {bob: {passwd: first}}");
    assert_eq!(
        hash(&scratch, "bob"),
        old,
        "the same password is not hashed anew"
    );
    scratch.step(
        "users:
  bob: {passwd: second, gecos: New, shell: /bin/dash, groups: [adm], homedir: /srv/bob, uid: '1777', primary_group: users}
  root: {passwd: '$6$saltsaltsaltsalt$abc'}",
    );
    let line = scratch.inside("getent", &["passwd", "bob"]);
    assert_eq!(line, "bob:x:1777:100:New:/srv/bob:/bin/dash");
    assert!(fits("second", &hash(&scratch, "bob")));
    assert!(scratch.inside("id", &["-Gn", "bob"]).contains("adm"));
    assert_eq!(hash(&scratch, "root"), "$6$saltsaltsaltsalt$abc");
    let root = scratch.inside("getent", &["shadow", "root"]);
    assert!(root.ends_with(":0:99999:7:::"), "its ages stay: {root}");
    scratch.step("users: {bob: {lock_passwd: true}}");
    assert!(hash(&scratch, "bob").starts_with("!$"));
    let said = scratch.failing("users: {bad/name: {}, good: {}, alice: {uid: '0'}}");
    assert_eq!(said.lines().count(), 2, "{said}");
    assert_eq!(scratch.inside("id", &["-un", "good"]), "good");
}

#[test]
fn keys_are_added_once_and_fetched() {
    let Some(scratch) = with_judges("keys_are_added_once_and_fetched") else {
        return;
    };
    let server = Server::start(|asked, stream| match asked.target.as_str() {
        "/keys" => answer(
            stream,
            200,
            &[],
            b"# of two people\n\nssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQ== two\n",
        ),
        "/empty" => answer(stream, 200, &[], b"\n"),
        _ => answer(stream, 404, &[], b""),
    });
    scratch.put("root/.ssh/authorized_keys", "# mine\nssh-rsa AAAA old");
    let step = format!(
        "authorized_keys:\n  root: ['{KEY}', '{}']\n",
        server.url("/keys")
    );
    scratch.step(&step);
    let once = scratch.text("root/.ssh/authorized_keys");
    assert_eq!(
        once,
        format!("# mine\nssh-rsa AAAA old\n{KEY}\nssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQ== two\n")
    );
    assert_eq!(scratch.metadata("root/.ssh/authorized_keys"), "0600 0:0");
    scratch.step(&step);
    assert_eq!(scratch.text("root/.ssh/authorized_keys"), once);
    let said = scratch.failing(&format!(
        "users: {{bob: {{ssh_authorized_keys: ['{}', '{}', '{KEY}']}}}}\nauthorized_keys: {{nobody-here: ['{KEY}']}}",
        server.url("/none"),
        server.url("/empty"),
    ));
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(said.contains("404") && said.contains("holds no keys") && said.contains("nobody-here"));
    assert_eq!(
        scratch.text("home/bob/.ssh/authorized_keys"),
        format!("{KEY}\n"),
        "the good one is added"
    );
}

#[test]
fn entities_are_made_and_removed() {
    let Some(scratch) = with_judges("entities_are_made_and_removed") else {
        return;
    };
    scratch.step(
        "ensure_entities:
- entity: |
    kind: group
    group_name: ops
    gid: 3000
    users: root,daemon
- entity: |
    kind: user
    username: eve
    uid: 3001
    gid: 3000
    info: Eve on {{ .Values.os.vendor }}
    homedir: /home/eve
    shell: /bin/sh
- entity: |
    kind: shadow
    username: eve
    password: $6$saltsaltsaltsalt$abc
    maximum_changed: '30'
- entity: |
    kind: gshadow
    name: ops
    password: '!'
    members: root,daemon
- path: /etc/passwd.d/extra
  entity: |
    kind: user
    username: other
    uid: 4000
    gid: 4000",
    );
    assert_eq!(
        scratch.inside("id", &["eve"]),
        "uid=3001(eve) gid=3000(ops) groups=3000(ops)"
    );
    assert_eq!(
        scratch.inside("getent", &["passwd", "eve"]),
        "eve:x:3001:3000:Eve on testos:/home/eve:/bin/sh"
    );
    assert_eq!(hash(&scratch, "eve"), "$6$saltsaltsaltsalt$abc");
    assert_eq!(
        scratch.inside("getent", &["group", "ops"]),
        "ops:x:3000:root,daemon"
    );
    assert!(scratch.text("etc/gshadow").contains("ops:!::root,daemon\n"));
    assert!(
        scratch
            .text("etc/passwd.d/extra")
            .starts_with("other:x:4000:4000:")
    );
    scratch.step(
        "delete_entities:
- entity: \"kind: user\\nusername: eve\\n\"
- entity: \"kind: shadow\\nusername: eve\\n\"
- entity: \"kind: group\\ngroup_name: ops\\n\"
- entity: \"kind: user\\nusername: never-was\\n\"",
    );
    assert!(
        !scratch
            .try_inside("getent", &["passwd", "eve"])
            .status
            .success()
    );
    assert!(
        !scratch
            .try_inside("getent", &["group", "ops"])
            .status
            .success()
    );
    assert!(!scratch.text("etc/shadow").contains("eve"));
    assert_eq!(
        scratch.inside("id", &["-u", "root"]),
        "0",
        "nobody else is gone"
    );
}
