//! What firmware would run: programs that sbsign signed, by keys that OpenSSL made, judged by databases that
//! efitools made.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and runs other people's tools"
)]

use cos_efi::{Image, SigningKey, VerifyError, Vouched, sign, verify};
use cos_testkit::tools::{need_tool, need_tools};
use cos_testkit::{TempDir, process, skip, temp_dir};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Debian's systemd-boot.
const LOADER: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
const OWNER: &str = "00112233-4455-6677-8899-aabbccddeeff";

struct Bench {
    directory: TempDir,
}

impl Bench {
    /// `None` where there is no program to sign, and the skip is recorded.
    fn start(test: &str) -> Option<Self> {
        if !Path::new(LOADER).exists() {
            skip(
                test,
                &format!("{LOADER} is missing (package systemd-boot-efi)"),
            );
            return None;
        }
        need_tools(&["sbsign", "openssl", "cert-to-efi-sig-list"]);
        Some(Self {
            directory: temp_dir().unwrap(),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn run(&self, program: &str, words: &[&str]) {
        let mut command = Command::new(need_tool(program).unwrap());
        process::output(command.args(words).current_dir(self.directory.path())).unwrap();
    }

    /// A key and a certificate, by another one or by itself.
    fn key(&self, name: &str, by: Option<&str>, is_authority: bool) {
        let (key, pem) = (format!("{name}.key"), format!("{name}.pem"));
        let constraints = if is_authority {
            "basicConstraints=critical,CA:TRUE"
        } else {
            "basicConstraints=critical,CA:FALSE"
        };
        let subject = format!("/CN={name}");
        let mut words = vec![
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-sha256",
            "-subj",
            &subject,
            "-addext",
            constraints,
            "-keyout",
            &key,
            "-out",
            &pem,
        ];
        let (issuer_key, issuer);
        if let Some(by) = by {
            (issuer_key, issuer) = (format!("{by}.key"), format!("{by}.pem"));
            words.extend(["-CA", &issuer, "-CAkey", &issuer_key]);
        }
        self.run("openssl", &words);
    }

    /// The loader, signed; other certificates come along.
    fn signed(&self, by: &str, along: &[&str]) -> Image {
        let (key, pem) = (format!("{by}.key"), format!("{by}.pem"));
        let mut words: Vec<String> = ["--key", &key, "--cert", &pem].map(str::to_owned).into();
        if !along.is_empty() {
            let read = |name: &&str| fs_err::read_to_string(self.path(&format!("{name}.pem")));
            let all: String = along.iter().map(|name| read(name).unwrap()).collect();
            fs_err::write(self.path("along.pem"), all).unwrap();
            words.extend(["--addcert", "along.pem"].map(str::to_owned));
        }
        words.extend(["--output", "signed.efi", LOADER].map(str::to_owned));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.run("sbsign", &words);
        Image::parse(fs_err::read(self.path("signed.efi")).unwrap()).unwrap()
    }

    /// A database with these certificates.
    fn database(&self, names: &[&str]) -> Vec<u8> {
        let list = |name: &&str| {
            let pem = format!("{name}.pem");
            self.run("cert-to-efi-sig-list", &["-g", OWNER, &pem, "list.esl"]);
            fs_err::read(self.path("list.esl")).unwrap()
        };
        names.iter().flat_map(list).collect()
    }
}

fn signed(signer: &str, by: &str) -> Vouched {
    let name = |it: &str| format!("CN={it}");
    Vouched::Signed {
        signer: name(signer),
        by: name(by),
    }
}

#[test]
fn what_sbsign_signed_is_vouched_for_by_who_signed() {
    let Some(bench) = Bench::start("what_sbsign_signed_is_vouched_for_by_who_signed") else {
        return;
    };
    bench.key("owner", None, true);
    bench.key("other", None, true);
    let program = bench.signed("owner", &[]);
    let db = bench.database(&["other", "owner"]);
    assert_eq!(verify(&program, &db, None), Ok(signed("owner", "owner")));
    let unknown = verify(&program, &bench.database(&["other"]), None).unwrap_err();
    let signer = "CN=owner".to_owned();
    assert_eq!(unknown, VerifyError::Unknown { signer });
    assert!(verify(&program, &[], Some(&db)).is_err());
    let revoked = verify(&program, &db, Some(&bench.database(&["owner"]))).unwrap_err();
    assert!(matches!(revoked, VerifyError::Revoked { .. }), "{revoked}");
    assert_eq!(
        verify(&program, &db, Some(&[])),
        Ok(signed("owner", "owner")),
        "an empty dbx revokes nobody"
    );

    // Unsigned, and what our own hand signs.
    let loader = Image::parse(fs_err::read(LOADER).unwrap()).unwrap();
    assert_eq!(verify(&loader, &db, None), Err(VerifyError::Unsigned));
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045);
    let ours = SigningKey::generate("ours", now).unwrap();
    fs_err::write(bench.path("ours.pem"), ours.certificate_pem().unwrap()).unwrap();
    let program = sign(loader, &ours).unwrap();
    let db = bench.database(&["ours"]);
    assert_eq!(verify(&program, &db, None), Ok(signed("ours", "ours")));
    for end in [1, 27, 28, 60, db.len() - 1] {
        let torn = verify(&program, &db[..end], None).unwrap_err();
        assert!(
            matches!(torn, VerifyError::Database { .. }),
            "{end}: {torn}"
        );
    }
}

#[test]
fn a_chain_leads_to_an_authority_and_through_none_that_is_not() {
    let Some(bench) = Bench::start("a_chain_leads_to_an_authority_and_through_none_that_is_not")
    else {
        return;
    };
    bench.key("root", None, true);
    bench.key("middle", Some("root"), true);
    bench.key("leaf", Some("middle"), false);
    bench.key("forged", Some("leaf"), false);
    let root = bench.database(&["root"]);
    let program = bench.signed("leaf", &["middle"]);
    assert_eq!(verify(&program, &root, None), Ok(signed("leaf", "root")));
    let middle = bench.database(&["middle"]);
    assert_eq!(
        verify(&program, &middle, None),
        Ok(signed("leaf", "middle"))
    );
    assert_eq!(
        verify(&program, &bench.database(&["leaf"]), None),
        Ok(signed("leaf", "leaf"))
    );
    for revoked in ["root", "middle", "leaf"] {
        let dbx = bench.database(&[revoked]);
        let error = verify(&program, &root, Some(&dbx)).unwrap_err();
        let by = format!("CN={revoked}");
        assert_eq!(error, VerifyError::Revoked { by });
    }
    // Without the one in between nobody knows.
    assert!(verify(&bench.signed("leaf", &[]), &root, None).is_err());
    // Who is vouched for may not vouch for others.
    let forged = bench.signed("forged", &["leaf", "middle"]);
    let error = verify(&forged, &root, None).unwrap_err();
    assert!(matches!(error, VerifyError::Unknown { .. }), "{error}");
}

#[test]
fn digests_in_the_databases_count() {
    let Some(bench) = Bench::start("digests_in_the_databases_count") else {
        return;
    };
    need_tools(&["hash-to-efi-sig-list", "cert-to-efi-hash-list"]);
    bench.key("owner", None, true);
    let program = bench.signed("owner", &[]);
    let db = bench.database(&["owner"]);
    bench.run("hash-to-efi-sig-list", &["signed.efi", "hash.esl"]);
    let digest = fs_err::read(bench.path("hash.esl")).unwrap();
    assert_eq!(verify(&program, &digest, None), Ok(Vouched::Digest));
    let error = verify(&program, &db, Some(&digest)).unwrap_err();
    assert_eq!(error, VerifyError::RevokedProgram);
    // The unsigned one, padded as it is for being signed.
    let mut loader = fs_err::read(LOADER).unwrap();
    loader.resize(loader.len().next_multiple_of(8), 0);
    let loader = Image::parse(loader).unwrap();
    assert_eq!(verify(&loader, &digest, None), Ok(Vouched::Digest));
    bench.run("cert-to-efi-hash-list", &["owner.pem", "revoked.esl"]);
    let revoked = fs_err::read(bench.path("revoked.esl")).unwrap();
    let error = verify(&program, &db, Some(&revoked)).unwrap_err();
    assert!(matches!(error, VerifyError::Revoked { .. }), "{error}");
}

#[test]
fn a_changed_bit_is_no_signature() {
    let Some(bench) = Bench::start("a_changed_bit_is_no_signature") else {
        return;
    };
    bench.key("owner", None, true);
    let program = bench.signed("owner", &[]);
    let db = bench.database(&["owner"]);
    let bytes = program.as_bytes();
    let certificate = bench.path("owner.pem");
    let changed = bench.path("changed.efi");
    let length = bytes.len();
    // The signature lies at the end: it is looked at most closely.
    let far = (0..60).map(|n| n * (length - 3000) / 60);
    let near = (length - 1600..length).step_by(7);
    let mut refused = 0;
    for position in far.chain(near) {
        let mut flipped = bytes.to_vec();
        flipped[position] ^= 1 << (position % 8);
        let ours = Image::parse(flipped.clone());
        let ours = ours.is_ok_and(|image| verify(&image, &db, None).is_ok());
        if !ours {
            refused += 1;
            continue;
        }
        // A bit that no reader looks at.
        fs_err::write(&changed, &flipped).unwrap();
        let mut theirs = Command::new(need_tool("sbverify").unwrap());
        let theirs = process::succeeds(theirs.arg("--cert").arg(&certificate).arg(&changed));
        assert!(theirs, "sbverify refuses a bit changed at {position}");
    }
    assert!(refused > 200, "{refused}");
}
