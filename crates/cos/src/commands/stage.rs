//! `cos stage`.

use super::request::argument;
use crate::arguments::StageArguments;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::render::Renderer;
use cos_http::{HttpConfig, Proxies};
use cos_image::{Options, Platform, PlatformChoice, ProxyConfig};
use cos_ops::stage::{StageRequest, plan, run};
use cos_stages::{Source, Strictness};
use std::io::{self, Read as _};
use std::path::Path;
use std::process::ExitCode;

/// The stage ran, and something in it failed.
const FAILED: u8 = 6;
/// Where systemd says that it runs this system.
const SYSTEMD: &str = "/run/systemd/system";
/// Most bytes of standard input.
const MAX_INPUT: u64 = 4 << 20;

/// Runs a stage, or says what it would do.
pub(crate) fn stage(
    arguments: &StageArguments,
    environment: &Environment,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    let request = request(arguments, environment)?;
    let summary = if arguments.plan {
        plan(&request, renderer)
    } else {
        run(&request, renderer)
    }
    .map_err(Failure::Stage)?;
    renderer.result(&summary.to_string(), &summary)?;
    Ok(if summary.failed() {
        ExitCode::from(FAILED)
    } else {
        ExitCode::SUCCESS
    })
}

fn request(arguments: &StageArguments, environment: &Environment) -> Result<StageRequest, Failure> {
    let named = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if arguments.stage.is_empty() || !arguments.stage.chars().all(named) {
        let message = format!("{:?} is no stage", arguments.stage);
        let hint =
            "pre-rootfs, rootfs, initramfs, fs, boot, network, reconcile, or a name of your own";
        return Err(argument(message, Some(hint)));
    }
    let own = arguments.root == Path::new("/");
    let sources = arguments
        .source
        .iter()
        .map(|text| source(text))
        .collect::<Result<Vec<_>, _>>()?;
    let request = own_request(&arguments.stage, environment);
    Ok(StageRequest {
        root: arguments.root.clone(),
        sources: (!sources.is_empty()).then_some(sources),
        strictness: match (arguments.strict, arguments.compat) {
            (true, _) => Some(Strictness::Strict),
            (_, true) => Some(Strictness::Compatible),
            _ => None,
        },
        running: own && request.running,
        command_line: if own {
            request.command_line.clone()
        } else {
            String::new()
        },
        ..request
    })
}

/// A stage of this system, from its own documents.
pub(super) fn own_request(stage: &str, environment: &Environment) -> StageRequest {
    let mut images = Options::new(
        PlatformChoice::Prefer(Platform::linux(std::env::consts::ARCH)),
        std::env::temp_dir(),
    );
    images.tool_path.clone_from(&environment.path);
    images
        .registry
        .credential_files
        .clone_from(&environment.credential_files);
    images.registry.proxy = ProxyConfig {
        http: environment.http_proxy.clone(),
        https: environment.https_proxy.clone(),
        no_proxy: environment.no_proxy.clone(),
    };
    StageRequest {
        stage: stage.to_owned(),
        root: "/".into(),
        sources: None,
        strictness: None,
        running: !environment.offline && Path::new(SYSTEMD).exists(),
        command_line: command_line(),
        environment: environment.all.clone(),
        http: http(environment),
        images,
    }
}

/// What the kernel was told; a sandbox without /proc has been told nothing.
pub(super) fn command_line() -> String {
    fs_err::read("/proc/cmdline")
        .map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned())
        .unwrap_or_default()
}

pub(super) fn http(environment: &Environment) -> HttpConfig {
    let mut config = HttpConfig {
        proxy: Proxies {
            https: environment.https_proxy.clone(),
            http: environment.http_proxy.clone(),
            no_proxy: environment.no_proxy.clone(),
        },
        ..HttpConfig::default()
    };
    if let Some(file) = &environment.certificate_file {
        config.system_ca_files = vec![file.clone()];
    }
    config
}

/// A source as an argument names it; paths are made whole, as they are looked up from the root.
pub(super) fn source(text: &str) -> Result<Source, Failure> {
    if text != "-" {
        return Ok(match Source::parse(text) {
            Source::Path(path) => Source::Path(std::path::absolute(path)?),
            other => other,
        });
    }
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(MAX_INPUT + 1)
        .read_to_end(&mut bytes)?;
    Ok(Source::Text {
        name: "standard input".into(),
        bytes,
    })
}
