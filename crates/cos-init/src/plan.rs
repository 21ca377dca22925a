//! Which mounts make the root writable where it should be: computed from the command line, the
//! layout and what was found, before anything is mounted.

use crate::cmdline::{CommandLine, OverlaySpec};
use crate::layout::Layout;
use crate::volume::Volume;
use cos_sys::device_spec::DeviceSpec;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Label of the partition that keeps what is written.
pub(crate) const PERSISTENT_LABEL: &str = "COS_PERSISTENT";
/// Where it is mounted.
const PERSISTENT_TARGET: &str = "/usr/local";
/// Where the cloud-config partition is mounted.
pub(crate) const OEM_TARGET: &str = "/oem";
/// Where changes to ephemeral paths are kept.
pub(crate) const OVERLAY_DIRECTORY: &str = "/run/cos/overlay";

/// What the image has at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DirectoryState {
    /// No directory.
    Missing,
    /// An empty one.
    Empty,
    /// One with something in it.
    Populated,
}

/// What was probed before planning.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// Which of [`wanted_volumes`] are there, by target.
    pub mounted: Vec<PathBuf>,
    /// What the image has at the paths of the layout.
    pub directories: BTreeMap<PathBuf, DirectoryState>,
}

/// One thing to do, in order. Paths are those of the running system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Mount what takes the changes to ephemeral paths.
    EphemeralStore(OverlaySpec),
    /// Lay a writable layer, kept in `store`, over a directory of the image.
    Overlay {
        /// The directory.
        path: PathBuf,
        /// Where its `upper` and `work` directories are.
        store: PathBuf,
    },
    /// Put a directory in the place of another.
    Bind {
        /// The place.
        path: PathBuf,
        /// The directory.
        store: PathBuf,
        /// Whether what the image has there and the directory lacks is copied first.
        seed: bool,
    },
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    /// In order.
    pub steps: Vec<Step>,
    /// Whether persistent paths are kept in this boot.
    pub persistent: bool,
    /// What is left out that was asked for.
    pub warnings: Vec<String>,
}

/// The volumes to be mounted before the rest is planned, parents first. COS_OEM is not among them:
/// it is mounted before the layout is known.
pub(crate) fn wanted_volumes(cmdline: &CommandLine, layout: &Layout) -> Vec<Volume> {
    let mut volumes = match &layout.volumes {
        Some(volumes) => volumes.clone(),
        None => vec![Volume {
            device: DeviceSpec::Label(PERSISTENT_LABEL.into()),
            target: PERSISTENT_TARGET.into(),
            options: String::new(),
        }],
    };
    if layout.merge || layout.volumes.is_none() {
        volumes.extend(cmdline.volumes.iter().cloned());
    }
    // Everything in memory means that a broken or foreign COS_PERSISTENT cannot get in the way.
    let persistent = |volume: &Volume| {
        volume.device == DeviceSpec::Label(PERSISTENT_LABEL.into())
            || volume.target == Path::new(PERSISTENT_TARGET)
    };
    volumes.retain(|volume| {
        volume.target != Path::new(OEM_TARGET)
            && (cmdline.mode.is_persistent() || !persistent(volume))
    });
    // Of two for one place, the later one was said by somebody.
    let mut by_target = BTreeMap::new();
    for volume in volumes {
        by_target.insert(volume.target.clone(), volume);
    }
    by_target.into_values().collect()
}

/// The paths whose state in the image [`plan`] wants to know.
pub(crate) fn paths_to_look_at(layout: &Layout) -> impl Iterator<Item = &Path> {
    let state = layout.state_paths.iter().map(|state| state.path.as_path());
    layout.rw_paths.iter().map(PathBuf::as_path).chain(state)
}

/// Plans.
pub(crate) fn plan(cmdline: &CommandLine, layout: &Layout, facts: &Facts) -> Plan {
    let mut plan = Plan::default();
    let kept_on = facts
        .mounted
        .iter()
        .find(|target| layout.state_target.starts_with(target));
    plan.persistent = cmdline.mode.is_persistent() && kept_on.is_some();
    if cmdline.mode.is_persistent() && kept_on.is_none() && !layout.state_paths.is_empty() {
        plan.warnings.push(format!(
            "nothing is kept in this boot: no volume is mounted for {}",
            layout.state_target.display()
        ));
    }
    let overlay = layout.overlay.clone();
    let overlay = match (layout.merge, cmdline.overlay.clone()) {
        (true, Some(said)) => said,
        (_, said) => overlay.or(said).unwrap_or_default(),
    };
    plan.steps.push(Step::EphemeralStore(overlay));
    plan_ephemeral(&mut plan, cmdline, layout, facts);
    if plan.persistent {
        plan_persistent(&mut plan, layout, facts);
    }
    plan
}

fn state_of(facts: &Facts, path: &Path) -> DirectoryState {
    facts
        .directories
        .get(path)
        .copied()
        .unwrap_or(DirectoryState::Missing)
}

fn plan_ephemeral(plan: &mut Plan, cmdline: &CommandLine, layout: &Layout, facts: &Facts) {
    let store = Path::new(OVERLAY_DIRECTORY);
    if cmdline.debug_rw || layout.debug_rw {
        plan.steps.push(overlay(Path::new("/"), store));
        return;
    }
    let mut paths = layout.rw_paths.clone();
    // Parents first, so that a mount does not hide one below it.
    paths.sort();
    paths.dedup();
    for path in paths {
        let covered = facts.mounted.contains(&path) || (plan.persistent && layout.keeps(&path));
        match state_of(facts, &path) {
            _ if covered => {}
            DirectoryState::Missing if layout.rw_paths_said => plan.warnings.push(format!(
                "{} stays read-only: the image has no such directory",
                path.display()
            )),
            DirectoryState::Missing => {}
            DirectoryState::Empty | DirectoryState::Populated => {
                plan.steps.push(overlay(&path, store));
            }
        }
    }
}

fn plan_persistent(plan: &mut Plan, layout: &Layout, facts: &Facts) {
    let mut paths = layout.state_paths.clone();
    paths.sort_by(|a, b| a.path.cmp(&b.path));
    paths.dedup_by(|a, b| a.path == b.path);
    for state in paths {
        let path = state.path;
        let content = state_of(facts, &path);
        if content == DirectoryState::Missing && state.only_if_present {
            continue;
        }
        if layout.state_target.starts_with(&path) {
            plan.warnings.push(format!(
                "{} cannot be kept below itself, in {}",
                path.display(),
                layout.state_target.display()
            ));
            continue;
        }
        plan.steps.push(if layout.state_bind {
            Step::Bind {
                store: layout.state_target.join(store_name(&path, "bind")),
                path,
                seed: true,
            }
        } else if content == DirectoryState::Populated {
            overlay(&path, &layout.state_target)
        } else {
            // Nothing to lay over. The overlay's own upper directory takes its place, so that the
            // data stays where it is when a later image does bring content; and what is no overlay
            // can itself hold one, as container engines want it.
            Step::Bind {
                store: layout
                    .state_target
                    .join(store_name(&path, "overlay"))
                    .join("upper"),
                path,
                seed: false,
            }
        });
    }
}

fn overlay(path: &Path, store: &Path) -> Step {
    Step::Overlay {
        path: path.to_owned(),
        store: store.join(store_name(path, "overlay")),
    }
}

/// `/var/lib/x` is kept in `var-lib-x.overlay`, as the family names it.
fn store_name(path: &Path, kind: &str) -> String {
    let text = path.to_string_lossy();
    let name = text.trim_matches('/').replace('/', "-");
    let name = if name.is_empty() { "root-fs" } else { &name };
    format!("{name}.{kind}")
}

#[cfg(test)]
mod tests;
