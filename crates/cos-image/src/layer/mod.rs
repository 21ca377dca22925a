//! Layers: from a compressed blob to a list of changes, in one pass.

pub(crate) mod decode;
pub(crate) mod entry;
mod header;
mod pax;
mod pipe;
mod problem;
mod sparse;
pub(crate) mod tar;

pub use problem::EntryError;

#[cfg(test)]
pub(crate) mod tests;
