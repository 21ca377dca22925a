//! Words with whoever sits at the machine: on every console, and past every log.

use super::EncryptionError;
use super::tools::Programs;
use fs_err::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// The kernel's consoles, by name.
const CONSOLES: &str = "/sys/class/tty/console/active";
/// A passphrase that is shorter is no protection of a disk.
const SHORTEST: usize = 8;

/// Shows a text on every console. It is in no log: it may hold a secret.
pub(super) fn show(text: &str) {
    let names = fs_err::read_to_string(CONSOLES).unwrap_or_default();
    let text = text.replace('\n', "\r\n");
    for name in names.split_ascii_whitespace() {
        let console = OpenOptions::new()
            .write(true)
            .open(Path::new("/dev").join(name));
        if let Ok(mut console) = console {
            // A console that nobody is at may well be one that cannot be written to.
            let _nobody_reads = console.write_all(text.as_bytes());
        }
    }
}

/// Asks on the consoles, for as long as it takes.
pub(super) fn ask(programs: &Programs, question: &str) -> Result<Vec<u8>, EncryptionError> {
    let said = programs.ask.run([
        "--timeout=0",
        "--icon=drive-harddisk",
        "--id=cos:persistent",
        question,
    ])?;
    let mut answer = said.stdout;
    if answer.last() == Some(&b'\n') {
        answer.pop();
    }
    Ok(answer)
}

/// Asks for a new passphrase, until the same one was typed twice.
pub(super) fn ask_for_new(programs: &Programs) -> Result<Vec<u8>, EncryptionError> {
    loop {
        let first = ask(programs, "New passphrase for the data of this machine:")?;
        if first.len() < SHORTEST {
            show(&format!(
                "\nA passphrase has at least {SHORTEST} characters.\n"
            ));
            continue;
        }
        if ask(programs, "The same passphrase again:")? == first {
            return Ok(first);
        }
        show("\nThat was not the same.\n");
    }
}

/// The text that shows a recovery key.
pub(super) fn recovery_text(key: &str) -> String {
    let line = "*".repeat(76);
    format!(
        "\n{line}\n The data of this machine are being encrypted. Their recovery key, shown this once:\n\n     \
         {key}\n\n Keep it away from the machine: in another machine, and after changes to the firmware's\n \
         keys, it is the only way to the data.\n{line}\n\n"
    )
}
