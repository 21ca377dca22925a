//! JSON and YAML documents of others, read leniently: a field of another kind than expected is a
//! field that is not there.

use crate::error::Refusal;
use serde_json::Value;

/// Parses JSON. `serde_json` bounds the depth.
pub(crate) fn json(bytes: &[u8], what: &str) -> Result<Value, Refusal> {
    let value: Value = serde_json::from_slice(bytes).map_err(|source| Refusal::Document {
        what: what.to_owned(),
        source: Box::new(source),
    })?;
    Ok(value)
}

/// Parses YAML, with the parser's own budgets on depth, nodes and aliases.
pub(crate) fn yaml<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Refusal> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Refusal::Document {
        what: what.to_owned(),
        source,
    };
    let text = str::from_utf8(bytes).map_err(|error| failed(error.into()))?;
    serde_saphyr::from_str(text).map_err(|error| failed(error.to_string().into()))
}

/// The value at a path of keys and indices separated by `/`, as text. Empty text is nothing.
pub(crate) fn text(value: &Value, path: &str) -> Option<String> {
    scalar(at(value, path)?)
}

/// The value at a path of keys and indices separated by `/`.
pub(crate) fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    value.pointer(&format!("/{path}"))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Keys in any of the forms that clouds have: lines of text, a list of those, a mapping of names to
/// those, or a list of objects with a field `key`, `keyData` or `value`.
pub(crate) fn keys(value: Option<&Value>) -> String {
    let mut lines = String::new();
    collect(value.unwrap_or(&Value::Null), 0, &mut lines);
    lines
}

fn collect(value: &Value, depth: usize, lines: &mut String) {
    match value {
        Value::String(text) => {
            lines.push_str(text);
            lines.push('\n');
        }
        Value::Array(items) if depth < 3 => {
            for item in items {
                collect(item, depth + 1, lines);
            }
        }
        Value::Object(fields) if depth < 3 => {
            let named = ["key", "keyData", "value"];
            let one = named.iter().find_map(|name| fields.get(*name));
            match one {
                Some(key) => collect(key, depth + 1, lines),
                None => fields
                    .values()
                    .for_each(|key| collect(key, depth + 1, lines)),
            }
        }
        _ => {}
    }
}

/// A document inside a document: text as it is, anything else as JSON.
pub(crate) fn bytes(value: Option<&Value>) -> Option<Vec<u8>> {
    match value? {
        Value::Null => None,
        Value::String(text) => Some(text.clone().into_bytes()).filter(|text| !text.is_empty()),
        Value::Array(items) if items.is_empty() => None,
        Value::Object(fields) if fields.is_empty() => None,
        other => serde_json::to_vec(other).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_come_in_many_forms() {
        for form in [
            json!("a\nb"),
            json!(["a", "b"]),
            json!({"0": "a", "1": "b"}),
            json!([{"key": "a"}, {"key": "b", "fingerprint": "x"}]),
            json!([{"keyData": "a", "path": "/x"}, {"keyData": "b"}]),
        ] {
            assert_eq!(
                keys(Some(&form)).lines().collect::<Vec<_>>(),
                ["a", "b"],
                "{form}"
            );
        }
        assert_eq!(keys(None), "");
        assert_eq!(keys(Some(&json!([[[[["deep"]]]]]))), "");
    }

    #[test]
    fn fields_are_found_by_path() {
        let value = json!({"a": [{"b": 7}], "c": "", "d": {"e": "x"}});
        assert_eq!(text(&value, "a/0/b").as_deref(), Some("7"));
        assert_eq!(text(&value, "c"), None);
        assert_eq!(text(&value, "d"), None);
        assert_eq!(text(&value, "d/e").as_deref(), Some("x"));
        assert_eq!(bytes(at(&value, "d")).unwrap(), br#"{"e":"x"}"#);
    }
}
