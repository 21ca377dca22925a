//! Documents as they are loaded: whatever its form, a source becomes steps by stage.

use crate::check;
use crate::cloud_config::{self, Builtin};
use crate::decode::{decode, truth};
use crate::diagnostic::{Diagnostic, Findings, Position, Severity};
use crate::schema::{self, Step};
use crate::{mime, yaml};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::io::Read as _;

/// Most steps of one source: more were never meant.
const MAX_STEPS: usize = 10_000;

/// Whether unknown keys are errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strictness {
    /// Unknown keys are errors.
    Strict,
    /// Unknown keys are warnings, unless the document says `strict: true`. Boots use this: a file
    /// that worked with another of the family keeps working.
    #[default]
    Compatible,
}

/// A step, and where it came from.
#[derive(Debug, Clone)]
pub struct LoadedStep {
    /// The step.
    pub step: Step,
    /// What a `#cloud-config` key asks for that no key of a step does.
    pub builtin: Option<Builtin>,
    /// Where it stands in its source.
    pub at: Position,
    /// Its name when it has none: its place among the steps of its stage, from zero, as yip counts.
    pub index: usize,
}

/// Steps of one stage.
#[derive(Debug, Clone)]
pub struct LoadedStage {
    /// The stage.
    pub name: String,
    /// Its steps, in the order of the source.
    pub steps: Vec<LoadedStep>,
}

/// A document.
#[derive(Debug, Clone)]
pub struct Document {
    /// The file, URL or other name of its source.
    pub source: String,
    /// The name it gives itself.
    pub name: Option<String>,
    /// Its stages.
    pub stages: Vec<LoadedStage>,
}

impl Document {
    /// Adds a step.
    pub(crate) fn push(&mut self, stage: &str, step: Step, builtin: Option<Builtin>, at: Position) {
        let place = self.stages.iter().rposition(|known| known.name == stage);
        let place = place.unwrap_or_else(|| {
            self.stages.push(LoadedStage {
                name: stage.to_owned(),
                steps: Vec::new(),
            });
            self.stages.len() - 1
        });
        let steps = &mut self.stages[place].steps;
        let index = steps.len();
        steps.push(LoadedStep {
            step,
            builtin,
            at,
            index,
        });
    }
}

/// What came of one source.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The documents that can be used.
    pub documents: Vec<Document>,
    /// What was found wrong. A document with an error in it is not among the documents.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    pub(crate) fn failed(source: &str, message: impl Into<String>) -> Self {
        let mut findings = Findings::new(source, "");
        findings.error(Position::START, message);
        Self {
            documents: Vec::new(),
            diagnostics: findings.list,
        }
    }

    /// Whether anything found keeps a document from being used.
    pub fn has_errors(&self) -> bool {
        let error = |finding: &Diagnostic| finding.severity == Severity::Error;
        self.diagnostics.iter().any(error)
    }

    /// Adds what came of another source.
    pub fn append(&mut self, mut other: Self) {
        self.documents.append(&mut other.documents);
        self.diagnostics.append(&mut other.diagnostics);
    }
}

/// Reads a source: YAML, `#cloud-config`, a script, multi-part MIME of these, any of it gzipped.
pub fn load(source: &str, bytes: &[u8], strictness: Strictness) -> Loaded {
    let unpacked;
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut out = Vec::new();
        let mut reader = flate2::read::MultiGzDecoder::new(bytes).take(yaml::MAX_BYTES + 1);
        if let Err(error) = reader.read_to_end(&mut out) {
            return Loaded::failed(source, format!("the gzip data is damaged: {error}"));
        }
        unpacked = out;
        &unpacked
    } else {
        bytes
    };
    if bytes.len() as u64 > yaml::MAX_BYTES {
        let message = format!("larger than {} MiB", yaml::MAX_BYTES >> 20);
        return Loaded::failed(source, message);
    }
    if mime::is_multipart(bytes) {
        return mime::load(source, bytes, strictness);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => load_text(source, text, Form::Shown, strictness),
        Err(error) => {
            let good = &bytes[..error.valid_up_to()];
            let line = good.split(|byte| *byte == b'\n').count();
            let mut findings = Findings::new(source, "");
            findings.error(Position::new(line, 1), "no UTF-8 text");
            Loaded {
                documents: Vec::new(),
                diagnostics: findings.list,
            }
        }
    }
}

/// How it is known what a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// By its first lines.
    Shown,
    /// Somebody said that it is `#cloud-config`.
    CloudConfig,
}

/// Reads one part that is text.
pub(crate) fn load_text(source: &str, text: &str, form: Form, strictness: Strictness) -> Loaded {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.starts_with("#!") {
        return script(source, text);
    }
    if text.starts_with("#include") {
        return Loaded::failed(
            source,
            "lists of addresses (#include) are not fetched; name the address in cos.setup= or a source of its own",
        );
    }
    let mut findings = Findings::new(source, text);
    let nodes = match yaml::parse(text) {
        Ok(nodes) => nodes,
        Err(error) => {
            findings.error(error.at, error.message);
            Vec::new()
        }
    };
    let cloud = form == Form::CloudConfig || has_cloud_config_header(text);
    let mut loaded = Loaded::default();
    let mut steps = 0;
    for node in &nodes {
        let before = findings.errors;
        let document = read_document(source, node, cloud, strictness, &mut findings);
        if findings.errors > before {
            continue;
        }
        let stages = document.iter().flat_map(|document| &document.stages);
        steps += stages.map(|stage| stage.steps.len()).sum::<usize>();
        if steps > MAX_STEPS {
            let message = format!("more than {MAX_STEPS} steps in all documents");
            findings.error(node.at, message);
            break;
        }
        loaded.documents.extend(document);
    }
    // In the order of the text, whichever look found them.
    findings.list.sort_by_key(|finding| finding.at);
    loaded.diagnostics = findings.list;
    loaded
}

/// Reads a document that came in another form than text.
pub(crate) fn load_node(
    source: &str,
    text: &str,
    node: &yaml::Node,
    strictness: Strictness,
) -> Loaded {
    let mut findings = Findings::new(source, text);
    let document = read_document(source, node, false, strictness, &mut findings);
    let mut loaded = Loaded {
        documents: Vec::new(),
        diagnostics: findings.list,
    };
    if !loaded.has_errors() {
        loaded.documents.extend(document);
    }
    loaded
}

/// A script runs whole, once the network is there, as cloud-init's users expect of theirs.
fn script(source: &str, text: &str) -> Loaded {
    let mut document = Document {
        source: source.to_owned(),
        name: None,
        stages: Vec::new(),
    };
    let step = Step {
        name: Some("script".into()),
        ..Step::default()
    };
    let builtin = Builtin::Script(text.to_owned());
    document.push("network", step, Some(builtin), Position::START);
    Loaded {
        documents: vec![document],
        diagnostics: Vec::new(),
    }
}

/// The line `#cloud-config` within the first ten, with nothing but comments before it.
fn has_cloud_config_header(text: &str) -> bool {
    text.lines()
        .take(10)
        .take_while(|line| line.trim().is_empty() || line.starts_with('#'))
        .any(|line| line.trim_end() == "#cloud-config")
}

fn read_document(
    source: &str,
    node: &yaml::Node,
    cloud: bool,
    strictness: Strictness,
    findings: &mut Findings<'_>,
) -> Option<Document> {
    let says_strict = node.get("strict").is_some_and(|strict| {
        matches!(&strict.value, yaml::Value::Scalar { text, .. } if truth(text) == Some(true))
    });
    let unknown = if strictness == Strictness::Strict || says_strict {
        Severity::Error
    } else {
        Severity::Warning
    };
    let schema = schema::inlined_document();
    let json = decode(node, schema, unknown, findings)?;
    let parsed: schema::Document = match serde_json::from_value(json) {
        Ok(parsed) => parsed,
        // The walk along the schema finds what types refuse; this is for what it does not know of.
        Err(error) => {
            findings.error(node.at, error.to_string());
            return None;
        }
    };
    let mut document = Document {
        source: source.to_owned(),
        name: parsed.stages.name,
        stages: Vec::new(),
    };
    let count: usize = parsed.stages.stages.values().map(Vec::len).sum();
    if count > MAX_STEPS {
        findings.error(node.at, format!("more than {MAX_STEPS} steps"));
        return None;
    }
    if cloud {
        cloud_config::add_steps(&parsed.cloud, node, &mut document, findings);
    } else {
        warn_of_missing_header(&parsed.cloud, node, unknown, findings);
    }
    let places = step_positions(node);
    for (stage, steps) in parsed.stages.stages {
        let places = places.get(stage.as_str()).map(Vec::as_slice);
        for (index, step) in steps.into_iter().enumerate() {
            let at = places.and_then(|places| places.get(index)).copied();
            document.push(&stage, step, None, at.unwrap_or(node.at));
        }
    }
    check::document(node, cloud, unknown, findings);
    check::order(&document, node, findings);
    Some(document)
}

/// Where the steps of each stage stand.
fn step_positions(node: &yaml::Node) -> BTreeMap<&str, Vec<Position>> {
    let Some(yaml::Value::Mapping(stages)) = node.get("stages").map(|stages| &stages.value) else {
        return BTreeMap::new();
    };
    let positions = |steps: &yaml::Node| steps.items().map(|item| item.at).collect();
    let each = stages
        .iter()
        .map(|stage| (stage.key.as_str(), positions(&stage.node)));
    each.collect()
}

/// Keys of `#cloud-config` without that line would be dropped in silence elsewhere.
fn warn_of_missing_header(
    cloud: &schema::CloudConfig,
    node: &yaml::Node,
    severity: Severity,
    findings: &mut Findings<'_>,
) {
    let Ok(Json::Object(keys)) = serde_json::to_value(cloud) else {
        return;
    };
    let yaml::Value::Mapping(entries) = &node.value else {
        return;
    };
    for entry in entries {
        if keys.contains_key(&entry.key) {
            let message = format!("{} counts in #cloud-config documents alone", entry.key);
            let hint = "make #cloud-config the first line, or put the step under stages".to_owned();
            findings.add(severity, entry.at, message, Some(hint));
        }
    }
}
