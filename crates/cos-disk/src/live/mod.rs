//! Partitions of a live disk: what the cloud-config step `layout` does.
//!
//! The disk is inspected, [`plan()`] says what has to change, and [`apply`] does it: the table is
//! written once, after everything was checked, then the kernel is told, then file systems are made
//! and grown. Repeating a request changes nothing; a request that was interrupted is finished by the
//! next one. Nothing is ever shrunk, moved or deleted, and no file system is written over. For this
//! reason a partition is left alone, with a warning, when the power went while the tool that makes its
//! file system was at work: it cannot be told from one that somebody uses in a way not known here.
//!
//! As in yip, partitions are added first, and then the last partition of the disk is expanded, which
//! may be an added one.
//!
//! GUID partition tables only (see [`cos_sys::gpt`]). File systems are made by their own tools.

pub mod plan;
pub mod request;
pub mod state;

mod apply;
mod content;
mod disk;
mod error;
mod grow;
mod inspect;
mod kernel;
mod make;
mod mounts;
mod whole;

pub use apply::{LayoutOutcome, Machine, apply};
pub use content::{Content, probe, probe_at};
pub use error::LayoutError;
pub use make::{Maker, claim};
pub use mounts::mount_points;
pub use plan::{Change, LayoutPlan, plan};
pub use request::{FileSystem, LayoutRequest, NewPartition, Target};
pub use state::{DiskState, Occupant, TableState};
pub use whole::{ClaimedDisk, Survey, SurveyedPartition, WholeContent};
