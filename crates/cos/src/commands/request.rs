//! From the arguments that say which image, to the request for it.

use crate::arguments::{FormatArguments, RegistryArguments, SourceArguments};
use crate::environment::Environment;
use crate::failure::Failure;
use cos_image::{Options, Platform, PlatformChoice, ProxyConfig, Source};
use cos_ops::build::payload::BuildRequest;
use cos_ops::root::convert::{CompressionChoice, ImageRequest};
use std::path::Path;

/// A request for media from an image.
pub(crate) fn build(
    source: &SourceArguments,
    format: &FormatArguments,
    output: &Path,
    kernel_arguments: Option<&str>,
    environment: &Environment,
) -> Result<BuildRequest, Failure> {
    let mut image = image(source, output, environment)?;
    image.compression = compression(&format.compression)?;
    image.threads = threads(format.threads);
    Ok(BuildRequest {
        image,
        kernel_arguments: kernel_arguments.unwrap_or_default().to_owned(),
        temp_dir: source.temp_dir.clone(),
        output: output.to_path_buf(),
    })
}

/// A request for an image; temporary data goes beside `output`.
pub(crate) fn image(
    arguments: &SourceArguments,
    output: &Path,
    environment: &Environment,
) -> Result<ImageRequest, Failure> {
    let source = source(&arguments.source)?;
    let platform = match &arguments.arch {
        Some(name) => PlatformChoice::Exactly(Platform::linux(name)),
        None => PlatformChoice::Prefer(Platform::linux(std::env::consts::ARCH)),
    };
    let beside = output
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let temp_dir = arguments
        .temp_dir
        .as_deref()
        .or(beside)
        .unwrap_or(Path::new("."));
    let mut options = Options::new(platform, temp_dir);
    options.tool_path.clone_from(&environment.path);
    registry(&mut options, &arguments.registry, environment)?;
    Ok(ImageRequest {
        source,
        overlays: arguments.overlay.clone(),
        options,
        gate: super::trust::gate_of_file(arguments.policy.as_deref())?,
        compression: CompressionChoice::Auto,
        threads: threads(None),
        time: time(environment)?,
    })
}

/// How many threads: those that are asked for, or one a processor.
pub(super) fn threads(wanted: Option<usize>) -> usize {
    match wanted {
        Some(threads) => threads.clamp(1, 256),
        None => std::thread::available_parallelism().map_or(2, usize::from),
    }
}

/// An image as an argument names it.
pub(super) fn source(text: &str) -> Result<Source, Failure> {
    text.parse().map_err(|error: cos_image::ImageError| {
        let hint = error.hint();
        Failure::Argument {
            error: Box::new(error),
            hint,
        }
    })
}

pub(super) fn registry(
    options: &mut Options,
    arguments: &RegistryArguments,
    environment: &Environment,
) -> Result<(), Failure> {
    let registry = &mut options.registry;
    registry.helper_path.clone_from(&environment.path);
    registry.credential_files = match &arguments.auth_file {
        Some(file) => vec![file.clone()],
        None => environment.credential_files.clone(),
    };
    registry
        .insecure
        .extend(arguments.insecure_registry.iter().cloned());
    registry.ca_files.clone_from(&arguments.ca_certificate);
    if let Some(file) = &environment.certificate_file {
        registry.system_ca_files = vec![file.clone()];
    }
    for pair in &arguments.mirror {
        let (host, mirror) = pair.split_once('=').ok_or_else(|| {
            argument(
                format!("--mirror {pair} is not HOST=MIRROR"),
                Some("docker.io=mirror.example:5000"),
            )
        })?;
        registry
            .mirrors
            .entry(host.to_owned())
            .or_default()
            .push(mirror.to_owned());
    }
    registry.proxy = ProxyConfig {
        http: environment.http_proxy.clone(),
        https: environment.https_proxy.clone(),
        no_proxy: environment.no_proxy.clone(),
    };
    Ok(())
}

/// Adds what the configuration of this machine says about registries, where it has one.
pub(super) fn machine_registries(
    options: &mut Options,
    arguments: &RegistryArguments,
    environment: &Environment,
) -> Result<(), Failure> {
    let config = super::upgrade::load_config(environment)?;
    let registry = &mut options.registry;
    registry
        .insecure
        .extend(config.insecure.value.iter().cloned());
    registry
        .ca_files
        .extend(config.ca_certificates.value.iter().cloned());
    for (host, mirrors) in &config.mirrors.value {
        let known = registry.mirrors.entry(host.clone()).or_default();
        known.extend(mirrors.iter().cloned());
    }
    if let (None, Some(file)) = (&arguments.auth_file, &config.auth_file.value) {
        registry.credential_files.insert(0, file.clone());
    }
    Ok(())
}

pub(super) fn time(environment: &Environment) -> Result<Option<i64>, Failure> {
    let Some(text) = &environment.source_date_epoch else {
        return Ok(None);
    };
    let time = text.parse().map_err(|_| {
        argument(
            format!("SOURCE_DATE_EPOCH={text} is not a number of seconds since 1970"),
            None,
        )
    })?;
    Ok(Some(time))
}

pub(super) fn compression(text: &str) -> Result<CompressionChoice, Failure> {
    text.parse().map_err(|_| {
        let hint = "auto, none, lz4, zstd or zstd:1 to zstd:19";
        argument(format!("--compression {text} is not known"), Some(hint))
    })
}

/// An argument that cannot be used.
pub(crate) fn argument(message: String, hint: Option<&str>) -> Failure {
    Failure::Argument {
        error: message.into(),
        hint: hint.map(ToOwned::to_owned),
    }
}
