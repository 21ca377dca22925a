//! An image, read once: its tree with everything laid over it, its contents in a spool.

use super::boot_files::{BootFiles, BootFilesError};
use super::layout;
use crate::OpsError;
use crate::trust::{self, Gate, Trusted};
use cos_erofs::{Compression, Identity, KernelVersion, Options as ErofsOptions, Spool};
use cos_events::Monitor;
use cos_image::{Image, Source};
use cos_store::Verified;
use cos_tree::{ContentStore, NodeKind, Tree};
use cos_verity::{HashingWriter, Verity};
use fs_err::File;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Level of `zstd` when none is given: the format's chunks are large, so the fastest level reaches the
/// size that others need level 3 for.
pub const ZSTD_LEVEL: i32 = 1;

/// How the root image is to be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionChoice {
    /// zstd where the image's kernel reads it, else LZ4.
    Auto,
    /// What the user says.
    Fixed(Compression),
}

/// A text that names no compression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("compression {0:?} is not known")]
pub struct UnknownCompression(pub String);

impl FromStr for CompressionChoice {
    type Err = UnknownCompression;

    /// `auto`, `none`, `lz4`, `zstd`, or `zstd:1` to `zstd:19`.
    fn from_str(text: &str) -> Result<Self, UnknownCompression> {
        let level = match text {
            "auto" => return Ok(Self::Auto),
            "none" => return Ok(Self::Fixed(Compression::None)),
            "lz4" => return Ok(Self::Fixed(Compression::Lz4)),
            "zstd" => Some(ZSTD_LEVEL),
            other => other.strip_prefix("zstd:").and_then(|it| it.parse().ok()),
        };
        let level = level.filter(|level| (1..=19).contains(level));
        let level = level.ok_or_else(|| UnknownCompression(text.chars().take(40).collect()))?;
        Ok(Self::Fixed(Compression::Zstd { level }))
    }
}

impl fmt::Display for CompressionChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Fixed(Compression::None) => f.write_str("none"),
            Self::Fixed(Compression::Lz4) => f.write_str("lz4"),
            Self::Fixed(Compression::Zstd { level }) => write!(f, "zstd:{level}"),
        }
    }
}

/// Which image to read, and how.
#[derive(Debug, Clone)]
pub struct ImageRequest {
    /// The image.
    pub source: Source,
    /// Directories to lay over it, in order, their files owned by root.
    pub overlays: Vec<PathBuf>,
    /// How to get at it.
    pub options: cos_image::Options,
    /// Who is asked whether it may be used.
    pub gate: Gate,
    /// How to compress it.
    pub compression: CompressionChoice,
    /// Worker threads.
    pub threads: usize,
    /// Time for what has none of its own, seconds since 1970 (`SOURCE_DATE_EPOCH`); by default the time
    /// the image was created.
    pub time: Option<i64>,
}

/// An image that was read.
pub struct Loaded {
    /// The tree, with overlays.
    pub image: Image,
    /// The contents.
    pub spool: Spool,
    /// What is known of its signatures; nothing where nobody had to be asked.
    pub verified: Option<Verified>,
    /// Its version, where it has one.
    pub version: Option<semver::Version>,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("image", &self.image)
            .finish_non_exhaustive()
    }
}

/// Reads an image that may be used and lays the overlays over it. Temporary data goes to `temp_dir`.
pub fn load(
    request: &ImageRequest,
    temp_dir: &Path,
    monitor: &dyn Monitor,
) -> Result<Loaded, OpsError> {
    let trusted = trust::resolve(&request.source, &request.options, &request.gate, monitor)?;
    load_trusted(trusted.fresh()?, request, temp_dir, monitor)
}

/// The same of an image that was resolved and judged before: it is what is read, by its digest, whatever
/// its name names by now.
pub fn load_trusted(
    trusted: Trusted,
    request: &ImageRequest,
    temp_dir: &Path,
    monitor: &dyn Monitor,
) -> Result<Loaded, OpsError> {
    let spool = new_spool(temp_dir, erofs_options(request))?;
    let (resolved, verified, version) = trusted.into_parts();
    let source = resolved.source().clone();
    let mut image = cos_image::load(resolved, &spool, &request.options, monitor)
        .map_err(|error| OpsError::image(&source, error))?;
    for directory in &request.overlays {
        let tree = &mut image.tree;
        cos_image::overlay_directory(tree, directory, Some((0, 0)), &spool, monitor)
            .map_err(|source| OpsError::overlay(directory, source))?;
    }
    Ok(Loaded {
        image,
        spool,
        verified,
        version,
    })
}

impl Loaded {
    /// What boots the image; refuses one whose loader is for another architecture than it says it is.
    pub fn boot_files(&self) -> Result<BootFiles, OpsError> {
        let files = BootFiles::find(&self.image.tree, &self.spool)?;
        let image = &self.image.platform.architecture;
        if files.manifest.architecture != *image {
            let loader = files.manifest.architecture;
            return Err(OpsError::Architecture {
                loader,
                image: image.clone(),
            });
        }
        Ok(files)
    }

    /// The same, once the contents are such that the image's own kernel reads the root image.
    pub fn fitted_boot_files(
        &mut self,
        choice: CompressionChoice,
        temp_dir: &Path,
        monitor: &dyn Monitor,
    ) -> Result<BootFiles, OpsError> {
        let version = self.boot_files()?.kernel_version();
        self.fit_kernel(choice, version, temp_dir, monitor)?;
        // Re-reading finds the contents where fit_kernel may have moved them.
        self.boot_files()
    }

    /// How the root image is compressed, from here on.
    pub fn compression(&self) -> CompressionChoice {
        CompressionChoice::Fixed(self.spool.options().compression)
    }

    /// When the image was created, seconds since 1970, if it says so.
    pub fn created(&self) -> Option<i64> {
        let text = self.image.config.as_ref()?.created().as_ref()?;
        let time =
            time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339);
        time.ok().map(time::OffsetDateTime::unix_timestamp)
    }

    /// Labels of the image.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let config = self
            .image
            .config
            .as_ref()
            .and_then(|config| config.config().as_ref());
        let labels = config.and_then(|config| config.labels().clone());
        labels.into_iter().flatten().collect()
    }

    /// Makes sure that the image's own kernel reads the root image. Contents that were compressed for a
    /// newer one than `kernel` are compressed again: with LZ4 where the choice is ours.
    pub fn fit_kernel(
        &mut self,
        choice: CompressionChoice,
        kernel: Option<(u32, u32)>,
        temp_dir: &Path,
        monitor: &dyn Monitor,
    ) -> Result<(), OpsError> {
        let Some((major, minor)) = kernel else {
            return Ok(());
        };
        let kernel = KernelVersion::new(major, minor);
        if kernel >= self.spool.options().kernel {
            return Ok(());
        }
        let compression = match choice {
            CompressionChoice::Auto => Compression::Lz4,
            CompressionChoice::Fixed(compression) => compression,
        };
        let options = ErofsOptions::new(compression, kernel, self.spool.options().threads);
        let spool = new_spool(temp_dir, options)?;
        copy_contents(&mut self.image.tree, &self.spool, &spool, monitor)?;
        self.spool = spool;
        Ok(())
    }

    /// Writes the root image into the empty file at `path`, and the hash tree into it or, when given, into `sidecar`
    /// too. What boot makes anew is left out.
    pub fn write_root(
        &mut self,
        file: &File,
        sidecar: Option<&File>,
        monitor: &dyn Monitor,
    ) -> Result<Verity, OpsError> {
        layout::apply(&mut self.image.tree, &self.spool)?;
        let path = file.path().to_path_buf();
        let verity_failed = |source| OpsError::WriteVerity {
            path: path.clone(),
            source,
        };
        let mut writer =
            HashingWriter::new(file.file(), self.spool.options().threads).map_err(verity_failed)?;
        cos_erofs::write(
            &self.image.tree,
            &self.spool,
            &Identity::default(),
            &mut writer,
            monitor,
        )
        .map_err(|source| OpsError::write_root(&path, source))?;
        let (_, verity) = writer.finish().map_err(verity_failed)?;
        if let Some(sidecar) = sidecar {
            copy_hash_area(file, sidecar, verity.hash_offset).map_err(|source| {
                OpsError::Write {
                    path: sidecar.path().into(),
                    source,
                }
            })?;
        }
        Ok(verity)
    }
}

fn copy_hash_area(file: &File, sidecar: &File, offset: u64) -> io::Result<()> {
    let mut from = file.file();
    from.seek(SeekFrom::Start(offset))?;
    io::copy(&mut from, &mut sidecar.file()).map(drop)
}

/// The image's kernel is known once the image has been read. Until then, the oldest one that reads
/// everything this compression makes use of.
fn erofs_options(request: &ImageRequest) -> ErofsOptions {
    let compression = match request.compression {
        CompressionChoice::Auto => Compression::Zstd { level: ZSTD_LEVEL },
        CompressionChoice::Fixed(compression) => compression,
    };
    let kernel = match compression {
        Compression::Zstd { .. } => KernelVersion::new(6, 10),
        Compression::Lz4 | Compression::None => KernelVersion::new(6, 1),
    };
    ErofsOptions::new(compression, kernel, request.threads)
}

fn new_spool(temp_dir: &Path, options: ErofsOptions) -> Result<Spool, OpsError> {
    let failed = |source| OpsError::Spool {
        directory: temp_dir.to_path_buf(),
        source,
    };
    Spool::new(temp_dir, options, is_kept_raw).map_err(failed)
}

/// What is copied out again, and does not go into the root image.
fn is_kept_raw(path: &[u8]) -> bool {
    path.starts_with(b"boot/")
}

/// Moves the contents of every file of `tree` from one spool to another.
fn copy_contents(
    tree: &mut Tree,
    from: &Spool,
    to: &Spool,
    monitor: &dyn Monitor,
) -> Result<(), OpsError> {
    let mut files = Vec::new();
    let mut seen = vec![false; tree.arena_len()];
    tree.walk(|path, id| {
        if matches!(tree.node(id).kind, NodeKind::File(_))
            && !std::mem::replace(&mut seen[id.index()], true)
        {
            files.push((path.to_vec(), id));
        }
    });
    let mut buffer = vec![0; 256 * 1024];
    for (path, id) in files {
        monitor.checkpoint()?;
        if let NodeKind::File(content) = &mut tree.node_mut(id).kind {
            let failed = |source| {
                OpsError::BootFiles(BootFilesError::Read {
                    path: cos_tree::display(&path),
                    source,
                })
            };
            let mut reader = from.open(*content).map_err(failed)?;
            let mut writer = to.create(&path, content.size).map_err(failed)?;
            loop {
                match reader.read(&mut buffer).map_err(failed)? {
                    0 => break,
                    read => writer.write(&buffer[..read]).map_err(failed)?,
                }
            }
            content.id = writer.finish().map_err(failed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_is_read_as_it_is_written() {
        for text in ["auto", "none", "lz4", "zstd:1", "zstd:19"] {
            let choice: CompressionChoice = text.parse().unwrap();
            assert_eq!(choice.to_string(), text);
        }
        assert_eq!("zstd".parse(), "zstd:1".parse::<CompressionChoice>());
        for bad in ["zstd:0", "zstd:20", "zstd:", "gzip", ""] {
            assert!(bad.parse::<CompressionChoice>().is_err(), "{bad}");
        }
    }
}
