//! A machine judges its boots: a first trial becomes good; a new snapshot fails in every way there is, its
//! tries are used up, and the machine stays on the one before, with the reasons at hand.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine with plain std and stop at the first surprise"
)]

mod common;

use common::{cos, source};
use cos_testkit::images::{self, Flavor, Suite};
use cos_testkit::machine::{Builder, Firmware, Machine};
use cos_testkit::process;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Software emulation on a busy machine.
const BOOT: Duration = Duration::from_mins(7);
/// The snapshots that are made to fail.
const UNWELL: &str = "bbbbbbbbbbbb";
const FORGED: &str = "cccccccccccc";

/// A check that fails where the kernel is told `cos.test`, and a unit that makes the first try of such a
/// snapshot end in emergency mode and brings the deadline of the third one forward.
const CLOUD_CONFIG: &str = r#"name: trouble
stages:
  initramfs:
    - name: health checks
      files:
        - path: /etc/cos/health.d/50-test
          permissions: 0755
          content: |
            #!/bin/sh
            echo "$COS_MODE $COS_TRIAL" > /run/check-ran
            if grep -q cos.test /proc/cmdline; then echo told to be unwell; exit 1; fi
        - path: /etc/systemd/system/cos-assess.service.d/quick.conf
          permissions: 0644
          content: |
            [Service]
            ExecStart=
            ExecStart=/usr/bin/cos boot assess --tries 2 --pause 1
        - path: /etc/systemd/system/test-trouble.service
          permissions: 0644
          content: |
            [Unit]
            ConditionKernelCommandLine=cos.test
            OnFailure=emergency.target
            OnFailureJobMode=replace-irreversibly
            [Service]
            Type=oneshot
            ExecStart=/etc/test-trouble
            [Install]
            WantedBy=multi-user.target
        - path: /etc/test-trouble
          permissions: 0755
          content: |
            #!/bin/sh
            case $(grep ^attempt_count= /run/cos/source/cos/attempt.env) in
              attempt_count=x) exit 1 ;;
              attempt_count=xxx) systemctl start cos-boot-deadline.service ;;
            esac
    - name: trouble
      systemctl:
        enable: [test-trouble.service]
"#;

fn disk(directory: &Path) -> PathBuf {
    let image = images::debian(Suite::Trixie, Flavor::Minimal).unwrap();
    let (config, disk) = (
        directory.join("90_trouble.yaml"),
        directory.join("disk.img"),
    );
    std::fs::write(&config, CLOUD_CONFIG).unwrap();
    process::run(
        cos()
            .args(["build", "disk", &source(&image), "--cloud-config"])
            .arg(&config)
            .arg("--output")
            .arg(&disk),
    )
    .unwrap();
    disk
}

/// Waits until this boot is marked as good.
fn wait_until_good(machine: &mut Machine) {
    let deadline = Instant::now() + BOOT;
    while machine
        .run("systemctl is-active cos-boot-good.service")
        .unwrap()
        .code
        != 0
    {
        assert!(Instant::now() < deadline, "the boot does not become good");
        std::thread::sleep(Duration::from_secs(1));
    }
    machine
        .check("systemctl is-active boot-complete.target")
        .unwrap();
}

/// A variable as GRUB's own tool reads it.
fn variable(machine: &mut Machine, file: &str, name: &str) -> String {
    let said = machine
        .check(&format!("grub-editenv /run/cos/source/cos/{file} list"))
        .unwrap();
    let prefix = format!("{name}=");
    let value = said.lines().find_map(|line| line.strip_prefix(&prefix));
    value.unwrap_or_default().trim().to_owned()
}

/// Puts a second name on the files of snapshot `from`, with its `boot.cfg` changed by a sed script, and
/// makes it what boots, on trial, as an upgrade does.
fn deploy(machine: &mut Machine, new: &str, from: &str, script: &str, state: &str) {
    machine
        .check(&format!(
            "cd /run/cos/source/cos && mount -o remount,rw /run/cos/source \
             && cp -al snapshots/{from} snapshots/{new} && rm snapshots/{new}/boot.cfg \
             && sed -e '{script}' snapshots/{from}/boot.cfg > snapshots/{new}/boot.cfg \
             && grub-editenv boot.env set cos_active={new} cos_passive={from} cos_trial={new} {state} \
             && mount -o remount,ro /run/cos/source"
        ))
        .unwrap();
}

fn failure(machine: &mut Machine, id: &str) -> Value {
    let text = machine
        .check(&format!("cat /run/cos/source/cos/failures/{id}.json"))
        .unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The machine runs `good` because what comes before it was given up.
fn check_fallback(machine: &mut Machine, good: &str) {
    wait_until_good(machine);
    let command_line = machine.check("cat /proc/cmdline").unwrap();
    for word in [
        "cos.mode=passive",
        &format!("cos.snapshot={good}"),
        "cos.fallback",
    ] {
        assert!(command_line.contains(word), "{word}: {command_line}");
    }
    assert!(!command_line.contains("cos.trial"), "{command_line}");
    machine
        .check("test -e /run/cos/upgrade_failure && test -e /run/cos/passive_mode")
        .unwrap();
    let boot = machine.check("cat /run/cos/boot.json").unwrap();
    let boot: Value = serde_json::from_str(&boot).unwrap();
    assert_eq!(
        (&boot["fallback"], &boot["trial"]),
        (&true.into(), &false.into())
    );
    assert_eq!(variable(machine, "attempt.env", "attempt_count"), "");
}

/// The first boot of a disk is a trial that ends well. Returns the snapshot.
fn check_first_boot(machine: &mut Machine) -> String {
    wait_until_good(machine);
    let command_line = machine.check("cat /proc/cmdline").unwrap();
    assert!(command_line.contains("cos.trial"), "{command_line}");
    machine
        .check("grep -x SyncIntervalSec=1s /run/systemd/journald.conf.d/50-cos-trial.conf")
        .unwrap();
    assert_eq!(variable(machine, "boot.env", "cos_trial"), "");
    assert_eq!(variable(machine, "boot.env", "cos_generation"), "2");
    assert_eq!(variable(machine, "attempt.env", "attempt_count"), "");
    assert_eq!(
        machine.check("cat /run/check-ran").unwrap().trim(),
        "active 1"
    );
    let assessment = machine.check("cat /run/cos/assessment.json").unwrap();
    let assessment: Value = serde_json::from_str(&assessment).unwrap();
    assert_eq!(assessment["healthy"], true, "{assessment}");
    let failed = machine
        .check("systemctl --failed --no-legend --plain")
        .unwrap();
    assert_eq!(failed.trim(), "", "units failed");
    let options = machine
        .check("findmnt --noheadings --output OPTIONS /run/cos/source")
        .unwrap();
    assert!(
        options.contains("ro,"),
        "COS_STATE was left writable: {options}"
    );
    // Nothing is left to do for the deadline: the machine goes on.
    machine
        .check("systemctl start cos-boot-deadline.service")
        .unwrap();
    variable(machine, "boot.env", "cos_active")
}

#[test]
fn a_trial_that_fails_ends_on_the_snapshot_before() {
    const NAME: &str = "a_trial_that_fails_ends_on_the_snapshot_before";
    if let Some(reason) = Builder::missing(Firmware::Bios) {
        cos_testkit::skip(NAME, &reason);
        return;
    }
    let directory = cos_testkit::temp_dir().unwrap();
    let disk = disk(directory.path());
    let mut machine = Machine::builder(NAME).disk(&disk).boot().unwrap();
    machine.login(BOOT).unwrap();
    let good = check_first_boot(&mut machine);

    // Three tries: emergency mode, a failed check, out of time. Nobody touches the machine meanwhile.
    let state = "cos_generation=3 cos_tries=xxx";
    let unwell = "/cos_arguments/s/panic/cos.test panic/";
    deploy(&mut machine, UNWELL, &good, unwell, state);
    machine.reboot().unwrap();
    let emergency =
        "rebooting: the boot ended in emergency mode; failed are .*test-trouble.service";
    machine.expect(emergency, BOOT).unwrap();
    for _ in 0..3 {
        machine.expect("reboot: Restarting system", BOOT).unwrap();
    }
    machine.login(BOOT).unwrap();
    check_fallback(&mut machine, &good);
    assert_eq!(
        variable(&mut machine, "attempt.env", "attempt_failed"),
        UNWELL
    );
    let note = failure(&mut machine, UNWELL);
    assert_eq!(note["stage"], "deadline", "{note}");
    let reason = note["reason"].as_str().unwrap();
    assert!(reason.contains("it waits for"), "{reason}");
    assert!(note["journal"].as_array().unwrap().len() > 10, "{note}");
    let journal = machine
        .check("journalctl --no-pager -o cat -g 'this boot failed, rebooting'")
        .unwrap();
    let reason = "health check 50-test: exit status: 1: told to be unwell";
    assert!(journal.contains(reason), "{journal}");

    // A root image that is not the one the boot loader knows: the initrd says so.
    let state = format!("cos_generation=4 cos_tries=x cos_failed={UNWELL}");
    let forged = "/cos_roothash/s/=./=/;/cos_roothash/s/$/0/";
    deploy(&mut machine, FORGED, &good, forged, &state);
    machine.reboot().unwrap();
    machine
        .expect("reboot: Restarting system|Rebooting", BOOT)
        .unwrap();
    machine.login(BOOT).unwrap();
    check_fallback(&mut machine, &good);
    let note = failure(&mut machine, FORGED);
    assert_eq!(note["stage"], "initrd", "{note}");
    let reason = note["reason"].as_str().unwrap();
    assert!(reason.contains("does not match its root hash"), "{reason}");
    let journal = note["journal"].to_string();
    assert!(
        journal.contains("cos-init: the boot stops here"),
        "{journal}"
    );

    // It stays there until somebody decides.
    machine.reboot().unwrap();
    machine.login(BOOT).unwrap();
    check_fallback(&mut machine, &good);
    machine.power_off().unwrap();
}
