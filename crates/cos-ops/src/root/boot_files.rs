//! What boots a tree: taken out of it before it becomes a root image.

use cos_boot::{ArgumentsError, KernelArguments, LoaderManifest, MANIFEST_PATH, ManifestError};
use cos_tree::{Content, ContentStore, NodeKind, Tree};
use std::io::{self, Read as _};

/// Kernel arguments of the image.
const BOOT_ARGUMENTS: &str = "etc/cos/bootargs.cfg";
/// Name of the operating system.
const OS_RELEASE: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
/// No text file that is read whole is larger.
const MAX_TEXT: u64 = 1 << 20;

/// Why an image cannot be booted.
#[derive(Debug, thiserror::Error)]
pub enum BootFilesError {
    /// `cos init` did not run in the image.
    #[error("the image holds no /{}", MANIFEST_PATH)]
    NotInitialised,
    /// A file that the manifest names is not there.
    #[error("the image holds no {what} at /{path}")]
    Missing {
        /// What it is for.
        what: &'static str,
        /// Where it should be.
        path: String,
    },
    /// The manifest cannot be used.
    #[error("the image was prepared by another version of cOS")]
    Manifest(#[source] ManifestError),
    /// A text file is implausibly large.
    #[error("/{path} is larger than any file of its kind")]
    TooLarge {
        /// Where it is.
        path: String,
    },
    /// Contents could not be read back.
    #[error("cannot read /{path} of the image")]
    Read {
        /// Where it is.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The image's kernel arguments cannot be passed on.
    #[error("/{} cannot be used", BOOT_ARGUMENTS)]
    Arguments(#[source] ArgumentsError),
}

impl BootFilesError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotInitialised => {
                Some("let the Dockerfile end with `RUN cos init`; `cos lint` tells more".to_owned())
            }
            Self::Missing {
                what: "systemd-boot" | "systemd-stub",
                ..
            } => Some("install it in the Dockerfile (Debian: systemd-boot-efi)".to_owned()),
            Self::Missing { .. } | Self::Manifest(_) => {
                Some("run `cos init` of this version as the Dockerfile's last step".to_owned())
            }
            _ => None,
        }
    }
}

/// What boots a tree.
#[derive(Debug, Clone)]
pub struct BootFiles {
    /// What `cos init` said.
    pub manifest: LoaderManifest,
    /// The kernel.
    pub kernel: Content,
    /// The initrd.
    pub initrd: Content,
    /// Kernel arguments of the image.
    pub arguments: KernelArguments,
    /// Name of the operating system, for boot menus.
    pub title: String,
}

impl BootFiles {
    /// Finds what boots `tree`. Nothing is taken out yet.
    pub fn find(tree: &Tree, store: &dyn ContentStore) -> Result<Self, BootFilesError> {
        let manifest =
            read_small(tree, store, MANIFEST_PATH)?.ok_or(BootFilesError::NotInitialised)?;
        let manifest = LoaderManifest::from_json(&manifest).map_err(BootFilesError::Manifest)?;
        let kernel = required(tree, "kernel", &manifest.kernel)?;
        let initrd = required(tree, "initrd", &manifest.initrd)?;
        let arguments = match read_small(tree, store, BOOT_ARGUMENTS)? {
            None => KernelArguments::default(),
            Some(bytes) => KernelArguments::from_bootargs(&String::from_utf8_lossy(&bytes))
                .map_err(BootFilesError::Arguments)?,
        };
        let title = title(tree, store)?;
        Ok(Self {
            manifest,
            kernel,
            initrd,
            arguments,
            title,
        })
    }

    /// Reads a file of the loader, such as a boot sector.
    pub fn loader_file(
        tree: &Tree,
        store: &dyn ContentStore,
        what: &'static str,
        path: &str,
    ) -> Result<Vec<u8>, BootFilesError> {
        let content = required(tree, what, path)?;
        let mut bytes = Vec::new();
        let read_error = |source| BootFilesError::Read {
            path: path.to_owned(),
            source,
        };
        if content.size > 64 * MAX_TEXT {
            return Err(BootFilesError::TooLarge {
                path: path.to_owned(),
            });
        }
        store
            .open(content)
            .and_then(|mut reader| reader.read_to_end(&mut bytes))
            .map_err(read_error)?;
        Ok(bytes)
    }

    /// Major and minor version of the kernel; `None` when its release does not tell.
    pub fn kernel_version(&self) -> Option<(u32, u32)> {
        let mut numbers = self
            .manifest
            .kernel_release
            .split(|c: char| !c.is_ascii_digit());
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

/// The content of the regular file at `path`, links followed inside the tree.
pub fn file_content(tree: &Tree, path: &str) -> Option<Content> {
    match tree.node(tree.resolve(path.as_bytes())?).kind {
        NodeKind::File(content) => Some(content),
        _ => None,
    }
}

/// Reads a text file whole; `None` when it is not there.
pub fn read_small(
    tree: &Tree,
    store: &dyn ContentStore,
    path: &str,
) -> Result<Option<Vec<u8>>, BootFilesError> {
    let Some(content) = file_content(tree, path) else {
        return Ok(None);
    };
    if content.size > MAX_TEXT {
        return Err(BootFilesError::TooLarge {
            path: path.to_owned(),
        });
    }
    let mut bytes = Vec::with_capacity(content.size as usize);
    let read = store
        .open(content)
        .and_then(|mut reader| reader.read_to_end(&mut bytes));
    read.map_err(|source| BootFilesError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(Some(bytes))
}

fn required(tree: &Tree, what: &'static str, path: &str) -> Result<Content, BootFilesError> {
    let missing = || BootFilesError::Missing {
        what,
        path: path.trim_start_matches('/').to_owned(),
    };
    file_content(tree, path).ok_or_else(missing)
}

fn title(tree: &Tree, store: &dyn ContentStore) -> Result<String, BootFilesError> {
    for path in OS_RELEASE {
        if let Some(bytes) = read_small(tree, store, path)?
            && let Some(name) = pretty_name(&String::from_utf8_lossy(&bytes))
        {
            return Ok(name);
        }
    }
    Ok("cOS".to_owned())
}

/// `PRETTY_NAME` of os-release, as its format says: shell-like, optionally quoted.
pub(crate) fn pretty_name(text: &str) -> Option<String> {
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches(['"', '\'']).to_owned())
}
