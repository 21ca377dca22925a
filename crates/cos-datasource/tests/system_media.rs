//! Media made by other people's tools: xorriso, genisoimage, mkfs.vfat, mke2fs.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use cos_datasource::{BlockMedia, Media, MediumDescription};
use cos_sys::loop_device::{LoopDevice, LoopOptions};
use cos_testkit::{find_tool, require_root, skip};
use std::path::Path;

const USER_DATA: &[u8] = b"#cloud-config\nhostname: medium\n";

/// Runs a program that must succeed; `false` when it is not installed, and says so.
#[expect(
    clippy::disallowed_methods,
    reason = "the oracle is looked up along the tester's PATH"
)]
fn run(test: &str, program: &str, args: &[&str]) -> bool {
    let Some(path) = find_tool(program) else {
        skip(test, &format!("{program} is not installed"));
        return false;
    };
    let output = std::process::Command::new(path)
        .args(args)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {errors}");
    true
}

fn seed(directory: &Path) -> String {
    let seed = directory.join("seed");
    let latest = seed.join("openstack/latest");
    fs_err::create_dir_all(&latest).unwrap();
    fs_err::write(seed.join("user-data"), USER_DATA).unwrap();
    fs_err::write(seed.join("meta-data"), "instance-id: i-1\n").unwrap();
    fs_err::write(seed.join("network-config"), "version: 2\n").unwrap();
    fs_err::write(latest.join("meta_data.json"), "{}").unwrap();
    let many = seed.join("many");
    fs_err::create_dir_all(&many).unwrap();
    for number in 0..200 {
        fs_err::write(
            many.join(format!("file-with-a-rather-long-name-{number:03}.txt")),
            "x",
        )
        .unwrap();
    }
    seed.to_str().unwrap().to_owned()
}

fn is_cidata(medium: &MediumDescription) -> bool {
    medium.label.as_deref() == Some("cidata") || medium.label.as_deref() == Some("CIDATA")
}

/// Reads the seed back from a device or an image.
fn check(node: &Path, scratch: &Path, kind: &str) {
    let media = BlockMedia::of(vec![node.to_owned()], scratch);
    let mut found = media.find(&is_cidata).unwrap();
    assert_eq!(found.len(), 1, "{}", node.display());
    let medium = &mut found[0];
    assert_eq!(medium.description().kind, kind);
    assert_eq!(
        medium.read("user-data", 1 << 20).unwrap().unwrap(),
        USER_DATA
    );
    assert_eq!(
        medium.read("meta-data", 1 << 20).unwrap().unwrap(),
        b"instance-id: i-1\n"
    );
    let nested = medium.read("openstack/latest/meta_data.json", 1 << 20);
    assert_eq!(nested.unwrap().unwrap(), b"{}");
    for absent in [
        "vendor-data",
        "many",
        "../etc/passwd",
        "openstack/latest/none",
    ] {
        // A directory is an error on a mounted medium, and nothing in an image.
        assert!(
            !matches!(medium.read(absent, 1 << 20), Ok(Some(_))),
            "{absent}"
        );
    }
    assert!(medium.read("user-data", 4).is_err());
    drop(found);
    let left = fs_err::read_dir(scratch).map_or(0, Iterator::count);
    assert_eq!(left, 0, "a mount point is left behind");
}

#[test]
fn xorrisos_images_are_read() {
    let test = "xorrisos_images_are_read";
    let temp = tempfile::tempdir().unwrap();
    let seed = seed(temp.path());
    for (name, options) in [
        ("joliet-rock", &["-joliet", "-rock"][..]),
        ("rock", &["-rock"]),
        ("joliet", &["-joliet", "-rock", "-no-pad"]),
    ] {
        let image = temp.path().join(format!("{name}.iso"));
        let mut args = vec!["-as", "mkisofs", "-quiet", "-volid", "cidata"];
        args.extend(options);
        args.extend(["-output", image.to_str().unwrap(), &seed]);
        if !run(test, "xorriso", &args) {
            return;
        }
        check(&image, &temp.path().join("scratch"), "iso9660");
        let media = BlockMedia::of(vec![image], temp.path());
        let mut found = media.find(&is_cidata).unwrap();
        let deep = found[0]
            .read("many/file-with-a-rather-long-name-199.txt", 9)
            .unwrap();
        assert_eq!(deep.unwrap(), b"x");
    }
}

#[test]
fn genisoimages_images_are_read() {
    let test = "genisoimages_images_are_read";
    let temp = tempfile::tempdir().unwrap();
    let seed = seed(temp.path());
    for (name, options) in [
        ("cloud-init", &["-joliet", "-rock"][..]),
        ("joliet", &["-joliet"]),
    ] {
        let image = temp.path().join(format!("{name}.iso"));
        let mut args = vec!["-quiet", "-volid", "cidata", "-input-charset", "utf-8"];
        args.extend(options);
        args.extend(["-output", image.to_str().unwrap(), &seed]);
        if !run(test, "genisoimage", &args) {
            return;
        }
        check(&image, &temp.path().join("scratch"), "iso9660");
    }
}

/// Attaches an image to a loop device and reads it mounted.
fn check_mounted(test: &str, image: &Path, scratch: &Path, kind: &str) {
    if !require_root(test) {
        return;
    }
    let options = LoopOptions {
        read_only: true,
        ..LoopOptions::default()
    };
    match LoopDevice::attach(image, options) {
        Ok(device) => {
            let kernel = fs_err::read_to_string("/proc/filesystems").unwrap();
            if kernel.lines().any(|line| line.trim() == kind) {
                check(device.path(), scratch, kind);
            } else {
                skip(test, &format!("the kernel knows no {kind}"));
            }
            device.detach().unwrap();
        }
        Err(error) => skip(test, &format!("no loop device: {error}")),
    }
}

#[test]
fn a_fat_medium_is_mounted_and_read() {
    let test = "a_fat_medium_is_mounted_and_read";
    let temp = tempfile::tempdir().unwrap();
    let seed = seed(temp.path());
    let image = temp.path().join("seed.img");
    let path = image.to_str().unwrap();
    fs_err::File::create(&image)
        .unwrap()
        .set_len(4 << 20)
        .unwrap();
    let parts = ["user-data", "meta-data", "openstack"].map(|name| format!("{seed}/{name}"));
    let copy = ["-s", "-i", path, &parts[0], &parts[1], &parts[2], "::"];
    if run(test, "mkfs.vfat", &["-n", "CIDATA", path]) && run(test, "mcopy", &copy) {
        check_mounted(test, &image, &temp.path().join("scratch"), "vfat");
    }
}

#[test]
fn an_ext4_medium_is_mounted_and_read() {
    let test = "an_ext4_medium_is_mounted_and_read";
    let temp = tempfile::tempdir().unwrap();
    let seed = seed(temp.path());
    let image = temp.path().join("seed.img");
    let path = image.to_str().unwrap();
    let args = ["-q", "-t", "ext4", "-L", "cidata", "-d", &seed, path, "8M"];
    if run(test, "mke2fs", &args) {
        check_mounted(test, &image, &temp.path().join("scratch"), "ext4");
    }
}
