//! A part of `cargo xtask differential`, small enough for every run of the tests.

use cos_differential::run;

/// Archives read here: some seconds of work.
const COUNT: u64 = 4000;
/// Any other than the default of the whole run.
const SEED: u64 = 20_261;

#[test]
fn no_layer_is_understood_differently_by_another_reader() {
    cos_testkit::need_tools(&["tar", "bsdtar", "python3"]);
    let report = run(SEED, COUNT).unwrap();
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    // A mutator that only makes rubbish, or none, would show nothing.
    let total = report.total();
    assert_eq!(total.agreed + total.rejected, COUNT);
    assert!(total.agreed > COUNT / 5, "{report}");
    assert!(total.rejected > COUNT / 5, "{report}");
}
