//! What the running system learns of its boot: `/run/cos/boot.json` and the sentinel of its mode.

use crate::cmdline::CommandLine;
use std::fmt::Write as _;

/// The facts of one boot.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    /// What the boot loader asked for.
    pub cmdline: &'a CommandLine,
    /// Device of the source.
    pub source: String,
    /// The verified device.
    pub root: String,
    /// Device of COS_OEM, when mounted.
    pub oem: Option<String>,
    /// Whether persistent paths are kept.
    pub persistent: bool,
    /// What went wrong without stopping the boot.
    pub warnings: &'a [String],
}

impl Report<'_> {
    /// One JSON object.
    pub(crate) fn to_json(&self) -> String {
        let mut out = String::from("{\n");
        let mut field = |name: &str, value: &str| {
            // Writing to a String cannot fail.
            let _infallible = writeln!(out, "  \"{name}\": {value},");
        };
        field("mode", &quote(self.cmdline.mode.name()));
        field("snapshot", &quote(&self.cmdline.snapshot));
        field("root_hash", &quote(&self.cmdline.root_hash.to_string()));
        field("source", &quote(&self.source));
        field("root_device", &quote(&self.root));
        let oem = self.oem.as_deref().map_or("null".to_owned(), quote);
        field("oem_device", &oem);
        for (name, value) in [
            ("trial", self.cmdline.trial),
            ("fallback", self.cmdline.fallback),
            ("sealed", self.cmdline.sealed),
            ("encrypted", self.cmdline.encrypted),
        ] {
            field(name, if value { "true" } else { "false" });
        }
        field("persistent", if self.persistent { "true" } else { "false" });
        let warnings: Vec<String> = self.warnings.iter().map(|text| quote(text)).collect();
        let _infallible = write!(out, "  \"warnings\": [{}]\n}}\n", warnings.join(", "));
        out
    }
}

/// A JSON string (RFC 8259 §7).
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if u32::from(c) < 0x20 => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        assert_eq!(quote("a\"b\\c\nü"), r#""a\"b\\c\u000aü""#);
    }

    #[test]
    fn the_report_is_an_object() {
        let hash = "ab".repeat(32);
        let cmdline = CommandLine::parse(&format!(
            "cos.mode=live cos.trial cos.source=LABEL=X cos.snapshot=7 cos.roothash={hash}"
        ))
        .unwrap();
        let warnings = ["one".to_owned(), "two".to_owned()];
        let report = Report {
            cmdline: &cmdline,
            source: "/dev/sr0".into(),
            root: "/dev/mapper/cos-root".into(),
            oem: None,
            persistent: false,
            warnings: &warnings,
        };
        assert_eq!(
            report.to_json(),
            format!(
                "{{\n  \"mode\": \"live\",\n  \"snapshot\": \"7\",\n  \"root_hash\": \"{hash}\",\n  \
                 \"source\": \"/dev/sr0\",\n  \"root_device\": \"/dev/mapper/cos-root\",\n  \
                 \"oem_device\": null,\n  \"trial\": true,\n  \"fallback\": false,\n  \"sealed\": false,\n  \
                 \"encrypted\": false,\n  \"persistent\": false,\n  \"warnings\": [\"one\", \"two\"]\n}}\n"
            )
        );
    }
}
