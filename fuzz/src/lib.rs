//! What the fuzz targets share.

mod memory;
mod server;
mod store;
mod tree;

pub use memory::MemoryFile;
pub use server::Server;
pub use store::{Count, Discard};
pub use tree::assert_tree;

/// Takes an input apart at its first bytes 0xFF, which no text holds. Missing parts are empty.
pub fn parts<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut parts = data.splitn(N, |&byte| byte == 0xff);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}
