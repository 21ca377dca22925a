//! The configuration of `cos`, and the file of `cos install --config`.
#![no_main]
#![allow(dead_code, reason = "the installer uses what this does not")]

// Private to the crate that installs; this is its own file.
#[path = "../../crates/cos-ops/src/install/config.rs"]
mod config;

use config::InstallConfig;
use cos_config::Config;
use cos_fuzz::MemoryFile;
use cos_sys::root_path::Root;
use fs_err as fs;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

fuzz_target!(|data: &[u8]| {
    let [main, other, source, version, install] = cos_fuzz::parts(data);
    let temp = TempDir::new_in("/dev/shm").unwrap();
    fs::create_dir_all(temp.path().join("etc/cos/config.d")).unwrap();
    fs::write(temp.path().join("etc/cos/config.yaml"), main).unwrap();
    fs::write(temp.path().join("etc/cos/config.d/10.yaml"), other).unwrap();
    let variable =
        |name: &str, value| (name.to_owned(), String::from_utf8_lossy(value).into_owned());
    let environment = [
        variable("COS_UPGRADE_SOURCE", source),
        variable("COS_UPGRADE_VERSION", version),
    ];
    let root = Root::open(temp.path()).unwrap();
    match Config::load(&root, &environment) {
        Ok(config) => assert!(config.keep.value >= 1 && config.tries.value >= 1),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let file = MemoryFile::of(install);
    if let Err(error) = InstallConfig::read(&file.path()) {
        assert!(!error.to_string().is_empty());
    }
});
