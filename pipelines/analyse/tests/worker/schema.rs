//! The messages' schema, as it is published.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let text = include_str!("../../../../docs/detections.schema.json");
    let schema = serde_json::from_str(text).expect("the schema is JSON");
    jsonschema::validator_for(&schema).expect("the schema is a schema")
});

/// Fails if the schema does not allow the message.
#[track_caller]
pub fn validate(message: &Value) {
    let errors: Vec<_> = SCHEMA.iter_errors(message).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?} in {message}");
}

#[test]
fn schema_refuses_what_is_no_message() {
    let message: Value = serde_json::from_str(
        r#"{"v":1,"camera":"lobby","channel":"lobby.rgb","seq":42,"generation":2,"pts":-5,"utc":1700000000.5,"width":640,"height":360,"age_ms":12.3,"objects":[{"id":3,"label":"motion","score":0.5,"box":[0.1,0.25,0.6,0.75]}]}"#,
    )
    .expect("JSON");
    validate(&message);
    for (place, wrong) in [
        ("/v", 2.into()),
        ("/camera", "".into()),
        ("/pts", 0.5.into()),
        ("/objects/0/label", "".into()),
        ("/objects/0/score", 1.5.into()),
        ("/objects/0/box/3", 360.into()),
        ("/objects/0/id", Value::Null),
        ("/objects", Value::Null),
    ] {
        let mut message = message.clone();
        *message.pointer_mut(place).expect("it is there") = wrong;
        assert!(!SCHEMA.is_valid(&message), "{place}: {message}");
    }
}

#[test]
fn document_shows_messages_that_are_valid() {
    let document = include_str!("../../../../docs/detections.md");
    let shown: Value = document
        .split("```json\n")
        .nth(1)
        .and_then(|rest| serde_json::from_str(rest.split("```").next()?).ok())
        .expect("the first block is a message");
    validate(&shown);
}
