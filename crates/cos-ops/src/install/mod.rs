//! `cos install`: an image, or the system that runs, onto a disk of this machine.
//!
//! The disk is looked at, what is wanted is checked against it, and the snapshot is made; then
//! everything is written, and the partition table last of all. Until that moment the disk is one that
//! is known as unfinished and boots nothing.

pub mod config;
pub mod disks;
pub mod documents;

mod error;
mod execute;
mod existing;
mod firmware;
mod plan;
mod refusal;

pub use error::InstallError;
pub use firmware::Firmware;
pub use plan::{InstallResult, Present};

use crate::build::payload::{Payload, PlacedFile};
use crate::build::plan::{DiskPlan, Extras};
use crate::build::sizes::{ContentSizes, Role, SizeRequest};
use crate::deploy::{self, SnapshotSource};
use crate::hooks::{Hooks, NoHooks};
use cos_disk::live::Survey;
use cos_events::{Monitor, warn};
use cos_store::Action;
use documents::CloudConfig;
use existing::Existing;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// What to install where.
#[derive(Debug, Clone)]
pub struct InstallRequest {
    /// The disk.
    pub device: PathBuf,
    /// What.
    pub source: SnapshotSource,
    /// Kernel arguments behind those of the image.
    pub kernel_arguments: String,
    /// Sizes of single partitions in bytes.
    pub partitions: BTreeMap<Role, u64>,
    /// What the disk has besides.
    pub extras: Extras,
    /// Cloud-config for COS_OEM.
    pub cloud_configs: Vec<CloudConfig>,
    /// Which boot loaders.
    pub firmware: Firmware,
    /// Whether this machine was started by UEFI.
    pub has_uefi: bool,
    /// Where the machine's TPM is, if it has one.
    pub tpm: PathBuf,
    /// Take the partitions that are there.
    pub no_format: bool,
    /// Overwrite what is there; take a file for a disk.
    pub force: bool,
    /// Where to keep temporary data.
    pub temp_dir: PathBuf,
    /// Where to look for programs; by default where root's login does.
    pub search_path: Option<OsString>,
    /// The time, seconds since 1970.
    pub now: i64,
}

/// A planned installation: what is known before the first write.
struct Prepared {
    survey: Survey,
    payload: Payload,
    oem: Vec<PlacedFile>,
    target: Target,
}

enum Target {
    New(DiskPlan),
    Existing(Existing),
}

/// Says what an installation would do; writes nothing but temporary data.
pub fn plan_install(
    request: &InstallRequest,
    monitor: &dyn Monitor,
) -> Result<InstallResult, InstallError> {
    let prepared = prepare(request, &NoHooks, monitor)?;
    Ok(plan::result(request, &prepared, true))
}

/// Installs.
pub fn install(
    request: &InstallRequest,
    hooks: &dyn Hooks,
    monitor: &dyn Monitor,
) -> Result<InstallResult, InstallError> {
    let prepared = prepare(request, hooks, monitor)?;
    let result = plan::result(request, &prepared, false);
    match &prepared.target {
        Target::New(plan) => execute::write_disk(request, &prepared, plan, hooks, monitor)?,
        Target::Existing(existing) => {
            existing::write(request, &prepared, existing, hooks, monitor)?;
        }
    }
    if let Err(source) = hooks.post() {
        warn(monitor, format!("hook post-install failed: {source}"));
    }
    Ok(result)
}

fn prepare(
    request: &InstallRequest,
    hooks: &dyn Hooks,
    monitor: &dyn Monitor,
) -> Result<Prepared, InstallError> {
    let survey = Survey::of(&request.device)?;
    refusal::check(&survey, request)?;
    // Before the long part: what is wrong with the partitions shows now.
    let existing = request
        .no_format
        .then(|| Existing::find(&survey, request))
        .transpose()?;
    let content = |payload: Option<&Payload>, oem: &[PlacedFile]| ContentSizes {
        snapshot: payload.map(Payload::sizes).unwrap_or_default(),
        loader: payload.map_or(Vec::new(), |payload| {
            payload.efi.iter().map(|file| file.size).collect()
        }),
        program: 0,
        oem: oem.iter().map(|file| file.size).collect(),
    };
    let oem = documents::placed(&request.cloud_configs);
    let identity = crate::identity::Identity::from_parts(&[]);
    let sizes = SizeRequest {
        disk: Some(survey.size),
        partitions: request.partitions.clone(),
    };
    if existing.is_none() {
        DiskPlan::new(&sizes, &request.extras, &identity, &content(None, &oem))?;
    }
    hooks
        .before()
        .map_err(|source| deploy::hook("before", Action::Install, "", source))?;
    let mut payload = deploy::payload(
        &request.source,
        &request.kernel_arguments,
        Action::Install,
        request.now,
        &request.temp_dir,
        hooks,
        monitor,
    )?;
    let bios_place = existing.as_ref().is_none_or(Existing::has_bios_place);
    firmware::choose(request, &mut payload, bios_place)?;
    let target = match existing {
        Some(existing) => Target::Existing(existing),
        None => Target::New(DiskPlan::new(
            &sizes,
            &request.extras,
            &payload.identity,
            &content(Some(&payload), &oem),
        )?),
    };
    Ok(Prepared {
        survey,
        payload,
        oem,
        target,
    })
}
