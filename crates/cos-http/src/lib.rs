//! A blocking HTTP client for small documents and downloads: verified TLS, deadlines, retries.
//!
//! One [`HttpClient`] serves many threads. A [`Request`] says everything about one question: what
//! it may cost in time and bytes, how often it may be asked again, and who may stop it. TLS
//! certificates are always verified; there is no switch. Only `http` and `https` are spoken.

mod certificate;
mod client;
mod config;
mod download;
mod error;
mod request;
mod tls;
mod url;

pub use client::HttpClient;
pub use config::{HttpConfig, Proxies, SYSTEM_CA_FILES};
pub use download::Download;
pub use error::HttpError;
pub use request::{Method, Request, Response};
pub use url::redact;
