//! `cos stage`: the documents of a machine, and a stage of them run.
//!
//! Documents are read anew for each part of a stage: what `.before` brings counts in the stage itself.
//! Documents that only the network brings (user-data of a cloud, `cos.setup=https://…`) come after the
//! stages before it have run; their `initramfs` and `boot` steps are made up for then.

mod host;
mod unpack;

use cos_config::{Config, ConfigError};
use cos_events::Monitor;
use cos_http::{HttpClient, HttpConfig, HttpError};
use cos_stages::plan::with_neighbours;
use cos_stages::source::{DIRECTORIES, USERDATA};
use cos_stages::{Loaded, Reader, Source, StageError, Strictness, Summary, dot_notation};
use cos_sys::root_path::{Root, RootPathError};
use host::Clouds;
use std::path::{Path, PathBuf};
use unpack::Unpacker;

/// Stages that run before there is a network.
const EARLY: [&str; 5] = ["pre-rootfs", "rootfs", "initramfs", "fs", "boot"];
/// Stages of an early boot that a document which came late has missed.
const MISSED: [&str; 2] = ["initramfs", "boot"];

/// Which stage to run, on what.
#[derive(Debug, Clone)]
pub struct StageRequest {
    /// The stage.
    pub stage: String,
    /// The root that steps change.
    pub root: PathBuf,
    /// Sources instead of the usual directories and the kernel command line; their paths are those of
    /// this system, whatever the root.
    pub sources: Option<Vec<Source>>,
    /// Whether unknown keys are errors; by default what `strict` in /etc/cos/config.yaml says.
    pub strictness: Option<Strictness>,
    /// Whether services and the kernel of a running system are there to be told.
    pub running: bool,
    /// The kernel command line; where the caller wants it left out, empty.
    pub command_line: String,
    /// Environment that templates may see.
    pub environment: Vec<(String, String)>,
    /// For what is fetched.
    pub http: HttpConfig,
    /// For images that are unpacked.
    pub images: cos_image::Options,
}

/// Why a stage could not be run at all; what fails in it is in its summary.
#[derive(Debug, thiserror::Error)]
pub enum StageOperationError {
    /// The root directory.
    #[error("cannot use the root {}", .path.display())]
    Root {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: RootPathError,
    },
    /// The HTTP client.
    #[error("cannot set up HTTP")]
    Http {
        /// Why.
        source: HttpError,
    },
    /// The engine.
    #[error("cannot run the stage {stage}")]
    Stage {
        /// The stage.
        stage: String,
        /// Why.
        source: StageError,
    },
    /// The summary.
    #[error("the stage was run, but its summary could not be kept")]
    Summary {
        /// Why.
        source: RootPathError,
    },
    /// The configuration.
    #[error("the configuration cannot be used")]
    Config(#[from] ConfigError),
}

/// What would be run, and what would not and why.
pub fn plan(request: &StageRequest, monitor: &dyn Monitor) -> Result<Summary, StageOperationError> {
    with_machine(request, monitor, |machine| {
        let mut summary = Summary::new(&request.stage);
        let loaded = machine.load(&request.stage);
        let parts = with_neighbours(&request.stage);
        cos_stages::preview(&loaded, &parts, &machine.host, &mut summary)
            .map_err(|source| machine.failed(source))?;
        Ok(summary)
    })
}

/// Runs a stage with its `.before` and `.after`, and keeps its summary.
pub fn run(request: &StageRequest, monitor: &dyn Monitor) -> Result<Summary, StageOperationError> {
    with_machine(request, monitor, |machine| {
        let mut summary = Summary::new(&request.stage);
        for (index, part) in with_neighbours(&request.stage).into_iter().enumerate() {
            let loaded = machine.load(&request.stage);
            machine.run(&loaded, &[part], &mut summary)?;
            if index == 0 && request.stage == "network" && request.sources.is_none() {
                machine.make_up(&mut summary)?;
            }
        }
        summary
            .keep(machine.root)
            .map_err(|source| StageOperationError::Summary { source })?;
        Ok(summary)
    })
}

/// Opens what a stage needs, and hands it on.
fn with_machine<T>(
    request: &StageRequest,
    monitor: &dyn Monitor,
    act: impl FnOnce(&Machine<'_>) -> Result<T, StageOperationError>,
) -> Result<T, StageOperationError> {
    let open = |path: &Path| {
        Root::open(path).map_err(|source| StageOperationError::Root {
            path: path.to_owned(),
            source,
        })
    };
    let (root, host_root) = (open(&request.root)?, open(Path::new("/"))?);
    let http =
        HttpClient::new(&request.http).map_err(|source| StageOperationError::Http { source })?;
    for warning in http.warnings() {
        cos_events::warn(monitor, warning.clone());
    }
    let strictness = match request.strictness {
        Some(strictness) => strictness,
        None => configured(&root)?,
    };
    let clouds = Clouds::new(&request.root, &request.command_line);
    let unpacker = Unpacker {
        options: &request.images,
    };
    let machine = Machine {
        request,
        root: &root,
        host_root: &host_root,
        strictness,
        host: cos_stages::Host {
            root: request.root.clone(),
            running: request.running,
            command_line: request.command_line.clone(),
            environment: request.environment.clone(),
            http: &http,
            datasources: &clouds,
            unpacker: &unpacker,
            boot_device: host::boot_device(&request.command_line),
            monitor,
        },
    };
    act(&machine)
}

/// What the configuration says of strictness.
fn configured(root: &Root) -> Result<Strictness, StageOperationError> {
    let config = Config::load(root, &[])?;
    Ok(if config.strict.value {
        Strictness::Strict
    } else {
        Strictness::Compatible
    })
}

struct Machine<'m> {
    request: &'m StageRequest,
    root: &'m Root,
    /// Of this system, which named sources are read from.
    host_root: &'m Root,
    strictness: Strictness,
    host: cos_stages::Host<'m>,
}

impl Machine<'_> {
    fn failed(&self, source: StageError) -> StageOperationError {
        StageOperationError::Stage {
            stage: self.request.stage.clone(),
            source,
        }
    }

    fn run(
        &self,
        loaded: &Loaded,
        parts: &[String],
        summary: &mut Summary,
    ) -> Result<(), StageOperationError> {
        cos_stages::run(loaded, parts, &self.host, summary).map_err(|source| self.failed(source))
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            root: self.root,
            http: self.host.http,
            strictness: self.strictness,
        }
    }

    /// Every document of the machine that a stage can have by then.
    fn load(&self, stage: &str) -> Loaded {
        let monitor = self.host.monitor;
        let reader = self.reader();
        let mut loaded = Loaded::default();
        if let Some(sources) = &self.request.sources {
            let reader = Reader {
                root: self.host_root,
                ..reader
            };
            for source in sources {
                loaded.append(reader.read(source, false, monitor));
            }
            return loaded;
        }
        for directory in DIRECTORIES.into_iter().chain([USERDATA]) {
            loaded.append(reader.read(&Source::Path(directory.into()), true, monitor));
        }
        let early = EARLY.contains(&stage);
        for source in dot_notation::setup_sources(&self.request.command_line) {
            let source = Source::parse(&source);
            if !(early && matches!(source, Source::Url(_))) {
                loaded.append(reader.read(&source, false, monitor));
            }
        }
        loaded.append(dot_notation::load(
            &self.request.command_line,
            self.strictness,
        ));
        loaded
    }

    /// Runs what documents that came with the network have missed.
    fn make_up(&self, summary: &mut Summary) -> Result<(), StageOperationError> {
        let mut sources: Vec<Source> = summary
            .steps
            .iter()
            .flat_map(|step| &step.brought)
            .map(|path| Source::Path(path.into()))
            .collect();
        sources.extend(
            dot_notation::setup_sources(&self.request.command_line)
                .iter()
                .map(|text| Source::parse(text))
                .filter(|source| matches!(source, Source::Url(_))),
        );
        if sources.is_empty() {
            return Ok(());
        }
        let mut loaded = Loaded::default();
        for source in sources {
            loaded.append(self.reader().read(&source, false, self.host.monitor));
        }
        for stage in MISSED {
            self.run(&loaded, &with_neighbours(stage), summary)?;
        }
        Ok(())
    }
}
