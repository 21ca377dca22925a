//! Multi-part MIME user-data: each part a document of its own.

use crate::document::{Form, Loaded, Strictness, load_text};
use mailparse::ParsedMail;

/// Most parts, nested ones too.
const MAX_PARTS: usize = 64;
/// Most headers that name a type, wherever they stand: each may open another level.
const MAX_TYPES: usize = 4 * MAX_PARTS;
/// Most lines that may part the parts; in documents such lines begin PEM blocks and YAML documents.
const MAX_DASHES: usize = 20_000;
/// Deepest nesting of multi-parts.
const MAX_DEPTH: usize = 4;

/// How far the headers of a source are looked for, in bytes.
const MAX_HEADERS: usize = 4096;

/// Whether a source is MIME: that shows in its first headers.
pub(crate) fn is_multipart(bytes: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_HEADERS)]).to_ascii_lowercase();
    let mut version = false;
    for (index, line) in head.lines().enumerate() {
        let name = line.split(':').next().unwrap_or_default();
        let header = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if let Some(kind) = line.strip_prefix("content-type:") {
            return version || kind.trim_start().starts_with("multipart/") || index == 0;
        } else if line.starts_with("mime-version:") {
            version = true;
        } else if line.starts_with([' ', '\t']) || (index == 0 && line.starts_with("from ")) {
        } else if name.is_empty() || name.len() == line.len() || !name.chars().all(header) {
            return false;
        }
    }
    false
}

/// Reads every part that says something.
pub(crate) fn load(source: &str, bytes: &[u8], strictness: Strictness) -> Loaded {
    // mailparse descends and divides without limits of its own. What it goes by are these lines,
    // whatever is written in them.
    let lines = |start: &[u8]| {
        let starts = |line: &&[u8]| {
            line.len() >= start.len() && line[..start.len()].eq_ignore_ascii_case(start)
        };
        bytes
            .split(|byte| matches!(byte, b'\n' | b'\r'))
            .filter(starts)
            .count()
    };
    if lines(b"content-type") > MAX_TYPES || lines(b"--") > MAX_DASHES {
        return Loaded::failed(source, format!("more than {MAX_PARTS} parts"));
    }
    // A mailbox's line, which some tools write, is no header.
    let mailbox = bytes
        .starts_with(b"From ")
        .then(|| bytes.iter().position(|byte| *byte == b'\n'));
    let bytes = mailbox.flatten().map_or(bytes, |end| &bytes[end + 1..]);
    let mut loaded = Loaded::default();
    match mailparse::parse_mail(bytes) {
        Ok(mail) => {
            let mut count = 0;
            part(source, &mail, strictness, 0, &mut count, &mut loaded);
        }
        Err(error) => {
            return Loaded::failed(source, format!("the MIME parts are damaged: {error}"));
        }
    }
    loaded
}

fn part(
    source: &str,
    mail: &ParsedMail<'_>,
    strictness: Strictness,
    depth: usize,
    count: &mut usize,
    loaded: &mut Loaded,
) {
    if !mail.subparts.is_empty() {
        if depth >= MAX_DEPTH {
            loaded.append(Loaded::failed(source, "MIME parts nest too deep"));
            return;
        }
        for inner in &mail.subparts {
            part(source, inner, strictness, depth + 1, count, loaded);
        }
        return;
    }
    *count += 1;
    if *count > MAX_PARTS {
        if *count == MAX_PARTS + 1 {
            let message = format!("more than {MAX_PARTS} parts; the others have no effect");
            loaded.append(Loaded::failed(source, message));
        }
        return;
    }
    let name = mail
        .get_content_disposition()
        .params
        .get("filename")
        .cloned()
        .unwrap_or_else(|| format!("part {count}"));
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    let source = format!("{source}[{name}]");
    let text = match mail.get_body() {
        Ok(text) => text,
        Err(error) => {
            loaded.append(Loaded::failed(&source, format!("undecodable: {error}")));
            return;
        }
    };
    match mail.ctype.mimetype.as_str() {
        "text/x-shellscript" if !text.starts_with("#!") => {
            let message = "a script starts with #! and the program that runs it";
            loaded.append(Loaded::failed(&source, message));
        }
        // The type says what the first line usually does.
        "text/cloud-config" => {
            loaded.append(load_text(&source, &text, Form::CloudConfig, strictness));
        }
        "text/x-shellscript" | "text/plain" | "text/yaml" | "application/yaml" => {
            loaded.append(load_text(&source, &text, Form::Shown, strictness));
        }
        other => {
            let message = format!("parts of type {other} are not understood");
            loaded.append(Loaded::failed(&source, message));
        }
    }
}
