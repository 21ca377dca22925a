//! Events and results for people (terminal) and programs (`--json` lines).

use cos_events::{Event, Monitor, TaskId, Unit};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::collections::HashMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Progress bars and sentences.
    Human,
    /// One JSON object a line, on standard output.
    Json,
}

/// Renders one operation. Results go to standard output, everything else to standard error.
pub(crate) struct Renderer {
    format: Format,
    bars: MultiProgress,
    running: Mutex<HashMap<TaskId, ProgressBar>>,
    cancelled: Arc<AtomicBool>,
}

impl Renderer {
    /// A renderer that asks operations to stop once `cancelled` is set.
    pub(crate) fn new(format: Format, quiet: bool, cancelled: Arc<AtomicBool>) -> Self {
        let show = format == Format::Human && !quiet && io::stderr().is_terminal();
        let target = if show {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bars = MultiProgress::with_draw_target(target);
        Self {
            format,
            bars,
            running: Mutex::default(),
            cancelled,
        }
    }

    /// Prints the result of a command: `text` for people, `value` (tagged `event: result`) for programs.
    pub(crate) fn result(&self, text: &str, value: &impl Serialize) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.format {
            Format::Human => out.write_all(text.as_bytes()),
            Format::Json => {
                let tagged = serde_json::json!({ "event": "result", "result": value });
                writeln!(out, "{tagged}")
            }
        }
    }

    /// Prints an error with its causes and its hint.
    pub(crate) fn error(
        &self,
        error: &dyn std::error::Error,
        hint: Option<&str>,
    ) -> io::Result<()> {
        let causes: Vec<String> = std::iter::successors(error.source(), |cause| cause.source())
            .map(ToString::to_string)
            .collect();
        if self.format == Format::Json {
            let mut out = io::stdout().lock();
            let message = error.to_string();
            let tagged = serde_json::json!({
                "event": "error", "message": message, "causes": causes, "hint": hint
            });
            return writeln!(out, "{tagged}");
        }
        let mut out = io::stderr().lock();
        writeln!(out, "error: {error}")?;
        for cause in &causes {
            writeln!(out, "  caused by: {cause}")?;
        }
        hint.map_or(Ok(()), |hint| writeln!(out, "hint: {hint}"))
    }

    fn show(&self, event: &Event) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started {
                task,
                label,
                total,
                unit,
            } => {
                let bar = self.bars.add(bar(*total, *unit));
                bar.set_message(label.clone());
                running.insert(*task, bar);
            }
            Event::Progress { task, done } => {
                if let Some(bar) = running.get(task) {
                    bar.set_position(*done);
                }
            }
            Event::Finished { task } | Event::Failed { task } => {
                if let Some(bar) = running.remove(task) {
                    bar.finish_and_clear();
                    self.bars.remove(&bar);
                }
            }
            Event::Warning { message } => {
                let line = format!("warning: {message}");
                self.bars
                    .suspend(|| print_line(&mut io::stderr().lock(), &line));
            }
        }
    }
}

impl Monitor for Renderer {
    fn report(&self, event: Event) {
        match self.format {
            Format::Human => self.show(&event),
            Format::Json => {
                if let Ok(line) = serde_json::to_string(&event) {
                    print_line(&mut io::stdout().lock(), &line);
                }
            }
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// A closed terminal or pipe must not stop a build that is under way.
fn print_line(out: &mut impl io::Write, line: &str) {
    drop(writeln!(out, "{line}"));
}

fn bar(total: Option<u64>, unit: Unit) -> ProgressBar {
    let template = match (total.is_some(), unit) {
        (true, Unit::Bytes) => "{msg:40!} [{bar:24}] {bytes}/{total_bytes} {bytes_per_sec}",
        (true, Unit::Items) => "{msg:40!} [{bar:24}] {pos}/{len}",
        (false, Unit::Bytes) => "{msg:40!} {spinner} {bytes} {bytes_per_sec}",
        (false, Unit::Items) => "{msg:40!} {spinner} {pos}",
    };
    let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
