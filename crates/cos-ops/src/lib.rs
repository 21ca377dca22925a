//! What the verbs do. Each operation reads an image or probes a machine, plans, executes its plan, and reports
//! to a [`Monitor`](cos_events::Monitor) on the way.

pub mod build;
pub mod feature;
pub mod identity;
pub mod init;
pub mod lint;
pub mod root;
pub mod stage;

mod error;

pub use error::{ErrorKind, OpsError};
