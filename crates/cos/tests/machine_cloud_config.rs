//! One machine configured by every kind of document: every stage runs, in order, and what each is to
//! leave behind is there.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine with plain std and stop at the first surprise"
)]

mod common;

use common::{cos, test_image};
use cos_testkit::images::Suite;
use cos_testkit::machine::{BOOT, Builder, Firmware, Machine};
use cos_testkit::tools::need_tool;
use cos_testkit::{process, skip, temp_dir};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The stages of a boot, in the order in which they run.
const STAGES: [&str; 7] = [
    "pre-rootfs",
    "rootfs",
    "initramfs",
    "fs",
    "boot",
    "network",
    "reconcile",
];

/// What the user of a cloud or a CD gives.
const USER_DATA: &str = r#"#cloud-config
hostname: edge-7
users:
  - name: ada
    passwd: lovelace
    shell: /bin/bash
    groups: [sudo]
    ssh_authorized_keys:
      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA8cVYx3dEH9sWhMu8n1yA2JwOQ3f0yYl6K0m4mX5y1q ada@example
write_files:
  - path: /etc/edge/config.ini
    permissions: "0640"
    content: |
      machine = {{ .MachineID }}
  - path: /etc/edge/key
    permissions: "0600"
    content: sesame-in-a-file
runcmd:
  - [sh, -c, "echo 'from user-data' >> /run/marks"]
stages:
  boot:
    - name: broken
      commands:
        - echo tried hard; exit 3
        - echo TOKEN=sesame-in-a-command > /dev/null
        - echo 'after a failure' >> /run/marks
"#;

/// A document on COS_OEM: persistent and ephemeral marks, a path of the layout, and the network.
const OEM: &str = r#"name: edge
stages:
  rootfs:
    - name: one more path that is kept
      environment_file: /run/cos/cos-layout.env
      environment:
        PERSISTENT_STATE_PATHS: "/etc/systemd /etc/ssh /var/log /etc/apt"
    - name: a disk of its own for data
      layout:
        add_partitions:
          - fsLabel: DATA
            size: 64
            filesystem: ext4
  initramfs:
    - name: network
      systemctl:
        enable: [systemd-networkd]
  boot:
    - name: marks
      commands:
        - cat /proc/sys/kernel/random/boot_id >> /usr/local/boots
        - cat /proc/sys/kernel/random/boot_id >> /etc/apt/boots
        - cat /proc/sys/kernel/random/boot_id >> /etc/boots
"#;

/// A document that is wrong beside those that are right.
const WRONG: &str =
    "stages:\n  boot:\n    - comands: [reboot]\n      password: sesame-in-a-mistake\n   bad: [\n";

/// What only root may ever read: in user-data, in files it names, and in a document that is wrong. As
/// regular expressions that do not find themselves.
const SECRETS: [&str; 2] = ["lovel[a]ce", "s[e]same-in-a"];

/// A document whose every stage says that it ran.
fn marks() -> String {
    let mut text = "name: marks\nstages:\n".to_owned();
    for stage in STAGES {
        for part in ["", ".before", ".after"] {
            writeln!(
                text,
                "  {stage}{part}:\n    - commands: ['echo {stage}{part} >> /run/marks']"
            )
            .unwrap();
        }
    }
    text
}

/// Serves one document to whoever asks, until the test ends.
fn serve(document: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /edge.yaml?site=7 "));
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                document.len()
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(document.as_bytes()).unwrap();
        }
    });
    port
}

/// A `NoCloud` CD, made by another tool.
fn no_cloud_cd(directory: &Path) -> PathBuf {
    let files = directory.join("cidata");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(files.join("user-data"), USER_DATA).unwrap();
    std::fs::write(files.join("meta-data"), "instance-id: i-7\n").unwrap();
    let iso = directory.join("cidata.iso");
    process::run(
        Command::new(need_tool("xorriso").unwrap())
            .args(["-as", "mkisofs", "-quiet", "-J", "-R", "-V", "cidata", "-o"])
            .arg(&iso)
            .arg(&files),
    )
    .unwrap();
    iso
}

fn disk(directory: &Path, port: u16) -> PathBuf {
    let disk = directory.join("disk.img");
    let mut command = cos();
    command
        .args(["build", "disk", &test_image(Suite::Trixie), "--output"])
        .arg(&disk)
        .arg("--kernel-arguments")
        .arg(format!(
            "cos.setup=http://10.0.2.2:{port}/edge.yaml?site=7 stages.boot[0].files[0].path=/etc/told stages.boot[0].files[0].content=kernel"
        ));
    for (name, text) in [
        ("10_marks.yaml", marks()),
        ("20_edge.yaml", OEM.to_owned()),
        ("30_wrong.yaml", WRONG.to_owned()),
    ] {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        command.arg("--cloud-config").arg(path);
    }
    process::run(&mut command).unwrap();
    disk
}

/// Every mark of this boot, in order.
fn check_marks(machine: &mut Machine) {
    machine
        .check("systemctl start cos-setup-reconcile")
        .unwrap();
    let marks = machine.check("cat /run/marks").unwrap();
    let stages: Vec<&str> = marks
        .lines()
        .filter(|mark| STAGES.iter().any(|stage| mark.starts_with(stage)))
        .collect();
    let wanted: Vec<String> = STAGES
        .iter()
        .flat_map(|stage| ["before", "", "after"].map(|part| format!("{stage}.{part}")))
        .map(|mark| mark.trim_end_matches('.').to_owned())
        .collect();
    assert_eq!(stages, wanted, "{marks}");
    for once in ["from user-data", "after a failure", "from the network"] {
        assert_eq!(
            marks.lines().filter(|mark| *mark == once).count(),
            1,
            "{once}: {marks}"
        );
    }
    let timer = machine
        .check("systemctl show -P TimersMonotonic cos-setup-reconcile.timer")
        .unwrap();
    assert!(
        timer.contains("OnBootUSec=5min") && timer.contains("OnUnitActiveUSec=1h"),
        "{timer}"
    );
}

/// What user-data, kernel command line and network brought.
fn check_configured(machine: &mut Machine) {
    let mut says = |command: &str, wanted: &str| {
        let said = machine.check(command).unwrap();
        assert!(said.contains(wanted), "{command}: {said}");
    };
    says("hostname", "edge-7");
    says("cat /etc/hostname", "edge-7");
    says("id ada", "sudo");
    says("getent passwd ada", ":/home/ada:/bin/bash");
    says("getent shadow ada", "ada:$y$");
    says("stat -c '%a %U' ~ada/.ssh/authorized_keys", "600 ada");
    says("cat ~ada/.ssh/authorized_keys", "ada@example");
    says("stat -c '%a %U:%G' /etc/edge/config.ini", "640 root:root");
    says("cat /etc/told", "kernel");
    says("stat -c %a /oem/95_userdata/userdata.yaml", "600");
    says("echo machine = $(cat /etc/machine-id)", "machine = ");
    says(
        "grep -q \"machine = $(cat /etc/machine-id)\" /etc/edge/config.ini && echo same",
        "same",
    );
    says("blkid -o value -s TYPE -L DATA 2>&1 || blkid", "/dev/");
    says("systemctl is-active systemd-networkd", "active");
}

/// The summaries: what failed, with its output, and what was wrong, with its line.
fn check_summaries(machine: &mut Machine) {
    let boot = machine.check("cat /run/cos/stages/boot.json").unwrap();
    for wanted in [
        "\"failed\"",
        "tried hard",
        "30_wrong.yaml",
        "exit status: 3",
    ] {
        assert!(boot.contains(wanted), "{wanted}: {boot}");
    }
    for stage in STAGES {
        machine
            .check(&format!("test -s /run/cos/stages/{stage}.json"))
            .unwrap();
    }
    let plan = machine.run("cos stage boot --plan").unwrap().output;
    assert!(plan.contains("run   boot "), "{plan}");
    let again = machine.run("cos-setup boot").unwrap();
    assert_eq!(again.code, 6, "{}", again.output);
    assert!(again.output.contains("| tried hard"), "{}", again.output);
    let failed = machine
        .check("systemctl --failed --no-legend --plain")
        .unwrap();
    assert_eq!(failed.trim(), "", "units failed");
}

/// Nobody but root finds a secret, wherever they look; and no log has one.
fn check_secrets(machine: &mut Machine) {
    let patterns = SECRETS.map(|secret| format!("-e '{secret}'")).join(" ");
    let found = |machine: &mut Machine, command: &str| {
        let said = machine.run_for(command, BOOT).unwrap();
        (said.code, said.output)
    };
    // They are there: in files of root's.
    let (code, there) = found(
        machine,
        &format!("grep -rlE {patterns} /oem/95_userdata /etc/edge"),
    );
    assert_eq!(code, 0, "{there}");
    let looked = format!(
        "setpriv --reuid=nobody --regid=nogroup --clear-groups \
         grep -rsIlE {patterns} /etc /home /oem /opt /root /run /srv /system /tmp /usr/local /var; \
         setpriv --reuid=nobody --regid=nogroup --clear-groups \
         grep -slaE {patterns} /proc/cmdline /proc/[0-9]*/cmdline /proc/[0-9]*/environ"
    );
    let (_, seen) = found(machine, &looked);
    assert_eq!(seen, "", "anybody can read secrets");
    for log in [
        "journalctl --no-pager --all --output export",
        "dmesg",
        "cat -v /run/log/journal/*/* /var/log/*.log",
    ] {
        let (_, said) = found(machine, &format!("{log} 2>/dev/null | grep -aE {patterns}"));
        assert_eq!(said, "", "{log}");
    }
}

fn lines(machine: &mut Machine, file: &str) -> usize {
    machine
        .check(&format!("cat {file}"))
        .unwrap()
        .lines()
        .count()
}

fn check_boot(machine: &mut Machine) {
    machine.login(BOOT).unwrap();
    machine
        .check("systemctl is-system-running --wait || true")
        .unwrap();
    check_marks(machine);
    check_configured(machine);
}

#[test]
fn cloud_config_shapes_a_machine() {
    const TEST: &str = "cloud_config_shapes_a_machine";
    if let Some(reason) = Builder::missing(Firmware::Bios) {
        skip(TEST, &reason);
        return;
    }
    let directory = temp_dir().unwrap();
    let port = serve(
        "name: fleet\nstages:\n  network:\n    - commands: [\"echo 'from the network' >> /run/marks\"]\n",
    );
    let mut machine = Machine::builder(TEST)
        .larger_disk(&disk(directory.path(), port), 256 << 20)
        .scsi_cdrom(&no_cloud_cd(directory.path()))
        .network()
        .boot()
        .unwrap();
    check_boot(&mut machine);
    machine
        .check("touch /etc/apt/kept /etc/gone; sync")
        .unwrap();

    machine.reboot().unwrap();
    check_boot(&mut machine);
    machine
        .check("test -e /etc/apt/kept -a ! -e /etc/gone")
        .unwrap();
    assert_eq!(lines(&mut machine, "/usr/local/boots"), 2);
    assert_eq!(lines(&mut machine, "/etc/apt/boots"), 2);
    assert_eq!(lines(&mut machine, "/etc/boots"), 1);
    check_summaries(&mut machine);
    check_secrets(&mut machine);
    machine.power_off().unwrap();
}
