//! Makes a root image with its hash tree from a directory, and says how long it took:
//! `mkroot DIRECTORY IMAGE none|lz4|zstd [THREADS]`.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_macros,
    reason = "a program of its own"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use cos_erofs::{Compression, Identity, KernelVersion, Options, Spool};
use std::error::Error;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, image, compression, rest @ ..] = arguments.as_slice() else {
        return Err("mkroot DIRECTORY IMAGE none|lz4|zstd [THREADS]".into());
    };
    let compression = match compression.as_str() {
        "none" => Compression::None,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd { level: 1 },
        other => return Err(format!("unknown compression {other}").into()),
    };
    let threads = rest.first().map_or(Ok(2), |text| text.parse())?;
    let options = Options::new(compression, KernelVersion::new(6, 12), threads);
    let start = Instant::now();
    let dir = Path::new(image).parent().unwrap_or(Path::new("."));
    let spool = Spool::new(dir, options, |path| path.starts_with(b"boot/"))?;
    let tree = support::load(Path::new(directory), &spool)?;
    let loaded = start.elapsed();
    let out = fs_err::File::create(image)?;
    let mut out = cos_verity::HashingWriter::new(out, threads)?;
    let summary = cos_erofs::write(
        &tree,
        &spool,
        &Identity::default(),
        &mut out,
        &cos_events::Silent,
    )?;
    let (_, verity) = out.finish()?;
    println!("{summary:?}");
    println!("root hash {} total {}", verity.root_hash, verity.total_size);
    println!(
        "spool {} bytes in {:.2} s, written after {:.2} s",
        spool.stored(),
        loaded.as_secs_f64(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}
