//! `systemctl`, `systemd_firstboot`, `timesyncd`: systemd's own programs in the root.

use crate::scratch::{have, in_own_namespaces, scratch};
use fs_err as fs;
use insta::assert_snapshot;
use std::process::Command;

const UNIT: &str = "[Unit]\nDescription=x\n[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n";

#[test]
fn units_are_enabled_disabled_and_masked() {
    let test = "units_are_enabled_disabled_and_masked";
    if !have(test, &["systemctl"]) {
        return;
    }
    let Some(scratch) = scratch(test) else { return };
    let said = scratch.failing("systemctl: {enable: [one]}");
    assert!(said.contains("systemctl is not in this system"), "{said}");
    scratch.programs(&["systemctl"]);
    for unit in ["one", "two", "three"] {
        scratch.put(&format!("usr/lib/systemd/system/{unit}.service"), UNIT);
    }
    let wants = "etc/systemd/system/multi-user.target.wants";
    scratch.step("systemctl: {enable: [two]}");
    assert!(scratch.exists(&format!("{wants}/two.service")));
    let summary = scratch.step(
        "systemctl:
  enable: [one.service]
  disable: [two]
  mask: [three]
  start: [one]
  overrides:
  - {service: one, content: \"[Service]\\nEnvironment=OS={{ .Values.os.vendor }}\\n\"}
  - {service: two.service, name: 10-memory, content: \"[Service]\\nMemoryMax=1G\\n\"}
  - {service: two.timer, name: 20.conf, content: \"[Timer]\\n\"}",
    );
    // Where a link leads differs between versions of systemd.
    let tree = scratch
        .tree("etc/systemd")
        .replace("-> /usr/lib/", "-> /lib/");
    assert_snapshot!(tree, @r"
    system/ 0755 0:0
    system/multi-user.target.wants/ 0755 0:0
    system/multi-user.target.wants/one.service -> /lib/systemd/system/one.service
    system/one.service.d/ 0755 0:0
    system/one.service.d/override-yip.conf 0644 0:0
    system/three.service -> /dev/null
    system/two.service.d/ 0755 0:0
    system/two.service.d/10-memory.conf 0644 0:0
    system/two.timer.d/ 0755 0:0
    system/two.timer.d/20.conf 0644 0:0
");
    assert_snapshot!(scratch.text("etc/systemd/system/one.service.d/override-yip.conf"), @r"
    [Service]
    Environment=OS=testos
");
    assert!(
        summary.steps[0].warnings[0].contains("one is not started"),
        "{summary}"
    );
    // Somebody else's eyes: systemctl of this machine on the root.
    let state = |unit: &str| {
        let output = Command::new("systemctl")
            .arg("--root")
            .arg(scratch.temp.path())
            .args(["is-enabled", unit])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(
        [state("one"), state("two"), state("three")],
        ["enabled", "disabled", "masked"]
    );
    let said = scratch.failing(
        "systemctl: {enable: [nothing, two], overrides: [{service: ../x, content: x}, {service: one, name: ../../x, content: x}]}",
    );
    assert_eq!(said.lines().count(), 3, "{said}");
    assert_eq!(state("two"), "enabled", "the good one is enabled");
    assert!(!scratch.exists("etc/systemd/x.service.d"));
}

#[test]
fn first_boot_settings() {
    let test = "services::first_boot_settings";
    if !have(test, &["systemd-firstboot", "perl"]) {
        return;
    }
    let Some(scratch) = scratch(test) else { return };
    if !in_own_namespaces(test) {
        return;
    }
    scratch.mount_proc();
    scratch.programs(&["systemd-firstboot"]);
    scratch.put("usr/share/zoneinfo/Europe/Berlin", "TZif2");
    scratch.libraries(&["libcrypt.so.1", "libcrypt.so.2"]);
    scratch.step(
        "systemd_firstboot:
  Locale: C
  timezone: Europe/Berlin
  hostname: first
  root-password: correct horse
  force: true",
    );
    // Debian has it where its login looks.
    let locale = ["etc/locale.conf", "etc/default/locale"]
        .into_iter()
        .find(|file| scratch.exists(file));
    assert!(scratch.text(locale.unwrap()).starts_with("LANG=C"));
    assert_eq!(
        fs::read_link(scratch.at("etc/localtime"))
            .unwrap()
            .to_str()
            .unwrap(),
        "../usr/share/zoneinfo/Europe/Berlin"
    );
    assert_eq!(scratch.text("etc/hostname").trim(), "first");
    let shadow = scratch.text("etc/shadow");
    let hash = shadow.lines().next().unwrap().split(':').nth(1).unwrap();
    let output = Command::new("perl")
        .args([
            "-e",
            "print crypt($ARGV[0], $ARGV[1])",
            "correct horse",
            hash,
        ])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), hash);
    assert!(
        !scratch.exists("run/cos/firstboot-password"),
        "the password is gone"
    );
    let said = scratch.failing("systemd_firstboot: {timezone: Nowhere/Land}");
    assert!(said.contains("systemd-firstboot"), "{said}");
}

#[test]
fn time_servers() {
    let Some(scratch) = scratch("time_servers") else {
        return;
    };
    let file = "etc/systemd/timesyncd.conf.d/10-yip.conf";
    scratch.put(file, "[Time]\nNTP=old\nRootDistanceMaxSec=5\n");
    let step = "timesyncd: {NTP: ntp1.example.com ntp2.example.com, FallbackNTP: ''}";
    scratch.step(step);
    let once = scratch.text(file);
    assert_snapshot!(once, @r"
    [Time]
    FallbackNTP=
    NTP=ntp1.example.com ntp2.example.com
    RootDistanceMaxSec=5
");
    scratch.step(step);
    assert_eq!(scratch.text(file), once);
    let said = scratch.failing("timesyncd: {\"NTP\\n[Evil]\": x}");
    assert!(said.contains("no key of timesyncd"), "{said}");
    assert_eq!(scratch.text(file), once);
}

/// Where systemd runs it would run here: what it is told is written down instead.
#[test]
fn a_running_systemd_is_told_in_order() {
    let Some(mut scratch) = scratch("a_running_systemd_is_told_in_order") else {
        return;
    };
    scratch.put(
        "usr/bin/systemctl",
        "#!/bin/sh\necho \"$*\" >>/told\n[ \"$3\" != broken ]\n",
    );
    scratch.set_mode("usr/bin/systemctl", 0o755);
    scratch.running = true;
    let said = scratch.failing(
        "systemctl: {start: [a, broken, c], mask: [d], disable: [e], enable: [f, broken], overrides: [{service: a, content: x}]}",
    );
    assert_snapshot!(scratch.text("told"), @r"
    daemon-reload
    enable -- f
    enable -- broken
    disable -- e
    mask -- d
    start --no-block -- a
    start --no-block -- broken
    start --no-block -- c
");
    assert_eq!(
        said,
        "systemctl: systemctl enable -- broken: exit status: 1"
    );
}
