//! `/etc/cos/bootargs.cfg`: the kernel arguments of an image.
//!
//! The file is GRUB script for this field's older tools (`set kernelcmd="…"`), so it is read, not
//! run: the value of `kernelcmd` counts, and the words in it that other tools used to find their
//! root are dropped, since cOS says that itself.

use std::fmt;

/// Longest command line every supported architecture takes, less room for what cOS adds.
const MAX_LENGTH: usize = 1536;

/// Kernel arguments, safe to be put into a GRUB script and onto a kernel command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelArguments(String);

/// Why kernel arguments cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentsError {
    /// A character that GRUB or the kernel would take for something else.
    #[error("kernel arguments hold {0:?}, which cannot be passed on unchanged")]
    Character(char),
    /// Too long for the kernel.
    #[error("kernel arguments are {length} bytes long, at most {} fit", MAX_LENGTH)]
    TooLong {
        /// Bytes given.
        length: usize,
    },
    /// Not the form of a bootargs.cfg.
    #[error("line {0} of bootargs.cfg sets kernelcmd without closing its quote")]
    Unclosed(usize),
}

impl KernelArguments {
    /// Checks arguments given as one line.
    pub fn new(line: &str) -> Result<Self, ArgumentsError> {
        let forbidden =
            |c: char| c.is_control() || matches!(c, '$' | '\\' | '\'' | '"') || !c.is_ascii();
        if let Some(c) = line.chars().find(|&c| forbidden(c)) {
            return Err(ArgumentsError::Character(c));
        }
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let line = words.join(" ");
        if line.len() > MAX_LENGTH {
            return Err(ArgumentsError::TooLong { length: line.len() });
        }
        Ok(Self(line))
    }

    /// Reads a `bootargs.cfg`. The last `set kernelcmd=` wins; none means no arguments.
    pub fn from_bootargs(text: &str) -> Result<Self, ArgumentsError> {
        let mut found = String::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            let line = line.strip_prefix("set ").map_or(line, str::trim_start);
            let Some(value) = line.strip_prefix("kernelcmd=") else {
                continue;
            };
            let quoted = value.strip_prefix('"').map(|rest| rest.split_once('"'));
            found = match quoted {
                None => value
                    .split_ascii_whitespace()
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
                Some(Some((inside, _))) => inside.to_owned(),
                Some(None) => return Err(ArgumentsError::Unclosed(index + 1)),
            };
        }
        let kept: Vec<&str> = found
            .split_ascii_whitespace()
            .filter(|word| !is_foreign(word))
            .collect();
        Self::new(&kept.join(" "))
    }

    /// These arguments and then `more`.
    pub fn and(&self, more: &Self) -> Result<Self, ArgumentsError> {
        Self::new(&format!("{} {}", self.0, more.0))
    }

    /// The arguments as one line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KernelArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Words that tell another tool where its root is, or that only GRUB could expand.
fn is_foreign(word: &str) -> bool {
    const PREFIXES: [&str; 6] = [
        "root=",
        "cos-img/",
        "elemental.image=",
        "elemental.mode=",
        "elemental.snapshotter=",
        "cos.mode=",
    ];
    word.contains('$') || PREFIXES.iter().any(|prefix| word.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_tools_file_is_understood() {
        let text = r#"
# bootargs
set kernel=/boot/vmlinuz
if [ -n "$recoverylabel" ]; then
  set kernelcmd="root=live:LABEL=$recoverylabel"
else
  set kernelcmd="console=tty1 console=ttyS0 root=LABEL=$label cos-img/filename=$img panic=5"
fi
set initramfs=/boot/initrd
"#;
        let arguments = KernelArguments::from_bootargs(text).unwrap();
        assert_eq!(arguments.as_str(), "console=tty1 console=ttyS0 panic=5");
    }

    #[test]
    fn what_grub_would_expand_or_close_is_refused() {
        assert_eq!(
            KernelArguments::new("a='b'"),
            Err(ArgumentsError::Character('\''))
        );
        assert_eq!(
            KernelArguments::from_bootargs("set kernelcmd=\"a"),
            Err(ArgumentsError::Unclosed(1))
        );
        assert!(matches!(
            KernelArguments::new(&"x".repeat(4000)),
            Err(ArgumentsError::TooLong { length: 4000 })
        ));
    }
}
