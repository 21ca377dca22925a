//! `git` and `unpack_images`: trees from elsewhere.

use super::files::absolute;
use crate::context::Context;
use crate::error::StepError;
use crate::run::Report;
use crate::schema::{GitAuthentication, GitStep, Step};
use cos_sys::root_file::Metadata;
use std::fmt::Write as _;
use std::path::Path;

/// A server that says nothing is given up, and nobody is there to be asked.
const SSH: &str = "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15";
/// The helper that git asks: no program of its own, as /run may be mounted noexec.
const HELPER: &str = "!f() { test \"$1\" = get && cat /run/cos/git/credential; }; f";

/// Where git's credentials are while it runs: in memory, for root alone.
const CREDENTIALS: &str = "/run/cos/git";

pub(super) fn git(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    let Some(git) = &step.git else {
        return;
    };
    let done = update(git, context, report);
    report.take(done);
}

fn update(git: &GitStep, context: &Context<'_>, report: &mut Report<'_>) -> Result<(), StepError> {
    let path = absolute(&git.path)?;
    let path = path.to_string_lossy().into_owned();
    if git.url.is_empty() || git.url.starts_with('-') {
        return Err(StepError::Value(format!("{:?} is no repository", git.url)));
    }
    let branch = git.branch.as_deref().filter(|name| !name.is_empty());
    let branch = branch.unwrap_or("master");
    if branch.starts_with('-') {
        return Err(StepError::Value(format!("{branch:?} is no branch")));
    }
    let credentials = git
        .auth
        .as_ref()
        .map(|auth| Credentials::keep(auth, context));
    let credentials = credentials.transpose()?.unwrap_or_default();
    let environment = credentials.environment();
    let environment: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut call =
        |arguments: &[&str]| context.program(("git", "git"), arguments, &environment, report);
    if context.root.exists(&Path::new(&path).join(".git")) {
        let reference = format!("refs/remotes/origin/{branch}");
        let fetched = format!("+refs/heads/{branch}:{reference}");
        if call(&["-C", &path, "fetch", "--", &git.url, &fetched]) {
            call(&["-C", &path, "checkout", "--force", "-B", branch, &reference]);
        }
    } else {
        let mut arguments = vec!["clone", "--branch", branch];
        if git.branch_only {
            arguments.push("--single-branch");
        }
        arguments.extend(["--", &git.url, &path]);
        call(&arguments);
    }
    forget(context);
    Ok(())
}

/// Credentials in files that only root can read; nothing secret is ever an argument.
#[derive(Default)]
struct Credentials {
    password: bool,
    ssh: String,
}

impl Credentials {
    /// What git is told beside its arguments.
    fn environment(&self) -> Vec<(String, String)> {
        // A server that says nothing is given up after a minute.
        let mut settings = vec![("http.lowSpeedLimit", "1"), ("http.lowSpeedTime", "60")];
        if self.password {
            // An empty helper forgets those of the system.
            settings.extend([("credential.helper", ""), ("credential.helper", HELPER)]);
        }
        let mut environment = vec![
            ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
            ("GIT_SSH_COMMAND".to_owned(), format!("{SSH}{}", self.ssh)),
            ("GIT_CONFIG_COUNT".to_owned(), settings.len().to_string()),
        ];
        for (index, (key, value)) in settings.into_iter().enumerate() {
            environment.push((format!("GIT_CONFIG_KEY_{index}"), key.to_owned()));
            environment.push((format!("GIT_CONFIG_VALUE_{index}"), value.to_owned()));
        }
        environment
    }

    fn keep(auth: &GitAuthentication, context: &Context<'_>) -> Result<Self, StepError> {
        let write = |name: &str, text: &str| {
            let path = Path::new(CREDENTIALS).join(name);
            let metadata = Metadata {
                mode: Some(0o600),
                owner: Some(0),
                group: Some(0),
            };
            context
                .root
                .write(&path, text.as_bytes(), &metadata)
                .map_err(|source| StepError::Path {
                    what: format!("the file {}", path.display()),
                    source,
                })
        };
        if let Some(password) = &auth.password {
            let username = auth.username.as_deref().unwrap_or("git");
            if username.contains(['\n', '\0']) || password.contains(['\n', '\0']) {
                return Err(StepError::Value("git: a password is one line".into()));
            }
            write(
                "credential",
                &format!("username={username}\npassword={password}\n"),
            )?;
        }
        let mut ssh = String::new();
        if let Some(key) = &auth.private_key {
            write("key", &(key.trim_end().to_owned() + "\n"))?;
            let _infallible = write!(ssh, " -i {CREDENTIALS}/key -o IdentitiesOnly=yes");
        }
        match (&auth.public_key, auth.insecure) {
            (Some(host), _) => {
                // The key alone, as yip has it: that of whatever host is meant.
                write("known_hosts", &format!("* {}\n", host.trim()))?;
                let _infallible = write!(
                    ssh,
                    " -o StrictHostKeyChecking=yes -o UserKnownHostsFile={CREDENTIALS}/known_hosts"
                );
            }
            (None, true) => {
                ssh.push_str(" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null");
            }
            (None, false) => {}
        }
        Ok(Self {
            password: auth.password.is_some(),
            ssh,
        })
    }
}

fn forget(context: &Context<'_>) {
    for name in ["credential", "key", "known_hosts"] {
        // In memory, and only root could read it: nothing is lost when it stays.
        let _ = context.root.remove(&Path::new(CREDENTIALS).join(name)).ok();
    }
}

pub(super) fn unpack_images(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    for image in &step.unpack_images {
        let result = absolute(&image.target).and_then(|target| {
            context
                .root
                .make_directories(&target, &Metadata::default())
                .and_then(|()| context.root.real_path(&target))
                .map_err(|source| StepError::Path {
                    what: format!("the directory {}", target.display()),
                    source,
                })
                .and_then(|real| {
                    let platform = image.platform.as_deref();
                    context
                        .host
                        .unpacker
                        .unpack(&image.source, platform, &real, context.host.monitor)
                        .map_err(|source| StepError::Unpack {
                            image: image.source.clone(),
                            target: target.clone(),
                            source,
                        })
                })
        });
        report.take(result);
    }
}
