//! The version floor of a machine that is reset.

use super::{Prepared, ResetError, ResetRequest};
use crate::build::payload::Payload;
use crate::deploy::{DeployError, SnapshotSource};
use crate::error::chain;
use crate::trust::{self, FloorQuestion};
use cos_events::{Monitor, warn};
use cos_store::Store;
use semver::Version;

fn version(payload: &Payload) -> Option<Version> {
    let version = payload.snapshot.image_version.as_deref();
    version.and_then(trust::parse_version)
}

fn question<'q>(
    request: &'q ResetRequest,
    payload: &'q Payload,
    version: Option<&'q Version>,
) -> FloorQuestion<'q> {
    FloorQuestion {
        image: &payload.snapshot.source,
        version,
        allow_downgrade: request.allow_downgrade,
        tpm: &request.tpm,
    }
}

/// The system that runs may be older than what was good here: it is what a machine goes back to.
pub(super) fn refuse_downgrade(
    request: &ResetRequest,
    payload: &Payload,
    store: &Store,
    monitor: &dyn Monitor,
) -> Result<(), ResetError> {
    let SnapshotSource::Image(_) = &request.source else {
        return Ok(());
    };
    let version = version(payload);
    let asked = question(request, payload, version.as_ref()).ask(store, monitor);
    asked.map_err(|error| DeployError::from(error).into())
}

/// The floor stays as it was, also where COS_STATE is made anew; where it could not be believed, it is the
/// version that is there now, and where a lower one was asked for, that. What goes wrong with it does not
/// undo the reset.
pub(super) fn keep(
    request: &ResetRequest,
    prepared: &Prepared,
    store: &Store,
    monitor: &dyn Monitor,
) {
    let version = version(&prepared.payload);
    let text = version.as_ref().map(ToString::to_string);
    let kept = trust::renew_floor(
        store,
        &request.tpm,
        prepared.floor.as_deref(),
        text.as_deref(),
    );
    let kept = kept.and_then(|()| match &request.source {
        SnapshotSource::Image(_) => {
            question(request, &prepared.payload, version.as_ref()).lower(store)
        }
        SnapshotSource::Running(_) => Ok(()),
    });
    if let Err(error) = kept {
        let error = chain(&error);
        warn(monitor, format!("the machine is reset; {error}"));
    }
}
