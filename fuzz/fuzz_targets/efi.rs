//! A UEFI program, such as the stub that an image brings: what is made of it, and whether firmware would run it.
#![no_main]

use cos_efi::{Image, NewSection, SignatureList, Vouched, verify};
use libfuzzer_sys::fuzz_target;

const NEW: &str = ".new";
const CONTENTS: &[u8] = b"contents";

fn read(bytes: Vec<u8>) {
    let image = match Image::parse(bytes) {
        Ok(image) => image,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let digest = image.digest();
    // Nobody signs by chance; what lies behind the headers is also a database.
    let database = image.as_bytes().get(512..).unwrap_or_default();
    let vouched = verify(&image, database, None);
    assert!(matches!(vouched, Err(_) | Ok(Vouched::Digest)));
    assert!(verify(&image, SignatureList::default().as_bytes(), Some(database)).is_err());
    for section in image.sections() {
        assert!(section.contents.end <= image.as_bytes().len());
    }
    // The same bytes are the same image, and a section more leaves the others as they are.
    let again = Image::parse(image.as_bytes().to_vec()).unwrap();
    assert_eq!(again.digest(), digest);
    let new = NewSection {
        name: NEW,
        contents: CONTENTS,
        memory: 0,
    };
    let Ok(more) = image.add_sections(&[new]) else {
        return;
    };
    let more = Image::parse(more.into_bytes()).unwrap();
    assert_eq!(more.section(NEW), Some(CONTENTS));
    assert_eq!(more.sections().len(), again.sections().len() + 1);
    for section in again.sections() {
        assert_eq!(more.section(&section.name), again.section(&section.name));
    }
}

fuzz_target!(|data: &[u8]| {
    read(data.to_vec());
    // What stands in front is as it must be; the headers behind it are the fuzzer's.
    let mut framed = vec![0; 64];
    framed[..2].copy_from_slice(b"MZ");
    framed[60] = 64;
    framed.extend_from_slice(b"PE\0\0");
    framed.extend_from_slice(data);
    read(framed);
});
