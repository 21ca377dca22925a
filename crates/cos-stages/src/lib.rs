//! The cloud-config engine: documents become steps by stage, and stages are run.
//!
//! [`source`] finds documents, [`document`] reads them ([`yaml`] keeps positions, the types in
//! [`schema`] say what there is), [`plan`] puts the steps of a stage in order, [`run()`] carries them
//! out, and a [`summary`] says what came of each.
//!
//! The documents and their effects are those of yip (github.com/mudler/yip), which the cOS family has
//! always used, and what of cloud-init's `#cloud-config` its users expect first. Where this engine
//! differs on purpose is in the book, under "Differences from yip and cloud-init".

mod actions;
mod check;
pub mod cloud_config;
mod condition;
mod context;
mod decode;
pub mod diagnostic;
pub mod document;
pub mod dot_notation;
mod error;
pub mod explain;
mod facts;
mod mime;
pub mod plan;
mod run;
pub mod schema;
mod shell;
pub mod source;
pub mod summary;
pub mod yaml;

pub use context::{Datasources, Host, ImageUnpacker};
pub use diagnostic::{Diagnostic, Position, Severity};
pub use document::{Document, Loaded, Strictness, load};
pub use error::StepError;
pub use facts::Facts;
pub use run::{StageError, preview, run};
pub use source::{Reader, Source};
pub use summary::{StepResult, StepSummary, Summary};
