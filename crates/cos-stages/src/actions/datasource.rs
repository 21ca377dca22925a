//! `datasource`: user-data found, kept, and what it says of the machine's name and keys done.

use super::accounts::add_each_key;
use super::files::absolute;
use super::names::set_hostname;
use crate::context::{Context, Host};
use crate::document::{Strictness, load};
use crate::error::StepError;
use crate::run::Report;
use crate::schema::{DatasourceStep, Step};
use cos_datasource::{Provider, UserData};
use cos_sys::root_file::Metadata;
use std::path::{Path, PathBuf};

/// What providers say of the machine, a file each, as yip keeps it.
const FACTS: &str = "/run/config";
/// User-data as it came, whatever it is; no source takes it for a document.
const RAW: &str = "userdata";

pub(super) fn datasource(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    let Some(wanted) = &step.datasource else {
        return;
    };
    let Some(data) = found(wanted, context, report) else {
        return;
    };
    report.output(&format!("user-data of {}", data.provider));
    if let Some(Some(document)) = report.take(keep(wanted, &data, context)) {
        report.brought(document.display().to_string());
    }
    report.take(keep_facts(&data, context));
    if let Some(name) = &data.hostname {
        report.take(set_hostname(name, context));
    }
    add_each_key("root", &data.ssh_keys, context, report);
}

/// Asks the providers. Having no user-data is reported as a failure unless it may be so.
fn found(
    wanted: &DatasourceStep,
    context: &Context<'_>,
    report: &mut Report<'_>,
) -> Option<UserData> {
    let mut providers = Vec::new();
    for name in &wanted.providers {
        let provider = name.parse::<Provider>();
        providers
            .extend(report.take(provider.map_err(|error| StepError::Value(error.to_string()))));
    }
    let mut missing = None;
    let mut file = None;
    if providers.contains(&Provider::File) {
        let path = wanted.path.as_deref().unwrap_or_default();
        file = file_inside(path, context);
        if file.is_none() {
            // Nobody is to look for it in another root.
            providers.retain(|provider| *provider != Provider::File);
            missing = Some(format!("no user-data: the file {path} is not there"));
        }
    }
    let fetched = if providers.is_empty() {
        let why = missing.unwrap_or_else(|| "no provider is named".to_owned());
        Err(StepError::Value(why))
    } else {
        let file = file.as_deref();
        let Host { http, monitor, .. } = *context.host;
        let fetched = context
            .host
            .datasources
            .fetch(&providers, file, http, monitor);
        fetched.map_err(|source| StepError::Datasource { source })
    };
    match fetched {
        Err(error) if wanted.optional && !wanted.providers.is_empty() => {
            report.output(&crate::error::chain(&error));
            None
        }
        fetched => report.take(fetched),
    }
}

/// Where a file of the root really is, if it is there.
fn file_inside(path: &str, context: &Context<'_>) -> Option<PathBuf> {
    context.root.real_path(&absolute(path).ok()?).ok()
}

fn secret() -> Metadata {
    Metadata {
        mode: Some(0o600),
        owner: Some(0),
        group: Some(0),
    }
}

/// Keeps the user-data: as it came, and under a name that later stages read when it is a document,
/// which is returned when it is not the one that is there already.
fn keep(
    wanted: &DatasourceStep,
    data: &UserData,
    context: &Context<'_>,
) -> Result<Option<PathBuf>, StepError> {
    let Some(bytes) = &data.user_data else {
        return Ok(None);
    };
    let directory = match wanted.path.as_deref() {
        Some(path) if data.provider != Provider::File => absolute(path)?,
        _ => PathBuf::from(FACTS),
    };
    let name = wanted
        .userdata_name
        .as_deref()
        .filter(|name| !name.is_empty());
    let name = name.unwrap_or("userdata.yaml");
    if name.contains('/') || name.starts_with('.') || name == RAW {
        return Err(StepError::Value(format!(
            "{name:?} is no file name for user-data"
        )));
    }
    write(&directory.join(RAW), bytes, context)?;
    // Whatever form it has that is understood: sources end in .yaml, what they hold is looked at.
    let loaded = load(name, bytes, Strictness::Compatible);
    let document = directory.join(name);
    if loaded.documents.is_empty() {
        let known = bytes.starts_with(b"#cloud-config");
        if known || !loaded.diagnostics.is_empty() {
            let why: Vec<String> = loaded
                .diagnostics
                .iter()
                .map(|finding| format!("line {}: {}", finding.at.line, finding.message))
                .collect();
            return Err(StepError::Value(format!(
                "the user-data is not understood: {}",
                why.join("; ")
            )));
        }
        return Ok(None);
    }
    // The same text was read by the stages before this one: it brings nothing.
    let known = context
        .root
        .read(&document, bytes.len() as u64 + 1)
        .is_ok_and(|found| found.as_deref() == Some(bytes));
    if known {
        return Ok(None);
    }
    write(&document, bytes, context)?;
    Ok(Some(document))
}

fn write(path: &Path, bytes: &[u8], context: &Context<'_>) -> Result<(), StepError> {
    context
        .root
        .write(path, bytes, &secret())
        .map_err(|source| StepError::Path {
            what: format!("the file {}", path.display()),
            source,
        })
}

fn keep_facts(data: &UserData, context: &Context<'_>) -> Result<(), StepError> {
    let directory = Path::new(FACTS);
    let mut facts: Vec<(String, String)> = vec![("provider".into(), data.provider.to_string())];
    facts.extend(
        data.instance_id
            .clone()
            .map(|id| ("instance_id".into(), id)),
    );
    facts.extend(
        data.hostname
            .clone()
            .map(|name| ("local_hostname".into(), name)),
    );
    for (key, value) in &data.metadata {
        let name: String = key
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        facts.push((name, value.clone()));
    }
    for (name, value) in facts {
        write(&directory.join(name), value.as_bytes(), context)?;
    }
    if !data.ssh_keys.is_empty() {
        let keys = data.ssh_keys.join("\n") + "\n";
        write(
            &directory.join("ssh/authorized_keys"),
            keys.as_bytes(),
            context,
        )?;
    }
    Ok(())
}
