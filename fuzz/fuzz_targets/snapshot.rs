//! `snapshot.yaml`.
#![no_main]

use cos_store::Snapshot;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Snapshot::from_yaml(text) {
        Ok(snapshot) => {
            let again = Snapshot::from_yaml(&snapshot.to_yaml().unwrap()).unwrap();
            assert_eq!(again, snapshot);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
