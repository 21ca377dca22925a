//! The documents' types. Their docstrings are the reference: the JSON Schema, `cos config explain`
//! and the book are made from them.

mod cloud_config;
mod resources;
mod step;

pub use cloud_config::{
    CaCertificates, CloudConfig, CloudUser, Growpart, Hashed, Ntp, PackageEntry, PasswordEntry,
    Passwords, PowerState, RunCommand, Sudo, UserEntry, Words, WriteFile,
};
pub use resources::{
    AddPartition, DatasourceStep, Directory, Download, EntityStep, ExpandPartition, File,
    GitAuthentication, GitStep, IfFiles, LayoutDevice, LayoutStep, Packages, Resolver, Systemctl,
    SystemctlOverride, UnpackImage, User,
};
pub use step::{Dependency, Step, YipDocument};

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// A whole document: stages, the keys of `#cloud-config`, or both in one file.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "cOS cloud-config")]
pub struct Document {
    /// Steps by stage.
    #[serde(flatten)]
    pub stages: YipDocument,
    /// The keys of `#cloud-config`; they count when the file starts with that line.
    #[serde(flatten)]
    pub cloud: CloudConfig,
}

/// The JSON Schema of a document (draft 2020-12), for editors: it knows every way to write what the
/// engine takes, and refuses the keys that the engine does.
pub fn document_schema() -> Schema {
    let mut schema = schemars::schema_for!(Document);
    if let Some(root) = schema.as_object_mut() {
        for_editors(root);
    }
    schema
}

/// Closes mappings, adds the other names of keys, and takes for text what YAML takes for a number, a
/// truth or nothing: the engine keeps such words as they are written.
fn for_editors(schema: &mut Map<String, Value>) {
    let is_text = match schema.get("type") {
        Some(Value::String(kind)) => kind == "string",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "string"),
        _ => false,
    };
    if is_text {
        schema.insert(
            "type".into(),
            json!(["string", "number", "boolean", "null"]),
        );
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        let others: Vec<(String, Value)> = properties
            .values()
            .filter_map(|key| Some((key["x-also"].as_str()?.to_owned(), key.clone())))
            .collect();
        properties.extend(others);
        schema.entry("additionalProperties").or_insert(false.into());
    }
    for inner in schema.values_mut() {
        match inner {
            Value::Object(one) => for_editors(one),
            Value::Array(several) => several
                .iter_mut()
                .filter_map(Value::as_object_mut)
                .for_each(for_editors),
            _ => {}
        }
    }
}

/// The schema of a document, references resolved in place: what sources are decoded by.
pub fn inlined_document() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let settings = schemars::generate::SchemaSettings::draft2020_12().with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        });
        let generator = settings.into_generator();
        generator.into_root_schema_for::<Document>().into()
    });
    &SCHEMA
}

/// File modes are octal however they are written: `644`, `0644`, `0o644`, `"0644"`.
pub(crate) mod mode {
    use serde::{Deserialize as _, Deserializer, Serializer};

    /// Largest mode: set-id and sticky bits, and the nine of rwx.
    const MAX: u32 = 0o7777;

    #[expect(
        clippy::ref_option,
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature is serde's"
    )]
    pub(crate) fn serialize<S: Serializer>(
        mode: &Option<u32>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match mode {
            Some(mode) => serializer.serialize_str(&format!("{mode:04o}")),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u32>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(None);
        };
        parse(&text).map(Some).map_err(serde::de::Error::custom)
    }

    pub(crate) fn parse(text: &str) -> Result<u32, String> {
        let digits = text
            .trim()
            .strip_prefix("0o")
            .or_else(|| text.trim().strip_prefix("0O"))
            .unwrap_or(text.trim());
        u32::from_str_radix(digits, 8)
            .ok()
            .filter(|mode| *mode <= MAX)
            .ok_or_else(|| format!("{text:?} is no file mode; one is written like 0644"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_are_told_of_every_spelling_and_of_wrong_keys() {
        let schema = document_schema();
        let file = &schema.as_value()["$defs"]["File"];
        assert_eq!(file["additionalProperties"], false);
        assert!(file["properties"]["owner_string"].is_object());
        let mode = file["properties"]["permissions"]["type"].to_string();
        assert!(mode.contains("number"), "{mode}");
        assert_eq!(schema.as_value()["additionalProperties"], false);
        // Names that are the user's stay open.
        let step = &schema.as_value()["$defs"]["Step"];
        assert!(step["properties"]["sysctl"]["additionalProperties"].is_object());
    }
}
