//! What is published beside an image, as a machine finds it: judged by the policy before it is read, and then
//! held against the image and against itself.

use super::{SealedError, Statement, StatementFile};
use crate::OpsError;
use crate::trust::{Gate, Trusted};
use cos_events::{Monitor, warn};
use cos_image::{Artifact, ArtifactFile, Digest, ImageError, Options, Reference, Source};
use cos_store::{FileDigest, PROGRAM, ROOT_IMAGE, Verified};
use std::path::Path;

/// Type of what is published: an artifact that refers to the manifest of the image, for one architecture.
pub const ARTIFACT_TYPE: &str = "application/vnd.dev.cos.sealed.v1";
/// Type of the statement.
pub(super) const STATEMENT_TYPE: &str = "application/vnd.dev.cos.sealed.statement.v1+json";
/// Type of the signed program.
pub(super) const PROGRAM_TYPE: &str = "application/vnd.microsoft.portable-executable";
/// Type of the root image.
pub(super) const ROOT_TYPE: &str = "application/vnd.dev.cos.root.v1";
/// The statement's name.
pub(super) const STATEMENT: &str = "statement.json";
/// What of a statement is fetched.
const MAX_STATEMENT: u64 = 64 << 10;

/// A sealed system beside its image. Its program and its root image are not fetched yet.
#[derive(Debug)]
pub struct Published {
    /// What is said of it.
    pub statement: Statement,
    /// Digest of what is published.
    pub artifact: Digest,
    /// What is known of its signatures; nothing where nobody had to be asked.
    pub verified: Option<Verified>,
    source: Source,
    program: ArtifactFile,
    root: Option<ArtifactFile>,
}

impl Published {
    /// All of them beside an image, as [`Published::all`] finds them.
    pub fn of(
        image: &Trusted,
        options: &Options,
        gate: &Gate,
        monitor: &dyn Monitor,
    ) -> Result<Vec<Self>, OpsError> {
        let resolved = image.resolved();
        match (resolved.source(), resolved.digest()) {
            (Source::Registry(reference), Some(digest)) => {
                Self::all(reference, digest, options, gate, monitor)
            }
            (source, _) => Err(not_sealed(source).into()),
        }
    }

    /// The newest one beside the manifest with this digest, in the repository of `reference`, that the gate
    /// lets pass.
    pub fn find(
        reference: &Reference,
        digest: &Digest,
        options: &Options,
        gate: &Gate,
        monitor: &dyn Monitor,
    ) -> Result<Self, OpsError> {
        let all = Self::all(reference, digest, options, gate, monitor)?;
        let newest = all.into_iter().next();
        newest.ok_or_else(|| not_sealed(&Source::Registry(reference.clone())).into())
    }

    /// All of them, the newest first; none is an error. One image may be sealed with several keys. What cannot
    /// be used is told as a warning where something else can.
    pub fn all(
        reference: &Reference,
        digest: &Digest,
        options: &Options,
        gate: &Gate,
        monitor: &dyn Monitor,
    ) -> Result<Vec<Self>, OpsError> {
        let (mut found, mut refused) = Self::look(reference, digest, options, gate, monitor)?;
        if found.is_empty() {
            // That nobody signed it says more than that something else is broken.
            let policy = |it: &OpsError| matches!(it, OpsError::Trust(_));
            let index = refused.iter().position(policy).unwrap_or(0);
            let error = (index < refused.len()).then(|| refused.swap_remove(index));
            let source = Source::Registry(reference.clone());
            return Err(error.unwrap_or_else(|| not_sealed(&source).into()));
        }
        for error in refused {
            let text = crate::error::chain(&error);
            warn(monitor, format!("passed over a sealed system: {text}"));
        }
        found.sort_by_key(|it| std::cmp::Reverse(it.statement.date));
        Ok(found)
    }

    /// All that can be used, in the order of the registry, and why the others cannot.
    pub(super) fn look(
        reference: &Reference,
        digest: &Digest,
        options: &Options,
        gate: &Gate,
        monitor: &dyn Monitor,
    ) -> Result<(Vec<Self>, Vec<OpsError>), OpsError> {
        let search = Search {
            reference,
            digest,
            source: Source::Registry(reference.clone()),
            options,
            gate,
            monitor,
        };
        let listed = cos_image::artifacts(reference, digest, ARTIFACT_TYPE, options, monitor);
        let listed = listed.map_err(|error| search.failed(error))?;
        let (mut found, mut refused) = (Vec::new(), Vec::new());
        for artifact in listed {
            let read = artifact.map_err(|error| search.failed(error));
            match read.and_then(|artifact| search.read(&artifact)) {
                Ok(published) => found.push(published),
                Err(error) if ends_search(&error) => return Err(error),
                Err(error) => refused.push(error),
            }
        }
        Ok((found, refused))
    }

    /// Whether the root image is published too.
    pub fn has_root(&self) -> bool {
        self.root.is_some()
    }

    /// Fetches the signed program to `path`; an earlier try is gone on with.
    pub fn save_program(&self, path: &Path, monitor: &dyn Monitor) -> Result<(), OpsError> {
        let saved = self.program.save(path, Statement::MAX_PROGRAM, monitor);
        saved.map_err(|error| OpsError::image(&self.source, error))
    }

    /// Fetches the root image to `path`; an earlier try is gone on with.
    pub fn save_root(&self, path: &Path, monitor: &dyn Monitor) -> Result<(), OpsError> {
        let root = self.root.as_ref().ok_or_else(|| SealedError::NoRoot {
            artifact: self.artifact.to_string(),
        })?;
        let saved = root.save(path, self.statement.size, monitor);
        saved.map_err(|error| OpsError::image(&self.source, error))
    }
}

fn not_sealed(source: &Source) -> SealedError {
    SealedError::NotSealed {
        image: source.to_string(),
    }
}

/// Whether there is no use in looking at the next one.
fn ends_search(error: &OpsError) -> bool {
    match error {
        OpsError::Cancelled(_) => true,
        OpsError::Image { source, .. } => source.is_transient(),
        _ => false,
    }
}

struct Search<'s> {
    reference: &'s Reference,
    digest: &'s Digest,
    source: Source,
    options: &'s Options,
    gate: &'s Gate,
    monitor: &'s dyn Monitor,
}

impl Search<'_> {
    fn failed(&self, error: ImageError) -> OpsError {
        OpsError::image(&self.source, error)
    }

    fn read(&self, artifact: &Artifact) -> Result<Published, OpsError> {
        let verified = match self.gate {
            Gate::Open => None,
            Gate::Guarded(guard) => {
                let name = format!("sealed system {} of {}", artifact.digest, self.source);
                let (options, monitor) = (self.options, self.monitor);
                let digest = &artifact.digest;
                Some(guard.check_beside(self.reference, digest, &name, options, monitor)?)
            }
        };
        let contradiction = |reason| SealedError::Contradiction {
            artifact: artifact.digest.to_string(),
            reason,
        };
        let file = artifact.file(STATEMENT);
        let file = file.ok_or_else(|| contradiction("it has no statement"))?;
        let bytes = file.bytes(MAX_STATEMENT, self.monitor);
        let bytes = bytes.map_err(|error| self.failed(error))?;
        let statement = Statement::parse(&bytes).map_err(|source| SealedError::Statement {
            artifact: artifact.digest.to_string(),
            source,
        })?;
        if statement.image != *self.digest {
            return Err(contradiction("its statement is about another image").into());
        }
        let program = artifact.file(PROGRAM);
        let program = program.filter(|it| is_stated(it, &statement.program));
        let program =
            program.ok_or_else(|| contradiction("its program is not the one of its statement"))?;
        let root = match &statement.root {
            None => None,
            Some(stated) => {
                let root = artifact.file(ROOT_IMAGE).filter(|it| is_stated(it, stated));
                Some(root.ok_or_else(|| {
                    contradiction("its root image is not the one of its statement")
                })?)
            }
        };
        Ok(Published {
            artifact: artifact.digest.clone(),
            verified,
            source: self.source.clone(),
            program: program.clone(),
            root: root.cloned(),
            statement,
        })
    }
}

fn is_stated(file: &ArtifactFile, stated: &StatementFile) -> bool {
    file.size == stated.size && file.digest == digest_of(&stated.digest)
}

/// A file's digest as registries write it.
pub(super) fn digest_of(file: &FileDigest) -> Digest {
    Digest::from_sha256(&file.0)
}
