//! `dns`, `hostname`, `environment`, `sysctl`.

use crate::scratch::{in_own_namespaces, scratch};
use fs_err as fs;
use fs_err::os::unix::fs::symlink;
use insta::assert_snapshot;
use std::process::Command;

#[test]
fn name_servers() {
    let Some(scratch) = scratch("name_servers") else {
        return;
    };
    scratch.put("etc/resolv.conf", "nameserver 127.0.0.53\n");
    scratch.step("dns: {search: [example.com]}");
    assert_eq!(
        scratch.text("etc/resolv.conf"),
        "nameserver 127.0.0.53\n",
        "no servers, no change"
    );
    scratch.step(
        "dns: {nameservers: [192.0.2.1, '2001:db8::1'], search: [a.example, b.example], options: [rotate, 'timeout:1']}",
    );
    assert_snapshot!(scratch.text("etc/resolv.conf"), @r"
    nameserver 192.0.2.1
    nameserver 2001:db8::1
    search a.example b.example
    options rotate timeout:1
");
    assert_eq!(scratch.metadata("etc/resolv.conf"), "0644 0:0");
    scratch.step("dns: {nameservers: [192.0.2.9], path: /run/resolv.conf}");
    assert_eq!(scratch.text("run/resolv.conf"), "nameserver 192.0.2.9\n");
    // systemd-resolved's link is followed, as it was when it was a file.
    fs::remove_file(scratch.at("etc/resolv.conf")).unwrap();
    symlink(
        "../run/systemd/resolve/stub-resolv.conf",
        scratch.at("etc/resolv.conf"),
    )
    .unwrap();
    scratch.step("dns: {nameservers: [192.0.2.2]}");
    assert_eq!(
        scratch.text("run/systemd/resolve/stub-resolv.conf"),
        "nameserver 192.0.2.2\n"
    );
}

#[test]
fn a_host_name_in_files_alone() {
    let Some(scratch) = scratch("a_host_name_in_files_alone") else {
        return;
    };
    scratch.put(
        "etc/hosts",
        "127.0.0.1 localhost old\n::1 localhost\n10.0.0.1 other\n",
    );
    let before = Command::new("uname").arg("-n").output().unwrap().stdout;
    scratch.step("hostname: 'node-{{ trunc 4 .MachineID }}.example.com'");
    let after = Command::new("uname").arg("-n").output().unwrap().stdout;
    assert_eq!(
        before, after,
        "an image that is built does not rename the builder"
    );
    assert_eq!(scratch.text("etc/hostname"), "node-0123.example.com\n");
    assert_snapshot!(scratch.text("etc/hosts"), @r"
    127.0.0.1 localhost node-0123.example.com node-0123
    ::1 localhost
    10.0.0.1 other
");
    let said = scratch.failing("hostname: 'no name'");
    assert!(said.contains("no host name"), "{said}");
    assert_eq!(scratch.text("etc/hostname"), "node-0123.example.com\n");
}

#[test]
fn a_host_name_of_a_running_system() {
    let name = "names::a_host_name_of_a_running_system";
    let Some(mut scratch) = scratch(name) else {
        return;
    };
    if !in_own_namespaces(name) {
        return;
    }
    scratch.running = true;
    scratch.step("hostname: renamed");
    let now = Command::new("uname").arg("-n").output().unwrap().stdout;
    assert_eq!(now, b"renamed\n");
    // Later steps know the new name.
    scratch.step("node: ^renamed$\nfiles: [{path: /name, content: '{{ .Hostname }}'}]");
    assert_eq!(scratch.text("name"), "renamed");
}

#[test]
fn kernel_parameters() {
    let name = "names::kernel_parameters";
    let Some(scratch) = scratch(name) else { return };
    let said = scratch.failing("sysctl: {net.ipv4.ip_forward: 1}");
    assert!(
        said.contains("no parameter net.ipv4.ip_forward"),
        "no /proc: {said}"
    );
    if !in_own_namespaces(name) {
        return;
    }
    scratch.mount_proc();
    let value = |path: &str| scratch.text(&format!("proc/sys/{path}")).trim().to_owned();
    assert_eq!(
        value("net/ipv4/ip_forward"),
        "0",
        "a new network has no forwarding"
    );
    scratch.step("sysctl: {net.ipv4.ip_forward: 1, net/ipv4/conf/lo/rp_filter: 2}");
    assert_eq!(value("net/ipv4/ip_forward"), "1");
    assert_eq!(value("net/ipv4/conf/lo/rp_filter"), "2");
    let said = scratch.failing(
        "sysctl: {net.ipv4.no_such_thing: 1, net.ipv4.ip_forward: 0, net.ipv4.ip_default_ttl: 9999}",
    );
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(
        said.contains("no_such_thing") && said.contains("ip_default_ttl"),
        "{said}"
    );
    assert_eq!(value("net/ipv4/ip_forward"), "0", "the others are set");
    let said = scratch.failing("sysctl: {../../etc/passwd: x}");
    assert!(said.contains("names no kernel parameter"), "{said}");
}

#[test]
fn environment_is_merged() {
    let Some(scratch) = scratch("environment_is_merged") else {
        return;
    };
    scratch.put(
        "etc/environment",
        "# comment\nKEPT=old\nexport CHANGED='be fore'\n",
    );
    scratch.set_mode("etc/environment", 0o600);
    let step = r#"environment:
  CHANGED: "{{ .Values.os.vendor }} after"
  NUMBER: 17
  HOSTILE: "a\"b\\c$d`e\nf"
  EMPTY:"#;
    scratch.step(step);
    let once = scratch.text("etc/environment");
    assert_snapshot!(once, @r#"
    CHANGED="testos after"
    EMPTY=""
    HOSTILE="a\"b\\c\$d\`e\nf"
    KEPT="old"
    NUMBER=17
"#);
    assert_eq!(scratch.metadata("etc/environment"), "0644 0:0");
    scratch.step(step);
    scratch.step("environment: {NUMBER: 17}");
    assert_eq!(
        scratch.text("etc/environment"),
        once,
        "every boot does it again"
    );
    // A shell understands it as it was meant, but for the line break, which stays as it is written.
    let line = r#". /etc/environment; printf '%s\n' "$KEPT:$CHANGED:$NUMBER:$EMPTY:$HOSTILE""#;
    let said = scratch.inside("sh", &["-c", line]);
    assert_eq!(said, r#"old:testos after:17::a"b\c$d`e\nf"#);
    scratch.step("environment_file: /run/cos/cos-layout.env\nenvironment: {VOLUMES: 'LABEL=A:/a LABEL=B:/b'}");
    assert_eq!(
        scratch.text("run/cos/cos-layout.env"),
        "VOLUMES=\"LABEL=A:/a LABEL=B:/b\"\n"
    );
    let said = scratch.failing("environment: {'NOT A NAME': x, GOOD: y}");
    assert!(said.contains("NOT A NAME"), "{said}");
    assert!(
        scratch.text("etc/environment").contains("GOOD=\"y\""),
        "the others are set"
    );
}
