//! What is wrong with values that fit their types: found when a document is read, so that
//! `cos config check` tells, and not only the boot.

use crate::actions::{decoded, parse_entity};
use crate::decode::truth;
use crate::diagnostic::{Findings, Position, Severity, nearest};
use crate::document::Document;
use crate::plan;
use crate::yaml::Node;
use cos_datasource::Provider;
use cos_template::Templates;

/// The stages of a boot, and what operations ask for.
const STAGES: [&str; 19] = [
    "pre-rootfs",
    "rootfs",
    "initramfs",
    "fs",
    "boot",
    "network",
    "reconcile",
    "before-install",
    "after-install-chroot",
    "after-install",
    "post-install",
    "before-upgrade",
    "after-upgrade-chroot",
    "after-upgrade",
    "post-upgrade",
    "before-reset",
    "after-reset-chroot",
    "after-reset",
    "post-reset",
];

/// Most stages of a document whose names are compared with the known ones.
const MAX_COMPARED: usize = 500;

/// What a step's lists of files have in common.
const WITH_PATHS: [&str; 3] = ["files", "downloads", "directories"];

/// Looks at the values of a document. What is found is of `severity`: a boot runs the other steps all
/// the same, and what is wrong fails where it is used.
pub(crate) fn document(node: &Node, cloud: bool, severity: Severity, findings: &mut Findings<'_>) {
    let mut check = Check { severity, findings };
    let stages = node.get("stages").map(Node::entries).unwrap_or_default();
    for (index, stage) in stages.iter().enumerate() {
        if index < MAX_COMPARED {
            check.stage_name(&stage.key, stage.at);
        }
        for step in stage.node.items() {
            check.step(step);
        }
    }
    if cloud {
        check.cloud_config(node);
    }
}

/// Steps of the document that wait for each other, whatever other documents there are.
pub(crate) fn order(document: &Document, node: &Node, findings: &mut Findings<'_>) {
    for stage in &document.stages {
        if stage.steps.iter().all(|step| step.step.after.is_empty()) {
            continue;
        }
        let plan = plan::plan(std::slice::from_ref(document), &stage.name);
        let Some(refused) = plan.refused else {
            continue;
        };
        let step = node
            .get("stages")
            .and_then(|stages| stages.get(&stage.name))
            .and_then(|steps| steps.items().find(|step| step.at == refused.at));
        let after = step.map(Node::entries).unwrap_or_default();
        let after = after.iter().find(|entry| entry.key == "after");
        findings.error(
            after.map_or(refused.at, |after| after.at),
            refused.to_string(),
        );
    }
}

struct Check<'f, 't> {
    severity: Severity,
    findings: &'f mut Findings<'t>,
}

impl Check<'_, '_> {
    fn wrong(&mut self, at: Position, message: impl Into<String>, hint: Option<String>) {
        self.findings.add(self.severity, at, message, hint);
    }

    /// Any name is a stage for who asks for it; one that is nearly a known one was meant to be it.
    fn stage_name(&mut self, name: &str, at: Position) {
        let bare = name.strip_suffix(".before").or(name.strip_suffix(".after"));
        let bare = bare.unwrap_or(name);
        // Short names are near everything.
        if STAGES.contains(&bare) || bare.len() < 4 {
            return;
        }
        if let Some(near) = nearest(bare, STAGES.into_iter()) {
            let message = format!("nothing runs the stage {bare} by itself");
            let hint = format!("did you mean {near}?");
            self.findings
                .add(Severity::Warning, at, message, Some(hint));
        }
    }

    fn step(&mut self, step: &Node) {
        for key in ["node", "only_os", "only_os_version", "only_arch"] {
            self.pattern(key, step.get(key));
        }
        self.word(
            "only_service_manager",
            step.get("only_service_manager"),
            &["systemd", "openrc"],
        );
        for key in WITH_PATHS {
            for file in step.get(key).into_iter().flat_map(Node::items) {
                self.path(file);
                self.content(file);
            }
        }
        for key in ["if", "hostname"] {
            self.template(key, step.get(key));
        }
        for command in step.get("commands").into_iter().flat_map(Node::items) {
            self.template("the command", Some(command));
        }
        for variable in step
            .get("environment")
            .map(Node::entries)
            .unwrap_or_default()
        {
            self.template(&variable.key, Some(&variable.node));
        }
        let systemctl = step
            .get("systemctl")
            .and_then(|systemctl| systemctl.get("overrides"));
        for drop_in in systemctl.into_iter().flat_map(Node::items) {
            self.template("content", drop_in.get("content"));
        }
        for key in ["ensure_entities", "delete_entities"] {
            for entity in step.get(key).into_iter().flat_map(Node::items) {
                self.entity(entity.get("entity"));
            }
        }
        for user in step.get("users").map(Node::entries).unwrap_or_default() {
            self.number("uid", user.node.get("uid"));
        }
        let providers = step.get("datasource").and_then(|one| one.get("providers"));
        for provider in providers.into_iter().flat_map(Node::items) {
            self.provider(provider);
        }
    }

    fn cloud_config(&mut self, node: &Node) {
        for file in node.get("write_files").into_iter().flat_map(Node::items) {
            self.path(file);
            self.content(file);
        }
        for key in ["bootcmd", "runcmd"] {
            for command in node.get(key).into_iter().flat_map(Node::items) {
                self.template("the command", Some(command));
            }
        }
        for key in ["hostname", "fqdn", "final_message"] {
            self.template(key, node.get(key));
        }
        for user in node.get("users").into_iter().flat_map(Node::items) {
            self.number("uid", user.get("uid"));
        }
        let mode = node
            .get("growpart")
            .and_then(|growpart| growpart.get("mode"));
        let known = ["auto", "growpart", "off"];
        if mode
            .and_then(Node::text)
            .is_none_or(|mode| truth(mode) != Some(false))
        {
            self.word("mode", mode, &known);
        }
    }

    fn path(&mut self, file: &Node) {
        match file.get("path") {
            None => self.wrong(file.at, "the path is missing", None),
            Some(path) => {
                let text = path.text().unwrap_or("/");
                if !text.starts_with('/') {
                    let message = format!("the path {text:?} does not start with a slash");
                    self.wrong(path.at, message, None);
                }
            }
        }
    }

    fn content(&mut self, file: &Node) {
        let encoding = file.get("encoding");
        let name = match encoding.and_then(Node::text).unwrap_or_default() {
            "text/plain" => "",
            name => name,
        };
        let known = [
            "",
            "b64",
            "base64",
            "gz",
            "gzip",
            "gz+b64",
            "gz+base64",
            "gzip+b64",
            "gzip+base64",
        ];
        if !known.contains(&name) {
            let hint = nearest(name, known.into_iter().skip(1));
            let hint = hint.map(|near| format!("did you mean {near}?"));
            let at = encoding.map_or(file.at, |encoding| encoding.at);
            let message = format!("{name:?} is no encoding; there are b64, gzip and gzip+b64");
            self.wrong(at, message, hint);
            return;
        }
        let Some(content) = file.get("content") else {
            return;
        };
        let text = content.text().unwrap_or_default();
        if name.is_empty() {
            self.template("content", Some(content));
        } else if let Err(message) = decoded(
            text,
            name.trim_start_matches("gzip+").trim_start_matches("gz+"),
        ) {
            // Unpacking is for when the file is written: it may be large.
            self.wrong(content.at, message, None);
        }
    }

    fn pattern(&mut self, key: &str, node: Option<&Node>) {
        let Some((node, text)) = node.and_then(|node| Some((node, node.text()?))) else {
            return;
        };
        if let Err(error) = crate::condition::regex(text) {
            let error = error.to_string();
            let why = error.trim().lines().last().unwrap_or_default().to_owned();
            self.wrong(
                node.at,
                format!("{key} is no regular expression: {why}"),
                None,
            );
        }
    }

    fn word(&mut self, key: &str, node: Option<&Node>, known: &[&str]) {
        let Some((node, text)) = node.and_then(|node| Some((node, node.text()?))) else {
            return;
        };
        if !known.contains(&text) {
            let message = format!("{key} is one of {}, and not {text:?}", known.join(", "));
            let hint = nearest(text, known.iter().copied());
            let hint = hint.map(|near| format!("did you mean {near}?"));
            self.wrong(node.at, message, hint);
        }
    }

    fn number(&mut self, key: &str, node: Option<&Node>) {
        let Some((node, text)) = node.and_then(|node| Some((node, node.text()?))) else {
            return;
        };
        if !text.is_empty() && text.parse::<u32>().is_err() {
            self.wrong(
                node.at,
                format!("{key} takes a number, and this is {text:?}"),
                None,
            );
        }
    }

    fn template(&mut self, what: &str, node: Option<&Node>) {
        let Some((node, text)) = node.and_then(|node| Some((node, node.text()?))) else {
            return;
        };
        if let Err(error) = Templates::check(what, text) {
            let message = format!("the template is wrong: {error}");
            self.wrong(node.at, message, error.hint());
        }
    }

    fn entity(&mut self, node: Option<&Node>) {
        let Some((node, text)) = node.and_then(|node| Some((node, node.text()?))) else {
            return;
        };
        if text.contains("{{") {
            self.template("entity", Some(node));
        } else if let Err(message) = parse_entity(text) {
            self.wrong(node.at, message, None);
        }
    }

    fn provider(&mut self, node: &Node) {
        let name = node.text().unwrap_or_default();
        if let Err(error) = name.parse::<Provider>() {
            let hint = nearest(name, Provider::all().map(Provider::name));
            let hint = hint.map(|near| format!("did you mean {near}?"));
            self.wrong(node.at, error.to_string(), hint);
        }
    }
}
