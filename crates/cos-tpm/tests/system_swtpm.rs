//! A TPM in software, asked by cOS and by tpm2-tools.
#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use cos_testkit::swtpm::{Swtpm, require_swtpm};
use cos_testkit::temp_dir;
use cos_tpm::{Device, NvIndex, NvPublic, Tpm, TpmError};
use std::path::Path;

const COUNTER: NvIndex = NvIndex::of_owner(0x1234);
const BYTES: NvIndex = NvIndex::of_owner(0x1235);

fn open(swtpm: &Swtpm) -> Tpm<Device> {
    Tpm::open(swtpm.socket()).unwrap().unwrap()
}

fn text(swtpm: &Swtpm, program: &str, arguments: &[&str]) -> String {
    String::from_utf8(swtpm.tpm2(program, arguments).unwrap()).unwrap()
}

/// What tpm2-tools reads.
fn count(swtpm: &Swtpm) -> u64 {
    let bytes = swtpm.tpm2("tpm2_nvread", &[&COUNTER.to_string()]).unwrap();
    u64::from_be_bytes(bytes.try_into().unwrap())
}

#[test]
fn tpm2_tools_see_the_indices_that_cos_makes() {
    if !require_swtpm("tpm2_tools_see_the_indices_that_cos_makes") {
        return;
    }
    let temp = temp_dir().unwrap();
    let swtpm = Swtpm::start(temp.path()).unwrap();
    let mut tpm = open(&swtpm);
    let public = NvPublic::counter(COUNTER);
    assert_eq!(tpm.nv_public(COUNTER).unwrap(), None);
    tpm.nv_define(&public).unwrap();
    let found = tpm.nv_public(COUNTER).unwrap().unwrap();
    assert!(found.is_like(&public) && !found.is_written());
    let error = tpm.nv_count(COUNTER).unwrap_err().to_string();
    assert!(error.contains("0x14a (TPM_RC_NV_UNINITIALIZED)"), "{error}");
    let error = tpm.nv_define(&public).unwrap_err().to_string();
    assert!(error.contains("0x14c (TPM_RC_NV_DEFINED)"), "{error}");
    tpm.nv_increment(COUNTER).unwrap();
    let first = tpm.nv_count(COUNTER).unwrap();
    assert!(tpm.nv_public(COUNTER).unwrap().unwrap().is_written());
    tpm.nv_increment(COUNTER).unwrap();
    let place = NvPublic::bytes(BYTES, 32);
    tpm.nv_define(&place).unwrap();
    let secret: [u8; 32] = std::array::from_fn(|at| at as u8);
    tpm.nv_write(BYTES, &secret).unwrap();
    assert_eq!(tpm.nv_read::<32>(BYTES).unwrap(), secret);
    drop(tpm);

    let shown = text(&swtpm, "tpm2_nvreadpublic", &[&COUNTER.to_string()]);
    for line in [
        "friendly: sha256",
        "ownerwrite|authwrite|nt=0x1|ownerread|authread|no_da|written",
        "size: 8",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert_eq!(count(&swtpm), first + 1);
    let read = swtpm.tpm2("tpm2_nvread", &[&BYTES.to_string()]).unwrap();
    assert_eq!(read, secret);
    swtpm
        .tpm2("tpm2_nvincrement", &[&COUNTER.to_string()])
        .unwrap();
    assert_eq!(open(&swtpm).nv_count(COUNTER).unwrap(), first + 2);

    // Power off and on; then the counter goes and comes again, and is not set back by that.
    drop(swtpm);
    let swtpm = Swtpm::start(temp.path()).unwrap();
    assert_eq!(open(&swtpm).nv_count(COUNTER).unwrap(), first + 2);
    let index = COUNTER.to_string();
    swtpm.tpm2("tpm2_nvundefine", &[&index, "-C", "o"]).unwrap();
    let mut tpm = open(&swtpm);
    tpm.nv_define(&public).unwrap();
    tpm.nv_increment(COUNTER).unwrap();
    assert_eq!(tpm.nv_count(COUNTER).unwrap(), first + 3);
}

#[test]
fn an_owner_with_a_password_is_told_and_what_is_there_still_counts() {
    if !require_swtpm("an_owner_with_a_password_is_told_and_what_is_there_still_counts") {
        return;
    }
    let temp = temp_dir().unwrap();
    let swtpm = Swtpm::start(temp.path()).unwrap();
    let mut tpm = open(&swtpm);
    tpm.nv_define(&NvPublic::counter(COUNTER)).unwrap();
    tpm.nv_increment(COUNTER).unwrap();
    let first = tpm.nv_count(COUNTER).unwrap();
    drop(tpm);
    swtpm
        .tpm2("tpm2_changeauth", &["-c", "o", "secret"])
        .unwrap();
    let mut tpm = open(&swtpm);
    tpm.nv_increment(COUNTER).unwrap();
    assert_eq!(tpm.nv_count(COUNTER).unwrap(), first + 1);
    let error = tpm.nv_define(&NvPublic::bytes(BYTES, 32)).unwrap_err();
    assert!(error.hint().unwrap().contains("password"), "{error}");
    let TpmError::Refused { code, .. } = error else {
        unreachable!("{error}");
    };
    assert!(code.is_authorization());
    drop(tpm);
    // The name is that of others, too.
    let said = text(
        &swtpm,
        "tpm2_rc_decode",
        &[&format!("{:#x}", code.number())],
    );
    let name = code.name().unwrap();
    assert_eq!(name, "TPM_RC_BAD_AUTH", "{said}");
    assert!(said.contains("authorization failure"), "{said}");
}

#[test]
fn where_there_is_no_tpm_there_is_none() {
    assert!(Tpm::open(Path::new("/dev/no-such-tpm")).unwrap().is_none());
    // Something that is none says nothing.
    let mut none = Tpm::open(Path::new("/dev/null")).unwrap().unwrap();
    let error = none.nv_public(COUNTER).unwrap_err().to_string();
    assert!(error.contains("ends too early"), "{error}");
}
