//! `datasource`, with the provider that needs neither cloud nor medium. The others are tested where
//! they live.

use crate::scratch::scratch;
use insta::assert_snapshot;

#[test]
fn user_data_is_kept_for_root_alone() {
    let Some(scratch) = scratch("user_data_is_kept_for_root_alone") else {
        return;
    };
    let document = "#cloud-config\nhostname: x\nchpasswd: {list: 'root:hunter2'}\n";
    scratch.put("srv/seed", document);
    let summary = scratch.step("datasource: {providers: [file], path: /srv/seed}");
    assert_eq!(summary.steps[0].brought, ["/run/config/userdata.yaml"]);
    assert_snapshot!(scratch.tree("run"), @r"
    config/ 0755 0:0
    config/provider 0600 0:0
    config/userdata 0600 0:0
    config/userdata.yaml 0600 0:0
");
    assert_eq!(scratch.text("run/config/userdata"), document);
    assert_eq!(scratch.text("run/config/userdata.yaml"), document);
    assert_eq!(scratch.text("run/config/provider"), "file");
    // The stages before this one had it already.
    let again = scratch.step("datasource: {providers: [file], path: /srv/seed}");
    assert!(again.steps[0].brought.is_empty());
    scratch.put("srv/seed", "#cloud-config\nhostname: y\n");
    let changed = scratch.step("datasource: {providers: [file], path: /srv/seed}");
    assert_eq!(changed.steps[0].brought, ["/run/config/userdata.yaml"]);
    let summary = scratch
        .step("datasource: {providers: [file], path: /srv/seed, userdata_name: 95_site.yaml}");
    assert_eq!(summary.steps[0].brought, ["/run/config/95_site.yaml"]);
}

#[test]
fn what_is_no_document_is_kept_and_told() {
    let Some(scratch) = scratch("what_is_no_document_is_kept_and_told") else {
        return;
    };
    scratch.put("srv/seed", "#!/bin/sh\ntouch /ran\n");
    let summary = scratch.step("datasource: {providers: [file], path: /srv/seed}");
    assert_eq!(
        summary.steps[0].brought,
        ["/run/config/userdata.yaml"],
        "a script is run in its stage"
    );
    assert!(!scratch.exists("ran"));
    scratch.put("srv/bad", "#cloud-config\nhostname: [\n");
    let said = scratch.failing("datasource: {providers: [file], path: /srv/bad}");
    assert!(said.contains("not understood: line 2"), "{said}");
    assert_eq!(
        scratch.text("run/config/userdata"),
        "#cloud-config\nhostname: [\n"
    );
}

#[test]
fn nothing_there_is_a_failure_unless_it_may_be_so() {
    let Some(scratch) = scratch("nothing_there_is_a_failure_unless_it_may_be_so") else {
        return;
    };
    let said = scratch.failing("datasource: {providers: [file], path: /srv/nothing}");
    assert!(said.starts_with("datasource: no user-data"), "{said}");
    scratch.step("datasource: {providers: [file], path: /srv/nothing, optional: true}");
    let said = scratch.failing("datasource: {providers: []}");
    assert!(said.contains("no provider is named"), "{said}");
}

#[test]
fn the_file_is_the_roots_own() {
    let Some(scratch) = scratch("the_file_is_the_roots_own") else {
        return;
    };
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("seed"), "#cloud-config\n").unwrap();
    fs_err::os::unix::fs::symlink(outside.path(), scratch.at("away")).unwrap();
    for path in [
        "/away/seed".to_owned(),
        format!("{}/seed", outside.path().display()),
    ] {
        let said = scratch.failing(&format!(
            "datasource: {{providers: [file], path: '{path}'}}"
        ));
        assert!(said.contains("no user-data"), "{said}");
    }
}
