//! `modules`.

use crate::scratch::{have, scratch};

/// kmod itself reads the line; what it would load is a command, so that no kernel is touched.
#[test]
fn modules_and_their_parameters_reach_kmod() {
    let test = "modules_and_their_parameters_reach_kmod";
    if !have(test, &["modprobe"]) {
        return;
    }
    let Some(scratch) = scratch(test) else { return };
    let said = scratch.failing("modules: [loop]");
    assert_eq!(
        said,
        "modules: modprobe is not in this system; install the package kmod in the image"
    );
    scratch.programs(&["modprobe"]);
    scratch.put(
        "etc/modprobe.d/test.conf",
        "install cos-one echo \"one $CMDLINE_OPTS\" >>/loaded\ninstall cos-two echo two >>/loaded\n",
    );
    scratch.step("modules: ['cos-one mode=4 miimon=100', cos-two]");
    let loaded = scratch.text("loaded");
    let lines: Vec<&str> = loaded.lines().map(str::trim).collect();
    assert_eq!(lines, ["one mode=4 miimon=100", "two"]);
    let said = scratch.failing("modules: ['-r cos-one', no-such-module, cos-two]");
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.contains("\"-r cos-one\" is no module"), "{said}");
    assert_eq!(
        scratch.text("loaded").lines().count(),
        3,
        "the last one is loaded all the same"
    );
}
