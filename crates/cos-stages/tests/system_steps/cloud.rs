//! What the keys of `#cloud-config` do that no key of a step does.

use crate::scratch::{KEY, Scratch, have, scratch};
use fs_err as fs;
use insta::assert_snapshot;
use std::process::Command;

fn stages(scratch: &Scratch, document: &str, stages: &[&str]) {
    let summary = scratch.run_all(&[document], stages);
    assert!(!summary.failed(), "{summary}");
}

#[test]
fn names_time_and_place() {
    let Some(scratch) = scratch("names_time_and_place") else {
        return;
    };
    scratch.put("usr/share/zoneinfo/Europe/Berlin", "TZif2");
    let document = "#cloud-config
fqdn: web.example.com
timezone: Europe/Berlin
locale: de_DE.UTF-8
ntp: {servers: [a.example], pools: [b.example]}
";
    stages(&scratch, document, &["initramfs"]);
    assert_eq!(scratch.text("etc/hostname"), "web.example.com\n");
    let link = fs::read_link(scratch.at("etc/localtime")).unwrap();
    assert_eq!(
        link.to_str().unwrap(),
        "../usr/share/zoneinfo/Europe/Berlin"
    );
    assert_eq!(scratch.text("etc/timezone"), "Europe/Berlin\n");
    assert_eq!(scratch.text("etc/locale.conf"), "LANG=\"de_DE.UTF-8\"\n");
    assert_eq!(scratch.text("etc/default/locale"), "LANG=\"de_DE.UTF-8\"\n");
    let ntp = scratch.text("etc/systemd/timesyncd.conf.d/10-yip.conf");
    assert_eq!(ntp, "[Time]\nNTP=a.example b.example\n");
    for zone in ["Europe/Paris", "../../etc/passwd", "/etc/passwd", ""] {
        let document = format!("#cloud-config\ntimezone: '{zone}'\n");
        assert!(
            scratch.run_all(&[&document], &["initramfs"]).failed(),
            "{zone}"
        );
    }
}

#[test]
fn mounts_are_said_once() {
    let Some(scratch) = scratch("mounts_are_said_once") else {
        return;
    };
    scratch.put(
        "etc/fstab",
        "# image\nLABEL=COS_OEM /oem auto ro 0 0\ntmpfs /tmp tmpfs size=1G 0 0",
    );
    let first = "#cloud-config
mounts:
- [LABEL=DATA, /srv/data, xfs, noatime]
- [/dev/disk/by-label/SWAP, none, swap, sw, 0, 0]
- [tmpfs, /tmp, tmpfs, size=2G, '0', '0']
- [nfs.example:/home, /home]
";
    stages(&scratch, first, &["initramfs"]);
    let once = scratch.text("etc/fstab");
    assert_snapshot!(once, @r"
    # image
    LABEL=COS_OEM /oem auto ro 0 0
    LABEL=DATA /srv/data xfs noatime 0 2
    /dev/disk/by-label/SWAP none swap sw 0 0
    tmpfs /tmp tmpfs size=2G 0 0
    nfs.example:/home /home auto defaults,nofail 0 2
");
    assert!(scratch.at("srv/data").is_dir());
    stages(&scratch, first, &["initramfs"]);
    assert_eq!(scratch.text("etc/fstab"), once);
    // Another machine's program understands it.
    let output = Command::new("findmnt")
        .args(["--tab-file"])
        .arg(scratch.at("etc/fstab"))
        .args(["-n", "-o", "OPTIONS", "/srv/data"])
        .output();
    if let Ok(output) = output {
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "noatime");
    }
    let changed = "#cloud-config\nmounts: [[LABEL=DATA, /srv/data, xfs, ro]]\n";
    stages(&scratch, changed, &["initramfs"]);
    assert!(
        scratch
            .text("etc/fstab")
            .contains("LABEL=DATA /srv/data xfs ro 0 2\n")
    );
    assert_eq!(
        scratch.text("etc/fstab").lines().count(),
        once.lines().count()
    );
    for wrong in [
        "[[a]]",
        "[[a, b, c, d, e, f, g]]",
        "[['a b', /x]]",
        "[[a, relative]]",
    ] {
        let document = format!("#cloud-config\nmounts: {wrong}\n");
        assert!(
            scratch.run_all(&[&document], &["initramfs"]).failed(),
            "{wrong}"
        );
    }
}

#[test]
fn users_keys_and_rules_of_sudo() {
    let Some(scratch) = scratch("users_keys_and_rules_of_sudo") else {
        return;
    };
    let document = format!(
        "#cloud-config
ssh_authorized_keys: ['{KEY}']
ssh_pwauth: no
users:
- default
- name: ann
  groups: adm, users
  plain_text_passwd: correct horse
  sudo: ALL=(ALL) NOPASSWD:ALL
- name: bob.b
  sudo: ['ALL=(root) /bin/a', 'ALL=(root) /bin/b']
- {{name: carl, sudo: false}}
"
    );
    stages(&scratch, &document, &["boot"]);
    for user in ["ann", "bob.b", "carl"] {
        assert_eq!(
            scratch.text(&format!("home/{user}/.ssh/authorized_keys")),
            format!("{KEY}\n")
        );
    }
    assert!(
        !scratch.exists("root/.ssh"),
        "root's are for documents without users"
    );
    assert_snapshot!(scratch.tree("etc/sudoers.d"), @r"
    90-cloud-config-ann 0440 0:0
    90-cloud-config-bob_b 0440 0:0
");
    assert_eq!(
        scratch.text("etc/sudoers.d/90-cloud-config-bob_b"),
        "bob.b ALL=(root) /bin/a\nbob.b ALL=(root) /bin/b\n"
    );
    assert_eq!(
        scratch.text("etc/ssh/sshd_config.d/50-cloud-config.conf"),
        "PasswordAuthentication no\n"
    );
    assert!(scratch.text("etc/group").contains("adm:x:4:ann\n"));
    if let Some(visudo) = cos_testkit::find_tool("visudo") {
        let rules = scratch.at("etc/sudoers.d/90-cloud-config-ann");
        assert!(
            Command::new(visudo)
                .args(["-c", "-f"])
                .arg(rules)
                .status()
                .unwrap()
                .success()
        );
    }
}

#[test]
fn passwords_of_people_who_are_there() {
    if !have("passwords_of_people_who_are_there", &["perl"]) {
        return;
    }
    let Some(scratch) = scratch("passwords_of_people_who_are_there") else {
        return;
    };
    let document = "#cloud-config
password: for-root
chpasswd:
  users:
  - {name: daemon, password: plain, type: text}
  - {name: nobody-here, password: x}
  list: ['root:second']
";
    let summary = scratch.run_all(&[document], &["boot"]);
    assert!(
        summary.failed() && summary.to_string().contains("nobody-here"),
        "{summary}"
    );
    let shadow = scratch.text("etc/shadow");
    for (line, password) in shadow.lines().zip(["second", "plain"]) {
        let fields: Vec<&str> = line.split(':').collect();
        let output = Command::new("perl")
            .args(["-e", "print crypt($ARGV[0], $ARGV[1])", password, fields[1]])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), fields[1]);
        assert_eq!(fields[2], "0", "to be changed at the first login");
    }
    assert!(!shadow.contains("second") && !shadow.contains("plain"));
}

#[test]
fn files_written_added_to_and_late() {
    let Some(scratch) = scratch("files_written_added_to_and_late") else {
        return;
    };
    scratch.put("etc/hosts", "127.0.0.1 localhost\n");
    scratch.set_mode("etc/hosts", 0o604);
    let document = "#cloud-config
write_files:
- {path: /etc/app, content: x, owner: 'daemon:adm', permissions: '0600'}
- {path: /etc/plain, content: 'on {{ .Values.os.vendor }}', encoding: text/plain}
- {path: /etc/hosts, append: true, content: \"10.0.0.1 {{ .Values.os.vendor }}\\n\"}
- {path: /etc/new, append: true, content: x, owner: daemon, permissions: '0640'}
- {path: /etc/late, content: x, defer: true}
";
    stages(&scratch, document, &["boot"]);
    assert_eq!(scratch.metadata("etc/app"), "0600 1:4");
    assert_eq!(scratch.text("etc/plain"), "on testos");
    assert_eq!(scratch.metadata("etc/new"), "0640 1:1");
    assert!(!scratch.exists("etc/late"));
    let hosts = "127.0.0.1 localhost\n10.0.0.1 testos\n";
    assert_eq!(
        (scratch.text("etc/hosts"), scratch.metadata("etc/hosts")),
        (hosts.into(), "0604 0:0".into())
    );
    stages(&scratch, document, &["boot", "network"]);
    assert_eq!(scratch.text("etc/hosts"), hosts, "every boot does it again");
    assert!(scratch.exists("etc/late"));
}

#[test]
fn commands_of_both_kinds_and_scripts() {
    let Some(scratch) = scratch("commands_of_both_kinds_and_scripts") else {
        return;
    };
    let document = "#cloud-config
bootcmd:
- echo early >>/marks
runcmd:
- [sh, -c, 'echo \"$0\" >>/marks', 'two  words; * $HOME']
- echo $((1 + 1)) >>/marks
";
    let script = "#!/bin/sh -e\necho script \"$0\" >>/marks\nfalse\necho never >>/marks\n";
    let summary = scratch.run_all(&[document, script], &["fs", "boot", "network"]);
    assert_eq!(
        scratch.text("marks"),
        "early\ntwo  words; * $HOME\n2\nscript /run/cos/scripts/script\n"
    );
    assert!(
        summary.failed() && summary.to_string().contains("the script: exit status: 1"),
        "{summary}"
    );
    assert_eq!(scratch.metadata("run/cos/scripts/script"), "0700 0:0");
}

#[test]
fn certificates_are_put_where_they_count() {
    let Some(scratch) = scratch("certificates_are_put_where_they_count") else {
        return;
    };
    scratch.put("etc/ca-certificates.conf", "mozilla/A.crt\n");
    scratch.put(
        "usr/sbin/update-ca-certificates",
        "#!/bin/sh\necho \"$*\" >/called\n",
    );
    scratch.set_mode("usr/sbin/update-ca-certificates", 0o755);
    let pem = "-----BEGIN CERTIFICATE-----\\nYQ==\\n-----END CERTIFICATE-----\\n";
    let document = format!(
        "#cloud-config\nca_certs: {{remove_defaults: true, trusted: [\"{pem}\", no-certificate]}}\n"
    );
    let summary = scratch.run_all(&[&document], &["boot"]);
    assert!(
        summary.to_string().contains("certificate 2 is not PEM"),
        "{summary}"
    );
    assert_eq!(
        scratch.text("usr/local/share/ca-certificates/cloud-config-1.crt"),
        pem.replace("\\n", "\n")
    );
    assert_eq!(scratch.text("etc/ca-certificates.conf"), "");
    assert_eq!(scratch.text("called"), "--fresh\n");
}

#[test]
fn the_end_of_a_boot() {
    let Some(mut scratch) = scratch("the_end_of_a_boot") else {
        return;
    };
    scratch.put(
        "usr/sbin/shutdown",
        "#!/bin/sh\nprintf '%s|' \"$@\" >>/called\n",
    );
    scratch.set_mode("usr/sbin/shutdown", 0o755);
    let document = "#cloud-config
power_state: {mode: reboot, delay: 5, message: 'new kernel', condition: [test, -e, /go]}
";
    stages(&scratch, document, &["network.after"]);
    assert!(!scratch.exists("called"), "no services run in an image");
    scratch.running = true;
    stages(&scratch, document, &["network.after"]);
    assert!(!scratch.exists("called"), "the condition does not hold");
    scratch.put("go", "");
    stages(&scratch, document, &["network.after"]);
    assert_eq!(scratch.text("called"), "-r|+5|new kernel|");
    let document = "#cloud-config\npower_state: {mode: poweroff, condition: true}\n";
    stages(&scratch, document, &["network.after"]);
    assert!(scratch.text("called").ends_with("-P|now|"));
}
