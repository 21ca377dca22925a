//! `cos feature`.

use crate::arguments::FeatureCommand;
use crate::failure::Failure;
use crate::render::Renderer;
use cos_ops::feature::{Change, Feature, list, set};
use std::process::ExitCode;

/// Lists or switches features.
pub(crate) fn feature(command: FeatureCommand, renderer: &Renderer) -> Result<ExitCode, Failure> {
    let (arguments, enabled) = match command {
        FeatureCommand::List(root) => {
            let features = list(&root.root).map_err(Failure::Feature)?;
            let text: String = features.iter().map(ToString::to_string).collect();
            let none = "this image brings no features\n";
            let text = if text.is_empty() { none } else { &text };
            renderer.result(text, &features)?;
            return Ok(ExitCode::SUCCESS);
        }
        FeatureCommand::Enable(arguments) => (arguments, true),
        FeatureCommand::Disable(arguments) => (arguments, false),
    };
    let change = set(&arguments.root.root, &arguments.name, enabled).map_err(Failure::Feature)?;
    let state = if enabled { "enabled" } else { "disabled" };
    let text = match change {
        Change::Made => format!("{} is {state} from the next boot on\n", arguments.name),
        Change::None => format!("{} is {state} already\n", arguments.name),
    };
    let feature = Feature {
        name: arguments.name,
        enabled,
    };
    renderer.result(&text, &feature)?;
    Ok(ExitCode::SUCCESS)
}
