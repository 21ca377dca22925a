//! `cos seal`: what an image becomes, signed and published beside it.

use super::programs::system_program;
use super::published::{
    ARTIFACT_TYPE, PROGRAM_TYPE, Published, ROOT_TYPE, STATEMENT, STATEMENT_TYPE, digest_of,
};
use super::{SealedError, SealingKeys, Statement, StatementFile};
use crate::OpsError;
use crate::build::payload::step;
use crate::deploy::scratch;
use crate::root::convert::{CompressionChoice, ImageRequest, load_trusted};
use crate::root::snapshot::{Described, write_snapshot};
use crate::trust::{self, Gate, SignFormat, SignRequest, SignResult, Trusted};
use cos_boot::KernelArguments;
use cos_events::{Monitor, Task};
use cos_image::{Digest, FileContent, NewArtifact, NewFile, Publisher, Reference, Source};
use cos_store::{Action, FileDigest, PROGRAM, ROOT_IMAGE, Snapshot};
use cos_trust::SigningKey;
use fs_err::File;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Bytes hashed between two questions whether to stop.
const CHUNK: usize = 1 << 20;

/// What to seal, and with what.
#[derive(Debug)]
pub struct SealRequest {
    /// The image, in a registry, without overlays: machines make the same of it.
    pub image: ImageRequest,
    /// What signs the program.
    pub keys: SealingKeys,
    /// What signs all that is published, as it signs images.
    pub signing: Option<SigningKey>,
    /// Whether the root image is published too.
    pub with_root: bool,
    /// Kernel arguments behind those of the image.
    pub kernel_arguments: String,
    /// Where to keep temporary data.
    pub temp_dir: PathBuf,
    /// The time, seconds since 1970.
    pub now: i64,
}

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SealResult {
    /// The image.
    pub image: String,
    /// Digest of what was published.
    pub artifact: String,
    /// What it says.
    pub statement: Statement,
    /// The signature over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignResult>,
}

/// Seals an image. The same image, sealed the same way, is the same artifact.
pub fn seal(request: SealRequest, monitor: &dyn Monitor) -> Result<SealResult, OpsError> {
    let image = &request.image;
    let trusted = trust::resolve(&image.source, &image.options, &image.gate, monitor)?;
    let trusted = trusted.fresh()?;
    let resolved = trusted.resolved();
    let (Source::Registry(reference), Some(digest)) = (resolved.source(), resolved.digest()) else {
        return Err(SealedError::NotInRegistry {
            image: image.source.to_string(),
        }
        .into());
    };
    let (reference, digest) = (reference.clone(), digest.clone());
    let directory = scratch(&request.temp_dir)?;
    let sealing = Sealing {
        request: &request,
        reference: &reference,
        digest: &digest,
        directory: directory.path(),
        monitor,
    };
    let statement = sealing.state(trusted)?;
    let statement = sealing.as_before(statement)?;
    let artifact = sealing.publish(&statement)?;
    let signature = match request.signing {
        None => None,
        Some(key) => {
            let options = request.image.options.clone();
            Some(sign(&reference, &artifact, options, key, monitor)?)
        }
    };
    Ok(SealResult {
        image: Source::Registry(reference).to_string(),
        artifact: artifact.to_string(),
        statement,
        signature,
    })
}

struct Sealing<'s> {
    request: &'s SealRequest,
    reference: &'s Reference,
    /// Of the image's manifest.
    digest: &'s Digest,
    directory: &'s Path,
    monitor: &'s dyn Monitor,
}

impl Sealing<'_> {
    /// Converts the image, as a machine does, and makes and signs its program.
    fn state(&self, trusted: Trusted) -> Result<Statement, OpsError> {
        let (request, monitor) = (self.request, self.monitor);
        let more = KernelArguments::new(&request.kernel_arguments)?;
        let mut loaded = load_trusted(trusted, &request.image, self.directory, monitor)?;
        let choice = request.image.compression;
        let boot = loaded.fitted_boot_files(choice, self.directory, monitor)?;
        let described = Described {
            source: self.reference.to_string(),
            follows: None,
            machine_arguments: more,
            action: Action::Upgrade,
            time: request.now,
        };
        let snapshot = write_snapshot(&mut loaded, &boot, described, self.directory, monitor)?;
        monitor.checkpoint()?;
        let compression = loaded.compression();
        let program = step(monitor, "sign the system", || {
            system_program(&loaded, &boot, &snapshot, &request.keys, self.directory)
        })?;
        let program = StatementFile {
            digest: program.digest,
            size: program.size,
        };
        let root = self.directory.join(ROOT_IMAGE);
        let root = request.with_root.then(|| self.described(&root));
        Ok(Statement {
            architecture: boot.manifest.architecture,
            program,
            root: root.transpose()?,
            ..self.statement(snapshot, compression)
        })
    }

    fn statement(&self, snapshot: Snapshot, compression: CompressionChoice) -> Statement {
        Statement {
            version: Statement::VERSION,
            image: self.digest.clone(),
            architecture: String::new(),
            format: snapshot.format,
            compression: compression.to_string(),
            root_hash: snapshot.root_hash,
            size: snapshot.size,
            hash_offset: snapshot.hash_offset,
            kernel: snapshot.kernel,
            initrd: snapshot.initrd,
            kernel_arguments: snapshot.kernel_arguments,
            encrypted: self.request.keys.encrypt(),
            date: self.request.image.time.unwrap_or(self.request.now),
            program: StatementFile {
                digest: FileDigest([0; 32]),
                size: 0,
            },
            root: None,
        }
    }

    fn described(&self, path: &Path) -> Result<StatementFile, OpsError> {
        let mut file = File::open(path).map_err(OpsError::Inspect)?;
        let total = file.metadata().map_err(OpsError::Inspect)?.len();
        let name = path.file_name().unwrap_or(path.as_os_str());
        let label = format!("hash {}", name.to_string_lossy());
        let task = Task::bytes(self.monitor, label, Some(total));
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; CHUNK];
        let mut size = 0;
        loop {
            self.monitor.checkpoint()?;
            let read = file.read(&mut buffer).map_err(OpsError::Inspect)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            size += read as u64;
            task.advance(read as u64);
        }
        task.finish();
        Ok(StatementFile {
            digest: FileDigest(hasher.finalize().into()),
            size,
        })
    }

    /// The same statement with the date at which it was made before, where it was. Nothing else is taken from
    /// what is there.
    fn as_before(&self, mut statement: Statement) -> Result<Statement, OpsError> {
        let (published, broken) = self.published()?;
        let date = statement.date;
        let is_same = |it: &&Published| {
            let dated = Statement {
                date: it.statement.date,
                ..statement.clone()
            };
            it.statement == dated && it.statement.date <= date
        };
        if let Some(before) = published.iter().find(is_same) {
            statement.date = before.statement.date;
            return Ok(statement);
        }
        // One more, and machines would take none at all.
        let limit = self.request.image.options.limits.artifacts;
        if published.len() + broken.len() >= limit {
            return Err(SealedError::TooMany {
                image: self.reference.to_string(),
                limit,
            }
            .into());
        }
        Ok(statement)
    }

    /// What is there already, whoever put it there, and what is wrong with the rest.
    fn published(&self) -> Result<(Vec<Published>, Vec<OpsError>), OpsError> {
        let options = &self.request.image.options;
        let (reference, digest) = (self.reference, self.digest);
        Published::look(reference, digest, options, &Gate::Open, self.monitor)
    }

    /// Puts everything beside the image and looks whether it is there.
    fn publish(&self, statement: &Statement) -> Result<Digest, OpsError> {
        let text = statement.to_json().map_err(SealedError::WriteStatement)?;
        let file = |name: &str, kind, stated: &StatementFile| {
            let content = FileContent::File {
                path: self.directory.join(name),
                digest: digest_of(&stated.digest),
                size: stated.size,
            };
            NewFile::named(name, kind, content)
        };
        let mut files = vec![
            NewFile::named(STATEMENT, STATEMENT_TYPE, FileContent::Bytes(text)),
            file(PROGRAM, PROGRAM_TYPE, &statement.program),
        ];
        if let Some(root) = &statement.root {
            files.push(file(ROOT_IMAGE, ROOT_TYPE, root));
        }
        let artifact = NewArtifact {
            artifact_type: ARTIFACT_TYPE.to_owned(),
            subject: self.digest.clone(),
            files,
            annotations: BTreeMap::new(),
        };
        let source = Source::Registry(self.reference.clone());
        let options = &self.request.image.options;
        let put = Publisher::new(self.reference, options, self.monitor)
            .and_then(|publisher| publisher.add_referrer(&artifact));
        let digest = put.map_err(|error| OpsError::image(&source, error))?;
        let (there, _) = self.published()?;
        if !there.iter().any(|it| it.artifact == digest) {
            return Err(SealedError::Gone {
                artifact: digest.to_string(),
                image: source.to_string(),
            }
            .into());
        }
        Ok(digest)
    }
}

fn sign(
    reference: &Reference,
    artifact: &Digest,
    options: cos_image::Options,
    key: SigningKey,
    monitor: &dyn Monitor,
) -> Result<SignResult, OpsError> {
    let request = SignRequest {
        reference: reference.at(artifact.clone()),
        options,
        key,
        expires: None,
        annotations: BTreeMap::new(),
        format: SignFormat::Tag,
    };
    step(monitor, "sign what is published", || {
        trust::sign_digest(&request, artifact, monitor)
    })
}
