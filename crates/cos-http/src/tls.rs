//! Which certificate authorities are trusted.

use crate::{HttpConfig, HttpError};
use fs_err::File;
use std::io::{self, Read as _};
use std::path::Path;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// The largest file of certificates that is read, in bytes.
const MAX_CA_FILE: u64 = 16 << 20;

/// The public authorities built in, the system's if it has any, and the ones the user names. A
/// system bundle that cannot be used is left out, and a warning says so.
pub(crate) fn config(config: &HttpConfig) -> Result<(TlsConfig, Vec<String>), HttpError> {
    let built_in = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
    let mut roots: Vec<Certificate<'static>> = built_in
        .iter()
        .map(|der| Certificate::from_der(der))
        .collect();
    let mut warnings = Vec::new();
    if let Some(bundle) = config.system_ca_files.iter().find(|path| path.exists()) {
        match certificates(bundle) {
            Ok(system) => roots.extend(system),
            Err(error) => warnings.push(format!("the system's certificates are left out: {error}")),
        }
    }
    for path in &config.ca_files {
        roots.extend(certificates(path)?);
    }
    let roots = RootCerts::new_with_certs(&roots);
    Ok((TlsConfig::builder().root_certs(roots).build(), warnings))
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, HttpError> {
    let failed = |source| HttpError::CaFile {
        path: path.into(),
        source,
    };
    let pem = read(path).map_err(|error| failed(error.into()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        let item = item.map_err(|error| failed(error.into()))?;
        if let PemItem::Certificate(certificate) = item {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(failed("it holds no certificate".into()));
    }
    Ok(certificates)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = File::open(path)?.take(MAX_CA_FILE + 1);
    file.read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_CA_FILE {
        return Err(io::Error::other(format!(
            "it is larger than {MAX_CA_FILE} bytes"
        )));
    }
    Ok(bytes)
}
