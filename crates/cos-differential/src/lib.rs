//! Layers read by cOS and by other people's readers, and compared.
//!
//! Two readers that understand one archive differently are a hole: what one of them checked is not what
//! the other unpacks. cOS' reader must therefore refuse whatever could be understood in two ways. This
//! makes archives that are a little wrong, gives them to GNU tar, Python's `tarfile` and libarchive
//! (which is `bsdtar`), and holds their answers against what cOS says.
//!
//! Development only, like `cos-testkit`.
#![allow(
    clippy::disallowed_methods,
    reason = "developer tooling: it runs programs"
)]

mod cos;
mod gnu;
mod listing;
mod mutate;
mod part;
mod python;
mod report;
mod run;

pub use listing::{Answer, Listed};
pub use mutate::Case;
pub use report::{Class, Finding, Report};
pub use run::{Readers, Verdict, run};
