//! External programs: found once, run with their output caught, and named in every error.

#![expect(unsafe_code, reason = "chroot(2) between fork and exec")]

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Where programs are looked for when the caller names no search path: what root's login gets.
const DEFAULT_SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How much of a failed program's standard error its error message shows, in bytes.
const STDERR_SHOWN: usize = 2048;

/// Why an external program could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// Not installed.
    #[error("program {name} is not installed (looked in {searched})")]
    Missing {
        /// The program.
        name: String,
        /// The package that brings it.
        package: String,
        /// The search path used.
        searched: String,
    },
    /// Installed, but could not be started.
    #[error("cannot run {}", .program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Ran and failed.
    #[error("{command} failed ({status}){}", detail(.stderr))]
    Failed {
        /// The command line as it was run.
        command: String,
        /// Exit code or signal, in words.
        status: String,
        /// The end of its standard error.
        stderr: String,
    },
}

impl ToolError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { package, .. } => Some(format!("install the package {package}")),
            Self::Start { .. } | Self::Failed { .. } => None,
        }
    }
}

fn detail(stderr: &str) -> String {
    match stderr.trim() {
        "" => String::new(),
        text => format!(": {text}"),
    }
}

/// An external program that was found.
#[derive(Debug, Clone)]
pub struct Tool {
    program: PathBuf,
}

impl Tool {
    /// Looks for the program `name`, which `package` brings, along `search_path` (colon-separated
    /// like `PATH`; the usual system directories when `None`). A name with a slash is taken as it is.
    pub fn find(name: &str, package: &str, search_path: Option<&OsStr>) -> Result<Self, ToolError> {
        let search_path = search_path.unwrap_or(OsStr::new(DEFAULT_SEARCH_PATH));
        let candidates: Vec<PathBuf> = if name.contains('/') {
            vec![PathBuf::from(name)]
        } else {
            std::env::split_paths(search_path)
                .map(|directory| directory.join(name))
                .collect()
        };
        candidates
            .into_iter()
            .find(|path| is_executable(path))
            .map(|program| Self { program })
            .ok_or_else(|| ToolError::Missing {
                name: name.to_owned(),
                package: package.to_owned(),
                searched: search_path.to_string_lossy().into_owned(),
            })
    }

    /// Where the program is.
    pub fn path(&self) -> &Path {
        &self.program
    }

    /// A command to run the program, for callers that need more than [`Tool::run`]: pipes, working
    /// directory, environment.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the replacement that clippy.toml names"
    )]
    pub fn command(&self) -> Command {
        Command::new(&self.program)
    }

    /// Runs the program to its end with no input, and fails unless it exits with 0.
    pub fn run<I, S>(&self, args: I) -> Result<Output, ToolError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = self.command();
        command.args(args);
        run(command)
    }
}

/// The directories that programs are looked for in, first to last.
pub fn search_directories() -> impl Iterator<Item = &'static Path> {
    DEFAULT_SEARCH_PATH.split(':').map(Path::new)
}

/// A command for `program`, found along the usual directories, that runs in `root` (chroot(2)) with
/// its working directory there; in the running system when `None`.
#[expect(
    clippy::disallowed_methods,
    reason = "which program is there shows in the root alone, once it is entered"
)]
pub fn in_root(root: Option<&Path>, program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", DEFAULT_SEARCH_PATH).current_dir("/");
    if let Some(root) = root {
        let root = root.to_owned();
        // SAFETY: between fork and exec only chroot(2) and chdir(2) are called, which touch no memory
        // that another thread may hold locked; the path was made before.
        unsafe {
            std::os::unix::process::CommandExt::pre_exec(&mut command, move || {
                rustix::process::chroot(&root)?;
                rustix::process::chdir(c"/")?;
                Ok(())
            });
        }
    }
    command
}

/// Runs a prepared command to its end with no input, its output caught, and fails unless it exits
/// with 0.
pub fn run(mut command: Command) -> Result<Output, ToolError> {
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .map_err(|source| ToolError::Start {
            program: command.get_program().into(),
            source,
        })?;
    if output.status.success() {
        return Ok(output);
    }
    Err(ToolError::Failed {
        command: command_line(&command),
        status: output.status.to_string(),
        stderr: tail(&output.stderr),
    })
}

/// The command line as a shell would take it, near enough for people.
fn command_line(command: &Command) -> String {
    let mut words = vec![OsString::from(command.get_program())];
    words.extend(command.get_args().map(OsStr::to_owned));
    let quoted = words.iter().map(|word| {
        let word = word.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,@%^~".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word.into_owned()
        } else {
            format!("'{}'", word.escape_debug())
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// The last [`STDERR_SHOWN`] bytes as text.
fn tail(stderr: &[u8]) -> String {
    let start = stderr.len().saturating_sub(STDERR_SHOWN);
    String::from_utf8_lossy(&stderr[start..]).into_owned()
}

fn is_executable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
        && fs_err::metadata(path).is_ok_and(|meta| meta.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_its_package() {
        let error = Tool::find("no-such-program", "frobnicate", None).unwrap_err();
        assert!(error.to_string().contains("no-such-program"));
        assert_eq!(
            error.hint().as_deref(),
            Some("install the package frobnicate")
        );
    }

    #[test]
    fn a_search_path_is_honoured() {
        let empty = OsStr::new("/nonexistent");
        assert!(Tool::find("sh", "dash", Some(empty)).is_err());
        assert!(Tool::find("sh", "dash", Some(OsStr::new("/nonexistent:/bin"))).is_ok());
        assert!(Tool::find("/bin/sh", "dash", Some(empty)).is_ok());
    }

    #[test]
    fn a_directory_is_no_program() {
        assert!(Tool::find("bin", "x", Some(OsStr::new("/usr"))).is_err());
    }

    #[test]
    fn output_is_caught_and_failure_tells() {
        let sh = Tool::find("sh", "dash", None).unwrap();
        assert_eq!(sh.run(["-c", "echo hi"]).unwrap().stdout, b"hi\n");
        let error = sh.run(["-c", "echo bad >&2; exit 3"]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("exit status: 3") && text.ends_with(": bad"),
            "{text}"
        );
        assert!(text.contains("sh -c 'echo bad"), "{text}");
    }
}
