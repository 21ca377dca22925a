//! The serial port: what it says, kept and searched; what is typed on it.

use super::escape::Filter;
use crate::process;
use anyhow::{Context, bail};
use fs_err as fs;
use regex_lite::Regex;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many lines of the transcript an error shows.
const TAIL: usize = 40;

/// What has been heard so far.
#[derive(Debug, Default)]
struct Heard {
    text: String,
    ended: bool,
}

#[derive(Debug, Default)]
struct Shared {
    heard: Mutex<Heard>,
    more: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The console of one run of a machine.
#[derive(Debug)]
pub(super) struct Console {
    input: ChildStdin,
    shared: Arc<Shared>,
    /// Up to where the transcript has been matched.
    matched: usize,
}

impl Console {
    /// Listens on `output` from now on, appending what it says to the file `log`.
    pub(super) fn attach(
        input: ChildStdin,
        output: ChildStdout,
        log: &Path,
    ) -> anyhow::Result<Console> {
        let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
        let shared = Arc::new(Shared::default());
        let listener = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("console".into())
            .spawn(move || listen(output, log, &listener))
            .context("cannot start a thread for the console")?;
        Ok(Console {
            input,
            shared,
            matched: 0,
        })
    }

    pub(super) fn send(&mut self, text: &str) -> anyhow::Result<()> {
        self.input
            .write_all(text.as_bytes())
            .and_then(|()| self.input.flush())
            .with_context(|| format!("cannot type on the console; it said last:\n{}", self.tail()))
    }

    /// Waits for `regex` after the last match; returns the text from there to the match's end.
    pub(super) fn expect(&mut self, regex: &Regex, timeout: Duration) -> anyhow::Result<String> {
        let deadline = Instant::now() + timeout;
        let mut heard = self.shared.lock();
        loop {
            let new = &heard.text[self.matched..];
            if let Some(found) = regex.find(new) {
                let said = new[..found.end()].to_owned();
                self.matched += found.end();
                return Ok(said);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if heard.ended || left.is_zero() {
                let why = if heard.ended {
                    "the machine ended"
                } else {
                    "nothing within the time"
                };
                bail!(
                    "waited {timeout:?} for `{regex}`: {why}; it said last:\n{}",
                    process::tail(&heard.text, TAIL)
                );
            }
            heard = self
                .shared
                .more
                .wait_timeout(heard, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// The end of the transcript.
    pub(super) fn tail(&self) -> String {
        process::tail(&self.shared.lock().text, TAIL)
    }
}

fn listen(mut output: ChildStdout, mut log: fs::File, shared: &Shared) {
    let mut filter = Filter::default();
    let mut buffer = [0; 4096];
    loop {
        let count = match output.read(&mut buffer) {
            Ok(count) if count > 0 => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            _ => break,
        };
        let text = filter.text(&buffer[..count]);
        if let Err(error) = log.write_all(text.as_bytes()) {
            eprintln!("the console's transcript is not kept: {error}");
        }
        shared.lock().text.push_str(&text);
        shared.more.notify_all();
    }
    shared.lock().ended = true;
    shared.more.notify_all();
}
