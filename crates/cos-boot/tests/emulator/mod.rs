//! A disk as cOS lays it out, and GRUB as a Linux program on it: `grub-emu` reads and writes the disk
//! with GRUB's own drivers. What loads kernels and starts them is replaced by functions that note what
//! would boot.

use cos_boot::{DiskLoader, EnvironmentBlock, KernelArguments, SnapshotId, snapshot_fragment};
use cos_testkit::{TempDir, find_tool, process};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Bytes of each partition.
const PARTITION: u64 = 8 << 20;
/// Bytes of an environment block, as everybody writes them.
pub(crate) const BLOCK: usize = 1024;

/// A file whose bytes on the disk are changed as a fault or the operating system would.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Boot,
    NextBoot,
    Attempt,
    Grubenv,
    Result,
}

/// The disk, and where on it the files are.
#[derive(Debug)]
pub(crate) struct Emulator {
    directory: TempDir,
    offsets: [u64; 5],
}

/// What GRUB was to do, and did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Booted {
    /// The arguments of `linux`; `reboot` when nothing could be loaded.
    pub line: String,
}

impl Booted {
    /// The value of a word of the kernel command line.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        let mut words = self.line.split_ascii_whitespace();
        words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// Whether a word is on the kernel command line.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.line.split_ascii_whitespace().any(|it| it == word)
    }
}

impl Emulator {
    /// Makes a disk with `snapshots` on COS_STATE and `recovery` on COS_RECOVERY.
    pub(crate) fn new(snapshots: &[SnapshotId], recovery: &SnapshotId) -> Self {
        let directory = cos_testkit::temp_dir().unwrap();
        let root = directory.path();
        let oem = filesystem(root, "oem", |tree| empty(&tree.join("grubenv")));
        let recovery = filesystem(root, "recovery", |tree| {
            snapshot(tree, recovery);
            let mut block = EnvironmentBlock::default();
            block.set("cos_active", recovery.as_str()).unwrap();
            fs::write(tree.join("cos/boot.env"), block.to_bytes().unwrap()).unwrap();
        });
        let state = filesystem(root, "state", |tree| {
            for id in snapshots {
                snapshot(tree, id);
            }
            for name in ["cos/boot.env", "cos/boot.env.next", "cos/attempt.env"] {
                empty(&tree.join(name));
            }
            empty(&tree.join("result.env"));
        });
        let starts = partition(&root.join("disk"), [&oem, &recovery, &state]);
        let inside = |image: &Path, start: u64, name: &str| start + first_block(image, name);
        let offsets = [
            inside(&state, starts[2], "/cos/boot.env"),
            inside(&state, starts[2], "/cos/boot.env.next"),
            inside(&state, starts[2], "/cos/attempt.env"),
            inside(&oem, starts[0], "/grubenv"),
            inside(&state, starts[2], "/result.env"),
        ];
        let emulator = Self { directory, offsets };
        emulator.write_configuration();
        emulator
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write_configuration(&self) {
        let map = format!("(hd0) {}\n", self.path("disk").display());
        fs::write(self.path("device.map"), map).unwrap();
        let text = loader().render();
        assert!(text.contains(WAIT));
        fs::write(self.path("rendered.cfg"), text.replace(WAIT, "start_over")).unwrap();
    }

    /// The bytes of a file as they lie on the disk.
    pub(crate) fn read(&self, place: Place) -> Vec<u8> {
        let mut bytes = vec![0; BLOCK];
        let disk = File::open(self.path("disk")).unwrap();
        disk.read_exact_at(&mut bytes, self.offsets[place as usize])
            .unwrap();
        bytes
    }

    /// Changes the bytes of a file on the disk.
    pub(crate) fn write(&self, place: Place, bytes: &[u8]) {
        assert_eq!(bytes.len(), BLOCK);
        let disk = File::options().write(true).open(self.path("disk")).unwrap();
        disk.write_all_at(bytes, self.offsets[place as usize])
            .unwrap();
    }

    /// Starts GRUB. The kernels and initrds named cannot be loaded; `default` is the menu's entry.
    pub(crate) fn boot(&self, default: &str, kernels: &str, initrds: &str) -> Booted {
        self.write(
            Place::Result,
            &EnvironmentBlock::default().to_bytes().unwrap(),
        );
        let script = PRELUDE
            .replace("@KERNELS@", kernels)
            .replace("@INITRDS@", initrds)
            .replace("@DEFAULT@", default)
            .replace("@DIRECTORY@", &self.directory.path().display().to_string());
        fs::write(self.path("grub.cfg"), script).unwrap();
        let ended = Command::new(find_tool("timeout").unwrap())
            .arg("20")
            .arg(find_tool("grub-emu").unwrap())
            .arg("--directory")
            .arg(self.directory.path())
            .arg("--device-map")
            .arg(self.path("device.map"))
            .env("TERM", "vt100")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let result = EnvironmentBlock::from_bytes(&self.read(Place::Result)).unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        let line = result.get("r_line");
        let line = line.unwrap_or_else(|| panic!("GRUB booted nothing ({}): {said}", ended.status));
        Booted { line: line.into() }
    }
}

/// What the rule does before it lets the machine start over.
const WAIT: &str = "sleep --interruptible 60";

/// What `grub-emu` reads before the configuration under test. Functions stand in for commands it does not
/// have; `boot` and `reboot` it has, so the command before each ends the run.
const PRELUDE: &str = r#"
set root=hd0,gpt2
set bad_kernels="@KERNELS@"
set bad_initrds="@INITRDS@"
function linux {
  for bad in $bad_kernels; do
    if [ "$1" = "(hd0,gpt5)/cos/snapshots/$bad/vmlinuz" ]; then return 1; fi
    if [ "$1" = "(hd0,gpt4)/cos/snapshots/$bad/vmlinuz" ]; then return 1; fi
  done
  set r_line="$*"
}
function initrd {
  for bad in $bad_initrds; do
    if [ "$1" = "(hd0,gpt5)/cos/snapshots/$bad/initrd" ]; then return 1; fi
  done
  end
}
function end {
  save_env --file (hd0,gpt5)/result.env r_line
  exit
}
function start_over {
  set r_line=reboot
  end
}
source (host)@DIRECTORY@/rendered.cfg
set default="@DEFAULT@"
set timeout=0
"#;

/// The loader of the disk made here.
pub(crate) fn loader() -> DiskLoader {
    DiskLoader {
        title: "Debian".into(),
        oem_number: 3,
        state_number: 5,
        state_partuuid: "aaaa".into(),
        recovery_number: 4,
        recovery_partuuid: "bbbb".into(),
        timeout: 3,
    }
}

fn empty(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, EnvironmentBlock::default().to_bytes().unwrap()).unwrap();
}

/// All that GRUB itself reads of a snapshot.
fn snapshot(tree: &Path, id: &SnapshotId) {
    let directory = tree.join(id.directory());
    fs::create_dir_all(&directory).unwrap();
    let hash = "ab".repeat(32).parse().unwrap();
    let arguments = KernelArguments::new(&format!("of-{id} panic=30")).unwrap();
    fs::write(
        directory.join("boot.cfg"),
        snapshot_fragment(&hash, &arguments),
    )
    .unwrap();
}

fn run(program: &str, arguments: &[&str], path: &Path, more: &[&str]) -> String {
    let mut command = Command::new(find_tool(program).unwrap());
    process::text(command.args(arguments).arg(path).args(more)).unwrap()
}

/// An ext4 file system, as mke2fs makes it, with what `fill` puts into a directory.
fn filesystem(root: &Path, name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let (tree, image) = (root.join(format!("{name}.tree")), root.join(name));
    fs::create_dir(&tree).unwrap();
    fill(&tree);
    File::create(&image).unwrap().set_len(PARTITION).unwrap();
    let tree = tree.to_str().unwrap().to_owned();
    run(
        "mke2fs",
        &["-q", "-F", "-t", "ext4", "-b", "4096", "-d", &tree],
        &image,
        &[],
    );
    image
}

/// Where the first byte of a file is in a file system.
fn first_block(image: &Path, name: &str) -> u64 {
    let said = run("debugfs", &["-R", &format!("bmap {name} 0")], image, &[]);
    said.trim().parse::<u64>().unwrap() * 4096
}

/// A disk with file systems in its partitions 3, 4 and 5. Returns where they start.
fn partition(disk: &Path, images: [&Path; 3]) -> [u64; 3] {
    const FIRST: u64 = 4 << 20;
    let file = File::create(disk).unwrap();
    file.set_len(FIRST + 4 * PARTITION).unwrap();
    let starts = [FIRST, FIRST + PARTITION, FIRST + 2 * PARTITION];
    let mut arguments = vec!["--new=2:1MiB:2MiB".to_owned()];
    for (number, (image, start)) in (3..).zip(images.iter().zip(starts)) {
        let (first, last) = (start / 512, (start + PARTITION) / 512 - 1);
        arguments.push(format!("--new={number}:{first}:{last}"));
        file.write_all_at(&fs::read(image).unwrap(), start).unwrap();
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run("sgdisk", &arguments, disk, &[]);
    starts
}
