//! The environment, read once.

use std::ffi::OsString;
use std::path::PathBuf;

/// What the environment says.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// `PATH`.
    pub(crate) path: Option<OsString>,
    /// `SOURCE_DATE_EPOCH`, as given.
    pub(crate) source_date_epoch: Option<String>,
    /// Files with registry credentials, in the order in which they are asked.
    pub(crate) credential_files: Vec<PathBuf>,
    /// `SSL_CERT_FILE`.
    pub(crate) certificate_file: Option<PathBuf>,
    /// Proxy for plain HTTP.
    pub(crate) http_proxy: Option<String>,
    /// Proxy for HTTPS.
    pub(crate) https_proxy: Option<String>,
    /// Hosts without proxy.
    pub(crate) no_proxy: Vec<String>,
    /// `SYSTEMD_OFFLINE`: that no running system is to be told of anything, as systemd's own programs
    /// understand it.
    pub(crate) offline: bool,
    /// All of it that is text, for the templates of documents.
    pub(crate) all: Vec<(String, String)>,
}

impl Environment {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    pub(crate) fn read() -> Self {
        let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let text = |name: &str| var(name).and_then(|value| value.into_string().ok());
        let either = |upper: &str| text(&upper.to_ascii_lowercase()).or_else(|| text(upper));
        let no_proxy = either("NO_PROXY").unwrap_or_default();
        Self {
            path: var("PATH"),
            source_date_epoch: text("SOURCE_DATE_EPOCH"),
            credential_files: credential_files(&var),
            certificate_file: var("SSL_CERT_FILE").map(PathBuf::from),
            http_proxy: either("HTTP_PROXY"),
            https_proxy: either("HTTPS_PROXY"),
            no_proxy: no_proxy
                .split(',')
                .map(|host| host.trim().to_owned())
                .collect(),
            offline: text("SYSTEMD_OFFLINE").is_some_and(|value| value == "1" || value == "true"),
            all: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        }
    }
}

/// Where docker, podman and skopeo keep credentials, the most particular first.
fn credential_files(var: &dyn Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let home = var("HOME").map(PathBuf::from);
    let runtime = var("XDG_RUNTIME_DIR").map(PathBuf::from);
    let config = var("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| home.as_ref().map(|home| home.join(".config")));
    let docker = var("DOCKER_CONFIG").map(PathBuf::from);
    let docker = docker.or_else(|| home.as_ref().map(|home| home.join(".docker")));
    [
        runtime.map(|directory| directory.join("containers/auth.json")),
        config.map(|directory| directory.join("containers/auth.json")),
        docker.map(|directory| directory.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_looked_for_in_the_standard_places() {
        let home_only = |name: &str| (name == "HOME").then(|| OsString::from("/home/me"));
        assert_eq!(
            credential_files(&home_only),
            [
                PathBuf::from("/home/me/.config/containers/auth.json"),
                PathBuf::from("/home/me/.docker/config.json")
            ]
        );
        let docker = |name: &str| (name == "DOCKER_CONFIG").then(|| OsString::from("/d"));
        assert_eq!(credential_files(&docker), [PathBuf::from("/d/config.json")]);
    }
}
