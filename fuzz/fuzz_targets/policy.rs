//! Policy files, and which of their rules a name meets.
#![no_main]

use cos_sys::root_path::Root;
use cos_trust::Policy;
use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::sync::LazyLock;

/// Nothing that a policy names is there.
static EMPTY: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

fuzz_target!(|data: &[u8]| {
    let [policy, name] = cos_fuzz::parts(data);
    let root = Root::open(EMPTY.path()).unwrap();
    let name = String::from_utf8_lossy(name);
    let mut read = Policy::default();
    match read.add(policy, Path::new("/etc/cos/policy.yaml"), &root) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(()) => {
            let Some(rule) = read.rule_for(&name) else {
                return;
            };
            assert!(rule.pattern().matches(&name));
            for other in read.rules() {
                let is_better = other.pattern().specificity(rule.pattern()).is_gt();
                assert!(!(is_better && other.pattern().matches(&name)));
            }
            // Without a signature, only a rule that says so lets anything run.
            let judged = rule.judge(&name, &[0; 32], &[]);
            assert_eq!(judged.is_ok(), rule.is_insecure());
        }
    }
});
