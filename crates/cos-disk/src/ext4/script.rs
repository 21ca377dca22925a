//! What `debugfs` is told, to make every file with its blocks reserved.

use super::content::{Item, Members, blocks_of};
use super::{Ext4Options, Target};
use crate::DiskError;
use cos_sys::tool::{self, Tool};
use std::io::Write as _;

/// Makes all members, files empty but with the blocks of their size. Returns what the program said,
/// for it exits with 0 whatever happened.
pub(super) fn run(
    debugfs: &Tool,
    target: &Target<'_>,
    members: &Members<'_>,
    options: &Ext4Options,
) -> Result<String, DiskError> {
    let mut script = String::new();
    for (path, item) in members.iter() {
        describe(&mut script, &path, item, options.seconds());
    }
    let mut command_file = tempfile::NamedTempFile::new().map_err(DiskError::Ext4Script)?;
    command_file
        .write_all(script.as_bytes())
        .map_err(DiskError::Ext4Script)?;
    let mut command = target.command(debugfs, options);
    command
        .arg("-w")
        .arg("-f")
        .arg(command_file.path())
        .arg(target.with_offset());
    let output = tool::run(command).map_err(DiskError::Ext4Tool)?;
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn describe(script: &mut String, path: &[&str], item: &Item<'_>, time: i64) {
    let full = format!("/{}", path.join("/"));
    let mut lines = Vec::new();
    if let (Some(source), Some((name, parent))) = (&item.source, path.split_last()) {
        lines.push(format!("cd /{}", parent.join("/")));
        lines.push(format!("write /dev/null {name}"));
        lines.push(format!("sif {full} size {}", source.len()));
        if let Some(last) = blocks_of(source.len()).checked_sub(1) {
            lines.push(format!("fallocate {full} 0 {last}"));
        }
    } else if !path.is_empty() {
        lines.push(format!("mkdir {full}"));
    }
    lines.push(format!("sif {full} mode 0{:o}", item.full_mode()));
    for field in ["uid", "gid"] {
        lines.push(format!("sif {full} {field} 0"));
    }
    for field in ["atime", "ctime", "mtime", "crtime"] {
        lines.push(format!("sif {full} {field} @{time}"));
    }
    for line in lines {
        script.push_str(&line);
        script.push('\n');
    }
}
