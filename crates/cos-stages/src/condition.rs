//! Whether a step runs.

use crate::context::Context;
use crate::diagnostic::has_secret_word;
use crate::schema::{IfFiles, Step};
use regex::{Regex, RegexBuilder};
use std::path::Path;

/// Largest compiled expression, in bytes.
const REGEX_SIZE: usize = 1 << 20;

/// Why a step is left out; `None` when it runs. A condition that is itself wrong keeps its step from
/// running, and says so.
pub(crate) fn skipped_because(step: &Step, context: &Context<'_>) -> Option<String> {
    let facts = context.facts;
    let matches = [
        ("node", &step.node, vec![&facts.hostname]),
        ("only_os", &step.only_os, vec![&facts.os_id, &facts.os_name]),
        (
            "only_os_version",
            &step.only_os_version,
            vec![&facts.os_version],
        ),
        ("only_arch", &step.only_arch, vec![&facts.architecture]),
    ];
    for (key, pattern, values) in matches {
        if let Some(reason) = pattern
            .as_ref()
            .and_then(|pattern| mismatch(key, pattern, &values))
        {
            return Some(reason);
        }
    }
    let manager = step.only_service_manager.as_ref();
    if let Some(wanted) = manager.filter(|wanted| **wanted != facts.service_manager) {
        return Some(format!(
            "only_service_manager: {wanted} is wanted, and this is {:?}",
            facts.service_manager
        ));
    }
    if let Some(reason) = step
        .if_files
        .as_ref()
        .and_then(|files| files_missing(files, context))
    {
        return Some(reason);
    }
    step.condition
        .as_ref()
        .and_then(|line| command_fails(line, context))
}

/// A regular expression of a document, its size bounded.
pub(crate) fn regex(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(REGEX_SIZE).build()
}

fn mismatch(key: &str, pattern: &str, values: &[&String]) -> Option<String> {
    match regex(pattern) {
        Ok(regex) if values.iter().any(|value| regex.is_match(value)) => None,
        Ok(_) => Some(format!(
            "{key}: {:?} does not match {pattern}",
            values.first().map_or("", |value| value.as_str())
        )),
        Err(error) => Some(format!(
            "{key}: {pattern:?} is no regular expression: {error}"
        )),
    }
}

fn files_missing(files: &IfFiles, context: &Context<'_>) -> Option<String> {
    let there = |path: &String| context.root.exists(Path::new(path));
    if !files.any.is_empty() && !files.any.iter().any(there) {
        return Some(format!(
            "if_files: none of {} is there",
            files.any.join(", ")
        ));
    }
    if let Some(missing) = files.all.iter().find(|path| !there(path)) {
        return Some(format!("if_files: {missing} is not there"));
    }
    let present = files.none.iter().find(|path| there(path))?;
    Some(format!("if_files: {present} is there"))
}

fn command_fails(line: &str, context: &Context<'_>) -> Option<String> {
    let line = match context.render("if", line) {
        Ok(line) => line,
        Err(error) => return Some(format!("if: {}", crate::error::chain(&error))),
    };
    match context.shell.line(&line) {
        Ok(ran) if ran.status.success() => None,
        Ok(ran) => Some(format!("if: {} ({})", shortened(&line), ran.status)),
        Err(error) => Some(format!("if: the shell cannot be run: {error}")),
    }
}

/// The first line of a command, for people; nothing of one that may hold a secret.
pub(crate) fn shortened(line: &str) -> String {
    if has_secret_word(line) {
        return "a command with a secret in it".to_owned();
    }
    let first = line.trim().lines().next().unwrap_or_default();
    let short: String = first.chars().take(100).collect();
    if short.len() < line.trim().len() {
        format!("{short} …")
    } else {
        short
    }
}
