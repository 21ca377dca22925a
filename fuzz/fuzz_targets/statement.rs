//! What is published beside a sealed image: the manifest, and the statement.
#![no_main]

use cos_ops::sealed::Statement;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let files = cos_image::fuzzing::read_artifact(data);
    // Every file takes bytes to write down.
    assert!(files <= data.len());
    match Statement::parse(data) {
        Ok(statement) => {
            let again = Statement::parse(&statement.to_json().unwrap()).unwrap();
            assert_eq!(again, statement);
            assert!(statement.compression().is_ok());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
