//! The kernel command line: what the boot loader tells.

use crate::volume::Volume;
use cos_sys::device_spec::DeviceSpec;
use cos_verity::RootHash;
use std::fmt;
use std::time::Duration;

/// Longest command line looked at; every architecture's kernel takes less.
const MAX_LENGTH: usize = 64 * 1024;
/// How long devices may take to appear, in seconds: the default and the most that is believed.
const DEFAULT_TIMEOUT: u64 = 60;
const MAX_TIMEOUT: u64 = 600;
/// COS_OEM is on the disk that was found already; it does not come much later.
const DEFAULT_OEM_TIMEOUT: u64 = 5;
/// Longest name of a snapshot.
const MAX_SNAPSHOT: usize = 64;

/// Which system this boot is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The installed system.
    Active,
    /// An older one kept behind it.
    Passive,
    /// The recovery system: everything in memory.
    Recovery,
    /// From a live medium: everything in memory.
    Live,
}

impl Mode {
    /// Its word on the command line and in file names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::Recovery => "recovery",
            Self::Live => "live",
        }
    }

    /// Whether what is written survives a reboot.
    pub(crate) fn is_persistent(self) -> bool {
        matches!(self, Self::Active | Self::Passive)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where changes to ephemeral paths are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OverlaySpec {
    /// In memory, up to this size (`20%`, `512m`).
    Tmpfs(String),
    /// On a device.
    Device(DeviceSpec),
}

impl OverlaySpec {
    /// Parses `tmpfs[:SIZE]`, `LABEL=…` or `UUID=…`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("tmpfs") {
            let size = rest.strip_prefix(':').unwrap_or(rest);
            let digits = size.trim_end_matches(['%', 'k', 'K', 'm', 'M', 'g', 'G']);
            if size.is_empty() {
                return Ok(Self::default());
            }
            let one_unit = size.len() - digits.len() <= 1;
            if rest.starts_with(':') && one_unit && digits.parse::<u64>().is_ok_and(|n| n > 0) {
                return Ok(Self::Tmpfs(size.to_owned()));
            }
            return Err(format!(
                "{text:?} is no overlay: use tmpfs:20% or tmpfs:512m"
            ));
        }
        DeviceSpec::parse(text).map(Self::Device)
    }
}

impl Default for OverlaySpec {
    fn default() -> Self {
        Self::Tmpfs("20%".to_owned())
    }
}

/// What the command line asks for, checked.
#[expect(clippy::struct_excessive_bools, reason = "each is a word of its own")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// `cos.mode=`
    pub mode: Mode,
    /// `cos.source=`: what holds the snapshots.
    pub source: DeviceSpec,
    /// `cos.snapshot=`
    pub snapshot: String,
    /// `cos.roothash=`
    pub root_hash: RootHash,
    /// `cos.trial`: the snapshot has not had a good boot yet.
    pub trial: bool,
    /// `cos.fallback`: something that comes before it was given up.
    pub fallback: bool,
    /// `cos.sealed`: the line is signed, and the boot loader's variables say the rest.
    pub sealed: bool,
    /// `cos.encrypt` on a signed line: COS_OEM and COS_PERSISTENT are encrypted.
    pub encrypted: bool,
    /// `cos.timeout=`: how long to wait for the source.
    pub timeout: Duration,
    /// `rd.cos.overlay=`
    pub overlay: Option<OverlaySpec>,
    /// `rd.cos.mount=`, each.
    pub volumes: Vec<Volume>,
    /// `rd.cos.debugrw`
    pub debug_rw: bool,
    /// `rd.cos.oemlabel=`
    pub oem_label: String,
    /// `rd.cos.oemtimeout=`
    pub oem_timeout: Duration,
    /// Words that were not understood and do not stop the boot.
    pub warnings: Vec<String>,
}

/// Why a command line cannot be booted from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandLineError {
    #[error("the kernel command line has no {0}, which the boot loader must give")]
    Missing(&'static str),
    #[error("the kernel command line has {key}={value:?}, which is not {expected}")]
    Bad {
        key: &'static str,
        value: String,
        expected: String,
    },
    #[error("the kernel command line is {0} bytes long")]
    TooLong(usize),
}

/// Splits a command line into words as the kernel and systemd do: at blanks outside of quotes, the
/// quotes themselves dropped.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None::<String>;
    let mut quote = None;
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_ascii_whitespace() || c == '\0' => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The words of a command line as keys and values.
struct Words(Vec<(String, Option<String>)>);

impl Words {
    fn split(text: &str) -> Self {
        let pair = |word: String| match word.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        Self(words(text).into_iter().map(pair).collect())
    }

    fn all<'s, 'k>(
        &'s self,
        key: &'k str,
    ) -> impl DoubleEndedIterator<Item = Option<&'s str>> + use<'s, 'k> {
        self.0
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_deref())
    }

    /// The last value of a key: later words override, as everywhere on this line.
    fn value(&self, key: &str) -> Option<&str> {
        self.all(key).next_back().flatten()
    }

    fn required(&self, key: &'static str) -> Result<&str, CommandLineError> {
        self.value(key).ok_or(CommandLineError::Missing(key))
    }

    /// A switch: there, and not said to be off.
    fn switch(&self, key: &str) -> bool {
        self.all(key)
            .next_back()
            .is_some_and(|value| value.is_none_or(|value| parse_bool(value).unwrap_or(true)))
    }

    fn seconds(&self, key: &'static str, default: u64) -> Result<Duration, CommandLineError> {
        let Some(value) = self.value(key) else {
            return Ok(Duration::from_secs(default));
        };
        match value.parse() {
            Ok(seconds) if seconds <= MAX_TIMEOUT => Ok(Duration::from_secs(seconds)),
            _ => Err(bad(
                key,
                value,
                format!("a number of seconds up to {MAX_TIMEOUT}"),
            )),
        }
    }
}

fn bad(key: &'static str, value: &str, expected: impl Into<String>) -> CommandLineError {
    CommandLineError::Bad {
        key,
        value: value.chars().take(200).collect(),
        expected: expected.into(),
    }
}

/// The words that mean yes and no to systemd.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

/// Whether a person asked for a shell instead of a reboot when the boot fails: `rd.shell`,
/// `rd.break`.
pub(crate) fn wants_shell(text: &str) -> bool {
    let words = Words::split(text);
    words.switch("rd.shell") || words.switch("rd.break")
}

/// Whether the boot is another tool's business: `rd.cos.disable`.
pub(crate) fn is_disabled(text: &str) -> bool {
    Words::split(text).switch("rd.cos.disable")
}

/// Whether the line is a signed one, and the boot loader's variables say the rest: `cos.sealed`.
pub(crate) fn is_sealed(text: &str) -> bool {
    Words::split(text).switch("cos.sealed")
}

/// Whether the line is a signed one of a system whose data are encrypted: `cos.encrypt`.
pub(crate) fn is_encrypted(text: &str) -> bool {
    is_sealed(text) && Words::split(text).switch("cos.encrypt")
}

impl CommandLine {
    /// Parses `/proc/cmdline`.
    pub(crate) fn parse(text: &str) -> Result<Self, CommandLineError> {
        if text.len() > MAX_LENGTH {
            return Err(CommandLineError::TooLong(text.len()));
        }
        let words = Words::split(text);
        let source = words.required("cos.source")?;
        let mode = words.required("cos.mode")?;
        let snapshot = words.required("cos.snapshot")?;
        let root_hash = words.required("cos.roothash")?;
        let mut warnings = Vec::new();
        let mut volumes = Vec::new();
        for text in words.all("rd.cos.mount").flatten() {
            match Volume::parse(text) {
                Ok(volume) => volumes.push(volume),
                Err(why) => warnings.push(format!("rd.cos.mount: {why}")),
            }
        }
        let overlay = words.value("rd.cos.overlay").map(OverlaySpec::parse);
        let overlay = overlay.and_then(|parsed| {
            parsed
                .map_err(|why| warnings.push(format!("rd.cos.overlay: {why}")))
                .ok()
        });
        Ok(Self {
            mode: parse_mode(mode)?,
            source: DeviceSpec::parse(source)
                .map_err(|_| bad("cos.source", source, "PARTUUID=, UUID=, LABEL= or /dev/…"))?,
            snapshot: parse_snapshot(snapshot)?,
            root_hash: root_hash
                .parse()
                .map_err(|_| bad("cos.roothash", root_hash, "64 hexadecimal digits"))?,
            trial: words.switch("cos.trial"),
            fallback: words.switch("cos.fallback"),
            sealed: words.switch("cos.sealed"),
            encrypted: is_encrypted(text),
            timeout: words.seconds("cos.timeout", DEFAULT_TIMEOUT)?,
            overlay,
            volumes,
            debug_rw: words.switch("rd.cos.debugrw"),
            oem_label: words
                .value("rd.cos.oemlabel")
                .unwrap_or("COS_OEM")
                .to_owned(),
            oem_timeout: words.seconds("rd.cos.oemtimeout", DEFAULT_OEM_TIMEOUT)?,
            warnings,
        })
    }
}

fn parse_mode(text: &str) -> Result<Mode, CommandLineError> {
    [Mode::Active, Mode::Passive, Mode::Recovery, Mode::Live]
        .into_iter()
        .find(|mode| mode.name() == text)
        .ok_or_else(|| bad("cos.mode", text, "active, passive, recovery or live"))
}

/// A snapshot's name becomes part of a path.
fn parse_snapshot(text: &str) -> Result<String, CommandLineError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if text.is_empty()
        || text.len() > MAX_SNAPSHOT
        || text.starts_with('.')
        || !text.chars().all(allowed)
    {
        return Err(bad("cos.snapshot", text, "a snapshot's name"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn line(more: &str) -> String {
        format!(
            "BOOT_IMAGE=/x cos.mode=active cos.source=PARTUUID=ABCD-01 cos.snapshot=1 cos.roothash={HASH} {more}"
        )
    }

    #[test]
    fn quotes_are_taken_off_as_the_kernel_does() {
        assert_eq!(
            words("a \"b c\"  d=\"e f\" 'g h' \"\" i\"j k\"l\n"),
            ["a", "b c", "d=e f", "g h", "", "ij kl"]
        );
    }

    #[test]
    fn the_boot_loaders_words_are_understood() {
        let parsed = CommandLine::parse(&line("rd.cos.overlay=tmpfs:30% quiet")).unwrap();
        assert_eq!(parsed.mode, Mode::Active);
        assert_eq!(parsed.source, DeviceSpec::PartitionUuid("abcd-01".into()));
        assert_eq!(parsed.root_hash.to_string(), HASH);
        assert_eq!(parsed.timeout, Duration::from_mins(1));
        assert_eq!(parsed.overlay, Some(OverlaySpec::Tmpfs("30%".into())));
        assert!(!parsed.debug_rw && parsed.warnings.is_empty());
        assert!(!parsed.trial && !parsed.fallback);
        let parsed = CommandLine::parse(&line("cos.fallback cos.trial")).unwrap();
        assert!(parsed.trial && parsed.fallback);
        let encrypted = |more| CommandLine::parse(&line(more)).unwrap().encrypted;
        assert!(encrypted("cos.sealed cos.encrypt"));
        assert!(!encrypted("cos.sealed") && !encrypted("cos.encrypt"));
    }

    #[test]
    fn later_words_override_and_mounts_add_up() {
        let parsed = CommandLine::parse(&line(
            "cos.mode=recovery rd.cos.debugrw rd.cos.mount=LABEL=A:/a rd.cos.mount=oops rd.cos.mount=LABEL=B:/b cos.timeout=5",
        ))
        .unwrap();
        assert_eq!(parsed.mode, Mode::Recovery);
        assert!(parsed.debug_rw);
        assert_eq!(parsed.volumes.len(), 2);
        assert_eq!(parsed.warnings.len(), 1);
        assert_eq!(parsed.timeout, Duration::from_secs(5));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        assert_eq!(
            CommandLine::parse("quiet"),
            Err(CommandLineError::Missing("cos.source"))
        );
        for (more, word) in [
            ("cos.mode=x", "cos.mode"),
            ("cos.roothash=12", "cos.roothash"),
            ("cos.snapshot=../../etc", "cos.snapshot"),
            ("cos.snapshot=.", "cos.snapshot"),
            ("cos.source=sda", "cos.source"),
            ("cos.timeout=1e9", "cos.timeout"),
        ] {
            let error = CommandLine::parse(&line(more)).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn switches_can_be_switched_off() {
        assert!(wants_shell("rd.shell"));
        assert!(wants_shell("rd.break=pre-mount"));
        assert!(!wants_shell("rd.shell=0 quiet"));
        assert!(is_disabled("rd.cos.disable=1"));
        assert!(!is_disabled("rd.cos.disable=no xrd.cos.disable"));
    }

    #[test]
    fn overlays_are_checked() {
        assert_eq!(
            OverlaySpec::parse("tmpfs"),
            Ok(OverlaySpec::Tmpfs("20%".into()))
        );
        assert!(OverlaySpec::parse("tmpfs:20%,exec").is_err());
        assert!(OverlaySpec::parse("tmpfs20%").is_err());
        assert!(OverlaySpec::parse("tmpfs:0").is_err());
        assert!(matches!(
            OverlaySpec::parse("LABEL=X"),
            Ok(OverlaySpec::Device(_))
        ));
    }
}
