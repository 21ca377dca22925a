//! `cos upgrade` and `cos switch`.

use super::machine;
use super::power;
use super::request::{self, argument};
use super::trust;
use crate::arguments::{SwitchArguments, UpgradeArguments, UpgradeOptions};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::render::Renderer;
use cos_config::{Config, VersionReq};
use cos_image::{Options, Platform, PlatformChoice, Source};
use cos_ops::OpsError;
use cos_ops::machine::{Machine, Places, require_root};
use cos_ops::root::convert::{CompressionChoice, ImageRequest};
use cos_ops::upgrade::{
    Extent, Outcome, Target, UpgradeRequest, UpgradeResult, Wanted, upgrade as run,
};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where COS_PERSISTENT is mounted.
const PERSISTENT: &str = "/usr/local";

/// Upgrades this machine.
pub(crate) fn upgrade(
    arguments: &UpgradeArguments,
    environment: &Environment,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    let source = arguments
        .source
        .as_deref()
        .map(request::source)
        .transpose()?;
    operate(source, false, &arguments.options, environment, renderer)
}

/// Upgrades this machine to something that it follows from then on.
pub(crate) fn switch(
    arguments: &SwitchArguments,
    environment: &Environment,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    let source = Some(request::source(&arguments.source)?);
    operate(source, true, &arguments.options, environment, renderer)
}

fn operate(
    source: Option<Source>,
    follow: bool,
    options: &UpgradeOptions,
    environment: &Environment,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    require_root().map_err(OpsError::from)?;
    let this = Machine::probe(&Places::default()).map_err(OpsError::from)?;
    let config = load_config(environment)?;
    let version = options.version_rule.as_deref().map(|rule| {
        VersionReq::parse(rule).map_err(|error| {
            let message = format!("--version-rule {rule} is no rule for versions: {error}");
            argument(message, Some("\">=1.2, <2\""))
        })
    });
    let request = UpgradeRequest {
        wanted: Wanted {
            source,
            version: version.transpose()?,
            follow,
        },
        image: image(options, environment)?,
        target: if options.recovery {
            Target::Recovery
        } else {
            Target::System
        },
        extent: match (options.check, options.download_only, options.apply) {
            (true, ..) => Extent::Check,
            (_, true, _) => Extent::Download,
            (_, _, true) => Extent::Apply,
            _ => Extent::Whole,
        },
        force: options.force,
        allow_downgrade: options.allow_downgrade,
        scratch: scratch(options, &this),
        now: cos_ops::machine::now(),
    };
    let hooks = machine::hooks("upgrade", environment, renderer);
    let result = run(&request, &this, &config, &hooks, renderer)?;
    renderer.result(&describe(&result), &result)?;
    if options.reboot && result.outcome == Outcome::Committed {
        power::reboot(environment)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The configuration of this machine.
pub(super) fn load_config(environment: &Environment) -> Result<Config, Failure> {
    let root = cos_config::open_root(Path::new("/")).map_err(Failure::Config)?;
    Config::load(&root, &environment.all).map_err(Failure::Config)
}

fn scratch(options: &UpgradeOptions, machine: &Machine) -> Vec<PathBuf> {
    match &options.temp_dir {
        Some(directory) => vec![directory.clone()],
        None if machine.boot.persistent => vec![PathBuf::from(PERSISTENT)],
        None => Vec::new(),
    }
}

/// How images are read: the source is found out later.
fn image(options: &UpgradeOptions, environment: &Environment) -> Result<ImageRequest, Failure> {
    let platform = PlatformChoice::Prefer(Platform::linux(std::env::consts::ARCH));
    let mut image = Options::new(platform, "/");
    image.tool_path.clone_from(&environment.path);
    request::registry(&mut image, &options.registry, environment)?;
    request::machine_registries(&mut image, &options.registry, environment)?;
    Ok(ImageRequest {
        source: Source::Directory("/".into()),
        overlays: Vec::new(),
        options: image,
        gate: trust::gate(&options.trust)?,
        compression: CompressionChoice::Auto,
        threads: machine::threads(),
        time: request::time(environment)?,
    })
}

fn describe(result: &UpgradeResult) -> String {
    let what = match &result.digest {
        Some(digest) => format!("{} ({digest})", result.source),
        None => result.source.clone(),
    };
    let id = result
        .snapshot
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let system = match result.target {
        Target::System => "",
        Target::Recovery => "recovery ",
    };
    match result.outcome {
        Outcome::UpToDate => format!("{system}snapshot {id} is {what} already\n"),
        Outcome::Available => format!("there is a new image: {what}\n"),
        Outcome::Stale => format!(
            "stale: the signatures of {what} expired at {}; what the registry shows may be old\n",
            result.expires.as_deref().unwrap_or("a time that is over")
        ),
        Outcome::Staged => format!(
            "{system}snapshot {id} is ready: {what}\n`cos upgrade --apply` makes it boot next\n"
        ),
        Outcome::Committed => format!("{system}snapshot {id} boots next: {what}\n"),
    }
}
