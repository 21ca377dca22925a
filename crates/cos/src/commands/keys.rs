//! `cos keys`.

use crate::arguments::GenerateKeysArguments;
use crate::failure::Failure;
use crate::render::Renderer;
use cos_ops::{OpsError, sealed};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// Makes keys for Secure Boot.
pub(crate) fn generate(
    arguments: &GenerateKeysArguments,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let made = sealed::generate(
        &arguments.directory,
        &arguments.name,
        now.as_secs().cast_signed(),
    )
    .map_err(OpsError::from)?;
    let text = format!(
        "wrote {} files to {}\nkeep PK.key and KEK.key offline: only db.key seals systems, and pcr.key lets them unlock data\n",
        made.files.len(),
        made.directory.display()
    );
    renderer.result(&text, &made)?;
    Ok(ExitCode::SUCCESS)
}
