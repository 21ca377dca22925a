//! Whole disks: installed, upgraded, reset and booted by the real operations of `cos-ops` on loop devices,
//! recorded, and looked at after every cut.

mod check;
mod grub;
mod histories;
mod history;
mod loop_disk;
mod machine;
mod recorded;
mod view;

pub use check::{Expected, bring_up};
pub use histories::Histories;
pub use history::DiskHistory;
pub(crate) use history::observe;
pub use loop_disk::{LoopDisk, parts_of};
pub(crate) use machine::Look;
pub use machine::{Images, MIB, Running, upgrade_at};
pub use recorded::{Data, Recorded};
pub use view::{Absent, DiskKnown, DiskView, look_at};
