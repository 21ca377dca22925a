//! How a client is set up.

use std::path::PathBuf;
use std::time::Duration;

/// Where distributions keep their bundle (Debian, Fedora, openSUSE, Alpine).
pub const SYSTEM_CA_FILES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What holds for every request of a client. The default suits a machine with a direct connection.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// PEM files of certificate authorities to trust besides the public ones. Each must be readable.
    pub ca_files: Vec<PathBuf>,
    /// Places of the system's own bundle; the first that exists is read. None need exist.
    pub system_ca_files: Vec<PathBuf>,
    /// Proxies.
    pub proxy: Proxies,
    /// How long one connection may take to come about.
    pub connect_timeout: Duration,
    /// How long a server may be silent in the middle of an answer.
    pub read_timeout: Duration,
    /// The pause before the first retry; it doubles with each further one.
    pub backoff: Duration,
    /// The longest pause between two attempts.
    pub max_backoff: Duration,
    /// `User-Agent`.
    pub user_agent: String,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            ca_files: Vec::new(),
            system_ca_files: SYSTEM_CA_FILES.iter().map(PathBuf::from).collect(),
            proxy: Proxies::default(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(5),
            user_agent: concat!("cos/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Proxies, as the usual environment variables give them.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// `HTTPS_PROXY`: for `https` URLs.
    pub https: Option<String>,
    /// `HTTP_PROXY`: for `http` URLs.
    pub http: Option<String>,
    /// `NO_PROXY`: hosts and domains that are reached directly.
    pub no_proxy: Vec<String>,
}
