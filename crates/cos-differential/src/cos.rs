//! cOS' own reader.

use crate::listing::{Answer, Listed, sha256};
use cos_image::Limits;
use cos_image::fuzzing::{self, LayerMember};

/// As much as the other readers are made to read.
fn limits() -> Limits {
    Limits {
        file_size: 1 << 20,
        total_size: 1 << 24,
        ..Limits::default()
    }
}

pub(crate) fn read(archive: &[u8]) -> Answer {
    match fuzzing::list_layer(archive, &limits()) {
        Ok(members) => Answer::Members(members.iter().map(listed).collect()),
        Err(error) => Answer::Refused(reason(&error)),
    }
}

/// The last cause: why, without where.
fn reason(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

fn listed(member: &LayerMember) -> Listed {
    let is_file = member.kind == '-';
    let attributes = member.xattrs.iter();
    let attributes = attributes.map(|(name, value)| (hex::encode(name), hex::encode(value)));
    Listed {
        path: hex::encode(&member.path),
        kind: member.kind,
        link: match member.kind {
            'l' | 'h' => hex::encode(&member.link),
            _ => String::new(),
        },
        size: member.content.len() as u64,
        content: is_file.then(|| sha256(&member.content)),
        mode: u32::from(member.permissions),
        uid: i64::from(member.uid),
        gid: i64::from(member.gid),
        mtime: member.mtime,
        device: matches!(member.kind, 'c' | 'b')
            .then_some((u64::from(member.major), u64::from(member.minor))),
        attributes: Some(attributes.collect()),
        hole: member.hole,
    }
}
