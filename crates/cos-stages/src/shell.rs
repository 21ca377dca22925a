//! Commands of documents: run in the root, their output kept to its end.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How much of a command's output is kept, in bytes: its end.
const TAIL: usize = 8 << 10;
/// How long output is waited for after a command ended; what it left in the background may hold it
/// open for good.
const LINGER: Duration = Duration::from_millis(300);

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// The end of what it wrote, on both streams.
    pub(crate) output: String,
}

/// Runs programs in a root directory.
#[derive(Debug, Clone)]
pub(crate) struct Shell {
    /// `None`: the running system's own.
    root: Option<PathBuf>,
}

impl Shell {
    /// For commands in `root`; they are run in a chroot unless it is `/`.
    pub(crate) fn new(root: &Path) -> Self {
        let root = (root != Path::new("/")).then(|| root.to_owned());
        Self { root }
    }

    /// Runs a line with `sh -c`.
    pub(crate) fn line(&self, line: &str) -> io::Result<Ran> {
        self.run("/bin/sh", ["-c", line], &[])
    }

    /// Whether a program is there to be run.
    pub(crate) fn has(&self, name: &str) -> bool {
        let root = self.root.as_deref().unwrap_or(Path::new("/"));
        cos_sys::tool::search_directories().any(|directory| {
            let inside = directory.strip_prefix("/").unwrap_or(directory);
            // Where it leads is for the kernel to say when it is run; here a link counts.
            fs_err::symlink_metadata(root.join(inside).join(name)).is_ok()
        })
    }

    /// Runs a program, found along the usual directories, to its end.
    pub(crate) fn run<I, S>(
        &self,
        program: &str,
        arguments: I,
        environment: &[(&str, &str)],
    ) -> io::Result<Ran>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let (mut reader, writer) = io::pipe()?;
        let mut command = cos_sys::tool::in_root(self.root.as_deref(), program);
        command
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let mut child = command.spawn()?;
        // The writing ends in it must close, or the pipe never ends.
        drop(command);
        let tail = Arc::new(Mutex::new(VecDeque::with_capacity(TAIL)));
        let (ended, wait) = mpsc::channel::<()>();
        let kept = Arc::clone(&tail);
        std::thread::spawn(move || {
            keep_tail(&mut reader, &kept);
            drop(ended);
        });
        let status = child.wait()?;
        let _closed_or_late = wait.recv_timeout(LINGER);
        let bytes: Vec<u8> = tail
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .copied()
            .collect();
        Ok(Ran {
            status,
            output: String::from_utf8_lossy(&bytes).trim_end().to_owned(),
        })
    }
}

fn keep_tail(reader: &mut impl Read, tail: &Mutex<VecDeque<u8>>) {
    let mut buffer = [0; 4096];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
                tail.extend(&buffer[..count]);
                let over = tail.len().saturating_sub(TAIL);
                tail.drain(..over);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_output_is_kept() {
        let shell = Shell::new(Path::new("/"));
        let ran = shell.line("echo a; echo b >&2; exit 3").unwrap();
        assert_eq!((ran.status.code(), ran.output.as_str()), (Some(3), "a\nb"));
        let ran = shell.line("seq 100000").unwrap();
        assert!(ran.output.len() <= TAIL && ran.output.ends_with("\n100000"));
    }

    #[test]
    fn what_stays_in_the_background_is_not_waited_for() {
        let shell = Shell::new(Path::new("/"));
        let ran = shell.line("echo up; sleep 600 & echo $!").unwrap();
        let pid = ran.output.lines().nth(1).unwrap().to_owned();
        assert_eq!(
            shell.line(&format!("kill {pid}")).unwrap().status.code(),
            Some(0)
        );
    }
}
