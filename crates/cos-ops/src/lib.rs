//! What the verbs do. Each operation reads an image or probes a machine, plans, executes its plan, and reports
//! to a [`Monitor`](cos_events::Monitor) on the way.

pub mod build;
pub mod deploy;
pub mod feature;
pub mod hooks;
pub mod identity;
pub mod init;
pub mod install;
pub mod lint;
pub mod reset;
pub mod root;
pub mod stage;

mod error;

pub use error::{ErrorKind, OpsError};
