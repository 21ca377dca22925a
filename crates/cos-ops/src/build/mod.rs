//! Media from images: `cos build`, `cos image root`.

pub mod disk;
pub mod iso;
pub mod payload;
pub mod plan;
pub mod root;
pub mod running;
pub mod sizes;
