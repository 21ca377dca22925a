//! GRUB, started from what this crate writes, by QEMU with BIOS and UEFI.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{create, ext4_tools, find, noise, run};
use cos_disk::ext4::{self, Ext4Content, Ext4Entry, Ext4Options};
use cos_disk::fat::{self, FatContent, FatEntry, FatOptions};
use cos_disk::gpt::{self, Partition, PartitionRequest, Size, types};
use cos_disk::grub_bios::{self, GrubImages};
use cos_disk::iso::{BiosBoot, BootImages, IsoOptions, IsoWriter};
use cos_disk::{Source, place};
use cos_sys::tool::Tool;
use fs_err::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use uuid::Uuid;

const GRUB: &str = "/usr/lib/grub";
const OVMF: &str = "/usr/share/ovmf/OVMF.fd";
const STATE: Uuid = Uuid::from_u128(0xc05c_05c0_1234_4321_8888_0123_4567_89ab);

/// Modules of a core image that reads disks and writes to the serial line.
const MODULES: [&str; 14] = [
    "part_gpt",
    "part_msdos",
    "fat",
    "ext2",
    "iso9660",
    "serial",
    "terminal",
    "echo",
    "cat",
    "search",
    "search_fs_uuid",
    "search_label",
    "normal",
    "configfile",
];

struct Machine {
    qemu: Tool,
    mkimage: Tool,
}

/// The programs, or a recorded skip of `test`.
fn machine(test: &str) -> Option<Machine> {
    for needed in [
        OVMF,
        "/usr/lib/grub/i386-pc/boot.img",
        "/usr/lib/grub/x86_64-efi/normal.mod",
    ] {
        if !Path::new(needed).exists() {
            let packages = "Debian packages ovmf, grub-pc-bin, grub-efi-amd64-bin";
            cos_testkit::skip(test, &format!("no {needed} ({packages})"));
            return None;
        }
    }
    Some(Machine {
        qemu: find(test, "qemu-system-x86_64", "qemu-system-x86")?,
        mkimage: find(test, "grub-mkimage", "grub-common")?,
    })
}

#[derive(Clone, Copy)]
enum Firmware {
    Bios,
    Uefi,
}

impl Machine {
    /// A core image for a target that runs `script`.
    fn core(&self, directory: &Path, target: &str, script: &str) -> Vec<u8> {
        let (config, out) = (
            directory.join(format!("{target}.cfg")),
            directory.join(target),
        );
        fs_err::write(&config, script).unwrap();
        let modules = format!("{GRUB}/{}", target.trim_end_matches("-eltorito"));
        let mut args = vec!["-O", target, "-d", &modules, "-p", "/boot/grub"];
        args.extend(["-c", config.to_str().unwrap(), "-o", out.to_str().unwrap()]);
        args.extend(MODULES);
        if target.starts_with("i386-pc") {
            args.push("biosdisk");
        }
        run(&self.mkimage, &args);
        fs_err::read(out).unwrap()
    }

    /// Starts a machine and waits for `marker` on its serial line.
    fn boot(&self, firmware: Firmware, drive: &[&str], marker: &str) {
        let mut command = self.qemu.command();
        command.args([
            "-accel",
            "tcg",
            "-m",
            "256",
            "-nodefaults",
            "-display",
            "none",
        ]);
        command.args(["-vga", "std", "-serial", "stdio", "-no-reboot"]);
        if let Firmware::Uefi = firmware {
            command.args(["-bios", OVMF]);
        }
        command
            .args(drive)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut console = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut line = Vec::new();
            while console.read_until(b'\n', &mut line).unwrap_or(0) > 0 {
                if sender
                    .send(String::from_utf8_lossy(&line).into_owned())
                    .is_err()
                {
                    break;
                }
                line.clear();
            }
        });
        let deadline = Instant::now() + Duration::from_mins(2);
        let mut seen = String::new();
        while !seen.contains(marker) {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => seen += &line,
                Err(_) => break,
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        drop(lines);
        reader.join().unwrap();
        assert!(
            seen.contains(marker),
            "no {marker:?} on the serial line:\n{seen}"
        );
    }
}

fn fat_entry(path: &str, bytes: Vec<u8>) -> FatEntry {
    FatEntry {
        path: path.into(),
        content: FatContent::File(Source::Bytes(bytes)),
    }
}

fn request(name: &str, type_guid: Uuid, size: u64) -> PartitionRequest {
    let unique_guid = Uuid::from_u128(1 + name.len() as u128);
    PartitionRequest {
        name: name.into(),
        type_guid,
        unique_guid,
        size: Size::Fixed(size),
        attributes: 0,
    }
}

/// What the core image does: find the state partition and show a file of it.
fn disk_script(marker: &str) -> String {
    format!(
        "serial --unit=0 --speed=115200\nterminal_output serial\necho {marker}-core\n\
         search --no-floppy --fs-uuid --set=root {STATE}\ncat /cos/a-marker-of-{marker}.txt\n\
         search --no-floppy --label --set=root COS_GRUB\ncat /a-long-name-of-{marker}.txt\n"
    )
}

fn write_disk(machine: &Machine, tools: &ext4::Ext4Tools, directory: &Path) -> PathBuf {
    let path = directory.join("disk.raw");
    let output = place::Placement::create(&path).unwrap();
    let disk = output.file();
    let layout = gpt::plan(
        &[
            request("bios", types::BIOS_BOOT, 1 << 20),
            request("efi", types::EFI_SYSTEM, 256 << 20),
            request("state", types::LINUX_DATA, 64 << 20),
        ],
        None,
    )
    .unwrap();
    gpt::write_table(
        disk,
        layout.total_bytes,
        Uuid::from_u128(7),
        &layout.partitions,
    )
    .unwrap();
    let [bios, efi, state] = &layout.partitions[..] else {
        panic!("three partitions")
    };

    let core = machine.core(directory, "i386-pc", &disk_script("bios"));
    let boot = fs_err::read(format!("{GRUB}/i386-pc/boot.img")).unwrap();
    grub_bios::install(
        disk,
        bios,
        GrubImages {
            boot: &boot,
            core: &core,
        },
    )
    .unwrap();

    write_esp(machine, directory, disk, efi);
    write_state(tools, disk, state);
    output.finish().unwrap();
    path
}

fn write_esp(machine: &Machine, directory: &Path, disk: &File, efi: &Partition) {
    let options = FatOptions {
        label: "COS_GRUB".into(),
        volume_id: 1,
        time: 1_700_000_000,
    };
    let entries = [
        fat_entry(
            "EFI/BOOT/BOOTX64.EFI",
            machine.core(directory, "x86_64-efi", &disk_script("uefi")),
        ),
        fat_entry("a-long-name-of-bios.txt", b"bios reads fat\n".to_vec()),
        fat_entry("a-long-name-of-uefi.txt", b"uefi reads fat\n".to_vec()),
    ];
    fat::format(disk, efi.offset(), efi.bytes(), &options, &entries).unwrap();
}

fn write_state(tools: &ext4::Ext4Tools, disk: &File, state: &Partition) {
    let marker = |firmware: &str| Ext4Entry {
        path: format!("cos/a-marker-of-{firmware}.txt"),
        mode: 0o644,
        content: Ext4Content::File(Source::Bytes(format!("{firmware} reads ext4\n").into())),
    };
    let options = Ext4Options::new("COS_STATE", STATE, 1_700_000_000);
    let entries = [marker("bios"), marker("uefi")];
    ext4::format(
        tools,
        disk,
        state.offset(),
        state.bytes(),
        &options,
        &entries,
    )
    .unwrap();
}

#[test]
fn a_disk_boots_by_bios_and_uefi() {
    let name = "a_disk_boots_by_bios_and_uefi";
    let (Some(machine), Some(tools)) = (machine(name), ext4_tools(name)) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = write_disk(&machine, &tools, directory.path());
    let drive = format!(
        "file={},format=raw,if=none,id=d,readonly=on",
        path.display()
    );
    let drive = ["-drive", &drive, "-device", "virtio-blk-pci,drive=d"];
    machine.boot(Firmware::Bios, &drive, "bios reads fat");
    machine.boot(Firmware::Uefi, &drive, "uefi reads fat");
}

fn write_iso(machine: &Machine, directory: &Path) -> PathBuf {
    let identity = 0x1234_5678_9abc;
    let uuid = cos_disk::iso::uuid_of(identity);
    let script = |marker: &str| {
        format!(
            "serial --unit=0 --speed=115200\nterminal_output serial\necho {marker}-core\n\
             search --no-floppy --fs-uuid --set=root {uuid}\n\
             configfile /boot/grub/a-long-name-of-{marker}.cfg\n"
        )
    };
    let path = directory.join("live.iso");
    let file = create(&path);
    let options = IsoOptions {
        volume_id: "COS_LIVE".into(),
        time: 1_700_000_000,
        identity,
    };
    let mut iso = IsoWriter::create(&file, options).unwrap();
    let mut cdboot = fs_err::read(format!("{GRUB}/i386-pc/cdboot.img")).unwrap();
    let eltorito = machine.core(directory, "i386-pc-eltorito", &script("bios"));
    // The target's image begins with cdboot.img itself.
    cdboot.truncate(8);
    assert_eq!(eltorito[..4], cdboot[..4]);
    iso.add_file("cos/root.img", &noise(2 << 20, 1)).unwrap();
    iso.add_file("boot/eltorito.img", &eltorito).unwrap();

    let efi = directory.join("efi.img");
    let fat_options = FatOptions {
        label: "COS_EFI".into(),
        volume_id: 2,
        time: 1_700_000_000,
    };
    let loader = fat_entry(
        "EFI/BOOT/BOOTX64.EFI",
        machine.core(directory, "x86_64-efi", &script("uefi")),
    );
    fat::format(&create(&efi), 0, 8 << 20, &fat_options, &[loader]).unwrap();
    let mut reader = File::open(&efi).unwrap();
    iso.add_file_from("boot/efi.img", &mut reader, 8 << 20)
        .unwrap();
    for firmware in ["bios", "uefi"] {
        let config = format!("echo {firmware} reads iso9660\nsleep 1\n");
        let path = format!("boot/grub/a-long-name-of-{firmware}.cfg");
        iso.add_file(&path, config.as_bytes()).unwrap();
    }
    let mbr = fs_err::read(format!("{GRUB}/i386-pc/boot_hybrid.img")).unwrap();
    let bios = BiosBoot {
        eltorito: "boot/eltorito.img",
        hybrid_mbr: Some(&mbr),
    };
    iso.finish(&BootImages {
        bios: Some(bios),
        efi: Some("boot/efi.img"),
    })
    .unwrap();
    path
}

#[test]
fn an_iso_boots_from_cd_and_usb_by_bios_and_uefi() {
    let name = "an_iso_boots_from_cd_and_usb_by_bios_and_uefi";
    let Some(machine) = machine(name) else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = write_iso(&machine, directory.path());
    let drive = format!(
        "file={},format=raw,if=none,id=d,readonly=on",
        path.display()
    );
    let cd = ["-drive", &drive, "-device", "ide-cd,drive=d"];
    let usb = [
        "-drive",
        &drive,
        "-device",
        "usb-ehci",
        "-device",
        "usb-storage,drive=d",
    ];
    for drive in [&cd[..], &usb[..]] {
        machine.boot(Firmware::Bios, drive, "bios reads iso9660");
        machine.boot(Firmware::Uefi, drive, "uefi reads iso9660");
    }
}
