//! What the [order](super::order) does to the two partitions, by the image's programs.

use super::console::{ask, ask_for_new, recovery_text, show};
use super::order::{Partitions, Persistent};
use super::partition::{Found, HALF_MADE, Holds, Role, find};
use super::tools::{PassingKey, Programs, random_key, run_with_input, write_secret};
use super::{EncryptionError, POLICY_KEY, tpm};
use crate::cmdline::CommandLine;
use crate::error::chain;
use crate::log::Log;
use crate::{grow, seed, writable};
use cos_sys::block::BlockDevice;
use cos_sys::mount::{Mount, mount, unmount};
use fs_err::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that must not outlast the boot; in memory.
const WORK: &str = "/run/cos/encryption";
/// What systemd-stub hands over beside the key.
const POLICY_SIGNATURES: &str = "/.extra/tpm2-pcr-signature.json";
/// Whether the firmware runs signed programs alone.
const SECURE_BOOT: &str =
    "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Where the key of COS_OEM is, in COS_PERSISTENT, and what else belongs to it.
const STORE: &str = ".encryption";
/// How both are encrypted.
const CIPHER: &str = "aes-xts-plain64";
/// What cryptsetup(8) exits with when a key opens nothing.
const NO_SUCH_KEY: i32 = 2;
/// Time to write the recovery key down, before the boot goes on and other lines follow.
const READING_TIME: Duration = Duration::from_secs(20);

/// The two partitions of one boot.
pub(super) struct Steps<'a> {
    near: &'a BlockDevice,
    log: &'a mut Log,
    programs: Programs,
    has_tpm: bool,
    /// Whether nobody may be there to answer, and the boot goes on all the same.
    may_go_on: bool,
    passing: Option<PassingKey>,
    /// Whether COS_PERSISTENT is mounted for us.
    mounted: bool,
}

impl<'a> Steps<'a> {
    pub(super) fn begin(
        cmdline: &CommandLine,
        near: &'a BlockDevice,
        log: &'a mut Log,
    ) -> Result<Self, EncryptionError> {
        make_directory(Path::new(WORK))?;
        Ok(Self {
            near,
            log,
            programs: Programs::find()?,
            has_tpm: tpm::is_there()?,
            may_go_on: !cmdline.mode.is_persistent(),
            passing: None,
            mounted: false,
        })
    }

    /// Lets go of what was mounted.
    pub(super) fn finish(mut self) -> Result<(), EncryptionError> {
        self.leave()
    }

    fn leave(&mut self) -> Result<(), EncryptionError> {
        if std::mem::take(&mut self.mounted) {
            unmount(&persistent_root(), false)?;
        }
        Ok(())
    }

    /// COS_PERSISTENT, mounted.
    fn store(&mut self) -> Result<PathBuf, EncryptionError> {
        let root = persistent_root();
        if !self.mounted {
            let node = Path::new(Role::Persistent.node());
            writable::check(node, Role::Persistent.label(), self.log);
            mount_at(Role::Persistent.node(), "ext4", &root, "rw")?;
            self.mounted = true;
        }
        Ok(root.join(STORE))
    }

    /// Makes LUKS2 over a partition, whatever was on it. The key has more bits than any derivation adds to.
    fn format_luks(
        &self,
        found: &Found,
        label: &str,
        key: &Path,
        more: &[&str],
    ) -> Result<(), EncryptionError> {
        let (device, key) = (found.device(), key.display().to_string());
        let mut arguments = vec![
            "luksFormat",
            "--batch-mode",
            "--type=luks2",
            "--label",
            label,
        ];
        arguments.extend(["--cipher", CIPHER, "--key-size=512", "--hash=sha256"]);
        arguments.extend(["--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000"]);
        arguments.extend(["--key-file", &key]);
        arguments.extend(more);
        arguments.push(&device);
        self.programs.cryptsetup.run(arguments)?;
        Ok(())
    }

    /// Has the TPM open COS_PERSISTENT.
    fn attach(&self, found: &Found) -> Result<(), EncryptionError> {
        let options = format!("tpm2-device=auto,tpm2-signature={POLICY_SIGNATURES},headless=true");
        let device = found.device();
        let name = found.role.mapped();
        self.programs
            .attach
            .run(["attach", name, &device, "-", &options])?;
        Ok(())
    }

    /// Opens COS_PERSISTENT by a key that somebody typed; whether it fits. Without a name, only tries.
    fn open_by(
        &self,
        found: &Found,
        key: &[u8],
        name: Option<&str>,
    ) -> Result<bool, EncryptionError> {
        let device = found.device();
        let mut arguments = vec!["open", "--type=luks2", "--key-file=-", &device];
        match name {
            Some(name) => arguments.push(name),
            None => arguments.push("--test-passphrase"),
        }
        let ended = run_with_input(&self.programs.cryptsetup, &arguments, key)?;
        match ended.status.code() {
            Some(0) => Ok(true),
            Some(NO_SUCH_KEY) => Ok(false),
            _ => Err(failed("cryptsetup open", &ended)),
        }
    }

    /// Enrols the TPM and has it open what it was enrolled for.
    fn enrol_tpm(&self, found: &Found, passing: &str) -> Result<(), EncryptionError> {
        let device = found.device();
        self.programs.enroll.run([
            "--unlock-key-file",
            passing,
            "--tpm2-device=auto",
            "--tpm2-pcrs=7",
            "--tpm2-public-key",
            POLICY_KEY,
            "--tpm2-public-key-pcrs=11",
            "--tpm2-signature",
            POLICY_SIGNATURES,
            &device,
        ])?;
        self.attach(found)
    }

    fn enrol_passphrase(&self, found: &Found, passing: &str) -> Result<(), EncryptionError> {
        let passphrase = ask_for_new(&self.programs)?;
        let device = found.device();
        let arguments = ["luksAddKey", "--key-file", passing, &device, "-"];
        let ended = run_with_input(&self.programs.cryptsetup, arguments, &passphrase)?;
        if !ended.status.success() {
            return Err(failed("cryptsetup luksAddKey", &ended));
        }
        self.prove(found, &passphrase, Some(found.role.mapped()))
    }

    /// Makes a recovery key and shows it.
    fn enrol_recovery_key(&self, found: &Found, passing: &str) -> Result<(), EncryptionError> {
        let device = found.device();
        let arguments = ["--unlock-key-file", passing, "--recovery-key", &device];
        let said = self.programs.enroll.run(arguments)?;
        let key = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        self.prove(found, key.as_bytes(), None)?;
        show(&recovery_text(&key));
        std::thread::sleep(READING_TIME);
        Ok(())
    }

    /// A key that does not open what it was made for must be known now.
    fn prove(&self, found: &Found, key: &[u8], name: Option<&str>) -> Result<(), EncryptionError> {
        if self.open_by(found, key, name)? {
            return Ok(());
        }
        Err(EncryptionError::NotUnlocked {
            device: found.kernel_name(),
        })
    }

    /// Asks for a key until one fits. In a recovery system, no answer is one.
    fn ask_and_open(&self, found: &Found) -> Result<(), EncryptionError> {
        let device = found.kernel_name();
        let or_none = if self.may_go_on {
            ", or nothing to go on without data"
        } else {
            ""
        };
        let question = format!("Passphrase or recovery key of COS_PERSISTENT ({device}){or_none}:");
        loop {
            let key = ask(&self.programs, &question)?;
            if key.is_empty() && self.may_go_on {
                return Err(EncryptionError::NotUnlocked { device });
            }
            if self.open_by(found, &key, Some(found.role.mapped()))? {
                return Ok(());
            }
            show("\nThat does not unlock it.\n");
        }
    }

    /// What a header says of itself can have been changed: data are written by our cipher alone.
    fn check_cipher(&self, found: &Found) -> Result<(), EncryptionError> {
        let said = self
            .programs
            .cryptsetup
            .run(["status", found.role.mapped()])?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let cipher = said
            .lines()
            .find_map(|line| line.trim().strip_prefix("cipher:"));
        let cipher = cipher.unwrap_or_default().trim();
        if cipher == CIPHER {
            return Ok(());
        }
        Err(EncryptionError::Cipher {
            name: found.role.name(),
            device: found.kernel_name(),
            cipher: cipher.to_owned(),
        })
    }

    fn make_file_system(&self, role: Role) -> Result<(), EncryptionError> {
        let arguments = ["-q", "-F", "-t", "ext4", "-L", role.label(), role.node()];
        self.programs.format.run(arguments)?;
        Ok(())
    }

    fn close_mapped(&self, role: Role) -> Result<(), EncryptionError> {
        self.programs.cryptsetup.run(["close", role.mapped()])?;
        Ok(())
    }

    /// The passing key of this boot, made when it is first wanted.
    fn passing(&mut self) -> Result<String, EncryptionError> {
        let key = match self.passing.take() {
            Some(key) => key,
            None => PassingKey::make(Path::new(WORK))?,
        };
        let path = key.path.display().to_string();
        self.passing = Some(key);
        Ok(path)
    }
}

impl Partitions for Steps<'_> {
    type Error = EncryptionError;

    fn persistent(&mut self) -> Result<Persistent, EncryptionError> {
        let found = find(Role::Persistent, self.near)?;
        // Before it is opened or made: what is mapped does not grow.
        grow::partition(&found.candidate, self.log);
        match &found.holds {
            Holds::Encrypted(label) if label == Role::Persistent.header_label() => {
                Ok(Persistent::Encrypted)
            }
            Holds::Encrypted(label) if label == HALF_MADE => Ok(Persistent::HalfMade),
            Holds::Encrypted(_) => Err(EncryptionError::Foreign {
                name: found.role.name(),
                device: found.kernel_name(),
            }),
            Holds::Nothing => Ok(Persistent::HalfMade),
            Holds::FileSystem(kind) => {
                expect_empty(&found, kind)?;
                Ok(Persistent::Plain)
            }
        }
    }

    fn expect_plain_oem(&mut self) -> Result<(), EncryptionError> {
        let oem = find(Role::Oem, self.near)?;
        if let Holds::FileSystem(_) = oem.holds {
            return Ok(());
        }
        Err(EncryptionError::PersistentReplaced {
            persistent: find(Role::Persistent, self.near)?.kernel_name(),
            oem: oem.kernel_name(),
        })
    }

    fn begin(&mut self) -> Result<(), EncryptionError> {
        expect_secure_boot()?;
        expect_policy_key()?;
        let found = find(Role::Persistent, self.near)?;
        self.log.info(&format!(
            "the data of this machine are encrypted, beginning with {}",
            found.kernel_name()
        ));
        let passing = self.passing()?;
        self.format_luks(&found, HALF_MADE, Path::new(&passing), &[])
    }

    fn enrol(&mut self) -> Result<(), EncryptionError> {
        let found = find(Role::Persistent, self.near)?;
        let passing = self.passing()?;
        let by_tpm = self.has_tpm.then(|| self.enrol_tpm(&found, &passing));
        match by_tpm {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                self.log.warn(format!(
                    "this machine's TPM cannot unlock its data, a passphrase will: {}",
                    chain(&error)
                ));
                let device = found.device();
                self.programs.enroll.run(["--wipe-slot=tpm2", &device])?;
                self.enrol_passphrase(&found, &passing)?;
            }
            None => self.enrol_passphrase(&found, &passing)?,
        }
        self.enrol_recovery_key(&found, &passing)?;
        self.check_cipher(&found)
    }

    fn fill(&mut self) -> Result<(), EncryptionError> {
        self.make_file_system(Role::Persistent)?;
        let store = self.store()?;
        make_private(&store)?;
        write_secret(&store.join("oem.key"), &random_key()?)?;
        let oem = find(Role::Oem, self.near)?;
        let Holds::FileSystem(kind) = oem.holds else {
            return Err(EncryptionError::OemReplaced {
                device: oem.kernel_name(),
            });
        };
        let from = Path::new(WORK).join("oem");
        mount_at(&oem.device(), kind, &from, "ro")?;
        let copied = copy(&from, &store.join("oem.new"));
        unmount(&from, false)?;
        copied?;
        sync(&store)
    }

    fn drop_passing_key(&mut self) -> Result<(), EncryptionError> {
        let device = find(Role::Persistent, self.near)?.device();
        let passing = self.passing()?;
        self.programs
            .cryptsetup
            .run(["luksRemoveKey", "--batch-mode", &device, &passing])?;
        self.passing = None;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), EncryptionError> {
        let device = find(Role::Persistent, self.near)?.device();
        let label = Role::Persistent.header_label();
        self.programs
            .cryptsetup
            .run(["config", "--label", label, &device])?;
        Ok(())
    }

    fn unlock_persistent(&mut self) -> Result<(), EncryptionError> {
        let found = find(Role::Persistent, self.near)?;
        let by_tpm = self.has_tpm.then(|| self.attach(&found));
        match by_tpm {
            Some(Ok(())) => {
                let name = found.kernel_name();
                self.log.info(&format!("the TPM unlocked {name}"));
            }
            Some(Err(error)) => {
                self.log.warn(format!(
                    "the TPM does not unlock COS_PERSISTENT ({}): {}",
                    found.kernel_name(),
                    chain(&error)
                ));
                self.ask_and_open(&found)?;
            }
            None => self.ask_and_open(&found)?,
        }
        self.check_cipher(&found)
    }

    fn is_oem_pending(&mut self) -> Result<bool, EncryptionError> {
        let store = self.store()?;
        remove_directory(&store.join("oem.old"))?;
        Ok(store.join("oem.new").exists())
    }

    fn make_oem(&mut self) -> Result<(), EncryptionError> {
        let store = self.store()?;
        let found = find(Role::Oem, self.near)?;
        // What was there in plain must not be found between the blocks of what comes.
        overwrite(&found)?;
        let key = store.join("oem.key");
        let label = Role::Oem.header_label();
        self.format_luks(&found, label, &key, &["--luks2-keyslots-size=1m"])?;
        let header = store.join("oem.header");
        remove_file(&header)?;
        let (device, header) = (found.device(), header.display().to_string());
        let arguments = ["luksHeaderBackup", &device, "--header-backup-file", &header];
        self.programs.cryptsetup.run(arguments)?;
        self.unlock_oem()?;
        self.make_file_system(Role::Oem)?;
        let to = Path::new(WORK).join("oem");
        mount_at(Role::Oem.node(), "ext4", &to, "rw")?;
        let copied = copy(&store.join("oem.new"), &to).and_then(|()| sync(&to));
        unmount(&to, false)?;
        copied?;
        self.close_mapped(Role::Oem)?;
        sync(&store)
    }

    fn oem_is_made(&mut self) -> Result<(), EncryptionError> {
        let store = self.store()?;
        let (new, old) = (store.join("oem.new"), store.join("oem.old"));
        let renamed = fs_err::rename(&new, &old);
        renamed.map_err(|source| EncryptionError::Files { path: new, source })?;
        sync(&store)?;
        remove_directory(&old)
    }

    fn unlock_oem(&mut self) -> Result<(), EncryptionError> {
        let store = self.store()?;
        let found = find(Role::Oem, self.near)?;
        let replaced = || EncryptionError::OemReplaced {
            device: found.kernel_name(),
        };
        if !matches!(&found.holds, Holds::Encrypted(label) if label == Role::Oem.header_label()) {
            return Err(replaced());
        }
        let file = |name: &str| store.join(name).display().to_string();
        let (key, header, device) = (file("oem.key"), file("oem.header"), found.device());
        let mut arguments = vec!["open", "--type=luks2", "--header", &header];
        arguments.extend(["--key-file", &key, &device, Role::Oem.mapped()]);
        self.programs.cryptsetup.run(arguments)?;
        self.check_cipher(&found)
    }
}

impl Drop for Steps<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.leave() {
            self.log.warn(chain(&error));
        }
    }
}

fn persistent_root() -> PathBuf {
    Path::new(WORK).join("persistent")
}

fn failed(command: &str, ended: &std::process::Output) -> EncryptionError {
    EncryptionError::Tool(cos_sys::tool::ToolError::Failed {
        command: command.to_owned(),
        status: ended.status.to_string(),
        stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
    })
}

fn mount_at(source: &str, fstype: &str, target: &Path, mode: &str) -> Result<(), EncryptionError> {
    make_directory(target)?;
    mount(&Mount {
        source: source.to_owned(),
        target: target.to_owned(),
        fstype: fstype.to_owned(),
        options: format!("{mode},nosuid,nodev,noexec"),
    })?;
    Ok(())
}

/// Data that somebody has are not encrypted under their feet, and not lost.
fn expect_empty(found: &Found, kind: &str) -> Result<(), EncryptionError> {
    let at = persistent_root();
    mount_at(&found.device(), kind, &at, "ro")?;
    let names = fs_err::read_dir(&at).and_then(|entries| {
        let names = entries.map(|entry| Ok(entry?.file_name()));
        names.collect::<io::Result<Vec<_>>>()
    });
    unmount(&at, false)?;
    let names = names.map_err(|source| EncryptionError::Files { path: at, source })?;
    if names.iter().all(|name| name == "lost+found") {
        return Ok(());
    }
    Err(EncryptionError::PlainData {
        name: found.role.name(),
        device: found.kernel_name(),
    })
}

fn expect_secure_boot() -> Result<(), EncryptionError> {
    // Four bytes of attributes, then the value (UEFI, 3.3).
    match fs_err::read(SECURE_BOOT) {
        Ok(bytes) if bytes.get(4) == Some(&1) => Ok(()),
        _ => Err(EncryptionError::SecureBootOff),
    }
}

fn expect_policy_key() -> Result<(), EncryptionError> {
    let read = fs_err::read(POLICY_KEY);
    read.map(drop)
        .map_err(|source| EncryptionError::NoPolicyKey {
            path: POLICY_KEY.into(),
            source,
        })
}

/// Writes zeros over all of a partition.
fn overwrite(found: &Found) -> Result<(), EncryptionError> {
    const CHUNK: usize = 1 << 20;
    let path = &found.candidate.device.node;
    let zeros = vec![0; CHUNK];
    let written = fs_err::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut device| {
            let mut left = found.candidate.device.size;
            while left > 0 {
                let now = left.min(CHUNK as u64);
                device.write_all(&zeros[..now as usize])?;
                left -= now;
            }
            device.sync_all()
        });
    written.map_err(|source| EncryptionError::Files {
        path: path.clone(),
        source,
    })
}

fn copy(from: &Path, to: &Path) -> Result<(), EncryptionError> {
    make_directory(to)?;
    seed::bring_up_to_date(from, to).map_err(|source| EncryptionError::Files {
        path: to.to_owned(),
        source,
    })
}

fn make_directory(path: &Path) -> Result<(), EncryptionError> {
    fs_err::create_dir_all(path).map_err(|source| EncryptionError::Files {
        path: path.to_owned(),
        source,
    })
}

fn make_private(path: &Path) -> Result<(), EncryptionError> {
    make_directory(path)?;
    let only_root = rustix::fs::Mode::RWXU;
    rustix::fs::chmod(path, only_root).map_err(|errno| EncryptionError::Files {
        path: path.to_owned(),
        source: errno.into(),
    })
}

fn remove_directory(path: &Path) -> Result<(), EncryptionError> {
    absent_is_fine(fs_err::remove_dir_all(path), path)
}

fn remove_file(path: &Path) -> Result<(), EncryptionError> {
    absent_is_fine(fs_err::remove_file(path), path)
}

fn absent_is_fine(removed: io::Result<()>, path: &Path) -> Result<(), EncryptionError> {
    match removed {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(EncryptionError::Files {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

/// Has everything of the file system that `path` is on on the disk.
fn sync(path: &Path) -> Result<(), EncryptionError> {
    let synced = File::open(path).and_then(|file| Ok(rustix::fs::syncfs(&file)?));
    synced.map_err(|source| EncryptionError::Files {
        path: path.to_owned(),
        source,
    })
}
