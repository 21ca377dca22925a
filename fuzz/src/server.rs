//! A web server that says what the fuzzer wants it to say.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a response begins with stands for one of these. Redirects lead only to where `SERVER` or a
/// path says, as long as the client has no other way to go.
const STATUS: [&str; 8] = [
    "200 OK",
    "401 Unauthorized",
    "404 Not Found",
    "206 Partial Content",
    "503 Service Unavailable",
    "429 Too Many Requests",
    "307 Temporary Redirect",
    "302 Found",
];

/// One request a connection, at an address of this machine's own.
pub struct Server {
    /// Where it is: `127.0.0.1:PORT`.
    pub authority: String,
    responses: Arc<Mutex<VecDeque<Vec<u8>>>>,
    statuses: usize,
}

impl Server {
    /// Starts it. Without `redirects` no response is one.
    pub fn start(redirects: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let responses = Arc::new(Mutex::new(VecDeque::new()));
        let queue = Arc::clone(&responses);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let response = queue.lock().unwrap().pop_front();
                // A client that hangs up has heard enough.
                drop(answer(stream, &response.unwrap_or_else(nothing)));
            }
        });
        let statuses = STATUS.len() - if redirects { 0 } else { 2 };
        Self {
            authority,
            responses,
            statuses,
        }
    }

    /// What it says next: responses with 0xFE between, each a byte for the status, header lines, an
    /// empty line, and the body. `SERVER` in them is the server's own address.
    pub fn say(&self, script: &[u8]) {
        let responses = script.split(|&byte| byte == 0xfe).take(12);
        let responses = responses.map(|response| self.response(response));
        *self.responses.lock().unwrap() = responses.collect();
    }

    fn response(&self, script: &[u8]) -> Vec<u8> {
        let (status, rest) = script.split_first().unwrap_or((&0, &[]));
        let status = STATUS[usize::from(*status) % self.statuses];
        let end = rest.windows(2).position(|pair| pair == b"\n\n");
        let (head, body) = match end {
            Some(end) => (&rest[..end], &rest[end + 2..]),
            None => (&[][..], rest),
        };
        let mut out =
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len()).into_bytes();
        for line in head
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            out.extend_from_slice(&self.with_address(line));
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"Connection: close\r\n\r\n");
        out.extend_from_slice(body);
        out
    }

    fn with_address(&self, line: &[u8]) -> Vec<u8> {
        let name = b"SERVER";
        match line.windows(name.len()).position(|window| window == name) {
            Some(at) => {
                let (before, after) = (&line[..at], &line[at + name.len()..]);
                [before, self.authority.as_bytes(), after].concat()
            }
            None => line.to_vec(),
        }
    }
}

fn nothing() -> Vec<u8> {
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()
}

fn answer(mut stream: TcpStream, response: &[u8]) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut length = 0;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        let value = line.to_ascii_lowercase();
        if let Some(value) = value.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    // A request left unread would reset the connection, and the response with it.
    std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    stream.write_all(response)
}
