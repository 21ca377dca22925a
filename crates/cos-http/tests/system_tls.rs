//! Certificates, against OpenSSL's server: strangers are refused, named authorities are trusted,
//! and a name that is not the certificate's is refused all the same.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use cos_http::{HttpClient, HttpConfig, HttpError, Request};
use cos_testkit::{find_tool, skip};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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

/// A server on the loopback whose certificate is for `127.0.0.1`.
fn serve(program: &Path, directory: &Path) -> (Server, u16) {
    let request = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=test",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
    ];
    assert!(
        openssl(program, directory, &request)
            .status()
            .unwrap()
            .success()
    );
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
    let (_server, port) = serve(&program, temp.path());
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
