//! What a key means, from the docstrings of its type.

use crate::diagnostic::nearest;
use crate::schema::inlined_document;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// A key nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no key {key}{}", .near.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
pub struct UnknownKey {
    /// What was asked for.
    pub key: String,
    /// The known key nearest to it.
    pub near: Option<String>,
}

/// One key of the documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its path, such as `stages.STAGE[].files[].path`.
    pub path: String,
    /// What it takes.
    pub takes: String,
    /// What it means.
    pub description: String,
}

/// Every key, parents before what is in them.
pub fn keys() -> Vec<Key> {
    let mut keys = Vec::new();
    collect(inlined_document(), "", &mut keys);
    keys
}

/// What a key and everything below it mean. The key is named by its path, or by the end of one: of a
/// step's keys the name alone will do.
pub fn explain(wanted: &str) -> Result<String, UnknownKey> {
    let keys = keys();
    let plain = |path: &str| path.replace("[]", "");
    let wanted = plain(wanted.trim());
    let found = keys
        .iter()
        .find(|key| plain(&key.path) == wanted)
        .or_else(|| {
            let of_step = format!("stages.STAGE.{wanted}");
            keys.iter().find(|key| plain(&key.path) == of_step)
        })
        .or_else(|| {
            let end = format!(".{wanted}");
            keys.iter().find(|key| plain(&key.path).ends_with(&end))
        });
    let Some(found) = found else {
        let names = keys
            .iter()
            .filter_map(|key| key.path.rsplit('.').next())
            .map(|name| name.trim_end_matches("[]"));
        return Err(UnknownKey {
            near: nearest(&wanted, names).map(str::to_owned),
            key: wanted,
        });
    };
    let below = format!("{}.", found.path.trim_end_matches("[]"));
    let mut text = format!(
        "{}: {}\n\n  {}\n",
        found.path, found.takes, found.description
    );
    let inner: Vec<&Key> = keys
        .iter()
        .filter(|key| plain(&key.path).starts_with(&plain(&below)))
        .collect();
    if !inner.is_empty() {
        text.push('\n');
    }
    for key in inner {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{}: {}\n    {}", key.path, key.takes, key.description);
    }
    Ok(text)
}

/// A table of every key below `prefix`, in Markdown.
pub fn table(prefix: &str) -> String {
    let mut text = String::from("| key | takes | meaning |\n|---|---|---|\n");
    for key in keys() {
        let Some(rest) = key.path.strip_prefix(prefix) else {
            continue;
        };
        let _infallible = writeln!(
            text,
            "| `{}` | {} | {} |",
            rest.trim_start_matches(['.', '[', ']']),
            key.takes,
            key.description.replace('|', "\\|")
        );
    }
    text
}

fn collect(schema: &Value, path: &str, keys: &mut Vec<Key>) {
    for choice in choices(schema) {
        if let Some(properties) = choice.get("properties").and_then(Value::as_object) {
            each_property(properties, path, keys);
        }
        if let Some(others) = choice
            .get("additionalProperties")
            .filter(|one| one.is_object())
        {
            let name = if path == "stages" { "STAGE" } else { "NAME" };
            let inner = format!("{path}.{name}");
            collect(others, &inner, keys);
        }
        if let Some(items) = choice.get("items") {
            collect(items, &format!("{path}[]"), keys);
        }
    }
}

fn each_property(properties: &Map<String, Value>, path: &str, keys: &mut Vec<Key>) {
    for (name, schema) in properties {
        let inner = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        let description = schema.get("description").and_then(Value::as_str);
        keys.push(Key {
            path: inner.clone(),
            takes: takes(schema),
            description: description.unwrap_or_default().replace('\n', " "),
        });
        collect(schema, &inner, keys);
    }
}

/// The alternatives of a schema, itself when it has none.
fn choices(schema: &Value) -> Vec<&Value> {
    match schema.get("anyOf").or_else(|| schema.get("oneOf")) {
        Some(Value::Array(list)) => list.iter().flat_map(choices).collect(),
        _ => vec![schema],
    }
}

fn takes(schema: &Value) -> String {
    let mut words: Vec<String> = Vec::new();
    for choice in choices(schema) {
        let kinds: Vec<&str> = match choice.get("type") {
            Some(Value::String(kind)) => vec![kind],
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        for kind in kinds {
            let word = match kind {
                "null" => continue,
                "object" if choice.get("additionalProperties").is_some() => {
                    "names and values".to_owned()
                }
                "object" => "mapping".to_owned(),
                "array" => {
                    let items = choice.get("items").map(takes).unwrap_or_default();
                    // What there may be one or several of is in the plural already.
                    if items.ends_with('s') || items.contains(' ') {
                        format!("list of {items}")
                    } else {
                        format!("list of {items}s")
                    }
                }
                "integer" => "number".to_owned(),
                "boolean" => "true or false".to_owned(),
                _ if schema.get("x-mode").is_some() => "file mode".to_owned(),
                _ => "text".to_owned(),
            };
            if !words.contains(&word) {
                words.push(word);
            }
        }
    }
    words.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_described() {
        let keys = keys();
        assert!(keys.len() > 150, "{}", keys.len());
        for key in keys {
            assert!(!key.description.is_empty(), "{}", key.path);
            assert!(!key.takes.is_empty(), "{}", key.path);
        }
    }

    #[test]
    fn keys_are_found_by_their_end() {
        let text = explain("files").unwrap();
        assert!(
            text.starts_with("stages.STAGE[].files: list of mappings\n"),
            "{text}"
        );
        assert!(text.contains("permissions: file mode"), "{text}");
        assert!(explain("runcmd").unwrap().contains("every boot"));
        assert_eq!(
            explain("comands").unwrap_err().near.as_deref(),
            Some("commands")
        );
    }
}
