//! `downloads`.

use crate::scratch::scratch;
use crate::server::{Server, answer};
use insta::assert_snapshot;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[test]
fn files_are_fetched_with_mode_and_owner() {
    let Some(scratch) = scratch("files_are_fetched_with_mode_and_owner") else {
        return;
    };
    let server = Server::start(|asked, stream| match asked.target.as_str() {
        "/moved" => answer(stream, 302, &[("Location", "/tool?x=1")], b""),
        "/gone" => answer(stream, 404, &[], b"no such tool"),
        target => answer(stream, 200, &[], format!("content of {target}").as_bytes()),
    });
    std::fs::create_dir(scratch.at("srv")).unwrap();
    std::fs::create_dir(scratch.at("srv/there")).unwrap();
    scratch.step(&format!(
        "downloads:
- {{path: /srv/plain, url: '{0}'}}
- {{path: /srv/tool, url: '{1}', permissions: 0755, owner: 3, group: 4}}
- {{path: /srv/named, url: '{0}', ownerstring: 'daemon:adm'}}
- {{path: /srv/dir/, url: '{2}'}}
- {{path: /srv/there, url: '{2}', timeout: 20}}",
        server.url("/a"),
        server.url("/moved"),
        server.url("/b/name.bin?token=x"),
    ));
    assert_snapshot!(scratch.tree("srv"), @r"
    dir/ 0755 0:0
    dir/name.bin 0644 0:0
    named 0644 1:4
    plain 0644 0:0
    there/ 0755 0:0
    there/name.bin 0644 0:0
    tool 0755 3:4
");
    assert_eq!(scratch.text("srv/tool"), "content of /tool?x=1");
    assert_eq!(
        scratch.text("srv/dir/name.bin"),
        "content of /b/name.bin?token=x"
    );
    let said = scratch.failing(&format!(
        "downloads: [{{path: /srv/plain, url: '{}'}}, {{path: /srv/after, url: '{}'}}]",
        server.url("/gone"),
        server.url("/a"),
    ));
    assert!(said.contains("404") && said.lines().count() == 1, "{said}");
    assert_eq!(
        scratch.text("srv/plain"),
        "content of /a",
        "the old one stays"
    );
    assert!(scratch.exists("srv/after"));
    // Urls are no templates.
    scratch.step(&format!(
        "downloads: [{{path: /srv/braces, url: '{}'}}]",
        server.url("/%7B%7B")
    ));
}

#[test]
fn what_breaks_off_is_asked_for_again() {
    let Some(scratch) = scratch("what_breaks_off_is_asked_for_again") else {
        return;
    };
    // The first two answers break off in the middle, and no answer can start there.
    let count = AtomicUsize::new(0);
    let server = Server::start(move |_, stream| {
        if count.fetch_add(1, Ordering::SeqCst) < 1 {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"));
        } else {
            answer(stream, 200, &[], b"1234567890");
        }
    });
    scratch.step(&format!(
        "downloads: [{{path: /file, url: '{}'}}]",
        server.url("/")
    ));
    assert_eq!(scratch.text("file"), "1234567890");
}

#[test]
fn a_server_that_says_nothing_is_left_after_the_timeout() {
    let name = "a_server_that_says_nothing_is_left_after_the_timeout";
    let Some(scratch) = scratch(name) else { return };
    let server = Server::start(|_, _| std::thread::sleep(Duration::from_secs(20)));
    let started = Instant::now();
    let said = scratch.failing(&format!(
        "downloads: [{{path: /srv/file, url: '{}', timeout: 1}}]",
        server.url("/")
    ));
    assert!(said.contains("/srv/file"), "{said}");
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    assert!(!scratch.exists("srv/file"));
    assert_eq!(scratch.tree("srv"), "", "nothing is left lying about");
}
