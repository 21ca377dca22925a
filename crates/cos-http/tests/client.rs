//! The client against a server that misbehaves in every way one can.

mod server;

use cos_events::{Event, Monitor};
use cos_http::{HttpClient, HttpConfig, HttpError, Request};
use server::{Server, answer};
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[expect(clippy::unwrap_used, reason = "a test's helper")]
fn client() -> HttpClient {
    let config = HttpConfig {
        backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(5),
        ..HttpConfig::default()
    };
    HttpClient::new(&config).unwrap()
}

/// A server that answers the n-th request with the n-th status, the last one for ever.
fn statuses(list: &'static [u16]) -> Server {
    let next = AtomicUsize::new(0);
    Server::start(move |_, stream| {
        let at = next.fetch_add(1, Ordering::SeqCst).min(list.len() - 1);
        answer(
            stream,
            list[at],
            &[],
            format!("\nit is {}\nmore", list[at]).as_bytes(),
        );
    })
}

#[test]
fn an_answer_has_status_headers_and_body() {
    let server = Server::start(|asked, stream| {
        let told = format!("{} {}", asked.method, asked.header("x-test").unwrap_or("-"));
        answer(stream, 200, &[("X-Flavour", "vanilla")], told.as_bytes());
    });
    let url = server.url("/a?b");
    let headers = [("X-Test", "1")];
    let response = client()
        .send(&Request {
            headers: &headers,
            ..Request::get(&url)
        })
        .unwrap();
    assert_eq!(
        (response.status, response.body.as_slice()),
        (200, &b"GET 1"[..])
    );
    assert_eq!(response.header("x-FLAVOUR"), Some("vanilla"));
    let response = client().send(&Request::put(&url, b"body")).unwrap();
    assert_eq!(response.body, b"PUT -");
    let response = client().send(&Request::put(&url, b"")).unwrap();
    assert_eq!(response.body, b"PUT -");
    let response = client().send(&Request::post(&url, b"body")).unwrap();
    assert_eq!(response.body, b"POST -");
    let asked = server.asked.lock().unwrap();
    assert_eq!(asked[0].target, "/a?b");
    assert!(asked[0].header("user-agent").unwrap().starts_with("cos/"));
}

#[test]
fn a_status_that_is_not_success_is_an_error_with_its_first_line() {
    let server = statuses(&[404]);
    let url = server.url("/x?token=secret");
    let error = client().send(&Request::get(&url)).unwrap_err();
    assert_eq!(error.status(), Some(404));
    let text = error.to_string();
    assert!(
        text.ends_with("/x?... answered with status 404: it is 404"),
        "{text}"
    );
    assert_eq!(server.count(), 1);
}

#[test]
fn what_may_pass_is_asked_again_and_what_may_not_is_not() {
    let server = statuses(&[503, 429, 500, 200]);
    let url = server.url("/");
    assert_eq!(client().send(&Request::get(&url)).unwrap().status, 200);
    assert_eq!(server.count(), 4);

    let server = statuses(&[503]);
    let url = server.url("/");
    let request = Request {
        retries: 2,
        ..Request::get(&url)
    };
    assert_eq!(client().send(&request).unwrap_err().status(), Some(503));
    assert_eq!(server.count(), 3);

    let server = statuses(&[500, 200]);
    let url = server.url("/");
    let error = client().send(&Request::post(&url, b"x")).unwrap_err();
    assert_eq!((error.status(), server.count()), (Some(500), 1));

    let server = statuses(&[501, 200]);
    let url = server.url("/");
    assert_eq!(
        client().send(&Request::get(&url)).unwrap_err().status(),
        Some(501)
    );
}

#[test]
fn a_server_that_wants_peace_longer_than_there_is_time_is_not_asked_again() {
    let server = Server::start(|_, stream| {
        answer(stream, 429, &[("Retry-After", "18446744073709551615")], b"");
    });
    let url = server.url("/");
    let error = client().send(&Request::get(&url)).unwrap_err();
    assert_eq!((error.status(), server.count()), (Some(429), 1));
}

#[test]
fn redirects_are_followed_and_secrets_stay_behind() {
    let target = Server::start(|asked, stream| {
        let carried = |name| asked.header(name).unwrap_or("-");
        let told = format!("{} {}", carried("authorization"), carried("accept"));
        answer(stream, 200, &[], told.as_bytes());
    });
    let to = target.url("/there");
    let server = Server::start(move |asked, stream| match asked.target.as_str() {
        "/far" => answer(stream, 302, &[("Location", &to)], b""),
        "/near" => answer(stream, 307, &[("Location", "end")], b""),
        _ => answer(
            stream,
            200,
            &[],
            asked.header("authorization").unwrap_or("-").as_bytes(),
        ),
    });
    let headers = [("Authorization", "Bearer x"), ("Accept", "text/x")];
    let ask = |url: &str| {
        client().send(&Request {
            headers: &headers,
            ..Request::get(url)
        })
    };
    assert_eq!(ask(&server.url("/far")).unwrap().body, b"- text/x");
    assert_eq!(ask(&server.url("/near")).unwrap().body, b"Bearer x");
    let url = server.url("/far");
    let stays = Request {
        follow_redirects: false,
        ..Request::get(&url)
    };
    assert_eq!(client().send(&stays).unwrap_err().status(), Some(302));
    let error = client().send(&Request::post(&url, b"")).unwrap_err();
    assert!(matches!(error, HttpError::Redirect { .. }), "{error}");
}

#[test]
fn a_redirect_loop_ends() {
    let server = Server::start(|_, stream| answer(stream, 301, &[("Location", "/")], b""));
    let url = server.url("/");
    let error = client().send(&Request::get(&url)).unwrap_err();
    assert!(matches!(error, HttpError::Redirect { .. }), "{error}");
    assert_eq!(server.count(), 11);
}

#[test]
fn a_drip_that_never_ends_is_cut_off_at_the_deadline() {
    let server = Server::start(|asked, stream| {
        if asked.target == "/head" {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\n"));
        } else {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
        }
        let drop_of_it: &[u8] = if asked.target == "/head" {
            b"x"
        } else {
            b"1\r\nx\r\n"
        };
        while stream.write_all(drop_of_it).is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    for path in ["/head", "/body"] {
        let url = server.url(path);
        let request = Request::get(&url).within(Duration::from_millis(300));
        let error = client().send(&request).unwrap_err();
        assert!(
            matches!(error, HttpError::Deadline { .. }),
            "{path}: {error:?}"
        );
    }
}

#[test]
fn a_server_that_never_answers_is_left_at_the_deadline() {
    let (end, waiting) = std::sync::mpsc::channel::<()>();
    let waiting = std::sync::Mutex::new(waiting);
    let server = Server::start(move |_, _| {
        assert!(waiting.lock().unwrap().recv().is_err());
    });
    let url = server.url("/");
    let request = Request::get(&url).within(Duration::from_millis(200));
    let error = client().send(&request).unwrap_err();
    assert!(matches!(error, HttpError::Deadline { .. }), "{error:?}");
    drop(end);
}

#[test]
fn a_connection_that_is_reset_is_made_again() {
    let next = AtomicUsize::new(0);
    let server = Server::start(move |_, stream| {
        if next.fetch_add(1, Ordering::SeqCst) > 0 {
            answer(stream, 200, &[], b"ok");
        }
    });
    let url = server.url("/");
    assert_eq!(client().send(&Request::get(&url)).unwrap().body, b"ok");
    assert_eq!(server.count(), 2);
}

#[test]
fn nobody_there_is_an_error_that_names_the_url() {
    let url = {
        let server = statuses(&[200]);
        server.url("/gone")
    };
    let error = client().send(&Request::get(&url)).unwrap_err();
    assert!(matches!(error, HttpError::Request { .. }), "{error:?}");
    assert!(error.to_string().contains("/gone"), "{error}");
}

#[test]
fn a_header_bomb_is_refused() {
    let server = Server::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nX: "));
        while stream.write_all(&[b'a'; 4096]).is_ok() {}
    });
    let url = server.url("/");
    let error = client()
        .send(&Request {
            retries: 0,
            ..Request::get(&url)
        })
        .unwrap_err();
    assert!(matches!(error, HttpError::Request { .. }), "{error:?}");
    let server = Server::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\n"));
        for number in 0..5000 {
            if stream
                .write_all(format!("A{number}: b\r\n").as_bytes())
                .is_err()
            {
                return;
            }
        }
        drop(stream.write_all(b"\r\n"));
    });
    let url = server.url("/");
    let error = client()
        .send(&Request {
            retries: 0,
            ..Request::get(&url)
        })
        .unwrap_err();
    assert!(matches!(error, HttpError::Request { .. }), "{error:?}");
}

#[test]
fn a_body_over_the_limit_is_refused_whether_announced_or_not() {
    let server = Server::start(|asked, stream| {
        if asked.target == "/announced" {
            answer(stream, 200, &[], &[0; 101]);
        } else {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"));
            while stream.write_all(&[0; 4096]).is_ok() {}
        }
    });
    for path in ["/announced", "/endless"] {
        let url = server.url(path);
        let error = client()
            .send(&Request {
                max_bytes: 100,
                ..Request::get(&url)
            })
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.ends_with("larger than the limit of 100 bytes"),
            "{text}"
        );
    }
    let url = server.url("/announced");
    assert!(
        client()
            .send(&Request {
                max_bytes: 101,
                ..Request::get(&url)
            })
            .is_ok()
    );
}

#[test]
fn a_truncated_body_is_an_error() {
    let server = Server::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"));
    });
    let url = server.url("/");
    let error = client()
        .send(&Request {
            retries: 1,
            ..Request::get(&url)
        })
        .unwrap_err();
    assert!(matches!(error, HttpError::Transfer { .. }), "{error:?}");
    assert_eq!(server.count(), 2);
}

#[test]
fn tls_is_verified() {
    let server = Server::start(|_, _| {});
    let url = format!("https://{}/", server.address);
    let error = client()
        .send(&Request {
            retries: 0,
            ..Request::get(&url)
        })
        .unwrap_err();
    assert!(matches!(error, HttpError::Request { .. }), "{error:?}");
}

struct Stopped;
impl Monitor for Stopped {
    fn report(&self, _: Event) {}
    fn is_cancelled(&self) -> bool {
        true
    }
}

#[test]
fn a_request_can_be_stopped() {
    let server = statuses(&[200]);
    let url = server.url("/");
    let error = client()
        .send(&Request {
            monitor: &Stopped,
            ..Request::get(&url)
        })
        .unwrap_err();
    assert!(matches!(error, HttpError::Cancelled(_)), "{error:?}");
    assert_eq!(server.count(), 0);
}

/// Serves `0123456789`, in parts where asked, and breaks off after `at_most` bytes of each answer.
fn digits(at_most: usize, etag: &'static [&'static str]) -> Server {
    let next = AtomicUsize::new(0);
    Server::start(move |asked, stream| {
        let etag = etag[next.fetch_add(1, Ordering::SeqCst).min(etag.len() - 1)];
        let all = b"0123456789";
        let from = asked.header("range").and_then(|range| {
            let from = range.strip_prefix("bytes=")?.strip_suffix('-')?;
            from.parse::<usize>().ok()
        });
        let same = asked.header("if-range").is_none_or(|tag| tag == etag);
        let (status, from) = match from {
            Some(from) if same && asked.target != "/whole" => (206, from),
            _ => (200, 0),
        };
        let rest = &all[from..];
        let head = format!(
            "HTTP/1.1 {status} X\r\nConnection: close\r\nETag: {etag}\r\nContent-Length: {}\r\n\
             Content-Range: bytes {from}-9/10\r\n\r\n",
            rest.len()
        );
        drop(stream.write_all(head.as_bytes()));
        drop(stream.write_all(&rest[..rest.len().min(at_most)]));
    })
}

#[test]
fn a_download_goes_on_where_it_broke() {
    let server = digits(4, &["\"a\""]);
    let url = server.url("/");
    let mut sink = Vec::new();
    let done = client()
        .download(&Request::get(&url), &mut sink, 0)
        .unwrap();
    assert_eq!((done.written, sink.as_slice()), (10, &b"0123456789"[..]));
    assert_eq!(
        server.asked.lock().unwrap()[1].header("if-range"),
        Some("\"a\"")
    );
    let mut sink = Vec::new();
    let done = client()
        .download(&Request::get(&url), &mut sink, 7)
        .unwrap();
    assert_eq!(
        (done.written, done.status, sink.as_slice()),
        (3, 206, &b"789"[..])
    );
}

#[test]
fn a_download_that_changed_or_cannot_go_on_is_not_pieced_together() {
    let server = digits(4, &["\"a\"", "\"b\""]);
    let url = server.url("/");
    let mut sink = Vec::new();
    let error = client()
        .download(&Request::get(&url), &mut sink, 0)
        .unwrap_err();
    assert!(
        matches!(error, HttpError::Resume { offset: 4, .. }),
        "{error:?}"
    );
    let url = server.url("/whole");
    let error = client()
        .download(&Request::get(&url), &mut Vec::new(), 5)
        .unwrap_err();
    assert!(
        error.hint().unwrap().contains("from the start"),
        "{error:?}"
    );
    let server = digits(10, &["\"a\""]);
    let url = server.url("/");
    let small = Request {
        max_bytes: 9,
        ..Request::get(&url)
    };
    let error = client().download(&small, &mut Vec::new(), 5).unwrap_err();
    assert!(
        matches!(error, HttpError::TooLarge { limit: 9, .. }),
        "{error:?}"
    );
}

#[test]
fn a_ca_file_must_hold_a_certificate_and_a_broken_system_bundle_is_told() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("ca.pem");
    fs_err::write(&path, "no certificate").unwrap();
    let named = HttpConfig {
        ca_files: vec![path.clone()],
        ..HttpConfig::default()
    };
    let error = HttpClient::new(&named).unwrap_err();
    assert!(error.to_string().contains("ca.pem"), "{error}");
    let system = HttpConfig {
        system_ca_files: vec![path],
        ..HttpConfig::default()
    };
    let client = HttpClient::new(&system).unwrap();
    assert!(
        client.warnings()[0].contains("ca.pem"),
        "{:?}",
        client.warnings()
    );
}
