//! What the system tests of this crate share.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test binary uses its own part"
)]

pub mod loop_disk;

use cos_disk::ext4::Ext4Tools;
use cos_sys::tool::{self, Tool};
use fs_err::File;
use std::ffi::OsStr;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A program, or a recorded skip of `test`.
pub fn find(test: &str, name: &str, package: &str) -> Option<Tool> {
    match Tool::find(name, package, None) {
        Ok(tool) => Some(tool),
        Err(error) => {
            cos_testkit::skip(test, &error.to_string());
            None
        }
    }
}

/// e2fsprogs as the library takes it, or a recorded skip of `test`.
pub fn ext4_tools(test: &str) -> Option<Ext4Tools> {
    match Ext4Tools::find(None) {
        Ok(tools) => Some(tools),
        Err(error) => {
            cos_testkit::skip(test, &error.to_string());
            None
        }
    }
}

/// Runs a program that must succeed; what it said on both outputs.
pub fn run<S: AsRef<OsStr>>(tool: &Tool, args: &[S]) -> String {
    let output = tool.run(args).unwrap_or_else(|error| panic!("{error}"));
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text += &String::from_utf8_lossy(&output.stderr);
    text
}

/// Runs a program in a directory; it must succeed.
pub fn run_in<S: AsRef<OsStr>>(tool: &Tool, directory: &Path, args: &[S]) -> String {
    let mut command = tool.command();
    command.current_dir(directory).args(args);
    let output = tool::run(command).unwrap_or_else(|error| panic!("{error}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A new file, open for reading and writing.
pub fn create(path: &Path) -> File {
    let mut options = fs_err::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    options.open(path).unwrap()
}

/// Bytes that no compression or zero detection makes less of.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Whether two files hold the same bytes.
pub fn same(a: &Path, b: &Path) -> bool {
    let (a, b) = (File::open(a).unwrap(), File::open(b).unwrap());
    let length = a.metadata().unwrap().len();
    if b.metadata().unwrap().len() != length {
        return false;
    }
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    (0..length).step_by(1 << 20).all(|at| {
        let part = (length - at).min(1 << 20) as usize;
        a.file().read_exact_at(&mut left[..part], at).unwrap();
        b.file().read_exact_at(&mut right[..part], at).unwrap();
        left[..part] == right[..part]
    })
}
