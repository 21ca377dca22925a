//! Disks of the kernel: sparse files behind loop devices, whose partitions the kernel is told of one
//! by one (it needs no partition scan for that).

use super::{find, run};
use cos_disk::live::{
    self, FileSystem, LayoutError, LayoutOutcome, LayoutRequest, Machine, NewPartition, Target,
};
use cos_events::Silent;
use cos_sys::mount::{Mount, mount, unmount};
use cos_sys::tool::Tool;
use sha2::Digest;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub const MIB: u64 = 1 << 20;

/// Programs by name, in the order of [`tools`].
pub struct Tools(Vec<(&'static str, Tool)>);

impl Tools {
    /// Runs one; it must succeed.
    pub fn run(&self, name: &str, args: &[&str]) -> String {
        let tool = self.0.iter().find(|(known, _)| *known == name);
        run(&tool.unwrap_or_else(|| panic!("{name}")).1, args)
    }
}

/// Root and all these programs, or a recorded skip of `test`.
pub fn tools(test: &str, wanted: &[(&'static str, &str)]) -> Option<Tools> {
    if !cos_testkit::require_root(test) {
        return None;
    }
    let mut found = Vec::new();
    for (name, package) in [("losetup", "mount")].iter().chain(wanted) {
        found.push((*name, find(test, name, package)?));
    }
    Some(Tools(found))
}

/// A file behind a loop device.
pub struct LoopDisk<'t> {
    tools: &'t Tools,
    directory: tempfile::TempDir,
    pub node: PathBuf,
}

impl<'t> LoopDisk<'t> {
    pub fn new(tools: &'t Tools, mib: u64, sector_size: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("disk");
        super::create(&file).set_len(mib * MIB).unwrap();
        let sectors = sector_size.to_string();
        // With -P, detaching forgets the partitions.
        let said = tools.run(
            "losetup",
            &["-f", "--show", "-P", "-b", &sectors, file.to_str().unwrap()],
        );
        Self {
            tools,
            directory,
            node: said.trim().into(),
        }
    }

    pub fn file(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    pub fn name(&self) -> &str {
        self.node.to_str().unwrap()
    }

    pub fn partition(&self, number: u32) -> String {
        format!("{}p{number}", self.name())
    }

    pub fn enlarge(&self, mib: u64) {
        let file = fs_err::OpenOptions::new().write(true).open(self.file());
        file.unwrap().set_len(mib * MIB).unwrap();
        self.tools.run("losetup", &["-c", self.name()]);
    }

    /// Overwrites a part of the disk.
    pub fn scribble(&self, at: u64, bytes: &[u8]) {
        let device = fs_err::OpenOptions::new()
            .write(true)
            .open(&self.node)
            .unwrap();
        device.file().write_all_at(bytes, at).unwrap();
        device.sync_all().unwrap();
    }

    /// What is on the disk.
    pub fn digest(&self) -> String {
        rustix::fs::sync();
        let mut hasher = sha2::Sha256::new();
        let mut file = fs_err::File::open(self.file()).unwrap();
        std::io::copy(&mut file, &mut hasher).unwrap();
        format!("{:x}", hasher.finalize())
    }

    pub fn target(&self) -> Target {
        Target::Path(self.node.clone())
    }

    pub fn apply(
        &self,
        expand: Option<u64>,
        add: &[NewPartition],
    ) -> Result<Vec<String>, LayoutError> {
        let outcome = apply(&request(self.target(), expand, add), &Machine::default())?;
        assert_eq!(outcome.warnings, Vec::<String>::new());
        Ok(outcome.changes)
    }

    /// Asks for the same again, which must do nothing at all.
    pub fn assert_settled(&self, expand: Option<u64>, add: &[NewPartition]) {
        let before = self.digest();
        assert_eq!(self.apply(expand, add).unwrap(), Vec::<String>::new());
        assert_eq!(self.digest(), before);
    }

    /// sgdisk's verdict, and sfdisk's idea of the partitions: name, type and size in MiB of each.
    pub fn verified(&self, tools: &Tools) -> Vec<String> {
        rustix::fs::sync();
        let verdict = tools.run("sgdisk", &["-v", self.name()]);
        assert!(verdict.contains("No problems found"), "{verdict}");
        let dump = tools.run("sfdisk", &["-J", self.name()]);
        let field = |line: &str, name: &str| {
            let value = line.split(&format!("\"{name}\":")).nth(1)?;
            let end = value.find([',', '}']).unwrap_or(value.len());
            Some(value[..end].trim().trim_matches('"').to_owned())
        };
        let sector: u64 = field(&dump, "sectorsize").map_or(512, |it| it.trim().parse().unwrap());
        let lines = dump.split("\"node\"").skip(1);
        lines
            .map(|line| {
                let size: u64 = field(line, "size").unwrap().parse().unwrap();
                let name = field(line, "name").unwrap_or_default();
                let kind = field(line, "type").unwrap();
                format!("{name} {} {}", &kind[..8], size * sector / MIB)
            })
            .collect()
    }

    /// Type and label of a partition as blkid sees them.
    pub fn blkid(&self, tools: &Tools, number: u32) -> (String, String) {
        let said = tools.run("blkid", &["-p", "-o", "export", &self.partition(number)]);
        let value = |key: &str| {
            let line = said
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default().to_owned()
        };
        (value("TYPE"), value("LABEL"))
    }
}

impl Drop for LoopDisk<'_> {
    fn drop(&mut self) {
        self.tools.run("losetup", &["-d", self.name()]);
    }
}

/// A mounted partition.
pub struct Mounted {
    pub directory: tempfile::TempDir,
}

impl Mounted {
    pub fn new(node: &str, kind: &str, options: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        mount(&Mount {
            source: node.into(),
            target: directory.path().into(),
            fstype: kind.into(),
            options: options.into(),
        })
        .unwrap();
        Self { directory }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Size of the file system in MiB.
    pub fn mib(&self) -> u64 {
        let space = rustix::fs::statvfs(self.path()).unwrap();
        space.f_blocks * space.f_frsize / MIB
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(self.path(), false).unwrap();
    }
}

pub fn request(device: Target, expand: Option<u64>, add: &[NewPartition]) -> LayoutRequest {
    LayoutRequest {
        device,
        init_disk: true,
        disk_name: None,
        expand,
        add: add.to_vec(),
    }
}

pub fn apply(request: &LayoutRequest, machine: &Machine<'_>) -> Result<LayoutOutcome, LayoutError> {
    live::apply(request, machine, &Silent)
}

pub fn new(fs_label: &str, size_mib: u64, filesystem: FileSystem) -> NewPartition {
    NewPartition {
        fs_label: fs_label.into(),
        size_mib,
        partition_label: Some(fs_label.to_lowercase()),
        filesystem,
        bootable: false,
    }
}
