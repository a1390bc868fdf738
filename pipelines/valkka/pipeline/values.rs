//! GStreamer's values as JSON, and back.

use gst::{glib, prelude::*};
use serde_json::{Map, Value, json};

/// A value as JSON: numbers, truth and text as they are, structures as objects, enumerations by their nick, and
/// everything else as gst-launch would write it.
pub fn to_json(value: &glib::Value) -> Value {
    macro_rules! as_it_is {
        ($($type:ty),*) => { $(if let Ok(value) = value.get::<$type>() { return json!(value); })* };
    }
    as_it_is!(bool, i32, u32, i64, u64, f32, f64, Option<String>);
    if let Ok(Some(structure)) = value.get::<Option<gst::Structure>>() {
        return structure_to_json(&structure);
    }
    if let Ok(Some(caps)) = value.get::<Option<gst::Caps>>() {
        return caps.to_string().into();
    }
    if let Some((_, nick)) = glib::EnumValue::from_value(value) {
        return nick.nick().into();
    }
    if let Ok(list) = value.get::<gst::List>() {
        return list.iter().map(|value| to_json(value)).collect();
    }
    if let Ok(array) = value.get::<gst::Array>() {
        return array.iter().map(|value| to_json(value)).collect();
    }
    if let Ok(Some(object)) = value.get::<Option<gst::Object>>() {
        return object.name().as_str().into();
    }
    value.serialize().map_or(Value::Null, |text| text.as_str().into())
}

/// The fields of a structure, without its name.
pub fn structure_to_json(structure: &gst::StructureRef) -> Value {
    let fields = structure.iter().map(|(name, value)| (name.to_string(), to_json(value)));
    Value::Object(fields.collect::<Map<_, _>>())
}

/// JSON as the value of a property. The error says what is allowed.
pub fn from_json(value: &Value, property: &glib::ParamSpec) -> Result<glib::Value, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            return Err(format!("{}: text, a number, true or false is needed", property.name()));
        }
    };
    let kind = property.value_type();
    let parsed = glib::Value::deserialize_with_pspec(&text, property)
        .map_err(|_| format!("{}: {text:?} is not a value of type {kind}", property.name()))?;
    match out_of_range(&parsed, property) {
        None => Ok(parsed),
        Some(range) => Err(format!("{}: {text} is out of range: {range}", property.name())),
    }
}

/// The range that the value is not in. GLib would complain on standard error, and take another value.
fn out_of_range(value: &glib::Value, property: &glib::ParamSpec) -> Option<String> {
    macro_rules! in_ranges {
        ($($spec:ident: $type:ty),*) => { $(
            if let (Some(spec), Ok(value)) = (property.downcast_ref::<glib::$spec>(), value.get::<$type>()) {
                let (least, most) = (spec.minimum(), spec.maximum());
                return (value < least || value > most).then(|| format!("{least} to {most}"));
            }
        )* };
    }
    in_ranges!(
        ParamSpecInt: i32, ParamSpecUInt: u32, ParamSpecInt64: i64, ParamSpecUInt64: u64, ParamSpecFloat: f32,
        ParamSpecDouble: f64
    );
    None
}

/// `playing`, `paused`, `ready`, `null`.
pub fn state_name(state: gst::State) -> String {
    format!("{state:?}").to_lowercase()
}

/// The state of that name.
pub fn state_of_name(name: &str) -> Option<gst::State> {
    [gst::State::Null, gst::State::Ready, gst::State::Paused, gst::State::Playing]
        .into_iter()
        .find(|state| state_name(*state) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_json() {
        gst::init().unwrap();
        let caps = gst::Caps::builder("video/x-raw").field("width", 640).build();
        let structure = gst::Structure::builder("all")
            .field("yes", true)
            .field("number", -5_i32)
            .field("long", u64::MAX)
            .field("text", "a \"b\"")
            .field("list", gst::List::new([1, 2]))
            .field("state", gst::State::Playing)
            .field("caps", caps)
            .build();
        let expected = json!({
            "yes": true, "number": -5, "long": u64::MAX, "text": "a \"b\"", "list": [1, 2], "state": "playing",
            "caps": "video/x-raw, width=(int)640",
        });
        assert_eq!(structure_to_json(&structure), expected);
    }

    #[test]
    fn properties_take_what_they_can_and_nothing_else() {
        gst::init().unwrap();
        let source = gst::ElementFactory::make("videotestsrc").build().unwrap();
        let of = |name: &str| source.find_property(name).unwrap();
        assert_eq!(from_json(&json!(7), &of("num-buffers")).unwrap().get::<i32>().unwrap(), 7);
        assert!(from_json(&json!("ball"), &of("pattern")).is_ok());
        assert!(from_json(&json!(true), &of("is-live")).unwrap().get::<bool>().unwrap());
        for (value, name) in [(json!("bell"), "pattern"), (json!(-2), "num-buffers"), (json!([1]), "num-buffers")] {
            let error = from_json(&value, &of(name)).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }
}
