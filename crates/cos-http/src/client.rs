//! The client: attempts, redirects, bodies.

use crate::url::{follow, parse, redact, same_origin};
use crate::{HttpConfig, HttpError, Method, Proxies, Request, Response, tls};
use cos_events::Monitor;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::time::{Duration, Instant};
use ureq::http::{Uri, header};
use ureq::{Agent, Body, Proxy, RequestBuilder};

/// Redirects followed for one request.
const MAX_REDIRECTS: usize = 10;
/// How much of the body of an error is read for its first line, in bytes.
const ERROR_BODY: u64 = 4 << 10;
/// The largest header of an answer, in bytes.
const MAX_HEADER: usize = 64 << 10;
/// How long a pause goes on before it is asked whether to stop.
const PAUSE_STEP: Duration = Duration::from_millis(50);
/// Header fields that go along to another origin: they hold no secret.
const HARMLESS: &[&str] = &["accept", "accept-language", "range", "if-range"];

pub(crate) type Answer = ureq::http::Response<Body>;

/// Speaks HTTP. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct HttpClient {
    https: Agent,
    http: Agent,
    direct: Agent,
    backoff: Duration,
    max_backoff: Duration,
    warnings: Vec<String>,
}

impl HttpClient {
    /// Makes a client.
    pub fn new(config: &HttpConfig) -> Result<Self, HttpError> {
        let (tls, warnings) = tls::config(config)?;
        let agent = |proxy: Option<Proxy>| {
            Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .tls_config(tls.clone())
                .proxy(proxy)
                .user_agent(config.user_agent.as_str())
                .max_response_header_size(MAX_HEADER)
                .timeout_connect(Some(config.connect_timeout))
                .timeout_recv_response(Some(config.read_timeout))
                .timeout_per_read(Some(config.read_timeout))
                .build()
                .new_agent()
        };
        let proxies = &config.proxy;
        Ok(Self {
            https: agent(proxy("https", proxies.https.as_deref(), proxies)?),
            http: agent(proxy("http", proxies.http.as_deref(), proxies)?),
            direct: agent(None),
            backoff: config.backoff,
            max_backoff: config.max_backoff,
            warnings,
        })
    }

    /// What was passed over when the client was made, each a whole message: a bundle of the system
    /// that could not be read.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Asks, and reads the whole answer.
    pub fn send(&self, request: &Request<'_>) -> Result<Response, HttpError> {
        self.retry(request, || {
            let mut answer = self.attempt(request, request.headers)?;
            let mut body = Vec::new();
            copy(&mut answer, request, request.max_bytes, &mut body)?;
            Ok(Response {
                status: answer.status().as_u16(),
                headers: headers(&answer),
                body,
            })
        })
    }

    /// Tries until it works, fails for good, or time or patience are used up.
    pub(crate) fn retry<T>(
        &self,
        request: &Request<'_>,
        mut once: impl FnMut() -> Result<T, HttpError>,
    ) -> Result<T, HttpError> {
        let sent_once = request.method == Method::Post;
        let mut attempt = 0;
        loop {
            request.monitor.checkpoint()?;
            let error = match once() {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if attempt >= request.retries || !error.is_transient(sent_once) {
                return Err(error);
            }
            let pause = error.retry_after().unwrap_or_else(|| self.pause(attempt));
            if pause >= request.remaining() {
                return Err(error);
            }
            attempt += 1;
            sleep(pause, request.monitor)?;
        }
    }

    /// The pause after an attempt, counted from 0: doubled each time, and spread a little so that
    /// many machines do not come back at once.
    fn pause(&self, attempt: u32) -> Duration {
        let doubled = self.backoff.saturating_mul(1 << attempt.min(16));
        let spread = RandomState::new().hash_one(attempt) % 256;
        let jitter = doubled.saturating_mul(spread as u32) / 1024;
        doubled.saturating_add(jitter).min(self.max_backoff)
    }

    /// Sends one request and follows where it is redirected to. The answer is one of 2xx.
    pub(crate) fn attempt(
        &self,
        request: &Request<'_>,
        fields: &[(&str, &str)],
    ) -> Result<Answer, HttpError> {
        let start = parse(request.url)?;
        let mut at = start.clone();
        for _ in 0..=MAX_REDIRECTS {
            let foreign = !same_origin(&start, &at);
            let harmless = |name: &str| HARMLESS.contains(&name.to_ascii_lowercase().as_str());
            let fields: Vec<_> = fields
                .iter()
                .filter(|(name, _)| !foreign || harmless(name))
                .copied()
                .collect();
            let answer = self.call(request, &at, &fields)?;
            let status = answer.status().as_u16();
            if (200..300).contains(&status) {
                return Ok(answer);
            }
            if !request.follow_redirects || !matches!(status, 301 | 302 | 303 | 307 | 308) {
                return Err(status_error(answer, &at));
            }
            if request.method != Method::Get {
                return Err(HttpError::Redirect {
                    url: redact(&at.to_string()),
                    reason: "only reads are redirected",
                });
            }
            let location = text(&answer, &header::LOCATION).unwrap_or_default();
            at = follow(&at, location)?;
        }
        Err(HttpError::Redirect {
            url: redact(request.url),
            reason: "it is redirected too often",
        })
    }

    fn call(
        &self,
        request: &Request<'_>,
        at: &Uri,
        fields: &[(&str, &str)],
    ) -> Result<Answer, HttpError> {
        let agent = match at.scheme_str() {
            _ if request.direct => &self.direct,
            Some("https") => &self.https,
            _ => &self.http,
        };
        let left = request.remaining();
        if left.is_zero() {
            return Err(HttpError::Deadline {
                url: redact(&at.to_string()),
            });
        }
        let answer = match request.method {
            Method::Get => prepare(agent.get(at), fields, left).call(),
            Method::Put => prepare(agent.put(at), fields, left).send(request.body),
            Method::Post => prepare(agent.post(at), fields, left).send(request.body),
        };
        answer.map_err(|source| HttpError::request(at, source))
    }
}

fn prepare<B>(
    mut builder: RequestBuilder<B>,
    fields: &[(&str, &str)],
    left: Duration,
) -> RequestBuilder<B> {
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.config().timeout_global(Some(left)).build()
}

fn proxy(
    scheme: &'static str,
    url: Option<&str>,
    proxies: &Proxies,
) -> Result<Option<Proxy>, HttpError> {
    let Some(url) = url.filter(|url| !url.is_empty()) else {
        return Ok(None);
    };
    let failed = |source| HttpError::Proxy {
        scheme,
        source: Box::new(source),
    };
    let parsed = Proxy::new(url).map_err(failed)?;
    let mut builder = Proxy::builder(parsed.protocol())
        .host(parsed.host())
        .port(parsed.port());
    if let Some(username) = parsed.username() {
        builder = builder.username(username);
    }
    if let Some(password) = parsed.password() {
        builder = builder.password(password);
    }
    for host in &proxies.no_proxy {
        builder = builder.no_proxy(host);
    }
    builder.build().map(Some).map_err(failed)
}

fn sleep(time: Duration, monitor: &dyn Monitor) -> Result<(), HttpError> {
    let until = Instant::now() + time;
    loop {
        monitor.checkpoint()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(PAUSE_STEP));
    }
}

/// Copies a body of at most `limit` bytes, and returns how many there were.
pub(crate) fn copy(
    answer: &mut Answer,
    request: &Request<'_>,
    limit: u64,
    sink: &mut dyn Write,
) -> Result<u64, HttpError> {
    let url = request.url;
    let too_large = || HttpError::TooLarge {
        url: redact(url),
        limit: request.max_bytes,
    };
    let announced = answer.body().content_length();
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut reader = answer.body_mut().as_reader();
    let mut buffer = vec![0; 64 << 10];
    let mut total = 0;
    loop {
        request.monitor.checkpoint()?;
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => count,
            Err(source) => return Err(HttpError::transfer(url, source)),
        };
        total += count as u64;
        if total > limit {
            return Err(too_large());
        }
        let written = sink.write_all(&buffer[..count]);
        written.map_err(|source| HttpError::Write {
            url: redact(url),
            source,
        })?;
        if request.remaining().is_zero() {
            return Err(HttpError::Deadline { url: redact(url) });
        }
    }
}

pub(crate) fn headers(answer: &Answer) -> Vec<(String, String)> {
    let fields = answer.headers().iter();
    fields
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        })
        .collect()
}

fn text<'a>(answer: &'a Answer, name: &header::HeaderName) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok()
}

/// The error of an answer that is not 2xx, with the first line of what it says.
fn status_error(mut answer: Answer, at: &Uri) -> HttpError {
    // The date form of Retry-After is left to the ordinary pause.
    let retry_after = text(&answer, &header::RETRY_AFTER)
        .and_then(|value| value.trim().parse().ok())
        .map(Duration::from_secs);
    let mut body = Vec::new();
    let mut reader = answer.body_mut().as_reader().take(ERROR_BODY);
    // A failure to read the explanation leaves the status, and what was read, to speak.
    drop(reader.read_to_end(&mut body));
    let body = String::from_utf8_lossy(&body);
    let line = body.lines().map(str::trim).find(|line| !line.is_empty());
    HttpError::Status {
        url: redact(&at.to_string()),
        status: answer.status().as_u16(),
        message: line.map(|line| line.chars().filter(|c| !c.is_control()).take(200).collect()),
        retry_after,
    }
}
