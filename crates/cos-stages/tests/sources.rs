//! Documents where they lie: directories, files, and what is wrong with some of them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use cos_events::Silent;
use cos_http::{HttpClient, HttpConfig};
use cos_stages::source::DIRECTORIES;
use cos_stages::{Loaded, Reader, Source, Strictness, plan};
use cos_sys::root_path::Root;
use fs_err as fs;
use fs_err::os::unix::fs::symlink;
use std::path::Path;

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn read(root: &Path, source: &str, optional: bool) -> Loaded {
    let root = Root::open(root).unwrap();
    let http = HttpClient::new(&HttpConfig::default()).unwrap();
    let reader = Reader {
        root: &root,
        http: &http,
        strictness: Strictness::Strict,
    };
    reader.read(&Source::parse(source), optional, &Silent)
}

fn step(word: &str) -> String {
    format!("stages: {{boot: [{{name: {word}}}]}}\n")
}

fn order(loaded: &Loaded) -> Vec<String> {
    let plan = plan::plan(&loaded.documents, "boot");
    plan.steps
        .iter()
        .filter_map(|step| step.step.step.name.clone())
        .collect()
}

#[test]
fn directories_in_their_order_and_names_in_theirs() {
    let temp = tempfile::tempdir().unwrap();
    write(temp.path(), "usr/local/cloud-config/00.yaml", &step("e"));
    write(temp.path(), "oem/10_b.yml", &step("c"));
    write(temp.path(), "oem/9.yaml", &step("d"));
    write(temp.path(), "system/oem/20.yaml", &step("b"));
    write(temp.path(), "system/oem/10/deep.yaml", &step("a"));
    write(temp.path(), "oem/README.md", "no document");
    write(temp.path(), "oem/grubenv", "# GRUB\n");
    let mut loaded = Loaded::default();
    for directory in DIRECTORIES {
        loaded.append(read(temp.path(), directory, true));
    }
    assert_eq!(loaded.diagnostics, []);
    assert_eq!(order(&loaded), ["a", "b", "c", "d", "e"]);
}

#[test]
fn a_bad_file_does_not_stop_the_good_ones() {
    let temp = tempfile::tempdir().unwrap();
    write(temp.path(), "oem/1.yaml", &step("first"));
    write(temp.path(), "oem/2.yaml", "stages: [\n");
    write(
        temp.path(),
        "oem/3.yaml",
        "stages: {boot: [{comands: [x]}]}\n",
    );
    write(temp.path(), "oem/4.yaml", "");
    fs::write(temp.path().join("oem/5.yaml"), [b'a', b'\n', 0xff, 0xfe]).unwrap();
    symlink("nothing", temp.path().join("oem/6.yaml")).unwrap();
    write(temp.path(), "oem/7.yaml", &step("last"));
    let loaded = read(temp.path(), "/oem", false);
    assert_eq!(order(&loaded), ["first", "last"]);
    let said: Vec<String> = loaded
        .diagnostics
        .iter()
        .map(|one| format!("{}:{}: {}", one.source, one.at.line, one.message))
        .collect();
    assert_eq!(said.len(), 4, "{said:?}");
    for (index, start) in [
        "/oem/2.yaml:1: ",
        "/oem/3.yaml:1: unknown key \"comands\"",
        "/oem/5.yaml:2: no UTF-8 text",
        "/oem/6.yaml:1: there is no such file",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(said[index].starts_with(start), "{said:?}");
    }
}

#[test]
fn a_circle_in_a_file_is_that_files_own_loss() {
    let temp = tempfile::tempdir().unwrap();
    write(
        temp.path(),
        "oem/1.yaml",
        "stages: {boot: [{name: x, after: [{name: y}]}, {name: y, after: [{name: x}]}]}\n",
    );
    write(temp.path(), "oem/2.yaml", &step("good"));
    let loaded = read(temp.path(), "/oem", false);
    assert!(loaded.has_errors());
    assert_eq!(order(&loaded), ["good"]);
}

#[test]
fn links_lead_nowhere_outside_and_not_in_circles() {
    let temp = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    write(outside.path(), "secret.yaml", &step("outside"));
    write(temp.path(), "oem/1.yaml", &step("inside"));
    symlink(
        outside.path().join("secret.yaml"),
        temp.path().join("oem/2.yaml"),
    )
    .unwrap();
    symlink(
        "../../../../../../../../etc/passwd",
        temp.path().join("oem/3.yaml"),
    )
    .unwrap();
    symlink(".", temp.path().join("oem/circle")).unwrap();
    symlink(outside.path(), temp.path().join("oem/away")).unwrap();
    symlink("1.yaml", temp.path().join("oem/4.yaml")).unwrap();
    let loaded = read(temp.path(), "/oem", false);
    assert_eq!(order(&loaded), ["inside", "inside"]);
    assert_eq!(loaded.diagnostics.len(), 2, "{:?}", loaded.diagnostics);
    // The same when the directory itself is reached by a link.
    symlink("/oem", temp.path().join("config")).unwrap();
    assert_eq!(
        order(&read(temp.path(), "/config", false)),
        ["inside", "inside"]
    );
}

#[test]
fn what_is_not_there_is_an_error_where_it_was_named() {
    let temp = tempfile::tempdir().unwrap();
    assert_eq!(read(temp.path(), "/oem", true).diagnostics, []);
    assert!(read(temp.path(), "/oem", false).has_errors());
    write(temp.path(), "file", &step("one"));
    assert_eq!(order(&read(temp.path(), "file:///file", false)), ["one"]);
    assert!(read(temp.path(), "/file/below", false).has_errors());
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("oem")).unwrap();
    let fifo = temp.path().join("oem/1.yaml");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    write(temp.path(), "oem/2.yaml", &step("good"));
    let loaded = read(temp.path(), "/oem", false);
    assert_eq!(order(&loaded), ["good"]);
    assert!(
        loaded.diagnostics[0].message.contains("FIFO"),
        "{:?}",
        loaded.diagnostics
    );
}
