//! One function a verb: arguments to request, request to operation, result to output.

mod boot;
mod build;
mod config;
mod controller;
mod feature;
mod image;
mod init;
mod install;
mod keys;
mod lint;
mod machine;
mod power;
mod request;
mod reset;
mod seal;
mod snapshots;
mod stage;
mod trust;
mod upgrade;

use crate::arguments::{BuildCommand, Cli, Command, ImageCommand, KeysCommand};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::render::Renderer;
use clap::CommandFactory as _;
use std::io;
use std::process::ExitCode;

/// Runs a command.
pub(crate) fn run(
    command: Command,
    environment: &Environment,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    match command {
        Command::Build(BuildCommand::Disk(arguments)) => {
            build::disk(&arguments, environment, renderer)
        }
        Command::Build(BuildCommand::Iso(arguments)) => {
            build::iso(&arguments, environment, renderer)
        }
        Command::Keys(KeysCommand::Generate(arguments)) => keys::generate(&arguments, renderer),
        Command::Keys(KeysCommand::GenerateSigning(arguments)) => {
            trust::generate(&arguments, renderer)
        }
        Command::Image(ImageCommand::Root(arguments)) => {
            image::root(&arguments, environment, renderer)
        }
        Command::Lint(arguments) => lint::lint(&arguments, environment, renderer),
        Command::Init(arguments) => init::init(arguments, renderer),
        Command::Install(arguments) => install::install(&arguments, environment, renderer),
        Command::Reset(arguments) => reset::reset(&arguments, environment, renderer),
        Command::Stage(arguments) => stage::stage(&arguments, environment, renderer),
        Command::Config(command) => config::config(command, renderer),
        Command::Feature(command) => feature::feature(command, renderer),
        Command::Upgrade(arguments) => upgrade::upgrade(&arguments, environment, renderer),
        Command::SucUpgrade(arguments) => controller::suc_upgrade(&arguments, renderer),
        Command::Switch(arguments) => upgrade::switch(&arguments, environment, renderer),
        Command::Rollback(arguments) => snapshots::rollback(&arguments, environment, renderer),
        Command::Pin(arguments) => snapshots::pin(&arguments, true, renderer),
        Command::Unpin(arguments) => snapshots::pin(&arguments, false, renderer),
        Command::Boot(command) => snapshots::boot(&command, environment, renderer),
        Command::Status(arguments) => snapshots::status(&arguments, renderer),
        Command::Verify(arguments) => trust::verify(&arguments, environment, renderer),
        Command::Sign(arguments) => trust::sign(&arguments, environment, renderer),
        Command::Seal(arguments) => seal::seal(&arguments, environment, renderer),
        Command::Policy(command) => trust::show(&command, renderer),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "cos", &mut script);
            io::Write::write_all(&mut io::stdout().lock(), &script)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
