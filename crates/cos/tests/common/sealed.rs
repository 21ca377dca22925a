//! Sealed disks, built as a page of the book says, and what lies on their EFI system partitions.
#![allow(dead_code, reason = "each test binary uses its part")]

use super::docker;
use cos_efi::Image;
use cos_testkit::tools::need_tool;
use cos_testkit::{dist, process};
use std::path::{Path, PathBuf};
use std::process::Command;

/// `PATH` with a directory's programs and `cos` before all others.
pub(crate) fn path_with(directory: &Path) -> String {
    let tool = dist::binaries().unwrap().cos;
    format!(
        "{}:{}:{}",
        directory.display(),
        tool.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    )
}

/// Runs the `sh` blocks of a page in `directory`, where `docker` knows one image.
pub(crate) fn run_page(page: &str, directory: &Path, archive: &Path) {
    docker::install(directory, archive);
    let blocks = page.split("```sh\n").skip(1);
    let commands: String = blocks
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(commands.contains("cos keys generate"), "{commands}");
    process::run(
        Command::new("bash")
            .args(["-euxo", "pipefail", "-c", &commands])
            .current_dir(directory)
            .env("PATH", path_with(directory)),
    )
    .unwrap();
}

/// A sealed disk with one system.
pub(crate) struct SealedDisk {
    pub(crate) file: PathBuf,
    /// Its EFI system partition, as mtools name it.
    efi: String,
}

impl SealedDisk {
    pub(crate) fn new(file: PathBuf) -> Self {
        // The EFI system partition lies behind the first MiB and that of a BIOS.
        let efi = format!("{}@@2M", file.display());
        Self { file, efi }
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let mut mdir = Command::new(need_tool("mdir").unwrap());
        let names = process::text(mdir.args(["-b", "-i", &self.efi, directory])).unwrap();
        names.lines().map(str::to_owned).collect()
    }

    /// File name of its program, in `EFI/cos`.
    pub(crate) fn program_name(&self) -> String {
        let names = self.names("::/EFI/cos");
        assert_eq!(names.len(), 1, "{names:?}");
        names[0].rsplit('/').next().unwrap().to_owned()
    }

    /// Its snapshot, as its entries name it.
    pub(crate) fn snapshot(&self) -> String {
        let names = self.names("::/loader/entries");
        let recovery = names.iter().find_map(|it| it.split("cos-0-").nth(1));
        recovery.unwrap().trim_end_matches(".conf").to_owned()
    }

    /// Copies the root image of its recovery system to `to`; where its hash tree begins, and its root hash.
    pub(crate) fn root_image(&self, to: &Path) -> (String, String) {
        let mut sfdisk = Command::new(need_tool("sfdisk").unwrap());
        let table = process::text(sfdisk.arg("--json").arg(&self.file)).unwrap();
        let table: serde_json::Value = serde_json::from_str(&table).unwrap();
        let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
        let is_recovery = |it: &&serde_json::Value| it["name"] == "recovery";
        let start = partitions.iter().find(is_recovery).unwrap()["start"].as_u64();
        let volume = format!("{}?offset={}", self.file.display(), start.unwrap() * 512);
        let snapshot = format!("/cos/snapshots/{}", self.snapshot());
        let debugfs = |request: String| {
            let mut debugfs = Command::new(need_tool("debugfs").unwrap());
            process::text(debugfs.args(["-R", &request, &volume])).unwrap()
        };
        debugfs(format!("dump {snapshot}/root.img {}", to.display()));
        let metadata = debugfs(format!("cat {snapshot}/snapshot.yaml"));
        let field = |name: &str| {
            let line = metadata.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().trim_matches(['"', '\'']).to_owned()
        };
        (field("hashOffset:"), field("rootHash:"))
    }

    /// The signed program of its system.
    pub(crate) fn program(&self, directory: &Path) -> Image {
        let copy = directory.join("system.efi");
        let entry = format!("::/EFI/cos/{}", self.program_name());
        let mut mcopy = Command::new(need_tool("mcopy").unwrap());
        process::run(mcopy.args(["-n", "-o", "-i", &self.efi, &entry]).arg(&copy)).unwrap();
        Image::parse(std::fs::read(copy).unwrap()).unwrap()
    }
}
