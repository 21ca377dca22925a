//! A machine without a machine: its COS_STATE is an ext4 on a loop device, its image comes from a
//! registry in this process.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "helpers of tests fail by panicking and run other people's tools"
)]

use cos_boot::{BootState, EfiFile, EfiLoader, LoaderManifest, MANIFEST_PATH};
use cos_config::Config;
use cos_events::{Monitor, Silent};
use cos_image::{Options, Platform, PlatformChoice};
use cos_ops::OpsError;
use cos_ops::assess::{Marked, mark_good};
use cos_ops::hooks::{Hooks, NoHooks};
use cos_ops::machine::{BootReport, Machine, Mode, Places};
use cos_ops::root::convert::{CompressionChoice, ImageRequest};
use cos_ops::status::{Status, status};
use cos_ops::trust::Gate;
use cos_ops::upgrade::{Extent, Target, UpgradeRequest, UpgradeResult, Wanted, upgrade};
use cos_store::{SnapshotId, Store};
use cos_testkit::faulty_registry::{Faults, Server};
use cos_testkit::tools::{need_tool, need_tools};
use cos_testkit::{process, temp_dir};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What `/etc/version` holds.
pub(crate) const VERSION_1: &str = "one\n";
pub(crate) const VERSION_2: &str = "two\n";

fn run(program: &str, arguments: &[&str]) {
    process::run(Command::new(need_tool(program).unwrap()).args(arguments)).unwrap();
}

/// A root directory that `cos` takes for an image that boots.
fn tree(root: &Path, version: &str) {
    let manifest = LoaderManifest {
        version: LoaderManifest::VERSION,
        architecture: Platform::linux(std::env::consts::ARCH).architecture,
        kernel_release: "6.12.0".into(),
        kernel: "boot/vmlinuz".into(),
        initrd: "boot/initrd.img".into(),
        bios: None,
        efi: Some(EfiLoader {
            files: vec![EfiFile {
                from: "etc/version".into(),
                to: "EFI/BOOT/BOOTX64.EFI".into(),
            }],
            vendor_directory: None,
        }),
    };
    let mut state = 0x9e37_79b9_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    })
    .take(1_500_000)
    .collect();
    for (path, content) in [
        (MANIFEST_PATH, manifest.to_json().unwrap().into_bytes()),
        ("boot/vmlinuz", format!("kernel {version}").into_bytes()),
        ("boot/initrd.img", b"initrd".to_vec()),
        ("etc/version", version.as_bytes().to_vec()),
        ("etc/unwanted", b"x".to_vec()),
        ("usr/lib/noise", noise),
    ] {
        let path = root.join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, content).unwrap();
    }
}

/// An OCI layout with that tree, made by umoci.
fn layout(directory: &Path) -> PathBuf {
    let (root, layout) = (directory.join("tree"), directory.join("layout"));
    tree(&root, VERSION_2);
    let image = format!("{}:v1", layout.display());
    run(
        "umoci",
        &["init", "--layout", &layout.display().to_string()],
    );
    run("umoci", &["new", "--image", &image]);
    for top in ["boot", "etc", "usr"] {
        let (from, to) = (root.join(top).display().to_string(), format!("/{top}"));
        run("umoci", &["insert", "--image", &image, &from, &to]);
    }
    layout
}

pub(crate) struct Machinery {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) places: Places,
    pub(crate) server: Server,
    pub(crate) force: bool,
    pub(crate) allow_downgrade: bool,
    /// What images pass.
    pub(crate) gate: Gate,
    /// Tries after the first, of each request.
    pub(crate) retries: u32,
    /// What the machine's clock reads, seconds since 1970.
    pub(crate) clock: i64,
    scratch: Vec<PathBuf>,
    machine: Machine,
    layout: PathBuf,
}

impl Machinery {
    /// A machine that runs version 1 from a COS_STATE of `size` bytes, and a registry with version 2.
    pub(crate) fn start(size: u64) -> Self {
        need_tools(&["umoci", "mke2fs", "mount", "umount", "e2fsck"]);
        let directory = temp_dir().unwrap();
        let places = Places {
            run: directory.path().join("run"),
            lock: directory.path().join("lock"),
            tpm: directory.path().join("tpm"),
        };
        let disk = directory.path().join("state.img");
        fs_err::File::create(&disk).unwrap().set_len(size).unwrap();
        fs_err::create_dir_all(places.source()).unwrap();
        let (image, source) = (
            disk.display().to_string(),
            places.source().display().to_string(),
        );
        run(
            "mke2fs",
            &["-q", "-F", "-t", "ext4", "-J", "size=4", &image],
        );
        run("mount", &["-o", "loop", &image, &source]);
        let layout = layout(directory.path());
        let server = Server::start(&layout, Faults::default());
        let mut machinery = Self {
            machine: Machine {
                boot: BootReport {
                    mode: Mode::Active,
                    snapshot: "000000000000".parse().unwrap(),
                    root_hash: String::new(),
                    source: "/dev/none".into(),
                    trial: false,
                    fallback: false,
                    sealed: false,
                    encrypted: false,
                    persistent: true,
                    warnings: Vec::new(),
                },
                places: places.clone(),
            },
            directory,
            places,
            server,
            force: false,
            allow_downgrade: false,
            gate: Gate::Open,
            retries: 2,
            clock: 1_800_000_000,
            scratch: Vec::new(),
            layout,
        };
        machinery.install();
        machinery
    }

    /// Version 1 is deployed as an upgrade is, on top of nothing.
    fn install(&mut self) {
        let root = self.directory.path().join("tree-1");
        tree(&root, VERSION_1);
        let store = self.store();
        let placeholder: SnapshotId = "000000000000".parse().unwrap();
        let directory = store.directory(&placeholder);
        fs_err::create_dir_all(&directory).unwrap();
        for name in ["root.img", "vmlinuz", "initrd", "boot.cfg", "snapshot.yaml"] {
            fs_err::write(directory.join(name), "nothing").unwrap();
        }
        store
            .commit(&BootState::first(placeholder.clone()))
            .unwrap();
        let request = self.request(Extent::Whole, &format!("dir:{}", root.display()));
        let first = upgrade(
            &request,
            &self.machine,
            &Config::default(),
            &NoHooks,
            &Silent,
        );
        let id = first.unwrap().snapshot.unwrap();
        let mut state = BootState::first(id.clone());
        state.generation = 10;
        state.trial.clear();
        self.commit(&state);
        store.collect(&state, &[]).unwrap();
        self.machine.boot.snapshot = id;
    }

    /// The registry's image, and how it is read.
    pub(crate) fn image(&self) -> ImageRequest {
        let platform = PlatformChoice::Prefer(Platform::linux(std::env::consts::ARCH));
        let mut options = Options::new(platform, self.directory.path());
        options
            .registry
            .insecure
            .insert(self.server.authority.clone());
        options.registry.retries = self.retries;
        options.registry.backoff = Duration::from_millis(1);
        ImageRequest {
            source: format!("{}/me/os:v1", self.server.authority)
                .parse()
                .unwrap(),
            overlays: Vec::new(),
            gate: self.gate.clone(),
            options,
            compression: CompressionChoice::Auto,
            threads: 1,
            time: None,
        }
    }

    fn request(&self, extent: Extent, source: &str) -> UpgradeRequest {
        UpgradeRequest {
            wanted: Wanted {
                source: Some(source.parse().unwrap()),
                version: None,
                follow: false,
            },
            image: self.image(),
            target: Target::System,
            extent,
            force: self.force,
            allow_downgrade: self.allow_downgrade,
            scratch: self.scratch.clone(),
            now: self.clock,
        }
    }

    pub(crate) fn upgrade(
        &self,
        extent: Extent,
        hooks: &dyn Hooks,
    ) -> Result<UpgradeResult, OpsError> {
        self.upgrade_with(extent, hooks, &Silent)
    }

    pub(crate) fn upgrade_with(
        &self,
        extent: Extent,
        hooks: &dyn Hooks,
        monitor: &dyn Monitor,
    ) -> Result<UpgradeResult, OpsError> {
        let source = format!("{}/me/os:v1", self.server.authority);
        let request = self.request(extent, &source);
        upgrade(&request, &self.machine, &Config::default(), hooks, monitor)
    }

    /// The machine runs this version of its image, and the boot is good.
    pub(crate) fn good_boot(&self, version: &str) -> Marked {
        self.writable();
        let (store, id) = (self.store(), &self.machine.boot.snapshot);
        let mut snapshot = store.metadata(id).unwrap();
        snapshot.image_version = Some(version.to_owned());
        let path = store.directory(id).join("snapshot.yaml");
        fs_err::write(path, snapshot.to_yaml().unwrap()).unwrap();
        mark_good(&self.machine).unwrap()
    }

    /// What `cos status` says.
    pub(crate) fn status(&self) -> Status {
        status(&self.machine).unwrap()
    }

    /// A file of COS_STATE becomes another, or goes, behind the back of every operation.
    pub(crate) fn put(&self, name: &str, bytes: Option<&[u8]>) {
        self.writable();
        let path = self.places.source().join(name);
        match bytes {
            Some(bytes) => fs_err::write(path, bytes).unwrap(),
            None => fs_err::remove_file(path).unwrap(),
        }
    }

    /// From now on temporary data goes to another file system, as it does to COS_PERSISTENT.
    pub(crate) fn use_scratch(&mut self) {
        self.scratch = vec![self.directory.path().to_path_buf()];
    }

    /// Bytes that are kept of a download.
    pub(crate) fn kept_bytes(&self) -> u64 {
        let Ok(entries) = fs_err::read_dir(self.directory.path().join(".cos-download")) else {
            return 0;
        };
        let sizes = entries.map(|entry| entry.unwrap().metadata().unwrap().len());
        sizes.sum()
    }

    pub(crate) fn store(&self) -> Store {
        Store::new(self.places.source())
    }

    pub(crate) fn state(&self) -> BootState {
        self.store().state().unwrap()
    }

    /// Makes a state what boots, behind the back of every operation.
    pub(crate) fn commit(&self, state: &BootState) {
        self.writable();
        self.store().commit(state).unwrap();
    }

    /// Names in the directory of snapshots.
    pub(crate) fn entries(&self) -> Vec<String> {
        let directory = self.places.source().join("cos/snapshots");
        let names = fs_err::read_dir(directory).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Digest of the image's manifest, as its index says it.
    pub(crate) fn digest(&self) -> String {
        let index = fs_err::read(self.layout.join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        index["manifests"][0]["digest"].as_str().unwrap().to_owned()
    }

    /// Gives the registry's image a version: it is another image then.
    pub(crate) fn release(&self, version: &str) {
        let index = self.layout.join("index.json");
        let mut listed: Value = serde_json::from_slice(&fs_err::read(&index).unwrap()).unwrap();
        let blob = |digest: &str| {
            self.layout
                .join("blobs/sha256")
                .join(&digest["sha256:".len()..])
        };
        let old = listed["manifests"][0]["digest"].as_str().unwrap();
        let mut manifest: Value =
            serde_json::from_slice(&fs_err::read(blob(old)).unwrap()).unwrap();
        manifest["annotations"] = json!({"dev.cos.version": version});
        let bytes = manifest.to_string();
        let digest = self.server.add_blob(bytes.as_bytes());
        fs_err::write(blob(&digest), &bytes).unwrap();
        listed["manifests"][0]["digest"] = digest.into();
        listed["manifests"][0]["size"] = bytes.len().into();
        fs_err::write(index, listed.to_string()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.places.source().join("filler")
    }

    /// Fills the file system up to `left` bytes.
    pub(crate) fn fill(&self, left: u64) {
        self.writable();
        let stat = rustix::fs::statvfs(self.places.source()).unwrap();
        let size = (stat.f_bavail * stat.f_frsize - left) as usize;
        fs_err::write(self.filler(), vec![1; size]).unwrap();
    }

    pub(crate) fn empty(&self) {
        self.writable();
        fs_err::remove_file(self.filler()).unwrap();
    }

    /// Operations leave the partition read-only, as the initrd mounts it.
    fn writable(&self) {
        let source = self.places.source().display().to_string();
        run("mount", &["-o", "remount,rw", &source]);
    }

    /// The kernel mounts the snapshot's root image.
    fn with_root<T>(&self, id: &SnapshotId, look: impl FnOnce(&Path) -> T) -> T {
        let target = self.directory.path().join("look");
        fs_err::create_dir_all(&target).unwrap();
        let image = self.store().directory(id).join("root.img");
        let (image, place) = (image.display().to_string(), target.display().to_string());
        run("mount", &["-t", "erofs", "-o", "loop,ro", &image, &place]);
        let seen = look(&target);
        run("umount", &[&place]);
        seen
    }

    pub(crate) fn file_of(&self, id: &SnapshotId, path: &str) -> String {
        self.with_root(id, |root| fs_err::read_to_string(root.join(path)).unwrap())
    }

    pub(crate) fn has_file(&self, id: &SnapshotId, path: &str) -> bool {
        self.with_root(id, |root| root.join(path).exists())
    }

    /// Nothing of an operation is mounted any more, and the file system is in order.
    pub(crate) fn check_disk(&self) {
        let mounts = fs_err::read_to_string("/proc/self/mounts").unwrap();
        let directory = self.directory.path().display().to_string();
        let ours = mounts
            .lines()
            .filter(|line| line.contains(&directory))
            .count();
        assert_eq!(ours, 1, "{mounts}");
        let disk = self.directory.path().join("state.img");
        run("e2fsck", &["-fn", &disk.display().to_string()]);
    }
}

impl Drop for Machinery {
    fn drop(&mut self) {
        let source = self.places.source();
        let umount = Command::new("umount").arg("-l").arg(source).status();
        drop(umount);
    }
}
