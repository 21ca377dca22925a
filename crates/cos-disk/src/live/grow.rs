//! Growing file systems to the size of their partitions.
//!
//! Mounted ones grow by the kernel, which journals it; those that are not mounted are mounted for it.

use super::make::claim;
use super::mounts::mount_point;
use super::{Content, LayoutError};
use cos_sys::ext4::grow_mounted;
use cos_sys::mount::{self, Mount, MountError};
use cos_sys::tool::{Tool, ToolError};
use fs_err::File;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Where file systems are mounted for a moment: there also in the initrd.
const RUN: &str = "/run";

/// A file system to be grown, and the tools for it.
pub(super) struct Grower {
    content: Content,
    to: u64,
    how: How,
}

enum How {
    /// By the kernel; where it cannot, by these if they are there and it is not mounted.
    Ext4 {
        offline: Option<(Tool, Tool)>,
    },
    Xfs(Tool),
    Btrfs(Tool),
    /// Made anew.
    Swap(Tool),
}

/// What became of it.
pub(super) enum Grown {
    /// It is larger now.
    Done,
    /// It was as large before.
    Before,
    /// It has to stay as it is, for this reason.
    Left(String),
}

/// A file system that was mounted for growing it.
struct Temporary {
    directory: tempfile::TempDir,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Whoever is in there keeps it until leaving.
        if mount::unmount(self.directory.path(), false).is_err() {
            drop(mount::unmount(self.directory.path(), true));
        }
    }
}

impl Grower {
    /// Looks for the tools.
    pub(super) fn find(
        content: &Content,
        to: u64,
        search_path: Option<&OsStr>,
    ) -> Result<Self, ToolError> {
        let find = |name, package| Tool::find(name, package, search_path);
        let how = match content.kind {
            "xfs" => How::Xfs(find("xfs_growfs", "xfsprogs")?),
            "btrfs" => How::Btrfs(find("btrfs", "btrfs-progs")?),
            "swap" => How::Swap(find("mkswap", "util-linux")?),
            _ => How::Ext4 {
                offline: find("e2fsck", "e2fsprogs")
                    .and_then(|check| Ok((check, find("resize2fs", "e2fsprogs")?)))
                    .ok(),
            },
        };
        Ok(Self {
            content: content.clone(),
            to,
            how,
        })
    }

    /// Grows what is on the partition.
    pub(super) fn run(&self, node: &Path) -> Result<Grown, LayoutError> {
        match &self.how {
            How::Ext4 { offline } => self.ext4(node, offline.as_ref()),
            How::Xfs(tool) => self.mounted(node, |point| {
                let said = run(tool, node, [OsString::from("-d"), point.into()])?;
                // The superblock that was read is as old as the last one written back.
                Ok(if said.contains("data blocks changed") {
                    Grown::Done
                } else {
                    Grown::Before
                })
            }),
            How::Btrfs(tool) => self.mounted(node, |point| {
                let size = format!("{}:max", self.content.member.unwrap_or(1));
                let words = ["filesystem", "resize", &size].map(OsString::from);
                run(tool, node, words.into_iter().chain([point.into()]))?;
                Ok(Grown::Done)
            }),
            How::Swap(tool) => self.swap(node, tool),
        }
    }

    fn ext4(&self, node: &Path, offline: Option<&(Tool, Tool)>) -> Result<Grown, LayoutError> {
        let failed = |source| LayoutError::GrowMounted {
            device: node.to_owned(),
            source,
        };
        let is_mounted = mount_point(node).map_err(failed)?.is_some();
        let grown = self.mounted(node, |point| {
            let block = rustix::fs::statvfs(point)
                .map_err(|errno| failed(errno.into()))?
                .f_bsize;
            File::open(point)
                .and_then(|directory| grow_mounted(&directory, self.to / block.max(1024)))
                .map_err(failed)?;
            Ok(Grown::Done)
        });
        match (grown, offline) {
            // Old file systems without room for a larger table of groups, and users without
            // CAP_SYS_RESOURCE.
            (Err(_), Some((check, resize))) if !is_mounted => {
                checked(check, node)?;
                run(resize, node, [OsString::from(node)])?;
                Ok(Grown::Done)
            }
            (grown, _) => grown,
        }
    }

    /// Swap space cannot grow, and holds nothing while it is not used.
    fn swap(&self, node: &Path, tool: &Tool) -> Result<Grown, LayoutError> {
        if let Err(error) = claim(node) {
            return Ok(Grown::Left(format!(
                "the swap space on {} is left as it is, as it is in use: {error}",
                node.display()
            )));
        }
        let mut arguments: Vec<OsString> = Vec::new();
        for (option, value) in [("-L", &self.content.label), ("-U", &self.content.uuid)] {
            if let Some(value) = value {
                arguments.extend([option.into(), value.into()]);
            }
        }
        arguments.push(node.into());
        run(tool, node, arguments)?;
        Ok(Grown::Done)
    }

    /// Acts on the mounted file system: where it is mounted already, or else where nobody looks.
    fn mounted(
        &self,
        node: &Path,
        act: impl FnOnce(&Path) -> Result<Grown, LayoutError>,
    ) -> Result<Grown, LayoutError> {
        let failed = |source| LayoutError::GrowMounted {
            device: node.to_owned(),
            source,
        };
        let act_durably = |point: &Path| {
            let grown = act(point)?;
            let directory = File::open(point).map_err(failed)?;
            rustix::fs::syncfs(&directory).map_err(|errno| failed(errno.into()))?;
            Ok(grown)
        };
        if let Some(point) = mount_point(node).map_err(failed)? {
            return act_durably(&point);
        }
        let temporary = self.mount(node)?;
        act_durably(temporary.directory.path())
    }

    fn mount(&self, node: &Path) -> Result<Temporary, LayoutError> {
        let mut mount = Mount {
            source: node.display().to_string(),
            target: RUN.into(),
            fstype: self.content.kind.to_owned(),
            options: "nosuid,nodev,noexec,noatime".into(),
        };
        let directory = tempfile::Builder::new()
            .prefix("cos-layout-")
            .tempdir_in(RUN);
        let mounted = match directory {
            Ok(directory) => {
                directory.path().clone_into(&mut mount.target);
                mount::mount(&mount).map(|()| Temporary { directory })
            }
            Err(source) => Err(MountError::Mount {
                source_name: mount.source,
                fstype: mount.fstype,
                options: mount.options,
                target: mount.target,
                source,
            }),
        };
        mounted.map_err(|source| LayoutError::Mount {
            device: node.to_owned(),
            source: Box::new(source),
        })
    }
}

fn run(
    tool: &Tool,
    node: &Path,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<String, LayoutError> {
    match tool.run(arguments) {
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(source) => Err(LayoutError::Grow {
            device: node.to_owned(),
            source,
        }),
    }
}

/// `resize2fs` wants a file system that was just checked. e2fsck(8): 1 is that it repaired
/// something.
fn checked(check: &Tool, node: &Path) -> Result<(), LayoutError> {
    let arguments = ["-f".into(), "-p".into(), OsString::from(node)];
    match run(check, node, arguments) {
        Err(LayoutError::Grow {
            source: ToolError::Failed { status, .. },
            ..
        }) if status == "exit status: 1" => Ok(()),
        done => done.map(drop),
    }
}
