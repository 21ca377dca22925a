//! ISO images, read by xorriso, isoinfo and blkid.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{create, find, noise, run, run_in};
use cos_disk::iso::{BiosBoot, BootImages, IsoOptions, IsoWriter};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

fn options() -> IsoOptions {
    IsoOptions {
        volume_id: "COS_LIVE".into(),
        time: 1_700_000_001,
        identity: 0xc05_0123_4567,
    }
}

const FILES: [(&str, usize); 5] = [
    ("boot/grub/a-long-lower-case-name.configuration", 3000),
    ("boot/grub/a-long-lower-case-name.other", 2048),
    ("cos/vmlinuz", 1_000_001),
    ("cos/initrd", 0),
    ("größe", 1),
];

/// An image with a tree of files, one of them streamed.
fn write(path: &Path) -> u64 {
    let file = create(path);
    let mut iso = IsoWriter::create(&file, options()).unwrap();
    iso.add_directory("empty/directory").unwrap();
    for (path, length) in FILES {
        iso.add_file(path, &noise(length, length as u64)).unwrap();
    }
    let mut root = iso.stream_file("cos/root.img").unwrap();
    root.write_all(&noise(5 << 20, 1)).unwrap();
    root.seek(SeekFrom::Start(10)).unwrap();
    root.write_all(b"superblock").unwrap();
    root.finish().unwrap();
    iso.add_file("boot/eltorito.img", &noise(40_000, 2))
        .unwrap();
    iso.add_file("boot/efi.img", &noise(3 << 20, 3)).unwrap();
    let bios = BiosBoot {
        eltorito: "boot/eltorito.img",
        hybrid_mbr: Some(&[0x90; 512]),
    };
    let boot = BootImages {
        bios: Some(bios),
        efi: Some("boot/efi.img"),
    };
    let summary = iso.finish(&boot).unwrap();
    assert_eq!(summary.bytes, file.metadata().unwrap().len());
    let expected = cos_disk::iso::uuid_of(options().identity);
    assert_eq!(summary.uuid, expected);
    summary.bytes
}

#[test]
fn xorriso_reads_tree_and_boot_records() {
    let name = "xorriso_reads_tree_and_boot_records";
    let Some(xorriso) = find(name, "xorriso", "xorriso") else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("live.iso");
    write(&path);
    let iso = path.to_str().unwrap();
    let report = run(
        &xorriso,
        &[
            "-indev",
            iso,
            "-report_el_torito",
            "plain",
            "-report_system_area",
            "plain",
            "-pvd_info",
        ],
    );
    for line in [
        "El Torito boot img :   1  BIOS  y   none  0x0000  0x00      4",
        "El Torito boot img :   2  UEFI  y   none  0x0000  0x00   6144",
        "El Torito img path :   1  /boot/eltorito.img",
        "El Torito img opts :   1  boot-info-table grub2-boot-info",
        "El Torito img path :   2  /boot/efi.img",
        "MBR partition      :   1   0x80  0x00            0",
        "MBR partition path :   2  /boot/efi.img",
        "Volume Id    : COS_LIVE",
    ] {
        assert!(report.contains(line), "{line} is not in {report}");
    }
    assert!(
        !report.contains("WARNING") && !report.contains("FAILURE"),
        "{report}"
    );

    run_in(
        &xorriso,
        directory.path(),
        &["-osirrox", "on", "-indev", iso, "-extract", "/", "out"],
    );
    let out = directory.path().join("out");
    for (name, length) in FILES {
        assert!(
            fs_err::read(out.join(name)).unwrap() == noise(length, length as u64),
            "{name}"
        );
    }
    let mut root = noise(5 << 20, 1);
    root[10..20].copy_from_slice(b"superblock");
    assert!(fs_err::read(out.join("cos/root.img")).unwrap() == root);
    assert!(out.join("empty/directory").is_dir());

    let again = directory.path().join("again.iso");
    write(&again);
    assert!(common::same(&path, &again));
}

#[test]
fn isoinfo_and_blkid_agree() {
    let name = "isoinfo_and_blkid_agree";
    let (Some(isoinfo), Some(blkid)) = (
        find(name, "isoinfo", "genisoimage"),
        find(name, "blkid", "util-linux"),
    ) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("live.iso");
    write(&path);
    let iso = path.to_str().unwrap();
    let listing = run(&isoinfo, &["-R", "-l", "-i", iso]);
    assert!(
        listing.contains("-rw-r--r--   1    0    0            3000 Nov 14 2023"),
        "{listing}"
    );
    assert!(
        listing.contains("a-long-lower-case-name.configuration"),
        "{listing}"
    );
    let probed = run(&blkid, &["-p", "-o", "export", iso]);
    let uuid = cos_disk::iso::uuid_of(options().identity);
    assert!(probed.contains(&format!("UUID={uuid}\n")), "{probed}");
    assert!(probed.contains("LABEL=COS_LIVE"), "{probed}");
}

#[test]
fn a_file_beyond_4_gib_is_whole() {
    let name = "a_file_beyond_4_gib_is_whole";
    let (Some(xorriso), Some(grub)) = (
        find(name, "xorriso", "xorriso"),
        find(name, "grub-fstest", "grub-common"),
    ) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("live.iso");
    let file = create(&path);
    let mut iso = IsoWriter::create(&file, options()).unwrap();
    let length = (9 << 30) + 12_345;
    let mut large = iso.stream_file("cos/root.img").unwrap();
    // Sparse: marks around the borders of the extents and at the end.
    for at in [0, 0xffff_f800 - 3, 2 * 0xffff_f800 - 3, length - 6] {
        large.seek(SeekFrom::Start(at)).unwrap();
        large.write_all(&noise(6, at)).unwrap();
    }
    large.finish().unwrap();
    iso.add_file("after", b"after").unwrap();
    iso.finish(&BootImages::default()).unwrap();

    let iso = path.to_str().unwrap();
    let listing = run(&xorriso, &["-indev", iso, "-lsl", "/cos/", "/"]);
    assert!(
        listing.contains(&format!("{length} Nov 14  2023 'root.img'")),
        "{listing}"
    );
    for at in [0, 0xffff_f800 - 3, 2 * 0xffff_f800 - 3, length - 6] {
        let out = grub.run([
            "-s",
            &at.to_string(),
            "-n",
            "6",
            iso,
            "cat",
            "(loop0)/cos/root.img",
        ]);
        assert!(out.unwrap().stdout == noise(6, at), "at {at}");
    }
    let mut after = [0; 5];
    file.file()
        .read_exact_at(&mut after, (1 << 20) + length.next_multiple_of(2048))
        .unwrap();
    assert_eq!(&after, b"after");
}
