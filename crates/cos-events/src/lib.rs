//! One stream of events for every long operation.
//!
//! An operation is given a [`Monitor`]. It reports what it is doing ([`Event`]) and asks, at
//! points where stopping is safe, whether it should stop ([`Monitor::checkpoint`]). What becomes of
//! the events (progress bars, `--json` lines, a fleet agent) is the monitor's business alone.

use serde::Serialize;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names one task for as long as it runs; unique within the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct TaskId(u64);

/// What the numbers of a task count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bytes moved.
    Bytes,
    /// Things done: layers, files, checks.
    Items,
}

/// Something that happened in an operation.
///
/// Serialises to the objects of the `--json` stream, tagged by `event`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A task began.
    Started {
        /// Which task.
        task: TaskId,
        /// What it does, for people: `fetch layer sha256:ab12…`.
        label: String,
        /// How much there is to do, when known.
        #[serde(skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
        /// What the numbers count.
        unit: Unit,
    },
    /// A task moved on.
    Progress {
        /// Which task.
        task: TaskId,
        /// Done so far, from zero.
        done: u64,
    },
    /// A task ended well.
    Finished {
        /// Which task.
        task: TaskId,
    },
    /// A task ended without reaching its end; the operation's error says why.
    Failed {
        /// Which task.
        task: TaskId,
    },
    /// Something the user should know that stops nothing.
    Warning {
        /// The whole message.
        message: String,
    },
}

/// The operation was asked to stop, and did at a point where nothing is half-written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cancelled")
    }
}

impl std::error::Error for Cancelled {}

/// Watches an operation: takes its events, and may ask it to stop.
pub trait Monitor: Sync {
    /// Takes one event. Called from any thread, often; must not block for long.
    fn report(&self, event: Event);

    /// Whether the operation should stop as soon as it safely can.
    fn is_cancelled(&self) -> bool {
        false
    }

    /// Fails if the operation should stop: `monitor.checkpoint()?` between units of work.
    fn checkpoint(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() {
            Err(Cancelled)
        } else {
            Ok(())
        }
    }
}

/// A monitor that ignores everything and never asks to stop.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Monitor for Silent {
    fn report(&self, _: Event) {}
}

/// Reports [`Event::Warning`].
pub fn warn(monitor: &dyn Monitor, message: impl Into<String>) {
    monitor.report(Event::Warning {
        message: message.into(),
    });
}

/// A running task. Reports its start when made, its end when [finished](Task::finish), and
/// [`Event::Failed`] if dropped before that.
pub struct Task<'m> {
    monitor: &'m dyn Monitor,
    id: TaskId,
    done: AtomicU64,
    reported: AtomicU64,
    finished: bool,
}

/// Progress is reported at most once per this many units, so that a fast loop is not slowed.
const REPORT_EVERY_BYTES: u64 = 1 << 20;

impl<'m> Task<'m> {
    /// Starts a task that counts bytes.
    pub fn bytes(monitor: &'m dyn Monitor, label: impl Into<String>, total: Option<u64>) -> Self {
        Self::start(monitor, label.into(), total, Unit::Bytes)
    }

    /// Starts a task that counts things.
    pub fn items(monitor: &'m dyn Monitor, label: impl Into<String>, total: Option<u64>) -> Self {
        Self::start(monitor, label.into(), total, Unit::Items)
    }

    fn start(monitor: &'m dyn Monitor, label: String, total: Option<u64>, unit: Unit) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = TaskId(NEXT.fetch_add(1, Ordering::Relaxed));
        monitor.report(Event::Started {
            task: id,
            label,
            total,
            unit,
        });
        let done = AtomicU64::new(0);
        Self {
            monitor,
            id,
            done,
            reported: AtomicU64::new(0),
            finished: false,
        }
    }

    /// Adds to what is done. May be called from several threads.
    pub fn advance(&self, amount: u64) {
        let done = self.done.fetch_add(amount, Ordering::Relaxed) + amount;
        let reported = self.reported.load(Ordering::Relaxed);
        if done - reported.min(done) >= REPORT_EVERY_BYTES || amount < 64 {
            self.reported.store(done, Ordering::Relaxed);
            self.monitor.report(Event::Progress {
                task: self.id,
                done,
            });
        }
    }

    /// Ends the task well.
    pub fn finish(mut self) {
        self.finished = true;
        self.monitor.report(Event::Finished { task: self.id });
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.monitor.report(Event::Failed { task: self.id });
        }
    }
}

impl fmt::Debug for Task<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.id)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Recorder(Mutex<Vec<Event>>);
    impl Monitor for Recorder {
        fn report(&self, event: Event) {
            self.0.lock().unwrap().push(event);
        }
    }

    #[test]
    fn a_task_dropped_early_has_failed() {
        let recorder = Recorder::default();
        drop(Task::items(&recorder, "a", None));
        Task::bytes(&recorder, "b", Some(1)).finish();
        let events = recorder.0.into_inner().unwrap();
        assert!(matches!(events[1], Event::Failed { .. }));
        assert!(matches!(events[3], Event::Finished { .. }));
    }
}
