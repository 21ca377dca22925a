//! Images in a tar file: an index of its members, and what `docker save` puts there.

use crate::document;
use crate::layer::decode::Layer;
use crate::layer::tar::{Input, MemberKind, TarReader};
use crate::layout::{Opened, read_small, same_name};
use crate::limits::Limits;
use crate::{Digest, ImageError, Options, Selector};
use cos_events::Monitor;
use cos_tree::display;
use oci_spec::image::ImageConfiguration;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A tar file whose members are read where they lie.
#[derive(Debug)]
pub(crate) struct Archive {
    path: PathBuf,
    members: BTreeMap<Vec<u8>, Member>,
    /// Keeps a temporary file until the archive is done with.
    _temporary: Option<Arc<tempfile::TempPath>>,
}

#[derive(Debug, Clone)]
enum Member {
    File {
        offset: u64,
        size: u64,
    },
    /// The same as the member at this path.
    Link(Vec<u8>),
}

/// Links from member to member.
const MAX_LINKS: usize = 10;

struct File(BufReader<fs_err::File>);

impl Read for File {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl BufRead for File {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}

impl Input for File {
    fn skip(&mut self, length: u64) -> io::Result<()> {
        let length = i64::try_from(length).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        self.0.seek_relative(length)
    }
}

impl Archive {
    /// Reads the headers of a tar file.
    pub(crate) fn open_file(
        path: &Path,
        temporary: Option<tempfile::TempPath>,
        limits: &Limits,
        monitor: &dyn Monitor,
    ) -> Result<Self, ImageError> {
        let failed = |source| ImageError::ReadArchive {
            path: path.into(),
            source,
        };
        let file = fs_err::File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut input = File(BufReader::with_capacity(4096, file));
        if let [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] = input.fill_buf().map_err(failed)? {
            return Err(ImageError::CompressedArchive { path: path.into() });
        }
        let refuse = |at, problem| ImageError::entry(path.display().to_string(), at, problem);
        let mut tar = TarReader::new(input, limits);
        let mut members = BTreeMap::new();
        while let Some(member) = tar.next().map_err(|e| refuse(e.at, e.problem))? {
            monitor.checkpoint()?;
            let name = normalise(&member.path);
            if members.len() >= limits.archive_members {
                return Err(ImageError::TooManyMembers {
                    path: path.into(),
                    limit: limits.archive_members,
                });
            }
            let entry = match member.kind {
                MemberKind::File if member.sparse.is_none() => Member::File {
                    offset: member.offset,
                    size: member.stored,
                },
                MemberKind::HardLink => Member::Link(normalise(&member.link)),
                MemberKind::Symlink => Member::Link(beside(&name, &member.link)),
                _ => continue,
            };
            if let Member::File { offset, size } = entry
                && offset.checked_add(size).is_none_or(|end| end > length)
            {
                let problem = crate::EntryError::Truncated;
                return Err(refuse(format!("entry {}", display(&member.path)), problem));
            }
            members.insert(name, entry);
        }
        Ok(Self {
            path: path.into(),
            members,
            _temporary: temporary.map(Arc::new),
        })
    }

    pub(crate) fn contains(&self, path: &[u8]) -> bool {
        self.members.contains_key(path)
    }

    /// Opens a member, through links.
    pub(crate) fn open(&self, path: &[u8]) -> Result<Opened, ImageError> {
        let (offset, size) = self.find(path).ok_or_else(|| ImageError::NoSuchMember {
            path: self.path.clone(),
            member: display(path),
        })?;
        let failed = |source| ImageError::ReadArchive {
            path: self.path.clone(),
            source,
        };
        let mut file = fs_err::File::open(&self.path).map_err(failed)?;
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        Ok((Box::new(file.take(size)), size))
    }

    fn find(&self, path: &[u8]) -> Option<(u64, u64)> {
        let mut path = normalise(path);
        for _ in 0..MAX_LINKS {
            match self.members.get(&path)? {
                Member::File { offset, size } => return Some((*offset, *size)),
                Member::Link(target) => path.clone_from(target),
            }
        }
        None
    }
}

/// A member's path with `.` and `..` resolved, as a key.
fn normalise(path: &[u8]) -> Vec<u8> {
    let mut names: Vec<&[u8]> = Vec::new();
    for name in path.split(|&b| b == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join(&b'/')
}

/// A symbolic link's target, seen from the member at `path`.
fn beside(path: &[u8], target: &[u8]) -> Vec<u8> {
    let parent = path
        .iter()
        .rposition(|&b| b == b'/')
        .map_or(&[][..], |slash| &path[..slash]);
    normalise(&[parent, b"/", target].concat())
}

/// One image of `manifest.json` (moby, `image/tarexport`).
#[derive(serde::Deserialize)]
struct SavedImage {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags")]
    tags: Option<Vec<String>>,
    #[serde(rename = "Layers")]
    layers: Option<Vec<String>>,
}

/// An image as older versions of `docker save` write it: layers without compressed digests.
#[derive(Debug)]
pub(crate) struct DockerArchive {
    archive: Archive,
    members: Vec<String>,
}

impl DockerArchive {
    /// Finds an image in the archive.
    pub(crate) fn resolve(
        archive: Archive,
        selector: &Selector,
        name: &str,
        options: &Options,
    ) -> Result<(Self, ImageConfiguration, Vec<Layer>), ImageError> {
        let read = |path: &str, limit| {
            let (reader, size) = archive.open(path.as_bytes())?;
            read_small(reader, size, limit, path)
        };
        let manifest = read("manifest.json", options.limits.manifest_size)?;
        let images: Vec<SavedImage> =
            document::json(&manifest, || format!("manifest.json of {name}"))?;
        let image = select(images, selector, name)?;
        let bytes = read(&image.config, options.limits.config_size)?;
        check_config_name(&image.config, &bytes)?;
        let config: ImageConfiguration =
            document::json(&bytes, || format!("configuration of {name}"))?;
        document::check_platform(&config, &options.platform, name)?;
        let members = image.layers.unwrap_or_default();
        let diff_ids = document::diff_ids(&config, members.len(), options, name)?;
        let layers = diff_ids
            .into_iter()
            .map(|diff_id| Layer {
                blob: None,
                compression: None,
                diff_id,
            })
            .collect();
        Ok((Self { archive, members }, config, layers))
    }

    /// Opens a layer by its position.
    pub(crate) fn layer(&self, index: usize) -> Result<Opened, ImageError> {
        let member = self.members.get(index).map_or("", String::as_str);
        self.archive.open(member.as_bytes())
    }
}

/// The configuration is named by its digest: `HEX.json` or `blobs/sha256/HEX`.
fn check_config_name(path: &str, bytes: &[u8]) -> Result<(), ImageError> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let hex = name.strip_suffix(".json").unwrap_or(name);
    match format!("sha256:{hex}").parse::<Digest>() {
        Ok(digest) => document::check_digest(format!("configuration {path}"), &digest, bytes),
        Err(_) => Ok(()),
    }
}

fn select(
    images: Vec<SavedImage>,
    selector: &Selector,
    name: &str,
) -> Result<SavedImage, ImageError> {
    let available = || {
        let tags = images.iter().flat_map(|image| image.tags.iter().flatten());
        tags.cloned().collect()
    };
    let several = ImageError::SeveralImages {
        image: name.into(),
        available: available(),
    };
    let missing = ImageError::NotInArchive {
        image: name.into(),
        available: available(),
    };
    let wanted = |image: &SavedImage| match selector {
        Selector::Only => true,
        Selector::Tag(tag) => image.tags.iter().flatten().any(|have| {
            let short = have
                .rsplit_once(':')
                .is_some_and(|(_, version)| version == tag);
            short || same_name(have, tag)
        }),
        Selector::Digest(digest) => image.config.contains(digest.hex()),
    };
    let mut matching: Vec<SavedImage> = images.into_iter().filter(wanted).collect();
    match (matching.pop(), matching.is_empty()) {
        (Some(image), true) => Ok(image),
        (Some(_), false) => Err(several),
        (None, _) => Err(missing),
    }
}
