//! Certificates, against OpenSSL's server: strangers are refused, named authorities are trusted,
//! and a name that is not the certificate's is refused all the same.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use cos_http::{HttpClient, HttpConfig, HttpError, Request};
use cos_testkit::{find_tool, skip};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use time::OffsetDateTime;

/// `openssl s_server`, ended with the value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the oracle is looked up along the tester's PATH"
)]
fn openssl(program: &Path, directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(directory);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// A certificate authority that gives certificates of any time (OpenSSL 3.0's `req` has only days from now on).
const AUTHORITY: &str = "[ca]
default_ca = test
[test]
database = index.txt
new_certs_dir = .
serial = serial
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
";

/// A certificate for `127.0.0.1`, signed by itself.
fn certify(program: &Path, directory: &Path, valid: Option<[&str; 2]>) {
    let mut request = vec![
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        "/CN=test",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-keyout",
        "key.pem",
        "-out",
    ];
    let succeeds = |args: &[&str]| {
        let status = openssl(program, directory, args).status().unwrap();
        assert!(status.success(), "{args:?}");
    };
    let Some([from, until]) = valid else {
        request.extend(["cert.pem", "-x509", "-days", "2"]);
        return succeeds(&request);
    };
    request.push("request.pem");
    succeeds(&request);
    for (name, text) in [
        ("ca.conf", AUTHORITY),
        ("index.txt", ""),
        ("serial", "01\n"),
    ] {
        fs_err::write(directory.join(name), text).unwrap();
    }
    succeeds(&[
        "ca",
        "-batch",
        "-selfsign",
        "-config",
        "ca.conf",
        "-keyfile",
        "key.pem",
        "-in",
        "request.pem",
        "-out",
        "cert.pem",
        "-startdate",
        from,
        "-enddate",
        until,
    ]);
}

/// A server on the loopback whose certificate is for `127.0.0.1`, and of another time where one is given.
fn serve(program: &Path, directory: &Path, valid: Option<[&str; 2]>) -> (Server, u16) {
    certify(program, directory, valid);
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let accept = format!("127.0.0.1:{port}");
    let args = [
        "s_server", "-accept", &accept, "-cert", "cert.pem", "-key", "key.pem", "-www",
    ];
    let child = openssl(program, directory, &args).spawn().unwrap();
    (Server(child), port)
}

fn ask(config: &HttpConfig, url: &str) -> Result<u16, HttpError> {
    let client = HttpClient::new(config)?;
    // The server may still be starting: only a refused connection is asked again.
    let request = Request {
        retries: 50,
        ..Request::get(url).within(Duration::from_secs(30))
    };
    client.send(&request).map(|response| response.status)
}

#[test]
fn strangers_are_refused_and_named_authorities_trusted() {
    let test = "strangers_are_refused_and_named_authorities_trusted";
    let Some(program) = find_tool("openssl") else {
        return skip(test, "openssl is not installed");
    };
    let temp = tempfile::tempdir().unwrap();
    let (_server, port) = serve(&program, temp.path(), None);
    let trusting = || HttpConfig {
        ca_files: vec![temp.path().join("cert.pem")],
        ..HttpConfig::default()
    };
    let url = format!("https://127.0.0.1:{port}/");
    assert_eq!(ask(&trusting(), &url).unwrap(), 200);
    let error = ask(&HttpConfig::default(), &url).unwrap_err();
    assert!(
        error.hint().is_some_and(|hint| hint.contains("clock")),
        "{error:?}"
    );
    let other = format!("https://localhost:{port}/");
    let error = ask(&trusting(), &other).unwrap_err();
    assert!(
        error.hint().is_some_and(|hint| hint.contains("clock")),
        "{error:?}"
    );
}

#[test]
fn a_certificate_of_another_time_may_be_a_wrong_clock() {
    let test = "a_certificate_of_another_time_may_be_a_wrong_clock";
    let Some(program) = find_tool("openssl") else {
        return skip(test, "openssl is not installed");
    };
    for (valid, wanted) in [
        // As a machine sees it whose clock is behind: what others accept is not valid yet.
        (
            ["20900101000000Z", "21000101000000Z"],
            "is valid from 2090-01-01T00:00:00Z on",
        ),
        // As one sees it whose clock is ahead.
        (
            ["19700101000000Z", "20010101000000Z"],
            "was valid until 2001-01-01T00:00:00Z",
        ),
    ] {
        let temp = tempfile::tempdir().unwrap();
        let (_server, port) = serve(&program, temp.path(), Some(valid));
        let trusting = HttpConfig {
            ca_files: vec![temp.path().join("cert.pem")],
            ..HttpConfig::default()
        };
        let before = OffsetDateTime::now_utc();
        let error = ask(&trusting, &format!("https://127.0.0.1:{port}/")).unwrap_err();
        let hint = error.hint().unwrap_or_else(|| panic!("{error:?}"));
        assert!(
            hint.contains("this machine's clock reads ") && hint.contains(wanted),
            "{hint}"
        );
        // The clock as it is, to the day.
        let reads = [before, OffsetDateTime::now_utc()].map(|it| it.date().to_string());
        assert!(reads.iter().any(|day| hint.contains(day)), "{hint}");
    }
}
