//! An image archive: `docker save` and a tarred OCI layout, to the last byte of its layers.
#![no_main]

use cos_events::Silent;
use cos_fuzz::{Discard, MemoryFile};
use cos_image::{Limits, Options, Platform, PlatformChoice, Selector, Source, load, resolve};
use libfuzzer_sys::fuzz_target;

/// Members as blocks of a tar: names and contents are the fuzzer's, the rest is right.
fn tar(members: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for member in members.split(|&byte| byte == 0xff).take(16) {
        let [name, content] = {
            let mut halves = member.splitn(2, |&byte| byte == b'\n');
            std::array::from_fn(|_| halves.next().unwrap_or_default())
        };
        let (link, name) = match name.split_first() {
            Some((b'>', name)) => (true, name),
            _ => (false, name),
        };
        let mut block = [0; 512];
        let length = name.len().min(100);
        block[..length].copy_from_slice(&name[..length]);
        block[100..108].copy_from_slice(b"0000644\0");
        let size = if link { 0 } else { content.len() };
        block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        block[148..156].fill(b' ');
        block[156] = if link { b'2' } else { b'0' };
        if link {
            let length = content.len().min(100);
            block[157..157 + length].copy_from_slice(&content[..length]);
        }
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&block);
        if !link {
            out.extend_from_slice(content);
            out.resize(out.len().next_multiple_of(512), 0);
        }
    }
    out.resize(out.len() + 1024, 0);
    out
}

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = data.split_first() else {
        return;
    };
    let bytes = if form & 1 == 0 {
        tar(data)
    } else {
        data.to_vec()
    };
    let file = MemoryFile::of(&bytes);
    let source = if form & 2 == 0 {
        Source::DockerArchive(file.path(), Selector::Only)
    } else {
        Source::OciArchive(file.path(), Selector::Tag("v1".into()))
    };
    let platform = PlatformChoice::Prefer(Platform::linux("amd64"));
    let mut options = Options::new(platform, "/nonexistent");
    options.limits = Limits {
        total_size: 1 << 24,
        ..Limits::default()
    };
    options.parallel_layers = Some(1);
    let loaded = resolve(&source, &options, &Silent)
        .and_then(|resolved| load(resolved, &Discard, &options, &Silent));
    if let Err(error) = loaded {
        assert!(!error.to_string().is_empty());
    }
});
