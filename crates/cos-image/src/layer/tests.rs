//! Tar streams written byte by byte, and what becomes of them.

mod agreement;
mod decoding;
mod reading;
mod refusing;
pub(crate) mod support;
