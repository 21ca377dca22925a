//! Password hashes, as `crypt(5)` describes them.

use crate::defaults::Defaults;
use crate::error::AccountsError;
use crate::secret::Secret;
use cos_sys::root_path::Root;
use sha_crypt::ShaCrypt;
use std::path::Path;
use yescrypt::{PasswordHasher as _, PasswordVerifier as _, Yescrypt};

/// The most that is read of a PAM configuration, in bytes.
const LIMIT: u64 = 1 << 20;

/// The longest password, in bytes: what `crypt(3)` of libxcrypt takes.
const MAX_PASSWORD: usize = 511;

/// The PAM configurations that say how `passwd(1)` hashes: Debian's, then Fedora's and SUSE's.
const PAM: [&str; 3] = [
    "/etc/pam.d/common-password",
    "/etc/pam.d/system-auth",
    "/etc/pam.d/password-auth",
];

/// What hashes of `crypt(5)` begin with.
const PREFIXES: [&str; 14] = [
    "$y$", "$gy$", "$7$", "$6$", "$5$", "$2a$", "$2b$", "$2x$", "$2y$", "$1$", "$md5$", "$md5,",
    "$sha1$", "$3$",
];

/// Yescrypt hashes with the usual cost: verifying one takes 16 MiB and a fraction of a second. What
/// a hash of other cost takes is up to who wrote it.
const USUAL_YESCRYPT: &str = "$y$j9T$";

/// A password for an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// yip's and cloud-init's `passwd`: stored as it is when it looks like a hash of `crypt(5)`
    /// (`$y$…`, `$6$…`, `!`, `*`, `!$6$…`), else hashed.
    HashOrPlain(Secret),
    /// cloud-init's `plain_text_passwd`: hashed, whatever it looks like.
    Plain(Secret),
    /// cloud-init's `hashed_passwd`: stored as it is; what does not look like a hash is an error,
    /// as it would stand in `shadow(5)` for all backups to keep.
    Hash(Secret),
}

/// How passwords are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashMethod {
    /// `$y$`, which libxcrypt knows: Debian 11, Fedora 29 and later.
    Yescrypt,
    /// `$6$`, which every C library knows.
    Sha512Crypt,
}

impl HashMethod {
    /// The method of an image: yescrypt when its PAM configuration or `login.defs(5)` names it, or
    /// when neither names any; else SHA-512.
    pub(crate) fn of_root(root: &Root, defaults: &Defaults) -> Result<Self, AccountsError> {
        let mut named = defaults
            .encrypt_method
            .clone()
            .into_iter()
            .collect::<Vec<_>>();
        for path in PAM {
            let bytes = root.read(Path::new(path), LIMIT)?.unwrap_or_default();
            named.extend(pam_method(&String::from_utf8_lossy(&bytes)));
        }
        let yescrypt = |name: &String| name.eq_ignore_ascii_case("yescrypt");
        if named.is_empty() || named.iter().any(yescrypt) {
            return Ok(Self::Yescrypt);
        }
        Ok(Self::Sha512Crypt)
    }

    /// Hashes a password with a new salt.
    pub(crate) fn hash(self, name: &str, password: &str) -> Result<Secret, AccountsError> {
        let failed = |why: String| AccountsError::Hash {
            name: name.to_owned(),
            why,
        };
        if password.contains(['\0', '\n']) || password.len() > MAX_PASSWORD {
            return Err(failed(
                "it has a line break or is longer than 511 bytes".into(),
            ));
        }
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| failed(error.to_string()))?;
        let hash = match self {
            Self::Yescrypt => Yescrypt::default()
                .hash_password_with_salt(password.as_bytes(), &salt)
                .map(|hash| hash.as_str().to_owned()),
            // 12 bytes are the 16 characters that C libraries use of a salt: with more, their
            // result is another.
            Self::Sha512Crypt => ShaCrypt::SHA512
                .hash_password_with_salt(password.as_bytes(), &salt[..12])
                .map(|hash| hash.as_str().to_owned()),
        };
        hash.map(Secret::new)
            .map_err(|error| failed(error.to_string()))
    }
}

/// What the `password` line of `pam_unix(8)` names.
fn pam_method(text: &str) -> Option<String> {
    const METHODS: [&str; 7] = [
        "yescrypt",
        "gost_yescrypt",
        "sha512",
        "sha256",
        "blowfish",
        "md5",
        "bigcrypt",
    ];
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .filter(|line| {
            line.trim_start()
                .trim_start_matches('-')
                .starts_with("password")
        })
        .filter(|line| line.contains("pam_unix.so"))
        .flat_map(str::split_whitespace)
        .find(|word| METHODS.contains(word))
        .map(str::to_owned)
}

/// Whether a value is what stands in `shadow(5)`, and no password itself: a hash, or something no
/// password hashes to. `!Passw0rd` is a password.
pub(crate) fn is_hash(value: &str) -> bool {
    let unlocked = value.trim_start_matches(['!', '*']);
    if unlocked.is_empty() {
        return !value.is_empty();
    }
    let of_crypt = |byte: u8| byte.is_ascii_alphanumeric() || b"./$=,+-_*".contains(&byte);
    PREFIXES.iter().any(|prefix| {
        unlocked
            .strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty())
    }) && unlocked.bytes().all(of_crypt)
}

/// Whether `password` hashes to `hash`; "no" also where finding out is too much work.
fn verifies(password: &str, hash: &str) -> bool {
    let password = password.as_bytes();
    if hash.starts_with(USUAL_YESCRYPT) {
        return Yescrypt::default().verify_password(password, hash).is_ok();
    }
    let sha512 = hash.strip_prefix("$6$");
    let usual = |rest: &str| !rest.starts_with("rounds=") || rest.starts_with("rounds=5000$");
    sha512.is_some_and(usual) && ShaCrypt::SHA512.verify_password(password, hash).is_ok()
}

impl Password {
    /// What is to stand in `shadow(5)`, where `now` does: that stays when it is the same password,
    /// so that machines that are told their users at every boot do not change every time.
    pub(crate) fn hashed(
        &self,
        name: &str,
        method: HashMethod,
        now: &str,
    ) -> Result<Secret, AccountsError> {
        let plain = match self {
            Self::HashOrPlain(secret) | Self::Hash(secret) if is_hash(secret.expose()) => {
                return Ok(secret.clone());
            }
            Self::Hash(_) => {
                return Err(AccountsError::Hash {
                    name: name.to_owned(),
                    why: "it is said to be a hash, but does not look like one".into(),
                });
            }
            Self::HashOrPlain(secret) | Self::Plain(secret) => secret.expose(),
        };
        if verifies(plain, now) {
            return Ok(Secret::new(now));
        }
        method.hash(name, plain)
    }

    /// Whether there is none: an empty value says nothing, as in yip.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::HashOrPlain(secret) | Self::Plain(secret) | Self::Hash(secret) => {
                secret.expose().is_empty()
            }
        }
    }
}

/// The hash that no password matches until it is unlocked: as `usermod(8)` `--lock` does.
pub(crate) fn locked(hash: &str) -> String {
    if hash.starts_with('!') {
        hash.to_owned()
    } else {
        format!("!{hash}")
    }
}

/// The hash without its lock. Where nothing is behind the lock it stays: an account without any
/// password is open to everybody.
pub(crate) fn unlocked(hash: &str) -> &str {
    match hash.trim_start_matches('!') {
        "" | "*" => hash,
        bare => bare,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method(login_defs: &str, pam: &str) -> HashMethod {
        let temp = tempfile::tempdir().unwrap();
        let pam_d = temp.path().join("etc/pam.d");
        fs_err::create_dir_all(&pam_d).unwrap();
        fs_err::write(pam_d.join("common-password"), pam).unwrap();
        let root = Root::open(temp.path()).unwrap();
        HashMethod::of_root(&root, &Defaults::parse(login_defs, "")).unwrap()
    }

    #[test]
    fn the_image_says_how_to_hash() {
        let pam = "# here\npassword\t[success=1 default=ignore]\tpam_unix.so obscure yescrypt\n";
        assert_eq!(method("ENCRYPT_METHOD SHA512", pam), HashMethod::Yescrypt);
        assert_eq!(method("ENCRYPT_METHOD YESCRYPT", ""), HashMethod::Yescrypt);
        assert_eq!(method("", ""), HashMethod::Yescrypt);
        let pam = "auth x pam_unix.so yescrypt\npassword x pam_unix.so sha512 # yescrypt\n";
        assert_eq!(method("", pam), HashMethod::Sha512Crypt);
        assert_eq!(method("ENCRYPT_METHOD SHA512", ""), HashMethod::Sha512Crypt);
    }

    #[test]
    fn hashes_are_told_from_passwords() {
        let hashes = [
            "!",
            "!!",
            "*",
            "!*",
            "$6$salt$hash",
            "!$y$j9T$a$b",
            "$2b$12$abc",
            "$gy$j9T$a$b",
        ];
        for hash in hashes {
            assert!(is_hash(hash), "{hash}");
        }
        for plain in [
            "",
            "secret",
            "!Passw0rd",
            "$6$",
            "$money$",
            "$6$a b",
            "x",
            "*star",
        ] {
            assert!(!is_hash(plain), "{plain}");
        }
    }

    #[test]
    fn a_hash_has_the_salt_that_c_libraries_read() {
        let hash = HashMethod::Sha512Crypt.hash("bob", "hunter2").unwrap();
        let fields: Vec<&str> = hash.expose().split('$').collect();
        assert_eq!((fields[1], fields[3].len(), fields[4].len()), ("6", 16, 86));
        assert!(is_hash(hash.expose()) && verifies("hunter2", hash.expose()));
        let hash = HashMethod::Yescrypt.hash("bob", "hunter2").unwrap();
        assert!(hash.expose().starts_with(USUAL_YESCRYPT));
        assert!(is_hash(hash.expose()) && !verifies("hunter3", hash.expose()));
    }

    #[test]
    fn the_same_password_keeps_its_hash() {
        let method = HashMethod::Sha512Crypt;
        let plain = Password::HashOrPlain(Secret::new("hunter2"));
        let first = plain.hashed("bob", method, "!").unwrap();
        assert_eq!(plain.hashed("bob", method, first.expose()).unwrap(), first);
        let other = Password::Plain(Secret::new("$6$a$b"));
        let second = other.hashed("bob", method, first.expose()).unwrap();
        assert!(second != first && second.expose() != "$6$a$b");
        let error = Password::Hash(Secret::new("hunter2")).hashed("bob", method, "");
        let error = format!("{:?}", error.unwrap_err());
        assert!(!error.contains("hunter2"), "{error}");
        let costly = "$y$jFT$salt$hash";
        assert!(!verifies("x", costly) && !verifies("x", "$6$rounds=999999999$a$b"));
    }

    #[test]
    fn nothing_is_unlocked_into_an_open_account() {
        assert_eq!(locked("$6$a$b"), "!$6$a$b");
        assert_eq!(locked("!"), "!");
        assert_eq!(locked(""), "!");
        assert_eq!(unlocked("!$6$a$b"), "$6$a$b");
        for none in ["!", "!!", "!*", "*"] {
            assert_eq!(unlocked(none), none);
        }
    }
}
