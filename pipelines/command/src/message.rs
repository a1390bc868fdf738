//! What is said: calls, answers and events, as JSON.
//!
//! | message | from | JSON |
//! | --- | --- | --- |
//! | [`Call`] | frontend | `{"call":ID,"command":"NAME","params":ANY}` |
//! | [`Answer`] | backend | `{"answer":ID,"result":ANY}` or `{"answer":ID,"error":{"message":"TEXT"}}` |
//! | [`Event`] | both | `{"event":"NAME","value":ANY}` |
//!
//! `ID` is chosen by the caller and fits in 64 bits. `params`, `result` and `value` may be left out, which means `null`.
//! Fields that are not known are ignored, so that later versions may add some. Values are kept as text ([`RawValue`]): what
//! is only passed on is neither understood nor changed.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::framing::ProtocolError;

/// One message, in either direction.
#[derive(Debug, Clone)]
pub enum Message {
    /// Asks for something to be done.
    Call(Call),
    /// Says what came of it.
    Answer(Answer),
    /// Tells what has happened.
    Event(Event),
}

/// A command with its parameters.
#[derive(Debug, Clone)]
pub struct Call {
    /// Chosen by the caller; comes back with the answer.
    pub id: u64,
    /// Name of the command.
    pub command: String,
    /// Whatever the command wants, as JSON.
    pub params: Box<RawValue>,
}

/// The one answer to a call.
#[derive(Debug, Clone)]
pub struct Answer {
    /// That of the call.
    pub id: u64,
    /// What it came to, or why it failed, in words.
    pub outcome: Result<Box<RawValue>, String>,
}

/// Something that has happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// What kind of thing.
    pub name: String,
    /// What there is to say about it, as JSON.
    pub value: Box<RawValue>,
}

impl Event {
    /// An event with a value that can be written as JSON.
    pub fn new(name: &str, value: &(impl Serialize + ?Sized)) -> Result<Self, serde_json::Error> {
        Ok(Self { name: name.to_owned(), value: serde_json::value::to_raw_value(value)? })
    }

    /// Its value, as the type that is expected.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.value.get())
    }
}

/// All fields that a message can have.
#[derive(Deserialize)]
struct Received {
    call: Option<u64>,
    command: Option<String>,
    params: Option<Box<RawValue>>,
    answer: Option<u64>,
    result: Option<Box<RawValue>>,
    error: Option<Failure>,
    event: Option<String>,
    value: Option<Box<RawValue>>,
}

#[derive(Serialize, Deserialize)]
struct Failure {
    message: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Sent<'a> {
    Call { call: u64, command: &'a str, params: &'a RawValue },
    Result { answer: u64, result: &'a RawValue },
    Error { answer: u64, error: Failure },
    Event { event: &'a str, value: &'a RawValue },
}

impl Message {
    /// Reads a message. What is wrong with it is told with the field's name.
    pub fn from_json(json: &[u8]) -> Result<Self, ProtocolError> {
        let text = str::from_utf8(json).map_err(|_| ProtocolError::NotUtf8)?;
        let received: Received =
            serde_json::from_str(text).map_err(|error| ProtocolError::NotJson(error.to_string()))?;
        match (received.call, received.answer, received.event) {
            (Some(id), None, None) => {
                let command = received.command.ok_or(ProtocolError::Incomplete("a call has no `command`"))?;
                Ok(Message::Call(Call { id, command, params: or_null(received.params) }))
            }
            (None, Some(id), None) => {
                let outcome = match (received.result, received.error) {
                    (Some(_), Some(_)) => {
                        return Err(ProtocolError::Incomplete("an answer has a `result` or an `error`, not both"));
                    }
                    (_, Some(error)) => Err(error.message),
                    (result, None) => Ok(or_null(result)),
                };
                Ok(Message::Answer(Answer { id, outcome }))
            }
            (None, None, Some(name)) => Ok(Message::Event(Event { name, value: or_null(received.value) })),
            _ => Err(ProtocolError::Incomplete("a message has one of `call`, `answer` and `event`")),
        }
    }

    /// Writes it.
    pub fn to_json(&self) -> Vec<u8> {
        let sent = match self {
            Message::Call(Call { id, command, params }) => Sent::Call { call: *id, command, params },
            Message::Answer(Answer { id, outcome: Ok(result) }) => Sent::Result { answer: *id, result },
            Message::Answer(Answer { id, outcome: Err(message) }) => {
                Sent::Error { answer: *id, error: Failure { message: message.clone() } }
            }
            Message::Event(Event { name, value }) => Sent::Event { event: name, value },
        };
        serde_json::to_vec(&sent).expect("strings, numbers and raw JSON can be written")
    }
}

/// `null` for what was left out.
fn or_null(value: Option<Box<RawValue>>) -> Box<RawValue> {
    value.unwrap_or_else(null)
}

/// `null`, the value of what has none.
pub(crate) fn null() -> Box<RawValue> {
    RawValue::from_string("null".to_owned()).expect("`null` is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn again(json: &str) -> String {
        String::from_utf8(Message::from_json(json.as_bytes()).unwrap().to_json()).unwrap()
    }

    #[test]
    fn messages_are_read_and_written_as_they_are_documented() {
        for json in [
            r#"{"call":7,"command":"zones","params":{"camera":"lobby","n":12345678901234567890}}"#,
            r#"{"answer":18446744073709551615,"result":[1.50,"a"]}"#,
            r#"{"answer":0,"error":{"message":"no such camera"}}"#,
            r#"{"event":"detections","value":null}"#,
        ] {
            assert_eq!(again(json), json);
        }
    }

    #[test]
    fn what_is_left_out_is_null_and_what_is_unknown_is_ignored() {
        assert_eq!(again(r#"{"call":1,"command":"ping","v":2}"#), r#"{"call":1,"command":"ping","params":null}"#);
        assert_eq!(again(r#"{"answer":1}"#), r#"{"answer":1,"result":null}"#);
        assert_eq!(again(r#"{"event":"eos"}"#), r#"{"event":"eos","value":null}"#);
    }

    #[test]
    fn what_is_no_message_is_refused_in_words() {
        for (json, word) in [
            (&b"\xff"[..], "UTF-8"),
            (b"", "JSON"),
            (b"[]", "JSON"),
            (b"{}", "one of"),
            (br#"{"call":1}"#, "command"),
            (br#"{"call":-1,"command":"x"}"#, "JSON"),
            (br#"{"call":1,"command":7}"#, "JSON"),
            (br#"{"call":1,"command":"x","answer":1}"#, "one of"),
            (br#"{"answer":1,"result":1,"error":{"message":"x"}}"#, "both"),
            (br#"{"answer":1,"error":"x"}"#, "JSON"),
            (br#"{"event":"x","value":1} 2"#, "JSON"),
        ] {
            let error = Message::from_json(json).unwrap_err().to_string();
            assert!(error.contains(word), "{}: {error}", String::from_utf8_lossy(json));
        }
    }

    #[test]
    fn deep_nesting_breaks_nothing() {
        let deep = format!(r#"{{"event":"x","value":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
        let Ok(Message::Event(event)) = Message::from_json(deep.as_bytes()) else { return };
        assert!(event.parse::<serde_json::Value>().is_err());
    }
}
