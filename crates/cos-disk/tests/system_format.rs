//! Disk formats, checked and compared by qemu-img.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{create, find, noise, run};
use cos_disk::format::{DiskFormat, convert};
use cos_disk::place::Placement;
use std::os::unix::fs::{FileExt, MetadataExt};

#[test]
fn every_format_is_sound_and_holds_the_same_disk() {
    let name = "every_format_is_sound_and_holds_the_same_disk";
    let Some(qemu_img) = find(name, "qemu-img", "qemu-utils") else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let raw = directory.path().join("source");
    let source = create(&raw);
    // Ends inside a cluster; data at the ends, across cluster borders, and written zeros.
    let size = (1 << 30) + 512 * 3;
    source.set_len(size).unwrap();
    for (at, length) in [
        (0, 512),
        (65_000, 5_000),
        (100 << 20, 9 << 20),
        (size - 100, 100),
    ] {
        source.file().write_all_at(&noise(length, at), at).unwrap();
    }
    source
        .file()
        .write_all_at(&vec![0; 20 << 20], 500 << 20)
        .unwrap();

    for format in DiskFormat::ALL {
        let paths = ["one", "two"].map(|name| directory.path().join(format!("{name}.{format}")));
        for path in &paths {
            let placement = Placement::create(path).unwrap();
            convert(&source, format, &placement).unwrap();
            placement.finish().unwrap();
        }
        assert!(common::same(&paths[0], &paths[1]), "{format}");
        let path = paths[0].to_str().unwrap();
        let compared = run(
            &qemu_img,
            &[
                "compare",
                "-f",
                "raw",
                "-F",
                format.name(),
                raw.to_str().unwrap(),
                path,
            ],
        );
        assert!(compared.contains("Images are identical"), "{compared}");
        let used = paths[0].metadata().unwrap().blocks() * 512;
        match format {
            DiskFormat::Raw => assert!(used < 40 << 20, "{used}"),
            DiskFormat::Qcow2 => {
                assert!(used < 12 << 20, "{used}");
                let checked = run(&qemu_img, &["check", "-f", "qcow2", path]);
                assert!(checked.contains("No errors were found"), "{checked}");
            }
        }
    }
}
