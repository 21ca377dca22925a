//! A disk whose every write and flush is logged.
//!
//! `qemu-storage-daemon` puts `blklogwrites` over a disk image and exports it as a file by FUSE; a
//! loop device on a partition of that file is what the kernel's ext4 is mounted from. The loop device
//! goes through the page cache: with direct I/O on FUSE, mounting fails.

use crate::Part;
use crate::log::Log;
use crate::working_copy::WorkingCopy;
use anyhow::{Context, Result, bail, ensure};
use cos_sys::loop_device::{LoopDevice, LoopOptions};
use cos_sys::mount::{Mount, mount, unmount};
use cos_testkit::{TempDir, find_tool, is_root, tools};
use fs_err::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const DAEMON: &str = "qemu-storage-daemon";
const PATIENCE: Duration = Duration::from_secs(20);

/// What is missing to record here, if anything is: the reason for a skip.
pub fn unavailable() -> Option<String> {
    if !is_root() {
        return Some("needs root".to_owned());
    }
    if find_tool(DAEMON).is_none() {
        return Some(tools::missing(DAEMON));
    }
    let device = |path: &str| {
        let opened = OpenOptions::new().read(true).write(true).open(path);
        opened.err().map(|error| format!("needs {path}: {error}"))
    };
    device("/dev/fuse").or_else(|| device("/dev/loop-control"))
}

/// A moment of a recording: an operation had returned by then.
#[derive(Debug, Clone)]
pub struct Mark {
    /// Which operation.
    pub name: &'static str,
    /// Bytes the log had.
    bytes: u64,
}

impl Mark {
    /// An operation had returned when the log had so many bytes.
    pub(crate) fn new(name: &'static str, bytes: u64) -> Self {
        Self { name, bytes }
    }
}

/// A recording in progress. Dropped, it ends without a trace.
#[derive(Debug)]
pub struct Recorder {
    // In the order in which they must go.
    mounted: Option<Mounted>,
    daemon: Daemon,
    directory: TempDir,
    marks: Vec<Mark>,
}

/// What was recorded.
#[derive(Debug)]
pub struct Recording {
    /// The writes and flushes.
    pub log: Log,
    /// Ends of operations, in the order of time, each with its position in the log.
    pub marks: Vec<(Mark, usize)>,
    directory: TempDir,
}

impl Recorder {
    /// Records the disk `image`, which itself is not changed, from the mounting of the ext4 in one of
    /// its partitions on.
    pub fn start(image: &Path, part: Part) -> Result<Self> {
        Self::start_disk(image)?.mount(part)
    }

    /// Records a disk that cannot write one of its sectors.
    pub fn start_faulty(image: &Path, part: Part, sector: u64) -> Result<Self> {
        Self::start_with(image, Some(sector))?.mount(part)
    }

    fn mount(self, part: Part) -> Result<Self> {
        let mut recorder = self;
        let mounted = Mounted::new(&recorder.disk(), &recorder.mount_point(), part)?;
        recorder.mounted = Some(mounted);
        Ok(recorder)
    }

    /// Records the disk `image`, which itself is not changed, from now on. Whoever works on
    /// [`Self::disk`] must have let go of it when the recording is to end.
    pub fn start_disk(image: &Path) -> Result<Self> {
        Self::start_with(image, None)
    }

    fn start_with(image: &Path, bad_sector: Option<u64>) -> Result<Self> {
        // In memory where there is a place for that.
        let directory = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new())?;
        let inside = |name| directory.path().join(name);
        WorkingCopy::new(image, inside("base.img"))?;
        WorkingCopy::new(image, inside("disk.img"))?;
        let daemon = Daemon::start(directory.path(), bad_sector)?;
        Ok(Self {
            mounted: None,
            daemon,
            directory,
            marks: Vec::new(),
        })
    }

    /// The disk that is recorded, as a file.
    pub fn disk(&self) -> PathBuf {
        self.directory.path().join("export.img")
    }

    /// Where the file system is mounted.
    pub fn mount_point(&self) -> PathBuf {
        self.directory.path().join("mnt")
    }

    /// Notes that an operation has returned. Adds no flush: what the operation did not flush itself
    /// may still get lost.
    pub fn mark(&mut self, name: &'static str) -> Result<()> {
        let log = self.directory.path().join("log");
        let bytes = fs_err::metadata(log)?.len();
        self.marks.push(Mark { name, bytes });
        Ok(())
    }

    /// What the kernel does by itself at times: writes everything that is dirty to the disk, each
    /// block to its own place, in an order of its own, without regard to operations.
    pub fn write_back(&self) -> Result<()> {
        let mounted = self.mounted.as_ref().context("not mounted")?;
        Ok(File::open(mounted.device.path())?.sync_all()?)
    }

    /// Ends a recording on a disk that fails. Returns the disk as it is then.
    pub fn stop_faulty(mut self) -> Result<FaultyDisk> {
        // What cannot be written back is lost, as it would be.
        if let Some(mounted) = self.mounted.take() {
            drop(mounted.end());
        }
        self.daemon.stop()?;
        Ok(FaultyDisk {
            path: self.directory.path().join("disk.img"),
            _directory: self.directory,
        })
    }

    /// Ends the recording.
    pub fn stop(mut self) -> Result<Recording> {
        if let Some(mounted) = self.mounted.take() {
            mounted.end()?;
        }
        self.daemon.stop()?;
        Recording::read(self.directory, self.marks)
    }
}

/// What is on a disk that failed.
#[derive(Debug)]
pub struct FaultyDisk {
    path: PathBuf,
    _directory: TempDir,
}

impl FaultyDisk {
    /// The disk's image.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Recording {
    /// Reads what was recorded: `base.img`, the disk as it was before, and `log`.
    pub(crate) fn read(directory: TempDir, marks: Vec<Mark>) -> Result<Self> {
        let disk_bytes = fs_err::metadata(directory.path().join("base.img"))?.len();
        let log = Log::open(&directory.path().join("log"), disk_bytes)?;
        let marks = marks.into_iter();
        Ok(Self {
            marks: marks
                .map(|mark| (mark.clone(), log.position(mark.bytes)))
                .collect(),
            log,
            directory,
        })
    }

    /// The disk as it was before the recording.
    pub fn base(&self) -> PathBuf {
        self.directory.path().join("base.img")
    }

    /// A place for working copies, of the same life.
    pub fn scratch(&self) -> &Path {
        self.directory.path()
    }
}

/// The process that logs.
#[derive(Debug)]
struct Daemon {
    child: Child,
    output: PathBuf,
}

impl Daemon {
    #[expect(clippy::disallowed_methods, reason = "it runs in the background")]
    fn start(directory: &Path, bad_sector: Option<u64>) -> Result<Self> {
        let program = find_tool(DAEMON).with_context(|| tools::missing(DAEMON))?;
        File::create(directory.join("log"))?;
        File::create(directory.join("export.img"))?;
        fs_err::create_dir(directory.join("mnt"))?;
        let output = directory.join("daemon.log");
        let said = File::create(&output)?.into_file();
        let mut command = Command::new(program);
        command.current_dir(directory).stdin(Stdio::null());
        command.stdout(said.try_clone()?).stderr(said);
        for node in [
            "driver=file,node-name=disk,filename=disk.img",
            "driver=raw,node-name=disk-raw,file=disk",
            "driver=file,node-name=log,filename=log",
            "driver=raw,node-name=log-raw,file=log",
        ] {
            command.args(["--blockdev", node]);
        }
        if let Some(sector) = bad_sector {
            let fault = format!(
                r#"{{"driver":"blkdebug","node-name":"faulty","image":"disk-raw","inject-error":[
                {{"event":"none","iotype":"write","errno":5,"sector":{sector},"once":false}}]}}"#
            );
            command.args(["--blockdev", &fault]);
        }
        let disk = if bad_sector.is_some() {
            "faulty"
        } else {
            "disk-raw"
        };
        let logged = format!(
            "driver=blklogwrites,node-name=logged,file={disk},log=log-raw,log-sector-size=512"
        );
        command.args(["--blockdev", &logged]);
        command.args([
            "--export",
            "type=fuse,id=export,node-name=logged,mountpoint=export.img,writable=on,growable=off",
        ]);
        let mut daemon = Self {
            child: command.spawn()?,
            output,
        };
        daemon.wait_for_export(directory)?;
        Ok(daemon)
    }

    /// The file is as long as the disk once it is the export.
    fn wait_for_export(&mut self, directory: &Path) -> Result<()> {
        let wanted = fs_err::metadata(directory.join("disk.img"))?.len();
        let deadline = Instant::now() + PATIENCE;
        while fs_err::metadata(directory.join("export.img"))?.len() != wanted {
            if let Some(status) = self.child.try_wait()? {
                let said = fs_err::read_to_string(&self.output)?;
                bail!("{DAEMON} ended ({status}): {}", said.trim());
            }
            ensure!(Instant::now() < deadline, "{DAEMON} exports nothing");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Asks it to end, so that it completes the log and unmounts its export.
    fn stop(&mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                let said = fs_err::read_to_string(&self.output)?;
                ensure!(status.success(), "{DAEMON}: {status}: {}", said.trim());
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{DAEMON} does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if self.stop().is_err() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// A partition that is mounted.
#[derive(Debug)]
pub struct Mounted {
    device: LoopDevice,
    target: PathBuf,
    attached: bool,
}

impl Mounted {
    /// Mounts the ext4 of a partition; the kernel replays its journal.
    pub fn new(image: &Path, target: &Path, part: Part) -> Result<Self> {
        let options = LoopOptions {
            offset: part.offset,
            size_limit: part.size,
            autoclear: true,
            ..LoopOptions::default()
        };
        let mut mounted = Self {
            device: LoopDevice::attach(image, options)?,
            target: target.to_owned(),
            attached: false,
        };
        mount(&Mount {
            source: mounted.device.path().to_string_lossy().into_owned(),
            target: target.to_owned(),
            fstype: "ext4".to_owned(),
            options: "relatime".to_owned(),
        })?;
        mounted.attached = true;
        Ok(mounted)
    }

    /// Unmounts, so that the disk has everything.
    pub fn end(mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        // A process that another thread is just starting has our files open until it is loaded.
        while let Err(error) = unmount(&self.target, false) {
            if Instant::now() > deadline {
                return Err(error.into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.attached = false;
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.attached {
            // Whoever still looks into it must not keep the test from ending.
            drop(unmount(&self.target, true));
        }
    }
}
