//! System calls: loop, device-mapper, mounts, external tools; the only unsafe code.

pub mod block;
pub mod checkpoint;
pub mod detached_mount;
pub mod device_mapper;
pub mod device_spec;
pub mod ext4;
pub mod gpt;
mod ioctl;
pub mod locate;
pub mod lock;
pub mod loop_device;
pub mod mount;
pub mod probe;
pub mod root_file;
pub mod root_path;
pub mod system;
pub mod tool;
