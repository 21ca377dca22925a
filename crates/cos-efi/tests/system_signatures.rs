//! Programs and keys, judged by the tools of sbsigntool, efitools, binutils and OpenSSL.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and runs other people's tools"
)]

use cos_efi::{Database, Image, SignatureList, SigningKey, Timestamp, Uki, UkiParts, sign};
use cos_testkit::tools::need_tool;
use cos_testkit::{process, skip, temp_dir};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};
use uuid::{Uuid, uuid};

/// Debian's systemd-boot and stub.
const LOADER: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
const OWNER: Uuid = uuid!("00112233-4455-6677-8899-aabbccddeeff");

/// 2026-01-02 03:04:05
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045)
}

/// A key that is made once for all tests.
fn key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::generate("cOS test db", now()).unwrap())
}

/// Bytes of a program of systemd, or `None`, and the skip is recorded.
fn program(test: &str, path: &str) -> Option<Vec<u8>> {
    let there = Path::new(path).exists();
    if !there {
        skip(
            test,
            &format!("{path} is missing (package systemd-boot-efi)"),
        );
    }
    there.then(|| fs_err::read(path).unwrap())
}

fn tool(name: &str) -> Command {
    Command::new(need_tool(name).unwrap())
}

fn put(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    fs_err::write(&path, bytes).unwrap();
    path
}

/// Whether sbverify takes the program for one that the certificate's key signed.
fn is_signed(directory: &Path, image: &[u8], certificate: &str) -> bool {
    let image = put(directory, "program.efi", image);
    let certificate = put(directory, "certificate.pem", certificate.as_bytes());
    let mut command = tool("sbverify");
    command.arg("--cert").arg(certificate).arg(image);
    process::succeeds(&mut command)
}

/// Positions spread over the bytes, always the same ones.
fn positions(length: usize, count: usize) -> impl Iterator<Item = usize> {
    let step = 0x9e37_79b9_7f4a_7c15_u64;
    (1..=count as u64).map(move |n| (n.wrapping_mul(step) % length as u64) as usize)
}

#[test]
fn a_signed_program_is_trusted_until_a_bit_changes() {
    const TEST: &str = "a_signed_program_is_trusted_until_a_bit_changes";
    let Some(loader) = program(TEST, LOADER) else {
        return;
    };
    let directory = temp_dir().unwrap();
    let unsigned = Image::parse(loader).unwrap();
    let certificate = key().certificate_pem().unwrap();
    assert!(!is_signed(
        directory.path(),
        unsigned.as_bytes(),
        &certificate
    ));
    let signed = sign(unsigned.clone(), key()).unwrap();
    assert!(is_signed(directory.path(), signed.as_bytes(), &certificate));
    let other = SigningKey::generate("somebody else", now()).unwrap();
    let others = other.certificate_pem().unwrap();
    assert!(!is_signed(directory.path(), signed.as_bytes(), &others));

    // Signing again leaves one signature.
    let again = sign(sign(unsigned, &other).unwrap(), key()).unwrap();
    assert_eq!(again.as_bytes().len(), signed.as_bytes().len());
    assert!(is_signed(directory.path(), again.as_bytes(), &certificate));

    let digest = signed.digest();
    let end = Image::parse(signed.as_bytes().to_vec()).unwrap();
    assert_eq!(
        end.digest(),
        digest,
        "the signature is not part of what is signed"
    );
    let mut tried = 0;
    for position in positions(signed.as_bytes().len(), 120) {
        let mut bytes = signed.as_bytes().to_vec();
        bytes[position] ^= 1 << (position % 8);
        // Where the signature itself is kept, a bit may be one that nobody reads.
        let changed = Image::parse(bytes.clone()).is_ok_and(|it| it.digest() != digest);
        if changed {
            tried += 1;
            assert!(
                !is_signed(directory.path(), &bytes, &certificate),
                "{position}"
            );
        }
    }
    assert!(tried > 90, "{tried}");
}

#[test]
fn what_others_sign_has_the_digest_we_compute() {
    const TEST: &str = "what_others_sign_has_the_digest_we_compute";
    let Some(loader) = program(TEST, LOADER) else {
        return;
    };
    let directory = temp_dir().unwrap();
    let private = put(
        directory.path(),
        "key.pem",
        key().private_pem().unwrap().as_bytes(),
    );
    let pem = key().certificate_pem().unwrap();
    let certificate = put(directory.path(), "cert.pem", pem.as_bytes());
    let (input, output) = (
        put(directory.path(), "in.efi", &loader),
        directory.path().join("out.efi"),
    );
    process::run(
        tool("sbsign")
            .arg("--key")
            .arg(private)
            .arg("--cert")
            .arg(certificate)
            .arg("--output")
            .arg(&output)
            .arg(input),
    )
    .unwrap();
    let theirs = Image::parse(fs_err::read(output).unwrap()).unwrap();
    let ours = sign(Image::parse(loader).unwrap(), key()).unwrap();
    assert_eq!(theirs.digest(), ours.digest());
}

#[test]
fn a_unified_kernel_image_holds_what_it_was_made_of() {
    const TEST: &str = "a_unified_kernel_image_holds_what_it_was_made_of";
    let (Some(stub), Some(kernel)) = (program(TEST, STUB), program(TEST, LOADER)) else {
        return;
    };
    let initrd: Vec<u8> = (0..100_003_u32).map(|n| (n * 7) as u8).collect();
    let parts = UkiParts {
        stub: &stub,
        os_release: "ID=test\nVERSION_ID=1\n",
        command_line: "cos.mode=active cos.roothash=00",
        release: "6.12.0-test",
        kernel: &kernel,
        initrd: &initrd,
        policy: None,
    };
    let uki = Uki::build(&parts).unwrap();
    assert_eq!(uki.command_line(), parts.command_line);
    let signed = sign(uki.into_image(), key()).unwrap();
    let directory = temp_dir().unwrap();
    assert!(is_signed(
        directory.path(),
        signed.as_bytes(),
        &key().certificate_pem().unwrap()
    ));
    let image = directory.path().join("program.efi");
    for (name, wanted) in [
        (".osrel", parts.os_release.as_bytes()),
        (".cmdline", parts.command_line.as_bytes()),
        (".uname", parts.release.as_bytes()),
        (".initrd", &initrd),
        (".linux", &kernel),
    ] {
        let output = directory.path().join("section");
        process::run(
            tool("objcopy")
                .args(["--output-target=binary", "--only-section", name])
                .args([&image, &output]),
        )
        .unwrap();
        let held = fs_err::read(output).unwrap();
        assert!(held.starts_with(wanted), "{name}");
        assert!(held[wanted.len()..].iter().all(|&byte| byte == 0), "{name}");
    }
    let read = Uki::from_image(Image::parse(signed.into_bytes()).unwrap()).unwrap();
    assert_eq!(read.command_line(), parts.command_line);
    let held = read.image().section(".linux").unwrap();
    assert!(held.starts_with(&kernel));
}

#[test]
fn a_database_is_the_one_that_efitools_make() {
    let directory = temp_dir().unwrap();
    let pem = key().certificate_pem().unwrap();
    let certificate = put(directory.path(), "cert.pem", pem.as_bytes());
    let list = directory.path().join("db.esl");
    process::run(
        tool("cert-to-efi-sig-list")
            .args(["-g", &OWNER.to_string()])
            .args([&certificate, &list]),
    )
    .unwrap();
    let mut ours = SignatureList::default();
    ours.add(OWNER, &pem).unwrap();
    assert_eq!(ours.as_bytes(), fs_err::read(&list).unwrap());
    let time = Timestamp::from_unix(1_767_323_045).unwrap();
    let update = ours.update(Database::Allowed, time, key()).unwrap();
    // The time, the type of signature, and behind it the list.
    assert_eq!(update[..7], [0xea, 0x07, 1, 2, 3, 4, 5]);
    assert!(update.ends_with(ours.as_bytes()));
    let length = u32::from_le_bytes(update[16..20].try_into().unwrap()) as usize;
    let signature = put(directory.path(), "signature", &update[40..16 + length]);
    let mut command = tool("openssl");
    command.args(["asn1parse", "-inform", "DER", "-in"]);
    let parsed = process::text(command.arg(signature)).unwrap();
    assert!(parsed.contains("cOS test db"), "{parsed}");
}

#[test]
fn keys_are_those_that_openssl_reads() {
    let directory = temp_dir().unwrap();
    let pem = key().certificate_pem().unwrap();
    let certificate = put(directory.path(), "cert.pem", pem.as_bytes());
    let said = process::text(
        tool("openssl")
            .args(["x509", "-noout", "-subject", "-dates", "-in"])
            .arg(&certificate),
    )
    .unwrap();
    assert!(said.contains("CN = cOS test db"), "{said}");
    assert!(said.contains("notBefore=Jan  2 03:04:05 2026"), "{said}");
    process::run(
        tool("openssl")
            .args(["verify", "-attime", "1767323046", "-CAfile"])
            .args([&certificate, &certificate]),
    )
    .unwrap();
    let private = key().private_pem().unwrap();
    let again = SigningKey::from_pem(&private, &pem).unwrap();
    assert_eq!(again.certificate_der(), key().certificate_der());
    let other = SigningKey::generate("other", now()).unwrap();
    let error = SigningKey::from_pem(&private, &other.certificate_pem().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "the certificate is of another key");
}
