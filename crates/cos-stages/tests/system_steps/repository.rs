//! `git` and `unpack_images`.

use crate::scratch::{Scratch, have, scratch};
use crate::server::{Server, answer};
use base64::Engine as _;
use fs_err as fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn git(directory: &Path, arguments: &[&str]) {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {errors}");
}

/// A repository with the branches main and site.
fn repository(directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    git(directory, &["init", "-q", "-b", "main"]);
    commit(directory, "one");
    git(directory, &["branch", "site"]);
    commit(directory, "two");
}

fn commit(directory: &Path, text: &str) {
    fs::write(directory.join("file"), text).unwrap();
    git(directory, &["add", "file"]);
    git(directory, &["commit", "-q", "-m", text]);
}

/// git, and its programs for these.
fn with_git(test: &str, helpers: &[&str]) -> Option<Scratch> {
    if !have(test, &["git"]) {
        return None;
    }
    let scratch = scratch(test)?;
    scratch.programs(&["git", "cat"]);
    scratch.libraries(&["libgcc_s.so.1"]);
    let output = Command::new("git").arg("--exec-path").output().unwrap();
    let directory = String::from_utf8(output.stdout).unwrap();
    for helper in helpers {
        let program = Path::new(directory.trim()).join(helper);
        if !program.exists() {
            cos_testkit::skip(test, &format!("{helper} is not installed"));
            return None;
        }
        scratch.copy(&program);
    }
    Some(scratch)
}

#[test]
fn a_repository_is_cloned_and_brought_up_to_date() {
    let test = "a_repository_is_cloned_and_brought_up_to_date";
    let Some(scratch) = with_git(test, &["git-upload-pack"]) else {
        return;
    };
    let origin = scratch.at("srv/origin");
    repository(&origin);
    let step = "git: {url: 'file:///srv/origin', path: /var/lib/site, branch: main}";
    scratch.step(step);
    assert_eq!(scratch.text("var/lib/site/file"), "two");
    commit(&origin, "three");
    // What somebody did to the copy does not stand in the way.
    scratch.put("var/lib/site/file", "changed by hand");
    scratch.step(step);
    assert_eq!(scratch.text("var/lib/site/file"), "three");
    scratch.step(
        "git: {url: 'file:///srv/origin', path: /var/lib/alone, branch: site, branch_only: true}",
    );
    assert_eq!(scratch.text("var/lib/alone/file"), "one");
    assert!(
        !scratch
            .text("var/lib/alone/.git/packed-refs")
            .contains("main")
    );
    // The branch is master where none is named, as in yip; here there is none.
    let said = scratch.failing("git: {url: 'file:///srv/origin', path: /var/lib/master}");
    assert!(said.contains("git"), "{said}");
    let said = scratch.failing("git: {url: '--upload-pack=touch /x', path: /var/lib/x}");
    assert!(said.contains("no repository"), "{said}");
}

#[test]
fn without_git_the_package_is_named() {
    let Some(scratch) = scratch("without_git_the_package_is_named") else {
        return;
    };
    let said = scratch.failing("git: {url: 'https://x', path: /x}");
    assert_eq!(
        said,
        "git: git is not in this system; install the package git in the image"
    );
}

#[test]
fn passwords_are_given_to_git_and_to_nobody_else() {
    let test = "passwords_are_given_to_git_and_to_nobody_else";
    let Some(scratch) = with_git(test, &["git-remote-http"]) else {
        return;
    };
    let origin = tempfile::tempdir().unwrap();
    repository(origin.path());
    git(origin.path(), &["update-server-info"]);
    let directory = origin.path().join(".git");
    let wanted = base64::engine::general_purpose::STANDARD.encode("machine:hunter2");
    let server = Server::start(move |asked, stream| {
        if asked.header("authorization") != Some(&format!("Basic {wanted}")) {
            let realm = [("WWW-Authenticate", "Basic realm=\"x\"")];
            return answer(stream, 401, &realm, b"");
        }
        let path = asked
            .target
            .split('?')
            .next()
            .unwrap()
            .trim_start_matches("/x/");
        match fs::read(directory.join(path)) {
            Ok(bytes) => answer(stream, 200, &[], &bytes),
            Err(_) => answer(stream, 404, &[], b""),
        }
    });
    let url = server.url("/x");
    scratch.step(&format!(
        "git: {{url: '{url}', path: /srv/x, branch: main, auth: {{username: machine, password: hunter2}}}}"
    ));
    assert_eq!(scratch.text("srv/x/file"), "two");
    assert!(!scratch.text("srv/x/.git/config").contains("hunter2"));
    assert_eq!(scratch.tree("run/cos/git"), "", "the credentials are gone");
    let said = scratch.failing(&format!(
        "git: {{url: '{url}', path: /srv/y, branch: main, auth: {{username: machine, password: wrong-one}}}}"
    ));
    assert!(!said.contains("wrong-one"), "{said}");
    assert!(!scratch.exists("srv/y/file"));
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let test = "a_server_that_is_not_there_is_an_error";
    let Some(scratch) = with_git(test, &["git-remote-http"]) else {
        return;
    };
    // Nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let started = Instant::now();
    let said = scratch.failing(&format!(
        "git: {{url: 'http://127.0.0.1:{port}/x', path: /srv/x}}"
    ));
    assert!(said.contains("git"), "{said}");
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn images_are_unpacked_by_who_knows_of_them() {
    let Some(scratch) = scratch("images_are_unpacked_by_who_knows_of_them") else {
        return;
    };
    let outside = tempfile::tempdir().unwrap();
    fs_err::os::unix::fs::symlink(outside.path(), scratch.at("away")).unwrap();
    let summary = scratch.run(&crate::scratch::document(
        "unpack_images:
- {source: registry.example.com/a:1, target: /var/lib/extensions/a}
- {source: registry.example.com/missing:1, target: /var/lib/extensions/b}
- {source: registry.example.com/c:1, target: /away/c, platform: linux/arm64}
- {source: registry.example.com/d:1, target: relative}",
    ));
    let inside = outside
        .path()
        .strip_prefix("/")
        .unwrap()
        .display()
        .to_string();
    assert_eq!(
        *scratch.unpacked.borrow(),
        [
            "registry.example.com/a:1 None var/lib/extensions/a".to_owned(),
            "registry.example.com/missing:1 None var/lib/extensions/b".to_owned(),
            format!("registry.example.com/c:1 Some(\"linux/arm64\") {inside}/c"),
        ]
    );
    assert_eq!(
        scratch.text("var/lib/extensions/a/unpacked"),
        "registry.example.com/a:1"
    );
    let failures: Vec<&str> = summary.steps[0]
        .failures
        .iter()
        .map(|failure| failure.message.as_str())
        .collect();
    assert_eq!(failures.len(), 2, "{summary}");
    assert!(failures[0].contains("no such image"), "{summary}");
}
