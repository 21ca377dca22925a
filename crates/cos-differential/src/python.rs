//! Readers that live in one Python process each: `tarfile`, and libarchive by its C interface.

use crate::listing::Answer;
use anyhow::Context as _;
use cos_testkit::tools;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const PROGRAM: &str = include_str!("readers.py");

/// A reader that takes one archive after the other.
#[derive(Debug)]
pub(crate) struct Python {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Python {
    /// Starts the reader of a name that `readers.py` knows.
    pub(crate) fn start(reader: &str) -> anyhow::Result<Self> {
        let mut child = Command::new(tools::debian_python()?)
            .args(["-c", PROGRAM, reader])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run python3")?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("python3 has no output")?;
        Ok(Self {
            child,
            input,
            output: BufReader::new(output),
        })
    }

    /// Sends an archive. The answer must be taken before the next.
    pub(crate) fn ask(&mut self, archive: &[u8]) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("the reader has ended")?;
        let length = u32::try_from(archive.len())?.to_le_bytes();
        input
            .write_all(&[&length[..], archive].concat())
            .and_then(|()| input.flush())
            .context("cannot send an archive to python3")
    }

    pub(crate) fn answer(&mut self) -> anyhow::Result<Answer> {
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .context("cannot read what python3 says")?;
        serde_json::from_str(&line)
            .with_context(|| format!("python3 does not answer but says: {line}"))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // The end of its input is its end.
        self.input = None;
        drop(self.child.wait());
    }
}
