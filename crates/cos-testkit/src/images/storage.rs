//! Container storage of this work tree alone, driven through buildah.

use super::context::Context;
use crate::lock::Lock;
use crate::{paths, process, tools};
use fs_err as fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The storage under `target/images`: nothing of the user's own containers is read or touched.
#[derive(Debug)]
pub(super) struct Storage {
    buildah: PathBuf,
    directory: PathBuf,
    driver: &'static str,
}

impl Storage {
    pub(super) fn open() -> anyhow::Result<Storage> {
        let directory = paths::images();
        fs::create_dir_all(&directory)?;
        let mut storage = Storage {
            buildah: tools::need_tool("buildah")?,
            directory,
            driver: "overlay",
        };
        // vfs asks nothing of the kernel, but copies the whole tree for every layer.
        if !process::succeeds(&mut storage.command("info")) {
            storage.driver = "vfs";
        }
        Ok(storage)
    }

    /// Held by whoever builds or changes anything here.
    pub(super) fn lock(&self) -> anyhow::Result<Lock> {
        Lock::wait(&self.directory.join("lock"))
    }

    /// `buildah` on this storage. Its `chroot` isolation works in a container and in a virtual
    /// machine alike.
    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.buildah);
        command
            .env("BUILDAH_ISOLATION", "chroot")
            .env_remove("STORAGE_DRIVER")
            .arg("--root")
            .arg(self.root())
            .arg("--runroot")
            .arg(self.run_root())
            .args(["--storage-driver", self.driver, verb]);
        command
    }

    fn root(&self) -> PathBuf {
        self.directory.join(format!("storage-{}", self.driver))
    }

    fn run_root(&self) -> PathBuf {
        self.directory.join("run")
    }

    pub(super) fn has(&self, name: &str) -> anyhow::Result<bool> {
        let names = process::text(
            self.command("images")
                .args(["--format", "{{.Name}}:{{.Tag}}"]),
        )?;
        Ok(names.lines().any(|line| line == name))
    }

    pub(super) fn pull(&self, name: &str) -> anyhow::Result<()> {
        process::output(self.command("pull").arg(name)).map(drop)
    }

    /// Makes an image of one layer from a root file system in a tarball.
    pub(super) fn import(&self, tarball: &Path, name: &str) -> anyhow::Result<()> {
        let container = process::text(self.command("from").arg("scratch"))?;
        process::output(
            self.command("add")
                .args(["--quiet", &container])
                .arg(tarball)
                .arg("/"),
        )?;
        process::output(self.command("config").args(["--cmd", "bash", &container]))?;
        process::output(
            self.command("commit")
                .args(["--quiet", "--rm", &container, name]),
        )
        .map(drop)
    }

    /// Builds a context's Dockerfile as `name` with the local image `base` as its build argument
    /// `BASE`. Steps that are unchanged come from the layer cache.
    pub(super) fn build(&self, context: &Context, base: &str, name: &str) -> anyhow::Result<()> {
        let directory = tempfile::tempdir_in(&self.directory)?;
        context.lay_out(directory.path())?;
        let file = repository_of(name).rsplit('/').next().unwrap_or(name);
        process::logged(
            self.command("build")
                .args([
                    "--layers",
                    "--pull=never",
                    "--build-arg",
                    &format!("BASE={base}"),
                ])
                .args(["--tag", name])
                .arg(directory.path()),
            &self.directory.join(format!("{file}.log")),
        )
    }

    /// Writes an image as an OCI archive with plain layers, whole or not at all.
    pub(super) fn save(&self, name: &str, archive: &Path) -> anyhow::Result<()> {
        let partial = archive.with_extension("partial");
        if partial.exists() {
            fs::remove_file(&partial)?;
        }
        // Not `buildah push`: it compresses whatever goes into an OCI archive.
        let source = format!(
            "containers-storage:[{}@{}+{}]{name}",
            self.driver,
            self.root().display(),
            self.run_root().display()
        );
        process::output(
            Command::new(tools::need_tool("skopeo")?)
                .args([
                    "copy",
                    "--quiet",
                    "--insecure-policy",
                    "--dest-oci-accept-uncompressed-layers",
                    &source,
                ])
                .arg(format!("oci-archive:{}", partial.display())),
        )?;
        fs::rename(&partial, archive)?;
        Ok(())
    }

    /// Removes the other tags of the repository of `image`, and layers that nothing names any more.
    pub(super) fn keep_only(&self, image: &str) -> anyhow::Result<()> {
        let repository = repository_of(image);
        let names = process::text(
            self.command("images")
                .args(["--format", "{{.Name}}:{{.Tag}}"]),
        )?;
        for old in names
            .lines()
            .filter(|name| *name != image && repository_of(name) == repository)
        {
            process::output(self.command("rmi").arg(old))?;
        }
        process::output(self.command("rmi").arg("--prune")).map(drop)
    }
}

/// The name of an image without its tag.
fn repository_of(image: &str) -> &str {
    image
        .rsplit_once(':')
        .map_or(image, |(repository, _)| repository)
}
