//! HTTP from a port below 1024, which Scaleway takes for the proof that root is asking.
//!
//! ureq cannot bind, so this is the least of HTTP/1.1 (RFC 9112) that reads one answer: a length,
//! chunks, or the end of the connection. No TLS, no redirects, no names: the address is the host's.

use crate::error::Refusal;
use crate::network::Stop;
use cos_events::Monitor as _;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// The largest head of an answer, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// How long one connection may take to come about.
const CONNECT: Duration = Duration::from_secs(2);
/// Attempts after the first one.
const RETRIES: u32 = 3;
/// How long a read goes on before it is asked whether to stop.
const STEP: Duration = Duration::from_millis(200);

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// What is asked, and for how long.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    /// `http://ADDRESS[:PORT]`.
    pub(crate) base: &'a str,
    /// From the first slash.
    pub(crate) path: &'a str,
    /// Local ports to ask from; the highest that is free is taken.
    pub(crate) ports: RangeInclusive<u16>,
    /// The largest body, in bytes.
    pub(crate) limit: u64,
    pub(crate) deadline: Instant,
    pub(crate) stop: &'a Stop,
}

/// Like [`get`], and again after what may pass: the metadata was there a moment ago.
pub(crate) fn get_retried(question: &Question<'_>) -> Result<Answer, Refusal> {
    for _ in 0..RETRIES {
        match get(question) {
            Err(Refusal::Connection { .. }) => {}
            Ok(answer) if answer.status >= 500 => {}
            other => return other,
        }
        question.stop.checkpoint()?;
        let left = question.deadline.saturating_duration_since(Instant::now());
        std::thread::sleep(STEP.min(left));
    }
    get(question)
}

/// Sends a GET and reads the answer.
fn get(question: &Question<'_>) -> Result<Answer, Refusal> {
    let url = || format!("{}{}", question.base, question.path);
    let failed = |source| Refusal::Connection { url: url(), source };
    let address = address(question.base).ok_or_else(|| {
        failed(io::Error::new(
            io::ErrorKind::InvalidInput,
            "that is no address",
        ))
    })?;
    let mut stream = connect(address, question).map_err(failed)?;
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: cos/{}\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n",
        question.path,
        env!("CARGO_PKG_VERSION")
    );
    stream.write_all(head.as_bytes()).map_err(failed)?;
    read(&mut stream, question)?.map_err(|problem| match problem {
        Problem::TooLarge => Refusal::TooLarge {
            what: url(),
            limit: question.limit,
        },
        Problem::Broken(why) => failed(io::Error::new(io::ErrorKind::InvalidData, why)),
        Problem::Io(source) => failed(source),
    })
}

fn address(base: &str) -> Option<SocketAddr> {
    let host = base.strip_prefix("http://")?;
    let alone = |host: &str| host.parse::<IpAddr>().ok();
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    host.parse().ok().or_else(|| {
        let ip = alone(host).or_else(|| bracketed.and_then(alone))?;
        Some(SocketAddr::new(ip, 80))
    })
}

/// Connects from the highest port of the range that is free.
fn connect(to: SocketAddr, question: &Question<'_>) -> io::Result<TcpStream> {
    for port in question.ports.clone().rev() {
        match connect_from(port, to, question) {
            // Somebody else has the port, or had it a moment ago.
            Err(Errno::ADDRINUSE | Errno::ADDRNOTAVAIL) => {}
            other => return Ok(other?),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        "no port below 1024 is free",
    ))
}

fn connect_from(port: u16, to: SocketAddr, question: &Question<'_>) -> Result<TcpStream, Errno> {
    let (family, any) = match to {
        SocketAddr::V4(_) => (AddressFamily::INET, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        SocketAddr::V6(_) => (AddressFamily::INET6, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let left = question.deadline.saturating_duration_since(Instant::now());
    // On Linux this bounds connect(2) as well (socket(7)); zero would mean no bound.
    let bound = left.min(CONNECT).max(Duration::from_millis(1));
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(bound))?;
    rustix::net::bind(&socket, &SocketAddr::new(any, port))?;
    rustix::net::connect(&socket, &to)?;
    Ok(TcpStream::from(socket))
}

/// Why an answer is none.
#[derive(Debug)]
enum Problem {
    TooLarge,
    Broken(&'static str),
    Io(io::Error),
}

/// Reads until the answer is complete. The outer error is that it was stopped or late.
fn read(
    stream: &mut TcpStream,
    question: &Question<'_>,
) -> Result<Result<Answer, Problem>, Refusal> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        question.stop.checkpoint()?;
        let left = question.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Refusal::Late);
        }
        let step = left.min(STEP).max(Duration::from_millis(1));
        let read = stream
            .set_read_timeout(Some(step))
            .and_then(|()| stream.read(&mut buffer));
        let ended = match read {
            Ok(count) => {
                bytes.extend_from_slice(&buffer[..count]);
                count == 0
            }
            Err(error) if is_pause(&error) => continue,
            Err(error) => return Ok(Err(Problem::Io(error))),
        };
        match parse(&bytes, ended, question.limit) {
            Ok(Some(answer)) => return Ok(Ok(answer)),
            Ok(None) => {}
            Err(problem) => return Ok(Err(problem)),
        }
    }
}

fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// Takes an answer apart. `None` when there is more to come.
fn parse(bytes: &[u8], ended: bool, limit: u64) -> Result<Option<Answer>, Problem> {
    let blank = bytes
        .windows(4)
        .take(MAX_HEAD)
        .position(|four| four == b"\r\n\r\n");
    let Some(at) = blank else {
        return match ended {
            _ if bytes.len() > MAX_HEAD => Err(Problem::Broken("its head is too long")),
            true => Err(Problem::Broken("it broke off")),
            false => Ok(None),
        };
    };
    let head = str::from_utf8(&bytes[..at]).map_err(|_| Problem::Broken("it is not HTTP"))?;
    let body = &bytes[at + 4..];
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1."))
        .and_then(|line| line.get(2..5)?.parse::<u16>().ok())
        .ok_or(Problem::Broken("it is not HTTP"))?;
    let field = |name: &str| {
        let mut fields = lines.clone().filter_map(|line| line.split_once(':'));
        fields
            .find(|(field, _)| field.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    };
    // Chunks come with some overhead; nobody sends so many small ones that it is more than this.
    if body.len() as u64 > limit.saturating_mul(2).saturating_add(MAX_HEAD as u64) {
        return Err(Problem::TooLarge);
    }
    let body = match (field("transfer-encoding"), field("content-length")) {
        (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => {
            if !ended && !body.ends_with(b"0\r\n\r\n") {
                return Ok(None);
            }
            unchunk(body, limit)?
        }
        (Some(_), _) => return Err(Problem::Broken("its transfer coding is unknown")),
        (None, Some(length)) => {
            let length: u64 = length
                .parse()
                .map_err(|_| Problem::Broken("it has no length"))?;
            if length > limit {
                return Err(Problem::TooLarge);
            }
            body.get(..length as usize).map(<[u8]>::to_vec)
        }
        (None, None) if body.len() as u64 > limit => return Err(Problem::TooLarge),
        (None, None) => ended.then(|| body.to_vec()),
    };
    match body {
        Some(body) => Ok(Some(Answer { status, body })),
        None if ended => Err(Problem::Broken("it broke off")),
        None => Ok(None),
    }
}

/// Puts chunks together (RFC 9112, 7.1). `None` when the last one is not there.
fn unchunk(mut rest: &[u8], limit: u64) -> Result<Option<Vec<u8>>, Problem> {
    let broken = || Problem::Broken("its chunks make no sense");
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).take(256).position(|two| two == b"\r\n") else {
            return if rest.len() < 256 {
                Ok(None)
            } else {
                Err(broken())
            };
        };
        let line = str::from_utf8(&rest[..end]).map_err(|_| broken())?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).map_err(|_| broken())?;
        if size == 0 {
            return Ok(Some(body));
        }
        if body.len() as u64 + size.min(limit + 1) > limit {
            return Err(Problem::TooLarge);
        }
        let chunk = &rest[end + 2..];
        let Some((data, after)) = chunk.split_at_checked(size as usize) else {
            return Ok(None);
        };
        body.extend_from_slice(data);
        match after.strip_prefix(b"\r\n") {
            Some(after) => rest = after,
            None if after.len() < 2 => return Ok(None),
            None => return Err(broken()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn body(bytes: &[u8], ended: bool) -> Option<Vec<u8>> {
        parse(bytes, ended, 8).ok()?.map(|answer| answer.body)
    }

    #[test]
    fn the_end_of_an_answer_is_found() {
        let length = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
        assert_eq!(body(length, false).unwrap(), b"hi");
        assert!(matches!(
            parse(&length[..length.len() - 1], false, 8),
            Ok(None)
        ));
        assert!(parse(&length[..length.len() - 1], true, 8).is_err());
        let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1;x=y\r\ni\r\n0\r\n\r\n";
        assert_eq!(body(chunks, false).unwrap(), b"hi");
        assert!(matches!(
            parse(&chunks[..chunks.len() - 5], false, 8),
            Ok(None)
        ));
        assert!(parse(&chunks[..chunks.len() - 5], true, 8).is_err());
        let close = b"HTTP/1.0 404 Not Found\r\n\r\nhi";
        assert!(matches!(parse(close, false, 8), Ok(None)));
        assert_eq!(parse(close, true, 8).unwrap().unwrap().status, 404);
    }

    #[test]
    fn what_is_too_large_or_no_http_is_refused() {
        let large = |text: &[u8]| matches!(parse(text, false, 8), Err(Problem::TooLarge));
        assert!(large(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"));
        assert!(large(b"HTTP/1.1 200 OK\r\n\r\n123456789"));
        assert!(large(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n0\r\n\r\n"
        ));
        assert!(matches!(
            parse(&vec![b'a'; MAX_HEAD + 1], false, 8),
            Err(Problem::Broken(_))
        ));
        for bad in [
            &b"SSH-2.0-x\r\n\r\n"[..],
            b"HTTP/1.1 xxx\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n0\r\n\r\n",
        ] {
            assert!(parse(bad, true, 8).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn only_addresses_are_taken() {
        let of = |base: &str| address(base).map(|address| address.to_string());
        assert_eq!(
            of("http://169.254.42.42").as_deref(),
            Some("169.254.42.42:80")
        );
        assert_eq!(
            of("http://[fd00:42::42]").as_deref(),
            Some("[fd00:42::42]:80")
        );
        assert_eq!(
            of("http://127.0.0.1:8080").as_deref(),
            Some("127.0.0.1:8080")
        );
        assert_eq!(of("http://host"), None);
        assert_eq!(of("https://127.0.0.1"), None);
    }

    proptest! {
        #[test]
        fn no_answer_panics(head in "(Content-Length: [0-9]{0,20}\r\n|Transfer-Encoding: chunked\r\n|[a-z:]{0,9}\r\n){0,3}", rest in prop::collection::vec(prop_oneof![Just(b'0'), Just(b'f'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..64), ended: bool) {
            let mut bytes = format!("HTTP/1.1 200 OK\r\n{head}\r\n").into_bytes();
            bytes.extend(rest);
            if let Ok(Some(answer)) = parse(&bytes, ended, 8) {
                prop_assert!(answer.body.len() <= 8);
            }
        }
    }
}
