//! `users`, `authorized_keys`, `ensure_entities`, `delete_entities`.

use crate::context::Context;
use crate::error::StepError;
use crate::run::Report;
use crate::schema::{EntityStep, Step, User};
use crate::yaml;
use cos_accounts::{AccountsError, Database, Entity, Password, Secret, UserSpec};
use cos_http::Request;
use serde_json::Value as Json;
use std::path::Path;
use std::time::Duration;

/// How long fetching somebody's keys may take, with all tries.
const KEYS_TIME: Duration = Duration::from_mins(1);
/// Tries after the first.
const KEYS_RETRIES: u32 = 10;
/// Most bytes of somebody's keys.
const MAX_KEYS: u64 = 1 << 20;

pub(super) fn users(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    if step.users.is_empty() {
        return;
    }
    let mut with_keys = Vec::new();
    let done = with_database(context, |database| {
        // In the order of their names, as yip does: who comes first gets the first free number.
        for (key, user) in &step.users {
            let name = user.name.as_ref().unwrap_or(key);
            match ensure(database, name, user) {
                Ok(warnings) => {
                    for warning in warnings {
                        report.warn(warning);
                    }
                    with_keys.push((name, &user.ssh_authorized_keys));
                }
                Err(error) => report.failed(&error),
            }
        }
    });
    report.take(done);
    for (name, keys) in with_keys {
        add_each_key(name, keys, context, report);
    }
}

fn with_database(
    context: &Context<'_>,
    edit: impl FnOnce(&mut Database<'_>),
) -> Result<(), StepError> {
    let failed = |source| StepError::Accounts { source };
    let mut database = Database::open(context.root).map_err(failed)?;
    edit(&mut database);
    database.save().map_err(failed)
}

fn ensure(database: &mut Database<'_>, name: &str, user: &User) -> Result<Vec<String>, StepError> {
    let uid = match user.uid.as_deref() {
        None | Some("") => None,
        Some(text) => Some(text.parse().map_err(|_| {
            StepError::Value(format!("the user {name}: {text:?} is no user number"))
        })?),
    };
    let spec = UserSpec {
        name: name.to_owned(),
        password: user
            .passwd
            .as_ref()
            .map(|password| Password::HashOrPlain(Secret::new(password))),
        gecos: user.gecos.clone(),
        homedir: user.homedir.clone(),
        no_create_home: user.no_create_home,
        primary_group: user.primary_group.clone(),
        groups: user.groups.clone(),
        no_user_group: user.no_user_group,
        system: user.system,
        no_log_init: user.no_log_init,
        shell: user.shell.clone(),
        lock_passwd: user.lock_passwd,
        uid,
        ..UserSpec::default()
    };
    match database.ensure_user(&spec) {
        Ok(outcome) => Ok(outcome.warnings),
        Err(source) => Err(account(name, source)),
    }
}

fn account(name: &str, source: AccountsError) -> StepError {
    StepError::Account {
        name: name.to_owned(),
        source,
    }
}

pub(super) fn authorized_keys(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    for (user, keys) in &step.authorized_keys {
        add_each_key(user, keys, context, report);
    }
}

/// Adds keys one by one: one that cannot be had does not keep the others away.
pub(super) fn add_each_key(
    user: &str,
    keys: &[String],
    context: &Context<'_>,
    report: &mut Report<'_>,
) {
    for key in keys {
        report.take(add_keys(user, std::slice::from_ref(key), context));
    }
}

fn add_keys(user: &str, keys: &[String], context: &Context<'_>) -> Result<(), StepError> {
    let mut lines = Vec::new();
    for key in keys {
        match remote(key) {
            Some(url) => lines.extend(fetch_keys(&url, context)?),
            None => lines.push(key.clone()),
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    cos_accounts::add_authorized_keys(context.root, user, &lines)
        .map(|_| ())
        .map_err(|source| account(user, source))
}

/// Where the keys are that a word stands for.
fn remote(key: &str) -> Option<String> {
    if let Some(name) = key.strip_prefix("github:") {
        return Some(format!("https://github.com/{name}.keys"));
    }
    if let Some(name) = key.strip_prefix("gitlab:") {
        return Some(format!("https://gitlab.com/{name}.keys"));
    }
    (key.starts_with("https://") || key.starts_with("http://")).then(|| key.to_owned())
}

fn fetch_keys(url: &str, context: &Context<'_>) -> Result<Vec<String>, StepError> {
    let mut request = Request::get(url).within(KEYS_TIME);
    request.retries = KEYS_RETRIES;
    request.max_bytes = MAX_KEYS;
    request.monitor = context.host.monitor;
    let response = context
        .host
        .http
        .send(&request)
        .map_err(|source| StepError::Fetch {
            what: "the keys".into(),
            source,
        })?;
    let text = String::from_utf8_lossy(&response.body).into_owned();
    let keys: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    if keys.is_empty() {
        let url = cos_http::redact(url);
        return Err(StepError::Value(format!("{url} holds no keys")));
    }
    Ok(keys)
}

pub(super) fn ensure_entities(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    entities(&step.ensure_entities, context, report, ensure_one);
}

fn ensure_one(
    database: &mut Database<'_>,
    entity: &Entity,
    path: Option<&Path>,
) -> Result<(), AccountsError> {
    database.ensure_entity(entity, path)
}

pub(super) fn delete_entities(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    entities(
        &step.delete_entities,
        context,
        report,
        |database, entity, path| database.delete_entity(entity, path).map(|_| ()),
    );
}

type Change = fn(&mut Database<'_>, &Entity, Option<&Path>) -> Result<(), AccountsError>;

fn entities(list: &[EntityStep], context: &Context<'_>, report: &mut Report<'_>, change: Change) {
    if list.is_empty() {
        return;
    }
    let done = with_database(context, |database| {
        for step in list {
            let path = step.path.as_deref().map(Path::new);
            let changed = entity(&step.entity, context).and_then(|(name, entity)| {
                change(database, &entity, path).map_err(|source| account(&name, source))
            });
            report.take(changed);
        }
    });
    report.take(done);
}

fn entity(text: &str, context: &Context<'_>) -> Result<(String, Entity), StepError> {
    parse_entity(&context.render("entity", text)?).map_err(StepError::Value)
}

/// The name, for messages, and the entity of a YAML text.
pub(crate) fn parse_entity(text: &str) -> Result<(String, Entity), String> {
    let documents = yaml::parse(text)
        .map_err(|error| format!("line {} of the entity: {error}", error.at.line))?;
    let [
        document @ yaml::Node {
            value: yaml::Value::Mapping(_),
            ..
        },
    ] = &documents[..]
    else {
        return Err("an entity is one YAML mapping".into());
    };
    let json = words(document);
    let name = ["username", "group_name", "name"]
        .iter()
        .find_map(|key| json.get(key).and_then(Json::as_str))
        .unwrap_or("without a name")
        .to_owned();
    let entity =
        serde_json::from_value(json).map_err(|error| format!("the entity {name}: {error}"))?;
    Ok((name, entity))
}

/// A tree as JSON, every scalar a text: the kinds know what is a number.
fn words(node: &yaml::Node) -> Json {
    match &node.value {
        yaml::Value::Null => Json::Null,
        yaml::Value::Scalar { text, .. } => Json::String(text.clone()),
        yaml::Value::Sequence(items) => items.iter().map(words).collect(),
        yaml::Value::Mapping(entries) => entries
            .iter()
            .filter(|entry| entry.node.value != yaml::Value::Null)
            .map(|entry| (entry.key.clone(), words(&entry.node)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::remote;

    #[test]
    fn words_stand_for_addresses_over_tls() {
        let of = |key| remote(key).unwrap_or_default();
        assert_eq!(of("github:octocat"), "https://github.com/octocat.keys");
        assert_eq!(of("gitlab:tanuki"), "https://gitlab.com/tanuki.keys");
        assert_eq!(
            of("https://keys.example.com/x"),
            "https://keys.example.com/x"
        );
        assert_eq!(of("ssh-ed25519 AAAA me@github:x"), "");
    }
}
