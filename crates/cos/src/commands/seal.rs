//! `cos seal`.

use super::request::{self, argument};
use crate::arguments::SealArguments;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::render::Renderer;
use cos_image::{Options, Platform, PlatformChoice, Source};
use cos_ops::OpsError;
use cos_ops::build::sizes::Bytes;
use cos_ops::machine::now;
use cos_ops::root::convert::ImageRequest;
use cos_ops::sealed::{SealRequest, SealResult, SealingKeys, seal as seal_image};
use cos_trust::SigningKey;
use std::process::ExitCode;

/// Seals an image in its registry.
pub(crate) fn seal(
    arguments: &SealArguments,
    environment: &Environment,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    let source = request::source(&arguments.image)?;
    if !matches!(source, Source::Registry(_)) {
        let message = format!("{} is not in a registry", arguments.image);
        let hint = "push it first: what seals an image is published beside it";
        return Err(argument(message, Some(hint)));
    }
    let platform = match &arguments.arch {
        Some(name) => PlatformChoice::Exactly(Platform::linux(name)),
        None => PlatformChoice::Prefer(Platform::linux(std::env::consts::ARCH)),
    };
    let temp_dir = arguments.temp_dir.clone();
    let temp_dir = temp_dir.unwrap_or_else(std::env::temp_dir);
    let mut options = Options::new(platform, &temp_dir);
    options.tool_path.clone_from(&environment.path);
    request::registry(&mut options, &arguments.registry, environment)?;
    let signing = arguments.key.as_deref().map(SigningKey::read);
    let request = SealRequest {
        image: ImageRequest {
            source,
            overlays: Vec::new(),
            options,
            gate: super::trust::gate_of_file(arguments.policy.as_deref())?,
            compression: request::compression(&arguments.format.compression)?,
            threads: request::threads(arguments.format.threads),
            time: request::time(environment)?,
        },
        keys: SealingKeys::read_for(&arguments.keys, arguments.encrypt).map_err(OpsError::from)?,
        signing: signing.transpose().map_err(OpsError::from)?,
        with_root: arguments.with_root,
        kernel_arguments: arguments.kernel_arguments.clone().unwrap_or_default(),
        temp_dir,
        now: now(),
    };
    let result = seal_image(request, renderer)?;
    renderer.result(&text(&result), &result)?;
    Ok(ExitCode::SUCCESS)
}

fn text(result: &SealResult) -> String {
    let SealResult {
        image,
        artifact,
        statement,
        signature,
    } = result;
    let root = statement.root.as_ref();
    let root = root.map(|it| format!(", root.img ({})", Bytes(it.size)));
    let signed = signature.as_ref().map_or(
        "not signed: only machines whose policy accepts this repository unsigned take it"
            .to_owned(),
        |signature| format!("signed with key {}", signature.key),
    );
    format!(
        "sealed {image} ({})\nroot hash: {}\npublished {artifact}: system.efi ({}){}\n{signed}\n",
        statement.image,
        statement.root_hash,
        Bytes(statement.program.size),
        root.unwrap_or_default(),
    )
}
