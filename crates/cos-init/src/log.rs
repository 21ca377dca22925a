//! What the boot says: every line in the kernel log, warnings also in `/run/cos/boot.json`.

use cos_sys::system::{Severity, kmsg};

/// Takes the lines of one boot.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Warnings so far.
    pub warnings: Vec<String>,
}

impl Log {
    /// What happens.
    #[expect(clippy::unused_self, reason = "the log is where lines go, kept or not")]
    pub(crate) fn info(&self, text: &str) {
        write(Severity::Info, text);
    }

    /// Something is wrong and the boot goes on.
    pub(crate) fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        write(Severity::Warning, &format!("warning: {text}"));
        self.warnings.push(text);
    }
}

/// The boot stops here.
pub(crate) fn critical(text: &str) {
    write(Severity::Critical, text);
}

fn write(severity: Severity, text: &str) {
    // Without a kernel log there is nowhere left to complain.
    let _nowhere_to_tell = kmsg(severity, "cos-init", text);
}
