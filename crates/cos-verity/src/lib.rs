//! The dm-verity hash tree.
