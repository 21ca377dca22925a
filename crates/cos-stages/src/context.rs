//! What steps work on and with.

use crate::diagnostic::has_secret_word;
use crate::error::StepError;
use crate::facts::Facts;
use crate::run::Report;
use crate::shell::Shell;
use cos_events::Monitor;
use cos_http::HttpClient;
use cos_sys::root_path::Root;
use cos_template::Templates;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Lays the tree of an image into a directory; what knows of images is above this crate.
pub trait ImageUnpacker {
    /// Unpacks `image` for `platform` (`os/architecture`; this machine's when `None`) into `target`, a
    /// directory of the running system.
    fn unpack(
        &self,
        image: &str,
        platform: Option<&str>,
        target: &Path,
        monitor: &dyn Monitor,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// What the caller knows and gives.
pub struct Host<'h> {
    /// The root that steps change; `/` on a machine.
    pub root: PathBuf,
    /// Whether services and the kernel are there to be told, and not only files: not in an image
    /// that is being built, nor in the initrd.
    pub running: bool,
    /// The kernel command line.
    pub command_line: String,
    /// Environment that templates may see.
    pub environment: Vec<(String, String)>,
    /// For everything that is fetched.
    pub http: &'h HttpClient,
    /// The machine's clouds and media.
    pub datasources: &'h dyn Datasources,
    /// For `unpack_images`.
    pub unpacker: &'h dyn ImageUnpacker,
    /// The device that the system booted from, for `layout`.
    pub boot_device: Option<PathBuf>,
    /// Takes events; asked whether to stop.
    pub monitor: &'h dyn Monitor,
}

impl std::fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("root", &self.root)
            .field("running", &self.running)
            .finish_non_exhaustive()
    }
}

/// Finds user-data.
pub trait Datasources {
    /// Asks the providers.
    fn fetch(
        &self,
        providers: &[cos_datasource::Provider],
        file: Option<&Path>,
        http: &HttpClient,
        monitor: &dyn Monitor,
    ) -> Result<cos_datasource::UserData, cos_datasource::DatasourceError>;
}

/// What steps work on and with.
pub(crate) struct Context<'c> {
    pub(crate) host: &'c Host<'c>,
    pub(crate) root: &'c Root,
    pub(crate) facts: &'c Facts,
    pub(crate) shell: Shell,
    pub(crate) templates: &'c Templates,
}

impl Context<'_> {
    /// Fills in a template.
    pub(crate) fn render(&self, name: &str, text: &str) -> Result<String, StepError> {
        self.templates
            .render(name, text, &self.facts.template_values())
            .map_err(|source| StepError::Template {
                name: name.to_owned(),
                source,
            })
    }

    /// Runs a program of the root, which `package` brings, and reports what it says. Whether it exits
    /// with 0; that it does not is reported too.
    pub(crate) fn program<S: AsRef<OsStr>>(
        &self,
        (program, package): (&'static str, &'static str),
        arguments: &[S],
        environment: &[(&str, &str)],
        report: &mut Report<'_>,
    ) -> bool {
        if !self.shell.has(program) {
            report.failed(&StepError::Missing { program, package });
            return false;
        }
        let ran = match self.shell.run(program, arguments, environment) {
            Ok(ran) => ran,
            Err(source) => {
                let program = program.to_owned();
                report.failed(&StepError::Start { program, source });
                return false;
            }
        };
        report.output(&ran.output);
        if ran.status.success() {
            return true;
        }
        let words: Vec<String> = arguments
            .iter()
            .map(|word| shown(&word.as_ref().to_string_lossy()))
            // Settings that are the same every time.
            .filter(|word| !word.starts_with("-o"))
            .collect();
        let line = format!("{program} {}", words.join(" "));
        let command = if has_secret_word(&line) {
            format!("{program} with a secret")
        } else {
            crate::condition::shortened(&line)
        };
        let status = ran.status;
        report.failed(&StepError::Command { command, status });
        false
    }
}

/// An argument for people: an address without what may be secret in it.
fn shown(word: &str) -> String {
    if word.contains("://") {
        cos_http::redact(word)
    } else {
        word.to_owned()
    }
}
