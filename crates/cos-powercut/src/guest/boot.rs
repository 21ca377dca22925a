//! Starting a machine from a disk after a cut.

use super::life::{DATA, Life, MINE, UPGRADE, succeeds};
use crate::Ext4;
use crate::disk::{DiskKnown, Look, LoopDisk, look_at};
use crate::loader::View;
use crate::working_copy::WorkingCopy;
use anyhow::{Context, Result, bail, ensure};
use cos_boot::{BOOT_CONFIG, Choice, ROOT_IMAGE, SnapshotId};
use cos_ops::build::sizes::Role;
pub(super) use cos_testkit::machine::Firmware;
use cos_testkit::machine::{BOOT, Machine};
use fs_err::OpenOptions;
use fs_err::os::unix::fs::FileExt as _;
use serde_json::Value;
use std::path::Path;

/// What the initrd says when it has mounted the root, and when it refuses to.
pub(super) const READY: &str = r"cos-init: (\w+ snapshot [0-9a-f]+ is ready|the boot stops here)";
/// What of a root image is lost for the check to be checked.
const SECTOR: [u8; 512] = [0x5a; 512];

/// How a state is booted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    /// What starts the boot loader.
    pub(super) firmware: Firmware,
    /// To the login, and to the next upgrade; else up to the mounted root.
    pub(super) all_the_way: bool,
}

/// What must boot.
#[derive(Debug)]
pub(super) struct Wanted {
    snapshot: SnapshotId,
    root_hash: String,
}

impl Wanted {
    /// By the boot loader's rule, and by what the snapshot has for the boot loader.
    pub(super) fn of(seen: &View, disk: &WorkingCopy, known: &DiskKnown) -> Result<Self> {
        let Choice::Snapshot(snapshot) = seen.decision.choice.clone() else {
            bail!("recovery is to boot");
        };
        let ext4 = Ext4::open(disk.file(), known.part(Role::State)?)?;
        let text = ext4.read(&format!("{}/{BOOT_CONFIG}", snapshot.directory()))?;
        let text = String::from_utf8(text)?;
        let mut lines = text.lines();
        let root_hash = lines.find_map(|line| line.strip_prefix("set cos_roothash="));
        Ok(Self {
            root_hash: root_hash.context("no root hash")?.to_owned(),
            snapshot,
        })
    }
}

/// Boots a disk, which itself is not changed. Returns what was seen; anything but what is wanted is an error.
pub(super) fn boot(
    disk: &Path,
    start: Start,
    wanted: &Wanted,
    life: &Life,
    has_data: bool,
) -> Result<String> {
    let mut machine = Machine::builder("powercut-state").disk(disk);
    machine = machine.firmware(start.firmware);
    if start.all_the_way {
        machine = machine.network();
    }
    let mut machine = machine.boot()?;
    let said = machine.expect(READY, BOOT).context("no root was mounted")?;
    mounted(&said, wanted)?;
    let Wanted { snapshot, .. } = wanted;
    if !start.all_the_way {
        return Ok(format!("{snapshot} is mounted"));
    }
    machine.login(BOOT)?;
    if has_data {
        for path in DATA {
            let found = machine.check(&format!("cat {path}"))?;
            ensure!(found == MINE, "{path}: {found}");
        }
    }
    upgrade(&mut machine, wanted, life)?;
    let data = if has_data { "data is there, " } else { "" };
    Ok(format!("{snapshot} is up, {data}and was upgraded"))
}

/// Whether a boot from a disk on which one sector of the root image is another is found out: without that, none that
/// comes up shows anything.
pub(super) fn is_spoiled_found(disk: &Path, life: &Life) -> Result<bool> {
    let known = &life.known;
    let seen = look_at(
        &WorkingCopy::new(disk, disk.with_extension("seen"))?,
        known,
        true,
    )?;
    let seen = seen.state().context("COS_STATE boots nothing")?;
    let copy = WorkingCopy::new(disk, disk.with_extension("wanted"))?;
    let wanted = Wanted::of(seen, &copy, known)?;
    {
        let disk = LoopDisk::attach(disk)?;
        let look = Look::into_partition(&disk.partition(Role::State.number()), "rw")?;
        let directory = look.path().join(wanted.snapshot.directory());
        let image = OpenOptions::new()
            .write(true)
            .open(directory.join(ROOT_IMAGE))?;
        image.write_all_at(&SECTOR, 0)?;
        image.sync_all()?;
        drop(image);
        drop(look);
        disk.detach()?;
    }
    let start = Start {
        firmware: Firmware::Bios,
        all_the_way: false,
    };
    Ok(boot(disk, start, &wanted, life, false).is_err())
}

/// What the initrd says: the root that it mounted must be the one that is wanted, verified.
fn mounted(said: &str, wanted: &Wanted) -> Result<()> {
    let Wanted {
        snapshot,
        root_hash,
    } = wanted;
    let verified = format!("is verified with root hash {root_hash}");
    let ready = format!("snapshot {snapshot} is ready");
    for line in [&verified, &ready] {
        ensure!(
            said.contains(line),
            "the initrd does not say `{line}`: {}",
            cos_testkit::process::tail(said, 5)
        );
    }
    Ok(())
}

/// The machine knows what it runs, and the next upgrade is what boots next.
fn upgrade(machine: &mut Machine, wanted: &Wanted, life: &Life) -> Result<()> {
    let before = status(machine)?;
    let running = &before["running"]["snapshot"];
    ensure!(
        running == wanted.snapshot.as_str(),
        "`cos status` says that {running} runs"
    );
    let next = life.fleet.reference("v3");
    succeeds(machine, &format!("cos upgrade {next}")).context("the next upgrade")?;
    let after = status(machine)?;
    let (digest, first) = (life.fleet.digest("v3")?, &after["snapshots"][0]);
    ensure!(
        first["digest"] == digest.as_str() && after["nextBoot"] == first["id"],
        "after the next upgrade: {after}"
    );
    Ok(())
}

/// `cos status --json`.
fn status(machine: &mut Machine) -> Result<Value> {
    let ran = machine.run_for("cos status --json", UPGRADE)?;
    let last = ran.output.lines().last().unwrap_or_default();
    let value: Value = serde_json::from_str(last).with_context(|| ran.output.clone())?;
    Ok(value["result"].clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_root_than_the_wanted_one_is_told() {
        let wanted = Wanted {
            snapshot: "0123456789ab".parse().unwrap(),
            root_hash: "ab".repeat(32),
        };
        let said = |hash: &str, id: &str| {
            format!(
                "[ 9.1] cos-init: root image /x (90 MiB) is verified with root hash {hash}\n\
                 [ 9.2] cos-init: active snapshot {id} is ready"
            )
        };
        let (hash, id) = ("ab".repeat(32), "0123456789ab");
        mounted(&said(&hash, id), &wanted).unwrap();
        for said in [
            said(&"cd".repeat(32), id),
            said(&hash, "ba9876543210"),
            String::new(),
        ] {
            assert!(mounted(&said, &wanted).is_err(), "{said}");
        }
    }
}
