//! Which hosts are asked for a repository, and in what order.

use crate::reference::is_registry;
use crate::{ImageError, Reference};
use std::collections::BTreeMap;

/// A repository on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `HOST[:PORT]`, as the user or the mirror list names it.
    pub(crate) host: String,
    /// The repository's name on that host.
    pub(crate) repository: String,
}

impl Endpoint {
    /// Where Docker Hub's interface really is.
    pub(crate) fn authority(&self) -> &str {
        match self.host.as_str() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        }
    }
}

/// The mirrors of the reference's registry in their order, then the registry.
pub(crate) fn endpoints(
    reference: &Reference,
    mirrors: &BTreeMap<String, Vec<String>>,
) -> Result<Vec<Endpoint>, ImageError> {
    let mut endpoints = Vec::new();
    for mirror in mirrors.get(&reference.registry).into_iter().flatten() {
        let (host, prefix) = match mirror.trim_end_matches('/').split_once('/') {
            Some((host, prefix)) => (host, format!("{prefix}/")),
            None => (mirror.trim_end_matches('/'), String::new()),
        };
        let repository = format!("{prefix}{}", reference.repository);
        let whole = format!("{host}/{repository}");
        if !is_registry(host) || whole.parse::<Reference>().is_err() {
            return Err(ImageError::BadMirror {
                registry: reference.registry.clone(),
                mirror: mirror.clone(),
            });
        }
        endpoints.push(Endpoint {
            host: host.into(),
            repository,
        });
    }
    endpoints.push(Endpoint {
        host: reference.registry.clone(),
        repository: reference.repository.clone(),
    });
    Ok(endpoints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_come_before_the_registry() {
        let reference: Reference = "debian:12".parse().unwrap();
        let list = [
            "localhost:5000".to_owned(),
            "mirror.example/hub/".to_owned(),
        ];
        let mirrors = BTreeMap::from([("docker.io".to_owned(), list.to_vec())]);
        let asked: Vec<String> = endpoints(&reference, &mirrors)
            .unwrap()
            .iter()
            .map(|e| format!("{}/{}", e.authority(), e.repository))
            .collect();
        assert_eq!(
            asked,
            [
                "localhost:5000/library/debian",
                "mirror.example/hub/library/debian",
                "registry-1.docker.io/library/debian"
            ]
        );
        for bad in ["", "https://x", "mirror.example/UP", "a b"] {
            let mirrors = BTreeMap::from([("docker.io".to_owned(), vec![bad.to_owned()])]);
            assert!(endpoints(&reference, &mirrors).is_err(), "{bad}");
        }
    }
}
