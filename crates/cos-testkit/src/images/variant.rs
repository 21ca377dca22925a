//! The next version of an image: the same layers and one more.

use crate::{process, tools};
use fs_err as fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the layer: its path from the root, whether it can be executed, and what is in it.
#[derive(Debug, Clone, Copy)]
pub struct AddedFile<'f> {
    /// Path from the root, without leading slash.
    pub path: &'f str,
    /// Whether it is a program.
    pub executable: bool,
    /// Its content.
    pub content: &'f str,
}

impl<'f> AddedFile<'f> {
    /// A plain file.
    pub fn text(path: &'f str, content: &'f str) -> Self {
        Self {
            path,
            executable: false,
            content,
        }
    }

    /// A program.
    pub fn program(path: &'f str, content: &'f str) -> Self {
        Self {
            path,
            executable: true,
            content,
        }
    }
}

/// An OCI layout in a directory with versions of one image.
#[derive(Debug)]
pub struct Versions {
    layout: PathBuf,
}

impl Versions {
    /// Begins with the image of an OCI archive, tagged `base`.
    pub fn begin(archive: &Path, layout: &Path) -> anyhow::Result<Versions> {
        process::run(
            Command::new(tools::need_tool("skopeo")?)
                .args(["copy", "--quiet"])
                .arg(format!("oci-archive:{}", archive.display()))
                .arg(format!("oci:{}:base", layout.display())),
        )?;
        Ok(Versions {
            layout: layout.to_path_buf(),
        })
    }

    /// Adds a version: the base and one layer with these files, made by umoci.
    pub fn add(&self, tag: &str, files: &[AddedFile<'_>]) -> anyhow::Result<()> {
        let umoci = tools::need_tool("umoci")?;
        let scratch = crate::temp_dir()?;
        let mut from = "base";
        for (index, file) in files.iter().enumerate() {
            let source = scratch.path().join(index.to_string());
            fs::write(&source, file.content)?;
            let mode = if file.executable { 0o755 } else { 0o644 };
            fs::set_permissions(&source, std::fs::Permissions::from_mode(mode))?;
            process::run(
                Command::new(&umoci)
                    .args(["insert", "--image"])
                    .arg(format!("{}:{from}", self.layout.display()))
                    .args(["--tag", tag])
                    .arg(&source)
                    .arg(format!("/{}", file.path)),
            )?;
            from = tag;
        }
        Ok(())
    }

    /// A version as skopeo names it.
    pub fn skopeo_name(&self, tag: &str) -> String {
        format!("oci:{}:{tag}", self.layout.display())
    }

    /// A version as `cos` names it.
    pub fn source(&self, tag: &str) -> String {
        format!("oci-layout:{}:{tag}", self.layout.display())
    }
}
