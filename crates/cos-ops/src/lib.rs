//! What the verbs do. Each operation reads an image or probes a machine, plans, executes its plan, and reports
//! to a [`Monitor`](cos_events::Monitor) on the way.

pub mod assess;
pub mod build;
pub mod deploy;
pub mod feature;
pub mod hooks;
pub mod identity;
pub mod init;
pub mod install;
pub mod lint;
pub mod machine;
pub mod reset;
pub mod root;
pub mod sealed;
pub mod snapshots;
pub mod stage;
pub mod status;
pub mod trust;
pub mod upgrade;

mod error;

pub use error::{ErrorKind, OpsError};
