//! qcow2, version 3, written in one pass. Layout: qemu/docs/interop/qcow2.txt.
//!
//! Written here because the libraries there are leave an optional header table in the order of a
//! hash map, and so never make the same image twice.

use crate::sparse;
use fs_err::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes of a cluster, the unit of allocation.
const CLUSTER: u64 = 1 << CLUSTER_BITS;
const CLUSTER_BITS: u32 = 16;

/// Entries of a second-level table, and of a block of reference counts.
const TABLE_ENTRIES: u64 = CLUSTER / 8;
const COUNTS: u64 = CLUSTER / 2;

/// Bytes of a version 3 header.
const HEADER: usize = 104;

/// Marks a cluster that only this image refers to.
const COPIED: u64 = 1 << 63;

/// The most that is read at once: a whole number of clusters.
const RUN: u64 = 32 * CLUSTER;

/// Writes the raw disk `source` into the empty file `target`.
pub(super) fn write(source: &File, target: &File) -> io::Result<()> {
    let size = sparse::size_of(source)?;
    let clusters = size.div_ceil(CLUSTER);
    let top_entries = clusters.div_ceil(TABLE_ENTRIES);
    let top_clusters = (top_entries * 8).div_ceil(CLUSTER).max(1);
    let mut image = Image {
        target,
        top: vec![0; top_entries as usize],
        table: Vec::new(),
        table_index: 0,
        next: 1 + top_clusters,
    };
    let mut buffer = vec![0; RUN as usize];
    let mut done = 0;
    for range in sparse::data_ranges(source, 0, size)? {
        // Whole clusters, each once, however the ranges of data are cut.
        let mut position = (range.start / CLUSTER * CLUSTER).max(done);
        while position < range.end {
            let part = (size - position)
                .min(RUN)
                .min(range.end.next_multiple_of(CLUSTER) - position);
            let whole = part.next_multiple_of(CLUSTER) as usize;
            source
                .file()
                .read_exact_at(&mut buffer[..part as usize], position)?;
            buffer[part as usize..whole].fill(0);
            image.add(&buffer[..whole], position / CLUSTER)?;
            position += part;
        }
        done = done.max(position.next_multiple_of(CLUSTER));
    }
    image.finish(size)
}

struct Image<'t> {
    target: &'t File,
    /// The first-level table: where the second-level tables are.
    top: Vec<u64>,
    /// The second-level table being filled, and which it is.
    table: Vec<u64>,
    table_index: u64,
    /// The next free cluster.
    next: u64,
}

impl Image<'_> {
    /// Adds those clusters of `bytes` that are not zero, the first being number `first`.
    fn add(&mut self, bytes: &[u8], first: u64) -> io::Result<()> {
        let mut run = 0..0;
        for (number, cluster) in (first..).zip(bytes.chunks_exact(CLUSTER as usize)) {
            let end = run.end + cluster.len();
            if cluster.iter().all(|byte| *byte == 0) {
                self.flush(&bytes[run])?;
                run = end..end;
                continue;
            }
            if number / TABLE_ENTRIES != self.table_index || self.table.is_empty() {
                self.flush(&bytes[run.clone()])?;
                self.finish_table()?;
                self.table_index = number / TABLE_ENTRIES;
                self.table = vec![0; TABLE_ENTRIES as usize];
                run = end - cluster.len()..end - cluster.len();
            }
            let at = self.next + (run.len() as u64) / CLUSTER;
            self.table[(number % TABLE_ENTRIES) as usize] = (at * CLUSTER) | COPIED;
            run.end = end;
        }
        self.flush(&bytes[run])
    }

    /// Writes neighbouring clusters to the next free ones.
    fn flush(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.target
            .file()
            .write_all_at(bytes, self.next * CLUSTER)?;
        self.next += bytes.len() as u64 / CLUSTER;
        Ok(())
    }

    fn finish_table(&mut self) -> io::Result<()> {
        if self.table.is_empty() {
            return Ok(());
        }
        self.top[self.table_index as usize] = (self.next * CLUSTER) | COPIED;
        let bytes = big_endian(&self.table);
        self.table.clear();
        self.flush(&bytes)
    }

    /// Writes the tables that come last, and the header.
    fn finish(mut self, size: u64) -> io::Result<()> {
        self.finish_table()?;
        // Reference counts count themselves, so that their number is found by trying.
        let mut blocks = 1;
        let (table_clusters, total) = loop {
            let table_clusters = (blocks * 8_u64).div_ceil(CLUSTER);
            let total = self.next + blocks + table_clusters;
            if total <= blocks * COUNTS {
                break (table_clusters, total);
            }
            blocks += 1;
        };
        let table_at = self.next;
        let first_block = table_at + table_clusters;
        let table: Vec<u64> = (first_block..first_block + blocks)
            .map(|at| at * CLUSTER)
            .collect();
        self.target
            .file()
            .write_all_at(&big_endian(&table), table_at * CLUSTER)?;
        let counts = [0, 1].repeat(total as usize);
        self.target
            .file()
            .write_all_at(&counts, first_block * CLUSTER)?;
        self.target
            .file()
            .write_all_at(&big_endian(&self.top), CLUSTER)?;
        let header = header(
            size,
            self.top.len() as u32,
            table_at * CLUSTER,
            table_clusters as u32,
        );
        self.target.file().write_all_at(&header, 0)?;
        self.target.set_len(total * CLUSTER)
    }
}

fn header(size: u64, top_entries: u32, counts_at: u64, count_clusters: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"QFI\xfb");
    put(4, &3_u32.to_be_bytes());
    put(20, &CLUSTER_BITS.to_be_bytes());
    put(24, &size.to_be_bytes());
    put(36, &top_entries.to_be_bytes());
    put(40, &CLUSTER.to_be_bytes());
    put(48, &counts_at.to_be_bytes());
    put(56, &count_clusters.to_be_bytes());
    put(96, &4_u32.to_be_bytes()); // reference counts of 16 bits
    put(100, &(HEADER as u32).to_be_bytes());
    header
}

fn big_endian(numbers: &[u64]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect()
}
