//! What an image and a boot loader leave for booting: `boot.env`, `attempt.env`, `bootargs.cfg`, `manifest.json`.
#![no_main]

use cos_boot::{Attempts, BootState, EnvironmentBlock, KernelArguments, LoaderManifest};
use libfuzzer_sys::fuzz_target;

fn environment(lines: &[u8]) {
    let mut block = [b"# GRUB Environment Block\n", lines].concat();
    block.resize(1024, b'#');
    if let Ok(parsed) = EnvironmentBlock::from_bytes(&block) {
        // Escapes can take more room than the block has.
        if let Ok(bytes) = parsed.to_bytes() {
            assert_eq!(EnvironmentBlock::from_bytes(&bytes).unwrap(), parsed);
        }
    }
    if let Ok(state) = BootState::from_bytes(&block) {
        let bytes = state.to_bytes().unwrap();
        assert_eq!(BootState::from_bytes(&bytes).unwrap(), state);
    }
    if let Ok(attempts) = Attempts::from_bytes(&block)
        && let Ok(bytes) = attempts.to_bytes()
    {
        assert_eq!(Attempts::from_bytes(&bytes).unwrap(), attempts);
    }
}

fn arguments(text: &str) {
    if let Ok(arguments) = KernelArguments::from_bootargs(text) {
        let line = arguments.as_str();
        assert!(!line.contains(['"', '\'', '$', '\\', '\n']));
        assert_eq!(KernelArguments::new(line).unwrap(), arguments);
    }
}

fuzz_target!(|data: &[u8]| {
    let [lines, bootargs, manifest] = cos_fuzz::parts(data);
    environment(lines);
    arguments(&String::from_utf8_lossy(bootargs));
    if let Ok(manifest) = LoaderManifest::from_json(manifest) {
        let again = LoaderManifest::from_json(manifest.to_json().unwrap().as_bytes());
        assert_eq!(again.unwrap(), manifest);
    }
});
