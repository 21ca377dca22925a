//! Running programs, with errors that say what was run and what it said.

use anyhow::{Context, bail};
use fs_err as fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// How many lines of a failed program's output an error carries.
const TAIL: usize = 25;

/// Renders a command the way it would be typed, roughly: for messages only.
pub fn display(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| {
            let word = word.to_string_lossy();
            if word.contains(' ') {
                format!("'{word}'")
            } else {
                word.into_owned()
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs a program with its output on the terminal. Anything but success is an error.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run `{}`", display(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", display(command));
    }
    Ok(())
}

/// Runs a program and returns what it wrote. Anything but success is an error that carries the
/// end of its output.
pub fn output(command: &mut Command) -> anyhow::Result<Output> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{}`", display(command)))?;
    if !output.status.success() {
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        bail!(
            "`{}` failed ({}):\n{}",
            display(command),
            output.status,
            tail(&said, TAIL)
        );
    }
    Ok(output)
}

/// Runs a program and returns its standard output as text, without the final newline.
pub fn text(command: &mut Command) -> anyhow::Result<String> {
    let output = output(command)?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned())
}

/// Whether a program can be run and succeeds; its output is discarded.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a program with its whole output in the file `log`. An error carries the log's end.
pub fn logged(command: &mut Command, log: &Path) -> anyhow::Result<()> {
    if let Some(parent) = log.parent() {
        fs::create_dir_all(parent)?;
    }
    let file = fs::File::create(log)?.into_file();
    let copy = file
        .try_clone()
        .with_context(|| format!("cannot share {}", log.display()))?;
    let status = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(copy)
        .status()
        .with_context(|| format!("cannot run `{}`", display(command)))?;
    if !status.success() {
        let said = String::from_utf8_lossy(&fs::read(log)?).into_owned();
        bail!(
            "`{}` failed ({status}); the end of {}:\n{}",
            display(command),
            log.display(),
            tail(&said, TAIL)
        );
    }
    Ok(())
}

/// The last `lines` lines of `text`.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_what_the_program_said() {
        let error =
            output(Command::new("sh").args(["-c", "echo out; echo oops >&2; exit 3"])).unwrap_err();
        let said = format!("{error:#}");
        assert!(
            said.contains("exit status: 3") && said.contains("out\noops"),
            "{said}"
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("cos-no-such-program")).unwrap_err();
        assert!(format!("{error:#}").contains("cos-no-such-program"));
    }

    #[test]
    fn a_log_keeps_everything_and_the_error_its_end() {
        let dir = crate::temp_dir().unwrap();
        let log = dir.path().join("sub/log");
        let error = logged(Command::new("sh").args(["-c", "seq 100; exit 1"]), &log).unwrap_err();
        assert!(format!("{error:#}").ends_with("99\n100"));
        assert_eq!(fs_err::read_to_string(&log).unwrap().lines().count(), 100);
    }
}
