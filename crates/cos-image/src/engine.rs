//! Images in the storage of a container engine on this machine, by way of the engine's own `save`.

use crate::source::Engine;
use crate::{ImageError, Options};
use cos_events::{Monitor, Task};
use cos_sys::tool::{Tool, ToolError};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempPath;

/// How much of the engine's complaint an error shows, in bytes.
const STDERR_SHOWN: u64 = 2048;

/// Saves an image to a temporary file.
pub(crate) fn save(
    engine: Engine,
    name: &str,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<TempPath, ImageError> {
    let failed = |source| ImageError::Engine { engine, source };
    let command = engine.command();
    let tool = Tool::find(command, command, options.tool_path.as_deref()).map_err(failed)?;
    let temporary = |source| ImageError::TempFile {
        directory: options.temp_dir.clone(),
        source,
    };
    let file = tempfile::Builder::new()
        .prefix("cos-image-")
        .suffix(".tar")
        .tempfile_in(&options.temp_dir)
        .map_err(temporary)?;
    let errors = tempfile::tempfile_in(&options.temp_dir).map_err(temporary)?;
    let start = |source| {
        failed(ToolError::Start {
            program: tool.path().into(),
            source,
        })
    };
    let task = Task::bytes(monitor, format!("save {name} from {command}"), None);
    let child = tool
        .command()
        .args(["save", "--", name])
        .stdin(Stdio::null())
        .stdout(file.as_file().try_clone().map_err(temporary)?)
        .stderr(errors.try_clone().map_err(temporary)?)
        .spawn()
        .map_err(start)?;
    let status = wait(child, monitor)?.map_err(start)?;
    if !status.success() {
        return Err(failed(ToolError::Failed {
            command: format!("{command} save {name}"),
            status: status.to_string(),
            stderr: tail(errors).map_err(temporary)?,
        }));
    }
    task.advance(file.as_file().metadata().map_err(temporary)?.len());
    task.finish();
    Ok(file.into_temp_path())
}

/// Waits for the program's end; stops it when the operation is cancelled.
fn wait(mut child: Child, monitor: &dyn Monitor) -> Result<io::Result<ExitStatus>, ImageError> {
    loop {
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => return Ok(Ok(status)),
            Err(error) => return Ok(Err(error)),
        }
        if let Err(cancelled) = monitor.checkpoint() {
            // It may have ended in between; then there is nothing to stop.
            drop(child.kill());
            drop(child.wait());
            return Err(cancelled.into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The end of what the program said.
fn tail(mut errors: File) -> io::Result<String> {
    let length = errors.metadata()?.len();
    errors.seek(SeekFrom::Start(length.saturating_sub(STDERR_SHOWN)))?;
    let mut bytes = Vec::new();
    errors.take(STDERR_SHOWN).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
