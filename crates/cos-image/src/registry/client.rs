//! HTTP requests to registries: retried, authenticated, redirected without giving secrets away.

use super::auth::{Authenticator, Authorization};
use super::mirror::Endpoint;
use super::streamed::Streamed;
use super::{ProxyConfig, RegistryConfig, tls};
use crate::ImageError;
use cos_events::{Cancelled, Monitor};
use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::time::Duration;
use ureq::http::request::Builder;
use ureq::http::{Method, Request, Response, StatusCode, Uri, header};
use ureq::{Agent, Body, Proxy, SendBody};

/// Redirects followed for one request.
const MAX_REDIRECTS: usize = 10;
/// How much of a registry's error document is read, in bytes.
const ERROR_BODY: u64 = 64 << 10;

/// One GET request.
pub(crate) struct Get<'g> {
    pub(crate) url: &'g str,
    /// Whose credentials it may carry, as long as it stays on that host.
    pub(crate) endpoint: &'g Endpoint,
    pub(crate) accept: Option<&'g str>,
    /// First and last byte wanted.
    pub(crate) range: Option<(u64, u64)>,
}

/// One request that changes something in a registry.
pub(crate) struct Upload<'u> {
    pub(crate) method: Method,
    pub(crate) url: &'u str,
    /// Whose credentials it may carry, if the URL is one of that host.
    pub(crate) endpoint: &'u Endpoint,
    pub(crate) content_type: &'u str,
    pub(crate) body: &'u [u8],
}

/// What came of one request.
struct Answer {
    response: Response<Body>,
    /// Whether it is the host's that was asked, and not of one that it sent us to.
    at_home: bool,
}

/// Speaks to registries.
pub(crate) struct Client {
    https: Agent,
    http: Agent,
    insecure: BTreeSet<String>,
    pub(crate) retries: u32,
    backoff: Duration,
    max_backoff: Duration,
    authenticator: Authenticator,
}

impl Client {
    pub(crate) fn new(config: &RegistryConfig, monitor: &dyn Monitor) -> Result<Self, ImageError> {
        let tls = tls::config(config, monitor)?;
        let agent = |proxy: &Option<String>| -> Result<Agent, ImageError> {
            let proxy = proxy.as_deref().map(|url| build_proxy(url, &config.proxy));
            Ok(Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .tls_config(tls.clone())
                .proxy(proxy.transpose()?)
                .user_agent(concat!("cos/", env!("CARGO_PKG_VERSION")))
                .timeout_connect(Some(config.connect_timeout))
                .timeout_recv_response(Some(config.read_timeout))
                .timeout_per_read(Some(config.read_timeout))
                .input_buffer_size(256 << 10)
                .build()
                .new_agent())
        };
        Ok(Self {
            https: agent(&config.proxy.https)?,
            http: agent(&config.proxy.http)?,
            insecure: config.insecure.clone(),
            retries: config.retries,
            backoff: config.backoff,
            max_backoff: config.max_backoff,
            authenticator: Authenticator::new(config),
        })
    }

    /// `https://HOST/v2/REPOSITORY/REST`, with `http` for hosts named insecure.
    pub(crate) fn url(&self, endpoint: &Endpoint, rest: &str) -> String {
        let scheme = if self.insecure.contains(&endpoint.host) {
            "http"
        } else {
            "https"
        };
        format!(
            "{scheme}://{}/v2/{}/{rest}",
            endpoint.authority(),
            endpoint.repository
        )
    }

    /// Sends a request until it is answered with 200 or 206, or for good with something else.
    pub(crate) fn get(
        &self,
        get: &Get<'_>,
        monitor: &dyn Monitor,
    ) -> Result<Response<Body>, ImageError> {
        let accepted = |status| matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
        let send = |authorization: Option<&Authorization>| self.send(get, authorization);
        self.exchange(
            get.endpoint,
            get.url,
            &send,
            accepted,
            monitor,
            self.retries,
        )
    }

    /// Sends a request that changes something until it is answered well, or for good otherwise. The
    /// answer's `Location`, where it has one, is the second value.
    pub(crate) fn upload(
        &self,
        upload: &Upload<'_>,
        monitor: &dyn Monitor,
    ) -> Result<(Response<Body>, Option<String>), ImageError> {
        let send = |authorization: Option<&Authorization>| self.send_upload(upload, authorization);
        let accepted = |status: StatusCode| status.is_success();
        let (endpoint, url) = (upload.endpoint, upload.url);
        let response = self.exchange(endpoint, url, &send, accepted, monitor, self.retries)?;
        let location = response.headers().get(header::LOCATION);
        let location = location.and_then(|value| value.to_str().ok());
        let at = parse_url(upload.url)?;
        let location = location.map(|it| follow(&at, it)).transpose()?;
        let location = location.map(|uri| uri.to_string());
        Ok((response, location))
    }

    /// Sends a file to where it is wanted, once.
    pub(crate) fn upload_file(
        &self,
        (url, endpoint): (&str, &Endpoint),
        content_type: &str,
        file: &Streamed<'_>,
        monitor: &dyn Monitor,
    ) -> Result<(), ImageError> {
        let send = |authorization: Option<&Authorization>| {
            let (request, at, at_home) =
                self.request(Method::PUT, url, endpoint, content_type, authorization)?;
            let request = request.header(header::CONTENT_LENGTH, file.size);
            let mut reader = file.open()?;
            let request = request.body(SendBody::from_reader(&mut reader));
            let request = request.map_err(|error| ImageError::request(&at, error.into()))?;
            let response = self.agent(&at)?.run(request);
            let response = response.map_err(|source| Streamed::failure(&at, source))?;
            Ok(Answer { response, at_home })
        };
        let accepted = |status: StatusCode| status.is_success();
        self.exchange(endpoint, url, &send, accepted, monitor, 0)
            .map(drop)
    }

    /// Whether there is something at a URL.
    pub(crate) fn exists(
        &self,
        url: &str,
        endpoint: &Endpoint,
        monitor: &dyn Monitor,
    ) -> Result<bool, ImageError> {
        let get = Get {
            url,
            endpoint,
            accept: None,
            range: Some((0, 0)),
        };
        match self.get(&get, monitor) {
            Ok(_) => Ok(true),
            Err(ImageError::Status { status: 404, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks again after a challenge, and after what may pass.
    fn exchange(
        &self,
        endpoint: &Endpoint,
        url: &str,
        send: &dyn Fn(Option<&Authorization>) -> Result<Answer, ImageError>,
        accepted: impl Fn(StatusCode) -> bool,
        monitor: &dyn Monitor,
        retries: u32,
    ) -> Result<Response<Body>, ImageError> {
        let mut attempt = 0;
        let mut challenged = false;
        loop {
            monitor.checkpoint()?;
            let authorization = self.authenticator.current(endpoint);
            let (error, pause) = match send(authorization.as_ref()) {
                Ok(Answer { response, at_home }) => {
                    let status = response.status();
                    if accepted(status) {
                        return Ok(response);
                    }
                    // A host that we were sent to has no claim to this one's credentials.
                    if status == StatusCode::UNAUTHORIZED && at_home && !challenged {
                        challenged = true;
                        let headers = response.headers();
                        self.authenticator
                            .answer(self, endpoint, headers, monitor)?;
                        continue;
                    }
                    let pause = retry_after(&response);
                    (status_error(response, url), pause)
                }
                Err(error) => (error, None),
            };
            attempt += 1;
            if !error.is_transient() || attempt > retries {
                return Err(error);
            }
            self.pause(attempt, pause, monitor)?;
        }
    }

    /// Sends one request and follows where it is redirected to.
    fn send(
        &self,
        get: &Get<'_>,
        authorization: Option<&Authorization>,
    ) -> Result<Answer, ImageError> {
        let home = parse_url(&self.url(get.endpoint, ""))?;
        let mut at = parse_url(get.url)?;
        for _ in 0..MAX_REDIRECTS {
            let at_home = same_origin(&home, &at);
            let mut request = self.agent(&at)?.get(&at);
            if let Some(accept) = get.accept {
                request = request.header(header::ACCEPT, accept);
            }
            if let Some((first, last)) = get.range {
                request = request.header(header::RANGE, format!("bytes={first}-{last}"));
            }
            if let Some(authorization) = authorization.filter(|_| at_home) {
                request = request.header(header::AUTHORIZATION, authorization.header());
            }
            let response = request
                .call()
                .map_err(|source| ImageError::request(&at, source))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(Answer { response, at_home });
            }
            let location = response.headers().get(header::LOCATION);
            let location = location
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default();
            at = follow(&at, location)?;
        }
        Err(ImageError::Redirect {
            url: get.url.into(),
            reason: "it is redirected too often",
        })
    }

    /// Sends one request with a body; redirects are not followed.
    fn send_upload(
        &self,
        upload: &Upload<'_>,
        authorization: Option<&Authorization>,
    ) -> Result<Answer, ImageError> {
        let (request, at, at_home) = self.request(
            upload.method.clone(),
            upload.url,
            upload.endpoint,
            upload.content_type,
            authorization,
        )?;
        let request = request.body(upload.body);
        let request = request.map_err(|error| ImageError::request(&at, error.into()))?;
        let response = self.agent(&at)?.run(request);
        let response = response.map_err(|source| ImageError::request(&at, source))?;
        Ok(Answer { response, at_home })
    }

    /// A request without its body, where it goes, and whether that is the host whose credentials it may carry.
    fn request(
        &self,
        method: Method,
        url: &str,
        endpoint: &Endpoint,
        content_type: &str,
        authorization: Option<&Authorization>,
    ) -> Result<(Builder, Uri, bool), ImageError> {
        let home = parse_url(&self.url(endpoint, ""))?;
        let at = parse_url(url)?;
        let at_home = same_origin(&home, &at);
        let mut request = Request::builder()
            .method(method)
            .uri(&at)
            .header(header::CONTENT_TYPE, content_type);
        if let Some(authorization) = authorization.filter(|_| at_home) {
            request = request.header(header::AUTHORIZATION, authorization.header());
        }
        Ok((request, at, at_home))
    }

    /// Sends a request for a token, which goes to another host than the registry's as a rule.
    pub(crate) fn token_request(
        &self,
        url: &str,
        form: Option<&[(&str, &str)]>,
        authorization: Option<&Authorization>,
        monitor: &dyn Monitor,
    ) -> Result<Vec<u8>, ImageError> {
        let mut attempt = 0;
        loop {
            monitor.checkpoint()?;
            let (error, pause) = match self.send_token_request(url, form, authorization) {
                Ok(mut response) if response.status() == StatusCode::OK => {
                    return read_body(response.body_mut(), url, 1 << 20);
                }
                Ok(response) => {
                    let pause = retry_after(&response);
                    (status_error(response, url), pause)
                }
                Err(error) => (error, None),
            };
            attempt += 1;
            if !error.is_transient() || attempt > self.retries {
                return Err(error);
            }
            self.pause(attempt, pause, monitor)?;
        }
    }

    fn send_token_request(
        &self,
        url: &str,
        form: Option<&[(&str, &str)]>,
        authorization: Option<&Authorization>,
    ) -> Result<Response<Body>, ImageError> {
        let uri = parse_url(url)?;
        let agent = self.agent(&uri)?;
        let response = if let Some(form) = form {
            agent.post(&uri).send_form(form.iter().copied())
        } else {
            let mut request = agent.get(&uri);
            if let Some(authorization) = authorization {
                request = request.header(header::AUTHORIZATION, authorization.header());
            }
            request.call()
        };
        response.map_err(|source| ImageError::request(&uri, source))
    }

    /// The agent for a URL; plain HTTP only to hosts named insecure.
    fn agent(&self, uri: &Uri) -> Result<&Agent, ImageError> {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        match uri.scheme_str() {
            Some("https") => Ok(&self.https),
            Some("http") if self.insecure.contains(authority) => Ok(&self.http),
            _ => Err(ImageError::PlainHttp {
                url: uri.to_string(),
            }),
        }
    }

    /// Waits before the next attempt: as long as the registry asks, else longer each time, spread a
    /// little so that many clients do not come back at once.
    pub(crate) fn pause(
        &self,
        attempt: u32,
        asked: Option<Duration>,
        monitor: &dyn Monitor,
    ) -> Result<(), Cancelled> {
        let doubled = self
            .backoff
            .saturating_mul(1 << attempt.saturating_sub(1).min(16));
        let spread = RandomState::new().hash_one(attempt) % 256;
        let jitter = doubled.saturating_mul(spread as u32) / 1024;
        let mut left = asked
            .unwrap_or(doubled.saturating_add(jitter))
            .min(self.max_backoff);
        while !left.is_zero() {
            monitor.checkpoint()?;
            let step = left.min(Duration::from_millis(50));
            std::thread::sleep(step);
            left -= step;
        }
        monitor.checkpoint()
    }
}

fn build_proxy(url: &str, config: &ProxyConfig) -> Result<Proxy, ImageError> {
    // The URL may hold a password: it stays out of the message.
    let failed = |source| ImageError::Proxy { source };
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
    for host in &config.no_proxy {
        builder = builder.no_proxy(host);
    }
    builder.build().map_err(failed)
}

pub(crate) fn parse_url(url: &str) -> Result<Uri, ImageError> {
    url.parse().map_err(|_| ImageError::Redirect {
        url: url.into(),
        reason: "that is not a URL",
    })
}

fn same_origin(a: &Uri, b: &Uri) -> bool {
    a.scheme() == b.scheme() && a.authority() == b.authority()
}

/// Where a `Location` header leads from `at` (RFC 9110, 10.2.2; paths without a leading slash are not used by registries).
pub(crate) fn follow(at: &Uri, location: &str) -> Result<Uri, ImageError> {
    let scheme = at.scheme_str().unwrap_or("https");
    let authority = at.authority().map_or("", |authority| authority.as_str());
    let absolute = if location.contains("://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        return Err(ImageError::Redirect {
            url: at.to_string(),
            reason: "it is redirected to nowhere",
        });
    };
    parse_url(&absolute)
}

/// Reads a document of bounded size.
pub(crate) fn read_body(body: &mut Body, url: &str, limit: u64) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    let mut reader = body.as_reader().take(limit + 1);
    reader
        .read_to_end(&mut bytes)
        .map_err(|source| ImageError::Transfer {
            url: url.into(),
            source,
        })?;
    if bytes.len() as u64 > limit {
        return Err(ImageError::DocumentTooLarge {
            what: url.into(),
            limit,
        });
    }
    Ok(bytes)
}

/// `Retry-After` in seconds; the date form is left to the ordinary pause.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(value.trim().parse().ok()?))
}

/// The error of an answer, with what the registry says about it (distribution-spec, "Error Codes").
fn status_error(mut response: Response<Body>, url: &str) -> ImageError {
    let status = response.status().as_u16();
    // A failure to read the explanation leaves the status to speak for itself.
    let message = read_body(response.body_mut(), url, ERROR_BODY)
        .ok()
        .and_then(|body| serde_json::from_slice::<ErrorDocument>(&body).ok())
        .and_then(|document| document.errors.into_iter().next())
        .map(|error| {
            let text = [error.code, error.message].into_iter().flatten();
            let text: String = text.collect::<Vec<_>>().join(": ");
            text.chars().filter(|c| !c.is_control()).take(200).collect()
        });
    ImageError::Status {
        url: url.into(),
        status,
        message,
    }
}

#[derive(serde::Deserialize)]
struct ErrorDocument {
    errors: Vec<ErrorItem>,
}

#[derive(serde::Deserialize)]
struct ErrorItem {
    code: Option<String>,
    message: Option<String>,
}

impl ImageError {
    pub(super) fn request(uri: &Uri, source: ureq::Error) -> Self {
        // What stands behind a question mark may be a secret of its own: a signed link to a store.
        let url = uri.to_string();
        let url = url.split('?').next().unwrap_or_default().to_owned();
        Self::Request { url, source }
    }

    /// Whether the same request may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            Self::Transfer { .. } => true,
            Self::Request { source, .. } => match source {
                ureq::Error::Io(error) => !is_certificate_error(error),
                ureq::Error::Timeout(_)
                | ureq::Error::Protocol(_)
                | ureq::Error::ConnectionFailed => true,
                _ => false,
            },
            _ => false,
        }
    }
}

/// rustls reports a refused certificate as invalid data.
fn is_certificate_error(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_followed_to_absolute_places_only() {
        let at = parse_url("https://a.example/v2/x/blobs/y").unwrap();
        let to = |location: &str| follow(&at, location).map(|uri| uri.to_string()).ok();
        assert_eq!(to("/z?a=b").unwrap(), "https://a.example/z?a=b");
        assert_eq!(to("//cdn.example/z").unwrap(), "https://cdn.example/z");
        assert_eq!(to("http://cdn.example/z").unwrap(), "http://cdn.example/z");
        assert_eq!(to(""), None);
        assert_eq!(to("z"), None);
        assert!(!same_origin(
            &at,
            &parse_url("https://a.example:444/").unwrap()
        ));
        assert!(!same_origin(&at, &parse_url("http://a.example/").unwrap()));
    }

    #[test]
    fn plain_http_needs_the_host_to_be_named() {
        let config = RegistryConfig {
            insecure: BTreeSet::from(["localhost:5000".to_owned()]),
            ..RegistryConfig::default()
        };
        let client = Client::new(&config, &cos_events::Silent).unwrap();
        let allowed = |url: &str| client.agent(&parse_url(url).unwrap()).is_ok();
        assert!(allowed("http://localhost:5000/v2/"));
        assert!(allowed("https://localhost:5001/v2/"));
        assert!(!allowed("http://localhost:5001/v2/"));
        assert!(!allowed("http://localhost/v2/"));
        assert!(!allowed("ftp://localhost:5000/v2/"));
    }
}
