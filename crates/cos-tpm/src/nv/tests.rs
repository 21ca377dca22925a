//! Commands byte for byte, and answers that are none.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::io;

const INDEX: NvIndex = NvIndex::of_owner(0x23_4F53);

/// A TPM that says what it was told to, in pieces of `piece` bytes.
struct Scripted {
    sent: Vec<u8>,
    answers: VecDeque<Vec<u8>>,
    piece: usize,
}

impl Read for Scripted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(answer) = self.answers.front_mut() else {
            return Ok(0);
        };
        let count = answer.len().min(self.piece).min(buffer.len());
        buffer[..count].copy_from_slice(&answer[..count]);
        answer.drain(..count);
        if answer.is_empty() {
            self.answers.pop_front();
        }
        Ok(count)
    }
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sent.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn tpm(answers: &[&[u8]], piece: usize) -> Tpm<Scripted> {
    Tpm::new(Scripted {
        sent: Vec::new(),
        answers: answers.iter().map(|it| it.to_vec()).collect(),
        piece,
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|it| !it.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// An answer without parameters to a command with an authorization.
const DONE: &str = "8002 00000013 00000000 00000000 0000 00 0000";

#[test]
fn commands_are_those_of_the_specification() {
    let mut it = tpm(&[&bytes(DONE)], 4096);
    it.nv_define(&NvPublic::counter(INDEX)).unwrap();
    assert_eq!(
        it.channel.sent,
        bytes(
            "8002 0000002d 0000012a 40000001 00000009 40000009 0000 00 0000 \
             0000 000e 01a34f53 000b 02060016 0000 0008"
        )
    );
    let mut it = tpm(&[&bytes(DONE)], 1);
    it.nv_increment(INDEX).unwrap();
    assert_eq!(
        it.channel.sent,
        bytes("8002 0000001f 00000134 01a34f53 01a34f53 00000009 40000009 0000 00 0000")
    );
    let mut it = tpm(&[&bytes(DONE)], 4096);
    it.nv_write(INDEX, b"ab").unwrap();
    assert_eq!(
        it.channel.sent,
        bytes(
            "8002 00000025 00000137 01a34f53 01a34f53 00000009 40000009 0000 00 0000 0002 6162 0000"
        )
    );
    let count = "8002 0000001d 00000000 0000000a 0008 0000000000000102 0000 00 0000";
    for piece in [1, 9, 11, 4096] {
        let mut it = tpm(&[&bytes(count)], piece);
        assert_eq!(it.nv_count(INDEX).unwrap(), 0x102);
    }
    let error = tpm(&[&bytes(count)], 4096).nv_read::<4>(INDEX).unwrap_err();
    assert!(error.to_string().contains("another length"), "{error}");
}

#[test]
fn an_index_is_there_or_not_or_another() {
    let none = bytes("8001 0000000a 0000018b");
    assert_eq!(tpm(&[&none], 4096).nv_public(INDEX).unwrap(), None);
    let public = |index: &str, attributes: &str| {
        bytes(&format!(
            "8001 00000020 00000000 000e {index} 000b {attributes} 0000 0008 0004 000b ffff"
        ))
    };
    let found = tpm(&[&public("01a34f53", "22060016")], 4096).nv_public(INDEX);
    let found = found.unwrap().unwrap();
    assert!(found.is_written() && found.is_like(&NvPublic::counter(INDEX)));
    let found = tpm(&[&public("01a34f53", "02060006")], 4096).nv_public(INDEX);
    let found = found.unwrap().unwrap();
    assert!(!found.is_written() && !found.is_like(&NvPublic::counter(INDEX)));
    let error = tpm(&[&public("01a34f54", "22060016")], 4096).nv_public(INDEX);
    assert!(error.unwrap_err().to_string().contains("another index"));
}

#[test]
fn a_tpm_without_time_is_asked_again_and_one_that_refuses_is_not() {
    let busy = bytes("8001 0000000a 00000922");
    let mut it = tpm(&[&busy, &busy, &bytes(DONE)], 4096);
    it.nv_increment(INDEX).unwrap();
    assert_eq!(it.channel.sent.len(), 3 * 0x1f);
    let refused = bytes("8001 0000000a 000009a2");
    let mut it = tpm(&[&refused], 4096);
    let error = it.nv_define(&NvPublic::counter(INDEX)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the TPM refuses TPM2_NV_DefineSpace: 0x9a2 (TPM_RC_BAD_AUTH)"
    );
    assert!(error.hint().unwrap().contains("password"));
}

#[test]
fn answers_that_are_none_are_errors() {
    for (answer, reason) in [
        ("", "ends too early"),
        ("8002 0000000a 0000", "ends too early"),
        ("8002 00000009 00000000", "size cannot be"),
        ("8002 00001001 00000000", "size cannot be"),
        ("8002 ffffffff 00000000", "size cannot be"),
        ("8001 0000000a 00000000", "tag is another"),
        ("8002 0000000a 00000000", "ends behind it"),
        ("8002 00000010 00000000 000000ff 0000", "ends behind it"),
        (
            "8002 00000010 00000000 00000002 0008 00",
            "longer than it says",
        ),
        ("8002 00000010 00000000 00000002 0008", "ends behind it"),
    ] {
        let error = tpm(&[&bytes(answer)], 4096).nv_count(INDEX).unwrap_err();
        assert!(error.to_string().contains(reason), "{answer}: {error}");
    }
}

proptest! {
    #[test]
    fn no_answer_does_harm(tail in prop::collection::vec(any::<u8>(), 0..64), open: bool, piece in 1usize..80) {
        let mut answer = bytes(if open { "8001" } else { "8002" });
        answer.extend((10 + tail.len() as u32).to_be_bytes());
        answer.extend([0; 4]);
        answer.extend(tail);
        let public = tpm(&[&answer], piece).nv_public(INDEX);
        prop_assert!(public.is_err() || open);
        let count = tpm(&[&answer], piece).nv_count(INDEX);
        prop_assert!(count.is_err() || !open);
    }
}
