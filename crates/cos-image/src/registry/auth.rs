//! Answering a registry's challenge: Basic credentials, or a Bearer token fetched with them.
//!
//! The flows are those of distribution's `docs/spec/auth`: `token` (GET) and `oauth` (POST with a
//! refresh token).

use super::RegistryConfig;
use super::client::{Client, parse_url};
use super::credentials::{CredentialStore, Credentials};
use super::mirror::Endpoint;
use crate::ImageError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cos_events::Monitor;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use ureq::http::{HeaderMap, header};

/// What is sent in the `Authorization` header. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Authorization {
    Basic { username: String, password: String },
    Bearer(String),
}

impl Authorization {
    pub(crate) fn header(&self) -> String {
        match self {
            Self::Basic { username, password } => {
                format!(
                    "Basic {}",
                    STANDARD.encode(format!("{username}:{password}"))
                )
            }
            Self::Bearer(token) => format!("Bearer {token}"),
        }
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic …",
            Self::Bearer(_) => "Bearer …",
        })
    }
}

/// Remembers, for each repository, what its registry accepted.
pub(crate) struct Authenticator {
    store: CredentialStore,
    accepted: Mutex<BTreeMap<(String, String), Authorization>>,
}

impl Authenticator {
    pub(crate) fn new(config: &RegistryConfig) -> Self {
        Self {
            store: CredentialStore::new(config),
            accepted: Mutex::new(BTreeMap::new()),
        }
    }

    /// What to send before being asked.
    pub(crate) fn current(&self, endpoint: &Endpoint) -> Option<Authorization> {
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.get(&key(endpoint)).cloned()
    }

    /// Finds out what answers the challenge in `headers`, and remembers it.
    pub(crate) fn answer(
        &self,
        client: &Client,
        endpoint: &Endpoint,
        headers: &HeaderMap,
        monitor: &dyn Monitor,
    ) -> Result<(), ImageError> {
        let credentials = self.store.find(&endpoint.host, &endpoint.repository)?;
        let challenges: Vec<Challenge> = headers
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(parse_challenges)
            .collect();
        let of = |scheme: &str| {
            challenges
                .iter()
                .find(|c| c.scheme.eq_ignore_ascii_case(scheme))
        };
        let authorization = if let Some(challenge) = of("bearer") {
            fetch_token(client, endpoint, challenge, credentials.as_ref(), monitor)?
        } else if of("basic").is_some() {
            match credentials {
                Some(Credentials::Basic { username, password }) => {
                    Authorization::Basic { username, password }
                }
                Some(Credentials::RegistryToken(token)) => Authorization::Bearer(token),
                Some(Credentials::IdentityToken(_)) | None => {
                    return Err(ImageError::NoCredentials {
                        registry: endpoint.host.clone(),
                    });
                }
            }
        } else {
            return Err(ImageError::UnknownChallenge {
                registry: endpoint.host.clone(),
            });
        };
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.insert(key(endpoint), authorization);
        Ok(())
    }
}

fn key(endpoint: &Endpoint) -> (String, String) {
    (endpoint.host.clone(), endpoint.repository.clone())
}

#[derive(serde::Deserialize)]
struct TokenResponse {
    token: Option<String>,
    access_token: Option<String>,
}

fn fetch_token(
    client: &Client,
    endpoint: &Endpoint,
    challenge: &Challenge,
    credentials: Option<&Credentials>,
    monitor: &dyn Monitor,
) -> Result<Authorization, ImageError> {
    let realm = challenge
        .get("realm")
        .ok_or_else(|| ImageError::UnknownChallenge {
            registry: endpoint.host.clone(),
        })?;
    let default_scope = format!("repository:{}:pull", endpoint.repository);
    let scope = challenge.get("scope").unwrap_or(&default_scope);
    let service = challenge.get("service");
    let body = match credentials {
        Some(Credentials::RegistryToken(token)) => return Ok(Authorization::Bearer(token.clone())),
        Some(Credentials::IdentityToken(token)) => {
            let mut form = vec![
                ("grant_type", "refresh_token"),
                ("client_id", "cos"),
                ("refresh_token", token.as_str()),
                ("scope", scope),
            ];
            form.extend(service.map(|service| ("service", service)));
            client.token_request(realm, Some(&form), None, monitor)?
        }
        Some(Credentials::Basic { username, password }) => {
            let url = token_url(realm, service, scope, Some(username))?;
            let basic = Authorization::Basic {
                username: username.clone(),
                password: password.clone(),
            };
            client.token_request(&url, None, Some(&basic), monitor)?
        }
        None => {
            let url = token_url(realm, service, scope, None)?;
            client.token_request(&url, None, None, monitor)?
        }
    };
    let bad = |source| ImageError::BadToken {
        registry: endpoint.host.clone(),
        source,
    };
    let response: TokenResponse = serde_json::from_slice(&body).map_err(bad)?;
    let token = response.token.or(response.access_token).unwrap_or_default();
    // A token with a line break in it would be a header of its own.
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(bad(serde::de::Error::custom(
            "there is no usable token in it",
        )));
    }
    Ok(Authorization::Bearer(token))
}

fn token_url(
    realm: &str,
    service: Option<&str>,
    scope: &str,
    account: Option<&str>,
) -> Result<String, ImageError> {
    parse_url(realm)?;
    let parameters = [
        ("service", service),
        ("scope", Some(scope)),
        ("account", account),
    ];
    let query: Vec<String> = parameters
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", percent_encode(value?))))
        .collect();
    let separator = if realm.contains('?') { '&' } else { '?' };
    Ok(format!("{realm}{separator}{}", query.join("&")))
}

/// Everything but RFC 3986's unreserved characters, and those that scopes hold and queries may.
fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&hex::encode_upper([byte]));
        }
    }
    out
}

/// One challenge of a `WWW-Authenticate` header (RFC 9110, 11.6.1).
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    fn get(&self, name: &str) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        let (_, value) = parameters.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value)
    }
}

/// Reads as many challenges as are well-formed.
fn parse_challenges(text: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',']);
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            break;
        }
        if let Some(value) = after.strip_prefix('=') {
            let Some((value, after)) = parse_value(value) else {
                break;
            };
            if let Some(challenge) = challenges.last_mut() {
                challenge.parameters.push((word.into(), value));
            }
            rest = after;
        } else {
            challenges.push(Challenge {
                scheme: word.into(),
                parameters: Vec::new(),
            });
            rest = after;
        }
        rest = rest.trim_start_matches([' ', ',']);
    }
    challenges
}

/// A token or a quoted string, and what follows it.
fn parse_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return Some((text[..end].into(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, c)) = characters.next() {
        match c {
            '"' => return Some((value, &quoted[index + 1..])),
            '\\' => value.push(characters.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn challenges_are_read() {
        let text = r#"Basic realm="a, b", Bearer realm="https://auth.example/token",service=x,scope="repository:a\"b:pull""#;
        let challenges = parse_challenges(text);
        assert_eq!(challenges.len(), 2);
        assert_eq!(challenges[0].get("Realm"), Some("a, b"));
        assert_eq!(challenges[1].scheme, "Bearer");
        assert_eq!(challenges[1].get("service"), Some("x"));
        assert_eq!(challenges[1].get("scope"), Some("repository:a\"b:pull"));
        assert_eq!(challenges[1].get("nothing"), None);
    }

    #[test]
    fn token_urls_are_encoded() {
        let url = token_url(
            "https://a.example/t?x=1",
            Some("r & s"),
            "repository:a/b:pull",
            None,
        );
        assert_eq!(
            url.unwrap(),
            "https://a.example/t?x=1&service=r%20%26%20s&scope=repository:a/b:pull"
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let basic = Authorization::Basic {
            username: "me".into(),
            password: "hunter2".into(),
        };
        assert_eq!(basic.header(), "Basic bWU6aHVudGVyMg==");
        assert!(!format!("{basic:?}").contains("hunter2"));
    }

    proptest! {
        #[test]
        fn any_challenge_is_read_to_its_end(text in ".{0,80}") {
            for challenge in parse_challenges(&text) {
                prop_assert!(!challenge.scheme.is_empty());
            }
        }
    }
}
