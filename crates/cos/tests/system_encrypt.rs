//! What `cos build disk --encrypt` refuses.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests run the program with plain std and stop at the first surprise"
)]

mod common;

use cos_testkit::images::Suite;
use cos_testkit::{process, temp_dir};
use std::path::Path;
use std::process::Output;

/// Plans a sealed disk of the lean image, which lacks what data are encrypted with.
fn plan(directory: &Path, image: &str, more: &[&str]) -> Output {
    common::cos()
        .args(["build", "disk", image, "--sealed", "keys", "--dry-run"])
        .args(["--output", "disk.img"])
        .args(more)
        .current_dir(directory)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn data_are_encrypted_only_where_keys_and_initrd_are_made_for_it() {
    let directory = temp_dir().unwrap();
    let directory = directory.path();
    let image = common::test_image(Suite::Trixie);
    process::run(
        common::cos()
            .args(["keys", "generate", "keys", "--name", "Example Ltd"])
            .current_dir(directory),
    )
    .unwrap();
    let refused = plan(directory, &image, &["--encrypt"]);
    let text = said(&refused);
    assert_eq!(refused.status.code(), Some(3), "{text}");
    assert!(
        text.contains("cannot encrypt data") && text.contains("systemd-cryptsetup"),
        "{text}"
    );

    // Keys as they were made before there was one for data: they seal, and encrypt nothing.
    std::fs::remove_file(directory.join("keys/pcr.key")).unwrap();
    let refused = plan(directory, &image, &["--encrypt"]);
    let text = said(&refused);
    assert_eq!(refused.status.code(), Some(2), "{text}");
    assert!(text.contains("keys/pcr.key"), "{text}");
    let planned = plan(directory, &image, &[]);
    assert!(planned.status.success(), "{}", said(&planned));
}
