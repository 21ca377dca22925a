//! `cos verify`, `cos sign`, `cos keys` and `cos policy`; and the policy for those that use images.

use super::request::{self, argument};
use crate::arguments::trust::{
    Format, GenerateSigningArguments, PolicyCommand, SignArguments, TrustArguments, VerifyArguments,
};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::render::Renderer;
use cos_image::{Options, Platform, PlatformChoice, Source};
use cos_ops::OpsError;
use cos_ops::machine::now;
use cos_ops::trust::{
    Gate, Guard, SignFormat, SignRequest, generate_key, sign as sign_image, verify as verify_image,
};
use cos_sys::root_path::Root;
use cos_trust::{Identity, Policy, Requirement, Rule, SigningKey, TrustError};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Reads the policy: this file alone, or that of this machine.
fn policy(file: Option<&Path>) -> Result<Policy, Failure> {
    let policy = match file {
        Some(file) => {
            let path = std::path::absolute(file)?;
            root(&path).and_then(|root| Policy::load_file(&root, &path))
        }
        None => root(Path::new(cos_trust::FILE)).and_then(|root| Policy::load(&root)),
    };
    Ok(policy.map_err(OpsError::from)?)
}

fn root(path: &Path) -> Result<Root, TrustError> {
    Root::open(Path::new("/")).map_err(|source| TrustError::Read {
        path: path.to_owned(),
        source,
    })
}

/// What images pass on their way to this machine.
pub(super) fn gate(arguments: &TrustArguments) -> Result<Gate, Failure> {
    Ok(Gate::guarded(Guard {
        policy: policy(arguments.policy.as_deref())?,
        allow_unsigned: arguments.allow_unsigned,
        allow_stale: arguments.allow_stale,
        now: now(),
    }))
}

/// What images pass that become media: the policy that is named, if one is.
pub(super) fn gate_of_file(file: Option<&Path>) -> Result<Gate, Failure> {
    match file {
        Some(file) => Ok(Gate::guarded(Guard::new(policy(Some(file))?))),
        None => Ok(Gate::Open),
    }
}

/// How images are reached that are looked at and not taken anywhere.
fn options(
    arguments: &crate::arguments::RegistryArguments,
    environment: &Environment,
) -> Result<Options, Failure> {
    let platform = PlatformChoice::Prefer(Platform::linux(std::env::consts::ARCH));
    let mut options = Options::new(platform, std::env::temp_dir());
    options.tool_path.clone_from(&environment.path);
    request::registry(&mut options, arguments, environment)?;
    // On a machine, its registries are reached as its upgrades reach them.
    request::machine_registries(&mut options, arguments, environment)?;
    Ok(options)
}

/// Says what the policy makes of an image.
pub(crate) fn verify(
    arguments: &VerifyArguments,
    environment: &Environment,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    let source = request::source(&arguments.source)?;
    let mut guard = Guard::new(policy(arguments.policy.as_deref())?);
    guard.allow_stale = arguments.allow_stale;
    let options = options(&arguments.registry, environment)?;
    let verification = verify_image(&source, &options, &guard, renderer)?;
    renderer.result(&verification.to_string(), &verification)?;
    Ok(ExitCode::SUCCESS)
}

/// Signs an image.
pub(crate) fn sign(
    arguments: &SignArguments,
    environment: &Environment,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    let Source::Registry(reference) = request::source(&arguments.image)? else {
        let message = format!("{} is not in a registry", arguments.image);
        let hint = "push it first: a signature is put beside an image";
        return Err(argument(message, Some(hint)));
    };
    let mut annotations = BTreeMap::new();
    for pair in &arguments.annotation {
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            let message = format!("--annotation {pair} is not NAME=VALUE");
            argument(message, Some("release=stable"))
        })?;
        annotations.insert(name.to_owned(), value.to_owned());
    }
    let request = SignRequest {
        reference,
        options: options(&arguments.registry, environment)?,
        key: SigningKey::read(&arguments.key).map_err(OpsError::from)?,
        expires: arguments.expires.as_deref().map(expiry).transpose()?,
        annotations,
        format: match arguments.format {
            Format::Tag => SignFormat::Tag,
            Format::Bundle => SignFormat::Bundle,
        },
    };
    let result = sign_image(&request, renderer)?;
    let until = result.expires.as_ref();
    let until = until.map(|at| format!(", until {at}")).unwrap_or_default();
    let text = format!(
        "signed {} ({}) with key {}{until}\n",
        result.image, result.digest, result.key
    );
    renderer.result(&text, &result)?;
    Ok(ExitCode::SUCCESS)
}

/// A time, or a length of time from now on.
fn expiry(text: &str) -> Result<i64, Failure> {
    let time = match cos_trust::duration(text) {
        Ok(seconds) => Ok(now().saturating_add(seconds)),
        Err(_) => cos_trust::time_of(text),
    };
    Ok(time.map_err(OpsError::from)?)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyPair {
    private: PathBuf,
    public: PathBuf,
    fingerprint: String,
}

/// Makes a key pair for [`sign`].
pub(crate) fn generate(
    arguments: &GenerateSigningArguments,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    let output = &arguments.output;
    let with = |end: &str| {
        let mut name = output.clone().into_os_string();
        name.push(end);
        PathBuf::from(name)
    };
    let (private, public) = (with(".key"), with(".pub"));
    let fingerprint = generate_key(&private, &public)?;
    let text = format!(
        "wrote {} (keep it secret) and {} (for policies)\nkey {fingerprint}\n",
        private.display(),
        public.display()
    );
    let pair = KeyPair {
        private,
        public,
        fingerprint,
    };
    renderer.result(&text, &pair)?;
    Ok(ExitCode::SUCCESS)
}

/// A rule, for people and programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RuleShown {
    r#match: String,
    place: String,
    insecure: bool,
    threshold: usize,
    keys: Vec<String>,
    identities: Vec<String>,
}

impl fmt::Display for RuleShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", self.r#match, self.place)?;
        if self.insecure {
            return writeln!(f, "  unsigned images are accepted");
        }
        let all = self.keys.len() + self.identities.len();
        writeln!(f, "  {} of {all} must have signed", self.threshold)?;
        for key in &self.keys {
            writeln!(f, "  key {key}")?;
        }
        for identity in &self.identities {
            writeln!(f, "  {identity}")?;
        }
        Ok(())
    }
}

fn shown(rule: &Rule) -> RuleShown {
    let (threshold, keys, identities) = match rule.requirement() {
        Requirement::Insecure => (0, Vec::new(), Vec::new()),
        Requirement::Signed {
            keys,
            identities,
            threshold,
            ..
        } => (
            *threshold,
            keys.iter()
                .map(|key| format!("{} ({})", key.fingerprint(), key.name()))
                .collect(),
            identities
                .iter()
                .map(|Identity { issuer, subject }| format!("{subject} (known to {issuer})"))
                .collect(),
        ),
    };
    RuleShown {
        r#match: rule.pattern().to_string(),
        place: rule.place().to_owned(),
        insecure: rule.is_insecure(),
        threshold,
        keys,
        identities,
    }
}

/// Looks at the policy.
pub(crate) fn show(command: &PolicyCommand, renderer: &Renderer) -> Result<ExitCode, Failure> {
    let file = match command {
        PolicyCommand::Schema => {
            let schema = cos_trust::schema();
            renderer.result(&format!("{schema:#}\n"), &schema)?;
            return Ok(ExitCode::SUCCESS);
        }
        PolicyCommand::Check { file } => file,
    };
    let policy = policy(file.as_deref())?;
    let rules: Vec<RuleShown> = policy.rules().iter().map(shown).collect();
    let text = if rules.is_empty() {
        "there is no rule: every image is refused\n".to_owned()
    } else {
        rules.iter().map(ToString::to_string).collect()
    };
    renderer.result(&text, &rules)?;
    Ok(ExitCode::SUCCESS)
}
