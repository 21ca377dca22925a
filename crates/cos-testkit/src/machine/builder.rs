//! What a machine is made of.

use super::Machine;
use super::tpm::Tpm;
use crate::{paths, process, tools};
use anyhow::{Context, bail};
use fs_err as fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian keeps the UEFI firmware (package `ovmf`): code, and the template of its variables.
const OVMF: [&str; 2] = [
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "/usr/share/OVMF/OVMF_VARS_4M.fd",
];
/// The same with Secure Boot on, by the keys that are in machines as they are sold.
const OVMF_SECURE: [&str; 2] = [
    "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
    "/usr/share/OVMF/OVMF_VARS_4M.ms.fd",
];

/// What starts the boot loader.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Firmware {
    /// `SeaBIOS`.
    #[default]
    Bios,
    /// OVMF, without Secure Boot.
    Uefi,
    /// OVMF with Secure Boot, which trusts what Microsoft signs: shim.
    SecureBoot,
    /// OVMF with Secure Boot and no keys yet: whoever comes first enrols theirs.
    SetupMode,
}

impl Firmware {
    /// Code and template of variables, of UEFI.
    fn files(self) -> Option<[&'static str; 2]> {
        match self {
            Firmware::Bios => None,
            Firmware::Uefi => Some(OVMF),
            Firmware::SecureBoot => Some(OVMF_SECURE),
            Firmware::SetupMode => Some([OVMF_SECURE[0], OVMF[1]]),
        }
    }
}

/// How a medium is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bus {
    VirtioDisk,
    Cdrom,
    ScsiCdrom,
    UsbDisk,
}

#[derive(Debug, Clone)]
struct Medium {
    bus: Bus,
    image: PathBuf,
    /// Bytes that the machine sees behind the image's own.
    more: u64,
    /// Where every write and flush is logged.
    log: Option<PathBuf>,
}

/// Describes a machine until it is booted. It boots from the first medium it is given.
#[derive(Debug, Clone)]
pub struct Builder {
    name: String,
    media: Vec<Medium>,
    firmware: Firmware,
    memory_mib: u32,
    network: bool,
    watchdog: bool,
    tpm: Option<PathBuf>,
}

impl Builder {
    pub(super) fn new(name: &str) -> Builder {
        Builder {
            name: name.into(),
            media: Vec::new(),
            firmware: Firmware::default(),
            memory_mib: 1536,
            network: false,
            watchdog: false,
            tpm: None,
        }
    }

    /// Attaches a raw or qcow2 image as a virtio disk.
    #[must_use]
    pub fn disk(self, image: &Path) -> Builder {
        self.medium(Bus::VirtioDisk, image)
    }

    /// Attaches a raw or qcow2 image as a virtio disk that has `more` bytes behind the image's end.
    #[must_use]
    pub fn larger_disk(mut self, image: &Path, more: u64) -> Builder {
        self = self.disk(image);
        if let Some(medium) = self.media.last_mut() {
            medium.more = more;
        }
        self
    }

    /// Attaches a raw image as a virtio disk that is written to itself, with a log of every write and flush in the
    /// file `log` (QEMU's `blklogwrites`, the format of dm-log-writes).
    #[must_use]
    pub fn recorded_disk(mut self, image: &Path, log: &Path) -> Builder {
        self = self.disk(image);
        if let Some(medium) = self.media.last_mut() {
            medium.log = Some(log.to_path_buf());
        }
        self
    }

    /// Attaches an ISO as a CD.
    #[must_use]
    pub fn cdrom(self, image: &Path) -> Builder {
        self.medium(Bus::Cdrom, image)
    }

    /// Attaches an ISO as a CD on a virtio SCSI bus: what a kernel without AHCI sees.
    #[must_use]
    pub fn scsi_cdrom(self, image: &Path) -> Builder {
        self.medium(Bus::ScsiCdrom, image)
    }

    /// Attaches an image as a USB stick.
    #[must_use]
    pub fn usb_disk(self, image: &Path) -> Builder {
        self.medium(Bus::UsbDisk, image)
    }

    fn medium(mut self, bus: Bus, image: &Path) -> Builder {
        self.media.push(Medium {
            bus,
            image: image.to_path_buf(),
            more: 0,
            log: None,
        });
        self
    }

    /// Chooses the firmware; BIOS unless told.
    #[must_use]
    pub fn firmware(mut self, firmware: Firmware) -> Builder {
        self.firmware = firmware;
        self
    }

    /// Sets the memory in MiB; 1536 unless told.
    #[must_use]
    pub fn memory(mut self, mib: u32) -> Builder {
        self.memory_mib = mib;
        self
    }

    /// Gives the machine a network of its own, with the host at 10.0.2.2.
    #[must_use]
    pub fn network(mut self) -> Builder {
        self.network = true;
        self
    }

    /// Gives the machine a hardware watchdog (Intel 6300ESB) that resets it.
    #[must_use]
    pub fn watchdog(mut self) -> Builder {
        self.watchdog = true;
        self
    }

    /// Gives the machine a TPM 2.0 (swtpm) that keeps its state in a directory, which is made when it is not there:
    /// a fresh one is another TPM.
    #[must_use]
    pub fn tpm(mut self, state: &Path) -> Builder {
        self.tpm = Some(state.to_path_buf());
        self
    }

    /// What a test must find before it can boot a machine with `firmware`, or the reason why not.
    pub fn missing(firmware: Firmware) -> Option<String> {
        for tool in ["qemu-system-x86_64", "qemu-img"] {
            if tools::find_tool(tool).is_none() {
                return Some(tools::missing(tool));
            }
        }
        let mut files = firmware.files().into_iter().flatten();
        let no_ovmf = files.any(|file| !Path::new(file).exists());
        no_ovmf.then(|| "the UEFI firmware is not installed (Debian package ovmf)".to_owned())
    }

    /// Switches the machine on.
    pub fn boot(self) -> anyhow::Result<Machine> {
        let directory = self.prepare()?;
        let (mut arguments, overlays) = self.arguments(&directory)?;
        arguments.extend(words("-monitor none -chardev stdio,id=console,signal=off"));
        let tpm = self.tpm.map(|state| Tpm::new(state, &directory));
        Machine::start(
            directory,
            tools::need_tool("qemu-system-x86_64")?,
            arguments,
            overlays,
            tpm,
        )
    }

    /// Switches the machine on with its serial port on this terminal, until it ends. `Ctrl-a x`
    /// ends it at once.
    pub fn boot_on_terminal(self) -> anyhow::Result<()> {
        let directory = self.prepare()?;
        let (mut arguments, overlays) = self.arguments(&directory)?;
        arguments.extend(words(
            "-chardev stdio,id=console,signal=off,mux=on -mon chardev=console",
        ));
        let mut tpm = self.tpm.map(|state| Tpm::new(state, &directory));
        if let Some(tpm) = &mut tpm {
            tpm.start()?;
        }
        let ended =
            process::run(Command::new(tools::need_tool("qemu-system-x86_64")?).args(arguments));
        for overlay in overlays {
            fs::remove_file(overlay)?;
        }
        ended
    }

    /// Checks that everything is there and makes an empty directory for the machine.
    fn prepare(&self) -> anyhow::Result<PathBuf> {
        if let Some(reason) = Builder::missing(self.firmware) {
            bail!(reason);
        }
        if self.media.is_empty() {
            bail!("machine {} has nothing to boot from", self.name);
        }
        let directory = paths::machines().join(&self.name);
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        Ok(directory)
    }

    fn arguments(&self, directory: &Path) -> anyhow::Result<(Vec<String>, Vec<PathBuf>)> {
        let mut arguments =
            // A plain processor: with more features the guest hashes in vector code, which
            // emulation makes slow.
            words("-no-user-config -accel tcg,thread=multi -cpu qemu64 -smp 2 -machine");
        // Only code in system management mode may write the variables that Secure Boot rests on.
        let secure = matches!(self.firmware, Firmware::SecureBoot | Firmware::SetupMode);
        arguments.extend(words(if secure {
            "q35,smm=on -global driver=cfi.pflash01,property=secure,value=on"
        } else {
            "q35"
        }));
        arguments.extend(words("-display none"));
        arguments.extend(words(
            "-serial chardev:console -device virtio-rng-pci -device qemu-xhci,id=usb \
             -device virtio-scsi-pci,id=scsi",
        ));
        arguments.extend([
            "-m".into(),
            self.memory_mib.to_string(),
            "-name".into(),
            option(&self.name),
        ]);
        arguments.extend(words(if self.network {
            "-nic user,model=virtio-net-pci"
        } else {
            "-nic none"
        }));
        if self.watchdog {
            arguments.extend(words("-device i6300esb -action watchdog=reset"));
        }
        if self.tpm.is_some() {
            arguments.extend(Tpm::arguments(directory));
        }
        if let Some(files) = self.firmware.files() {
            arguments.extend(uefi(files, directory)?);
        }
        let overlays = self.attach_media(directory, &mut arguments)?;
        Ok((arguments, overlays))
    }

    /// Adds the media to QEMU's arguments. Returns the overlays that take what is written to them.
    fn attach_media(
        &self,
        directory: &Path,
        arguments: &mut Vec<String>,
    ) -> anyhow::Result<Vec<PathBuf>> {
        let mut overlays = Vec::new();
        for (index, medium) in self.media.iter().enumerate() {
            let Medium {
                bus,
                image,
                more,
                log,
            } = medium;
            if let Some(log) = log {
                arguments.extend(recorded(index, image, log)?);
                continue;
            }
            let drive = match bus {
                Bus::Cdrom | Bus::ScsiCdrom => format!(
                    "media=cdrom,readonly=on,format=raw,file={}",
                    option(&absolute(image)?)
                ),
                Bus::VirtioDisk | Bus::UsbDisk => {
                    let overlay = overlay(directory, index, image)?;
                    if *more > 0 {
                        enlarge(&overlay, *more)?;
                    }
                    let file = option(&overlay.display().to_string());
                    overlays.push(overlay);
                    format!("format=qcow2,cache=unsafe,discard=unmap,file={file}")
                }
            };
            let device = match bus {
                Bus::VirtioDisk => "virtio-blk-pci",
                Bus::Cdrom => "ide-cd",
                Bus::ScsiCdrom => "scsi-cd,bus=scsi.0",
                Bus::UsbDisk => "usb-storage,bus=usb.0,removable=on",
            };
            arguments.extend(["-drive".into(), format!("if=none,id=medium{index},{drive}")]);
            arguments.extend([
                "-device".into(),
                format!("{device},drive=medium{index},bootindex={index}"),
            ]);
        }
        Ok(overlays)
    }
}

/// A disk whose every write and flush is logged. Merged requests are more than `blklogwrites` takes at once: the
/// machine would see I/O errors. What is flushed need not survive this host.
fn recorded(index: usize, image: &Path, log: &Path) -> anyhow::Result<Vec<String>> {
    fs::File::create(log)?;
    let (image, log) = (option(&absolute(image)?), option(&absolute(log)?));
    let file = |name: &str, path: &str| {
        format!("driver=file,node-name={name}{index},cache.no-flush=on,filename={path}")
    };
    let raw = |name: &str| format!("driver=raw,node-name={name}-raw{index},file={name}{index}");
    let logged = format!(
        "driver=blklogwrites,node-name=logged{index},file=disk-raw{index},log=log-raw{index},log-sector-size=512"
    );
    let nodes = [
        file("disk", &image),
        raw("disk"),
        file("log", &log),
        raw("log"),
        logged,
    ];
    let mut arguments: Vec<String> = nodes
        .into_iter()
        .flat_map(|node| ["-blockdev".to_owned(), node])
        .collect();
    arguments.extend([
        "-device".into(),
        format!(
            "virtio-blk-pci,drive=logged{index},bootindex={index},request-merging=off,discard=off"
        ),
    ]);
    Ok(arguments)
}

/// UEFI firmware with a private copy of its variables: the machine may write them.
fn uefi([code, template]: [&str; 2], directory: &Path) -> anyhow::Result<Vec<String>> {
    let variables = directory.join("efi-variables.fd");
    fs::copy(template, &variables)?;
    let variables = option(&variables.display().to_string());
    Ok(vec![
        "-drive".into(),
        format!("if=pflash,format=raw,unit=0,readonly=on,file={code}"),
        "-drive".into(),
        format!("if=pflash,format=raw,unit=1,file={variables}"),
    ])
}

/// A qcow2 overlay over a disk image: writes go there, the image stays as it was built.
fn overlay(directory: &Path, index: usize, image: &Path) -> anyhow::Result<PathBuf> {
    let overlay = directory.join(format!("disk{index}.qcow2"));
    let format = if is_qcow2(image)? { "qcow2" } else { "raw" };
    process::output(
        Command::new(tools::need_tool("qemu-img")?)
            .args([
                "create",
                "-q",
                "-f",
                "qcow2",
                "-F",
                format,
                "-b",
                &absolute(image)?,
            ])
            .arg(&overlay),
    )?;
    Ok(overlay)
}

fn enlarge(disk: &Path, more: u64) -> anyhow::Result<()> {
    process::output(
        Command::new(tools::need_tool("qemu-img")?)
            .args(["resize", "-q", "-f", "qcow2"])
            .arg(disk)
            .arg(format!("+{more}")),
    )
    .map(drop)
}

fn is_qcow2(image: &Path) -> anyhow::Result<bool> {
    let mut magic = Vec::new();
    fs::File::open(image)?.take(4).read_to_end(&mut magic)?;
    Ok(magic == b"QFI\xfb")
}

fn absolute(path: &Path) -> anyhow::Result<String> {
    let path = fs::canonicalize(path)?;
    let text = path
        .to_str()
        .with_context(|| format!("{} is not text", path.display()))?;
    Ok(text.to_owned())
}

/// A value inside a QEMU option: its comma is doubled.
pub(super) fn option(value: &str) -> String {
    value.replace(',', ",,")
}

pub(super) fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_recognised_by_its_magic() {
        let dir = crate::temp_dir().unwrap();
        let (qcow2, empty) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&qcow2, b"QFI\xfb\0\0\0\x03").unwrap();
        fs::write(&empty, b"").unwrap();
        assert!(is_qcow2(&qcow2).unwrap());
        assert!(!is_qcow2(&empty).unwrap());
    }

    #[test]
    fn a_machine_without_media_is_refused() {
        let error = Machine::builder("testkit-no-media").boot().unwrap_err();
        let said = format!("{error:#}");
        assert!(
            said.contains("nothing to boot from") || said.contains("not installed"),
            "{said}"
        );
    }
}
