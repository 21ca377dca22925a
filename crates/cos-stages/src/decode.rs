//! From a positioned tree to JSON that the types take, along their own schema.
//!
//! One walk finds everything that is wrong, each with its line, and settles what scalars mean by what
//! the key takes, as yaml.v3 does for yip.

use crate::diagnostic::{Findings, Severity, nearest};
use crate::schema::mode;
use crate::yaml::{Node, Value as Yaml};
use serde_json::{Map, Value as Json};

/// Decodes `node` by `schema` (references resolved in place). `None` when nothing can be made of it;
/// the findings say why.
pub(crate) fn decode(
    node: &Node,
    schema: &Json,
    unknown: Severity,
    findings: &mut Findings<'_>,
) -> Option<Json> {
    Decoder { unknown, findings }.value(node, schema, "the document")
}

struct Decoder<'f, 't> {
    unknown: Severity,
    findings: &'f mut Findings<'t>,
}

/// The alternatives of a schema, `null` left out.
fn alternatives<'s>(schema: &'s Json, out: &mut Vec<&'s Json>) {
    match schema.get("anyOf").or_else(|| schema.get("oneOf")) {
        Some(Json::Array(list)) => list.iter().for_each(|one| alternatives(one, out)),
        _ => {
            if !is_type(schema, "null") || types(schema).count() > 1 {
                out.push(schema);
            }
        }
    }
}

fn types(schema: &Json) -> impl Iterator<Item = &str> {
    let one = schema.get("type").and_then(Json::as_str);
    let many = schema.get("type").and_then(Json::as_array);
    one.into_iter()
        .chain(many.into_iter().flatten().filter_map(Json::as_str))
}

fn is_type(schema: &Json, name: &str) -> bool {
    types(schema).any(|one| one == name)
}

/// What a schema takes, for people.
fn wanted(schemas: &[&Json]) -> String {
    let words: Vec<&str> = schemas
        .iter()
        .map(|schema| match types(schema).find(|name| *name != "null") {
            Some("object") => "a mapping",
            Some("array") => "a list",
            Some("integer") => "a number",
            Some("boolean") => "true or false",
            _ if schema.get("x-mode").is_some() => "a file mode",
            _ => "a text",
        })
        .collect();
    words.join(" or ")
}

impl Decoder<'_, '_> {
    fn value(&mut self, node: &Node, schema: &Json, name: &str) -> Option<Json> {
        let mut choices = Vec::new();
        alternatives(schema, &mut choices);
        let of = |kind: &str| choices.iter().copied().find(|one| is_type(one, kind));
        let found = match &node.value {
            Yaml::Null => return None,
            Yaml::Mapping(_) => of("object").map(|schema| self.mapping(node, schema)),
            Yaml::Sequence(items) => {
                of("array").map(|schema| Some(self.sequence(items, schema, name)))
            }
            Yaml::Scalar { text, plain } => self.scalar(node, text, *plain, &choices, name),
        };
        if let Some(value) = found {
            return value;
        }
        let message = format!(
            "{name} takes {}, and this is {}",
            wanted(&choices),
            node.kind()
        );
        let hint = (of("array").is_some() && matches!(node.value, Yaml::Scalar { .. }))
            .then(|| "write it as a list: a line below that starts with a dash".to_owned());
        self.findings.add(Severity::Error, node.at, message, hint);
        None
    }

    fn mapping(&mut self, node: &Node, schema: &Json) -> Option<Json> {
        let Yaml::Mapping(entries) = &node.value else {
            return None;
        };
        let properties = schema.get("properties").and_then(Json::as_object);
        let others = schema
            .get("additionalProperties")
            .filter(|one| one.is_object());
        let mut object = Map::new();
        for entry in entries {
            let known = properties.and_then(|known| property(known, &entry.key));
            match (known, others) {
                (Some((key, schema)), _) => {
                    let value = self.value(&entry.node, schema, key);
                    if object.contains_key(key) {
                        let message = format!("{key} is said twice, here as {}", entry.key);
                        self.findings.error(entry.at, message);
                    } else if let Some(value) = value {
                        object.insert(key.to_owned(), value);
                    }
                }
                (None, Some(schema)) => {
                    let value = match &entry.node.value {
                        Yaml::Null => nothing(schema),
                        _ => self.value(&entry.node, schema, &entry.key),
                    };
                    object.extend(value.map(|value| (entry.key.clone(), value)));
                }
                (None, None) => self.unknown_key(entry, properties),
            }
        }
        Some(Json::Object(object))
    }

    fn unknown_key(&mut self, entry: &crate::yaml::Entry, known: Option<&Map<String, Json>>) {
        if !self.findings.has_room(self.unknown) {
            self.findings.count(self.unknown);
            return;
        }
        let names = known.into_iter().flat_map(Map::keys).map(String::as_str);
        let hint = nearest(&entry.key, names).map(|near| format!("did you mean {near}?"));
        let shown: String = entry.key.chars().take(60).collect();
        self.findings.add(
            self.unknown,
            entry.at,
            format!("unknown key {shown:?}"),
            hint,
        );
    }

    fn sequence(&mut self, items: &[Node], schema: &Json, name: &str) -> Json {
        let anything = Json::Bool(true);
        let schema = schema.get("items").unwrap_or(&anything);
        let name = format!("an entry of {name}");
        let mut list = Vec::new();
        for item in items {
            if item.value == Yaml::Null {
                let message = format!("{name} is empty");
                self.findings.add(Severity::Warning, item.at, message, None);
                continue;
            }
            list.extend(self.value(item, schema, &name));
        }
        Json::Array(list)
    }

    #[expect(clippy::option_option, reason = "taken or not, and right or not")]
    /// `None`: no alternative takes a scalar. `Some(None)`: one does, and this one is not right.
    fn scalar(
        &mut self,
        node: &Node,
        text: &str,
        plain: bool,
        choices: &[&Json],
        name: &str,
    ) -> Option<Option<Json>> {
        let of = |kind: &str| choices.iter().copied().find(|one| is_type(one, kind));
        let string = of("string");
        if of("boolean").is_some() {
            match (truth(text), string) {
                (Some(value), None) => return Some(Some(Json::Bool(value))),
                (Some(value), Some(_)) if plain => return Some(Some(Json::Bool(value))),
                (None, None) => {
                    let message = format!("{name} takes true or false, and this is {text:?}");
                    self.findings.error(node.at, message);
                    return Some(None);
                }
                _ => {}
            }
        }
        if let Some(schema) = string {
            if schema.get("x-mode").is_some() {
                return Some(self.mode(node, text, plain));
            }
            return Some(Some(Json::String(text.to_owned())));
        }
        let schema = of("integer")?;
        let Some(number) = integer(text) else {
            let message = format!("{name} takes a number, and this is {text:?}");
            self.findings.error(node.at, message);
            return Some(None);
        };
        let largest = match schema.get("format").and_then(Json::as_str) {
            Some("uint32") => u64::from(u32::MAX),
            _ => u64::MAX,
        };
        if number > largest {
            let message = format!("{name} is at most {largest}, and this is {number}");
            self.findings.error(node.at, message);
            return Some(None);
        }
        Some(Some(Json::from(number)))
    }

    /// A mode, as yip takes it: an unquoted number without a leading zero is decimal there. What
    /// would make a set-id or sticky bit that way was surely meant in octal.
    fn mode(&mut self, node: &Node, text: &str, plain: bool) -> Option<Json> {
        let octal = mode::parse(text);
        let decimal = (plain && !text.starts_with('0'))
            .then(|| text.parse::<u32>().ok())
            .flatten();
        let meant = match (decimal, octal) {
            (Some(number), Ok(octal)) if number > 0o777 => Ok(octal),
            (Some(number), _) if number <= 0o7777 => Ok(number),
            (_, octal) => octal,
        };
        match meant {
            Ok(mode) => {
                if decimal.is_some() {
                    let message = format!("{text} is taken as the mode {mode:04o}");
                    let hint = "write modes in octal, with a leading zero".to_owned();
                    self.findings
                        .add(Severity::Warning, node.at, message, Some(hint));
                }
                Some(Json::String(format!("{mode:04o}")))
            }
            Err(message) => {
                self.findings.error(node.at, message);
                None
            }
        }
    }
}

/// What a name without a value stands for: to yaml.v3 `PATH:` is the empty text, and `bob:` a user
/// with nothing said about it.
fn nothing(schema: &Json) -> Option<Json> {
    if is_type(schema, "string") {
        Some(Json::String(String::new()))
    } else if is_type(schema, "object") {
        Some(Json::Object(Map::new()))
    } else {
        None
    }
}

/// A property by its name, or by the other name it goes by.
fn property<'s>(known: &'s Map<String, Json>, key: &str) -> Option<(&'s str, &'s Json)> {
    if let Some((name, schema)) = known.get_key_value(key) {
        return Some((name, schema));
    }
    known
        .iter()
        .find(|(_, schema)| schema.get("x-also").and_then(Json::as_str) == Some(key))
        .map(|(name, schema)| (name.as_str(), schema))
}

/// YAML 1.1's words for true and false, as every file of this family may use them.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Some(true),
        "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

/// Numbers as yaml.v3 reads them: 0x, 0o, 0b, a leading zero for octal, underscores between.
fn integer(text: &str) -> Option<u64> {
    let text = text.replace('_', "");
    let (digits, radix) = match text.get(..2) {
        Some("0x") => (&text[2..], 16),
        Some("0o") => (&text[2..], 8),
        Some("0b") => (&text[2..], 2),
        Some(two) if two.starts_with('0') => (&text[1..], 8),
        _ => (text.as_str(), 10),
    };
    u64::from_str_radix(digits, radix).ok()
}
