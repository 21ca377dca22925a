//! `cos image root`: an image's root image alone.

use super::payload::BuildRequest;
use crate::OpsError;
use crate::root::boot_files::BootFiles;
use crate::root::convert::load;
use cos_disk::place::Placement;
use cos_events::Monitor;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A written root image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RootResult {
    /// Where it is.
    pub path: PathBuf,
    /// Name of its bytes' format.
    pub format: &'static str,
    /// Root hash, hexadecimal.
    pub root_hash: String,
    /// Where the hash area starts, in bytes; the file system is what lies before it.
    pub hash_offset: u64,
    /// Bytes in all.
    pub size: u64,
    /// Digest of the image's manifest; absent for a plain directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Writes the root image of an image and, when asked for, its hash area as a file of its own. An image that
/// cannot boot is fine: only its tree counts.
pub fn build_root(
    request: &BuildRequest,
    sidecar: Option<&Path>,
    monitor: &dyn Monitor,
) -> Result<RootResult, OpsError> {
    let temp_dir = request.make_temp_dir()?;
    let mut loaded = load(&request.image, temp_dir.path(), monitor)?;
    let kernel = BootFiles::find(&loaded.image.tree, &loaded.spool)
        .ok()
        .and_then(|files| files.kernel_version());
    loaded.fit_kernel(request.image.compression, kernel, temp_dir.path(), monitor)?;
    let medium = |path: &Path| {
        let path = path.to_path_buf();
        move |source| OpsError::Medium { path, source }
    };
    let output = Placement::create(&request.output).map_err(medium(&request.output))?;
    let beside = match sidecar {
        Some(path) => Some((path, Placement::create(path).map_err(medium(path))?)),
        None => None,
    };
    let hash_file = beside.as_ref().map(|(_, placement)| placement.file());
    let verity = loaded.write_root(output.file(), hash_file, monitor)?;
    monitor.checkpoint()?;
    if let Some((path, placement)) = beside {
        placement.finish().map_err(medium(path))?;
    }
    output.finish().map_err(medium(&request.output))?;
    Ok(RootResult {
        path: request.output.clone(),
        format: cos_erofs::FORMAT,
        root_hash: verity.root_hash.to_string(),
        hash_offset: verity.hash_offset,
        size: verity.total_size,
        digest: loaded.image.digest.as_ref().map(ToString::to_string),
    })
}
