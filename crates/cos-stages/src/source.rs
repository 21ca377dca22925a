//! Where documents come from: directories, files, addresses, and what the kernel was told.

use crate::diagnostic::{Findings, Position};
use crate::document::{Loaded, Strictness, load};
use crate::yaml::MAX_BYTES;
use cos_events::Monitor;
use cos_http::{HttpClient, Request};
use cos_sys::root_path::Root;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where documents are, in the order in which they are read: the image's own, the installation's, and
/// the ones people put where they may write.
pub const DIRECTORIES: [&str; 3] = ["/system/oem", "/oem", "/usr/local/cloud-config"];

/// Where a datasource whose step names no place keeps user-data.
pub const USERDATA: &str = "/run/config/userdata.yaml";

/// Most documents of one directory, those below it too.
const MAX_FILES: usize = 1000;
/// Deepest directory below a source.
const MAX_DEPTH: usize = 4;
/// How long fetching a document may take, with all tries.
const FETCH_TIME: Duration = Duration::from_mins(1);
/// Tries after the first.
const FETCH_RETRIES: u32 = 5;

/// A source of documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, or a directory whose `.yaml` and `.yml` files count, in the order of their names.
    Path(PathBuf),
    /// A document on a web server.
    Url(String),
    /// A text that is there already, such as standard input.
    Text {
        /// What it is called.
        name: String,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

impl Source {
    /// A source as people write it: an address where it is one, a path otherwise.
    pub fn parse(text: &str) -> Self {
        if text.starts_with("http://") || text.starts_with("https://") {
            Self::Url(text.to_owned())
        } else {
            Self::Path(text.strip_prefix("file://").unwrap_or(text).into())
        }
    }
}

/// Reads sources, each whatever the others hold.
#[derive(Debug)]
pub struct Reader<'r> {
    /// Paths are inside it.
    pub root: &'r Root,
    /// For addresses.
    pub http: &'r HttpClient,
    /// Whether unknown keys are errors.
    pub strictness: Strictness,
}

impl Reader<'_> {
    /// Reads a source. `optional`: nothing being there is no error, as with the usual directories.
    pub fn read(&self, source: &Source, optional: bool, monitor: &dyn Monitor) -> Loaded {
        match source {
            Source::Text { name, bytes } => load(name, bytes, self.strictness),
            Source::Url(url) => self.fetch(url, monitor),
            Source::Path(path) => self.path(path, optional),
        }
    }

    fn fetch(&self, url: &str, monitor: &dyn Monitor) -> Loaded {
        let mut request = Request::get(url).within(FETCH_TIME);
        request.retries = FETCH_RETRIES;
        request.max_bytes = MAX_BYTES;
        request.monitor = monitor;
        let name = cos_http::redact(url);
        match self.http.send(&request) {
            Ok(response) => load(&name, &response.body, self.strictness),
            Err(error) => failed(&name, crate::error::chain(&error)),
        }
    }

    fn path(&self, path: &Path, optional: bool) -> Loaded {
        let name = path.display().to_string();
        match self.root.list(path) {
            Ok(Some(_)) => {
                let mut files = Vec::new();
                let mut loaded = Loaded::default();
                self.files_below(path, 0, &mut files, &mut loaded);
                if files.len() > MAX_FILES {
                    files.truncate(MAX_FILES);
                    loaded.append(failed(&name, format!("more than {MAX_FILES} documents")));
                }
                for file in files {
                    loaded.append(self.file(&file));
                }
                loaded
            }
            Ok(None) if optional => Loaded::default(),
            Ok(None) => failed(&name, "there is no such file or directory".into()),
            // No directory, so a file.
            Err(_) => self.file(path),
        }
    }

    /// The documents of a directory, in the order of their names; of directories below, as yip does,
    /// where their names come.
    fn files_below(&self, path: &Path, depth: usize, files: &mut Vec<PathBuf>, out: &mut Loaded) {
        let names = match self.root.list(path) {
            Ok(names) => names.unwrap_or_default(),
            Err(error) => {
                let name = path.display().to_string();
                out.append(failed(&name, crate::error::chain(&error)));
                return;
            }
        };
        for name in names {
            let inner = path.join(&name);
            let yaml = inner
                .extension()
                .is_some_and(|extension| extension == "yaml" || extension == "yml");
            // Links to directories are not gone into, as in yip: they may lead in a circle.
            let status = self.root.link_status(&inner).ok().flatten();
            let is_directory = status.is_some_and(|status| status.kind.is_dir());
            if files.len() > MAX_FILES {
                return;
            }
            if !is_directory {
                files.extend(yaml.then_some(inner));
            } else if depth < MAX_DEPTH {
                self.files_below(&inner, depth + 1, files, out);
            } else {
                let name = inner.display().to_string();
                out.append(failed(
                    &name,
                    format!("deeper than {MAX_DEPTH} directories"),
                ));
            }
        }
    }

    fn file(&self, path: &Path) -> Loaded {
        let name = path.display().to_string();
        match self.root.read(path, MAX_BYTES) {
            Ok(Some(bytes)) => load(&name, &bytes, self.strictness),
            Ok(None) => failed(&name, "there is no such file".into()),
            Err(error) => failed(&name, crate::error::chain(&error)),
        }
    }
}

fn failed(name: &str, message: String) -> Loaded {
    let mut findings = Findings::new(name, "");
    findings.error(Position::START, message);
    Loaded {
        documents: Vec::new(),
        diagnostics: findings.list,
    }
}
