//! Templates of cloud-configs, over values that are JSON.
#![no_main]

use cos_template::{Limits, Templates};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

const LIMITS: Limits = Limits {
    input: 1 << 16,
    output: 1 << 16,
    steps: 20_000,
    memory: 1 << 20,
    depth: 50,
};

fuzz_target!(|data: &[u8]| {
    let [text, values] = cos_fuzz::parts(data);
    let Ok(text) = str::from_utf8(text) else {
        return;
    };
    let values = serde_json::from_slice(values).unwrap_or_default();
    let environment = BTreeMap::from([("A".to_owned(), "b".to_owned())]);
    match Templates::new(environment, LIMITS).render("fuzz", text, &values) {
        Ok(rendered) => assert!(rendered.len() <= LIMITS.output || rendered == text),
        Err(error) => assert!(error.place().line > 0 && !error.to_string().is_empty()),
    }
});
