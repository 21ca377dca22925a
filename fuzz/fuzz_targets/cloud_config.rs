//! Cloud-config documents in every form, to the order of their steps.
#![no_main]

use cos_stages::{Loaded, Strictness, load, plan};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;

fn check(loaded: &Loaded) {
    let mut stages = BTreeSet::new();
    for document in &loaded.documents {
        stages.extend(document.stages.iter().map(|stage| stage.name.as_str()));
    }
    // Of very many, any will do: each is looked for in all of them.
    for stage in stages.into_iter().take(50) {
        let documents = loaded.documents.iter();
        let steps = documents.flat_map(|document| &document.stages);
        let count: usize = steps
            .filter(|one| one.name == stage)
            .map(|one| one.steps.len())
            .sum();
        let plan = plan::plan(&loaded.documents, stage);
        match &plan.refused {
            None => assert_eq!(plan.steps.len(), count),
            Some(refused) => assert!(refused.cycle.len() > 1 && plan.steps.len() < count),
        }
    }
    for finding in &loaded.diagnostics {
        assert!(!finding.to_string().is_empty());
    }
}

fuzz_target!(|data: &[u8]| {
    let strict = load("fuzz", data, Strictness::Strict);
    let compatible = load("fuzz", data, Strictness::Compatible);
    // What a boot uses is at least what the strict check lets pass.
    assert!(strict.documents.len() <= compatible.documents.len());
    check(&strict);
    check(&compatible);
});
