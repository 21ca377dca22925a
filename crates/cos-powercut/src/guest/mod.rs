//! Power cuts in a whole machine: one that QEMU runs from its firmware on, with GRUB, kernel and initrd of its own.
//!
//! A machine is recorded from its first boot through growth, a signed upgrade from a registry, its reboot and the end
//! of its trial (`life`). States of that disk are judged like all others, and some of them are started, by BIOS and
//! by UEFI: the initrd must mount the root that GRUB's rule wants (`boot`). Every sixth goes all the way: a login,
//! data that is there, and another upgrade.

mod boot;
mod draw;
mod life;
mod table;

pub use table::Boots;

use crate::disk::{DiskView, look_at};
use crate::examine::SEED;
use crate::report::Verdict;
use crate::states::{Sampling, State, States};
use anyhow::{Context, Result, bail};
use boot::{Firmware, Start};
use cos_testkit::machine::Builder;
use cos_testkit::registry::Registry;
use cos_testkit::{find_tool, tools};
use draw::Draw;
use life::Life;
use std::time::Instant;

/// So many states are drawn, and judged, for each that is booted.
const JUDGED: usize = 16;

/// What is missing to do this here, if anything is.
fn unavailable() -> Option<String> {
    let builders = [Firmware::Bios, Firmware::Uefi];
    let program = |name: &&str| find_tool(name).is_none();
    crate::unavailable()
        .or_else(|| builders.into_iter().find_map(Builder::missing))
        .or_else(|| {
            let missing = Registry::PROGRAMS.iter().find(|name| program(name));
            missing.map(|name| tools::missing(name))
        })
}

/// Records a machine's life, judges states of it and boots `count` of them; `say` is told what is going on.
pub fn run(count: usize, say: impl Fn(&str)) -> Result<Boots> {
    if let Some(reason) = unavailable() {
        bail!("{reason}");
    }
    let begin = Instant::now();
    let life = Life::record(&say)?;
    let sampling = Sampling {
        seed: SEED,
        count: count * JUDGED,
    };
    let scratch = life.recording.scratch().to_owned();
    let all = || {
        let recording = &life.recording;
        States::new(&recording.log, &recording.base(), scratch.join("copy.img"))
    };
    let within = life.report.within();
    let mut draw = Draw::new(&life.report);
    all()?.each(within.clone(), sampling, |state| {
        draw.add(state);
        Ok(())
    })?;
    let draw = draw.choose(count);
    let mut states = all()?;
    let loader = life.touches_loader();
    let mut boots = Boots::new(&life.report);
    let mut report = life.report.clone();
    states.each(within, sampling, |state| {
        if !draw.is_judged(state) {
            return Ok(());
        }
        let found = look_at(state.disk, &life.known, loader);
        let what = format!("{:?} state {}", state.cut, state.number);
        let verdict = report.count(state.position, &what, &found);
        let Some(start) = draw.start_of(state) else {
            return Ok(());
        };
        let disk = scratch.join("up.img");
        state.disk.copy_to(&disk)?;
        let told = start_state(&life, &disk, state, start, &found, verdict);
        say(&told.as_ref().map_or_else(
            |error| format!("{what}, entry {}: {error:#}", state.position),
            Clone::clone,
        ));
        boots.add(state.position, start, verdict, told.err());
        Ok(fs_err::remove_file(&disk)?)
    })?;
    drop(states);
    say("the last state, with another sector in its root image");
    let disk = scratch.join("up.img");
    fs_err::rename(scratch.join("copy.img"), &disk)?;
    boots.is_spoiled_found = boot::is_spoiled_found(&disk, &life)?;
    boots.finish(&report, begin.elapsed());
    Ok(boots)
}

/// Boots a state. Returns what is to be said of it.
fn start_state(
    life: &Life,
    disk: &std::path::Path,
    state: &State<'_>,
    start: Start,
    found: &Result<DiskView>,
    verdict: Verdict,
) -> Result<String> {
    let seen = match found {
        Ok(seen) => seen.state().context("COS_STATE boots nothing")?,
        Err(error) => bail!("{error:#}"),
    };
    let wanted = boot::Wanted::of(seen, state.disk, &life.known)?;
    let booted = boot::boot(disk, start, &wanted, life, life.has_data(state.position))?;
    Ok(format!(
        "{:?} state {}, entry {}, {:?}: {verdict:?}; {booted}",
        state.cut, state.number, state.position, start.firmware
    ))
}
