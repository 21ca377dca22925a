//! `files`, `directories`, `downloads`.

use crate::context::Context;
use crate::error::StepError;
use crate::run::Report;
use crate::schema::{Download, File, Step};
use base64::Engine as _;
use cos_http::{HttpError, Request};
use cos_sys::root_file::Metadata;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Mode of a file that says none; yip gives such a file mode 0.
const FILE_MODE: u32 = 0o644;
/// Mode of a directory that says none.
const DIRECTORY_MODE: u32 = 0o755;
/// Most bytes of a file's content once unpacked.
const MAX_CONTENT: u64 = 64 << 20;
/// Most bytes of a download.
const MAX_DOWNLOAD: u64 = 16 << 30;
/// How long a download may take when nothing is said.
const DOWNLOAD_TIME: Duration = Duration::from_mins(10);

pub(super) fn directories(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    for directory in &step.directories {
        // As in yip: what is not said is root's, and missing parents are like the directory.
        let metadata = Metadata {
            mode: Some(directory.permissions.unwrap_or(DIRECTORY_MODE)),
            owner: directory.owner.or(Some(0)),
            group: directory.group.or(Some(0)),
        };
        let made = absolute(&directory.path).and_then(|path| {
            make_parents(&path, &metadata, context)?;
            context
                .root
                .make_directories(&path, &metadata)
                .map_err(|source| StepError::Path {
                    what: format!("the directory {}", directory.path),
                    source,
                })
        });
        report.take(made);
    }
}

/// Makes the directories above `path` that are missing.
fn make_parents(path: &Path, metadata: &Metadata, context: &Context<'_>) -> Result<(), StepError> {
    let missing = |path: &&Path| !context.root.exists(path);
    let parents: Vec<&Path> = path.ancestors().skip(1).take_while(missing).collect();
    for parent in parents.into_iter().rev() {
        context
            .root
            .make_directories(parent, metadata)
            .map_err(|source| StepError::Path {
                what: format!("the directory {}", parent.display()),
                source,
            })?;
    }
    Ok(())
}

/// Makes the directories above a file: the file's owner may use them, and everybody see them.
fn make_parents_of_file(
    path: &Path,
    file: &Metadata,
    context: &Context<'_>,
) -> Result<(), StepError> {
    let metadata = Metadata {
        mode: Some(DIRECTORY_MODE),
        ..*file
    };
    make_parents(path, &metadata, context)
}

pub(super) fn files(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    for file in &step.files {
        report.take(write(file, context));
    }
}

/// What a file is to hold: decoded, and its template filled in.
pub(super) fn content(
    path: &str,
    text: &str,
    encoding: &str,
    context: &Context<'_>,
) -> Result<Vec<u8>, StepError> {
    let bytes =
        decoded(text, encoding).map_err(|why| StepError::Value(format!("{path}: {why}")))?;
    // A template is text; what is not is written as it is.
    match String::from_utf8(bytes) {
        Ok(text) => Ok(context.render(path, &text)?.into_bytes()),
        Err(bytes) => Ok(bytes.into_bytes()),
    }
}

/// Writes one file.
pub(super) fn write(file: &File, context: &Context<'_>) -> Result<(), StepError> {
    let path = absolute(&file.path)?;
    let bytes = content(&file.path, &file.content, &file.encoding, context)?;
    let (owner, group) = owner(file.ownerstring.as_deref(), context)?;
    let metadata = Metadata {
        mode: Some(file.permissions.unwrap_or(FILE_MODE)),
        owner: owner.or(file.owner).or(Some(0)),
        group: group.or(file.group).or(Some(0)),
    };
    make_parents_of_file(&path, &metadata, context)?;
    context
        .root
        .write(&path, &bytes, &metadata)
        .map_err(|source| StepError::Path {
            what: format!("the file {}", file.path),
            source,
        })
}

/// Longest path of Linux, in bytes.
const MAX_PATH: usize = 4095;

/// A path of a document: from the root.
pub(super) fn absolute(path: &str) -> Result<PathBuf, StepError> {
    match path {
        "" => Err(StepError::Value("the path is missing".into())),
        path if path.len() > MAX_PATH || path.contains('\0') => Err(StepError::Value(format!(
            "the path is longer than {MAX_PATH} bytes, or has a NUL character in it"
        ))),
        path if path.starts_with('/') => Ok(path.into()),
        path => Err(StepError::Value(format!(
            "{path} does not start with a slash"
        ))),
    }
}

/// Content as its encoding says.
pub(crate) fn decoded(content: &str, encoding: &str) -> Result<Vec<u8>, String> {
    let base64 = || {
        let dense: String = content.split_whitespace().collect();
        base64::engine::general_purpose::STANDARD
            .decode(dense)
            .map_err(|error| format!("content is no base64: {error}"))
    };
    match encoding {
        "" => Ok(content.as_bytes().to_vec()),
        "b64" | "base64" => base64(),
        "gz" | "gzip" => unpacked(content.as_bytes()),
        "gz+b64" | "gz+base64" | "gzip+b64" | "gzip+base64" => unpacked(&base64()?),
        other => Err(format!(
            "{other:?} is no encoding; there are b64, gzip and gzip+b64"
        )),
    }
}

fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes)
        .take(MAX_CONTENT + 1)
        .read_to_end(&mut out)
        .map_err(|error| format!("content is no gzip data: {error}"))?;
    if out.len() as u64 > MAX_CONTENT {
        return Err(format!(
            "content is larger than {} MiB once unpacked",
            MAX_CONTENT >> 20
        ));
    }
    Ok(out)
}

/// The numbers of `user:group`, looked up in the root's own files; numbers stand for themselves.
pub(super) fn owner(
    text: Option<&str>,
    context: &Context<'_>,
) -> Result<(Option<u32>, Option<u32>), StepError> {
    let Some(text) = text else {
        return Ok((None, None));
    };
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let user_line = |name: &str| entry(context, "/etc/passwd", name);
    let uid = match user.parse() {
        _ if user.is_empty() => None,
        Ok(uid) => Some(uid),
        Err(_) => Some(number(user_line(user)?.as_deref(), 2, "user", user)?),
    };
    let gid = match group {
        Some("") | None if user.is_empty() => None,
        // chown(1): the user's own group when none is named.
        Some("") | None => match user_line(user)? {
            Some(line) => Some(number(Some(&line), 3, "group of", user)?),
            None => None,
        },
        Some(group) => match group.parse() {
            Ok(gid) => Some(gid),
            Err(_) => {
                let line = entry(context, "/etc/group", group)?;
                Some(number(line.as_deref(), 2, "group", group)?)
            }
        },
    };
    Ok((uid, gid))
}

/// Longest /etc/passwd or /etc/group read, in bytes.
const MAX_DATABASE: u64 = 16 << 20;

/// The line of a name in a database of colon-separated fields.
pub(super) fn entry(
    context: &Context<'_>,
    file: &str,
    name: &str,
) -> Result<Option<String>, StepError> {
    let bytes = context
        .root
        .read(Path::new(file), MAX_DATABASE)
        .map_err(|source| StepError::Path {
            what: format!("sense of {file}"),
            source,
        })?
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let line = text
        .lines()
        .find(|line| line.split(':').next() == Some(name));
    Ok(line.map(str::to_owned))
}

fn number(line: Option<&str>, field: usize, what: &str, name: &str) -> Result<u32, StepError> {
    line.and_then(|line| line.split(':').nth(field)?.parse().ok())
        .ok_or_else(|| StepError::Value(format!("there is no {what} {name}")))
}

pub(super) fn downloads(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    for download in &step.downloads {
        report.take(fetch(download, context));
    }
}

fn fetch(download: &Download, context: &Context<'_>) -> Result<(), StepError> {
    let mut path = absolute(&download.path)?;
    let status = context.root.status(&path).ok().flatten();
    if download.path.ends_with('/') || status.is_some_and(|status| status.kind.is_dir()) {
        let url = download.url.split(['?', '#']).next().unwrap_or_default();
        let name = url.rsplit('/').next().filter(|name| !name.is_empty());
        path.push(name.ok_or_else(|| {
            StepError::Value(format!("{} has no file name to take", download.url))
        })?);
    }
    let (owner, group) = self::owner(download.ownerstring.as_deref(), context)?;
    let metadata = Metadata {
        mode: Some(download.permissions.unwrap_or(FILE_MODE)),
        owner: owner.or(download.owner).or(Some(0)),
        group: group.or(download.group).or(Some(0)),
    };
    let failed = |source| StepError::Path {
        what: format!("the file {}", path.display()),
        source,
    };
    let time = download
        .timeout
        .filter(|seconds| *seconds > 0)
        .map_or(DOWNLOAD_TIME, |seconds| {
            Duration::from_secs(u64::from(seconds))
        });
    let mut request = Request::get(&download.url).within(time);
    request.max_bytes = MAX_DOWNLOAD;
    request.monitor = context.host.monitor;
    make_parents_of_file(&path, &metadata, context)?;
    let mut resumed = false;
    loop {
        let mut file = context.root.create_file(&path, &metadata).map_err(failed)?;
        match context.host.http.download(&request, &mut file, 0) {
            Ok(_) => return file.commit().map_err(failed),
            // The connection broke, and the server cannot go on in the middle.
            Err(HttpError::Resume { .. }) if !resumed => resumed = true,
            Err(source) => {
                return Err(StepError::Fetch {
                    what: download.path.clone(),
                    source,
                });
            }
        }
    }
}
