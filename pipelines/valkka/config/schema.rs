//! The JSON Schema of `valkka.toml`, for editors (`valkka schema`).

use serde_json::{Map, Value, json};

use super::keys::{FILE, Key, Kind};

/// The whole schema, draft 2020-12.
pub fn schema() -> Value {
    let mut schema = table(FILE);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("valkka.toml");
    schema["description"] = json!("Configuration of valkka: cameras, what looks at them, and how it all runs");
    schema
}

fn table(keys: &[Key]) -> Value {
    let properties: Map<_, _> = keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn property(key: &Key) -> Value {
    let mut property = kind(&key.kind);
    property["description"] = json!(key.about);
    if !key.default.is_empty() {
        // Defaults are written as in TOML; scalars are the same in JSON.
        property["default"] = serde_json::from_str(key.default).expect("a default is a text, a number or a flag");
    }
    property
}

fn kind(kind: &Kind) -> Value {
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::OneOf(words) => json!({ "type": "string", "enum": words }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Integer(from, to, _) => json!({ "type": "integer", "minimum": from, "maximum": to }),
        Kind::Duration => json!({ "type": "string", "pattern": r"^\s*[0-9]+\s*(s|m|min|h|d)\s*$" }),
        Kind::Size => json!({ "type": "string", "pattern": r"^\s*[0-9]+\s*(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)\s*$" }),
        Kind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Commands => json!({ "type": "array", "items": { "anyOf": [
            { "type": "string", "minLength": 1 },
            {
                "type": "object",
                "properties": { "command": { "type": "string", "minLength": 1 }, "parameters": {} },
                "required": ["command"],
                "additionalProperties": false,
            },
        ] } }),
        Kind::Table(keys) => table(keys),
        Kind::Named(keys) => json!({
            "type": "object",
            "propertyNames": { "pattern": "^[a-z0-9][a-z0-9_-]{0,47}$" },
            "additionalProperties": table(keys),
        }),
        Kind::Free => json!({ "type": "object" }),
    }
}
