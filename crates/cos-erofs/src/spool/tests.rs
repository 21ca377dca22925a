//! Contents come back as they went in, whatever way they went in.

use super::*;
use crate::{Compression, KernelVersion};

fn spool(compression: Compression, threads: usize) -> Spool {
    let mut options = Options::new(compression, KernelVersion::new(6, 12), threads);
    options.chunk_size = 16 * 1024;
    let dir = std::env::temp_dir();
    Spool::new(&dir, options, |path| path.starts_with(b"boot/")).unwrap()
}

fn bytes(length: usize, seed: usize) -> Vec<u8> {
    (0..length)
        .map(|i| ((i / 100 * seed) ^ (i >> 3)) as u8)
        .collect()
}

fn put(spool: &Spool, path: &[u8], data: &[u8], step: usize) -> Content {
    let size = data.len() as u64;
    let mut writer = spool.create(path, size).unwrap();
    for part in data.chunks(step) {
        writer.write(part).unwrap();
    }
    let id = writer.finish().unwrap();
    Content { size, id }
}

fn get(spool: &Spool, content: Content) -> Vec<u8> {
    let mut data = Vec::new();
    spool.open(content).unwrap().read_to_end(&mut data).unwrap();
    data
}

#[test]
fn contents_come_back() {
    for compression in [
        Compression::None,
        Compression::Lz4,
        Compression::Zstd { level: 1 },
    ] {
        for threads in [0, 1, 3] {
            let spool = spool(compression, threads);
            let sizes = [
                0, 1, 4095, 4096, 4097, 16_383, 16_384, 16_385, 40_000, 200_000,
            ];
            let stored: Vec<_> = sizes
                .iter()
                .flat_map(|&size| [(size, &b"usr/file"[..]), (size, b"boot/vmlinuz")])
                .map(|(size, path)| {
                    let data = bytes(size, size + path.len());
                    (put(&spool, path, &data, 5000), data)
                })
                .collect();
            for (content, data) in stored.iter().rev() {
                assert!(get(&spool, *content) == *data, "{content:?}");
            }
        }
    }
}

#[test]
fn holes_are_not_stored() {
    let spool = spool(Compression::Lz4, 2);
    let chunk = u64::from(spool.options().chunk_size);
    let size = 1000 * chunk + 10;
    let mut writer = spool.create(b"sparse", size).unwrap();
    writer.write(b"start").unwrap();
    writer.hole(size - 5 - 3).unwrap();
    writer.write(b"end").unwrap();
    let content = Content {
        size,
        id: writer.finish().unwrap(),
    };
    assert_eq!(
        spool.settled().unwrap().get(content).unwrap().chunks.len(),
        1
    );
    let data = get(&spool, content);
    assert_eq!(data.len() as u64, size);
    assert!(data.starts_with(b"start\0") && data.ends_with(b"\0end"));
    assert_eq!(data.iter().filter(|&&b| b != 0).count(), 8);
}

#[test]
fn raw_paths_are_not_compressed() {
    let spool = spool(Compression::Zstd { level: 1 }, 1);
    let data = bytes(50_000, 0);
    put(&spool, b"boot/initrd", &data, 9999);
    drop(spool.settled().unwrap());
    assert_eq!(spool.stored(), 50_000);
}

#[test]
fn sizes_are_held_to() {
    let spool = spool(Compression::None, 1);
    let kind = |result: io::Result<ContentId>| result.unwrap_err().kind();
    let mut writer = spool.create(b"short", 10).unwrap();
    writer.write(b"123").unwrap();
    assert_eq!(kind(writer.finish()), io::ErrorKind::InvalidData);
    let mut writer = spool.create(b"long", 2).unwrap();
    let error = writer.write(b"123").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(error.to_string(), "file long has 3 bytes of content, not 2");
    assert!(writer.hole(u64::MAX).is_err());
    assert!(spool.create(b"huge", u64::MAX).is_err());
}

#[test]
fn unknown_contents_are_refused() {
    let spool = spool(Compression::None, 1);
    let content = put(&spool, b"a", b"abc", 1);
    let other = Content { size: 4, ..content };
    assert!(spool.open(other).is_err());
    let id = ContentId(u64::MAX);
    assert!(spool.open(Content { size: 3, id }).is_err());
}

#[test]
fn contents_may_come_from_many_threads() {
    let spool = spool(Compression::Lz4, 2);
    let stored = std::thread::scope(|scope| {
        let tasks: Vec<_> = (0..4)
            .map(|seed| {
                let spool = &spool;
                scope.spawn(move || {
                    let file = |i: usize| {
                        let data = bytes(i * 7919, seed + i);
                        (put(spool, b"f", &data, 4321), data)
                    };
                    (0..20_usize).map(file).collect::<Vec<_>>()
                })
            })
            .collect();
        let join = |task: std::thread::ScopedJoinHandle<'_, Vec<_>>| task.join().unwrap();
        tasks.into_iter().flat_map(join).collect::<Vec<_>>()
    });
    for (content, data) in stored {
        assert!(get(&spool, content) == data);
    }
}
