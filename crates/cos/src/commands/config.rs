//! `cos config`.

use super::request::argument;
use super::stage::source;
use crate::arguments::{CheckArguments, ConfigCommand};
use crate::failure::Failure;
use crate::render::Renderer;
use cos_http::{HttpClient, HttpConfig};
use cos_stages::explain::{explain, keys};
use cos_stages::{Loaded, Reader, Severity, Source, Strictness};
use cos_sys::root_path::Root;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// The documents were read, and are not right.
const FOUND: u8 = 5;

/// Looks at documents.
pub(crate) fn config(command: ConfigCommand, renderer: &Renderer) -> Result<ExitCode, Failure> {
    match command {
        ConfigCommand::Check(arguments) => check(&arguments, renderer),
        ConfigCommand::Schema => {
            let schema = cos_stages::schema::document_schema();
            let text = serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n";
            renderer.result(&text, &schema)?;
            Ok(ExitCode::SUCCESS)
        }
        ConfigCommand::Explain { key: Some(key) } => {
            let text = explain(&key).map_err(|error| {
                argument(error.to_string(), Some("cos config explain lists all"))
            })?;
            renderer.result(&text, &text)?;
            Ok(ExitCode::SUCCESS)
        }
        ConfigCommand::Explain { key: None } => {
            let mut text = String::new();
            for key in keys() {
                // Writing to a String cannot fail.
                let _infallible =
                    writeln!(text, "{}: {}\n    {}", key.path, key.takes, key.description);
            }
            renderer.result(&text, &text)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

#[derive(Serialize)]
struct Checked<'l> {
    documents: usize,
    steps: usize,
    findings: &'l [cos_stages::Diagnostic],
}

fn check(arguments: &CheckArguments, renderer: &Renderer) -> Result<ExitCode, Failure> {
    let unusable = |error: Box<dyn std::error::Error>| Failure::Argument { error, hint: None };
    let root = Root::open(Path::new("/")).map_err(|error| unusable(error.into()))?;
    let http = HttpClient::new(&HttpConfig::default()).map_err(|error| unusable(error.into()))?;
    let strictness = if arguments.compat {
        Strictness::Compatible
    } else {
        Strictness::Strict
    };
    let reader = Reader {
        root: &root,
        http: &http,
        strictness,
    };
    let mut loaded = Loaded::default();
    for file in &arguments.files {
        let source = source(file)?;
        let mut read = reader.read(&source, false, renderer);
        if let Source::Path(whole) = source {
            // A path is shown as it was given.
            let whole = whole.display().to_string();
            for finding in &mut read.diagnostics {
                if let Some(rest) = finding.source.strip_prefix(&whole) {
                    finding.source = format!("{file}{rest}");
                }
            }
        }
        loaded.documents.append(&mut read.documents);
        loaded.diagnostics.append(&mut read.diagnostics);
    }
    report(&loaded, renderer)
}

fn report(loaded: &Loaded, renderer: &Renderer) -> Result<ExitCode, Failure> {
    let steps = loaded
        .documents
        .iter()
        .flat_map(|document| &document.stages)
        .map(|stage| stage.steps.len())
        .sum();
    let count = |severity| {
        let of = |finding: &&cos_stages::Diagnostic| finding.severity == severity;
        loaded.diagnostics.iter().filter(of).count()
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let mut text = String::new();
    // Writing to a String cannot fail.
    for finding in &loaded.diagnostics {
        let _infallible = writeln!(text, "{finding}");
    }
    let _infallible = writeln!(
        text,
        "documents: {}, steps: {steps}, errors: {errors}, warnings: {warnings}",
        loaded.documents.len()
    );
    let checked = Checked {
        documents: loaded.documents.len(),
        steps,
        findings: &loaded.diagnostics,
    };
    renderer.result(&text, &checked)?;
    Ok(if loaded.has_errors() {
        ExitCode::from(FOUND)
    } else {
        ExitCode::SUCCESS
    })
}
