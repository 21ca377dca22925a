//! OCI image layouts (image-spec, `image-layout.md`), as a directory or inside a tar.

use crate::archive::Archive;
use crate::document::{self, First, Found, Repository};
use crate::{Digest, ImageError, Options, Reference, Selector};
use cos_events::Monitor;
use oci_spec::image::{Descriptor, ImageIndex};
use std::io::{self, Read};
use std::path::PathBuf;

/// A blob or document, and its size.
pub(crate) type Opened = (Box<dyn Read + Send>, u64);

/// Where the files of a layout are.
#[derive(Debug)]
pub(crate) enum Layout {
    Directory(PathBuf),
    Archive(Archive),
}

/// Where containerd, and so `docker save`, puts the full name of an image.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

impl Layout {
    /// Finds an image in the layout.
    pub(crate) fn resolve(
        &self,
        selector: &Selector,
        name: &str,
        options: &Options,
        monitor: &dyn Monitor,
    ) -> Result<Found, ImageError> {
        let limit = options.limits.manifest_size;
        let header = self.read("oci-layout", limit)?;
        let header: oci_spec::image::OciLayout =
            document::json(&header, || format!("oci-layout of {name}"))?;
        let version = header.image_layout_version();
        if !version.starts_with("1.") {
            return Err(ImageError::LayoutVersion {
                image: name.into(),
                version: version.clone(),
            });
        }
        let index = self.read("index.json", limit)?;
        let index: ImageIndex = document::json(&index, || format!("index.json of {name}"))?;
        let descriptor = select(index.manifests(), selector, name, options)?;
        let digest = Digest::try_from(descriptor.digest())?;
        let bytes = self.manifest(&digest, descriptor.size(), monitor)?;
        document::check_digest(format!("manifest {digest}"), &digest, &bytes)?;
        let first = First {
            bytes,
            media_type: Some(descriptor.media_type().to_string()),
        };
        let found = document::resolve(self, first, name, options, monitor)?;
        Ok(Found {
            reference_digest: digest,
            ..found
        })
    }

    fn open(&self, path: &str) -> Result<Opened, ImageError> {
        match self {
            Self::Directory(root) => {
                let path = root.join(path);
                let failed = |source: io::Error| ImageError::ReadLayout {
                    path: path.clone(),
                    source,
                };
                let file = fs_err::File::open(&path).map_err(failed)?;
                let size = file.metadata().map_err(failed)?.len();
                Ok((Box::new(file), size))
            }
            Self::Archive(archive) => archive.open(path.as_bytes()),
        }
    }

    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, ImageError> {
        let (reader, size) = self.open(path)?;
        read_small(reader, size, limit, path)
    }
}

/// Reads a document of bounded size.
pub(crate) fn read_small(
    reader: Box<dyn Read + Send>,
    size: u64,
    limit: u64,
    what: &str,
) -> Result<Vec<u8>, ImageError> {
    if size > limit {
        return Err(ImageError::DocumentTooLarge {
            what: what.into(),
            limit,
        });
    }
    let mut bytes = Vec::new();
    reader
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| ImageError::blob(what.into(), error))?;
    Ok(bytes)
}

impl Repository for Layout {
    fn manifest(
        &self,
        digest: &Digest,
        size: u64,
        _monitor: &dyn Monitor,
    ) -> Result<Vec<u8>, ImageError> {
        self.read(&blob_path(digest), size)
    }

    fn blob<'r>(
        &'r self,
        digest: &Digest,
        size: u64,
        _monitor: &'r dyn Monitor,
    ) -> Result<Box<dyn Read + Send + 'r>, ImageError> {
        let (reader, actual) = self.open(&blob_path(digest))?;
        if actual != size {
            return Err(ImageError::BlobSize {
                blob: digest.to_string(),
                expected: size,
                actual,
            });
        }
        Ok(reader)
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// The names a layout gives an image.
fn names(descriptor: &Descriptor) -> impl Iterator<Item = &str> {
    [REF_NAME, CONTAINERD_NAME]
        .into_iter()
        .filter_map(|key| Some(descriptor.annotations().as_ref()?.get(key)?.as_str()))
}

fn select<'d>(
    manifests: &'d [Descriptor],
    selector: &Selector,
    name: &str,
    options: &Options,
) -> Result<&'d Descriptor, ImageError> {
    let matching: Vec<&Descriptor> = match selector {
        Selector::Only => manifests.iter().collect(),
        Selector::Tag(tag) => manifests
            .iter()
            .filter(|d| names(d).any(|name| same_name(name, tag)))
            .collect(),
        Selector::Digest(digest) => manifests
            .iter()
            .filter(|d| d.digest().as_ref() == digest.to_string())
            .collect(),
    };
    let (first, rest) = match matching[..] {
        [] => {
            let available = manifests.iter().flat_map(names).map(Into::into).collect();
            return Err(ImageError::NotInArchive {
                image: name.into(),
                available,
            });
        }
        [first, ref rest @ ..] => (first, rest),
    };
    if rest.iter().all(|other| other.digest() == first.digest()) {
        return Ok(first);
    }
    let unnamed = |d: &&Descriptor| names(d).next().is_none();
    if matching.iter().all(unnamed) || *selector != Selector::Only {
        // One image, listed once for each platform.
        let wanted: Vec<Descriptor> = matching.iter().map(|d| (*d).clone()).collect();
        let chosen = document::choose(&wanted, &options.platform, name)?
            .digest()
            .clone();
        return matching
            .into_iter()
            .find(|d| *d.digest() == chosen)
            .ok_or_else(|| ImageError::NestedIndex { image: name.into() });
    }
    Err(ImageError::SeveralImages {
        image: name.into(),
        available: matching
            .iter()
            .flat_map(|d| names(d))
            .map(Into::into)
            .collect(),
    })
}

/// Whether two names mean the same image once Docker's defaults are filled in.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    match (a.parse::<Reference>(), b.parse::<Reference>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}
