//! The kernel command line, as the initrd and the stages read it, and the layout beside it.
#![no_main]
#![allow(dead_code, reason = "the initrd's program uses what this does not")]

// The initrd's program is no library; these are its own files.
#[path = "../../crates/cos-init/src/cmdline.rs"]
mod cmdline;
#[path = "../../crates/cos-init/src/layout.rs"]
mod layout;
#[path = "../../crates/cos-init/src/volume.rs"]
mod volume;

use cmdline::CommandLine;
use cos_stages::{Source, Strictness, dot_notation};
use layout::Layout;
use libfuzzer_sys::fuzz_target;
use std::path::{Component, Path};

const NEEDED: &str = "cos.mode=active cos.source=LABEL=A cos.snapshot=1 \
    cos.roothash=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff ";

fn assert_clean(path: &Path) {
    let mut components = path.components();
    assert_eq!(components.next(), Some(Component::RootDir));
    assert!(components.all(|part| matches!(part, Component::Normal(_))));
}

fn initrd(line: &str) {
    cmdline::wants_shell(line);
    cmdline::is_disabled(line);
    cmdline::is_sealed(line);
    match CommandLine::parse(line) {
        Ok(parsed) => {
            assert!(!parsed.snapshot.contains('/') && !parsed.snapshot.starts_with('.'));
            parsed
                .volumes
                .iter()
                .for_each(|volume| assert_clean(&volume.target));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn layout(text: &str) {
    let layout = Layout::parse(text);
    layout.rw_paths.iter().for_each(|path| assert_clean(path));
    layout
        .state_paths
        .iter()
        .for_each(|state| assert_clean(&state.path));
    assert_clean(&layout.state_target);
    for volume in layout.volumes.iter().flatten() {
        assert_clean(&volume.target);
    }
}

fuzz_target!(|text: &str| {
    initrd(text);
    initrd(&format!("{NEEDED}{text}"));
    layout(text);
    if let Err(error) = cos_sys::device_spec::DeviceSpec::parse(text) {
        assert!(!error.is_empty());
    }
    for source in dot_notation::setup_sources(text) {
        let _ = Source::parse(&source);
    }
    for strictness in [Strictness::Strict, Strictness::Compatible] {
        let loaded = dot_notation::load(text, strictness);
        for finding in &loaded.diagnostics {
            assert!(!finding.to_string().is_empty());
        }
    }
});
