//! What keeps a disk from being installed to.

use super::{InstallError, InstallRequest};
use crate::build::sizes::Role;
use cos_disk::live::{Survey, SurveyedPartition, WholeContent};

/// The only size of a sector for which tables are written.
const SECTOR: u32 = 512;
/// Partitions that are named in a refusal; of more there is a count.
const MAX_NAMED: usize = 8;

/// Refuses a disk that must not be written, or not without being told twice.
pub(super) fn check(survey: &Survey, request: &InstallRequest) -> Result<(), InstallError> {
    let device = survey.path.clone();
    if survey.name.is_none() && !request.force {
        return Err(InstallError::IsFile { device });
    }
    if !survey.users.is_empty() {
        let users = survey.users.clone();
        return Err(InstallError::InUse { device, users });
    }
    if survey.block_size != SECTOR {
        let size = survey.block_size;
        return Err(InstallError::SectorSize { device, size });
    }
    if request.no_format || request.force {
        return Ok(());
    }
    match &survey.content {
        WholeContent::Nothing | WholeContent::Unfinished => Ok(()),
        WholeContent::Partitions(partitions) if partitions.iter().any(is_state) => {
            Err(InstallError::Deployed { device })
        }
        content => {
            let what = describe(content);
            Err(InstallError::NotEmpty { device, what })
        }
    }
}

fn is_state(partition: &SurveyedPartition) -> bool {
    let content = partition.content.as_ref();
    content.and_then(|content| content.label.as_deref()) == Role::State.label()
}

/// What a disk holds, in a few words.
pub(super) fn describe(content: &WholeContent) -> String {
    match content {
        WholeContent::Nothing => "nothing".to_owned(),
        WholeContent::Unfinished => "an installation of cOS that was not finished".to_owned(),
        WholeContent::Other(what) => what.clone(),
        WholeContent::Partitions(partitions) if partitions.is_empty() => {
            "a partition table without partitions".to_owned()
        }
        WholeContent::Partitions(partitions) => {
            let named = partitions.iter().take(MAX_NAMED).map(|partition| {
                let content = partition.content.as_ref();
                let label = content.and_then(|content| content.label.as_deref());
                let kind = content.map(|content| content.kind);
                let name = label.or(Some(partition.name.as_str()).filter(|name| !name.is_empty()));
                [Some(partition.number.to_string().as_str()), name, kind]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(" ")
            });
            let named = named.collect::<Vec<_>>().join(", ");
            match partitions.len().saturating_sub(MAX_NAMED) {
                0 => format!("partitions {named}"),
                more => format!("partitions {named} and {more} more"),
            }
        }
    }
}
