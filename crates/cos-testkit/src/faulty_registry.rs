//! A registry that misbehaves on purpose: plain HTTP/1.1 over a socket, one request a connection.
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "helpers of tests fail by panicking, as tests do"
)]

use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What the server does wrong.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
pub struct Faults {
    /// Answers a request for a token with this, and the registry wants it.
    pub token: Option<&'static str>,
    /// Connections for blobs end after this many bytes of body, this many times.
    pub drop_after: Option<(usize, u32)>,
    /// First this many requests get 503.
    pub unavailable: u32,
    /// Sends the whole blob whatever range is asked for.
    pub ignore_range: bool,
    /// Answers a range with one that starts elsewhere.
    pub wrong_range: bool,
    /// Blobs have a byte changed.
    pub corrupt: bool,
    /// Blobs are redirected to this authority, which is another origin.
    pub redirect: Option<String>,
    /// Every request is answered with this status.
    pub status: Option<u16>,
    /// The tag names these digests in turn, another one at every request.
    pub moving: Vec<String>,
    /// Lists of referrers have always one more page.
    pub endless_referrers: bool,
    /// The host that redirects lead to wants credentials for itself.
    pub greedy: bool,
}

/// One request as it came in.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub target: String,
    /// Its headers, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: String,
}

/// The running server; it serves until the test's process ends.
#[derive(Debug)]
pub struct Server {
    /// `HOST:PORT`.
    pub authority: String,
    requests: Arc<Mutex<Vec<Request>>>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    faults: Mutex<Faults>,
    authority: String,
    layout: std::path::PathBuf,
    requests: Arc<Mutex<Vec<Request>>>,
    added: Mutex<Added>,
}

/// What the registry has besides the layout.
#[derive(Debug, Default)]
struct Added {
    /// Media types and bytes by tag or digest.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    blobs: BTreeMap<String, Vec<u8>>,
    /// Pages of lists of referrers, by the digest that they refer to.
    referrers: BTreeMap<String, Vec<Vec<u8>>>,
    /// How often the tag was asked for.
    asked: usize,
}

impl Server {
    /// Serves a layout as repository `me/os`, tag `v1`.
    pub fn start(layout: &Path, faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let state = Arc::new(State {
            faults: Mutex::new(faults),
            authority: authority.clone(),
            layout: layout.into(),
            requests: requests.clone(),
            added: Mutex::default(),
        });
        let served = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let state = served.clone();
                std::thread::spawn(move || {
                    // A client that hangs up is part of the tests.
                    drop(state.serve(stream.unwrap()));
                });
            }
        });
        Self {
            authority,
            requests,
            state,
        }
    }

    /// From now on misbehaves in another way.
    pub fn misbehave(&self, faults: Faults) {
        *self.state.faults.lock().unwrap() = faults;
    }

    /// From now on there is this manifest too, under a tag or digest, and under its own digest.
    pub fn add_manifest(&self, name: &str, media_type: &str, bytes: &[u8]) {
        let mut added = self.state.added.lock().unwrap();
        for name in [name, &digest_of(bytes)] {
            let entry = (media_type.to_owned(), bytes.to_vec());
            added.manifests.insert(name.to_owned(), entry);
        }
    }

    /// From now on there is this blob too; returns its digest.
    pub fn add_blob(&self, bytes: &[u8]) -> String {
        let digest = digest_of(bytes);
        let mut added = self.state.added.lock().unwrap();
        added.blobs.insert(digest.clone(), bytes.to_vec());
        digest
    }

    /// From now on this blob is sent, whatever its digest.
    pub fn falsify_blob(&self, digest: &str, bytes: &[u8]) {
        let mut added = self.state.added.lock().unwrap();
        added.blobs.insert(digest.to_owned(), bytes.to_vec());
    }

    /// From now on knows referrers, and lists these pages of them for a digest.
    pub fn list_referrers(&self, digest: &str, pages: Vec<Vec<u8>>) {
        let mut added = self.state.added.lock().unwrap();
        added.referrers.insert(digest.to_owned(), pages);
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl State {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let request = read_request(&mut reader)?;
        self.requests.lock().unwrap().push(request.clone());
        let mut stream = stream;
        let (head, body) = self.answer(&request);
        let mut end = body.len();
        let mut faults = self.faults.lock().unwrap();
        if request.target.contains("/blobs/")
            && !head.starts_with("401")
            && let Some((after, times)) = &mut faults.drop_after
            && *times > 0
            && body.len() > *after
        {
            *times -= 1;
            end = *after;
        }
        drop(faults);
        write!(
            stream,
            "HTTP/1.1 {head}Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        )?;
        stream.write_all(&body[..end])?;
        stream.flush()
    }

    fn answer(&self, request: &Request) -> (String, Vec<u8>) {
        let plain = |status: &str| (format!("{status}\r\n"), b"{}".to_vec());
        let mut faults = self.faults.lock().unwrap();
        if let Some(status) = faults.status {
            let body = br#"{"errors":[{"code":"DENIED","message":"go away"}]}"#.to_vec();
            return (format!("{status} No\r\n"), body);
        }
        if faults.unavailable > 0 {
            faults.unavailable -= 1;
            return ("503 Busy\r\nRetry-After: 0\r\n".into(), Vec::new());
        }
        if request.target.starts_with("/token") {
            let token = faults.token.unwrap_or("");
            return (
                "200 OK\r\n".into(),
                format!(r#"{{"token":"{token}"}}"#).into_bytes(),
            );
        }
        if faults.greedy && !request.headers.contains_key("authorization") {
            let head = "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"mine\"\r\n";
            return (head.into(), b"{}".to_vec());
        }
        if let Some(token) = faults.token
            && request.headers.get("authorization") != Some(&format!("Bearer {token}"))
        {
            let head = format!(
                "401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://{}/token\",service=\"test\",scope=\"repository:me/os:pull\"\r\n",
                self.authority
            );
            return (head, b"{}".to_vec());
        }
        if request.target.contains("/manifests/") {
            return self.manifest(request, &faults);
        }
        if let Some(page) = self.referrers(&request.target, &faults) {
            return page;
        }
        let Some((_, digest)) = request.target.split_once("/blobs/") else {
            return plain("404 Not Found");
        };
        if let Some(other) = &faults.redirect {
            let head = format!(
                "307 Elsewhere\r\nLocation: http://{other}{}\r\n",
                request.target
            );
            return (head, Vec::new());
        }
        match self.blob(digest) {
            Some(mut bytes) => {
                if faults.corrupt {
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 1;
                }
                ranged(request, &faults, bytes)
            }
            None => plain("404 Not Found"),
        }
    }

    fn referrers(&self, target: &str, faults: &Faults) -> Option<(String, Vec<u8>)> {
        let (_, rest) = target.split_once("/referrers/")?;
        if faults.endless_referrers {
            return Some(endless_page(target));
        }
        let (digest, page) = rest.split_once("?page=").unwrap_or((rest, "0"));
        let page: usize = page.parse().ok()?;
        let added = self.added.lock().unwrap();
        let pages = added.referrers.get(digest)?;
        let path = target.split('?').next()?;
        let more = page + 1 < pages.len();
        let more = more.then(|| format!("Link: <{path}?page={}>; rel=\"next\"\r\n", page + 1));
        let more = more.unwrap_or_default();
        let head =
            format!("200 OK\r\nContent-Type: application/vnd.oci.image.index.v1+json\r\n{more}");
        Some((head, pages.get(page)?.clone()))
    }

    fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        if let Some(bytes) = self.added.lock().unwrap().blobs.get(digest) {
            return Some(bytes.clone());
        }
        let hex = digest.strip_prefix("sha256:")?;
        fs_err::read(self.layout.join("blobs/sha256").join(hex)).ok()
    }

    fn manifest(&self, request: &Request, faults: &Faults) -> (String, Vec<u8>) {
        let mut wanted = request.target.rsplit('/').next().unwrap();
        let mut added = self.added.lock().unwrap();
        if wanted == "v1" && !faults.moving.is_empty() {
            wanted = &faults.moving[added.asked % faults.moving.len()];
            added.asked += 1;
        }
        if let Some((media_type, bytes)) = added.manifests.get(wanted) {
            let head = format!("200 OK\r\nContent-Type: {media_type}\r\n");
            return (head, bytes.clone());
        }
        drop(added);
        let index = fs_err::read(self.layout.join("index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
        let digest = index["manifests"][0]["digest"].as_str().unwrap();
        if !request.target.starts_with("/v2/me/os/") || (wanted != "v1" && wanted != digest) {
            return ("404 Not Found\r\n".into(), b"{}".to_vec());
        }
        let head = format!(
            "200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\nDocker-Content-Digest: {digest}\r\n"
        );
        (head, self.blob(digest).unwrap())
    }
}

/// A page of a list, with a link to the next one.
fn endless_page(target: &str) -> (String, Vec<u8>) {
    let next = format!("{target}{}", target.len());
    let head = format!(
        "200 OK\r\nContent-Type: application/vnd.oci.image.index.v1+json\r\nLink: <{next}>; rel=\"next\"\r\n"
    );
    (head, br#"{"schemaVersion":2,"manifests":[]}"#.to_vec())
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn ranged(request: &Request, faults: &Faults, bytes: Vec<u8>) -> (String, Vec<u8>) {
    let Some(range) = request
        .headers
        .get("range")
        .filter(|_| !faults.ignore_range)
    else {
        return ("200 OK\r\n".into(), bytes);
    };
    let (first, last) = range
        .strip_prefix("bytes=")
        .unwrap()
        .split_once('-')
        .unwrap();
    let first: usize = first.parse().unwrap();
    let last: usize = last.parse().unwrap();
    let first = if faults.wrong_range { first - 1 } else { first };
    let head = format!(
        "206 Partial\r\nContent-Range: bytes {first}-{last}/{}\r\n",
        bytes.len()
    );
    (head, bytes[first..=last].to_vec())
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Request> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Request {
        method,
        target,
        headers,
        body: String::from_utf8(body).unwrap(),
    })
}
