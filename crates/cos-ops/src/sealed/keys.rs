//! The keys of Secure Boot, in a directory: `PK`, `KEK` and `db`, each as `.key` (private, PEM), `.pem`
//! (certificate) and `.auth` (the signed update that firmware enrols). Beside them `pcr`, which no firmware
//! knows: as `.key` (private, PEM) and `.pem` (public key).

use super::SealedError;
use cos_efi::{Database, KeyError, PolicyKey, SignatureList, SigningKey, Timestamp};
use fs_err::os::unix::fs::OpenOptionsExt as _;
use serde::Serialize;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use uuid::{Builder, Uuid};

/// The key of systems that may unlock data.
const POLICY_KEY: &str = "pcr.key";
const POLICY_PUBLIC_KEY: &str = "pcr.pem";

/// Keys that were made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GeneratedKeys {
    /// The directory.
    pub directory: PathBuf,
    /// Who the firmware will say enrolled them.
    pub owner: Uuid,
    /// Every file that was written.
    pub files: Vec<PathBuf>,
}

/// What seals a system.
#[derive(Debug, Clone)]
pub struct SealingKeys {
    /// Signs programs; in db.
    pub(super) programs: SigningKey,
    /// Signed updates of the firmware's databases, in the order in which they are enrolled.
    pub(super) updates: Vec<(Database, Vec<u8>)>,
    /// Signs systems that may unlock data, whose data are encrypted.
    pub(super) policy: Option<PolicyKey>,
}

/// Makes keys named after `name` into `directory`, which must be empty or not there. `now` is seconds
/// since 1970.
pub fn generate(directory: &Path, name: &str, now: i64) -> Result<GeneratedKeys, SealedError> {
    fs_err::create_dir_all(directory).map_err(|source| SealedError::Write {
        path: directory.to_owned(),
        source,
    })?;
    let time = Timestamp::from_unix(now).ok_or(SealedError::Clock(now))?;
    let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(now.unsigned_abs());
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| SealedError::Generate(KeyError::Rsa(error.to_string())))?;
    let owner = Builder::from_random_bytes(random).into_uuid();
    let make = |database: Database| {
        SigningKey::generate(&format!("{name} {}", database.name()), begin)
            .map_err(SealedError::Generate)
    };
    let platform = make(Database::PlatformKey)?;
    let exchange = make(Database::KeyExchangeKeys)?;
    let programs = make(Database::Allowed)?;
    let mut files = Vec::new();
    for (database, key, by) in [
        (Database::PlatformKey, &platform, &platform),
        (Database::KeyExchangeKeys, &exchange, &platform),
        (Database::Allowed, &programs, &exchange),
    ] {
        let certificate = key.certificate_pem().map_err(SealedError::Generate)?;
        let mut list = SignatureList::default();
        list.add(owner, &certificate)
            .map_err(SealedError::Generate)?;
        let update = list
            .update(database, time, by)
            .map_err(SealedError::Generate)?;
        let private = key.private_pem().map_err(SealedError::Generate)?;
        files.push((
            file(directory, database, "key"),
            0o600,
            private.into_bytes(),
        ));
        files.push((
            file(directory, database, "pem"),
            0o644,
            certificate.into_bytes(),
        ));
        files.push((file(directory, database, "auth"), 0o644, update));
    }
    files.extend(policy_files(directory)?);
    // All or nothing: a key beside files of another set would be no use to anybody.
    if let Some((path, ..)) = files
        .iter()
        .find(|it| fs_err::symlink_metadata(&it.0).is_ok())
    {
        return Err(SealedError::Exists { path: path.clone() });
    }
    for (path, mode, bytes) in &files {
        write_new(path, *mode, bytes)?;
    }
    Ok(GeneratedKeys {
        directory: directory.to_owned(),
        owner,
        files: files.into_iter().map(|(path, ..)| path).collect(),
    })
}

/// The files of a new key by which data are unlocked, each with its mode.
fn policy_files(directory: &Path) -> Result<[(PathBuf, u32, Vec<u8>); 2], SealedError> {
    let key = PolicyKey::generate().map_err(SealedError::Generate)?;
    let private = key.private_pem().map_err(SealedError::Generate)?;
    let public = key.public_pem().as_bytes().to_vec();
    Ok([
        (directory.join(POLICY_KEY), 0o600, private.into_bytes()),
        (directory.join(POLICY_PUBLIC_KEY), 0o644, public),
    ])
}

impl SealingKeys {
    /// Reads what seals a system from a directory that [`generate`] made: the private key of `db`, and the
    /// updates. The other private keys need not be there.
    pub fn read(directory: &Path) -> Result<Self, SealedError> {
        let private = file(directory, Database::Allowed, "key");
        let certificate = read(file(directory, Database::Allowed, "pem"))?;
        let pem = read(private.clone())?;
        let programs = SigningKey::from_pem(
            &String::from_utf8_lossy(&pem),
            &String::from_utf8_lossy(&certificate),
        )
        .map_err(|source| SealedError::Key {
            path: private,
            source,
        })?;
        let update = |database| Ok((database, read(file(directory, database, "auth"))?));
        Ok(Self {
            programs,
            updates: Database::ALL
                .into_iter()
                .map(update)
                .collect::<Result<_, _>>()?,
            policy: None,
        })
    }

    /// Reads the key by which data are unlocked as well: what is sealed with it encrypts its data.
    fn encrypting(mut self, directory: &Path) -> Result<Self, SealedError> {
        let path = directory.join(POLICY_KEY);
        let pem = fs_err::read(&path).map_err(|source| SealedError::NoPolicyKey {
            path: path.clone(),
            source,
        })?;
        let key = PolicyKey::from_pem(&String::from_utf8_lossy(&pem));
        self.policy = Some(key.map_err(|source| SealedError::Key { path, source })?);
        Ok(self)
    }

    /// Reads what seals a system whose data are encrypted, or not.
    pub fn read_for(directory: &Path, encrypted: bool) -> Result<Self, SealedError> {
        let keys = Self::read(directory)?;
        if encrypted {
            keys.encrypting(directory)
        } else {
            Ok(keys)
        }
    }

    /// Whether the data of what is sealed with it are encrypted.
    pub fn encrypt(&self) -> bool {
        self.policy.is_some()
    }
}

fn read(path: PathBuf) -> Result<Vec<u8>, SealedError> {
    fs_err::read(&path).map_err(|source| SealedError::Read { path, source })
}

fn file(directory: &Path, database: Database, extension: &str) -> PathBuf {
    directory.join(format!("{}.{extension}", database.name()))
}

fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), SealedError> {
    let mut options = fs_err::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(mode).open(path);
    opened
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .map_err(|source| SealedError::Write {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn keys_are_kept_from_others_and_never_written_over() {
        let temp = tempfile::tempdir().unwrap();
        let directory = temp.path().join("keys");
        let made = generate(&directory, "test", 1_767_323_045).unwrap();
        assert_eq!(made.files.len(), 11);
        let permissions = |name: &str| {
            let meta = fs_err::metadata(directory.join(name)).unwrap();
            meta.permissions().mode() & 0o777
        };
        assert_eq!(
            (
                permissions("PK.key"),
                permissions("db.key"),
                permissions("db.pem"),
                permissions("pcr.key")
            ),
            (0o600, 0o600, 0o644, 0o600)
        );
        let keys = SealingKeys::read(&directory).unwrap();
        let order: Vec<&str> = keys.updates.iter().map(|(it, _)| it.name()).collect();
        assert_eq!(order, ["db", "KEK", "PK"]);

        assert!(!keys.encrypt());
        assert!(keys.clone().encrypting(&directory).unwrap().encrypt());
        fs_err::remove_file(directory.join("pcr.key")).unwrap();
        let error = keys.encrypting(&directory).unwrap_err();
        assert!(error.to_string().contains("pcr.key"), "{error}");

        fs_err::remove_file(directory.join("PK.key")).unwrap();
        assert!(
            SealingKeys::read(&directory).is_ok(),
            "PK is not what signs programs"
        );
        let error = generate(&directory, "test", 0).unwrap_err();
        assert!(matches!(error, SealedError::Exists { .. }), "{error}");
        assert!(!directory.join("PK.key").exists());
    }
}
