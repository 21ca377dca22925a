//! Which certificate authorities are trusted.

use crate::ImageError;
use cos_events::{Monitor, warn};
use std::path::Path;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::RegistryConfig;

/// Where distributions keep their bundle (Debian, Fedora, openSUSE, Alpine).
pub(crate) const SYSTEM_CA_FILES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The public authorities built in, the system's if it has any, and the ones the user names. A
/// machine without a bundle is no error.
pub(crate) fn config(
    config: &RegistryConfig,
    monitor: &dyn Monitor,
) -> Result<TlsConfig, ImageError> {
    let built_in = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
    let mut roots: Vec<Certificate<'static>> = built_in
        .iter()
        .map(|der| Certificate::from_der(der))
        .collect();
    if let Some(bundle) = config.system_ca_files.iter().find(|path| path.exists()) {
        match certificates(bundle) {
            Ok(system) => roots.extend(system),
            Err(error) => warn(
                monitor,
                format!("the system's certificates are left out: {error}"),
            ),
        }
    }
    for path in &config.ca_files {
        roots.extend(certificates(path)?);
    }
    let roots = RootCerts::new_with_certs(&roots);
    Ok(TlsConfig::builder().root_certs(roots).build())
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, ImageError> {
    let pem = fs_err::read(path).map_err(|source| ImageError::CaFile {
        path: path.into(),
        source: Box::new(source),
    })?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(source) => {
                return Err(ImageError::CaFile {
                    path: path.into(),
                    source: Box::new(source),
                });
            }
        }
    }
    if certificates.is_empty() {
        return Err(ImageError::CaFile {
            path: path.into(),
            source: "it holds no certificate".into(),
        });
    }
    Ok(certificates)
}
