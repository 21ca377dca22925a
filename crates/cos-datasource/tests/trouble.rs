//! Servers that hang, fail, lie or never end.

#[path = "../../cos-http/tests/server/mod.rs"]
mod server;

mod common;

use common::{CONFIG, all_at, ask, ask_within, client, machine};
use cos_datasource::{DatasourceError, Dmi, Endpoints, Provider, Request, fetch};
use cos_events::{Event, Monitor, Silent};
use server::{Server, answer};
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

/// A server that says nothing until the sender is dropped.
fn hanging() -> (Server, Sender<()>) {
    let (end, waiting) = channel::<()>();
    let waiting = Mutex::new(waiting);
    let server = Server::start(move |_, _| {
        assert!(waiting.lock().is_ok_and(|waiting| waiting.recv().is_err()));
    });
    (server, end)
}

fn hetzner() -> Server {
    Server::start(|asked, stream| match asked.target.as_str() {
        "/hetzner/v1/metadata" => answer(stream, 200, &[], b"instance-id: 1\n"),
        "/hetzner/v1/userdata" => answer(stream, 200, &[], CONFIG),
        _ => answer(stream, 404, &[], b""),
    })
}

#[test]
fn a_server_that_never_answers_is_left_at_the_deadline() {
    let (server, end) = hanging();
    let endpoints = all_at(&server.url(""));
    let providers = [Provider::Aws, Provider::Vultr];
    let error = ask_within(&providers, &endpoints, Duration::from_millis(300)).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("aws: no ") && text.contains("vultr: no "),
        "{text}"
    );
    assert!(text.contains("in the time allowed"), "{text}");
    drop(end);
}

#[test]
fn the_first_good_answer_wins_while_another_hangs() {
    let (hanging, end) = hanging();
    let good = hetzner();
    let endpoints = Endpoints {
        hetzner: good.url(""),
        ..all_at(&hanging.url(""))
    };
    // Five minutes: only an answer that does not wait for the others comes before the test's limit.
    let data = ask(
        &[Provider::Aws, Provider::Gcp, Provider::Hetzner],
        &endpoints,
    )
    .unwrap();
    assert_eq!(data.provider, Provider::Hetzner);
    assert_eq!(data.user_data.as_deref(), Some(CONFIG));
    drop(end);
}

#[test]
fn a_server_that_fails_is_asked_again_and_then_named() {
    let server = Server::start(|_, stream| answer(stream, 500, &[], b"oops"));
    let error = ask(&[Provider::Hetzner], &all_at(&server.url(""))).unwrap_err();
    assert!(error.to_string().contains("status 500: oops"), "{error}");
    assert_eq!(server.count(), 6);
}

#[test]
fn user_data_that_cannot_be_had_is_no_user_data_without_it() {
    let server = Server::start(|asked, stream| match asked.target.as_str() {
        "/hetzner/v1/metadata" => answer(stream, 200, &[], b"instance-id: 1\n"),
        _ => answer(stream, 503, &[], b""),
    });
    let error = ask(&[Provider::Hetzner], &all_at(&server.url(""))).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("/hetzner/v1/userdata answered with status 503"),
        "{error}"
    );
}

#[test]
fn documents_without_end_are_cut_off() {
    let server = Server::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n"));
        while stream.write_all(&[b'a'; 16384]).is_ok() {}
    });
    let endpoints = all_at(&server.url(""));
    let error = ask(&[Provider::Hetzner, Provider::Scaleway], &endpoints).unwrap_err();
    let text = error.to_string();
    assert!(
        text.matches("larger than the limit of 1048576 bytes")
            .count()
            == 2,
        "{text}"
    );
}

#[test]
fn user_data_without_end_is_cut_off_from_privileged_ports_too() {
    let server = Server::start(|asked, stream| {
        if asked.target.starts_with("/conf") {
            return answer(stream, 200, &[], br#"{"id": "x"}"#);
        }
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n"));
        while stream.write_all(&[b'a'; 16384]).is_ok() {}
    });
    let error = ask(&[Provider::Scaleway], &all_at(&server.url(""))).unwrap_err();
    assert!(
        error.to_string().contains("larger than 16777216 bytes"),
        "{error}"
    );
}

#[test]
fn garbage_is_not_understood() {
    let server = Server::start(|asked, stream| {
        let body: &[u8] = match asked.method.as_str() {
            "PUT" => b"\x00\xff token",
            _ => b"{\"uuid\": [[[[",
        };
        answer(stream, 200, &[("Metadata-Flavor", "Google")], body);
    });
    let all: Vec<Provider> = Provider::all()
        .filter(|provider| provider.is_network())
        .collect();
    let asked: Vec<Provider> = all
        .into_iter()
        .filter(|p| *p != Provider::Metaldata)
        .collect();
    let error = ask(&asked, &all_at(&server.url(""))).unwrap_err();
    let DatasourceError::NoneFound { said } = &error else {
        panic!("{error}");
    };
    assert_eq!(said.len(), asked.len(), "{error}");
}

struct Stopped;
impl Monitor for Stopped {
    fn report(&self, _: Event) {}
    fn is_cancelled(&self) -> bool {
        true
    }
}

#[test]
fn the_search_can_be_stopped() {
    let server = hetzner();
    let endpoints = all_at(&server.url(""));
    let request = Request {
        providers: &[Provider::Hetzner],
        deadline: Duration::from_mins(1),
        file: None,
        endpoints: &endpoints,
    };
    let dmi = Dmi::default();
    let error = fetch(&request, &machine(&dmi), &client(), &Stopped).unwrap_err();
    assert!(matches!(error, DatasourceError::Cancelled(_)), "{error}");
    let none = Request {
        providers: &[],
        ..request
    };
    let error = fetch(&none, &machine(&dmi), &client(), &Silent).unwrap_err();
    assert!(matches!(error, DatasourceError::NoProviders), "{error}");
}
