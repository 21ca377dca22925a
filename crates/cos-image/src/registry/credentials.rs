//! Credentials, as Docker and Podman keep them.

use super::RegistryConfig;
use crate::ImageError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cos_sys::tool::{Tool, ToolError};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

/// What a user has for a registry. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    Basic {
        username: String,
        password: String,
    },
    /// An OAuth refresh token, to be exchanged for an access token.
    IdentityToken(String),
    /// An access token to be sent as it is.
    RegistryToken(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic …",
            Self::IdentityToken(_) => "IdentityToken …",
            Self::RegistryToken(_) => "RegistryToken …",
        })
    }
}

/// Docker's `config.json` (docker/cli, `configfile/file.go`) and containers-auth.json(5): what of
/// them says who the user is.
#[derive(serde::Deserialize, Default)]
struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, AuthEntry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(serde::Deserialize, Default)]
struct AuthEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

#[derive(serde::Deserialize)]
struct HelperAnswer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// Looks credentials up.
pub(crate) struct CredentialStore {
    files: Vec<PathBuf>,
    helper_path: Option<OsString>,
}

/// Largest credentials file read, in bytes.
const MAX_FILE: u64 = 4 << 20;
/// The name under which Docker's tools keep Docker Hub's credentials.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

impl CredentialStore {
    pub(crate) fn new(config: &RegistryConfig) -> Self {
        Self {
            files: config.credential_files.clone(),
            helper_path: config.helper_path.clone(),
        }
    }

    /// The first file that knows the registry decides; in it, the longest matching key.
    pub(crate) fn find(
        &self,
        host: &str,
        repository: &str,
    ) -> Result<Option<Credentials>, ImageError> {
        for path in &self.files {
            let Some(file) = read(path)? else { continue };
            if let Some(credentials) = self.find_in(&file, path, host, repository)? {
                return Ok(Some(credentials));
            }
        }
        Ok(None)
    }

    fn find_in(
        &self,
        file: &AuthFile,
        path: &Path,
        host: &str,
        repository: &str,
    ) -> Result<Option<Credentials>, ImageError> {
        let keys = keys(host, repository);
        for key in &keys {
            let helper = file
                .helpers
                .iter()
                .find(|(name, _)| normalise(name) == *key);
            if let Some((_, helper)) = helper
                && let Some(credentials) = self.ask_helper(helper, host)?
            {
                return Ok(Some(credentials));
            }
            let entries = file
                .auths
                .iter()
                .filter(|(name, _)| normalise(name) == *key);
            for (name, entry) in entries {
                if let Some(credentials) = entry.credentials(path, name)? {
                    return Ok(Some(credentials));
                }
            }
        }
        match &file.store {
            Some(helper) => self.ask_helper(helper, host),
            None => Ok(None),
        }
    }

    /// Runs `docker-credential-HELPER get` (docker/docker-credential-helpers, README).
    fn ask_helper(&self, helper: &str, host: &str) -> Result<Option<Credentials>, ImageError> {
        let failed = |source: io::Error| ImageError::CredentialHelper {
            helper: helper.into(),
            source: Box::new(source),
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if helper.is_empty() || !helper.bytes().all(plain) {
            return Err(failed(io::Error::new(
                io::ErrorKind::InvalidInput,
                "that is not the name of a helper",
            )));
        }
        let program = format!("docker-credential-{helper}");
        let tool =
            Tool::find(&program, &program, self.helper_path.as_deref()).map_err(|source| {
                ImageError::CredentialHelper {
                    helper: helper.into(),
                    source: Box::new(source),
                }
            })?;
        let server = if host == "docker.io" {
            DOCKER_HUB
        } else {
            host
        };
        let output = ask(&tool, server).map_err(failed)?;
        if !output.status.success() {
            // Helpers say on standard output that they know of nothing.
            let text = String::from_utf8_lossy(&output.stdout);
            if text.to_lowercase().contains("not found") {
                return Ok(None);
            }
            return Err(ImageError::CredentialHelper {
                helper: helper.into(),
                source: Box::new(ToolError::Failed {
                    command: format!("{program} get"),
                    status: output.status.to_string(),
                    stderr: text.trim().chars().take(200).collect(),
                }),
            });
        }
        let answer: HelperAnswer =
            serde_json::from_slice(&output.stdout).map_err(|e| failed(io::Error::from(e)))?;
        Ok(Some(if answer.username == "<token>" {
            Credentials::IdentityToken(answer.secret)
        } else {
            Credentials::Basic {
                username: answer.username,
                password: answer.secret,
            }
        }))
    }
}

fn ask(tool: &Tool, server: &str) -> io::Result<Output> {
    let mut child = tool
        .command()
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(server.as_bytes()) {
            // It may answer without reading the question.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => other?,
        }
    }
    child.wait_with_output()
}

impl AuthEntry {
    fn credentials(&self, path: &Path, key: &str) -> Result<Option<Credentials>, ImageError> {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = filled(&self.identitytoken) {
            return Ok(Some(Credentials::IdentityToken(token)));
        }
        if let Some(token) = filled(&self.registrytoken) {
            return Ok(Some(Credentials::RegistryToken(token)));
        }
        if let Some(auth) = filled(&self.auth) {
            let decoded = STANDARD
                .decode(auth.trim())
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
            let (username, password) = pair.ok_or_else(|| ImageError::BadCredentials {
                path: path.into(),
                key: key.into(),
            })?;
            return Ok(Some(Credentials::Basic {
                username: username.into(),
                // Old versions of Docker padded with NULs.
                password: password.trim_end_matches('\0').into(),
            }));
        }
        Ok(filled(&self.username)
            .zip(filled(&self.password))
            .map(|(username, password)| Credentials::Basic { username, password }))
    }
}

fn read(path: &Path) -> Result<Option<AuthFile>, ImageError> {
    let failed = |source: io::Error| ImageError::CredentialFile {
        path: path.into(),
        source,
    };
    let bytes = match fs_err::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if metadata.len() > MAX_FILE => {
            let error = io::Error::new(io::ErrorKind::FileTooLarge, "it is too large");
            return Err(failed(error));
        }
        Ok(_) => fs_err::read(path).map_err(failed)?,
    };
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| failed(error.into()))
}

/// `host/org/repository`, `host/org`, `host`: from special to general.
fn keys(host: &str, repository: &str) -> Vec<String> {
    let whole = format!("{host}/{repository}");
    let mut keys = vec![whole.clone()];
    let mut rest = whole.as_str();
    while let Some((shorter, _)) = rest.rsplit_once('/') {
        keys.push(shorter.into());
        rest = shorter;
    }
    keys
}

/// The key of a file without what old versions of Docker put around it.
fn normalise(key: &str) -> String {
    let bare = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key)
        .trim_end_matches('/');
    let bare = ["/v1", "/v2"]
        .into_iter()
        .find_map(|version| bare.strip_suffix(version))
        .unwrap_or(bare);
    let (host, rest) = match bare.split_once('/') {
        Some((host, rest)) => (host, Some(rest)),
        None => (bare, None),
    };
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    };
    rest.map_or_else(|| host.into(), |rest| format!("{host}/{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn store(files: &[PathBuf], helper_path: Option<&Path>) -> CredentialStore {
        CredentialStore {
            files: files.to_vec(),
            helper_path: helper_path.map(|path| path.as_os_str().to_owned()),
        }
    }

    fn basic(username: &str, password: &str) -> Credentials {
        Credentials::Basic {
            username: username.into(),
            password: password.into(),
        }
    }

    #[test]
    fn the_longest_key_wins_and_hub_has_many_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        let encode = |text: &str| STANDARD.encode(text);
        let json = serde_json::json!({ "auths": {
            "quay.io": { "auth": encode("host:1") },
            "quay.io/org": { "auth": encode("org:2:3") },
            "quay.io/org/os": { "username": "repo", "password": "3" },
            "https://index.docker.io/v1/": { "auth": encode("hub:4") },
            "http://localhost:5000": { "identitytoken": "refresh" },
            "empty.example": {},
        }});
        fs_err::write(&path, json.to_string()).unwrap();
        let store = store(&[dir.path().join("missing.json"), path], None);
        let find = |host, repository| store.find(host, repository).unwrap();
        assert_eq!(find("quay.io", "org/os"), Some(basic("repo", "3")));
        assert_eq!(find("quay.io", "org/os2"), Some(basic("org", "2:3")));
        assert_eq!(find("quay.io", "other"), Some(basic("host", "1")));
        assert_eq!(find("docker.io", "library/debian"), Some(basic("hub", "4")));
        let token = Credentials::IdentityToken("refresh".into());
        assert_eq!(find("localhost:5000", "os"), Some(token));
        assert_eq!(find("empty.example", "os"), None);
        assert_eq!(find("quay.io.evil.example", "org/os"), None);
    }

    #[test]
    fn broken_files_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        for text in ["{", r#"{"auths":{"a.example":{"auth":"%%"}}}"#] {
            fs_err::write(&path, text).unwrap();
            assert!(
                store(std::slice::from_ref(&path), None)
                    .find("a.example", "x")
                    .is_err()
            );
        }
    }

    #[test]
    fn helpers_are_asked() {
        let dir = tempfile::tempdir().unwrap();
        let helper = dir.path().join("docker-credential-test");
        let script = "#!/bin/sh\nread -r server\ncase $server in\n\
            a.example) echo '{\"ServerURL\":\"\",\"Username\":\"u\",\"Secret\":\"p\"}';;\n\
            b.example) echo '{\"Username\":\"<token>\",\"Secret\":\"t\"}';;\n\
            c.example) echo 'credentials not found in native keychain'; exit 1;;\n\
            *) echo 'the keychain is locked'; exit 1;;\nesac\n";
        fs_err::write(&helper, script).unwrap();
        fs_err::set_permissions(&helper, PermissionsExt::from_mode(0o755)).unwrap();
        let path = dir.path().join("config.json");
        fs_err::write(
            &path,
            r#"{"credsStore":"test","credHelpers":{"e.example":"../x"}}"#,
        )
        .unwrap();
        let search: OsString = format!("{}:/usr/bin:/bin", dir.path().display()).into();
        let store = store(&[path], Some(Path::new(&search)));
        assert_eq!(store.find("a.example", "x").unwrap(), Some(basic("u", "p")));
        let token = Credentials::IdentityToken("t".into());
        assert_eq!(store.find("b.example", "x").unwrap(), Some(token));
        assert_eq!(store.find("c.example", "x").unwrap(), None);
        assert!(store.find("d.example", "x").is_err());
        assert!(store.find("e.example", "x").is_err());
    }
}
