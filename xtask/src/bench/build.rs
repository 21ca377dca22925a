//! From a registry to a verified root image, a disk and an ISO, against other tools' pipelines.

use super::measure::{Contender, Sample};
use super::registry::Registry;
use super::report::{Report, Row};
use crate::{apt, dist};
use anyhow::{Context, bail};
use cos_testkit::images::{self, Flavor, Suite};
use cos_testkit::{is_root, paths, process, tools};
use fs_err as fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Smaller images say little about a whole operating system.
const SMALLEST: u64 = 400_000_000;

/// What each root image of ours is compared with.
pub(super) const COMPARED: &[(&str, &str)] = &[
    ("cos root zstd", "mksquashfs zstd -3"),
    ("cos root zstd", "mksquashfs zstd default"),
    ("cos root zstd", "mksquashfs default (gzip)"),
    ("cos root lz4", "mkfs.erofs lz4"),
];

/// Programs of the other pipelines, and what the image and the measurement need.
const PROGRAMS: &[&str] = &[
    "buildah",
    "mmdebstrap",
    "skopeo",
    "umoci",
    "mksquashfs",
    "mke2fs",
    "docker-registry",
    "time",
];

/// Measures `rounds` times, in alternating order, and prints the report.
pub(super) fn run(rounds: u32, json: bool) -> anyhow::Result<()> {
    if !is_root() {
        bail!(
            "the other tools unpack an image as root: run this as root (building with cos needs none)"
        );
    }
    apt::ensure_tools(PROGRAMS)?;
    let binaries = dist::build()?;
    let archive = images::example(Suite::Trixie, Flavor::Example)?;
    let size = fs::metadata(&archive)?.len();
    if size < SMALLEST {
        bail!("the image has {size} bytes, and a benchmark wants {SMALLEST} or more");
    }
    let place = WorkPlace::make()?;
    let registry = Registry::start(&place.directory.join("registry"))?;
    let reference = format!("{}/cos-bench:latest", registry.address);
    push(&archive, &reference)?;
    let work = place.directory.join("work");
    let contenders = contenders(&binaries.cos, &registry.address, &reference, &work)?;
    let samples = measure(&contenders, rounds, &work)?;
    let rows = contenders
        .iter()
        .zip(samples)
        .map(|(contender, samples)| Row::new(contender.name, &samples))
        .collect();
    let report = Report {
        rows,
        rounds,
        image_bytes: size,
        work_dir: place.description.clone(),
        versions: versions(),
    };
    if json {
        println!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    Ok(())
}

/// Copies the image to the registry, its layers compressed with gzip.
fn push(archive: &Path, reference: &str) -> anyhow::Result<()> {
    process::output(
        Command::new(tools::need_tool("skopeo")?)
            .args([
                "copy",
                "--quiet",
                "--insecure-policy",
                "--dest-tls-verify=false",
            ])
            .arg(format!("oci-archive:{}", archive.display()))
            .arg(format!("docker://{reference}")),
    )
    .map(drop)
}

/// Every contender once a round; every other round in the opposite order.
fn measure(contenders: &[Contender], rounds: u32, work: &Path) -> anyhow::Result<Vec<Vec<Sample>>> {
    let mut samples = vec![Vec::new(); contenders.len()];
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let sample = contenders[index].run(work)?;
            eprintln!(
                "round {}: {:<26} {:6.2} s",
                round + 1,
                contenders[index].name,
                sample.wall
            );
            samples[index].push(sample);
        }
    }
    Ok(samples)
}

fn contenders(
    cos: &Path,
    address: &str,
    reference: &str,
    work: &Path,
) -> anyhow::Result<Vec<Contender>> {
    let mkfs_erofs = tools::mkfs_erofs().context(tools::missing("mkfs.erofs"))?;
    let cos = cos.display().to_string();
    let ours = |name, verb: &str, compression: &str| Contender {
        name,
        commands: vec![words(&format!(
            "{cos} {verb} {reference} --insecure-registry {address} --compression {compression} -o result"
        ))],
        output: work.join("result"),
    };
    let theirs = |name, last: String| Contender {
        name,
        commands: vec![
            words(&format!(
                "skopeo copy --quiet --insecure-policy --src-tls-verify=false docker://{reference} oci:oci:image"
            )),
            words("umoci unpack --image oci:image bundle"),
            words(&last),
        ],
        output: work.join("result"),
    };
    let squashfs = "mksquashfs bundle/rootfs result -noappend -no-progress -quiet";
    Ok(vec![
        ours("cos root zstd", "image root", "zstd"),
        ours("cos root lz4", "image root", "lz4"),
        ours("cos disk", "build disk", "auto"),
        ours("cos iso", "build iso", "auto"),
        theirs(
            "mksquashfs zstd -3",
            format!("{squashfs} -comp zstd -Xcompression-level 3"),
        ),
        theirs("mksquashfs zstd default", format!("{squashfs} -comp zstd")),
        theirs("mksquashfs default (gzip)", squashfs.to_owned()),
        theirs(
            "mkfs.erofs lz4",
            format!("{} -zlz4 result bundle/rootfs", mkfs_erofs.display()),
        ),
    ])
}

/// Which versions the others are, for the report.
fn versions() -> Vec<String> {
    let first_line = |program: &Path, argument: &str| {
        let said = process::text(Command::new(program).arg(argument)).unwrap_or_default();
        said.lines().next().unwrap_or_default().to_owned()
    };
    let mkfs_erofs = tools::mkfs_erofs();
    let mut versions = vec![
        first_line(Path::new("skopeo"), "--version"),
        first_line(Path::new("umoci"), "--version"),
        first_line(Path::new("mksquashfs"), "-version"),
    ];
    versions.extend(mkfs_erofs.map(|program| first_line(&program, "--version")));
    versions
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// Where everything is written: memory when there is enough, so that a disk is not what is measured.
#[derive(Debug)]
struct WorkPlace {
    directory: PathBuf,
    description: String,
}

impl WorkPlace {
    fn make() -> anyhow::Result<WorkPlace> {
        let in_memory = Path::new("/dev/shm");
        let (parent, description) =
            if free_bytes(in_memory).is_some_and(|free| free > 8_000_000_000) {
                (in_memory.to_path_buf(), "tmpfs".to_owned())
            } else {
                (
                    paths::target(),
                    "disk: less than 8 GB free in /dev/shm".to_owned(),
                )
            };
        let directory = parent.join(format!("cos-bench-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        Ok(WorkPlace {
            directory,
            description,
        })
    }
}

impl Drop for WorkPlace {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("{error}");
        }
    }
}

fn free_bytes(directory: &Path) -> Option<u64> {
    let said = process::text(
        Command::new("df")
            .args(["--output=avail", "--block-size=1"])
            .arg(directory),
    )
    .ok()?;
    said.lines().nth(1)?.trim().parse().ok()
}
